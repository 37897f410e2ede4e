//! Integers that JavaScript cannot represent exactly.

use super::doc::is_wide;
use crate::document::{Direction, Document};
use serde_json::Value;

/// Returns the places where a server sends or accepts integers of 64 bits or more.
pub(crate) fn wide_integers(document: &Document) -> Vec<String> {
    let mut found = Vec::new();
    for direction in [Direction::Sent, Direction::Received] {
        for (name, schema) in document.definitions.of(direction) {
            search(schema, name, &mut found);
        }
    }
    for (id, endpoint) in &document.endpoints {
        for root in endpoint.roots() {
            search(root.schema, &root.label(id), &mut found);
        }
    }
    found.sort();
    found.dedup();
    found
}

fn search(schema: &Value, place: &str, found: &mut Vec<String>) {
    if is_wide(schema) {
        found.push(place.to_owned());
    }
    for keyword in ["allOf", "anyOf", "oneOf", "prefixItems"] {
        for part in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
            search(part, place, found);
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(part) = schema.get(keyword) {
            search(part, place, found);
        }
    }
    for part in schema.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(|map| map.values())
    {
        search(part, place, found);
    }
    for (name, part) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        search(part, &format!("{place}.{name}"), found);
    }
}
