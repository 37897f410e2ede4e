//! Checks that the tests and files named in the documents exist, and those that they link to.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::command::{Outcome, none_of};

/// Documents with tables of tests.
const DOCUMENTS: [&str; 3] = ["ARCHITECTURE.md", "docs/guarantees.md", "docs/parity.md"];

/// The file with the names of the cases and their groups.
const SUITE: &str = "adapter-testing/src/conformance/mod.rs";

/// Other files with tests that the documents name.
const TESTS: [&str; 2] = ["realtime-core/tests/allocations.rs", "realtime-core/tests/decoder.rs"];

/// Folders to which a path without its crate may be relative.
const FOLDERS: [&str; 6] = [
    "",
    "adapter-testing/src/conformance/",
    "realtime-core/",
    "realtime-core/src/",
    "realtime-client/",
    "adapter-hyper/src/",
];

/// Checks that the cases and files that the documents name exist.
pub(crate) fn check(repository: &Path) -> Outcome {
    let read = |path: &str| {
        fs::read_to_string(repository.join(path)).map_err(|error| format!("cannot read {path}: {error}"))
    };
    let mut tests = vec![read(SUITE)?];
    for path in TESTS {
        tests.push(read(path)?);
    }
    let known: BTreeSet<&str> = tests.iter().flat_map(|text| text.split(|c: char| !is_of_name(c))).collect();
    let mut problems = Vec::new();
    let mut named = 0;
    for document in DOCUMENTS {
        let text = read(document)?;
        for name in quoted(&text) {
            if is_case(name) {
                named += 1;
                if !known.contains(name) {
                    problems.push(format!("{document} names the case {name:?}, which does not exist"));
                }
            } else if is_file(name) && !FOLDERS.iter().any(|folder| repository.join(folder).join(name).exists()) {
                problems.push(format!("{document} names the file {name:?}, which does not exist"));
            }
        }
    }
    let linked = check_links(repository, &read, &mut problems)?;
    println!("documents: {named} names of cases, {linked} links to files");
    none_of(problems)
}

/// Folders with documents. READMEs of crates are parts of their documentation, whose links `cargo doc` checks.
pub(crate) const BOOK: [&str; 5] = ["", "docs", "docs/decisions", "docs/deployment", "docs/recipes"];

/// Checks the relative links of all documents, and the headings that they name; returns their number.
fn check_links(
    repository: &Path,
    read: &impl Fn(&str) -> Result<String, String>,
    problems: &mut Vec<String>,
) -> Outcome<usize> {
    let mut linked = 0;
    for document in documents(repository)? {
        let folder = document.parent().unwrap_or(Path::new(""));
        let text = read(&document.to_string_lossy())?;
        for (file, heading) in targets(&text) {
            linked += 1;
            let target = if file.is_empty() { document.clone() } else { folder.join(file) };
            if let Some(problem) = link_problem(repository, &target, heading) {
                problems.push(format!("{} links to {file:?}: {problem}", document.display()));
            }
        }
    }
    Ok(linked)
}

/// Returns the paths of all documents in the folders of the book.
pub(crate) fn documents(repository: &Path) -> Outcome<Vec<PathBuf>> {
    let mut documents = Vec::new();
    for folder in BOOK {
        let entries = fs::read_dir(repository.join(folder)).map_err(|error| format!("{folder}: {error}"))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        documents.extend(names.filter(|name| name.ends_with(".md")).map(|name| Path::new(folder).join(name)));
    }
    Ok(documents)
}

fn link_problem(repository: &Path, target: &Path, heading: Option<&str>) -> Option<String> {
    let path = repository.join(target);
    if !path.exists() {
        return Some("it does not exist".into());
    }
    let heading = heading.filter(|_| path.extension().is_some_and(|extension| extension == "md"))?;
    let text = fs::read_to_string(path).ok()?;
    let found = headings(&text).any(|found| found == heading);
    (!found).then(|| format!("it has no heading #{heading}"))
}

/// Returns the names of the headings of a document, as pages of repositories have them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let prose = text.split("```").step_by(2);
    let titles = prose
        .flat_map(str::lines)
        .filter_map(|line| Some(line.trim_start_matches('#')).filter(|title| *title != line));
    titles.map(|title| {
        let kept = title.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    })
}

/// Returns the files that a document links to, outside of code blocks, and the headings in them. A link to a heading of
/// the same document has no file.
pub(crate) fn targets(text: &str) -> Vec<(&str, Option<&str>)> {
    let prose = text.split("```").step_by(2);
    let links = prose.clone().flat_map(|prose| prose.split("](").skip(1)).filter_map(|rest| rest.split_once(')'));
    let images =
        prose.flat_map(|prose| prose.split("<img src=\"").skip(1)).filter_map(|rest| rest.split_once('"'));
    let files = links.chain(images).map(|(target, _)| match target.split_once('#') {
        Some((file, heading)) => (file, Some(heading)),
        None => (target, None),
    });
    files.filter(|(file, _)| !file.contains("://") && !file.contains(' ')).collect()
}

/// Returns the texts between backticks, outside of code blocks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.lines()).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Returns true for the name of a case: a statement has more words than any other name here.
fn is_case(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.matches('_').count() >= 4
}

fn is_file(name: &str) -> bool {
    name.ends_with(".rs") && name.contains('/') && name.chars().all(|c| is_of_name(c) || "./-".contains(c))
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found() {
        let text = "[a](b.md), [c](d/e.md#f), ![g](h.png) [i](#j) [k](https://l) <img src=\"q.png\" width=\"9\">\n```\n[m](n.md)\n```\n[o](p.md)";
        let found = targets(text);
        let expected = [
            ("b.md", None),
            ("d/e.md", Some("f")),
            ("h.png", None),
            ("", Some("j")),
            ("p.md", None),
            ("q.png", None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn headings_are_named_as_pages_name_them() {
        let text = "# A title\n## axum's `ws`\n```sh\n# no title\n```\n### TLS and HTTP/2\ntext # here";
        assert_eq!(headings(text).collect::<Vec<_>>(), ["a-title", "axums-ws", "tls-and-http2"]);
    }

    #[test]
    fn cases_and_files_are_told_from_other_names() {
        let text =
            "| `a_case_has_many_words`, `cases/x.rs` |\n```rust\n`not_in_a_block_of_code`\n```\n`a_b`, `*.rs`";
        let found: Vec<_> = quoted(text).filter(|name| is_case(name) || is_file(name)).collect();
        assert_eq!(found, ["a_case_has_many_words", "cases/x.rs"]);
    }
}
