//! `cargo xtask soak`: loads that tests cannot make.
//!
//! `memory`: half of the clients do not read, and the server stays within its budget of memory, serves
//! the others as before, and tells each client what it has lost.

#![allow(clippy::print_stdout)]

mod client;
mod cluster;
mod failover;
mod figures;
mod follower;
mod load;
mod process;
mod restart;
mod resume;
mod server;

use figures::Figures;
use std::{env, error::Error, process::ExitCode};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Outcome {
    process::raise_file_limit()?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &*words {
        ["serve", budget, outbox] => server::serve(budget.parse()?, outbox.parse()?),
        ["serve-feeds", port] => restart::serve(port.parse()?),
        ["restart", options @ ..] => restart::run(&restart::Options::of(options)?),
        ["resume", options @ ..] => resume::run(options),
        ["serve-cluster", number, port, door, redis] => {
            cluster::serve(number.parse()?, port.parse()?, door.parse()?, redis.parse()?)
        }
        ["cluster", options @ ..] => cluster::run(&cluster::Options::of(options)?),
        ["failover", options @ ..] => failover::run(options),
        ["memory", options @ ..] => memory(&Options::of(options)?),
        _ => Err("usage: soak memory [--clients N] [--seconds N] [--budget MIB] [--strict]\n       \
                  soak restart [--clients N] [--typescript N] [--kills N]\n       \
                  soak resume [--clients N]\n       \
                  soak cluster [--messages N] [--rate N] [--seed N] [--no-file] [--no-faults]\n       \
                  soak failover [--topics N]"
            .into()),
    }
}

#[derive(Clone, Copy, Debug)]
struct Options {
    clients: usize,
    seconds: u64,
    /// In bytes.
    budget: usize,
    /// Fails above the bounds of memory and time too, which mean something on a quiet machine only.
    strict: bool,
}

impl Options {
    fn of(words: &[&str]) -> Outcome<Self> {
        let mut options = Self { clients: 1000, seconds: 10, budget: 256 << 20, strict: false };
        let words = words.strip_suffix(&["--strict"]).inspect(|_| options.strict = true).unwrap_or(words);
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} has no value", pair[0]).into()) };
            match *name {
                "--clients" => options.clients = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--budget" => options.budget = value.parse::<usize>()? << 20,
                unknown => return Err(format!("there is no option {unknown}").into()),
            }
        }
        Ok(options)
    }
}

impl Options {
    /// Twice what the budget leaves to each client with messages of its own: it is the budget that is tested.
    fn outbox(&self) -> usize {
        2 * self.budget / (self.clients / 4).max(1)
    }
}

/// Runs the load twice, first with clients that all read.
fn memory(options: &Options) -> Outcome {
    println!("{} clients, {} s, a budget of {} MiB", options.clients, options.seconds, options.budget >> 20);
    let all_read = load::run(options, false)?;
    println!("all read:         {all_read}");
    let half_stalled = load::run(options, true)?;
    println!("half do not read: {half_stalled}");
    let problems = problems(options, &all_read, &half_stalled);
    if problems.is_empty() {
        return Ok(());
    }
    Err(problems.join("\n       ").into())
}

fn problems(options: &Options, all_read: &Figures, half_stalled: &Figures) -> Vec<String> {
    let figures = half_stalled;
    let bound = options.budget + options.budget / 10;
    // Beyond what the same work takes where all read: code, buffers of threads, the connections.
    let grown = figures.peak.saturating_sub(all_read.peak) as usize;
    // Below it is the scheduler's noise.
    let slow = all_read.p99_us.max(LEAST_US) * 3 / 2;
    println!(
        "the server grew by {} MiB more, of {} MiB; the p99 is {} µs, of {slow} µs",
        grown >> 20,
        bound >> 20,
        figures.p99_us
    );
    let checks = [
        (grown <= bound || !options.strict, format!("the server grew by {grown} bytes, over {bound}")),
        (grown <= 2 * options.budget, format!("the server grew by {grown} bytes, twice its budget")),
        (
            figures.most_used <= options.budget,
            format!("the ledger was at {} bytes, over the budget of {}", figures.most_used, options.budget),
        ),
        (figures.dropped > 0, "nothing was held back and dropped".to_owned()),
        (figures.closed > 0, "the budget was never used up: more clients or seconds are needed".to_owned()),
        (figures.p99_us <= slow || !options.strict, format!("the p99 is {} µs, over {slow}", figures.p99_us)),
        (figures.unpinged == 0, format!("{} clients were not pinged", figures.unpinged)),
        (figures.lost_healthy == 0, format!("{} clients that read were closed", figures.lost_healthy)),
        (figures.missing == 0, format!("{} messages to clients that read are missing", figures.missing)),
        (
            figures.closed == figures.told_closed,
            format!("{} clients were closed, and {} told", figures.closed, figures.told_closed),
        ),
        (figures.unaccounted == 0, format!("{} clients were not told what they missed", figures.unaccounted)),
        (
            figures.own_missing <= figures.given_back,
            format!("{} messages are lost, and {} were given back", figures.own_missing, figures.given_back),
        ),
        (figures.left == 0, format!("{} bytes are left on the ledger", figures.left)),
    ];
    checks.into_iter().filter(|(holds, _)| !holds).map(|(_, problem)| problem).collect()
}

/// The least p99 that another is compared with, in microseconds.
const LEAST_US: u64 = 20_000;
