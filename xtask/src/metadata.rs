//! The packages and their dependencies, from `cargo metadata`.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::command::{Outcome, cargo, output};

#[derive(Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    resolve: Option<Resolve>,
    workspace_members: Vec<String>,
    pub(crate) target_directory: PathBuf,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) rust_version: Option<String>,
    pub(crate) targets: Vec<Target>,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) repository: Option<String>,
    pub(crate) readme: Option<String>,
    #[serde(default)]
    pub(crate) keywords: Vec<String>,
    #[serde(default)]
    pub(crate) categories: Vec<String>,
    #[serde(default)]
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    metadata: serde_json::Value,
}

/// A dependency as its package declares it.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `*` if no version is declared.
    pub(crate) req: String,
}

impl Package {
    /// Returns true if docs.rs builds the documentation with every feature.
    pub(crate) fn has_docs_of_all_features(&self) -> bool {
        self.metadata["docs"]["rs"]["all-features"] == true
    }
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Normal,
    Build,
}

impl Metadata {
    /// Reads the workspace with every feature on, and all its dependencies on any platform.
    pub(crate) fn with_dependencies() -> Outcome<Self> {
        Self::load(&["--all-features"])
    }

    /// Reads only the members of the workspace; nothing is resolved or downloaded.
    pub(crate) fn of_workspace() -> Outcome<Self> {
        Self::load(&["--no-deps"])
    }

    /// Reads the members of the workspace of another manifest.
    pub(crate) fn of_manifest(manifest: &Path) -> Outcome<Self> {
        let manifest = manifest.to_string_lossy();
        Self::load(&["--no-deps", "--manifest-path", &manifest])
    }

    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter()
    }

    pub(crate) fn member(&self, name: &str) -> Outcome<&Package> {
        self.packages()
            .find(|package| package.name == name && self.is_member(package))
            .ok_or_else(|| format!("the workspace has no package {name}"))
    }

    pub(crate) fn is_member(&self, package: &Package) -> bool {
        self.workspace_members.contains(&package.id)
    }

    /// Returns a path for every direct or indirect dependency of these kinds: the packages from the direct dependency
    /// to it.
    pub(crate) fn dependencies(&self, of: &Package, kinds: &[Kind]) -> Vec<Vec<&Package>> {
        let packages = self.packages().map(|package| (package.id.as_str(), package));
        let packages: HashMap<&str, &Package> = packages.collect();
        let nodes = self.resolve.iter().flat_map(|resolve| &resolve.nodes);
        let nodes: HashMap<&str, &Node> = nodes.map(|node| (node.id.as_str(), node)).collect();

        let mut ways: BTreeMap<&str, Vec<&Package>> = BTreeMap::from([(of.id.as_str(), vec![])]);
        let mut queue = VecDeque::from([of.id.as_str()]);
        while let Some(id) = queue.pop_front() {
            for edge in nodes[id].deps.iter().filter(|edge| edge.is_any(kinds)) {
                let next = edge.pkg.as_str();
                if ways.contains_key(next) {
                    continue;
                }
                let mut way = ways[id].clone();
                way.push(packages[next]);
                ways.insert(next, way);
                queue.push_back(next);
            }
        }
        ways.remove(of.id.as_str());
        ways.into_values().collect()
    }

    fn load(arguments: &[&str]) -> Outcome<Self> {
        let said = output(cargo().args(["metadata", "--format-version", "1"]).args(arguments))?;
        parse(&said)
    }
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

impl Edge {
    fn is_any(&self, kinds: &[Kind]) -> bool {
        self.dep_kinds.iter().any(|edge| match edge.kind.as_deref() {
            None => kinds.contains(&Kind::Normal),
            Some("build") => kinds.contains(&Kind::Build),
            Some(_) => false,
        })
    }
}

#[derive(Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

fn parse(said: &[u8]) -> Outcome<Metadata> {
    serde_json::from_slice(said).map_err(|error| format!("`cargo metadata` was not understood: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dependencies_are_followed_by_their_kind_and_each_found_once() {
        let metadata = metadata(&[
            ("core", &[("http", None), ("bytes", None), ("suite", Some("dev")), ("cc", Some("build"))]),
            ("http", &[("bytes", None)]),
            ("bytes", &[]),
            ("suite", &[("core", None)]),
            ("cc", &[("shlex", None)]),
            ("shlex", &[]),
        ]);
        assert_eq!(ways(&metadata, &[Kind::Normal]), ["bytes", "http"]);
        assert_eq!(ways(&metadata, &[Kind::Normal, Kind::Build]), ["bytes", "cc", "http", "cc shlex"]);
    }

    #[test]
    fn a_package_outside_the_workspace_is_no_member() {
        let metadata = metadata(&[("core", &[]), ("http", &[])]);
        assert!(metadata.member("core").is_ok());
        assert!(metadata.member("http").is_err());
    }

    fn ways(metadata: &Metadata, kinds: &[Kind]) -> Vec<String> {
        let core = metadata.member("core").unwrap();
        let ways = metadata.dependencies(core, kinds).into_iter();
        ways.map(|way| way.iter().map(|package| package.name.as_str()).collect::<Vec<_>>().join(" ")).collect()
    }

    type Dependencies<'a> = &'a [(&'a str, Option<&'a str>)];

    /// Returns metadata in which the first package is the only member of the workspace.
    fn metadata(packages: &[(&str, Dependencies<'_>)]) -> Metadata {
        let package = |name: &str| json!({"id": name, "name": name, "version": "1.0.0", "targets": []});
        let edge = |(name, kind): &(&str, Option<&str>)| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let node = |(name, edges): &(&str, Dependencies<'_>)| {
            let edges: Vec<_> = edges.iter().map(edge).collect();
            json!({"id": name, "deps": edges})
        };
        let said = json!({
            "packages": packages.iter().map(|(name, _)| package(name)).collect::<Vec<_>>(),
            "resolve": {"nodes": packages.iter().map(node).collect::<Vec<_>>()},
            "workspace_members": [packages[0].0],
            "target_directory": "target",
        });
        parse(said.to_string().as_bytes()).unwrap()
    }
}
