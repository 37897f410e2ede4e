#![doc = include_str!("../README.md")]

mod error;
mod routes;
mod runtime;
mod runtimes;
mod serve;
mod transport;
mod upgrade;

pub use error::error_response;
pub use routes::{Routes, routes, upgrade_websocket};
pub use serve::{NoTls, Serve, serve};
pub use upgrade::Body;

/// Building blocks for adapters of frameworks that are built on hyper.
pub mod raw {
    #[cfg(feature = "tokio")]
    pub use crate::runtimes::Tokio;
    pub use crate::{
        runtime::Listen,
        serve::{Accept, Signals, set_user_timeout},
        transport::Io,
        upgrade::upgrade,
    };
}
