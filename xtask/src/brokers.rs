//! `cargo xtask test --only brokers`: the brokers on real servers, which the tests start and end themselves, and nodes on them.

use crate::{
    command::{Outcome, cargo, program, run, works},
    debian, soak,
};

/// Programs that the tests start. A server that runs on the system already is not used.
const SERVERS: [&str; 2] = ["redis-server", "redis-sentinel"];

/// Installs the servers, if they are missing, and runs the tests.
pub(crate) fn test() -> Outcome {
    if !all_work()? {
        debian::install("redis-server", &SERVERS, "or leave this step out by `--skip brokers`")?;
    }
    run(cargo().args(["test", "-p", "broker-redis", "--all-features", "--no-fail-fast"]))?;
    soak::test_with_redis()
}

fn all_work() -> Outcome<bool> {
    for server in SERVERS {
        if !works(program(server).arg("--version"))? {
            return Ok(false);
        }
    }
    Ok(true)
}
