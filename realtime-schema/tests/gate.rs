//! The effect of a change of a type on clients that were built before it.

#[path = "gate/contexts.rs"]
mod contexts;

use contexts::For::{Break, Fine, Notice};
use contexts::check;
use schemars::JsonSchema;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A test of a change: the old type, the new type, and the effect when clients send it and when they receive it.
macro_rules! change {
    ($($name:ident: { $($old:tt)* } => { $($new:tt)* }, sent: $sent:expr, received: $received:expr;)*) => {
        $(
            #[test]
            #[allow(dead_code)]
            fn $name() {
                mod old {
                    use super::*;
                    #[derive(JsonSchema)]
                    $($old)*
                }
                mod new {
                    use super::*;
                    #[derive(JsonSchema)]
                    $($new)*
                }
                check::<old::It, new::It>($sent, $received);
            }
        )*
    };
}

change! {
    a_field_more_that_is_required:
        { pub(super) struct It { a: u8 } } => { pub(super) struct It { a: u8, b: u8 } },
        sent: Break, received: Fine;
    a_field_more_that_is_optional:
        { pub(super) struct It { a: u8 } } => { pub(super) struct It { a: u8, b: Option<u8> } },
        sent: Fine, received: Fine;
    a_field_less:
        { pub(super) struct It { a: u8, b: u8 } } => { pub(super) struct It { a: u8 } },
        sent: Fine, received: Break;
    a_field_less_where_unknown_ones_are_refused:
        { #[serde(deny_unknown_fields)] pub(super) struct It { a: u8, b: u8 } } =>
        { #[serde(deny_unknown_fields)] pub(super) struct It { a: u8 } },
        sent: Break, received: Break;
    a_field_less_that_was_not_always_there:
        { pub(super) struct It { a: u8, #[serde(default, skip_serializing_if = "Option::is_none")] b: Option<u8> } } =>
        { pub(super) struct It { a: u8 } },
        sent: Fine, received: Notice;
    optional_to_required:
        { pub(super) struct It { #[serde(default, skip_serializing_if = "BTreeSet::is_empty")] a: BTreeSet<u8> } } =>
        { pub(super) struct It { a: BTreeSet<u8> } },
        sent: Break, received: Fine;
    required_to_optional:
        { pub(super) struct It { a: BTreeSet<u8> } } =>
        { pub(super) struct It { #[serde(default, skip_serializing_if = "BTreeSet::is_empty")] a: BTreeSet<u8> } },
        sent: Fine, received: Break;
    a_default_more:
        { pub(super) struct It { a: u8 } } => { pub(super) struct It { #[serde(default)] a: u8 } },
        sent: Fine, received: Fine;
    unknown_fields_are_refused:
        { pub(super) struct It { a: u8 } } => { #[serde(deny_unknown_fields)] pub(super) struct It { a: u8 } },
        sent: Break, received: Fine;
    unknown_fields_are_passed_over:
        { #[serde(deny_unknown_fields)] pub(super) struct It { a: u8 } } => { pub(super) struct It { a: u8 } },
        sent: Fine, received: Fine;
    another_name_of_a_field:
        { pub(super) struct It { a: u8 } } => { pub(super) struct It { #[serde(rename = "b")] a: u8 } },
        sent: Break, received: Break;

    a_value_more:
        { pub(super) enum It { A, B } } => { pub(super) enum It { A, B, C } },
        sent: Fine, received: Notice;
    a_value_more_than_one:
        { pub(super) enum It { A } } => { pub(super) enum It { A, B } },
        sent: Fine, received: Notice;
    a_value_less:
        { pub(super) enum It { A, B, C } } => { pub(super) enum It { A, B } },
        sent: Break, received: Fine;
    a_variant_more:
        { pub(super) enum It { A, B(u8) } } => { pub(super) enum It { A, B(u8), C { x: u8 } } },
        sent: Fine, received: Notice;
    a_variant_with_data_beside_values:
        { pub(super) enum It { A } } => { pub(super) enum It { A, B(u8) } },
        sent: Fine, received: Notice;
    a_variant_less:
        { pub(super) enum It { A, B(u8), C { x: u8 } } } => { pub(super) enum It { A, B(u8) } },
        sent: Break, received: Fine;
    a_field_more_in_a_variant:
        { pub(super) enum It { A, B { x: u8 } } } => { pub(super) enum It { A, B { x: u8, y: u8 } } },
        sent: Break, received: Fine;
    data_in_a_variant_that_had_none:
        { pub(super) enum It { A, B(u8) } } => { pub(super) enum It { A(u8), B(u8) } },
        sent: Break, received: Notice;
    no_data_in_a_variant_that_had_some:
        { pub(super) enum It { A(u8), B(u8) } } => { pub(super) enum It { A, B(u8) } },
        sent: Break, received: Notice;
    a_map_with_a_field_of_another_type:
        { pub(super) struct It { #[serde(flatten)] more: HashMap<String, u8> } } =>
        { pub(super) struct It { a: Option<bool>, #[serde(flatten)] more: HashMap<String, u8> } },
        sent: Break, received: Break;
    a_tagged_variant_more:
        { #[serde(tag = "t")] pub(super) enum It { A, B { x: u8 } } } =>
        { #[serde(tag = "t")] pub(super) enum It { A, B { x: u8 }, C } },
        sent: Fine, received: Notice;
    a_tagged_variant_less:
        { #[serde(tag = "t")] pub(super) enum It { A, B { x: u8 }, C } } =>
        { #[serde(tag = "t")] pub(super) enum It { A, B { x: u8 } } },
        sent: Break, received: Fine;
    a_field_less_in_a_tagged_variant:
        { #[serde(tag = "t")] pub(super) enum It { A, B { x: u8, y: u8 } } } =>
        { #[serde(tag = "t")] pub(super) enum It { A, B { x: u8 } } },
        sent: Fine, received: Break;
    an_adjacent_variant_more:
        { #[serde(tag = "t", content = "c")] pub(super) enum It { A, B(u8) } } =>
        { #[serde(tag = "t", content = "c")] pub(super) enum It { A, B(u8), C(u8) } },
        sent: Fine, received: Notice;
    an_untagged_variant_more:
        { #[serde(untagged)] pub(super) enum It { A { a: u8 }, B { b: u8 } } } =>
        { #[serde(untagged)] pub(super) enum It { A { a: u8 }, B { b: u8 }, C { c: u8 } } },
        sent: Fine, received: Notice;
    an_untagged_variant_less:
        { #[serde(untagged)] pub(super) enum It { A { a: u8 }, B { b: u8 }, C { c: u8 } } } =>
        { #[serde(untagged)] pub(super) enum It { A { a: u8 }, B { b: u8 } } },
        sent: Break, received: Fine;
    another_tag:
        { #[serde(tag = "t")] pub(super) enum It { A, B { x: u8 } } } =>
        { #[serde(tag = "kind")] pub(super) enum It { A, B { x: u8 } } },
        sent: Break, received: Break;
    other_names_of_all_values:
        { #[serde(rename_all = "lowercase")] pub(super) enum It { A, B } } => { pub(super) enum It { A, B } },
        sent: Break, received: Break;
    another_name_of_a_value:
        { pub(super) enum It { A, B } } => { pub(super) enum It { A, C } },
        sent: Break, received: Notice;

    a_wider_integer:
        { pub(super) struct It { a: u8 } } => { pub(super) struct It { a: u32 } },
        sent: Fine, received: Break;
    a_narrower_integer:
        { pub(super) struct It { a: i64 } } => { pub(super) struct It { a: i32 } },
        sent: Break, received: Fine;
    a_sign:
        { pub(super) struct It { a: u8 } } => { pub(super) struct It { a: i8 } },
        sent: Break, received: Break;
    the_widest_integers:
        { pub(super) struct It { a: u64 } } => { pub(super) struct It { a: u128 } },
        sent: Fine, received: Break;
    an_integer_to_a_number:
        { pub(super) struct It { a: i32 } } => { pub(super) struct It { a: f64 } },
        sent: Fine, received: Break;
    a_number_to_an_integer:
        { pub(super) struct It { a: f64 } } => { pub(super) struct It { a: i32 } },
        sent: Break, received: Fine;
    null_more:
        { pub(super) struct It(u8, Vec<u8>); } => { pub(super) struct It(Option<u8>, Vec<u8>); },
        sent: Fine, received: Break;
    null_less:
        { pub(super) struct It(Option<u8>, Vec<u8>); } => { pub(super) struct It(u8, Vec<u8>); },
        sent: Break, received: Fine;
    null_more_in_a_field:
        { pub(super) struct It { a: BTreeSet<u8> } } => { pub(super) struct It { a: Option<BTreeSet<u8>> } },
        sent: Fine, received: Break;
    tighter_bounds:
        { pub(super) struct It { #[schemars(range(max = 9))] a: u8, #[schemars(length(min = 1))] b: String } } =>
        { pub(super) struct It { #[schemars(range(max = 5))] a: u8, #[schemars(length(min = 2))] b: String } },
        sent: Break, received: Fine;
    looser_bounds:
        { pub(super) struct It { #[schemars(range(max = 5))] a: u8, #[schemars(length(max = 2))] b: String } } =>
        { pub(super) struct It { #[schemars(range(max = 9))] a: u8, b: String } },
        sent: Fine, received: Break;
    a_pattern:
        { pub(super) struct It { a: String } } => { pub(super) struct It { #[schemars(regex(pattern = "^a"))] a: String } },
        sent: Break, received: Fine;
    another_pattern:
        { pub(super) struct It { #[schemars(regex(pattern = "^b"))] a: String } } =>
        { pub(super) struct It { #[schemars(regex(pattern = "^a"))] a: String } },
        sent: Break, received: Break;
    a_text_to_its_values:
        { pub(super) struct It { a: String } } => { pub(super) struct It { a: Colour } },
        sent: Break, received: Fine;
    values_to_any_text:
        { pub(super) struct It { a: Colour } } => { pub(super) struct It { a: String } },
        sent: Fine, received: Break;
    a_text_to_an_id:
        { pub(super) struct It { a: String } } => { pub(super) struct It { a: uuid::Uuid } },
        sent: Break, received: Fine;
    another_type:
        { pub(super) struct It { a: String } } => { pub(super) struct It { a: bool } },
        sent: Break, received: Break;
    anything_to_something:
        { pub(super) struct It { a: serde_json::Value } } => { pub(super) struct It { a: String } },
        sent: Break, received: Fine;
    something_to_anything:
        { pub(super) struct It { a: String } } => { pub(super) struct It { a: serde_json::Value } },
        sent: Fine, received: Break;
    a_list_to_a_set:
        { pub(super) struct It { a: Vec<u8> } } => { pub(super) struct It { a: BTreeSet<u8> } },
        sent: Break, received: Fine;
    a_longer_tuple:
        { pub(super) struct It(u8, u8); } => { pub(super) struct It(u8, u8, u8); },
        sent: Break, received: Break;
    a_longer_array:
        { pub(super) struct It { a: [u8; 2] } } => { pub(super) struct It { a: [u8; 3] } },
        sent: Break, received: Break;
    wider_values_of_a_map:
        { pub(super) struct It { a: HashMap<String, u8> } } => { pub(super) struct It { a: HashMap<String, u16> } },
        sent: Fine, received: Break;
    wider_values_of_a_map_by_number:
        { pub(super) struct It { a: BTreeMap<u8, u8> } } => { pub(super) struct It { a: BTreeMap<u8, u16> } },
        sent: Fine, received: Break;
    a_key_more_in_a_map_by_enum:
        { pub(super) struct It { a: BTreeMap<Colour, u8> } } => { pub(super) struct It { a: BTreeMap<Colours, u8> } },
        sent: Fine, received: Fine;

    a_doc_comment:
        { pub(super) struct It { a: u8 } } => { /// Said.
            pub(super) struct It { /// Said.
                a: u8 } },
        sent: Fine, received: Fine;
    another_order_of_fields:
        { pub(super) struct It { a: u8, b: u8 } } => { pub(super) struct It { b: u8, a: u8 } },
        sent: Fine, received: Fine;
    another_name_of_a_type:
        { pub(super) struct It { a: Colour } } => { #[schemars(rename = "Other")] pub(super) struct It { a: Colour2 } },
        sent: Fine, received: Fine;
    fields_that_are_flattened:
        { pub(super) struct It { a: u8, b: bool } } => { pub(super) struct It { a: u8, #[serde(flatten)] more: B } },
        sent: Fine, received: Fine;
}

#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[allow(dead_code)]
enum Colour {
    Red,
    Green,
}

#[derive(JsonSchema)]
#[schemars(rename = "Paint")]
#[allow(dead_code)]
enum Colour2 {
    Red,
    Green,
}

#[derive(JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[allow(dead_code)]
enum Colours {
    Red,
    Green,
    Blue,
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct B {
    b: bool,
}

/// Words that schemars does not write, but a `JsonSchema` by hand may.
macro_rules! by_hand {
    ($type:ident, $($schema:tt)*) => {
        struct $type;

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                "It".into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($($schema)*)
            }
        }
    };
}

#[test]
fn a_word_that_is_not_known_and_has_changed() {
    by_hand!(Old, { "type": "string", "not": { "const": "a" } });
    by_hand!(New, { "type": "string", "not": { "const": "b" } });
    by_hand!(Without, { "type": "string" });
    check::<Old, New>(Break, Break);
    check::<Old, Without>(Break, Break);
    check::<Without, Old>(Break, Break);
}
