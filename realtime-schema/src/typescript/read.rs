//! Converts schemas to types.

use super::doc::Doc;
use super::names::Names;
use super::objects;
use super::schema_types;
use super::syntax::{Member, Tuple, Type, text_literal};
use crate::document::{Direction, Document};
use crate::schemas::reference;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// A reader of the schemas of one direction.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document,
    pub(super) direction: Direction,
    pub(super) names: &'a Names,
    /// Unknown keywords found so far.
    pub(super) unknown: RefCell<BTreeSet<String>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(document: &'a Document, direction: Direction, names: &'a Names) -> Self {
        Self { document, direction, names, unknown: RefCell::default() }
    }

    /// Returns a type that has every value of the schema. A schema with unknown keywords is `unknown`: its type is
    /// never guessed.
    pub(super) fn read(&self, schema: &Value) -> Type {
        self.read_beside(schema, &BTreeSet::new())
    }

    /// Returns the type of a schema that is joined with others, which have these fields.
    fn read_beside(&self, schema: &Value, fields: &BTreeSet<String>) -> Type {
        let Value::Object(keywords) = schema else {
            return if schema == &Value::Bool(false) { Type::never() } else { Type::unknown() };
        };
        if self.has_unknown(keywords) {
            return Type::unknown();
        }
        if let Some(not) = keywords.get("not") {
            return if is_anything(not) { Type::never() } else { Type::unknown() };
        }
        let mut parts = self.combined(keywords, fields);
        let own = self.own(keywords, !parts.is_empty());
        parts.splice(0..0, own);
        objects::admit(&mut parts);
        Type::intersection(parts)
    }

    /// Returns the types that a schema refers to, combines, or chooses from.
    fn combined(&self, keywords: &Map<String, Value>, beside: &BTreeSet<String>) -> Vec<Type> {
        let mut parts = Vec::new();
        if let Some(name) = keywords.get("$ref").and_then(|_| reference(&Value::Object(keywords.clone()))) {
            parts.push(Type::Named(self.names.of(self.direction, &name)));
        }
        if let Some(Value::Array(all)) = keywords.get("allOf") {
            parts.extend(
                all.iter()
                    .enumerate()
                    .map(|(index, schema)| self.read_beside(schema, &self.fields_beside(keywords, index, beside))),
            );
        }
        // A flattened optional enum may be absent as a whole: `{}`.
        let is_object = keywords.contains_key("properties") || is_type(keywords, "object");
        for keyword in ["oneOf", "anyOf"] {
            if let Some(Value::Array(variants)) = keywords.get(keyword) {
                let others = objects::known_fields(self, &without(keywords, keyword));
                parts.push(self.choice(variants, is_object, &(&others | beside)));
            }
        }
        parts
    }

    /// Returns the fields that a schema has beside one part of its `allOf`.
    fn fields_beside(
        &self,
        keywords: &Map<String, Value>,
        part: usize,
        beside: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let mut keywords = keywords.clone();
        if let Some(Value::Array(parts)) = keywords.get_mut("allOf") {
            parts.remove(part);
        }
        &objects::known_fields(self, &keywords) | beside
    }

    /// Returns the union of variants, which share the other fields of the schema.
    fn choice(&self, variants: &[Value], is_object: bool, shared: &BTreeSet<String>) -> Type {
        let mut members = Vec::new();
        for variant in variants {
            let is_missing = is_object && variant.as_object().is_some_and(Map::is_empty);
            let of = if is_missing { Type::Object(Default::default()) } else { self.read(variant) };
            let doc = if matches!(of, Type::Named(_)) { Doc::default() } else { Doc::of(variant) };
            match of {
                Type::Union(inner) if doc.is_empty() => members.extend(inner),
                of => members.push(Member { of, doc }),
            }
        }
        objects::exclude(self, &mut members, shared);
        Type::union(members)
    }

    /// Returns the type of a schema's own keywords, if there are any.
    fn own(&self, keywords: &Map<String, Value>, is_part: bool) -> Option<Type> {
        if let Some(Value::Array(values)) = keywords.get("enum") {
            return Some(Type::union_of(values.iter().map(literal)));
        }
        if let Some(value) = keywords.get("const") {
            return Some(literal(value));
        }
        let types = schema_types(&Value::Object(keywords.clone()));
        if !types.is_empty() {
            let says_nothing = is_part && types == ["object"] && !objects::has_keywords(keywords);
            let read = || Type::union_of(types.iter().map(|of| self.of_type(of, keywords)));
            return (!says_nothing).then(read);
        }
        if objects::has_keywords(keywords) {
            return Some(objects::read(self, keywords));
        }
        if keywords.contains_key("items") || keywords.contains_key("prefixItems") {
            return Some(self.array(keywords));
        }
        (!is_part).then(Type::unknown)
    }

    fn of_type(&self, of: &str, keywords: &Map<String, Value>) -> Type {
        match of {
            "string" | "boolean" | "null" => Type::plain(of),
            "integer" | "number" => Type::plain("number"),
            "array" => self.array(keywords),
            "object" => objects::read(self, keywords),
            _ => Type::unknown(),
        }
    }

    fn array(&self, keywords: &Map<String, Value>) -> Type {
        let size =
            |keyword: &str| keywords.get(keyword).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let (least, most) = (size("minItems").unwrap_or(0), size("maxItems"));
        let items = keywords.get("items");
        if let Some(Value::Array(first)) = keywords.get("prefixItems") {
            let is_closed = items == Some(&Value::Bool(false)) || most.is_some_and(|most| most <= first.len());
            let rest = || Box::new(items.map_or_else(Type::unknown, |items| self.read(items)));
            return Type::Tuple(Tuple {
                items: first.iter().map(|item| self.read(item)).collect(),
                required: least.min(first.len()),
                rest: (!is_closed).then(rest),
            });
        }
        let item = items.map_or_else(Type::unknown, |items| self.read(items));
        if most == Some(least) && (1..=LONGEST_TUPLE).contains(&least) {
            return Type::Tuple(Tuple { items: vec![item; least], required: least, rest: None });
        }
        Type::Array(Box::new(item))
    }

    /// Records unknown keywords. Returns true if there are any.
    fn has_unknown(&self, keywords: &Map<String, Value>) -> bool {
        let unknown: Vec<String> = keywords.keys().filter(|keyword| !is_known(keyword)).cloned().collect();
        let any = !unknown.is_empty();
        self.unknown.borrow_mut().extend(unknown);
        any
    }
}

