//! `cargo xtask test`: the steps of CI, in order.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::command::{Outcome, cargo, run, run_each};
use crate::{
    api, boundaries, brokers, browser, client_ts, instructions, interleavings, msrv, packages, schema, soak,
};

/// Runs the steps selected by the flags, all of them even if one fails.
pub(crate) fn test(flags: &[&str]) -> Outcome<ExitCode> {
    let selected = select(flags)?;
    let reports: Vec<Report> = selected.into_iter().map(run_step).collect();
    let failed = reports.iter().filter(|report| report.outcome.is_err()).count();

    summarize(&reports);
    println!("\n{} passed, {failed} failed", reports.len() - failed);
    if failed > 0 {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    run: fn() -> Outcome,
}

pub(crate) const STEPS: [Step; 16] = [
    Step { name: "fmt", about: "the formatting of every crate", run: fmt },
    Step { name: "clippy", about: "the lints, any warning being an error", run: clippy },
    Step { name: "docs", about: "the documentation builds without a warning", run: docs },
    Step { name: "api", about: "the public interfaces are the accepted ones", run: api::test },
    Step { name: "tests", about: "unit, conformance, compile-fail and documentation tests", run: tests },
    Step { name: "brokers", about: "the broker on real servers, and their faults", run: brokers::test },
    Step {
        name: "interleavings",
        about: "connections and their environment make progress in random interleavings",
        run: interleavings::test,
    },
    Step {
        name: "instructions",
        about: "the cost of the hot paths, in instructions, is the accepted one",
        run: instructions::test,
    },
    Step {
        name: "soak",
        about: "a server stays within its budget of memory, and feeds lose nothing unsaid, for some seconds",
        run: soak::test,
    },
    Step { name: "features", about: "crates compile with every combination of their features", run: features },
    Step {
        name: "boundaries",
        about: "the core's dependencies, the rust-version, the size of the adapters",
        run: boundaries::check,
    },
    Step {
        name: "packages",
        about: "the libraries can be published, and what is packed compiles",
        run: packages::test,
    },
    Step { name: "msrv", about: "the libraries compile with the oldest compiler they declare", run: msrv::test },
    Step {
        name: "schema",
        about: "the pages of the examples use what their servers have, by the generated types",
        run: schema::test,
    },
    Step {
        name: "browser",
        about: "the chat on every server, and the dashboard, in Chromium",
        run: browser::test,
    },
    Step {
        name: "client-ts",
        about: "the TypeScript client: types, tests, package, size, and pages in Chromium and Firefox",
        run: client_ts::test,
    },
];

fn fmt() -> Outcome {
    run(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Outcome {
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--all-features"]).args(["--", "-D", "warnings"]))
}

fn docs() -> Outcome {
    run(cargo().env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps", "--all-features"]))
}

fn tests() -> Outcome {
    // The bench is run manually: its servers take longer to build than all tests. `brokers` needs servers.
    let others = ["--exclude", "bench", "--exclude", "broker-redis"];
    run(cargo().args(["test", "--workspace"]).args(others).args(["--all-features", "--no-fail-fast"]))
}

/// Crates that have features, and which.
const FEATURES: [(&str, &[&str]); 6] = [
    ("adapter-hyper", &["tokio", "smol", "async-std"]),
    ("adapter-testing", &["deflate", "http2", "schema"]),
    ("broker-redis", &["tls"]),
    ("realtime-core", &["deflate", "garde", "schema", "validator"]),
    ("realtime-client", &["rustls"]),
    ("realtime-protocol", &["garde", "schema", "validator"]),
];

fn features() -> Outcome {
    let checks = FEATURES
        .iter()
        .flat_map(|(name, features)| combinations(features).into_iter().map(move |features| (*name, features)));
    run_each(checks, |(name, features)| {
        run(cargo().args(["check", "-p", name, "--no-default-features"]).args(["--features", &features]))
    })
}

/// Returns every subset of the features, the empty one first, in cargo's form.
fn combinations(features: &[&str]) -> Vec<String> {
    let subset = |bits: usize| {
        let chosen = features.iter().enumerate();
        let chosen = chosen.filter(|(index, _)| bits >> index & 1 == 1);
        chosen.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    };
    (0..1 << features.len()).map(subset).collect()
}

fn select(flags: &[&str]) -> Outcome<Vec<&'static Step>> {
    let mut only = Vec::new();
    let mut skipped = Vec::new();
    for pair in flags.chunks(2) {
        match pair {
            ["--only", name] => only.push(known(name)?),
            ["--skip", name] => skipped.push(known(name)?),
            [flag @ ("--only" | "--skip")] => {
                return Err(format!("{flag} takes a step: {}", names()));
            }
            [flag, ..] => {
                return Err(format!("there is no flag `{flag}`; `test` takes --skip NAME and --only NAME"));
            }
            [] => {}
        }
    }

    let selected: Vec<&Step> = STEPS
        .iter()
        .filter(|step| only.is_empty() || only.contains(&step.name))
        .filter(|step| !skipped.contains(&step.name))
        .collect();
    if selected.is_empty() {
        return Err(format!("the flags leave no step to run, of {}", names()));
    }
    Ok(selected)
}

fn known(name: &str) -> Outcome<&'static str> {
    STEPS
        .iter()
        .map(|step| step.name)
        .find(|known| *known == name)
        .ok_or_else(|| format!("there is no step `{name}`, only {}", names()))
}

fn names() -> String {
    STEPS.map(|step| step.name).join(", ")
}

struct Report {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

fn run_step(step: &Step) -> Report {
    println!("\n=== {}: {}", step.name, step.about);
    let started = Instant::now();
    let outcome = (step.run)();
    let took = started.elapsed();
    let verdict = verdict(&outcome);
    println!("=== {} {verdict} after {:.1} s", step.name, took.as_secs_f64());
    Report { name: step.name, outcome, took }
}

fn summarize(reports: &[Report]) {
    for report in reports {
        if let Err(problem) = &report.outcome {
            println!("\n{} failed:\n{problem}", report.name);
        }
    }
    println!();
    for step in &STEPS {
        let Some(report) = reports.iter().find(|report| report.name == step.name) else {
            println!("{:<14}left out", step.name);
            continue;
        };
        println!("{:<14}{:<8}{:>8.1} s", step.name, verdict(&report.outcome), report.took.as_secs_f64());
    }
}

fn verdict(outcome: &Outcome) -> &'static str {
    match outcome {
        Ok(()) => "passed",
        Err(_) => "FAILED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_there_once() {
        assert_eq!(combinations(&["a", "b"]), ["", "a", "b", "a,b"]);
        assert_eq!(combinations(&["a", "b", "c"]).len(), 8);
    }

    #[test]
    fn without_flags_every_step_is_run() {
        assert_eq!(selected(&[]).unwrap().len(), STEPS.len());
    }

    #[test]
    fn flags_choose_steps_and_keep_their_order() {
        assert_eq!(selected(&["--only", "tests", "--only", "fmt"]).unwrap(), ["fmt", "tests"]);
        let without_browser = selected(&["--skip", "browser"]).unwrap();
        assert_eq!(without_browser.len(), STEPS.len() - 1);
        assert!(!without_browser.contains(&"browser"));
    }

    #[test]
    fn wrong_flags_are_refused_with_the_right_ones() {
        for (flags, said) in [
            (&["--quick"] as &[&str], "--skip NAME"),
            (&["--only"], "fmt, clippy"),
            (&["--skip", "brwser"], "fmt, clippy"),
            (&["--only", "fmt", "--skip", "fmt"], "no step to run"),
        ] {
            let problem = selected(flags).unwrap_err();
            assert!(problem.contains(said), "{flags:?}: {problem}");
        }
    }

    fn selected(flags: &[&str]) -> Outcome<Vec<&'static str>> {
        Ok(select(flags)?.iter().map(|step| step.name).collect())
    }
}
