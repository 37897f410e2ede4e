//! The tables, in Markdown.

use super::{
    cases::{BASELINE, Case, Kind},
    numbers::{Measured, Rounds},
    servers::Server,
};
use std::fmt::Write;

/// Returns the table of a case or group, with the failures.
pub(crate) fn table(measured: &[Measured]) -> String {
    let text = match measured {
        [one] if one.case.group.is_none() => ranking(one),
        group => comparison(group),
    };
    text + &measured.iter().map(failures).collect::<String>()
}

/// Returns the servers of a case, best first.
fn ranking(measured: &Measured) -> String {
    let columns = columns(&measured.case);
    let (key, rest) = (&columns[0], &columns[1..]);
    let mut text = format!("### {}\n\n`{}`\n\n", measured.case.title(), measured.case.name);
    let _ = writeln!(text, "| server | {} | of `{BASELINE}` |{}", key.head, heads(rest));
    let _ = writeln!(text, "|---|{}", "--:|".repeat(columns.len() + 1));
    let of_baseline = measured.of(BASELINE).and_then(|rounds| rounds.median(key.name));
    for (server, rounds) in ranked(measured) {
        let Some(median) = rounds.median(key.name) else {
            continue;
        };
        let (ratio, cells) = (ratio(median, of_baseline), cells(rest, rounds));
        let _ = writeln!(text, "| {} | {} | {ratio} |{cells}", name(server), key.cell(rounds));
    }
    text
}

/// Returns each server with all cases of the group, compared with the first.
fn comparison(group: &[Measured]) -> String {
    let Some((first, Some(about))) = group.first().map(|first| (first, &first.case.group)) else {
        return String::new();
    };
    let mut text = format!("### {}\n\n`{}`\n", about.title, about.name);
    for columns in columns_of_group(&first.case) {
        let (key, rest) = (&columns[0], &columns[1..]);
        let _ = writeln!(text, "\n| server | {} | {} | of the first |{}", about.by, key.head, heads(rest));
        let _ = writeln!(text, "|---|{}", "--:|".repeat(columns.len() + 2));
        for (server, rounds) in &first.servers {
            let of_first = rounds.median(key.name);
            let cases = group.iter().filter_map(|measured| Some((measured, measured.of(server.name)?)));
            for (measured, rounds) in cases {
                text += &row(*server, measured.case.label(), &columns, rounds, of_first);
            }
        }
    }
    text
}

/// Returns a row for a server and a case of a group, empty if it failed.
fn row(server: Server, label: &str, columns: &[Column], rounds: &Rounds, of_first: Option<f64>) -> String {
    let (key, rest) = (&columns[0], &columns[1..]);
    rounds.median(key.name).map_or_else(String::new, |median| {
        let (ratio, cells) = (ratio(median, of_first), cells(rest, rounds));
        format!("| {} | {label} | {} | {ratio} |{cells}\n", name(server), key.cell(rounds))
    })
}

fn heads(columns: &[Column]) -> String {
    columns.iter().map(|column| format!(" {} |", column.head)).collect()
}

fn cells(columns: &[Column], rounds: &Rounds) -> String {
    columns.iter().map(|column| format!(" {} |", column.cell(rounds))).collect()
}

fn ratio(median: f64, base: Option<f64>) -> String {
    base.filter(|base| *base > 0.0).map_or_else(String::new, |base| format!("{:.2}", median / base))
}

fn name(server: Server) -> String {
    if server.is_ours() { format!("**{}**", server.name) } else { server.name.to_owned() }
}

/// Returns the value by which the servers of a case are compared, with its format.
pub(crate) fn key(case: &Case) -> Column {
    columns(case).swap_remove(0)
}

/// Returns the measured servers, best first.
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

#[derive(Clone)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    head: &'static str,
    unit: Unit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// A number of things, or a number per second.
    Number,
    Microseconds,
    Share,
    Bytes,
}

/// A spread above which a median means little.
const LARGE: f64 = 0.25;

impl Column {
    /// Returns the median of the rounds, and the spread if there is one. `~` marks a large spread.
    fn cell(&self, rounds: &Rounds) -> String {
        let value = self.value(rounds);
        match rounds.spread(self.name) {
            Some(spread) if spread > LARGE => format!("~{value} ({:.0} %)", spread * 100.0),
            Some(spread) if spread > 0.0 => format!("{value} ({:.0} %)", spread * 100.0),
            _ => value,
        }
    }

