//! Compares the schemas of one direction.

use super::bounds;
use super::change::{Change, Severity};
use super::matching::{self, Pairs};
use super::objects;
use super::variants::{Variant, variants};
use crate::document::{Direction, Document, Root};
use crate::schemas::strip;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A comparison in one direction.
pub(super) struct Shapes<'a> {
    pub(super) old: &'a Document,
    pub(super) new: &'a Document,
    pub(super) direction: Direction,
    /// Pairs that have been compared or are being compared: ends recursion, and reports a shared type once.
    seen: BTreeSet<(String, String)>,
    /// The changes found, and their severity.
    pub(super) found: BTreeMap<String, Severity>,
}

impl<'a> Shapes<'a> {
    pub(super) fn new(old: &'a Document, new: &'a Document, direction: Direction) -> Self {
        Self { old, new, direction, seen: BTreeSet::new(), found: BTreeMap::new() }
    }

    /// Compares two schemas at a place: a type and the path of a field in it, or an input or output of a name.
    pub(super) fn compare(&mut self, old: &Value, new: &Value, place: &str) {
        let (Some(old), Some(new)) =
            (variants(self.old, self.direction, old), variants(self.new, self.direction, new))
        else {
            if old != new || !self.is_same(old) {
                self.tell(place, &Change::Other("too many variants to compare".to_owned()));
            }
            return;
        };
        let Pairs { pairs, changes } = matching::matched(&old, &new);
        for change in changes {
            let origin = origin(&old, &new);
            self.tell(origin.unwrap_or(place), &change);
        }
        for (old, new) in pairs {
            self.pair(old, new, place);
        }
    }

    fn pair(&mut self, old: &Variant, new: &Variant, place: &str) {
        if !self.seen.insert((old.text(), new.text())) {
            return;
        }
        let place = old.origin.as_deref().unwrap_or(place);
        for change in bounds::changes(old, new) {
            self.tell(place, &change);
        }
        for keyword in self.renewed(old, new) {
            self.tell(place, &Change::Other(format!("a type in {keyword}")));
        }
        match old.of() {
            Some("object") => objects::compare(self, old, new, place),
            Some("array") => self.arrays(old, new, place),
            _ => {}
        }
    }

    /// Returns the keywords that are the same on both sides, but refer to types that are not.
    fn renewed(&self, old: &Variant, new: &Variant) -> Vec<String> {
        let is_compared = |keyword: &str| old.of().is_some() && bounds::is_elsewhere(keyword);
        let same = old.keywords.iter().filter(|(keyword, value)| new.keywords.get(*keyword) == Some(value));
        let whole = same.filter(|(keyword, _)| !is_compared(keyword));
        whole
            .filter(|(keyword, value)| !self.is_same(&json!({ *keyword: value })))
            .map(|(k, _)| k.clone())
            .collect()
    }

    /// Returns true if the types to which a schema refers are the same in both documents.
    fn is_same(&self, schema: &Value) -> bool {
        let root = Root { direction: self.direction, role: "", name: "", schema };
        self.old.reached([root]).iter().all(|(direction, name)| {
            let definition = |document: &Document| {
                let mut schema = document.definition(*direction, name).cloned();
                schema.iter_mut().for_each(strip);
                schema
            };
            definition(self.old) == definition(self.new)
        })
    }

    fn arrays(&mut self, old: &Variant, new: &Variant, place: &str) {
        let first = |variant: &Variant| match variant.keywords.get("prefixItems") {
            Some(Value::Array(items)) => items.clone(),
            _ => Vec::new(),
        };
        let (old_first, new_first) = (first(old), first(new));
        let rest = |variant: &Variant| variant.keywords.get("items").cloned().unwrap_or(Value::Bool(true));
        for index in 0..old_first.len().max(new_first.len()) {
            let old = old_first.get(index).cloned().unwrap_or_else(|| rest(old));
            let new = new_first.get(index).cloned().unwrap_or_else(|| rest(new));
            self.compare(&old, &new, &format!("{place}[{index}]"));
        }
        self.compare(&rest(old), &rest(new), &format!("{place}[]"));
    }

    pub(super) fn tell(&mut self, place: &str, change: &Change) {
        let severity = change.severity(self.direction);
        let way = match self.direction {
            Direction::Received => "received",
            Direction::Sent => "sent",
        };
        self.found.insert(format!("{place} ({way}): {change}"), severity);
    }
}

/// Returns the type that all variants of both sides come from.
fn origin<'v>(old: &'v [Variant], new: &[Variant]) -> Option<&'v str> {
    let name = old.first()?.origin.as_deref()?;
    let is_same = |variant: &Variant| variant.origin.as_deref() == Some(name);
    (old.iter().all(is_same) && new.iter().all(is_same)).then_some(name)
}
