//! The generated file of an id.

use super::constants::{Constant, Constants};
use super::doc::{Doc, is_wide};
use super::names::Names;
use super::read::Reader;
use super::syntax::{before, quoted_name, text_literal};
use crate::document::{Direction, Document, Endpoint, ProcedureKind};
use crate::schemas::is_unit;
use crate::{Problems, compare, hash};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The package that generated files import.
const PACKAGE: &str = "realtime-client";

/// Generates the types and constants of an id.
pub(crate) fn file(document: &Document, id: &str) -> Result<String, Problems> {
    let endpoint = document.endpoints.get(id).ok_or_else(|| {
        let ids: Vec<&str> = document.endpoints.keys().map(String::as_str).collect();
        Problems::one(format!(
            "no endpoint or handler with a schema has the id {id:?}; there are: {}",
            ids.join(", ")
        ))
    })?;
    let mut problems = Vec::new();
    let names = Names::new(document, &document.reached(endpoint.roots()), &mut problems);
    let mut file = File {
        sent: Reader::new(document, Direction::Sent, &names),
        received: Reader::new(document, Direction::Received, &names),
        constants: Constants::default(),
        places: Constants::default(),
        helpers: BTreeSet::from(["describe"]),
        problems,
    };
    let types = file.types(&names);
    file.add(endpoint);
    let text = file.write(document, id, endpoint, &types);
    Problems::check(file.problems).map(|()| text)
}

struct File<'a> {
    sent: Reader<'a>,
    received: Reader<'a>,
    constants: Constants,
    /// The places in which clients are present. They have names of their own: a place may be called like a procedure.
    places: Constants,
    helpers: BTreeSet<&'static str>,
    problems: Vec<String>,
}

