//! JSON Schemas as values: their parts and references.

use serde_json::Value;

/// Returns the direct subschemas of a schema. The value of a keyword is a schema, a list of schemas, or a map from
/// names, which may look like keywords. Instance data is left out.
pub(crate) fn parts(schema: &Value) -> Vec<&Value> {
    let mut parts = Vec::new();
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        match value {
            _ if is_data(keyword) => {}
            Value::Object(named) if is_map(keyword) => parts.extend(named.values()),
            Value::Array(list) => parts.extend(list),
            schema => parts.push(schema),
        }
    }
    parts
}

/// Returns the direct subschemas for modification.
pub(crate) fn parts_mut(schema: &mut Value) -> Vec<&mut Value> {
    let mut parts = Vec::new();
    for (keyword, value) in schema.as_object_mut().into_iter().flatten() {
        let (is_map, is_data) = (is_map(keyword), is_data(keyword));
        match (value, is_map) {
            _ if is_data => {}
            (Value::Object(named), true) => parts.extend(named.values_mut()),
            (Value::Array(list), _) => parts.extend(list),
            (schema, _) => parts.push(schema),
        }
    }
    parts
}

fn is_map(keyword: &str) -> bool {
    matches!(keyword, "$defs" | "definitions" | "dependentSchemas" | "patternProperties" | "properties")
}

fn is_data(keyword: &str) -> bool {
    matches!(keyword, "const" | "default" | "enum" | "example" | "examples" | "required" | "type")
        || is_for_people(keyword)
}

fn is_for_people(keyword: &str) -> bool {
    matches!(keyword, "$comment" | "default" | "deprecated" | "description" | "examples" | "title")
}

/// Returns the name of the definition that a `$ref` points to.
pub(crate) fn reference(schema: &Value) -> Option<String> {
    let pointer = schema.get("$ref")?.as_str()?;
    let last = pointer.rsplit('/').next()?;
    Some(percent_decoded(last).replace("~1", "/").replace("~0", "~"))
}

/// Returns true for the schema of `()`.
pub(crate) fn is_unit(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

/// Calls `found` with each definition that a schema refers to, itself or in its parts.
pub(crate) fn each_reference(schema: &Value, found: &mut dyn FnMut(String)) {
    if let Some(name) = reference(schema) {
        found(name);
    }
    parts(schema).into_iter().for_each(|part| each_reference(part, found));
}

/// Sorts unordered lists, so that moving a field in the source changes nothing.
pub(crate) fn sort_required(schema: &mut Value) {
    if let Some(Value::Array(names)) = schema.get_mut("required") {
        names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        names.dedup();
    }
    parts_mut(schema).into_iter().for_each(sort_required);
}

/// Removes descriptions, leaving the shape.
pub(crate) fn strip(schema: &mut Value) {
    if let Some(keywords) = schema.as_object_mut() {
        keywords.retain(|keyword, _| !is_for_people(keyword));
    }
    parts_mut(schema).into_iter().for_each(strip);
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = (byte == b'%').then(|| after.get(..2)).flatten();
        let code = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_reference_is_decoded() {
        assert_eq!(reference(&json!({ "$ref": "#/definitions/sent/a%20b~1c~0" })).as_deref(), Some("a b/c~"));
        assert_eq!(reference(&json!({ "$ref": "#/definitions/sent/100%" })).as_deref(), Some("100%"));
    }

    #[test]
    fn what_looks_like_a_reference_in_data_is_none() {
        let schema = json!({ "default": { "$ref": "#/x/No" }, "items": { "$ref": "#/x/Yes" } });
        assert_eq!(references(&schema), ["Yes"]);
    }

    #[test]
    fn a_field_may_be_called_like_a_keyword() {
        let schema = json!({ "properties": { "default": { "$ref": "#/x/A" }, "title": { "$ref": "#/x/B" } } });
        assert_eq!(references(&schema), ["A", "B"]);
        let mut stripped = schema.clone();
        strip(&mut stripped);
        assert_eq!(stripped, schema);
    }

    fn references(schema: &Value) -> Vec<String> {
        let mut found = Vec::new();
        each_reference(schema, &mut |name| found.push(name));
        found
    }
}
