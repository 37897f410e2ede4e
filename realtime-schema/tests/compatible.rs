//! The names of a server compared with its release, and accepted breaks.

use realtime_schema::{Changes, Description, Kind, Schema, Side};
use schemars::JsonSchema;
use serde_json::{Value, json};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MUTATION: Kind = Kind::Mutation { time_limit: SECOND };
const QUERY: Kind = Kind::Query { time_limit: SECOND };
const ASK: Kind = Kind::Ask { time_limit: SECOND };

fn side<T: JsonSchema>() -> Option<Side> {
    Some(|generator| generator.subschema_for::<T>())
}

fn named(name: &str, kind: Kind) -> Description {
    of::<u8>(name, kind)
}

fn of<T: JsonSchema>(name: &str, kind: Kind) -> Description {
    Description { sent: side::<T>(), received: side::<T>(), ..Description::new("api", name, kind) }
}

fn changes(old: &[Description], new: &[Description]) -> Changes {
    let (old, new) = (Schema::describing(old).unwrap(), Schema::describing(new).unwrap());
    new.changes_since(&old.document()).unwrap()
}

#[track_caller]
fn breaks(old: &[Description], new: &[Description], expected: &str) {
    let changes = changes(old, new);
    assert_eq!((changes.breaks(), changes.notices()), (&[expected.to_owned()][..], &[][..]));
}

#[track_caller]
fn notice(old: &[Description], new: &[Description], expected: &str) {
    let changes = changes(old, new);
    assert_eq!((changes.breaks(), changes.notices()), (&[][..], &[expected.to_owned()][..]));
}

#[track_caller]
fn fine(old: &[Description], new: &[Description]) {
    assert_eq!(changes(old, new), Changes::default());
}

#[test]
fn a_name_less() {
    let keep = named("keep", MUTATION);
    let without = [keep.clone()];
    for (kind, expected) in [
        (MUTATION, "procedure api/it: removed"),
        (Kind::Subscription, "subscription api/it: removed"),
        (Kind::ClientEvent, "event api/it: no longer handled"),
    ] {
        breaks(&[keep.clone(), named("it", kind)], &without, expected);
        fine(&without, &[keep.clone(), named("it", kind)]);
    }
    for (kind, expected) in [
        (Kind::ServerEvent, "event api/it: no longer sent"),
        (Kind::Presence, "presence in api/it: no longer reported"),
        (ASK, "ask api/it: removed"),
    ] {
        notice(&[keep.clone(), named("it", kind)], &without, expected);
    }
    breaks(&without, &[Description { id: "app".into(), ..keep }], "id api: removed");
}

#[test]
fn another_kind() {
    let (call, subscription) = ([named("it", MUTATION)], [named("it", Kind::Subscription)]);
    breaks(&call, &subscription, "procedure api/it: now a subscription");
    breaks(&subscription, &call, "subscription api/it: now a procedure");
    breaks(
        &[named("it", QUERY)],
        &call,
        "procedure api/it: was a query, now a mutation, which cannot be called by GET",
    );
    fine(&call, &[named("it", QUERY)]);
}

#[test]
fn what_clients_may_want_to_know() {
    let keep = named("keep", MUTATION);
    notice(
        std::slice::from_ref(&keep),
        &[keep.clone(), named("it", ASK)],
        "ask api/it: new, and older clients cannot answer it",
    );
    let slow =
        |seconds: u64| [named("it", Kind::Mutation { time_limit: SECOND * u32::try_from(seconds).unwrap() })];
    notice(&slow(5), &slow(2), "api/it: time limit lowered from 5000 ms to 2000 ms");
    fine(&slow(2), &slow(5));
    let told = Description { progress: side::<u8>(), ..named("it", MUTATION) };
    notice(std::slice::from_ref(&told), &[named("it", MUTATION)], "progress of api/it: no longer reported");
    fine(&[named("it", MUTATION)], &[told]);
}

#[test]
#[should_panic(expected = "changes that clients of the release may notice:\n- event api/it: no longer sent")]
fn notices_fail_where_they_are_asked_for() {
    let keep = named("keep", MUTATION);
    changes(&[keep.clone(), named("it", Kind::ServerEvent)], &[keep]).notices_too();
}

/// A procedure with the input `()` ignores it.
#[test]
fn an_input_that_is_not_wanted_any_more_is_still_taken() {
    let call = |sent: Option<Side>| {
        [Description { sent, received: side::<u8>(), ..Description::new("api", "it", MUTATION) }]
    };
    fine(&call(side::<String>()), &call(side::<()>()));
    breaks(&call(side::<()>()), &call(side::<String>()), "input of api/it (sent): changed: was null, now string");
    let event = |sent: Option<Side>| [Description { sent, ..Description::new("api", "it", Kind::ClientEvent) }];
    fine(&event(side::<String>()), &event(side::<()>()));
    let input = |sent: Option<Side>| [Description { sent, ..Description::new("talk", "", Kind::Input) }];
    fine(&input(side::<String>()), &input(side::<()>()));
    let message = |sent: Option<Side>| [Description { sent, ..Description::new("talk", "", Kind::ClientMessage) }];
    breaks(
        &message(side::<String>()),
        &message(side::<()>()),
        "client messages of talk (sent): changed: was string, now null",
    );
}

