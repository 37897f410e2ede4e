//! The compiler of TypeScript, in tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::{env, fs};

/// Checks files with `tsc --strict`, beside a stand-in for the npm package that they import.
///
/// # Panics
///
/// Where the compiler complains, with what it says and where the files are.
pub(crate) fn check(name: &str, files: &[(&str, &str)]) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    for (file, text) in files {
        fs::write(directory.join(file), text).unwrap();
    }
    let client = tools().join("client.ts");
    let config = serde_json::json!({
        "compilerOptions": {
            "strict": true, "noEmit": true, "target": "es2022", "module": "nodenext", "types": [],
            "noUnusedLocals": true, "exactOptionalPropertyTypes": false,
            "paths": { "realtime-client": [client] },
        },
        "files": files.iter().map(|(file, _)| *file).collect::<Vec<_>>(),
    });
    fs::write(directory.join("tsconfig.json"), config.to_string()).unwrap();
    fs::write(directory.join("package.json"), r#"{ "type": "module" }"#).unwrap();
    let output = Command::new("node")
        .arg(tools().join("node_modules/typescript/bin/tsc"))
        .args(["--pretty", "false", "-p"])
        .arg(&directory)
        .output()
        .expect("Node.js runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "tsc complains of {}:\n{said}", directory.display());
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tsc")
}

/// Installs what the lock file says, once.
fn install() {
    let lock = fs::read(tools().join("package-lock.json")).unwrap();
    let stamp = tools().join("node_modules/.installed");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return;
    }
    let status = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(tools())
        .status();
    let status = status.expect("this test needs Node.js 20 or later, with npm");
    assert!(status.success(), "`npm ci` failed in {}", tools().display());
    fs::write(stamp, lock).unwrap();
}
