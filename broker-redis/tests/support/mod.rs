//! Servers of a test: real processes on free ports of loopback, in folders of their own, which end with the test.

#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

mod process;
mod topologies;

pub(crate) use process::{Server, connection, free_port};
pub(crate) use topologies::{Cluster, Sentinels};

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until something holds in the servers, which tell nobody.
///
/// # Panics
///
/// If it does not within `limit`.
#[track_caller]
pub(crate) fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
