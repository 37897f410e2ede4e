//! The TypeScript client: its types, tests, package and size, and pages in browsers against servers, directly and behind
//! proxies.

use std::process::Command;

use crate::browser::{check_node, chromium, create_folder, firefox};
use crate::command::{Outcome, cargo, none_of, program, repository, run, run_each};
use crate::metadata::Metadata;
use crate::proxies::Front;

/// The scripts of the package, in order. The last two fail if a size is over its limit, or if the module of an example's page
/// is stale.
const SCRIPTS: [&str; 6] = ["check", "test", "build", "package", "size", "pages:check"];

/// Scripts that start a server of their own.
const AGAINST_SERVERS: [&str; 2] = ["server", "browser"];

/// The proxies behind which pages are tested.
const PROXIES: [&str; 2] = ["nginx", "haproxy"];

/// The examples whose servers these need.
const SERVERS: [&str; 4] = ["counter", "dashboard", "board", "in-browsers"];

const CLEAN_INSTALL: [&str; 4] = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];

pub(crate) fn test() -> Outcome {
    check_node()?;
    let (chromium, firefox) = (chromium()?, firefox()?);
    let folder = repository().join("client-ts");
    let npm = || {
        let mut npm = program("npm");
        npm.current_dir(&folder);
        npm
    };
    run(npm().args(CLEAN_INSTALL))?;
    run_each(SCRIPTS, |script| run(npm().args(["run", script])))?;
    run(cargo().arg("build").args(SERVERS.iter().flat_map(|name| ["-p", name])).arg("--bins"))?;
    run(cargo().args(["build", "-p", "realtime-client", "--example", "feeds"]))?;
    check_board()?;
    let target = Metadata::of_workspace()?.target_directory;
    let screenshots = target.join("screenshots/client-ts");
    create_folder(&screenshots)?;
    let against_servers = || {
        let mut npm = npm();
        npm.env("CHROMIUM", &chromium).env("FIREFOX", &firefox);
        npm.env("TARGET", target.join("debug")).env("SHOTS", &screenshots);
        npm
    };
    let outcomes = [
        run_each(AGAINST_SERVERS, |script| run(against_servers().args(["run", script]))),
        test_behind_proxies(against_servers()),
    ];
    none_of(outcomes.into_iter().filter_map(Result::err).collect())
}

/// Runs a script with the proxies in front of ports at which it starts servers.
fn test_behind_proxies(mut npm: Command) -> Outcome {
    let proxies = PROXIES.into_iter().map(Front::start).collect::<Outcome<Vec<_>>>()?;
    let variable = proxies.iter().map(Front::variable).collect::<Vec<_>>().join(" ");
    run(npm.env("PROXIES", variable).args(["run", "proxies"]))
}

/// Checks the types of the board's page. Its server builds the page, but Vite reads no types.
fn check_board() -> Outcome {
    let folder = repository().join("examples/board/web");
    run(program("npm").current_dir(&folder).args(CLEAN_INSTALL))?;
    run(program("npm").current_dir(&folder).args(["run", "check"]))
}
