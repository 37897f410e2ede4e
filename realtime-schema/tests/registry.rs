//! The descriptions that a registry provides.

use realtime_core::{
    Endpoint, Event, FnConnection, Gap, Item, Message, PRESENCE, Position, PresenceNotice, Procedure, Realtime,
    Subscription, handler_fn,
};
use realtime_schema::{Schema, schemars::JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Serialize, Deserialize, JsonSchema)]
struct User {
    name: String,
}

/// A type without a schema.
#[derive(Serialize, Deserialize)]
struct Bare;

const ADD: Procedure<i64, i64> = Procedure::new("add").progress::<f64>();
const ME: Procedure<(), User> = Procedure::query("me").with_timeout(Duration::from_secs(5));
const COUNT: Subscription<u8, u16> = Subscription::new("count");
const TYPING: Event<bool> = Event::new("typing");
const ADDED: Event<User> = Event::new("added");
const CONFIRM: Procedure<String, bool> = Procedure::new("confirm");
const SECRET: Procedure<Bare, Bare> = Procedure::new("secret");

fn described() -> Endpoint<(), realtime_core::Described> {
    Endpoint::described(())
        .procedure(ADD, |_, by| async move { Ok(by) })
        .subscription(COUNT, |_, _| async { Ok(futures_util::stream::empty::<Item<u16>>()) })
        .on(TYPING, |_, _| async { Ok(()) })
        .emits(ADDED)
        .asks(CONFIRM)
        .presence::<User>("room")
}

fn bare() -> Endpoint<()> {
    Endpoint::new(()).procedure(SECRET, |_, secret| async move { Ok(secret) })
}

fn document(schema: &Schema) -> Value {
    serde_json::from_str(&schema.document()).expect("it is JSON")
}

#[test]
fn every_registration_and_declaration_is_in_the_document() {
    let users = Endpoint::described(()).procedure(ME, |_, ()| async { Ok(User { name: "ann".into() }) });
    let realtime = Realtime::builder().endpoint("api", described().nest("users", users)).build();

    let endpoint = &document(&Schema::of(&realtime))["endpoints"]["api"];
    let integer = json!({ "type": "integer", "format": "int64" });
    assert_eq!(
        endpoint["procedures"]["add"],
        json!({
            "kind": "mutation", "input": integer, "output": integer, "timeLimitMs": 30000,
            "progress": { "type": "number", "format": "double" },
        })
    );
    let me = &endpoint["procedures"]["users.me"];
    assert_eq!((&me["kind"], &me["timeLimitMs"]), (&json!("query"), &json!(5000)));
    assert_eq!(me["output"], json!({ "$ref": "#/definitions/received/User" }));
    let subscription = &endpoint["subscriptions"]["count"];
    assert_eq!(subscription["input"]["format"], "uint8");
    assert_eq!(subscription["item"]["format"], "uint16");
    assert_eq!(endpoint["clientEvents"]["typing"]["type"], "boolean");
    assert_eq!(endpoint["serverEvents"]["added"]["$ref"], "#/definitions/received/User");
    assert_eq!(endpoint["asks"]["confirm"]["input"]["type"], "string");
    assert_eq!(endpoint["asks"]["confirm"]["output"]["type"], "boolean");
    assert_eq!(endpoint["presence"]["room"]["$ref"], "#/definitions/received/User");
}

#[test]
fn a_function_is_described_by_its_three_types() {
    let talk = || handler_fn(|_: FnConnection<String, u8, Option<bool>>| async { Ok(()) });
    let realtime = Realtime::builder().endpoint("talk", described()).handler("talk", talk().described()).build();

    let document = document(&Schema::of(&realtime));
    let handler = &document["endpoints"]["talk"]["handler"];
    assert_eq!(handler["input"]["type"], json!(["boolean", "null"]));
    assert_eq!(handler["clientMessage"]["type"], "string");
    assert_eq!(handler["serverMessage"]["format"], "uint8");
    assert!(document["endpoints"]["talk"]["procedures"]["add"].is_object());

    let plain = Realtime::builder().handler("talk", talk().described().plain()).build();
    assert!(Schema::of(&plain).typescript("talk").contains("describe<boolean | null, string, number>"));
}

