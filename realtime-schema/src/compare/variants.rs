//! Expands a schema into a list of variants.

use crate::document::{Direction, Document};
use crate::schemas::reference;
use serde_json::{Map, Value, json};

/// A kind of value that a schema accepts: a constant, or values of one type, with all their constraints.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variant {
    pub(super) keywords: Map<String, Value>,
    /// The named type that the variant comes from.
    pub(super) origin: Option<String>,
}

/// Expands a schema: follows references and joins combinations. Returns `None` if there are too many variants to
/// compare.
pub(super) fn variants(document: &Document, direction: Direction, schema: &Value) -> Option<Vec<Variant>> {
    Expansion { document, direction }.expand(schema, &mut Vec::new())
}

/// The limit of variants, which multiply if several enums are flattened.
const MOST_VARIANTS: usize = 4096;

struct Expansion<'a> {
    document: &'a Document,
    direction: Direction,
}

impl Expansion<'_> {
    /// Expands a schema. `above` has the names being followed: a type that is a union with itself adds nothing.
    fn expand(&self, schema: &Value, above: &mut Vec<String>) -> Option<Vec<Variant>> {
        let Value::Object(keywords) = schema else {
            return Some(if schema == &Value::Bool(false) { Vec::new() } else { vec![Variant::anything()] });
        };
        let mut factors: Vec<Vec<Variant>> = Vec::new();
        if let Some(name) = reference(schema) {
            factors.push(self.follow(name, above)?);
        }
        for part in list(keywords, "allOf") {
            factors.push(self.expand(part, above)?);
        }
        for keyword in ["anyOf", "oneOf"] {
            if keywords.contains_key(keyword) {
                let parts: Option<Vec<_>> = list(keywords, keyword).map(|part| self.expand(part, above)).collect();
                factors.push(parts?.into_iter().flatten().collect());
            }
        }
        let own = own(keywords);
        let is_reference = own.is_empty() && factors.len() == 1;
        if is_reference {
            return factors.pop();
        }
        let own = if own.is_empty() { vec![Variant::anything()] } else { own };
        factors.into_iter().try_fold(own, product)
    }

    fn follow(&self, name: String, above: &mut Vec<String>) -> Option<Vec<Variant>> {
        if above.contains(&name) {
            return Some(Vec::new());
        }
        // An unknown reference accepts anything, like a missing schema.
        let Some(target) = self.document.definition(self.direction, &name) else {
            return Some(vec![Variant::anything()]);
        };
        above.push(name.clone());
        let mut variants = self.expand(target, above)?;
        above.pop();
        variants.iter_mut().for_each(|variant| {
            variant.origin.get_or_insert_with(|| name.clone());
        });
        Some(variants)
    }
}

impl Variant {
    fn anything() -> Self {
        Self { keywords: Map::new(), origin: None }
    }

    pub(super) fn constant(&self) -> Option<&Value> {
        self.keywords.get("const")
    }

    /// Returns the type of the values, or `None` for any type.
    pub(super) fn of(&self) -> Option<&str> {
        self.keywords.get("type").and_then(Value::as_str)
    }

    pub(super) fn is_anything(&self) -> bool {
        self.constant().is_none() && self.of().is_none()
    }

    pub(super) fn is_object(&self) -> bool {
        self.of() == Some("object")
    }

    /// Returns a text that is the same for equal variants.
    pub(super) fn text(&self) -> String {
        let mut value = Value::Object(self.keywords.clone());
        value.sort_all_objects();
        value.to_string()
    }
}

