//! The TypeScript client: its types, tests, package and size, and pages in Chromium against the examples' servers.

use crate::browser::{check_node, chromium};
use crate::command::{Outcome, cargo, program, repository, run, run_each};
use crate::metadata::Metadata;

/// The scripts of the package, in order. The last two fail if a size is over its limit, or if the module of an example's page
/// is stale.
const SCRIPTS: [&str; 6] = ["check", "test", "build", "package", "size", "pages:check"];

/// Scripts that start a server of their own.
const AGAINST_SERVERS: [&str; 2] = ["server", "browser"];

const CLEAN_INSTALL: [&str; 4] = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];

pub(crate) fn test() -> Outcome {
    check_node()?;
    let chromium = chromium()?;
    let folder = repository().join("client-ts");
    let npm = || {
        let mut npm = program("npm");
        npm.current_dir(&folder);
        npm
    };
    run(npm().args(CLEAN_INSTALL))?;
    run_each(SCRIPTS, |script| run(npm().args(["run", script])))?;
    run(cargo().args(["build", "-p", "counter", "-p", "dashboard", "-p", "board", "--bins"]))?;
    run(cargo().args(["build", "-p", "realtime-client", "--example", "feeds"]))?;
    check_board()?;
    let target = Metadata::of_workspace()?.target_directory;
    run_each(AGAINST_SERVERS, |script| {
        run(npm().env("CHROMIUM", &chromium).env("TARGET", target.join("debug")).args(["run", script]))
    })
}

/// Checks the types of the board's page. Its server builds the page, but Vite reads no types.
fn check_board() -> Outcome {
    let folder = repository().join("examples/board/web");
    run(program("npm").current_dir(&folder).args(CLEAN_INSTALL))?;
    run(program("npm").current_dir(&folder).args(["run", "check"]))
}
