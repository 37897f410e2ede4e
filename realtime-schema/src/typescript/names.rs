//! The names of the types of a file.

use super::doc::Doc;
use super::read::Reader;
use crate::document::{Direction, Document};
use crate::schemas::each_reference;
use std::collections::{BTreeMap, BTreeSet};

/// The names of the types of a file, by direction and definition.
pub(super) struct Names(BTreeMap<(Direction, String), String>);

type Used = BTreeSet<(Direction, String)>;

impl Names {
    /// Names the used types. If the two directions of one differ, by itself or in a type that it refers to, it is
    /// `User` as received and `UserInput` as sent; otherwise there is one name.
    pub(super) fn new(document: &Document, used: &Used, problems: &mut Vec<String>) -> Self {
        let plain = Self(used.iter().map(|used| (used.clone(), identifier(&used.1))).collect());
        let differing = differing(document, &plain, used);
        let names = used.iter().map(|(direction, name)| {
            let is_input = *direction == Direction::Sent && differing.contains(name);
            let suffix = if is_input { "Input" } else { "" };
            ((*direction, name.clone()), format!("{}{suffix}", identifier(name)))
        });
        let names = Self(names.collect());
        names.check(&differing, problems);
        names
    }

    pub(super) fn of(&self, direction: Direction, definition: &str) -> String {
        self.0.get(&(direction, definition.to_owned())).cloned().unwrap_or_else(|| identifier(definition))
    }

    /// Returns the definition that has a name.
    pub(super) fn definition(&self, direction: Direction, name: &str) -> Option<String> {
        let found = self.0.iter().find(|((of, _), known)| *of == direction && *known == name);
        found.map(|((_, definition), _)| definition.clone())
    }

    /// Returns each name once, with the definition it stands for.
    pub(super) fn each(&self) -> BTreeMap<&str, (Direction, &str)> {
        self.0
            .iter()
            .rev()
            .map(|((direction, definition), name)| (name.as_str(), (*direction, definition.as_str())))
            .collect()
    }

    fn check(&self, differing: &BTreeSet<String>, problems: &mut Vec<String>) {
        let mut owners: BTreeMap<&str, (&str, Direction)> = BTreeMap::new();
        for ((direction, definition), name) in &self.0 {
            if is_reserved(name) {
                problems
                    .push(format!("the type `{definition}` cannot be called `{name}` in TypeScript: {RENAME}"));
            }
            let Some((other, other_direction)) = owners.insert(name, (definition, *direction)) else { continue };
            let is_same = other == definition && !differing.contains(definition);
            if !is_same {
                let (other, this) = (place(other, other_direction), place(definition, *direction));
                problems.push(format!("{other} and {this} would both be called `{name}` in TypeScript: {RENAME}"));
            }
        }
    }
}

const RENAME: &str = "rename it with `#[schemars(rename = \"…\")]`";

fn place(definition: &str, direction: Direction) -> String {
    match direction {
        Direction::Received => format!("`{definition}` as it is received"),
        Direction::Sent => format!("`{definition}` as it is sent"),
    }
}

/// Returns the types with two shapes: those that differ themselves, and those that refer to one of them.
fn differing(document: &Document, names: &Names, used: &Used) -> BTreeSet<String> {
    let both: Vec<&String> = used
        .iter()
        .filter(|(direction, name)| {
            *direction == Direction::Sent && used.contains(&(Direction::Received, name.clone()))
        })
        .map(|(_, name)| name)
        .collect();
    let text = |direction, name: &str| {
        let schema = document.definition(direction, name)?;
        let reader = Reader::new(document, direction, names);
        Some((reader.read(schema), Doc::of(schema)))
    };
    let differs = |name: &&&String| text(Direction::Sent, name) != text(Direction::Received, name);
    let mut differing: BTreeSet<String> = both.iter().filter(differs).map(|name| (*name).clone()).collect();
    loop {
        let more: Vec<String> = both
            .iter()
            .filter(|name| !differing.contains(**name) && refers(document, name, &differing))
            .map(|name| (*name).clone())
            .collect();
        if more.is_empty() {
            return differing;
        }
        differing.extend(more);
    }
}

fn refers(document: &Document, name: &str, to: &BTreeSet<String>) -> bool {
    let mut found = false;
    for direction in [Direction::Sent, Direction::Received] {
        if let Some(schema) = document.definition(direction, name) {
            each_reference(schema, &mut |name| found |= to.contains(&name));
        }
    }
    found
}

/// Replaces characters that TypeScript does not allow with `_`.
fn identifier(name: &str) -> String {
    let allowed = |one: char| if one.is_ascii_alphanumeric() || one == '_' || one == '$' { one } else { '_' };
    let name: String = name.chars().map(allowed).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) || name.is_empty() {
        format!("_{name}")
    } else {
        name
    }
}

/// Returns true for names that a type cannot have: keywords, built-in types, and names of a generated file.
fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

#[rustfmt::skip]
const RESERVED: [&str; 77] = [
    "any", "as", "async", "await", "bigint", "boolean", "break", "case", "catch", "class", "const", "continue",
    "debugger", "declare", "default", "delete", "do", "else", "enum", "export", "extends", "false", "finally", "for",
    "function", "if", "implements", "import", "in", "infer", "instanceof", "interface", "is", "keyof", "let",
    "namespace", "never", "new", "null", "number", "object", "package", "private", "protected", "public", "readonly",
    "return", "static", "string", "super", "switch", "symbol", "this", "throw", "true", "try", "type", "typeof",
    "undefined", "unique", "unknown", "var", "void", "while", "with", "yield",
    "Presence", "api", "ask", "describe", "endpoint", "event", "mutation", "place", "places", "query",
    "subscription",
];
