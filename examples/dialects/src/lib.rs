//! One server for the clients of five TypeScript systems, which need no change: chatter, ws-kit, eclipsa, `@ereo/rpc`,
//! and the bare sockets and event streams of a guide.
//!
//! Each module has the application that its documentation shows, as a handler or an endpoint. Where the frames are not
//! those of this library, there is a [`Protocol`](realtime_core::protocol::Protocol) beside it, which the mount
//! prescribes.

pub mod chatter;
pub mod eclipsa;
pub mod ereo;
pub mod guide;
pub mod ws_kit;

use realtime_core::{Code, Error, Realtime};
use std::{
    fmt::Display,
    time::{SystemTime, UNIX_EPOCH},
};

/// Builds the registry: each system at the path that its clients connect to.
pub fn realtime() -> Realtime {
    Realtime::builder()
        .handler("counter", chatter::mount())
        .handler("chat", ws_kit::mount())
        .handler("room", eclipsa::mount())
        .handler("rpc", ereo::mount())
        .handler("guide", guide::socket())
        .handler("ticks", guide::ticks())
        .build()
}

/// Returns the error for a frame that a protocol cannot read.
fn unreadable(why: impl Display) -> Error {
    Error::new(Code::PARSE_ERROR, why.to_string())
}

/// Returns the milliseconds since 1970, as `Date.now()`.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// The examples of the page are compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/coming-from.md")]
struct ComingFrom;
