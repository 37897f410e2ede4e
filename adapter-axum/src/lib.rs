#![doc = include_str!("../README.md")]

mod error;
mod routes;
mod serve;
mod upgrade;

pub use adapter_hyper::Serve;
pub use error::HttpError;
pub use routes::{routes, upgrade_websocket};
pub use serve::{App, cut_stalled, serve};
