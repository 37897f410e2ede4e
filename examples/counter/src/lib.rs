//! A counter that several terminals share.
//!
//! [`api`] has the names and types that both ends share, [`server`] and [`client`] are the ends. `tests/counter.rs`
//! runs a server and its clients in one process.

pub mod api;
pub mod client;
pub mod server;
