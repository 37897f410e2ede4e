//! Limits of the architecture that the compiler does not check.

use std::{collections::BTreeMap, fmt, path::Path};

use crate::command::{Outcome, none_of, repository};
use crate::metadata::{Kind, Metadata, Package};
use crate::{book, documents, layers, sources};

/// Checks every limit, even after a failure.
pub(crate) fn check() -> Outcome {
    let metadata = Metadata::with_dependencies()?;
    let repository = repository();
    let checks = [
        check_dependencies(&metadata, &CORE_HAS_NO_RUNTIME),
        check_dependencies(&metadata, &CLIENT_HAS_NO_SERVER),
        check_rust_version(&metadata),
        check_adapters(&repository),
        layers::check(&repository),
        documents::check(&repository),
        book::check(&repository),
    ];
    none_of(checks.into_iter().filter_map(Result::err).collect())
}

const CORE: &str = "realtime-core";

const CLIENT: &str = "realtime-client";

/// Packages that one of ours must not depend on, directly or indirectly.
struct Ban {
    of: &'static str,
    forbidden: &'static [&'static str],
    rule: &'static str,
}

/// The adapters depend on both.
const CORE_HAS_NO_RUNTIME: Ban = Ban {
    of: CORE,
    forbidden: &[
        "actix-http",
        "actix-rt",
        "actix-web",
        "async-executor",
        "async-global-executor",
        "async-io",
        "async-net",
        "async-std",
        "axum",
        "axum-core",
        "blocking",
        "futures-executor",
        "h2",
        "hyper",
        "hyper-util",
        "mio",
        "polling",
        "smol",
        "tokio",
        "tokio-tungstenite",
        "tokio-util",
        "tower",
    ],
    rule: "the core depends on no runtime and no web framework",
};

/// Shared code is in realtime-protocol.
const CLIENT_HAS_NO_SERVER: Ban =
    Ban { of: CLIENT, forbidden: &[CORE], rule: "the client does not compile a server" };

fn check_dependencies(metadata: &Metadata, ban: &Ban) -> Outcome {
    let ways = metadata.dependencies(metadata.member(ban.of)?, &[Kind::Normal]);
    println!("{}: {} direct and indirect dependencies: {}", ban.of, ways.len(), ban.rule);
    let ways = ways.iter().map(|way| way.iter().map(|package| package.name.as_str()).collect::<Vec<_>>());
    none_of(ways.filter_map(|way| ban.problem(&way)).collect())
}

impl Ban {
    /// Returns a problem if the last package of a dependency path is forbidden.
    fn problem(&self, way: &[&str]) -> Option<String> {
        let Self { of, rule, .. } = self;
        let forbidden = way.last().is_some_and(|name| self.forbidden.contains(name));
        forbidden.then(|| format!("{rule}: {of} -> {}", way.join(" -> ")))
    }
}

pub(crate) const LIBRARIES: [&str; 9] = [
    CORE,
    "realtime-protocol",
    "adapter-axum",
    "adapter-actix",
    "adapter-hyper",
    "adapter-testing",
    CLIENT,
    "realtime-schema",
    "broker-redis",
];

/// A lower rust-version breaks in a dependency, a higher one excludes users.
fn check_rust_version(metadata: &Metadata) -> Outcome {
    let (needed, by) = needed_rust_version(metadata)?;
    println!("rust-version: {needed}, which {by} needs");
    let mut wrong = Vec::new();
    for name in LIBRARIES {
        if rust_version(metadata.member(name)?)? != needed {
            wrong.push(name);
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} must declare rust-version {needed}, neither more nor less ({by} needs it): set it in \
         [workspace.package] and take it over by `rust-version.workspace = true`",
        wrong.join(", ")
    ))
}

