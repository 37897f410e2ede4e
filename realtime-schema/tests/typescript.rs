//! Generated files: constants, names, and refusals.

#[path = "support/tsc.rs"]
mod tsc;

use realtime_schema::{Description, Kind, Problems, Schema, Side};
use schemars::{JsonSchema, Schema as JsonSchemaValue};
use std::collections::BTreeMap;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const MUTATION: Kind = Kind::Mutation { time_limit: LIMIT };

fn side<T: JsonSchema>() -> Option<Side> {
    Some(|generator| generator.subschema_for::<T>())
}

/// A procedure with the input `I` and the output `O`.
fn call<I: JsonSchema, O: JsonSchema>(name: &str) -> Description {
    Description { sent: side::<I>(), received: side::<O>(), ..Description::new("api", name, MUTATION) }
}

fn of_kind<T: JsonSchema>(name: &str, kind: Kind) -> Description {
    Description { sent: side::<T>(), received: side::<T>(), ..Description::new("api", name, kind) }
}

fn schema(descriptions: &[Description]) -> Schema {
    Schema::describing(descriptions).unwrap()
}

fn refused(descriptions: &[Description]) -> Problems {
    schema(descriptions).try_typescript("api").unwrap_err()
}

#[derive(JsonSchema)]
#[allow(dead_code)]
struct Report {
    rows: u32,
}

/// A note, in both directions.
#[derive(JsonSchema)]
#[allow(dead_code)]
struct Note {
    text: Option<String>,
}

fn everything() -> Vec<Description> {
    let import = call::<String, Report>("import");
    vec![
        call::<i64, i64>("add"),
        Description { progress: side::<f64>(), ..import },
        of_kind::<()>("users.me", Kind::Query { time_limit: Duration::from_secs(5) }),
        call::<(), ()>("users.admin.reset"),
        of_kind::<u32>("countdown", Kind::Subscription),
        of_kind::<f32>("added", Kind::ServerEvent),
        of_kind::<Note>("noted", Kind::ServerEvent),
        of_kind::<Note>("noted", Kind::ClientEvent),
        of_kind::<()>("bye", Kind::ClientEvent),
        of_kind::<String>("confirm", Kind::Ask { time_limit: LIMIT }),
        of_kind::<Note>("room", Kind::Presence),
    ]
}

#[test]
fn a_file_has_the_types_and_the_constants_of_an_id() {
    let file = schema(&everything()).typescript("api");
    schema(&everything()).keep("tests/expected/api.ts", &file);
    tsc::check("everything", &[("api.ts", &file)]);
}

#[test]
fn a_handler_is_described_by_its_three_types() {
    let descriptions = [
        Description { sent: side::<Note>(), ..Description::new("talk", "", Kind::Input) },
        Description { sent: side::<String>(), ..Description::new("talk", "", Kind::ClientMessage) },
        Description { received: side::<Note>(), ..Description::new("talk", "", Kind::ServerMessage) },
    ];
    let file = schema(&descriptions).typescript("talk");
    assert!(file.contains("export const endpoint = describe<NoteInput, string, Note>(\"talk\", \""), "{file}");
    assert!(!file.contains("export const api"), "{file}");
    tsc::check("handler", &[("talk.ts", &file)]);
}

#[test]
fn the_output_is_the_same_in_any_order_of_registration() {
    let mut backwards = everything();
    backwards.reverse();
    let (one, other) = (schema(&everything()), schema(&backwards));
    assert_eq!(one.typescript("api"), other.typescript("api"));
    assert_eq!(one.document(), other.document());
}

#[test]
fn places_have_names_with_the_data_of_those_present() {
    let descriptions = [
        call::<(), ()>("room.name"),
        of_kind::<Note>("room", Kind::Presence),
        of_kind::<String>("board.of-all", Kind::Presence),
    ];
    let page = r#"
import { present } from "realtime-client";
import { type Note, type Presence, places } from "./api.js";
export const here: ReadonlyMap<string, Note> = present(null, places.room.of(7)).get();
export const all: ReadonlyMap<string, Presence["board.of-all"]> = present(null, places.board["of-all"]).get();
// @ts-expect-error: the data is a note
export const names: ReadonlyMap<string, string> = present(null, places.room).get();
// @ts-expect-error: the data is a note
present<string>(null, places.room.of("a"));
// @ts-expect-error: no such place
present(null, places.lobby);
"#;
    tsc::check("places", &[("api.ts", &schema(&descriptions).typescript("api")), ("page.ts", page)]);
}

