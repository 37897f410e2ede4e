//! The tables, in Markdown.

use super::{
    cases::{Case, Kind},
    numbers::{Measured, Rounds},
    servers::Server,
};
use std::fmt::Write;

/// The table of one case, the best first, and what failed.
pub(crate) fn table(measured: &Measured) -> String {
    let columns = columns(&measured.case);
    let (key, rest) = (&columns[0], &columns[1..]);
    let mut text = format!("### {}\n\n`{}`\n\n", measured.case.title(), measured.case.name);
    let baseline = measured.case.baseline();
    let heads: String = rest.iter().map(|column| format!(" {} |", column.head)).collect();
    let _ = writeln!(text, "| server | {} | of `{baseline}` | spread |{heads}", key.head);
    let _ = writeln!(text, "|---|{}", "--:|".repeat(columns.len() + 2));
    let of_baseline = measured.of(baseline).and_then(|rounds| rounds.median(key.name));
    for (server, rounds) in ranked(measured) {
        let Some(median) = rounds.median(key.name) else {
            continue;
        };
        let name = if server.is_ours() { format!("**{}**", server.name) } else { server.name.to_owned() };
        let ratio = of_baseline.filter(|base| *base > 0.0).map(|base| format!("{:.2}", median / base));
        let spread = rounds.spread(key.name).map(|spread| format!("{:.0} %", spread * 100.0));
        let cells: String = rest.iter().map(|column| format!(" {} |", column.cell(rounds))).collect();
        let (ratio, spread) = (ratio.unwrap_or_default(), spread.unwrap_or_default());
        let _ = writeln!(text, "| {name} | {} | {ratio} | {spread} |{cells}", key.cell(rounds));
    }
    text + &failures(measured)
}

/// The number by which the servers of a case are compared, and how it is shown.
pub(crate) fn key(case: &Case) -> Column {
    columns(case).swap_remove(0)
}

/// Those that were measured, the best first.
pub(crate) fn ranked(measured: &Measured) -> Vec<(Server, &Rounds)> {
    let key = key(&measured.case);
    let median = |rounds: &Rounds| rounds.median(key.name).unwrap_or(0.0);
    let mut servers: Vec<_> = measured.servers.iter().map(|(server, rounds)| (*server, rounds)).collect();
    servers.sort_by(|(_, a), (_, b)| median(a).total_cmp(&median(b)));
    if key.more_is_better() {
        servers.reverse();
    }
    servers
}

pub(crate) struct Column {
    pub(crate) name: &'static str,
    head: &'static str,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// So many a second, or of a thing.
    Number,
    Microseconds,
    Share,
    Bytes,
}

impl Column {
    /// The median over the rounds.
    pub(crate) fn cell(&self, rounds: &Rounds) -> String {
        let Some(value) = rounds.median(self.name) else {
            return String::new();
        };
        match self.unit {
            Unit::Number => grouped(value),
            Unit::Microseconds if value < 100.0 => format!("{value:.1} µs"),
            Unit::Microseconds if value < 10_000.0 => format!("{value:.0} µs"),
            Unit::Microseconds => format!("{:.1} ms", value / 1e3),
            Unit::Share => format!("{:.1} %", value * 100.0),
            Unit::Bytes if value < 1024.0 * 1024.0 => format!("{:.1} KiB", value / 1024.0),
            Unit::Bytes => format!("{:.1} MiB", value / 1024.0 / 1024.0),
        }
    }

    fn more_is_better(&self) -> bool {
        self.unit == Unit::Number
    }
}

fn columns(case: &Case) -> Vec<Column> {
    let column = |name, head, unit| Column { name, head, unit };
    let per_cpu = |head| column("per_cpu_second", head, Unit::Number);
    let latency = [("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")];
    let latency = latency.map(|(name, head)| column(name, head, Unit::Microseconds));
    let shares = [("server_share", "server CPU"), ("kernel_share", "in the kernel"), ("load_share", "load CPU")];
    let shares = shares.map(|(name, head)| column(name, head, Unit::Share));
    let rate = |head| column("rate", head, Unit::Number);
    match case.kind {
        Kind::Echo { .. } | Kind::Typed { .. } => {
            let mut columns = vec![per_cpu("messages per CPU second"), rate("messages/s")];
            columns.extend(latency);
            columns.extend(shares);
            columns
        }
        Kind::Fanout { .. } => {
            let mut columns = vec![per_cpu("deliveries per CPU second"), rate("deliveries/s")];
            columns.extend(latency);
            columns.push(column("last_p50_us", "p50 to the last", Unit::Microseconds));
            columns.push(column("last_p99_us", "p99 to the last", Unit::Microseconds));
            columns.extend(shares);
            columns.push(column("lost", "lost", Unit::Number));
            columns
        }
        Kind::Churn { .. } => {
            let mut columns = vec![per_cpu("connections per CPU second"), rate("connections/s")];
            columns.extend(latency);
            columns.extend(shares);
            columns.push(column("failed", "failed", Unit::Number));
            columns
        }
        Kind::Idle { .. } => vec![
            column("bytes_per_connection", "for each connection", Unit::Bytes),
            column("resident_before", "without any", Unit::Bytes),
            column("resident_after", "in all", Unit::Bytes),
            column("closed", "closed", Unit::Number),
        ],
        Kind::Heartbeat { .. } => {
            vec![column("server_share", "CPU", Unit::Share), column("closed", "closed", Unit::Number)]
        }
    }
}

fn failures(measured: &Measured) -> String {
    let mut text = String::new();
    for (server, rounds) in &measured.servers {
        if let Some(first) = rounds.failures.first() {
            let _ = writeln!(text, "\n{} failed {} times: {first}", server.name, rounds.failures.len());
        }
    }
    text
}

/// `1 234 567`, and tenths only below ten.
fn grouped(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(1_234_567.4), "1\u{202f}234\u{202f}567");
        assert_eq!((grouped(999.0), grouped(0.0), grouped(2.5)), ("999".into(), "0".into(), "2.5".into()));
    }
}
