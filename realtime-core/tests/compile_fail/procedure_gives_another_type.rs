//! A procedure gives what its name says.

use realtime_core::{Endpoint, Procedure};

const LENGTH: Procedure<String, usize> = Procedure::new("length");

fn main() {
    let _ = Endpoint::new(()).procedure(LENGTH, |_call, text| async move { Ok(text) });
}
