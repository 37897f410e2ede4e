#![doc = include_str!("../README.md")]

mod error;
mod routes;
mod runtime;
mod serve;
mod transport;
mod upgrade;

pub use error::HttpError;
pub use routes::{routes, upgrade_websocket};
pub use serve::{Serve, configure, cut_stalled, serve};
pub use upgrade::Vars;
