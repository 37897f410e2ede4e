//! Doc comments of types, fields and constants.

use serde_json::Value;

/// The lines of a doc comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Doc(Vec<String>);

/// The line for integers that JavaScript cannot represent exactly.
const WIDE: &str = "Exact to 2^53 − 1.";

impl Doc {
    /// Returns the description of a schema, with tags for constraints that its type cannot express.
    pub(super) fn of(schema: &Value) -> Self {
        let mut lines = Vec::new();
        if let Some(description) = schema.get("description").and_then(Value::as_str) {
            lines.extend(description.trim().lines().map(str::trim_end).map(str::to_owned));
        }
        if is_wide(schema) {
            lines.push(WIDE.to_owned());
        }
        if let Some(format) = text_format(schema) {
            lines.push(format!("@format {format}"));
        }
        if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
            lines.push(format!("@default {default}"));
        }
        if schema.get("deprecated") == Some(&Value::Bool(true)) {
            lines.push("@deprecated".to_owned());
        }
        Self(lines)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the comment and a new line, indented by `depth`, or nothing if it is empty.
    pub(super) fn write(&self, depth: usize) -> String {
        let indent = "  ".repeat(depth);
        match self.0.as_slice() {
            [] => String::new(),
            [line] => format!("/** {} */\n{indent}", harmless(line)),
            lines => {
                let body: String = lines.iter().map(|line| written_line(line, &indent)).collect();
                format!("/**\n{body}{indent} */\n{indent}")
            }
        }
    }

    pub(super) fn add(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }
}

fn written_line(line: &str, indent: &str) -> String {
    let line = format!("{indent} * {}", harmless(line));
    format!("{}\n", line.trim_end())
}

/// Escapes a line so that it cannot end the comment around it.
fn harmless(line: &str) -> String {
    line.replace("*/", "*\\/").replace(['\r', '\u{2028}', '\u{2029}'], " ")
}

/// True if a schema, or the items of its array or map, are integers of 64 bits or more without narrower bounds.
pub(super) fn is_wide(schema: &Value) -> bool {
    let format = schema.get("format").and_then(Value::as_str);
    let is_integer = super::schema_types(schema).iter().any(|of| of == "integer");
    if is_integer && format.is_some_and(|format| WIDE_FORMATS.contains(&format)) {
        return !is_bounded(schema);
    }
    let parts = ["items", "additionalProperties"].iter().filter_map(|keyword| schema.get(keyword));
    let lists =
        ["prefixItems", "anyOf", "oneOf"].iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
    let patterns =
        schema.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(|map| map.values());
    parts.chain(lists).chain(patterns).any(is_wide)
}

/// True if no value is out of reach for JavaScript, whatever the type of the integer.
fn is_bounded(schema: &Value) -> bool {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    bound("minimum").is_some_and(|least| least >= -LARGEST) && bound("maximum").is_some_and(|most| most <= LARGEST)
}

/// 2^53 − 1: above it, JavaScript takes integers for their neighbours.
const LARGEST: f64 = 9_007_199_254_740_991.0;

const WIDE_FORMATS: [&str; 6] = ["int", "int64", "int128", "uint", "uint64", "uint128"];

fn text_format(schema: &Value) -> Option<&str> {
    let is_text = super::schema_types(schema).iter().any(|of| of == "string");
    schema.get("format").and_then(Value::as_str).filter(|_| is_text)
}
