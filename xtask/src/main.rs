//! The project's own commands, run as `cargo xtask COMMAND`.

#![allow(clippy::print_stdout)]

mod api;
mod book;
mod boundaries;
mod brokers;
mod browser;
mod client_ts;
mod command;
mod debian;
mod documents;
mod fuzz;
mod instructions;
mod interleavings;
mod layers;
mod metadata;
mod msrv;
mod packages;
mod proxies;
mod schema;
mod soak;
mod sources;
mod steps;
mod telling;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    dispatch(&words).unwrap_or_else(|problem| {
        eprintln!("error: {problem}");
        ExitCode::FAILURE
    })
}

fn dispatch(words: &[&str]) -> Result<ExitCode, String> {
    if words.iter().any(|word| ["--help", "-h"].contains(word)) {
        return Ok(help());
    }
    match words {
        [] | ["help", ..] => Ok(help()),
        ["test", flags @ ..] => steps::test(flags),
        ["instructions", flags @ ..] => instructions::instructions(flags).map(|()| ExitCode::SUCCESS),
        ["interleavings", count @ ..] => interleavings::interleavings(count).map(|()| ExitCode::SUCCESS),
        ["proxies", words @ ..] => proxies::proxies(words).map(|()| ExitCode::SUCCESS),
        ["api", flags @ ..] => api::api(flags).map(|()| ExitCode::SUCCESS),
        ["docs"] => book::book().map(|()| ExitCode::SUCCESS),
        ["soak", words @ ..] => soak::soak(words).map(|()| ExitCode::SUCCESS),
        ["fuzz", seconds @ ..] => fuzz::fuzz(seconds).map(|()| ExitCode::SUCCESS),
        [unknown, ..] => Err(format!("there is no command `{unknown}`; `cargo xtask help` lists them")),
    }
}

fn help() -> ExitCode {
    println!("Usage: cargo xtask COMMAND\n");
    println!("  help                     lists the commands");
    println!("  test [FLAGS]             runs everything CI runs");
    println!("  api [--accept]           compares the public interfaces with docs/api; accepts them");
    println!("  docs                     builds the site of the documents");
    println!("  instructions [--accept]  counts the cost of the hot paths; accepts the numbers");
    println!("  interleavings [COUNT]    runs each case with that many random interleavings");
    println!(
        "  fuzz [SECONDS]           runs every fuzz target, each for that long ({} by default)",
        fuzz::DEFAULT_SECONDS
    );
    println!("  proxies [--short] [--server axum|actix|hyper] [NAME...]");
    println!("                           tests a server behind each proxy, or behind those named");
    println!("  soak memory [--clients N] [--seconds N] [--budget MIB] [--strict]");
    println!("                           holds a server to its budget while half of its clients do not read");
    println!("  soak restart [--clients N] [--typescript N] [--kills N]");
    println!(
        "                           kills a server of feeds under load, and adds up what its clients were told"
    );
    println!("  soak resume [--clients N]");
    println!("                           has clients of a feed come back at once");
    println!("  soak cluster [--messages N] [--rate N] [--seed N] [--no-file]");
    println!(
        "                           kills and stops nodes and their Redis under load, and adds up what was told"
    );
    println!("  soak failover [--topics N]");
    println!(
        "                           loses entries by a failover of Redis, and asks who is told that it resumed"
    );
    println!("\nThe steps of `test`, in order; --skip NAME leaves one out, --only NAME runs just");
    println!("that one, and both may be repeated:\n");
    for step in &steps::STEPS {
        println!("  {:<15}{}", step.name, step.about);
    }
    ExitCode::SUCCESS
}
