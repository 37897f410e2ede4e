//! AsyncAPI and OpenAPI documents, checked by public parsers.

#[path = "nasty/mod.rs"]
mod nasty;
#[path = "support/node.rs"]
mod node;

use nasty::{descriptions, values::cases};
use realtime_schema::{Description, Kind, Schema, Side};
use schemars::JsonSchema;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn side<T: JsonSchema>() -> Option<Side> {
    Some(|generator| generator.subschema_for::<T>())
}

fn of<T: JsonSchema>(name: &str, kind: Kind) -> Description {
    Description { sent: side::<T>(), received: side::<T>(), ..Description::new("api", name, kind) }
}

/// A note.
#[derive(JsonSchema)]
#[allow(dead_code)]
struct Note {
    text: Option<String>,
    at: (f64, f64),
    default: u8,
    #[serde(rename = "a-b")]
    r#enum: Vec<bool>,
}

/// A schema with every kind of name, names that need escaping in documents, and all types of the other tests.
fn everything() -> Schema {
    let mut all = vec![
        Description { progress: side::<f64>(), ..of::<Note>("save", Kind::Mutation { time_limit: LIMIT }) },
        of::<()>("users.me", Kind::Query { time_limit: LIMIT }),
        of::<Vec<Note>>("find", Kind::Query { time_limit: LIMIT }),
        of::<Value>("any", Kind::Query { time_limit: LIMIT }),
        of::<()>("say \"hi\" {x}/~%", Kind::Mutation { time_limit: LIMIT }),
        of::<Note>("notes", Kind::Subscription),
        of::<()>("ticks", Kind::Subscription),
        of::<Note>("noted", Kind::ServerEvent),
        of::<Note>("noted", Kind::ClientEvent),
        of::<()>("bye", Kind::ClientEvent),
        of::<Note>("confirm", Kind::Ask { time_limit: LIMIT }),
        of::<Note>("room", Kind::Presence),
        Description { sent: side::<Note>(), ..Description::new("talk", "", Kind::Input) },
        Description { sent: side::<String>(), ..Description::new("talk", "", Kind::ClientMessage) },
        Description { received: side::<Note>(), ..Description::new("talk", "", Kind::ServerMessage) },
    ];
    // AsyncAPI's parser is written in JavaScript, where `__proto__` is the object's prototype and not a field.
    let cases: Vec<_> = cases().into_iter().filter(|case| case.name != "odd").collect();
    all.extend(descriptions(&cases));
    Schema::describing(&all).unwrap()
}

#[test]
fn the_parser_of_async_api_has_nothing_to_say() {
    check("async-api", &everything().async_api("Everything", "1.0.0"));
}

#[test]
fn two_validators_of_open_api_have_nothing_to_say() {
    check("open-api", &everything().open_api("Everything", "1.0.0"));
}

#[test]
fn the_parsers_have_nothing_to_say_of_the_examples() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for (example, format) in
        ["board", "chat", "counter", "dashboard"].into_iter().flat_map(|one| [(one, "async"), (one, "open")])
    {
        let file = examples.join(example).join(format!("api.{format}api.json"));
        run(&format!("{format}-api"), &file);
    }
}

#[test]
fn documents_are_kept_as_they_are() {
    let small = Schema::describing(&[
        of::<Note>("save", Kind::Mutation { time_limit: LIMIT }),
        of::<()>("users.me", Kind::Query { time_limit: LIMIT }),
        of::<Note>("notes", Kind::Subscription),
    ])
    .unwrap();
    small.keep("tests/expected/document.json", &small.document());
    small.keep("tests/expected/asyncapi.json", &small.async_api("Notes", "1.0.0"));
    small.keep("tests/expected/openapi.json", &small.open_api("Notes", "1.0.0"));
}

#[test]
fn every_reference_of_a_document_leads_somewhere() {
    for text in [everything().async_api("Everything", "1.0.0"), everything().open_api("Everything", "1.0.0")] {
        let document: Value = serde_json::from_str(&text).unwrap();
        let references: Vec<&str> =
            text.lines().filter_map(|line| line.trim().strip_prefix("\"$ref\": \"#")).collect();
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.trim_end_matches(['"', ',']);
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

fn check(kind: &str, text: &str) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{kind}.json"));
    fs::write(&file, text).unwrap();
    run(kind, &file);
}

fn run(kind: &str, file: &Path) {
    let tools = node::installed("documents");
    node::run(&tools.join("check.mjs"), &[kind.as_ref(), file.as_os_str()]);
}