fn without(keywords: &Map<String, Value>, keyword: &str) -> Map<String, Value> {
    keywords.iter().filter(|(name, _)| *name != keyword).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// The longest tuple; a longer array of fixed length becomes an array type.
const LONGEST_TUPLE: usize = 16;

fn literal(value: &Value) -> Type {
    match value {
        Value::String(text) => Type::plain(text_literal(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Type::plain(value.to_string()),
        Value::Array(_) | Value::Object(_) => Type::unknown(),
    }
}

fn is_anything(schema: &Value) -> bool {
    schema == &Value::Bool(true) || schema.as_object().is_some_and(Map::is_empty)
}

fn is_type(keywords: &Map<String, Value>, of: &str) -> bool {
    keywords.get("type").and_then(Value::as_str) == Some(of)
}

/// Returns true for keywords that the type expresses, or that narrow it further than TypeScript can.
fn is_known(keyword: &str) -> bool {
    matches!(
        keyword,
        "$ref"
            | "$comment"
            | "additionalProperties"
            | "allOf"
            | "anyOf"
            | "const"
            | "contentEncoding"
            | "contentMediaType"
            | "default"
            | "deprecated"
            | "description"
            | "enum"
            | "examples"
            | "exclusiveMaximum"
            | "exclusiveMinimum"
            | "format"
            | "items"
            | "maxItems"
            | "maxLength"
            | "maxProperties"
            | "maximum"
            | "minItems"
            | "minLength"
            | "minProperties"
            | "minimum"
            | "multipleOf"
            | "not"
            | "oneOf"
            | "pattern"
            | "patternProperties"
            | "prefixItems"
            | "properties"
            | "propertyNames"
            | "readOnly"
            | "required"
            | "title"
            | "type"
            | "unevaluatedProperties"
            | "uniqueItems"
            | "writeOnly"
    ) || keyword.starts_with("x-")
}