#[test]
fn flattened_enums_may_have_a_field_in_common() {
    #[derive(JsonSchema)]
    #[serde(tag = "shape")]
    #[allow(dead_code)]
    enum Shape {
        Line { size: u8 },
        Point,
    }
    #[derive(JsonSchema)]
    #[serde(tag = "font")]
    #[allow(dead_code)]
    enum Font {
        Sized { size: u8 },
        Fixed { style: u8 },
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Label {
        #[serde(flatten)]
        shape: Shape,
        #[serde(flatten)]
        font: Font,
    }
    let page = r#"
import type { Label } from "./api.js";
export const label: Label = { shape: "Point", font: "Sized", size: 3 };
// @ts-expect-error: a field of another font
export const styled: Label = { shape: "Point", font: "Sized", size: 3, style: 1 };
"#;
    let file = schema(&[of_kind::<Label>("labelled", Kind::ServerEvent)]).typescript("api");
    tsc::check("flattened", &[("api.ts", &file), ("page.ts", page)]);
}

#[test]
fn names_that_are_no_identifiers_are_quoted() {
    let names =
        ["__proto__", "then", "class", "a-b", "1", "constructor", "say \"hi\"", "ž", "x.__proto__", "x.default"];
    let descriptions: Vec<Description> = names.iter().map(|name| call::<(), bool>(name)).collect();
    let page = r#"
import { api } from "./api.js";
export const all = [
  api["__proto__"], api.then, api.class, api["a-b"], api["1"], api.constructor, api["say \"hi\""], api["ž"],
  api.x["__proto__"], api.x.default,
];
type Output<N> = N extends { "~types"?: (input: infer _) => [infer O, unknown] } ? O : never;
export const output: Output<typeof api["__proto__"]> = true;
"#;
    tsc::check("names", &[("api.ts", &schema(&descriptions).typescript("api")), ("page.ts", page)]);
}

#[test]
fn a_thousand_procedures_are_checked_in_a_moment() {
    let descriptions: Vec<Description> =
        (0..1000).map(|index| call::<Note, Report>(&format!("group{}.name{index}", index % 50))).collect();
    tsc::check("thousand", &[("api.ts", &schema(&descriptions).typescript("api"))]);
}

#[test]
fn a_name_that_is_two_things_is_refused() {
    let twice = refused(&[call::<(), ()>("added"), of_kind::<u8>("added", Kind::ServerEvent)]);
    assert!(twice.to_string().contains("`added` names two things"), "{twice}");
    let group = refused(&[call::<(), ()>("users"), call::<(), ()>("users.me")]);
    assert!(group.to_string().contains("`users.me` names two things"), "{group}");
}

#[test]
fn an_event_that_goes_both_ways_is_of_one_type() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct TwoNames {
        #[serde(rename(serialize = "out", deserialize = "in"))]
        value: u8,
    }
    let both = [of_kind::<TwoNames>("it", Kind::ServerEvent), of_kind::<TwoNames>("it", Kind::ClientEvent)];
    let problems = refused(&both);
    assert!(problems.to_string().contains("the event `it` goes both ways"), "{problems}");
    schema(&both[..1]).typescript("api");
}

#[test]
fn an_id_that_nothing_has_is_refused_with_those_that_there_are() {
    let problems = schema(&everything()).try_typescript("app").unwrap_err();
    assert_eq!(problems.to_string(), "no endpoint or handler with a schema has the id \"app\"; there are: api");
}

#[test]
fn a_variant_may_be_called_like_a_member_of_all_objects() {
    #[derive(JsonSchema)]
    #[serde(rename_all = "camelCase")]
    #[allow(dead_code)]
    enum Member {
        Constructor(u8),
        ToString(u8),
        Plain(u8),
    }
    let page = r#"
import { type Member } from "./api.js";
export const all: Member[] = [{ constructor: 1 }, { toString: 1 }, { plain: 1 }];
// @ts-expect-error two variants at once
export const two: Member = { constructor: 1, plain: 1 };
"#;
    let file = schema(&[call::<Member, ()>("x")]).typescript("api");
    tsc::check("members", &[("api.ts", &file), ("page.ts", page)]);
}

