//! Expands a schema into a list of variants.

use super::join::product;
use crate::document::{Direction, Document};
use crate::schemas::{reference, strip};
use serde_json::{Map, Value};

/// A kind of value that a schema accepts: a constant, or values of one type, with all their constraints.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Variant {
    pub(super) keywords: Map<String, Value>,
    /// The named type that the variant comes from.
    pub(super) origin: Option<String>,
    /// A variant of an enum that is an object with its name as the only key.
    pub(super) is_sealed: bool,
}

/// Expands a schema: follows references and joins combinations. The variants have the values of the schema, no more and no
/// fewer, if a `oneOf` is an enum, whose variants exclude each other. Returns `None` if there are too many to compare.
pub(super) fn variants(document: &Document, direction: Direction, schema: &Value) -> Option<Vec<Variant>> {
    Expansion { document, direction }.expand(schema, &mut Vec::new())
}

struct Expansion<'a> {
    document: &'a Document,
    direction: Direction,
}

impl Expansion<'_> {
    /// Expands a schema. `above` has the names being followed: a type that is a union with itself adds nothing.
    fn expand(&self, schema: &Value, above: &mut Vec<String>) -> Option<Vec<Variant>> {
        let Value::Object(all) = schema else {
            return Some(if schema == &Value::Bool(false) { Vec::new() } else { vec![Variant::anything()] });
        };
        let (keywords, unevaluated) = own(all);
        let mut factors: Vec<Vec<Variant>> = Vec::new();
        if !keywords.is_empty() {
            factors.push(of_keywords(keywords)?);
        }
        if let Some(name) = reference(schema) {
            factors.push(self.follow(name, above)?);
        }
        for part in list(all, "allOf") {
            factors.push(self.expand(part, above)?);
        }
        for keyword in ["anyOf", "oneOf"].into_iter().filter(|keyword| all.contains_key(*keyword)) {
            let parts: Option<Vec<_>> = list(all, keyword).map(|part| self.expand(part, above)).collect();
            let mut variants: Vec<Variant> = parts?.into_iter().flatten().collect();
            if keyword == "oneOf" {
                variants.iter_mut().for_each(Variant::seal);
            }
            factors.push(variants);
        }
        let mut factors = factors.into_iter();
        let first = factors.next().unwrap_or_else(|| vec![Variant::anything()]);
        let mut variants = factors.try_fold(first, product)?;
        if let Some(others) = unevaluated {
            variants.iter_mut().for_each(|variant| variant.close(&others));
        }
        Some(variants)
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
    pub(super) fn new(keywords: Map<String, Value>) -> Self {
        Self { keywords, origin: None, is_sealed: false }
    }

    fn anything() -> Self {
        Self::new(Map::new())
    }

    /// Seals the variant of an enum that is an object with its name as the only key.
    fn seal(&mut self) {
        let has_one_key = self.only_key().is_some();
        self.is_sealed |= has_one_key;
    }

    /// Returns the key of an object that has this one and no other.
    pub(super) fn only_key(&self) -> Option<&str> {
        let required = self.keywords.get("required")?.as_array()?;
        let properties = self.keywords.get("properties")?.as_object()?;
        let is_closed = self.keywords.get("additionalProperties") == Some(&Value::Bool(false))
            && !self.keywords.contains_key("patternProperties");
        let [Value::String(name)] = required.as_slice() else { return None };
        (is_closed && properties.len() == 1 && properties.contains_key(name)).then_some(name)
    }

    /// Applies `unevaluatedProperties`, which is about the fields that no part of a combination has.
    fn close(&mut self, others: &Value) {
        let is_read = !self.keywords.contains_key("allOf");
        let keyword = match self.of() {
            Some("object") if is_read => "additionalProperties",
            Some("object") | None if self.constant().is_none() => "unevaluatedProperties",
            _ => return,
        };
        self.keywords.entry(keyword).or_insert_with(|| others.clone());
    }

    pub(super) fn constant(&self) -> Option<&Value> {
        self.keywords.get("const")
    }

    /// Returns the type of the values, or `None` for any type.
    pub(super) fn of(&self) -> Option<&str> {
        self.keywords.get("type").and_then(Value::as_str)
    }

    pub(super) fn is_anything(&self) -> bool {
        self.keywords.is_empty()
    }

    pub(super) fn is_object(&self) -> bool {
        self.of() == Some("object")
    }

    /// Returns a text that is the same for equal variants.
    pub(super) fn text(&self) -> String {
        let mut value = Value::Object(self.keywords.clone());
        value.sort_all_objects();
        if self.is_sealed { format!("sealed {value}") } else { value.to_string() }
    }
}

fn list<'a>(keywords: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'a Value> {
    keywords.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

/// Returns the keywords that say something about values, without references and combinations, and
/// `unevaluatedProperties`.
fn own(keywords: &Map<String, Value>) -> (Map<String, Value>, Option<Value>) {
    let is_own = |keyword: &str| {
        !["$ref", "allOf", "anyOf", "oneOf", "readOnly", "writeOnly"].contains(&keyword)
            && !keyword.starts_with("x-")
    };
    let own = keywords.iter().filter(|(keyword, _)| is_own(keyword)).map(|(k, v)| (k.clone(), v.clone()));
    let mut own = Value::Object(own.collect());
    strip(&mut own);
    let Value::Object(mut own) = own else { unreachable!("it is an object") };
    let unevaluated = own.remove("unevaluatedProperties");
    (own, unevaluated)
}

/// Returns the variants of a schema without references and combinations.
fn of_keywords(mut keywords: Map<String, Value>) -> Option<Vec<Variant>> {
    let values = keywords.remove("enum");
    let constants: Vec<Variant> = match (keywords.remove("const"), values) {
        (Some(value), None) => vec![constant(&value)],
        (None, Some(Value::Array(values))) => values.iter().map(constant).collect(),
        (Some(value), Some(Value::Array(values))) if values.contains(&value) => vec![constant(&value)],
        (None, None) => return Some(of_types(keywords)),
        _ => Vec::new(),
    };
    if keywords.is_empty() { Some(constants) } else { product(constants, of_types(keywords)) }
}

fn of_types(mut keywords: Map<String, Value>) -> Vec<Variant> {
    let types: Vec<String> = match keywords.remove("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ if OBJECT.iter().any(|keyword| keywords.contains_key(*keyword)) => vec!["object".to_owned()],
        _ => return vec![Variant::new(keywords)],
    };
    types.into_iter().map(|of| of_type(of, &keywords)).collect()
}

fn constant(value: &Value) -> Variant {
    if value.is_null() {
        return of_type("null".to_owned(), &Map::new());
    }
    Variant::new(Map::from_iter([("const".to_owned(), value.clone())]))
}

/// Returns the variant of one of several types, with the keywords for that type.
pub(super) fn of_type(of: String, keywords: &Map<String, Value>) -> Variant {
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
    Variant::new(keywords)
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
