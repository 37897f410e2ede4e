//! The broker on real servers, which each test starts and ends itself.

mod cluster;
mod faults;
mod foreign;
mod lives;
mod logins;
mod network;
mod past;
mod readiness;
mod sentinel;
mod suite;
mod support;
#[cfg(feature = "tls")]
mod tls;