    /// Returns the median alone.
    pub(crate) fn value(&self, rounds: &Rounds) -> String {
        let Some(value) = rounds.median(self.name) else {
            return String::new();
        };
        match self.unit {
            Unit::Number => grouped(value),
            Unit::Microseconds if value < 10.0 => format!("{value:.2} µs"),
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
    let cpu = |head| column("cpu_us", head, Unit::Microseconds);
    match case.kind {
        Kind::Rooms { .. } => {
            let mut columns = vec![cpu("CPU for each"), rate("messages/s")];
            columns.extend(latency);
            columns.extend(shares);
            columns.push(column("closed", "closed", Unit::Number));
            columns
        }
        Kind::Stalled { .. } => stalled_columns().concat(),
        Kind::Quiet { .. } => {
            let [p50, p99, p999] = latency;
            let max = column("max_us", "at most", Unit::Microseconds);
            let mut columns = vec![p99, p50, p999, max, rate("bytes/s to the others")];
            columns.extend(shares);
            columns
        }
        Kind::Subscribed { .. } => {
            let [p50, p99, p999] = latency;
            let mut columns = vec![p99, p50, p999, rate("calls/s")];
            columns.push(column("items", "items/s", Unit::Number));
            columns.extend(shares);
            columns
        }
        Kind::Echo { .. } | Kind::Typed { .. } | Kind::Call { .. } => {
            let what = if matches!(case.kind, Kind::Call { .. }) {
                ["calls per CPU second", "calls/s"]
            } else {
                ["messages per CPU second", "messages/s"]
            };
            let mut columns = vec![per_cpu(what[0]), rate(what[1])];
            columns.extend(latency);
            columns.extend(shares);
            columns
        }
        Kind::Fanout { .. } => {
            let mut columns = vec![per_cpu("deliveries per CPU second"), rate("deliveries/s")];
            if case.group.is_some() {
                columns[0] = cpu("CPU for each delivery");
            }
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
            vec![
                column("server_share", "CPU", Unit::Share),
                column("ping_us", "for each heartbeat", Unit::Microseconds),
                column("pings", "heartbeats", Unit::Number),
                column("closed", "closed", Unit::Number),
            ]
        }
    }
}

/// Returns the columns, split into several tables if there are many.
fn columns_of_group(case: &Case) -> Vec<Vec<Column>> {
    match case.kind {
        Kind::Stalled { .. } => stalled_columns().into(),
        _ => vec![columns(case)],
    }
}

/// Returns the columns of three tables: the effect on readers, the memory, and the closes.
fn stalled_columns() -> [Vec<Column>; 3] {
    let felt = [
        ("p99_us", "p99", Unit::Microseconds),
        ("p50_us", "p50", Unit::Microseconds),
        ("p999_us", "p99.9", Unit::Microseconds),
        ("messages_per_second", "messages/s", Unit::Number),
        ("rate", "deliveries/s", Unit::Number),
        ("lost", "lost", Unit::Number),
        ("cpu_us", "CPU for each delivery", Unit::Microseconds),
        ("server_share", "server CPU", Unit::Share),
        ("load_share", "load CPU", Unit::Share),
        ("late_p99_us", "load late, p99", Unit::Microseconds),
    ];
    let memory = [
        ("resident_max", "in all, at most", Unit::Bytes),
        ("growth", "grew by at most", Unit::Bytes),
        ("bound", "expected at most", Unit::Bytes),
        ("resident_before", "without any", Unit::Bytes),
        ("resident_open", "all open", Unit::Bytes),
        ("resident_after", "all closed", Unit::Bytes),
        ("bytes_per_connection", "for each connection", Unit::Bytes),
        ("outbox", "outbox of each", Unit::Bytes),
    ];
    let end = [
        ("pong_p99_us", "pong p99", Unit::Microseconds),
        ("connections", "connections", Unit::Number),
        ("stalled", "stalled", Unit::Number),
        ("slow_consumers", "closed as too slow", Unit::Number),
        ("seconds_to_1013", "after s", Unit::Number),
        ("closed_1013", "1013 seen", Unit::Number),
        ("closed_1001", "1001 seen", Unit::Number),
        ("cut", "no close frame", Unit::Number),
        ("closed", "of the others closed", Unit::Number),
        ("heartbeats", "heartbeats", Unit::Number),
        ("pong_max_us", "pong at most", Unit::Microseconds),
        ("pongs_missed", "pongs missed", Unit::Number),
        ("goodbyes", "others closed at the end", Unit::Number),
    ];
    let columns = |set: &[(&'static str, &'static str, Unit)]| {
        set.iter().map(|&(name, head, unit)| Column { name, head, unit }).collect()
    };
    [columns(&felt), columns(&memory), columns(&end)]
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

/// Formats as `1 234 567`, with tenths only below ten.
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
    use super::{
        super::{cases, numbers::Sample, servers},
        *,
    };

    #[test]
    fn a_large_spread_is_marked() {
        let cell = |values: &[f64]| {
            let mut measured = Measured::new(cases::all().swap_remove(0));
            let samples = values.iter().map(|value| Sample::from([("rate".to_owned(), *value)]));
            samples.for_each(|sample| measured.add(servers::ALL[0], Ok(sample)));
            let column = Column { name: "rate", head: "", unit: Unit::Number };
            column.cell(&measured.servers[0].1)
        };
        assert_eq!(cell(&[100.0]), "100");
        assert_eq!(cell(&[100.0, 110.0, 120.0]), "110 (18 %)");
        assert_eq!(cell(&[100.0, 110.0, 140.0]), "~110 (36 %)");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(1_234_567.4), "1\u{202f}234\u{202f}567");
        assert_eq!((grouped(999.0), grouped(0.0), grouped(2.5)), ("999".into(), "0".into(), "2.5".into()));
    }
}
