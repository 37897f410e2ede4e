//! The project's performance bench: `cargo run --release -p bench`.
//!
//! It builds the servers and the load generator, starts them, measures the servers in turns for each case, and prints a
//! table for each. `README.md` describes the method.

#![allow(clippy::print_stdout)]

mod runner;

fn main() -> bench::Outcome {
    runner::run(std::env::args().skip(1))
}
