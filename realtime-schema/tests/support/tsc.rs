//! The TypeScript compiler in tests.

#[path = "node.rs"]
mod node;

use std::fs;
use std::path::Path;

/// Checks files with `tsc --strict`, beside a stand-in for the npm package that they import.
///
/// # Panics
///
/// If the compiler reports errors, with these and the path of the files.
pub(crate) fn check(name: &str, files: &[(&str, &str)]) {
    let tools = node::installed("tsc");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    for (file, text) in files {
        fs::write(directory.join(file), text).unwrap();
    }
    let config = serde_json::json!({
        "compilerOptions": {
            "strict": true, "noEmit": true, "target": "es2022", "module": "nodenext", "types": [],
            "noUnusedLocals": true, "skipLibCheck": true,
            "paths": { "realtime-client": [tools.join("client.ts")] },
        },
        "files": files.iter().map(|(file, _)| *file).collect::<Vec<_>>(),
    });
    fs::write(directory.join("tsconfig.json"), config.to_string()).unwrap();
    fs::write(directory.join("package.json"), r#"{ "type": "module" }"#).unwrap();
    let compiler = tools.join("node_modules/typescript/bin/tsc");
    node::run(&compiler, &["--pretty".as_ref(), "false".as_ref(), "-p".as_ref(), directory.as_os_str()]);
}
