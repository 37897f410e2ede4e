//! The named schemas of AsyncAPI and OpenAPI, which share one list for both directions.

use crate::document::{Direction, Document};
use crate::schemas::{each_reference, parts_mut, reference, strip};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The names of the schemas, by direction and definition.
pub(crate) struct Components<'a> {
    document: &'a Document,
    names: BTreeMap<(Direction, String), String>,
}

impl<'a> Components<'a> {
    /// Names all definitions. If the two directions of one differ, they are `User` as received and `UserInput` as sent.
    /// A name that is already used gets the suffix `_`.
    pub(crate) fn new(document: &'a Document, reserved: &[&str]) -> Self {
        let differing = differing(document);
        let mut taken: BTreeSet<String> = reserved.iter().map(|name| (*name).to_owned()).collect();
        let mut names = BTreeMap::new();
        for direction in [Direction::Received, Direction::Sent] {
            for definition in document.definitions.of(direction).keys() {
                let is_other = differing.contains(definition);
                let shared = names.get(&(Direction::Received, definition.clone())).cloned();
                let name = match (direction, shared) {
                    (Direction::Sent, Some(shared)) if !is_other => shared,
                    (Direction::Sent, Some(_)) => unique(format!("{}Input", key(definition)), &mut taken),
                    _ => unique(key(definition), &mut taken),
                };
                names.insert((direction, definition.clone()), name);
            }
        }
        Self { document, names }
    }

    /// Returns a schema with its references pointing into the list.
    pub(crate) fn schema(&self, direction: Direction, schema: &Value) -> Value {
        let mut schema = schema.clone();
        self.refer(direction, &mut schema);
        // Some parsers refuse a schema that is just `true`.
        match schema {
            Value::Bool(true) => json!({}),
            Value::Bool(false) => json!({ "not": {} }),
            schema => schema,
        }
    }

    /// Returns all named schemas.
    pub(crate) fn all(&self) -> Map<String, Value> {
        let all = self.names.iter().filter_map(|((direction, definition), name)| {
            let schema = self.document.definition(*direction, definition)?;
            Some((name.clone(), self.schema(*direction, schema)))
        });
        all.collect()
    }

    fn refer(&self, direction: Direction, schema: &mut Value) {
        if let Some(definition) = reference(schema)
            && let Some(name) = self.names.get(&(direction, definition))
        {
            schema["$ref"] = format!("#/components/schemas/{name}").into();
        }
        parts_mut(schema).into_iter().for_each(|part| self.refer(direction, part));
    }
}

/// Returns the definitions whose directions differ, by themselves or in a type that they refer to.
fn differing(document: &Document) -> BTreeSet<String> {
    let [sent, received] =
        [Direction::Sent, Direction::Received].map(|direction| document.definitions.of(direction));
    let both: Vec<&String> = sent.keys().filter(|name| received.contains_key(*name)).collect();
    let mut differing: BTreeSet<String> = both
        .iter()
        .filter(|name| neutral(&sent[**name]) != neutral(&received[**name]))
        .map(|name| (*name).clone())
        .collect();
    loop {
        let refers = |name: &str| {
            let mut found = false;
            each_reference(&sent[name], &mut |name| found |= differing.contains(&name));
            found
        };
        let more: Vec<String> = both
            .iter()
            .filter(|name| !differing.contains(**name) && refers(name))
            .map(|name| (*name).clone())
            .collect();
        if more.is_empty() {
            return differing;
        }
        differing.extend(more);
    }
}

/// Removes the direction and the descriptions from a schema.
fn neutral(schema: &Value) -> Value {
    fn forget(schema: &mut Value) {
        if let Some(name) = reference(schema) {
            schema["$ref"] = name.into();
        }
        parts_mut(schema).into_iter().for_each(forget);
    }
    let mut schema = schema.clone();
    strip(&mut schema);
    forget(&mut schema);
    schema
}

/// Returns a name of letters, digits, `.`, `-` and `_`, which both formats require for keys. Other characters are
/// replaced by their number.
pub(crate) fn key(name: &str) -> String {
    let allowed = |one: char| one.is_ascii_alphanumeric() || matches!(one, '.' | '-' | '_');
    name.chars()
        .map(|one| if allowed(one) { one.to_string() } else { format!("_{:x}_", u32::from(one)) })
        .collect()
}

pub(crate) fn unique(mut name: String, taken: &mut BTreeSet<String>) -> String {
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// Returns the schema of the protocol's errors.
pub(crate) fn error() -> Value {
    json!({
        "type": "object",
        "description": "Why something could not be served.",
        "properties": {
            "code": { "type": "string", "description": "The kind of error, for programs." },
            "message": { "type": "string", "description": "For people; its words may change." },
            "details": { "description": "For programs." },
            "retryable": { "type": "boolean", "description": "The same request may succeed later." },
            "retryAfterMs": { "type": "integer", "minimum": 0, "description": "When to try again." },
        },
        "required": ["code", "message"],
    })
}

/// The name of the error schema.
pub(crate) const ERROR: &str = "RealtimeError";
