#![doc = include_str!("../README.md")]

mod routes;
mod runtime;
mod transport;
mod upgrade;

pub use routes::{routes, upgrade_websocket};
pub use upgrade::Vars;
