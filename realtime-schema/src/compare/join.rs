//! Joins schemas that all apply to a value.
//!
//! A joined variant has exactly the values that both sides have. Where the keywords of one schema cannot say that, it is an
//! `allOf` that nothing looks into, so that any change of it is a change.

use super::bounds::{self, Bound};
use super::variants::{Variant, of_type};
use serde_json::{Map, Value, json};

/// Combines each variant of one side with each of the other, if a value can satisfy both.
pub(super) fn product(left: Vec<Variant>, right: Vec<Variant>) -> Option<Vec<Variant>> {
    if left.len().saturating_mul(right.len()) > MOST_VARIANTS {
        return None;
    }
    Some(left.iter().flat_map(|one| right.iter().filter_map(move |other| join(one, other))).collect())
}

/// The limit of variants, which multiply if several enums are flattened.
const MOST_VARIANTS: usize = 4096;

fn join(one: &Variant, other: &Variant) -> Option<Variant> {
    if one.is_anything() {
        return Some(other.clone());
    }
    if other.is_anything() {
        return Some(one.clone());
    }
    if let Some(constant) = one.constant() {
        return join_constant(one, constant, other);
    }
    if let Some(constant) = other.constant() {
        return join_constant(other, constant, one);
    }
    let of = match (one.of(), other.of()) {
        (Some("integer"), Some("number")) | (Some("number"), Some("integer")) => Some("integer"),
        (Some(one), Some(other)) if one != other => return None,
        (one, other) => one.or(other),
    };
    let keywords = keywords(&one.keywords, &other.keywords).unwrap_or_else(|| unread(one, other));
    Some(match of {
        Some(of) => of_type(of.to_owned(), &keywords),
        None => Variant::new(keywords),
    })
}

fn join_constant(one: &Variant, constant: &Value, other: &Variant) -> Option<Variant> {
    match bounds::admits(other, constant) {
        Some(is_admitted) => is_admitted.then(|| one.clone()),
        None => Some(Variant::new(unread(one, other))),
    }
}

/// Returns a schema of both that is compared as a whole.
fn unread(one: &Variant, other: &Variant) -> Map<String, Value> {
    Map::from_iter([("allOf".to_owned(), json!([one.keywords, other.keywords]))])
}

/// Joins the keywords of two schemas. Returns `None` where one schema cannot say what both do.
fn keywords(one: &Map<String, Value>, other: &Map<String, Value>) -> Option<Map<String, Value>> {
    if reads_others(one) || reads_others(other) || !is_one_list(one, other) {
        return None;
    }
    let mut joined = one.clone();
    for (keyword, value) in other {
        let value = match joined.get(keyword) {
            Some(known) if known != value => join_keyword(keyword, known, value)?,
            _ => value.clone(),
        };
        joined.insert(keyword.clone(), value);
    }
    restrict(&mut joined, one, other)?;
    restrict(&mut joined, other, one)?;
    Some(joined)
}

/// Returns true if a keyword depends on others beside it that are not known here.
fn reads_others(keywords: &Map<String, Value>) -> bool {
    ["contains", "else", "if", "maxContains", "minContains", "then", "unevaluatedItems", "unevaluatedProperties"]
        .iter()
        .any(|keyword| keywords.contains_key(*keyword))
}

/// Returns true if `items` means the same items of a list on both sides: those after equal `prefixItems`.
fn is_one_list(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let is_list =
        |side: &Map<String, Value>| ["items", "prefixItems"].iter().any(|keyword| side.contains_key(*keyword));
    !is_list(one) || !is_list(other) || one.get("prefixItems") == other.get("prefixItems")
}

/// Joins two values of a keyword, both of which apply.
fn join_keyword(keyword: &str, one: &Value, other: &Value) -> Option<Value> {
    match (keyword, one, other) {
        // The caller knows it.
        ("type", ..) => Some(one.clone()),
        ("properties" | "patternProperties", Value::Object(one), Value::Object(other)) => {
            let mut all = one.clone();
            for (name, schema) in other {
                let schema = all.get(name).map_or_else(|| schema.clone(), |known| both(known, schema));
                all.insert(name.clone(), schema);
            }
            Some(Value::Object(all))
        }
        ("required", Value::Array(one), Value::Array(other)) => {
            let more = other.iter().filter(|name| !one.contains(name));
            Some(Value::Array(one.iter().chain(more).cloned().collect()))
        }
        ("additionalProperties" | "items" | "propertyNames", ..) => Some(both(one, other)),
        ("minimum" | "exclusiveMinimum" | "minItems" | "minLength" | "minProperties", ..) => {
            let (first, second) = (Bound::of(one)?, Bound::of(other)?);
            Some(if first > second { one.clone() } else { other.clone() })
        }
        ("maximum" | "exclusiveMaximum" | "maxItems" | "maxLength" | "maxProperties", ..) => {
            let (first, second) = (Bound::of(one)?, Bound::of(other)?);
            Some(if first < second { one.clone() } else { other.clone() })
        }
        _ => None,
    }
}

/// Returns a schema for what two schemas apply to.
fn both(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Bool(true), _) => other.clone(),
        (_, Value::Bool(true)) => one.clone(),
        _ if one == other => one.clone(),
        _ => json!({ "allOf": [one, other] }),
    }
}

/// Applies the rule that one side has for fields that it does not name to the fields of the other. Returns `None` if
/// patterns name some of them.
fn restrict(joined: &mut Map<String, Value>, side: &Map<String, Value>, other: &Map<String, Value>) -> Option<()> {
    let Some(rule) = side.get("additionalProperties") else { return Some(()) };
    if side.contains_key("patternProperties") || other.contains_key("patternProperties") {
        return None;
    }
    let known = side.get("properties").and_then(Value::as_object);
    let is_known = |name: &str| known.is_some_and(|known| known.contains_key(name));
    let Some(fields) = joined.get_mut("properties").and_then(Value::as_object_mut) else { return Some(()) };
    for (name, schema) in fields {
        if !is_known(name) {
            *schema = both(schema, rule);
        }
    }
    Some(())
}