/// Returns the highest rust-version among the dependencies, and a package that has it.
fn needed_rust_version(metadata: &Metadata) -> Outcome<(RustVersion, String)> {
    let mut needed = (RustVersion::default(), "no dependency".to_owned());
    for name in LIBRARIES {
        let library = metadata.member(name)?;
        for way in metadata.dependencies(library, &[Kind::Normal, Kind::Build]) {
            let Some(package) = way.last().filter(|package| !metadata.is_member(package)) else {
                continue;
            };
            let version = rust_version(package)?;
            if version > needed.0 {
                needed = (version, format!("{} {}", package.name, package.version));
            }
        }
    }
    Ok(needed)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct RustVersion {
    major: u32,
    minor: u32,
    patch: u32,
}

impl fmt::Display for RustVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)?;
        if self.patch > 0 {
            write!(formatter, ".{}", self.patch)?;
        }
        Ok(())
    }
}

/// Returns the package's rust-version; the lowest possible if it has none.
fn rust_version(package: &Package) -> Outcome<RustVersion> {
    let Some(text) = &package.rust_version else {
        return Ok(RustVersion::default());
    };
    parse_version(text).ok_or_else(|| format!("{} has the odd rust-version {text:?}", package.name))
}

fn parse_version(text: &str) -> Option<RustVersion> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    let major = numbers.next()??;
    let minor = numbers.next().unwrap_or(Some(0))?;
    let patch = numbers.next().unwrap_or(Some(0))?;
    Some(RustVersion { major, minor, patch })
}

const ADAPTERS: [&str; 3] = ["adapter-axum", "adapter-actix", "adapter-hyper"];

/// The files of each adapter: equal names make the adapters easy to compare.
const FILES_OF_ALL: [&str; 4] = ["lib.rs", "routes.rs", "upgrade.rs", ERROR];

/// Files of adapters that do not reuse those of another.
const FILES_OF_SOME: [&str; 2] = ["runtime.rs", "transport.rs"];

/// The application's errors as answers of its own routes, in the framework's types: no part of a connection, and not
/// counted in an adapter's size.
const ERROR: &str = "error.rs";

/// The server's start and shutdown, as a file or a folder: sockets and signals rather than realtime connections, not
/// counted in an adapter's size.
const SERVE: &str = "serve";

/// The runtimes, which only hyper lets the application choose, not counted either.
const RUNTIMES: &str = "runtimes/";

const LINES_OF_AN_ADAPTER: usize = 300;

fn check_adapters(repository: &Path) -> Outcome {
    let mut adapters = Vec::new();
    for name in ADAPTERS {
        let files = line_counts(&repository.join(name).join("src"))?;
        let total = counted_lines(&files);
        let list = |apart| {
            let listed = files.iter().filter(|(file, _)| is_apart(file) == apart);
            listed.map(|(file, lines)| format!("{file} {lines}")).collect::<Vec<_>>().join(", ")
        };
        println!("{name}/src: {total} lines of at most {LINES_OF_AN_ADAPTER} ({})", list(false));
        println!("{name}/src: counted apart: {}", list(true));
        adapters.push((name, files));
    }
    let mut problems: Vec<String> = adapters.iter().filter_map(size_problem).collect();
    problems.extend(adapters.iter().flat_map(name_problems));
    none_of(problems)
}

