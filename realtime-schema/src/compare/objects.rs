//! Compares the fields of objects, and maps.

use super::change::Change;
use super::shapes::Shapes;
use super::variants::Variant;
use crate::document::Direction;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

pub(super) fn compare(shapes: &mut Shapes<'_>, old: &Variant, new: &Variant, place: &str) {
    fields(shapes, old, new, place);
    others(shapes, old, new, place);
    patterns(shapes, old, new, place);
}

fn fields(shapes: &mut Shapes<'_>, old: &Variant, new: &Variant, place: &str) {
    let (old_required, new_required) = (required(old), required(new));
    let names: BTreeSet<&String> = [map(old, "properties"), map(new, "properties")]
        .into_iter()
        .flatten()
        .flat_map(Map::keys)
        .chain(old_required.iter().chain(&new_required))
        .collect();
    for name in names {
        let at = format!("{place}.{name}");
        let (was, is) = (field(old, name, &old_required), field(new, name, &new_required));
        if patterns_of(old, name) != patterns_of(new, name) {
            shapes.tell(&at, &Change::Other("a pattern of keys may have its name".to_owned()));
        }
        match (was, is) {
            (Some(was), Some(is)) => {
                match (old_required.contains(name), new_required.contains(name)) {
                    (false, true) => shapes.tell(&at, &Change::Required),
                    (true, false) => shapes.tell(&at, &Change::Optional),
                    _ => {}
                }
                shapes.compare(was, is, &at);
            }
            (None, Some(_)) if shapes.direction == Direction::Received && is_strict(old) => {
                shapes.tell(&at, &Change::Wider("was refused".to_owned()));
            }
            (None, Some(_)) => shapes.tell(&at, &Change::FieldMore { required: new_required.contains(name) }),
            (Some(_), None) => {
                let was_required = old_required.contains(name);
                let is_refused = matches!(Others::of(new), Others::Refused);
                shapes.tell(&at, &Change::FieldLess { was_required, is_refused });
            }
            (None, None) => {}
        }
    }
}

/// Returns true if even a client that ignores unknown fields takes no others: in a variant of an enum that is named by its
/// only key, and in a map with numbers as keys.
fn is_strict(variant: &Variant) -> bool {
    variant.is_sealed
        || (matches!(Others::of(variant), Others::Refused) && map(variant, "patternProperties").is_some())
}

fn map<'v>(variant: &'v Variant, keyword: &str) -> Option<&'v Map<String, Value>> {
    variant.keywords.get(keyword).and_then(Value::as_object)
}

fn required(variant: &Variant) -> BTreeSet<String> {
    let names = variant.keywords.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Returns the type of a field that is named, or required. A map has a field of any name.
fn field<'v>(variant: &'v Variant, name: &str, required: &BTreeSet<String>) -> Option<&'v Value> {
    let declared = map(variant, "properties").and_then(|properties| properties.get(name));
    let others = Others::of(variant);
    declared.or(others.typed()).or_else(|| required.contains(name).then(|| others.schema()))
}

/// Returns the patterns that apply to a field, and true if it is also named, which matters only if there are some.
fn patterns_of<'v>(variant: &'v Variant, name: &str) -> Option<(Vec<&'v String>, bool)> {
    let patterns = map(variant, "patternProperties")?.keys().filter(|pattern| may_match(pattern, name));
    let patterns: Vec<_> = patterns.collect();
    let is_named = map(variant, "properties").is_some_and(|properties| properties.contains_key(name));
    (!patterns.is_empty()).then_some((patterns, is_named))
}

/// Returns true if a name may match a pattern, of which only those of maps with numbers as keys are known.
fn may_match(pattern: &str, name: &str) -> bool {
    let is_number = name.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    is_number || !NUMBERS.contains(&pattern)
}

const NUMBERS: [&str; 2] = [r"^-?\d+$", r"^\d+$"];

/// The rule for fields without a name in the schema.
enum Others<'v> {
    /// No rule: they are ignored.
    Free,
    Refused,
    Typed(&'v Value),
}

impl<'v> Others<'v> {
    fn of(variant: &'v Variant) -> Self {
        match variant.keywords.get("additionalProperties") {
            None => Self::Free,
            Some(Value::Bool(false)) => Self::Refused,
            // Also `true`, which says that they are read: a map of anything.
            Some(schema) => Self::Typed(schema),
        }
    }

    fn typed(&self) -> Option<&'v Value> {
        match self {
            Self::Typed(schema) => Some(schema),
            Self::Free | Self::Refused => None,
        }
    }

    fn schema(&self) -> &'v Value {
        match self {
            Self::Free => &Value::Bool(true),
            Self::Refused => &Value::Bool(false),
            Self::Typed(schema) => schema,
        }
    }
}

fn others(shapes: &mut Shapes<'_>, old: &Variant, new: &Variant, place: &str) {
    let (was, is) = (Others::of(old), Others::of(new));
    let at = format!("{place}{{}}");
    match (&was, &is) {
        (Others::Free, Others::Free) | (Others::Refused, Others::Refused) => {}
        // Clients ignore fields that they do not know.
        (Others::Free, Others::Refused) | (Others::Refused, Others::Free)
            if shapes.direction == Direction::Received && !is_strict(old) => {}
        (Others::Free, Others::Refused) => {
            shapes.tell(place, &Change::Narrower("unknown fields are now refused".to_owned()));
        }
        (Others::Refused, Others::Free) => {
            shapes.tell(place, &Change::Wider("unknown fields are now ignored".to_owned()));
        }
        (Others::Refused, Others::Typed(_)) => {
            shapes.tell(place, &Change::Wider("now takes any fields, as a map".to_owned()));
        }
        (Others::Typed(_), Others::Refused) => {
            shapes.tell(place, &Change::Narrower("no longer a map".to_owned()));
        }
        _ => shapes.compare(was.schema(), is.schema(), &at),
    }
}

/// Compares maps with numbers as keys. Where one side is a map of any keys, these are among them.
fn patterns(shapes: &mut Shapes<'_>, old: &Variant, new: &Variant, place: &str) {
    let empty = Map::new();
    let was = map(old, "patternProperties").unwrap_or(&empty);
    let is = map(new, "patternProperties").unwrap_or(&empty);
    let at = format!("{place}{{}}");
    for pattern in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
        let (was, is) = (was.get(pattern), is.get(pattern));
        match (was, is) {
            (Some(_), None) => {
                shapes.tell(place, &Change::Narrower(format!("no keys like {pattern} any more")));
            }
            (None, _) => shapes.tell(place, &Change::Wider(format!("now has keys like {pattern}"))),
            (Some(_), Some(_)) => {}
        }
        if let (Some(was), Some(is)) = (was.or(Others::of(old).typed()), is.or(Others::of(new).typed())) {
            shapes.compare(was, is, &at);
        }
    }
}
