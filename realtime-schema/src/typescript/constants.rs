//! The constants of a file: names as values, grouped by the parts between their dots.

use super::doc::Doc;
use super::syntax::{text_literal, value_name};
use std::collections::BTreeMap;

/// The names of an id, grouped by the parts between their dots.
#[derive(Default)]
pub(super) struct Constants(BTreeMap<String, Entry>);

enum Entry {
    Constant { doc: Doc, call: String },
    Group(Constants),
}

/// A call that creates a constant: `mutation<number, number>("add")`.
pub(super) struct Constant<'a> {
    pub(super) helper: &'static str,
    pub(super) types: Vec<String>,
    pub(super) name: &'a str,
    /// The time limit, if it is not the default.
    pub(super) time_limit_ms: Option<u64>,
    pub(super) doc: Doc,
}

/// The default time limit of a procedure, which the client assumes too.
pub(super) const DEFAULT_TIME_LIMIT_MS: u64 = 30_000;

impl Constants {
    /// Adds a constant; it is a problem if another constant or a group has its place.
    pub(super) fn add(&mut self, constant: Constant<'_>, problems: &mut Vec<String>) {
        let parts: Vec<&str> = constant.name.split('.').collect();
        let entry = Entry::Constant { call: constant.call(), doc: constant.doc };
        if self.insert(&parts, entry).is_none() {
            problems.push(format!(
                "`{}` names two things, or a thing and a group of names: rename one of them",
                constant.name
            ));
        }
    }

    fn insert(&mut self, parts: &[&str], constant: Entry) -> Option<()> {
        let (first, rest) = parts.split_first()?;
        if rest.is_empty() {
            let is_new = !self.0.contains_key(*first);
            return is_new.then(|| {
                self.0.insert((*first).to_owned(), constant);
            });
        }
        let group = self.0.entry((*first).to_owned()).or_insert_with(|| Entry::Group(Self::default()));
        match group {
            Entry::Group(group) => group.insert(rest, constant),
            Entry::Constant { .. } => None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the object of a group, its lines indented by `depth`.
    pub(super) fn write(&self, depth: usize) -> String {
        let indent = "  ".repeat(depth + 1);
        let mut text = "{\n".to_owned();
        for (name, entry) in &self.0 {
            let name = value_name(name);
            match entry {
                Entry::Constant { doc, call } => {
                    text.push_str(&format!("{indent}{}{name}: {call},\n", doc.write(depth + 1)));
                }
                Entry::Group(group) => text.push_str(&format!("{indent}{name}: {},\n", group.write(depth + 1))),
            }
        }
        text.push_str(&"  ".repeat(depth));
        text.push('}');
        text
    }
}

impl Constant<'_> {
    fn call(&self) -> String {
        let limit = self.time_limit_ms.filter(|limit| *limit != DEFAULT_TIME_LIMIT_MS);
        let options = limit.map(|limit| format!(", {{ timeoutMs: {limit} }}")).unwrap_or_default();
        let types = self.types.join(", ");
        format!("{}<{types}>({}{options})", self.helper, text_literal(self.name))
    }
}
