//! Checks that imports between the folders of the core point down.
//!
//! The order is that of the modules in `realtime-core/src/lib.rs`, from top to bottom.

use std::{fs, path::Path};

use crate::command::{Outcome, none_of};
use crate::sources;

const SRC: &str = "realtime-core/src";

/// The document with a picture of the layers.
const DOCUMENT: &str = "ARCHITECTURE.md";

/// Checks that each file imports only its own folder and those below.
pub(crate) fn check(repository: &Path) -> Outcome {
    let mut files = sources::read(&repository.join(SRC))?;
    let root = files.remove("lib.rs").ok_or_else(|| format!("{SRC} has no lib.rs"))?;
    let layers = modules(&root);
    // Tests may import anything.
    files.retain(|file, _| !file.ends_with("tests.rs"));
    let document = fs::read_to_string(repository.join(DOCUMENT))
        .map_err(|error| format!("{DOCUMENT} can't be read: {error}"))?;
    let mut problems = Vec::new();
    for (file, text) in &files {
        let Some(layer) = layer_of(&layers, file) else {
            problems.push(format!("{SRC}/{file} belongs to no module of lib.rs"));
            continue;
        };
        problems.extend(upward(&layers, layer, text).map(|found| problem(file, layer, &layers, &found)));
    }
    problems.extend(picture_problem(&layers, &document));
    println!("{SRC}: {} files in {} layers", files.len(), layers.len());
    none_of(problems)
}

fn problem(file: &str, layer: &str, layers: &[&str], found: &Import<'_>) -> String {
    let Import { module, line } = found;
    match layers.contains(module) {
        true => format!(
            "{SRC}/{file}:{line} imports from {module}/: the order in lib.rs has {module} above {layer}, which may \
             import what is beneath it"
        ),
        false => format!(
            "{SRC}/{file}:{line} imports crate::{module} through the crate's root: import it from its folder"
        ),
    }
}

/// Returns a problem unless the document has a block whose lines begin with the layers, in order.
fn picture_problem(layers: &[&str], document: &str) -> Option<String> {
    let shown =
        |block: &str| block.lines().filter_map(|line| line.split_whitespace().next()).eq(layers.iter().copied());
    let is_shown = document.split("```").skip(1).step_by(2).any(shown);
    (!is_shown).then(|| format!("{DOCUMENT} has no picture of the layers {}, in this order", layers.join(", ")))
}

/// Returns the modules that a file declares, in order.
fn modules(text: &str) -> Vec<&str> {
    let declared = |line: &'_ str| -> Option<std::ops::Range<usize>> {
        let rest = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';')?;
        let start = rest.as_ptr() as usize - line.as_ptr() as usize;
        Some(start..start + rest.len())
    };
    text.lines().filter_map(|line| declared(line).map(|range| &line[range])).collect()
}

/// Returns the folder of a path, or the file itself if it has none. `lib.rs` is above all.
fn layer_of<'a>(layers: &[&'a str], file: &str) -> Option<&'a str> {
    let first = file.split('/').next().unwrap_or_default();
    let first = first.strip_suffix(".rs").unwrap_or(first);
    layers.iter().copied().find(|layer| *layer == first)
}

/// A module of the crate that a file names.
#[derive(Debug, PartialEq, Eq)]
struct Import<'a> {
    module: &'a str,
    line: usize,
}

/// Finds the imports of a file that are not below its layer; comments and tests do not count.
fn upward<'a>(layers: &'a [&'a str], layer: &'a str, text: &'a str) -> impl Iterator<Item = Import<'a>> {
    let height = |module: &str| layers.iter().position(|known| *known == module);
    let own = height(layer);
    named(text).into_iter().filter(move |import| import.module != layer && height(import.module) <= own)
}

/// Returns all modules after `crate::`, in a path or in braces.
fn named(text: &str) -> Vec<Import<'_>> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    for (at, root) in text.match_indices("crate::") {
        let before = &text[..at];
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        let is_comment = before[begin..].trim_start().starts_with("//");
        let is_other = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if is_comment || is_other {
            continue;
        }
        let line = before.matches('\n').count() + 1;
        let heads = heads(&text[at + root.len()..]).into_iter();
        found.extend(heads.map(|(module, lines)| Import { module, line: line + lines }));
    }
    found
}

/// Returns the first name of a path, or of each path in its braces, with its line.
fn heads(path: &str) -> Vec<(&str, usize)> {
    let Some(group) = path.strip_prefix('{') else { return vec![(word(path), 0)] };
    let mut heads = Vec::new();
    let (mut depth, mut begins, mut line) = (0, true, 0);
    for (at, c) in group.char_indices() {
        match c {
            '\n' => line += 1,
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if c.is_alphabetic() && depth == 0 && begins => {
                heads.push((word(&group[at..]), line));
                begins = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERS: [&str; 3] = ["top", "middle", "bottom"];

    fn found(layer: &str, text: &str) -> Vec<(String, usize)> {
        upward(&LAYERS, layer, text).map(|import| (import.module.to_owned(), import.line)).collect()
    }

    #[test]
    fn the_order_is_that_of_the_root() {
        assert_eq!(modules("mod top;\n// a\npub mod middle;\nmod bottom;\nmod tests {\n"), LAYERS);
        assert_eq!(layer_of(&LAYERS, "middle/mod.rs"), Some("middle"));
        assert_eq!(layer_of(&LAYERS, "top.rs"), Some("top"));
        assert_eq!(layer_of(&LAYERS, "other.rs"), None);
    }

    #[test]
    fn the_picture_is_that_of_the_code() {
        let document = |block: &str| format!("text\n```\n{block}```\ntext");
        assert_eq!(picture_problem(&LAYERS, &document("  top  a\n  middle  b\n  bottom  c\n")), None);
        assert!(picture_problem(&LAYERS, &document("  top  a\n  bottom  c\n  middle  b\n")).is_some());
    }

    #[test]
    fn an_import_that_points_up_is_found() {
        assert_eq!(
            found("middle", "use crate::{\n    bottom::A,\n    top::{B, bottom::C},\n};\n"),
            [("top".to_owned(), 3)]
        );
        assert_eq!(found("middle", "use crate::top::A;\nfn f() -> crate::top::B {}\n").len(), 2);
        assert_eq!(
            found("middle", "use crate::middle::A;\nuse crate::bottom::B;\nuse other_crate::top::C;\n"),
            []
        );
        assert_eq!(
            found("bottom", "\n/// [`A`](crate::top::A), [`B`](crate::top::B)\nfn f() { crate::middle::g() }\n"),
            [("middle".to_owned(), 3)]
        );
    }

    #[test]
    fn the_root_is_above_all() {
        assert_eq!(found("top", "use crate::A;\n"), [("A".to_owned(), 1)]);
    }

    #[test]
    fn tests_may_import_anything() {
        assert_eq!(found("bottom", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::top::A;\n}\n"), []);
    }
}
