//! The page of results: the tables, and the machine and programs of the measurement.

use super::{
    numbers::{Measured, groups},
    tables::table,
};
use bench::Outcome;
use std::{env, fs, process::Command, thread::available_parallelism};

pub(crate) fn page(report: &[Measured]) -> Outcome<String> {
    let tables: Vec<String> = groups(report).map(table).collect();
    Ok(format!(
        "# Results\n\n\
         Written by the runner; [README.md](README.md) says how it is measured and what the columns mean.\n\n\
         {}\n\n{}",
        facts()?,
        tables.join("\n")
    ))
}

/// Returns the circumstances, as a table.
fn facts() -> Outcome<String> {
    let command: Vec<String> = env::args().skip(1).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let facts = [
        ("processor", processor()?),
        ("cores", available_parallelism()?.to_string()),
        ("kernel", format!("Linux {}", kernel.trim())),
        ("runtime of the servers", env::var("RT").unwrap_or_else(|_| "current".to_owned())),
        ("compiler", said("rustc", &["--version"])?),
        ("commit", said("git", &["describe", "--always", "--dirty"])?),
        ("date", said("date", &["-u", "+%F %H:%M UTC"])?),
        ("command", format!("`cargo run --release -p bench -- {}`", command.join(" "))),
    ];
    let rows: Vec<String> = facts.iter().map(|(name, value)| format!("| {name} | {value} |")).collect();
    Ok(format!("| | |\n|---|---|\n{}", rows.join("\n")))
}

fn processor() -> Outcome<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(name.map_or_else(|| env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned()))
}

fn said(program: &str, words: &[&str]) -> Outcome<String> {
    let output = Command::new(program).args(words).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
