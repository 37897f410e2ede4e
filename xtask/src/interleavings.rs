//! `cargo xtask interleavings`: runs connections and their environment in random interleavings.

use crate::command::{Outcome, cargo, run};
use crate::metadata::Metadata;

/// The number of interleavings of each case in CI: of those that once showed a fault, one in a hundred did.
const SHORT: u32 = 1_000;

/// Runs the step of CI.
pub(crate) fn test() -> Outcome {
    interleave(SHORT)
}

/// Runs each case with a chosen number of interleavings.
pub(crate) fn interleavings(arguments: &[&str]) -> Outcome {
    match arguments {
        [] => interleave(100 * SHORT),
        [count] => match count.parse() {
            Ok(count) if count > 0 => interleave(count),
            _ => Err(USAGE.to_owned()),
        },
        _ => Err(USAGE.to_owned()),
    }
}

const USAGE: &str = "usage: cargo xtask interleavings [COUNT], a whole number above 0";

fn interleave(count: u32) -> Outcome {
    // The flag changes every compilation: its own folder keeps other builds valid.
    let target = Metadata::of_workspace()?.target_directory.join("interleavings");
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    run(cargo()
        .env("RUSTFLAGS", format!("{flags} --cfg interleavings"))
        .env("INTERLEAVINGS", count.to_string())
        .args(["test", "-p", "realtime-core", "--test", "interleavings", "--target-dir"])
        .arg(target))
}
