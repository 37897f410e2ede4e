//! Pairs the variants of the old schema with those of the new one.

use super::bounds;
use super::change::Change;
use super::variants::Variant;
use serde_json::Value;
use std::collections::BTreeSet;

/// The variants on both sides, and the changes to all others.
pub(super) struct Pairs<'v> {
    pub(super) pairs: Vec<(&'v Variant, &'v Variant)>,
    pub(super) changes: Vec<Change>,
}

/// The identity of a variant within its union.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Anything,
    /// A constant, or the tag of an object.
    Tag(String),
    /// An object without a tag, identified by the fields that are always present.
    Object(String),
    Type(String),
    /// Values of no known type, with constraints that are compared as a whole.
    Unknown(String),
}

pub(super) fn matched<'v>(old: &'v [Variant], new: &'v [Variant]) -> Pairs<'v> {
    let is_struct = |variants: &[Variant]| variants.iter().filter(|variant| variant.is_object()).count() == 1;
    let structs = is_struct(old) && is_struct(new);
    let keyed = |variants: &'v [Variant]| -> Vec<(Key, &'v Variant)> {
        variants.iter().map(|variant| (key(variant, structs), variant)).collect()
    };
    let mut matching = Matching { old: keyed(old), new: keyed(new), pairs: Vec::new(), changes: Vec::new() };
    matching.by_key();
    matching.anything();
    matching.numbers();
    matching.objects();
    matching.rest(old, new);
    Pairs { pairs: matching.pairs, changes: matching.changes }
}

fn key(variant: &Variant, structs: bool) -> Key {
    if let Some(constant) = variant.constant() {
        return Key::Tag(constant.to_string());
    }
    let Some(of) = variant.of() else {
        return if variant.is_anything() { Key::Anything } else { Key::Unknown(variant.text()) };
    };
    if of != "object" || structs {
        return Key::Type(of.to_owned());
    }
    let required: BTreeSet<&str> = variant
        .keywords
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = variant.keywords.get("properties").and_then(Value::as_object);
    let constant = |name: &&str| Some(format!("{name}: {}", properties?.get(*name)?.get("const")?));
    let tags: Vec<String> = required.iter().filter_map(constant).collect();
    if !tags.is_empty() {
        return Key::Tag(format!("{{ {} }}", tags.join(", ")));
    }
    match variant.only_key() {
        Some(name) => Key::Tag(format!("{{ {name} }}")),
        None => Key::Object(required.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

struct Matching<'v> {
    old: Vec<(Key, &'v Variant)>,
    new: Vec<(Key, &'v Variant)>,
    pairs: Vec<(&'v Variant, &'v Variant)>,
    changes: Vec<Change>,
}

impl<'v> Matching<'v> {
    fn by_key(&mut self) {
        for (key, old) in std::mem::take(&mut self.old) {
            match self.new.iter().position(|(other, _)| *other == key) {
                Some(index) => self.pairs.push((old, self.new.remove(index).1)),
                None => self.old.push((key, old)),
            }
        }
    }

    /// Removes all variants of a side if the other allows anything.
    fn anything(&mut self) {
        let has = |side: &[(Key, &Variant)]| side.iter().any(|(key, _)| *key == Key::Anything);
        if has(&self.new) {
            self.changes.push(Change::Wider("now any value".to_owned()));
        } else if has(&self.old) {
            self.changes.push(Change::Narrower("was any value".to_owned()));
        } else {
            return;
        }
        self.old.clear();
        self.new.clear();
    }

    fn numbers(&mut self) {
        for (from, to) in [("integer", "number"), ("number", "integer")] {
            let find =
                |side: &[(Key, &Variant)], of: &str| side.iter().position(|(_, variant)| variant.of() == Some(of));
            let (Some(old), Some(new)) = (find(&self.old, from), find(&self.new, to)) else { continue };
            self.pairs.push((self.old.remove(old).1, self.new.remove(new).1));
            let what = format!("was {from}, now {to}");
            self.changes.push(if from == "integer" { Change::Wider(what) } else { Change::Narrower(what) });
        }
    }

    /// Pairs objects without a tag in their order.
    fn objects(&mut self) {
        let find = |side: &[(Key, &Variant)]| side.iter().position(|(key, _)| matches!(key, Key::Object(_)));
        while let (Some(old), Some(new)) = (find(&self.old), find(&self.new)) {
            self.pairs.push((self.old.remove(old).1, self.new.remove(new).1));
        }
    }

    /// Returns true if all variants of an enum were replaced: its tag was renamed, or every name.
    fn has_other_tags(&self) -> bool {
        let are_tags =
            |side: &[(Key, &Variant)]| !side.is_empty() && side.iter().all(|(key, _)| matches!(key, Key::Tag(_)));
        let is_tag = |variant: &Variant| matches!(key(variant, false), Key::Tag(_));
        are_tags(&self.old) && are_tags(&self.new) && !self.pairs.iter().any(|(old, _)| is_tag(old))
    }

    fn rest(&mut self, old: &[Variant], new: &[Variant]) {
        let is_other =
            self.pairs.is_empty() && self.changes.is_empty() && !self.old.is_empty() && !self.new.is_empty();
        let covered = self.old.iter().any(|(_, variant)| covers(new, variant))
            || self.new.iter().any(|(_, variant)| covers(old, variant));
        if (is_other && !covered) || self.has_other_tags() {
            let change = format!("was {}, now {}", names(&self.old), names(&self.new));
            self.changes.push(Change::Other(change));
            return;
        }
        for (key, variant) in self.old.drain(..).filter(|(_, variant)| !covers(new, variant)) {
            let name = name(&key, variant);
            let is_variant = is_like(&key, new);
            self.changes.push(if is_variant {
                Change::VariantLess(name)
            } else {
                Change::Narrower(format!("no longer {name}"))
            });
        }
        for (key, variant) in self.new.drain(..).filter(|(_, variant)| !covers(old, variant)) {
            let name = name(&key, variant);
            let is_variant = is_like(&key, old);
            self.changes.push(if is_variant {
                Change::VariantMore(name)
            } else {
                Change::Wider(format!("may be {name}"))
            });
        }
    }
}

/// Returns true if a variant is a constant that one of the types allows.
fn covers(variants: &[Variant], variant: &Variant) -> bool {
    let Some(constant) = variant.constant() else { return false };
    variants.iter().any(|variant| bounds::admits(variant, constant) == Some(true))
}

/// Returns true if the other side has variants of the same kind, so that this one was added or removed.
fn is_like(key: &Key, side: &[Variant]) -> bool {
    side.iter().any(|variant| match key {
        Key::Tag(_) => matches!(self::key(variant, false), Key::Tag(_)),
        Key::Object(_) => matches!(self::key(variant, false), Key::Object(_)),
        Key::Anything | Key::Type(_) | Key::Unknown(_) => false,
    })
}

fn name(key: &Key, variant: &Variant) -> String {
    match key {
        Key::Anything => "anything".to_owned(),
        Key::Tag(tag) => tag.clone(),
        Key::Object(fields) if fields.is_empty() => "an object".to_owned(),
        Key::Object(fields) => format!("an object with {fields}"),
        Key::Unknown(schema) => format!("values of {schema}"),
        Key::Type(of) => variant.of().unwrap_or(of).to_owned(),
    }
}

fn names(side: &[(Key, &Variant)]) -> String {
    side.iter().map(|(key, variant)| name(key, variant)).collect::<Vec<_>>().join(" or ")
}
