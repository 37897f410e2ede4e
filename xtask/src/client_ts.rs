//! The TypeScript client: its types, tests, package and size, and pages in Chromium against the examples' servers.

use crate::browser::{check_node, chromium};
use crate::command::{Outcome, cargo, program, repository, run, run_each};
use crate::metadata::Metadata;

/// The scripts of the package, in order. The last one fails if a size is over its limit.
const SCRIPTS: [&str; 5] = ["check", "test", "build", "package", "size"];

/// Scripts that start a server of their own.
const AGAINST_SERVERS: [&str; 2] = ["server", "browser"];

pub(crate) fn test() -> Outcome {
    check_node()?;
    let chromium = chromium()?;
    let folder = repository().join("client-ts");
    let npm = || {
        let mut npm = program("npm");
        npm.current_dir(&folder);
        npm
    };
    run(npm().args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
    run_each(SCRIPTS, |script| run(npm().args(["run", script])))?;
    run(cargo().args(["build", "-p", "counter", "-p", "dashboard", "--bins"]))?;
    let target = Metadata::of_workspace()?.target_directory;
    run_each(AGAINST_SERVERS, |script| {
        run(npm().env("CHROMIUM", &chromium).env("TARGET", target.join("debug")).args(["run", script]))
    })
}
