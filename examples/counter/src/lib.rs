//! A counter that several terminals share.
//!
//! [`api`] is what both ends agree on, [`server`] and [`client`] are the ends. `tests/counter.rs` has one server and
//! its clients in one process.

pub mod api;
pub mod client;
pub mod server;
