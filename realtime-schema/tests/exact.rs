//! Changes by which values are lost that a client sends, or receives, in schemas that are joined, bounded or written by hand.

use realtime_schema::Schema;
use serde_json::{Value, json};

/// A server with a client event and a server event of a type.
fn server(root: &Value, definitions: &Value) -> Schema {
    let document = json!({
        "version": 1,
        "definitions": { "sent": definitions, "received": definitions },
        "endpoints": { "sent": { "clientEvents": { "it": root } }, "received": { "serverEvents": { "it": root } } },
    });
    Schema::from_document(&document.to_string()).unwrap()
}

/// Returns the breaks between two types, as clients send them or receive them.
fn breaks(direction: &str, old: (&Value, &Value), new: (&Value, &Value)) -> Vec<String> {
    let changes = server(new.0, new.1).changes_since(&server(old.0, old.1).document()).unwrap();
    let is_there = |line: &&String| line.contains(&format!("({direction})"));
    changes.breaks().iter().filter(is_there).cloned().collect()
}

/// Tests of a type before and after: some value of the old one is refused by the new one, or the other way round if it is
/// received.
macro_rules! loses {
    ($($name:ident: $direction:literal, { $($old:tt)* } => { $($new:tt)* };)*) => {
        $(
            #[test]
            fn $name() {
                let (none, old, new) = (json!({}), json!({ $($old)* }), json!({ $($new)* }));
                assert!(!breaks($direction, (&old, &none), (&new, &none)).is_empty());
                for same in [&old, &new] {
                    assert_eq!(breaks($direction, (same, &none), (same, &none)), <[String; 0]>::default());
                }
            }
        )*
    };
}

loses! {
    an_object_beside_values_that_gets_other_fields: "received",
        { "oneOf": [{ "type": "string", "const": "none" }, {
            "type": "object", "properties": { "some": true }, "required": ["some"], "additionalProperties": false,
        }] } =>
        { "oneOf": [{
            "type": "object", "properties": { "type": { "const": "a" }, "some": true }, "required": ["type", "some"],
        }] };
    the_only_variant_that_gets_another_field: "received",
        { "oneOf": [{
            "type": "object", "properties": { "some": true }, "required": ["some"], "additionalProperties": false,
        }] } =>
        { "type": "object", "properties": { "some": true, "more": true }, "required": ["some"] };
    an_integer_that_becomes_a_number_with_a_bound: "sent",
        { "type": "integer", "minimum": 0 } => { "type": "number", "minimum": 5 };
    a_number_with_a_bound_that_becomes_an_integer: "received",
        { "type": "number", "maximum": 3 } => { "type": "integer", "maximum": 7 };
    a_value_that_is_too_long_for_the_text_it_becomes: "sent",
        { "const": "abc" } => { "type": "string", "maxLength": 2 };
    a_value_with_a_bound_beside_it: "sent",
        { "const": "abc" } => { "enum": ["abc", "d"], "maxLength": 2 };
    a_text_that_becomes_a_constraint_without_a_type: "sent",
        { "type": "string" } => { "not": { "const": "a" } };
    two_formats_of_a_number: "sent",
        { "type": "integer", "minimum": 0, "maximum": 300 } =>
        { "allOf": [{ "type": "integer", "format": "uint8" }, { "type": "integer", "format": "int32" }] };
    a_map_that_is_also_a_struct_without_unknown_fields: "sent",
        { "type": "object", "additionalProperties": { "type": "integer" } } =>
        { "allOf": [
            { "type": "object", "additionalProperties": false },
            { "type": "object", "additionalProperties": { "type": "integer" } },
        ] };
    a_field_that_is_also_one_of_a_map: "sent",
        {
            "type": "object", "properties": { "a": { "type": "string" } },
            "additionalProperties": { "type": "integer" },
        } =>
        { "allOf": [
            { "type": "object", "properties": { "a": { "type": "string" } } },
            { "type": "object", "additionalProperties": { "type": "integer" } },
        ] };
    a_field_that_a_map_requires: "sent",
        {
            "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"],
            "additionalProperties": { "type": "integer" },
        } =>
        { "type": "object", "additionalProperties": { "type": "integer" }, "required": ["a"] };
    a_tuple_that_is_also_a_list: "sent",
        { "type": "array", "prefixItems": [{ "type": "string" }], "items": false } =>
        { "allOf": [
            { "type": "array", "prefixItems": [{ "type": "string" }], "items": false },
            { "type": "array", "items": { "type": "integer" } },
        ] };
    a_field_with_the_name_of_a_number: "sent",
        { "type": "object", "properties": { "1": { "type": "string" } }, "additionalProperties": false } =>
        { "type": "object", "patternProperties": { r"^\d+$": { "type": "integer" } }, "additionalProperties": false };
    a_map_that_gets_another_type_for_numbers: "sent",
        { "type": "object", "additionalProperties": { "type": "string" } } =>
        { "type": "object", "patternProperties": { r"^\d+$": { "type": "integer" } } };
    a_map_by_number_that_becomes_a_struct: "received",
        { "type": "object", "patternProperties": { r"^\d+$": true }, "additionalProperties": false } =>
        { "type": "object", "properties": { "me": { "type": "null" } } };
    a_map_by_number_that_becomes_one_of_any_keys: "received",
        { "type": "object", "patternProperties": { r"^\d+$": { "type": "integer" } } } =>
        { "type": "object", "additionalProperties": { "type": "string" } };
}

#[test]
fn a_type_behind_a_word_that_is_not_known() {
    let schema = json!({ "type": "string", "not": { "$ref": "#/definitions/sent/Word" } });
    let (old, new) = (json!({ "Word": { "const": "a" } }), json!({ "Word": { "const": "b" } }));
    assert_eq!(breaks("sent", (&schema, &old), (&schema, &new)), ["event sent/it (sent): changed: a type in not"]);
    let described = json!({ "Word": { "const": "a", "description": "Said." } });
    assert!(breaks("sent", (&schema, &old), (&schema, &described)).is_empty());
}

#[test]
fn a_type_with_too_many_variants_to_compare() {
    let of = |count: usize| json!({ "enum": (0..count).collect::<Vec<_>>() });
    let many = |last: usize| json!({ "Many": { "allOf": [of(70), of(last)] } });
    let schema = json!({ "$ref": "#/definitions/sent/Many" });
    let told = breaks("sent", (&schema, &many(70)), (&schema, &many(69)));
    assert_eq!(told, ["event sent/it (sent): changed: too many variants to compare"]);
    assert!(breaks("sent", (&schema, &many(70)), (&schema, &many(70))).is_empty());
}

/// A field of a struct and one of an enum that is flattened into it have a name in common, and differ.
#[test]
fn a_field_that_two_flattened_types_have() {
    let joined = |least: u8| {
        json!({
            "type": "object", "properties": { "a": { "type": "integer", "minimum": 1 } },
            "oneOf": [{
                "type": "object", "required": ["type"],
                "properties": { "type": { "const": "x" }, "a": { "type": "number", "minimum": least } },
            }],
        })
    };
    let none = json!({});
    assert!(breaks("sent", (&joined(2), &none), (&joined(0), &none)).is_empty());
    assert_eq!(
        breaks("sent", (&joined(0), &none), (&joined(2), &none)),
        ["event sent/it.a (sent): narrowed: was 1 to inf, now 2 to inf"],
    );
}
