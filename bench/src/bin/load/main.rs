//! The load generator: one thread, epoll, this machine only. It stops by itself and prints its measurements as one JSON
//! object.
//!
//! It builds its frames before it measures and inspects replies as little as possible, so that it uses less of its core
//! than the server: the measurement is of the server.

#![allow(clippy::print_stdout)]

mod churn;
mod clients;
mod echo;
mod fanout;
mod frames;
mod histogram;
mod idle;
mod meter;
mod options;
mod quiet;
mod stalled;
mod subscribed;

use bench::{Outcome, process};
use options::{Mode, Options};
use std::collections::BTreeMap;

fn main() -> Outcome {
    process::prepare()?;
    let options = Options::parse(std::env::args().skip(1))?;
    let report = match options.mode {
        Mode::Echo => echo::run(&options)?,
        Mode::Fanout => fanout::run(&options)?,
        Mode::Subscribed => subscribed::run(&options)?,
        Mode::Churn => churn::run(&options)?,
        Mode::Idle => idle::run(&options)?,
        Mode::Stalled => stalled::run(&options)?,
        Mode::Quiet => quiet::run(&options)?,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// The measured values by name. The runner's tables use the names.
type Report = BTreeMap<&'static str, f64>;
