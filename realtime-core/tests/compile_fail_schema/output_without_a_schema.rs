//! What a described endpoint sends has a schema.

use realtime_core::{Endpoint, Procedure};
use serde::Serialize;

#[derive(Serialize)]
struct Report;

const RUN: Procedure<(), Report> = Procedure::new("run");

fn main() {
    let _ = Endpoint::described(()).procedure(RUN, |_, ()| async { Ok(Report) });
}
