//! Code shared by the servers of the bench: their start, and the handlers of our own.
//!
//! The runner is `main.rs`, the load generator `bin/load`, the cost of a cluster `bin/nodes`; every other file in `bin` is a
//! server.

#![allow(clippy::print_stdout)]

mod handlers;
pub mod process;
mod server;

pub use handlers::{MESSAGE, OUTBOX, realtime};
pub use server::{SEND_BUFFER, listen, pool, run};

/// A result whose error is one line for the terminal.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
