//! The site of the documents.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use crate::command::{Outcome, program, repository, run, works};
use crate::documents;
use crate::metadata::Metadata;

const SUMMARY: &str = "docs/SUMMARY.md";

/// Lays out the documents in the target directory, with whatever they link to, and builds the site if mdBook is
/// installed.
pub(crate) fn book() -> Outcome {
    let repository = repository();
    let book = Metadata::of_workspace()?.target_directory.join("book");
    let documents = lay_out(&repository, &book)?;
    println!("{} files are laid out in {}", documents, book.display());
    if !works(program("mdbook").arg("--version"))? {
        println!("mdBook is not installed: `cargo install mdbook --no-default-features`, then run this again");
        return Ok(());
    }
    run(program("mdbook").arg("build").arg(&book))?;
    println!("the site is at {}", book.join("book/index.html").display());
    Ok(())
}

/// Fails at a document that the summary leaves out. The decisions are a list of their own.
pub(crate) fn check(repository: &Path) -> Outcome {
    let summary = read(&repository.join(SUMMARY))?;
    let listed: BTreeSet<PathBuf> = linked(Path::new(SUMMARY), &summary).collect();
    let all = documents::documents(repository)?;
    let missing =
        all.iter().filter(|document| !document.starts_with("docs/decisions") && **document != *Path::new(SUMMARY));
    let missing: Vec<_> = missing.filter(|document| !listed.contains(*document)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("{SUMMARY} does not list {missing:?}")) }
}

/// Copies the documents and the files that they link to. Returns their number.
fn lay_out(repository: &Path, book: &Path) -> Outcome<usize> {
    let source = book.join("src");
    let cannot = |error: std::io::Error| format!("{}: {error}", book.display());
    let _ = fs::remove_dir_all(book);
    fs::create_dir_all(&source).map_err(cannot)?;
    fs::copy(repository.join("docs/book.toml"), book.join("book.toml")).map_err(cannot)?;
    // Seen from the top, for mdBook.
    fs::write(source.join("SUMMARY.md"), summary(repository)?).map_err(cannot)?;

    let mut waiting = documents::documents(repository)?;
    let mut copied = BTreeSet::new();
    while let Some(document) = waiting.pop() {
        if !repository.join(&document).is_file() || !copied.insert(document.clone()) {
            continue;
        }
        let to = source.join(&document);
        fs::create_dir_all(to.parent().unwrap_or(&source)).map_err(cannot)?;
        if document.extension().is_some_and(|extension| extension == "md") {
            let text = read(&repository.join(&document))?;
            fs::write(&to, page(&text)).map_err(cannot)?;
            waiting.extend(linked(&document, &text));
        } else {
            fs::copy(repository.join(&document), &to).map_err(cannot)?;
        }
    }
    Ok(copied.len())
}

/// Returns a document with links as mdBook follows them: it makes an index of a README, but leaves links to it.
fn page(text: &str) -> String {
    text.replace("README.md)", "index.md)").replace("README.md#", "index.md#")
}

/// Returns the summary with its links as they are from the top. Its list of decisions is that of their folder.
fn summary(repository: &Path) -> Outcome<String> {
    let mut summary = String::new();
    for line in read(&repository.join(SUMMARY))?.lines() {
        let indent = line.len() - line.trim_start().len();
        let Some((before, rest)) = line.split_once("](") else {
            summary.push_str(line);
            summary.push('\n');
            continue;
        };
        let target = within(Path::new(SUMMARY), rest.trim_end_matches(')'));
        summary.push_str(&format!("{before}]({})\n", target.display()));
        if target.ends_with("docs/decisions/README.md") {
            let decisions = read(&repository.join("docs/decisions/README.md"))?;
            for (number, title) in decisions.lines().filter_map(decision) {
                summary.push_str(&format!("{:indent$}    - [{title}](docs/decisions/{number})\n", ""));
            }
        }
    }
    Ok(summary)
}

/// Returns the file and the title of a line of the table of decisions.
fn decision(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.strip_prefix("| [")?.split_once("](")?;
    let (file, title) = rest.split_once(") | ")?;
    Some((file, title.trim_end_matches(" |")))
}

/// Returns the files that a document links to, as paths in the repository.
fn linked(document: &Path, text: &str) -> impl Iterator<Item = PathBuf> {
    let files = documents::targets(text).into_iter().map(|(file, _)| file).filter(|file| !file.is_empty());
    files.map(|file| within(document, file)).collect::<Vec<_>>().into_iter()
}

/// Returns a path relative to a document as one in the repository.
fn within(document: &Path, file: &str) -> PathBuf {
    let mut path = document.parent().unwrap_or(Path::new("")).to_path_buf();
    for component in Path::new(file).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_from_their_document() {
        assert_eq!(within(Path::new("docs/recipes/a.md"), "../b.md"), Path::new("docs/b.md"));
        assert_eq!(within(Path::new("README.md"), "docs/./c.md"), Path::new("docs/c.md"));
    }

    #[test]
    fn links_to_a_readme_lead_to_its_page() {
        assert_eq!(page("[a](b/README.md), [c](README.md#d)"), "[a](b/index.md), [c](index.md#d)");
    }

    #[test]
    fn a_decision_has_a_file_and_a_title() {
        let line = "| [0001](0001-own-codec.md) | A codec of our own, without IO |";
        assert_eq!(decision(line), Some(("0001-own-codec.md", "A codec of our own, without IO")));
        assert_eq!(decision("| | decision |"), None);
    }
}
