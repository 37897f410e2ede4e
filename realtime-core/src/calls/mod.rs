//! Procedures, subscriptions and events without their types: routes by name with what stands before them, running calls, and
//! calls that run once for each idempotency key.
//!
//! May import `hub` and the layers beneath it.

mod around;
mod core;
mod idempotent;
mod layers;
mod route;
mod router;
mod run;
mod trace;
mod variables;

pub(crate) use self::core::{CallCore, Origin};
pub(crate) use around::ErasedAround;
pub use around::{Answered, NextCall};
pub(crate) use idempotent::{begin_call, run_call};
pub(crate) use layers::Layers;
pub(crate) use route::{
    Begin, ErasedGuard, FeedOf, Next, OnClose, OnOpen, Piece, Reply, Route, Source, Start, Starts, Streaming,
    TopicOf,
};
pub(crate) use router::Router;
pub(crate) use run::{begin, drop_running, late_error, panicked, poll_running, run_to_end};
