//! `cargo xtask soak`: runs a server for a while under loads that tests cannot make.

use crate::command::{Outcome, cargo, run, run_each};

/// The loads of CI, each for some seconds.
const SHORT: [&[&str]; 3] = [
    // The budget is used up.
    &["memory", "--clients", "400", "--seconds", "8", "--budget", "48"],
    &["restart", "--clients", "100", "--kills", "3"],
    &["resume", "--clients", "500"],
];

/// Runs the step of CI.
pub(crate) fn test() -> Outcome {
    run_each(SHORT, soak)
}

/// Runs a load; the words are those of the program `soak`.
pub(crate) fn soak(words: &[&str]) -> Outcome {
    run(cargo().args(["run", "--release", "-p", "soak", "--"]).args(words))
}