#[test]
fn what_has_no_schema_is_named_with_its_place_or_left_out() {
    let bare_handler = handler_fn(|_: FnConnection<Bare, Bare>| async { Ok(()) });
    let (place, api) = (line!() + 1, described().merge(bare()).nest("inner", bare()));
    let realtime = Realtime::builder().endpoint("api", api).handler("talk", bare_handler).build();

    let problems = Schema::options().of(&realtime).expect_err("three have none").to_string();
    for said in ["api/secret (", "api/inner.secret (", "client messages of talk ("] {
        assert!(problems.contains(said), "{said}: {problems}");
    }
    assert!(problems.contains(&format!("tests/registry.rs:{place}:")), "{problems}");

    let endpoints = &document(&Schema::partial_of(&realtime))["endpoints"];
    assert!(endpoints["api"]["procedures"]["secret"].is_null());
    assert!(endpoints["api"]["procedures"]["add"].is_object());
    assert!(endpoints["talk"].is_null());
}

#[test]
fn a_name_of_two_types_is_refused() {
    const OTHER: Event<u8> = Event::new("added");
    let two = Endpoint::described(()).emits(OTHER);
    let realtime = Realtime::builder().endpoint("api", described().merge(two)).build();
    let problems = Schema::options().of(&realtime).expect_err("it has two types").to_string();
    assert!(problems.contains("api/added") && problems.contains("has another type than"), "{problems}");

    let same =
        Realtime::builder().endpoint("api", described().nest("again", Endpoint::described(()).emits(ADDED)));
    assert!(Schema::options().of(&same.build()).is_ok());
}

/// Values that serde writes match the schema of received values, and it accepts those that match the schema of sent
/// ones.
#[test]
fn types_of_the_protocol_are_what_serde_makes_of_them() {
    const ALL: Procedure<(Position, Gap, realtime_core::ConnectionId), realtime_core::Error> =
        Procedure::new("all");
    const MESSAGES: Event<Message> = Event::new("messages");
    const HERE: Event<realtime_core::Present<User>> = Event::new("here");
    let api = Endpoint::described(())
        .procedure(ALL, |_, _| async { Ok(realtime_core::Error::internal("")) })
        .on(MESSAGES, |_, _| async { Ok(()) })
        .emits(MESSAGES)
        .emits(HERE)
        .emits(PRESENCE);
    let schema = Schema::of(&Realtime::builder().endpoint("api", api).build());

    schema.deny_wide_integers();
    let typescript = schema.typescript("api");
    assert!(typescript.contains("ErrorData") && typescript.contains("Present_of_User"), "{typescript}");
    let document = document(&schema);
    let fits = |pointer: &str, value: Value| {
        let of = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} of {document:#}"));
        let mut whole = of.clone();
        whole["definitions"] = document["definitions"].clone();
        jsonschema::validator_for(&whole).expect("a schema").is_valid(&value)
    };

    let error = "/endpoints/api/procedures/all/output";
    let full = realtime_core::Error::unavailable("later")
        .with_retry_after(Duration::from_secs(1))
        .with_details(json!([1]));
    assert!(fits(error, written(&full)));
    assert!(fits(error, written(&realtime_core::Error::internal("secret"))));
    assert!(!fits(error, json!({ "message": "no code" })));

    let input = "/endpoints/api/procedures/all/input";
    let id = "0000000000000001-2";
    for offset in [json!(7), json!("18446744073709551615")] {
        assert!(fits(input, json!([{ "epoch": "e", "offset": offset }, { "count": 1, "from": 2 }, id])));
    }
    for offset in [json!(-1), json!("x"), json!(null)] {
        assert!(!fits(input, json!([{ "epoch": "e", "offset": offset }, {}, id])));
    }
    assert!(!fits(input, json!([{ "epoch": "e", "offset": 1 }, {}, 5])));

    for message in [Message::Text("text".into()), Message::Binary(vec![1, 255].into())] {
        assert!(fits("/endpoints/api/clientEvents/messages", written(&message)));
        assert!(fits("/endpoints/api/serverEvents/messages", written(&message)));
    }
    assert!(!fits("/endpoints/api/clientEvents/messages", json!({})));
    let mut notice = PresenceNotice::new("room");
    notice.left.push(id.parse().expect("an id"));
    assert!(fits("/endpoints/api/serverEvents/presence", written(&notice)));
}

fn written(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("it serialises")
}
