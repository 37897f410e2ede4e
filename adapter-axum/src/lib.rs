#![doc = include_str!("../README.md")]

mod routes;
mod upgrade;

pub use routes::{routes, upgrade_websocket};
