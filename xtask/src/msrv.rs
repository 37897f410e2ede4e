//! The oldest compiler that the libraries declare, and that it compiles them.

use crate::boundaries::LIBRARIES;
use crate::command::{Outcome, program, run, works};
use crate::metadata::Metadata;

/// Checks the libraries with the toolchain of the declared rust-version, which rustup installs if it can. Where it cannot,
/// the declarations of all dependencies, which the step `boundaries` compares, have to do.
pub(crate) fn test() -> Outcome {
    let metadata = Metadata::of_workspace()?;
    let version = metadata.member(LIBRARIES[0])?.rust_version.clone().ok_or("no rust-version is declared")?;
    if !is_installed(&version)? {
        println!(
            "rust {version} cannot be installed here: `rustup toolchain install {version} --profile minimal`"
        );
        return Ok(());
    }
    let target = metadata.target_directory.join("msrv");
    let names = LIBRARIES.iter().flat_map(|name| ["-p", name]);
    // `cargo` has set variables for the toolchain that runs this program.
    let mut check = program("rustup");
    check.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC").env("CARGO_TARGET_DIR", target);
    run(check.args(["run", &version, "cargo", "check", "--locked", "--all-features"]).args(names))
}

fn is_installed(version: &str) -> Outcome<bool> {
    if works(program("rustup").args(["run", version, "rustc", "--version"]))? {
        return Ok(true);
    }
    works(program("rustup").args(["toolchain", "install", version, "--profile", "minimal"]))
}
