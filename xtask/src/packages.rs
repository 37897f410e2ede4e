//! The packages of the libraries: what a registry and its readers ask of them.

use std::{fs, path::Path};

use crate::boundaries::LIBRARIES;
use crate::command::{Outcome, cargo, none_of, program, repository, run};
use crate::metadata::{Metadata, Package};

/// Checks what each package says of itself, packs all of them, compiles what was packed, and publishes them but for the
/// upload.
pub(crate) fn test() -> Outcome {
    let metadata = Metadata::of_workspace()?;
    let mut problems = Vec::new();
    for name in LIBRARIES {
        problems.extend(metadata_problems(metadata.member(name)?));
        problems.extend(order_problems(metadata.member(name)?));
        problems.extend(licence_problems(&repository(), name)?);
    }
    none_of(problems)?;
    let names = LIBRARIES.iter().flat_map(|name| ["-p", name]);
    run(cargo().args(["package", "--no-verify", "--allow-dirty"]).args(names.clone()))?;
    compile_packed(&metadata)?;
    run(cargo().args(["publish", "--dry-run", "--no-verify", "--allow-dirty"]).args(names))
}

/// Compiles the packed libraries together: cargo would compile their dependencies anew for each.
fn compile_packed(metadata: &Metadata) -> Outcome {
    let target = &metadata.target_directory;
    let folder = target.join("packed");
    let unwritten = |error| format!("{}: {error}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(unwritten)?;
    }
    fs::create_dir_all(&folder).map_err(unwritten)?;
    let mut workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n\n[patch.crates-io]\n".to_owned();
    for name in LIBRARIES {
        let packed = format!("{name}-{}", metadata.member(name)?.version);
        run(program("tar")
            .arg("-xzf")
            .arg(target.join(format!("package/{packed}.crate")))
            .arg("-C")
            .arg(&folder))?;
        workspace.push_str(&format!("{name} = {{ path = \"{packed}\" }}\n"));
    }
    fs::write(folder.join("Cargo.toml"), workspace).map_err(unwritten)?;
    fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).map_err(unwritten)?;
    let mut check = cargo();
    check.args(["check", "--workspace", "--all-features", "--manifest-path"]).arg(folder.join("Cargo.toml"));
    run(check.env("CARGO_TARGET_DIR", target))
}

/// At most as many as crates.io takes, and at least one.
const KEYWORDS: usize = 5;

fn metadata_problems(package: &Package) -> Vec<String> {
    let checks = [
        (package.description.is_some(), "a description"),
        (package.license.is_some(), "a license"),
        (package.repository.is_some(), "a repository"),
        (package.readme.is_some(), "a README.md"),
        ((1..=KEYWORDS).contains(&package.keywords.len()), "one to five keywords"),
        ((1..=KEYWORDS).contains(&package.categories.len()), "one to five categories"),
        (package.has_docs_of_all_features(), "[package.metadata.docs.rs] with all-features = true"),
    ];
    let missing = checks.iter().filter(|(is_there, _)| !is_there);
    missing.map(|(_, what)| format!("{} needs {what}", package.name)).collect()
}

/// The order in which a registry can take the libraries.
const ORDER: [&str; 9] = [
    "realtime-protocol",
    "realtime-core",
    "adapter-hyper",
    "realtime-client",
    "adapter-axum",
    "adapter-actix",
    "realtime-schema",
    "broker-redis",
    "adapter-testing",
];

/// A package goes without its dependencies for tests that have no version; all others must be published before it.
fn order_problems(package: &Package) -> Vec<String> {
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    let Some(own) = place(&package.name) else {
        return vec![format!("{} has no place in the order of publishing", package.name)];
    };
    let later = package.dependencies.iter().filter(|dependency| dependency.req != "*");
    let later = later.filter(|dependency| place(&dependency.name).is_some_and(|place| place >= own));
    later.map(|later| format!("{} needs {}, which is published later", package.name, later.name)).collect()
}

const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// A package has only the files of its own folder, and both licences ask for their text.
fn licence_problems(repository: &Path, name: &str) -> Outcome<Vec<String>> {
    let mut problems = Vec::new();
    for licence in LICENCES {
        let text = fs::read(repository.join(licence)).map_err(|error| format!("{licence}: {error}"))?;
        if fs::read(repository.join(name).join(licence)).ok() != Some(text) {
            problems.push(format!("{name}/{licence} is not a copy of {licence}"));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_lacks_is_named() {
        let package = |text: &str| serde_json::from_str::<Package>(text).unwrap();
        let bare = package(r#"{"id":"a","name":"a","version":"1.0.0","targets":[]}"#);
        assert_eq!(metadata_problems(&bare).len(), 7);
        let whole = package(
            r#"{"id":"a","name":"a","version":"1.0.0","targets":[],"description":"d","license":"MIT","repository":"r",
                "readme":"README.md","keywords":["k"],"categories":["c"],"metadata":{"docs":{"rs":{"all-features":true}}}}"#,
        );
        assert_eq!(metadata_problems(&whole), [""; 0]);
    }

    #[test]
    fn a_package_needs_none_that_is_published_later() {
        let package = |name: &str, of: &str, req: &str| {
            let dependencies = serde_json::json!([{ "name": of, "req": req }]);
            let package = serde_json::json!({ "id": name, "name": name, "version": "1.0.0", "targets": [],
                "dependencies": dependencies });
            serde_json::from_value::<Package>(package).unwrap()
        };
        assert_eq!(order_problems(&package("realtime-core", "realtime-protocol", "^0.1.0")), [""; 0]);
        assert_eq!(order_problems(&package("realtime-core", "adapter-testing", "*")), [""; 0]);
        assert_eq!(order_problems(&package("realtime-protocol", "realtime-core", "^0.1.0")).len(), 1);
        assert_eq!(order_problems(&package("broker", "realtime-core", "^0.1.0")).len(), 1);
    }
}
