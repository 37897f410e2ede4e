//! Objects: their fields and maps, and fields that keep the variants of an enum apart.

use super::doc::Doc;
use super::read::Reader;
use super::syntax::{Field, Index, Key, Member, Object, Type};
use crate::schemas::reference;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Returns true if a schema has keywords for the fields of an object.
pub(super) fn has_keywords(keywords: &Map<String, Value>) -> bool {
    let is_open = |value: &Value| value != &Value::Bool(false);
    let says = |keyword: &str| keywords.get(keyword).is_some_and(is_open);
    ["properties", "patternProperties", "additionalProperties", "unevaluatedProperties"].into_iter().any(says)
}

pub(super) fn read(reader: &Reader<'_>, keywords: &Map<String, Value>) -> Type {
    let mut object = Object { fields: fields(reader, keywords), indices: indices(reader, keywords) };
    for index in &mut object.indices {
        if index.key == Key::Text {
            index.of = admitting(&index.of, &object.fields);
        }
    }
    Type::Object(object)
}

fn fields(reader: &Reader<'_>, keywords: &Map<String, Value>) -> Vec<Field> {
    let required: BTreeSet<&str> = match keywords.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    };
    let Some(Value::Object(properties)) = keywords.get("properties") else {
        return required.iter().map(|name| field(name, Type::unknown(), false, Doc::default())).collect();
    };
    let mut fields: Vec<Field> = properties
        .iter()
        .map(|(name, schema)| field(name, reader.read(schema), !required.contains(name.as_str()), Doc::of(schema)))
        .collect();
    let undeclared = required.iter().filter(|name| !properties.contains_key(**name));
    fields.extend(undeclared.map(|name| field(name, Type::unknown(), false, Doc::default())));
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields
}

fn field(name: &str, of: Type, optional: bool, doc: Doc) -> Field {
    Field { name: name.to_owned(), optional, of, doc }
}

fn indices(reader: &Reader<'_>, keywords: &Map<String, Value>) -> Vec<Index> {
    let mut indices: Vec<Index> = Vec::new();
    let mut texts: Vec<Type> = Vec::new();
    for (pattern, schema) in keywords.get("patternProperties").and_then(Value::as_object).into_iter().flatten() {
        let of = reader.read(schema);
        match pattern.as_str() {
            r"^\d+$" | r"^-?\d+$" => indices.push(Index { key: Key::Number, of }),
            _ => texts.push(of),
        }
    }
    for keyword in ["additionalProperties", "unevaluatedProperties"] {
        match keywords.get(keyword) {
            None | Some(Value::Bool(false)) => {}
            Some(schema) => texts.push(reader.read(schema)),
        }
    }
    if !texts.is_empty() {
        indices.push(Index { key: Key::Text, of: Type::union_of(texts) });
    }
    indices
}

/// Returns the type of a map that has named fields too: TypeScript requires every field to match the map's type.
fn admitting(of: &Type, fields: &[Field]) -> Type {
    let optional = fields.iter().any(|field| field.optional).then(|| Type::plain("undefined"));
    let types = fields.iter().map(|field| field.of.clone());
    Type::union_of([of.clone()].into_iter().chain(types).chain(optional))
}

/// Makes the maps of an intersection admit the fields of its other parts.
pub(super) fn admit(parts: &mut [Type]) {
    if parts.len() < 2 {
        return;
    }
    for part in parts {
        let Type::Object(object) = part else { continue };
        for index in object.indices.iter_mut().filter(|index| index.key == Key::Text) {
            index.of = Type::unknown();
        }
    }
}