type Adapter = (&'static str, Files);

/// The number of lines of each file, by its path in the folder.
type Files = BTreeMap<String, usize>;

fn counted_lines(files: &Files) -> usize {
    files.iter().filter(|(file, _)| !is_apart(file)).map(|(_, lines)| lines).sum()
}

/// Returns true if a file is not counted.
fn is_apart(file: &str) -> bool {
    file == ERROR || file.starts_with(RUNTIMES) || is_serve(file)
}

fn is_serve(file: &str) -> bool {
    file.strip_prefix(SERVE).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn size_problem((name, files): &Adapter) -> Option<String> {
    let total = counted_lines(files);
    (total > LINES_OF_AN_ADAPTER).then(|| {
        format!(
            "{name}/src has {total} lines, more than {LINES_OF_AN_ADAPTER}: what every adapter \
             does belongs in {CORE}"
        )
    })
}

fn name_problems((name, files): &Adapter) -> Vec<String> {
    let missing = FILES_OF_ALL.iter().filter(|file| !files.contains_key(**file));
    let mut problems: Vec<String> =
        missing.map(|file| format!("{name}/src has no {file}, as the others do")).collect();
    let known = |file: &str| {
        FILES_OF_ALL.contains(&file)
            || FILES_OF_SOME.contains(&file)
            || is_serve(file)
            || (*name == "adapter-hyper" && file.starts_with(RUNTIMES))
    };
    let odd = files.keys().filter(|file| !known(file));
    problems.extend(odd.map(|file| format!("{name}/src has {file}, which is not a file of an adapter")));
    problems
}

fn line_counts(folder: &Path) -> Outcome<Files> {
    let sources = sources::read(folder)?.into_iter();
    Ok(sources.map(|(file, text)| (file, text.lines().count())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_versions_compare_as_numbers() {
        let version = |text| parse_version(text).unwrap();
        assert!(version("1.9") < version("1.89"));
        assert_eq!(version("1.89"), version("1.89.0"));
        assert_eq!(version("1.89.0").to_string(), "1.89");
        assert_eq!(parse_version("stable"), None);
    }

    #[test]
    fn a_forbidden_package_is_told_with_the_way_to_it() {
        assert_eq!(CLIENT_HAS_NO_SERVER.problem(&["realtime-protocol"]), None);
        assert_eq!(CLIENT_HAS_NO_SERVER.problem(&["realtime-core", "bytes"]), None);
        assert_eq!(
            CLIENT_HAS_NO_SERVER.problem(&["adapter-hyper", "realtime-core"]).unwrap(),
            "the client does not compile a server: realtime-client -> adapter-hyper -> realtime-core"
        );
    }

    #[test]
    fn adapters_have_files_of_the_same_names() {
        let files = ["lib.rs", "routes.rs", "upgrade.rs", "error.rs"];
        assert_eq!(name_problems(&adapter("adapter-axum", &files)), [""; 0]);
        assert_eq!(name_problems(&adapter("adapter-actix", &[&files[..], &["runtime.rs"]].concat())), [""; 0]);
        assert_eq!(
            name_problems(&adapter("adapter-hyper", &[&files[..], &["runtimes/tokio.rs"]].concat())),
            [""; 0]
        );
        assert_eq!(
            name_problems(&adapter("adapter-axum", &[&files[..], &["runtimes/tokio.rs"]].concat())).len(),
            1
        );
        assert_eq!(name_problems(&adapter("adapter-axum", &[&files[..], &["serve.rs"]].concat())), [""; 0]);
        assert_eq!(name_problems(&adapter("adapter-hyper", &[&files[..], &["serve/mod.rs"]].concat())), [""; 0]);
        assert_eq!(name_problems(&adapter("adapter-axum", &[&files[..], &["server.rs"]].concat())).len(), 1);
        assert_eq!(name_problems(&adapter("adapter-axum", &files[..3])).len(), 1);
    }

    #[test]
    fn an_adapter_may_reach_the_limit_but_not_pass_it() {
        let sized = |lines| ("adapter-axum", Files::from([("lib.rs".to_owned(), lines)]));
        assert_eq!(size_problem(&sized(LINES_OF_AN_ADAPTER)), None);
        assert!(size_problem(&sized(LINES_OF_AN_ADAPTER + 1)).is_some());
    }

    #[test]
    fn runtimes_and_the_server_come_on_top() {
        let files = ["lib.rs", "error.rs", "runtimes/tokio.rs", "serve.rs", "serve/mod.rs", "server.rs"];
        assert_eq!(counted_lines(&adapter("adapter-hyper", &files).1), 2);
    }

    fn adapter(name: &'static str, files: &[&str]) -> Adapter {
        let files = files.iter().map(|file| ((*file).to_owned(), 1));
        (name, files.collect())
    }
}