fn list<'a>(keywords: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'a Value> {
    keywords.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

/// Returns the variants of the schema's own keywords, without references and combinations.
fn own(keywords: &Map<String, Value>) -> Vec<Variant> {
    if let Some(Value::Array(values)) = keywords.get("enum") {
        return values.iter().map(constant).collect();
    }
    if let Some(value) = keywords.get("const") {
        return vec![constant(value)];
    }
    let mut keywords = keywords.clone();
    keywords.retain(|keyword, _| !["$ref", "allOf", "anyOf", "oneOf"].contains(&keyword.as_str()));
    // Beside a combination, it means the same as `additionalProperties`.
    if let Some(others) = keywords.remove("unevaluatedProperties") {
        keywords.entry("additionalProperties").or_insert(others);
    }
    let types: Vec<String> = match keywords.remove("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ if OBJECT.iter().any(|keyword| keywords.contains_key(*keyword)) => vec!["object".to_owned()],
        _ if keywords.is_empty() => return Vec::new(),
        _ => return vec![Variant { keywords, origin: None }],
    };
    types.into_iter().map(|of| of_type(of, &keywords)).collect()
}

fn constant(value: &Value) -> Variant {
    if value.is_null() {
        return of_type("null".to_owned(), &Map::new());
    }
    Variant { keywords: Map::from_iter([("const".to_owned(), value.clone())]), origin: None }
}

/// Returns the variant of one of several types, with the keywords for that type.
fn of_type(of: String, keywords: &Map<String, Value>) -> Variant {
    let others: &[&[&str]] = match of.as_str() {
        "object" => &[&ARRAY, &NUMBER, &STRING],
        "array" => &[&OBJECT, &NUMBER, &STRING],
        "integer" | "number" => &[&OBJECT, &ARRAY, &STRING],
        "string" => &[&OBJECT, &ARRAY, &NUMBER],
        _ => &[&OBJECT, &ARRAY, &NUMBER, &STRING, &["format"]],
    };
    let is_others = |keyword: &str| others.iter().any(|list| list.contains(&keyword));
    let mut keywords: Map<String, Value> =
        keywords.iter().filter(|(keyword, _)| !is_others(keyword)).map(|(k, v)| (k.clone(), v.clone())).collect();
    keywords.insert("type".to_owned(), of.into());
    Variant { keywords, origin: None }
}

const OBJECT: [&str; 7] = [
    "additionalProperties",
    "maxProperties",
    "minProperties",
    "patternProperties",
    "properties",
    "propertyNames",
    "required",
];
const ARRAY: [&str; 5] = ["items", "maxItems", "minItems", "prefixItems", "uniqueItems"];
const NUMBER: [&str; 5] = ["exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"];
const STRING: [&str; 5] = ["contentEncoding", "contentMediaType", "maxLength", "minLength", "pattern"];

/// Combines each variant of one side with each of the other, if a value can satisfy both.
fn product(left: Vec<Variant>, right: Vec<Variant>) -> Option<Vec<Variant>> {
    if left.len().saturating_mul(right.len()) > MOST_VARIANTS {
        return None;
    }
    Some(left.iter().flat_map(|one| right.iter().filter_map(move |other| join(one, other))).collect())
}

fn join(one: &Variant, other: &Variant) -> Option<Variant> {
    if one.is_anything() && one.keywords.is_empty() {
        return Some(other.clone());
    }
    if other.is_anything() && other.keywords.is_empty() {
        return Some(one.clone());
    }
    if let (Some(constant), _) | (_, Some(constant)) = (one.constant(), other.constant()) {
        let fits = [one, other].iter().all(|variant| match variant.constant() {
            Some(own) => own == constant,
            None => variant.of().is_none_or(|of| super::is_of_type(constant, of)),
        });
        return fits.then(|| self::constant(constant));
    }
    let of = match (one.of(), other.of()) {
        (Some("integer"), Some("number")) | (Some("number"), Some("integer")) => Some("integer"),
        (Some(one), Some(other)) if one != other => return None,
        (one, other) => one.or(other),
    };
    let mut joined = one.keywords.clone();
    for (keyword, value) in &other.keywords {
        let value = match joined.get(keyword) {
            Some(known) if known != value => join_keyword(keyword, known, value),
            _ => value.clone(),
        };
        joined.insert(keyword.clone(), value);
    }
    if let Some(of) = of {
        joined.insert("type".to_owned(), of.into());
    }
    Some(Variant { keywords: joined, origin: None })
}

/// Joins two values of a keyword, both of which apply.
fn join_keyword(keyword: &str, one: &Value, other: &Value) -> Value {
    match (keyword, one, other) {
        ("properties" | "patternProperties", Value::Object(one), Value::Object(other)) => {
            let mut all = one.clone();
            for (name, schema) in other {
                let schema = match all.get(name) {
                    Some(known) if known != schema => json!({ "allOf": [known, schema] }),
                    _ => schema.clone(),
                };
                all.insert(name.clone(), schema);
            }
            Value::Object(all)
        }
        ("required", Value::Array(one), Value::Array(other)) => {
            let more = other.iter().filter(|name| !one.contains(name));
            Value::Array(one.iter().chain(more).cloned().collect())
        }
        // A part of a flattened type admits the fields of the other parts.
        ("additionalProperties", Value::Bool(_), other) => other.clone(),
        ("additionalProperties", one, Value::Bool(_)) => one.clone(),
        ("additionalProperties" | "items" | "propertyNames", ..) => json!({ "allOf": [one, other] }),
        ("minimum" | "exclusiveMinimum" | "minItems" | "minLength" | "minProperties", ..) => {
            if one.as_f64() > other.as_f64() { one.clone() } else { other.clone() }
        }
        ("maximum" | "exclusiveMaximum" | "maxItems" | "maxLength" | "maxProperties", ..) => {
            if one.as_f64() < other.as_f64() { one.clone() } else { other.clone() }
        }
        // One value cannot express both: any change of them is a change.
        _ => json!([one, other]),
    }
}
