//! `cargo xtask soak`: runs a server for a while under loads that tests cannot make.

use crate::command::{Outcome, cargo, run, run_each};

/// The loads of CI, each for some seconds.
const SHORT: [&[&str]; 3] = [
    // The budget is used up.
    &["memory", "--clients", "400", "--seconds", "8", "--budget", "48"],
    &["restart", "--clients", "100", "--kills", "3"],
    &["resume", "--clients", "500"],
];

/// Those with a Redis, which the step of the brokers installs.
const SHORT_WITH_REDIS: [&[&str]; 3] = [
    &["cluster", "--messages", "8000", "--rate", "2000"],
    &["cluster", "--messages", "4000", "--rate", "1000", "--no-file"],
    &["failover"],
];

/// Runs the step of CI.
pub(crate) fn test() -> Outcome {
    run_each(SHORT, soak)
}

/// Runs the part of the step of the brokers.
pub(crate) fn test_with_redis() -> Outcome {
    run_each(SHORT_WITH_REDIS, soak)
}

/// Runs a load; the words are those of the program `soak`.
pub(crate) fn soak(words: &[&str]) -> Outcome {
    run(cargo().args(["run", "--release", "-p", "soak", "--"]).args(words))
}
