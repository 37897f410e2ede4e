//! The project's performance bench: `cargo run --release -p bench`.
//!
//! It builds the servers and the load generator, starts them, lets the servers take turns at each
//! case, and prints a table for each. `README.md` says how it is measured.

#![allow(clippy::print_stdout)]

mod runner;

fn main() -> bench::Outcome {
    runner::run(std::env::args().skip(1))
}
