//! `cargo xtask interleavings`: connections and those around them, in random interleavings.

use crate::command::{Outcome, cargo, run};
use crate::metadata::Metadata;

/// Interleavings of each case: of those that once showed a fault, one in a hundred did.
const SHORT: u32 = 1_000;

/// As a step of CI.
pub(crate) fn test() -> Outcome {
    interleave(SHORT)
}

/// As a command of its own, with as many interleavings of each case as one likes.
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
    // The flag changes how everything is compiled: in a folder of its own, nothing else is compiled anew.
    let target = Metadata::of_workspace()?.target_directory.join("interleavings");
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    run(cargo()
        .env("RUSTFLAGS", format!("{flags} --cfg interleavings"))
        .env("INTERLEAVINGS", count.to_string())
        .args(["test", "-p", "realtime-core", "--test", "interleavings", "--target-dir"])
        .arg(target))
}