#[test]
fn the_sides_of_an_ask_are_the_other_way_round() {
    let question = |sides: (Option<Side>, Option<Side>)| {
        [Description { received: sides.0, sent: sides.1, ..Description::new("api", "it", ASK) }]
    };
    let (narrow, wide) = (side::<u8>, side::<u16>);
    breaks(
        &question((narrow(), narrow())),
        &question((wide(), narrow())),
        "question of api/it (received): widened: was 0 to 255, now 0 to 65535",
    );
    fine(&question((narrow(), narrow())), &question((narrow(), wide())));
    breaks(
        &question((narrow(), wide())),
        &question((narrow(), narrow())),
        "answer to api/it (sent): narrowed: was 0 to 65535, now 0 to 255",
    );
}

#[test]
fn the_types_of_a_handler() {
    let handler = |input: Option<Side>, message: Option<Side>, said: Option<Side>| {
        [
            Description { sent: input, ..Description::new("talk", "", Kind::Input) },
            Description { sent: message, ..Description::new("talk", "", Kind::ClientMessage) },
            Description { received: said, ..Description::new("talk", "", Kind::ServerMessage) },
        ]
    };
    let (text, flag) = (side::<String>, side::<bool>);
    let old = handler(text(), text(), text());
    let another = "changed: was string, now boolean";
    breaks(&old, &handler(flag(), text(), text()), &format!("input of talk (sent): {another}"));
    breaks(&old, &handler(text(), flag(), text()), &format!("client messages of talk (sent): {another}"));
    breaks(&old, &handler(text(), text(), flag()), &format!("server messages of talk (received): {another}"));
}

mod old {
    use super::*;

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    pub(crate) struct User {
        name: String,
        age: u8,
    }
}

mod new {
    use super::*;

    #[derive(JsonSchema)]
    #[allow(dead_code)]
    pub(crate) struct User {
        name: String,
    }
}

/// A user that is returned by two procedures.
fn users() -> (Schema, Schema) {
    fn schema<T: JsonSchema>() -> Schema {
        let call = |name: &str| Description {
            sent: side::<()>(),
            received: side::<T>(),
            ..Description::new("api", name, QUERY)
        };
        Schema::describing(&[call("me"), call("users.first"), call("users.last")]).unwrap()
    }
    (schema::<old::User>(), schema::<new::User>())
}

const GONE: &str = "User.age (received): removed";

#[test]
fn a_change_of_a_type_is_told_once_with_those_who_use_it() {
    let (old, new) = users();
    let changes = new.changes_since(&old.document()).unwrap();
    let users = "used by output of api/me, output of api/users.first, output of api/users.last";
    assert_eq!(changes.breaks(), [format!("{GONE} [{users}]")]);
}

fn accepting(old: &Schema, accepted: &Value) -> String {
    let mut document: Value = serde_json::from_str(&old.document()).unwrap();
    document["accepted"] = accepted.clone();
    document.to_string()
}

#[test]
fn a_break_that_is_wanted_is_accepted_with_a_reason() {
    let (old, new) = users();
    let accepted = json!([{ "change": GONE, "reason": "nobody shows it" }]);
    assert_eq!(new.changes_since(&accepting(&old, &accepted)).unwrap(), Changes::default());
    let silent = new.changes_since(&accepting(&old, &json!([{ "change": GONE, "reason": " " }]))).unwrap();
    assert_eq!(silent.breaks().len(), 2, "{silent:?}");
    assert!(silent.breaks()[1].contains("is accepted without a reason"), "{silent:?}");
    let other = json!([{ "change": "User.name (received): removed", "reason": "x" }]);
    assert_eq!(new.changes_since(&accepting(&old, &other)).unwrap().breaks().len(), 1);
}

#[test]
fn a_file_that_is_no_document_is_refused() {
    let (schema, _) = users();
    let said = |text: &str| schema.changes_since(text).unwrap_err().to_string();
    assert!(said("{").starts_with("is not a schema document: "));
    let newer = schema.document().replace("\"version\": 1", "\"version\": 2");
    assert!(said(&newer).contains("has document version 2"), "{}", said(&newer));
}

#[test]
fn a_document_is_read_as_it_was_written() {
    let (schema, _) = users();
    assert_eq!(Schema::from_document(&schema.document()).unwrap().document(), schema.document());
}
