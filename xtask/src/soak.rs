//! `cargo xtask soak`: runs a server for a while under loads that tests cannot make.

use crate::command::{Outcome, cargo, run};

/// The load of CI: the budget is used up within seconds.
const SHORT: [&str; 7] = ["memory", "--clients", "400", "--seconds", "8", "--budget", "48"];

/// Runs the step of CI.
pub(crate) fn test() -> Outcome {
    soak(&SHORT)
}

/// Runs a load; the words are those of the program `soak`.
pub(crate) fn soak(words: &[&str]) -> Outcome {
    run(cargo().args(["run", "--release", "-p", "soak", "--"]).args(words))
}