/// Keeps variants apart: the keys of other variants become `?: never`, since an object has the keys of one variant
/// only. Fields that all variants share stay allowed.
pub(super) fn exclude(reader: &Reader<'_>, members: &mut [Member], shared: &BTreeSet<String>) {
    let keys: Vec<Keys> = members.iter().map(|member| keys(reader, &member.of)).collect();
    let all: BTreeSet<&String> = keys.iter().filter_map(Keys::named).flatten().collect();
    for (member, own) in members.iter_mut().zip(&keys) {
        let Some(own) = own.named() else { continue };
        let others = all.iter().filter(|key| {
            !own.contains(**key) && !shared.contains(**key) && !OF_ALL_OBJECTS.contains(&key.as_str())
        });
        let never = others.map(|key| field(key, Type::never(), true, Doc::default()));
        add(&mut member.of, never.collect());
    }
}

/// Members of every JavaScript object. A type with one of them as `?: never` would have no values.
const OF_ALL_OBJECTS: [&str; 7] = [
    "constructor",
    "hasOwnProperty",
    "isPrototypeOf",
    "propertyIsEnumerable",
    "toLocaleString",
    "toString",
    "valueOf",
];

/// The keys that an object may have.
enum Keys {
    Named(BTreeSet<String>),
    /// Unknown keys: those of a map, or of another type.
    Any,
}

impl Keys {
    fn named(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Named(names) => Some(names),
            Self::Any => None,
        }
    }
}

fn keys(reader: &Reader<'_>, of: &Type) -> Keys {
    match of {
        Type::Object(object) if object.indices.is_empty() => {
            Keys::Named(object.fields.iter().map(|field| field.name.clone()).collect())
        }
        // A variant's tag, combined with the type that it holds.
        Type::Intersection(parts) => {
            let mut all = BTreeSet::new();
            for part in parts {
                let Some(keys) = part_keys(reader, part) else { return Keys::Any };
                all.extend(keys);
            }
            Keys::Named(all)
        }
        _ => Keys::Any,
    }
}

fn part_keys(reader: &Reader<'_>, part: &Type) -> Option<BTreeSet<String>> {
    let Type::Named(name) = part else { return keys(reader, part).named().cloned() };
    let name = reader.names.definition(reader.direction, name)?;
    let mut found = BTreeSet::new();
    schema_keys(reader, reader.document.definition(reader.direction, &name)?, &mut found, 0)?;
    Some(found)
}

/// Returns the fields that a schema names, itself or in its parts.
pub(super) fn known_fields(reader: &Reader<'_>, keywords: &Map<String, Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // Where any key is allowed, those that are named before are known.
    let _ = schema_keys(reader, &Value::Object(keywords.clone()), &mut found, 0);
    found
}

/// Collects the keys of the objects that a schema describes. Returns `None` if any key is allowed.
fn schema_keys(reader: &Reader<'_>, schema: &Value, found: &mut BTreeSet<String>, depth: usize) -> Option<()> {
    let keywords = schema.as_object().filter(|_| depth < DEEPEST_FLATTENING)?;
    if let Some(Value::Object(properties)) = keywords.get("properties") {
        found.extend(properties.keys().cloned());
    }
    let is_map = |keyword: &str| keywords.get(keyword).is_some_and(|value| value != &Value::Bool(false));
    if ["additionalProperties", "patternProperties", "unevaluatedProperties"].into_iter().any(is_map) {
        return None;
    }
    if let Some(name) = reference(schema) {
        schema_keys(reader, reader.document.definition(reader.direction, &name)?, found, depth + 1)?;
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for part in keywords.get(keyword).and_then(Value::as_array).into_iter().flatten() {
            schema_keys(reader, part, found, depth + 1)?;
        }
    }
    Some(())
}

const DEEPEST_FLATTENING: usize = 16;

/// Adds fields to an object, or to the object of an intersection.
fn add(of: &mut Type, never: Vec<Field>) {
    match of {
        Type::Object(object) => {
            object.fields.extend(never);
            object.fields.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Type::Intersection(parts) => {
            if let Some(part) = parts.iter_mut().find(|part| matches!(part, Type::Object(_))) {
                add(part, never);
            }
        }
        _ => {}
    }
}
