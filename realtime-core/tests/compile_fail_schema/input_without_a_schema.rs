//! What clients send to a described endpoint has a schema.

use realtime_core::{Endpoint, Procedure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Job;

const RUN: Procedure<Job, bool> = Procedure::new("run");

fn main() {
    let _ = Endpoint::described(()).procedure(RUN, |_, _| async { Ok(true) });
}
