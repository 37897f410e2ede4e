//! Node.js programs in tests.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Installs the packages in the lock file of a test directory, once, and returns the directory.
///
/// # Panics
///
/// Without Node.js and npm.
pub(crate) fn installed(directory: &str) -> PathBuf {
    // Tests of one program run in parallel.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let lock = fs::read(directory.join("package-lock.json")).unwrap();
    let stamp = directory.join("node_modules/.installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return directory;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&directory);
    let status = npm.status().expect("this test needs Node.js 20 or later, with npm");
    assert!(status.success(), "`npm ci` failed in {}", directory.display());
    fs::write(stamp, lock).unwrap();
    directory
}

/// Runs a script.
///
/// # Panics
///
/// If the script fails, with its output.
pub(crate) fn run(script: &Path, arguments: &[&OsStr]) {
    let output = Command::new("node").arg(script).args(arguments).output();
    let output = output.expect("this test needs Node.js 20 or later");
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    assert!(output.status.success(), "{} {arguments:?}:\n{}", script.display(), said.join("\n"));
}