#[test]
fn types_that_hold_themselves_are_types() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Node(Option<Box<Node>>);
    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Json {
        Again(Box<Json>),
        Text(String),
        List(Vec<Json>),
        Map(BTreeMap<String, Json>),
        Both { left: Box<Json>, right: Option<Box<Json>> },
    }
    #[derive(JsonSchema)]
    #[serde(tag = "type")]
    #[allow(dead_code)]
    enum Expression {
        Sum { of: Vec<Expression> },
        Holds(Box<Holder>),
    }
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Holder {
        expression: Expression,
        node: Node,
    }
    let file = schema(&[call::<Json, Node>("a"), call::<Expression, Holder>("b")]).typescript("api");
    let page = r#"
import { type Expression, type Json, type Node } from "./api.js";
export const json: Json = { a: ["x", { b: "y" }], c: [] };
export const both: Json = { left: "x", right: null };
export const node: Node = null;
export const expression: Expression = { type: "Holds", node: null, expression: { type: "Sum", of: [] } };
"#;
    tsc::check("recursive", &[("api.ts", &file), ("page.ts", page)]);
}

macro_rules! named {
    ($type:ident, $name:literal) => {
        #[derive(JsonSchema)]
        #[schemars(rename = $name)]
        #[allow(dead_code)]
        struct $type {
            optional: Option<u8>,
        }
    };
}

#[test]
fn a_type_may_not_be_called_by_a_word_of_the_language() {
    named!(Class, "class");
    let problems = refused(&[call::<Class, ()>("x")]);
    assert!(problems.to_string().contains("the type `class` cannot be called `class`"), "{problems}");
}

#[test]
fn two_types_may_not_be_called_the_same_after_escaping() {
    named!(Dashed, "a-b");
    named!(Dotted, "a.b");
    let problems = refused(&[call::<Dashed, ()>("x"), call::<Dotted, ()>("y")]);
    assert!(problems.to_string().contains("would both be called `a_b`"), "{problems}");
}

#[test]
fn a_type_may_not_be_called_as_the_input_of_another() {
    named!(Input, "NoteInput");
    let problems = refused(&[call::<Note, Note>("x"), call::<Input, ()>("y")]);
    assert!(problems.to_string().contains("would both be called `NoteInput`"), "{problems}");
}

#[test]
fn what_a_schema_says_in_unknown_words_is_unknown() {
    struct Odd;
    impl JsonSchema for Odd {
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Odd".into()
        }

        fn json_schema(_: &mut schemars::SchemaGenerator) -> JsonSchemaValue {
            schemars::json_schema!({ "type": "string", "if": { "minLength": 1 }, "then": { "pattern": "x" } })
        }
    }
    let file = schema(&[call::<Odd, ()>("x")]).typescript("api");
    assert!(file.contains("export type Odd = unknown;"), "{file}");
    assert!(file.contains("and are `unknown`: `if`, `then`.\n"), "{file}");
}

#[test]
fn wide_integers_are_refused_with_their_places() {
    #[derive(JsonSchema)]
    #[allow(dead_code)]
    struct Wide {
        id: u64,
        list: Vec<Option<i64>>,
        by_number: BTreeMap<u8, u64>,
        small: i32,
        #[schemars(range(min = 0, max = 9007199254740991_u64))]
        bounded: u64,
        #[schemars(range(min = -9007199254740991_i64, max = 9007199254740991_i64))]
        bounded_below: i64,
        #[schemars(range(max = 9007199254740992_u64))]
        nearly: u64,
        #[schemars(range(max = 5))]
        open_below: i64,
    }
    let result = std::panic::catch_unwind(|| schema(&[call::<Wide, u128>("x")]).deny_wide_integers());
    let said = *result.unwrap_err().downcast::<String>().unwrap();
    for place in ["Wide.id", "Wide.list", "Wide.by_number", "Wide.nearly", "Wide.open_below", "output of api/x"] {
        assert!(said.contains(place), "{said}");
    }
    assert!(!said.contains("small") && !said.contains("Wide.bounded"), "{said}");
    schema(&[call::<Note, u32>("x")]).deny_wide_integers();
}
