//! The pages of the examples, against the types that their servers generate.

use crate::browser::check_node;
use crate::command::{Outcome, program, repository, run};

/// The compiler has a lock file of its own, beside the tests of the crate that generates the types.
const COMPILER: &str = "realtime-schema/tests/tsc";

/// Fails at a page that uses what its server no longer has. That the files of types are up to date, the tests check.
pub(crate) fn test() -> Outcome {
    check_node()?;
    let compiler = repository().join(COMPILER);
    run(program("npm").current_dir(&compiler).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
    let tsc = compiler.join("node_modules/typescript/bin/tsc");
    run(program("node").current_dir(repository()).arg(tsc).args(["--project", "examples"]))
}