impl File<'_> {
    fn types(&self, names: &Names) -> String {
        let mut text = String::new();
        for (name, (direction, definition)) in names.each() {
            let reader = if direction == Direction::Sent { &self.sent } else { &self.received };
            let Some(schema) = reader.document.definition(direction, definition) else { continue };
            let doc = Doc::of(schema).write(0);
            let of = before(&format!("export type {name} ="), &reader.read(schema).called(name).write(0));
            text.push_str(&format!("\n{doc}{of};\n"));
        }
        text
    }

    fn add(&mut self, endpoint: &Endpoint) {
        for (name, procedure) in &endpoint.procedures {
            let helper = match procedure.kind {
                ProcedureKind::Mutation => "mutation",
                ProcedureKind::Query => "query",
            };
            let mut types = vec![self.input(&procedure.input), self.received(&procedure.output)];
            types.extend(procedure.progress.as_ref().map(|schema| self.received(schema)));
            let doc = doc([("input", &procedure.input), ("output", &procedure.output)]);
            self.constant(Constant { helper, types, name, time_limit_ms: Some(procedure.time_limit_ms), doc });
        }
        for (name, subscription) in &endpoint.subscriptions {
            let types = vec![self.input(&subscription.input), self.received(&subscription.item)];
            let doc = doc([("input", &subscription.input), ("items", &subscription.item)]);
            self.constant(Constant { helper: "subscription", types, name, time_limit_ms: None, doc });
        }
        for (name, ask) in &endpoint.asks {
            let types = vec![self.received(&ask.input), self.input(&ask.output)];
            let doc = doc([("question", &ask.input), ("answer", &ask.output)]);
            self.constant(Constant { helper: "ask", types, name, time_limit_ms: None, doc });
        }
        for (name, (of, schema)) in self.events(endpoint) {
            self.check_event(endpoint, name);
            let doc = doc([("data", schema)]);
            self.constant(Constant { helper: "event", types: vec![of], name, time_limit_ms: None, doc });
        }
        for (name, schema) in &endpoint.presence {
            let (types, doc) = (vec![self.received(schema)], doc([("data", schema)]));
            self.helpers.insert("place");
            self.places
                .add(Constant { helper: "place", types, name, time_limit_ms: None, doc }, &mut self.problems);
        }
    }

    fn constant(&mut self, constant: Constant<'_>) {
        self.helpers.insert(constant.helper);
        self.constants.add(constant, &mut self.problems);
    }

    /// Returns the events of both ends. An event that both send has one constant with the received type: it has all
    /// fields, and so can be sent too.
    fn events<'a>(&self, endpoint: &'a Endpoint) -> BTreeMap<&'a str, (String, &'a Value)> {
        let sent =
            endpoint.client_events.iter().map(|(name, schema)| (name.as_str(), (self.input(schema), schema)));
        let received = endpoint.server_events.iter();
        let received = received.map(|(name, schema)| (name.as_str(), (self.received(schema), schema)));
        sent.chain(received).collect()
    }

    fn check_event(&mut self, endpoint: &Endpoint, name: &str) {
        let (Some(sent), Some(received)) = (endpoint.client_events.get(name), endpoint.server_events.get(name))
        else {
            return;
        };
        if !compare::fits(self.sent.document, received, sent) {
            self.problems.push(format!(
                "the event `{name}` goes both ways, but what is received cannot be sent back: use a name for each way"
            ));
        }
    }

    fn received(&self, schema: &Value) -> String {
        self.received.read(schema).write(1)
    }

    /// Returns the type of an input: `void` for `()`, so that it can be left out.
    fn input(&self, schema: &Value) -> String {
        if is_unit(schema) { "void".to_owned() } else { self.sent.read(schema).write(1) }
    }

    fn write(&self, document: &Document, id: &str, endpoint: &Endpoint, types: &str) -> String {
        let helpers: Vec<&str> = self.helpers.iter().copied().collect();
        let handler = self.handler(endpoint).join(", ");
        let presence = self.presence(endpoint);
        let mut text = format!("{HEADER}{}", self.unknown());
        text.push_str(&format!("import {{ {} }} from {};\n", helpers.join(", "), text_literal(PACKAGE)));
        text.push_str(types);
        text.push_str(&presence);
        if !self.constants.is_empty() {
            text.push_str(&format!("\nexport const api = {} as const;\n", self.constants.write(0)));
        }
        if !self.places.is_empty() {
            text.push_str(&format!("\n{PLACES}\nexport const places = {} as const;\n", self.places.write(0)));
        }
        let hash = hash::of(document, id);
        let (id, hash) = (text_literal(id), text_literal(&hash));
        text.push_str(&format!("\nexport const endpoint = describe<{handler}>({id}, {hash});\n"));
        text
    }

    /// Returns a comment that lists the keywords that have no type here.
    fn unknown(&self) -> String {
        let readers = [&self.sent, &self.received];
        let keywords: BTreeSet<String> =
            readers.iter().flat_map(|reader| reader.unknown.borrow().clone()).collect();
        if keywords.is_empty() {
            return String::new();
        }
        let keywords: Vec<String> = keywords.into_iter().map(|keyword| format!("`{keyword}`")).collect();
        format!("// Schemas with these keywords have no type here and are `unknown`: {}.\n", keywords.join(", "))
    }

    fn presence(&self, endpoint: &Endpoint) -> String {
        if endpoint.presence.is_empty() {
            return String::new();
        }
        let places = endpoint.presence.iter();
        let lines: String = places
            .map(|(name, schema)| format!("  {}: {};\n", quoted_name(name), self.received(schema)))
            .collect();
        format!(
            "\n/** The data of each client that is present, by place. */\nexport type Presence = {{\n{lines}}};\n"
        )
    }

    fn handler(&self, endpoint: &Endpoint) -> [String; 3] {
        let Some(handler) = &endpoint.handler else { return ["void", "never", "never"].map(str::to_owned) };
        let sent = |schema: &Option<Value>, none: &str| match schema {
            Some(schema) if is_unit(schema) => none.to_owned(),
            Some(schema) => self.sent.read(schema).write(0),
            None => "unknown".to_owned(),
        };
        let message = handler.server_message.as_ref().map_or("unknown".to_owned(), |schema| self.received(schema));
        [sent(&handler.input, "void"), sent(&handler.client_message, "null"), message]
    }
}

const HEADER: &str = "\
// Generated by realtime-schema from the server's types. Do not edit: run the server's tests with UPDATE_SCHEMA=1.
";

const PLACES: &str =
    "/** The places where clients are present. One of a kind is `places.room.of(1)`, whose name is `room:1`. */";

/// Marks the sides of a constant that JavaScript cannot represent exactly.
fn doc<'a>(types: impl IntoIterator<Item = (&'static str, &'a Value)>) -> Doc {
    let wide: Vec<&str> = types.into_iter().filter(|(_, schema)| is_wide(schema)).map(|(name, _)| name).collect();
    let mut doc = Doc::default();
    if !wide.is_empty() {
        doc.add(format!("{}: exact to 2^53 − 1.", wide.join(", ")));
    }
    doc
}
