//! Installs the tools of a step, if possible: as root on Debian.

use crate::command::{Outcome, output, program, run, works};

/// Installs packages. If it cannot, fails with a message that says how to install the tool, and the alternative.
pub(crate) fn install(tool: &str, packages: &[&str], alternative: &str) -> Outcome {
    let by_hand = format!(
        "install {tool}, on Debian as root by `apt-get update && apt-get install -y \
         --no-install-recommends {}`, {alternative}",
        packages.join(" ")
    );
    if !is_root() || !works(program("apt-get").arg("--version"))? {
        return Err(format!("there is no {tool}: {by_hand}"));
    }
    let with_hint = |problem| format!("{problem}\n{by_hand}");
    run(program("apt-get").arg("update")).map_err(with_hint)?;
    run(program("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages))
    .map_err(with_hint)
}

fn is_root() -> bool {
    output(program("id").arg("-u")).is_ok_and(|said| said.trim_ascii() == b"0")
}
