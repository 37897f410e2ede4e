//! `cargo xtask fuzz`: runs every fuzz target of the core.

use std::{fs, process::Command};

use crate::command::{Outcome, program, repository, run, run_each, works};
use crate::metadata::Metadata;

pub(crate) const DEFAULT_SECONDS: u32 = 600;

pub(crate) fn fuzz(arguments: &[&str]) -> Outcome {
    let seconds = seconds(arguments)?;
    check_tools()?;
    let targets = targets()?;
    println!("{} targets, {seconds} s each", targets.len());
    let found = Metadata::of_workspace()?.target_directory.join("fuzz-corpus");
    run_each(targets, |target| {
        // New inputs go to the first corpus, not to the committed one.
        let found = found.join(&target);
        fs::create_dir_all(&found).map_err(|error| format!("{} can't be made: {error}", found.display()))?;
        run(nightly_cargo()
            .current_dir(repository().join("realtime-core"))
            .args(["fuzz", "run", &target])
            .arg(found)
            .arg(format!("fuzz/corpus/{target}"))
            .args(["--", &format!("-max_total_time={seconds}")]))
    })
}

fn seconds(arguments: &[&str]) -> Outcome<u32> {
    let usage = "usage: cargo xtask fuzz [SECONDS], a whole number above 0";
    match arguments {
        [] => Ok(DEFAULT_SECONDS),
        // libFuzzer treats 0 as unlimited.
        [number] => match number.parse() {
            Ok(seconds) if seconds > 0 => Ok(seconds),
            _ => Err(usage.to_owned()),
        },
        _ => Err(usage.to_owned()),
    }
}

fn check_tools() -> Outcome {
    if !works(nightly_cargo().arg("--version"))? {
        return Err("fuzzing needs a nightly toolchain: rustup toolchain install nightly".into());
    }
    if !works(nightly_cargo().args(["fuzz", "--version"]))? {
        return Err("fuzzing needs cargo-fuzz: cargo install cargo-fuzz --locked".into());
    }
    Ok(())
}

/// Returns the cargo on the PATH, which understands `+nightly`. Removes CARGO, with which cargo-fuzz would build
/// instead.
fn nightly_cargo() -> Command {
    let mut cargo = program("cargo");
    cargo.env_remove("CARGO").arg("+nightly");
    cargo
}

fn targets() -> Outcome<Vec<String>> {
    let manifest = repository().join("realtime-core/fuzz/Cargo.toml");
    let metadata = Metadata::of_manifest(&manifest)?;
    let targets = metadata.packages().flat_map(|package| &package.targets);
    let binaries = targets.filter(|target| target.kind.iter().any(|kind| kind == "bin"));
    Ok(binaries.map(|target| target.name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_optional_and_never_endless() {
        assert_eq!(seconds(&[]), Ok(DEFAULT_SECONDS));
        assert_eq!(seconds(&["30"]), Ok(30));
        for wrong in [&["0"] as &[&str], &["soon"], &["1", "2"]] {
            assert!(seconds(wrong).is_err(), "{wrong:?}");
        }
    }
}
