//! The frames of a server as an AsyncAPI document: <https://www.asyncapi.com/docs/reference/specification/v3.1.0>.

use crate::components::{Components, ERROR, error, key, unique};
use crate::document::{Direction, Document, Endpoint, Handler};
use crate::schemas::is_unit;
use schemars::transform::{RemoveRefSiblings, ReplacePrefixItems, ReplaceUnevaluatedProperties, Transform};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Returns the document of all ids, as they are over a WebSocket, from the server's point of view: it receives calls.
pub(crate) fn document(document: &Document, prefix: &str, title: &str, version: &str) -> Value {
    let components = Components::new(document, &[ERROR]);
    let (mut channels, mut operations) = (Map::new(), Map::new());
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (id, endpoint) in &document.endpoints {
        let name = unique(key(id), &mut ids);
        let mut channel = Channel::new(&components, name.clone());
        channel.endpoint(endpoint);
        for (operation, value) in channel.operations {
            operations.insert(unique(format!("{name}.{operation}"), &mut names), value);
        }
        channels.insert(
            name,
            json!({
                "address": format!("{prefix}/{id}"),
                "messages": channel.messages,
                "bindings": { "ws": binding(&components, endpoint.handler.as_ref()) },
            }),
        );
    }
    let mut schemas = components.all();
    schemas.insert(ERROR.to_owned(), error());
    schemas.values_mut().for_each(draft_07);
    json!({
        "asyncapi": "3.1.0",
        "info": { "title": title, "version": version },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "schemas": schemas },
    })
}

/// Describes the input of a handler, which is in the query of the URL.
fn binding(components: &Components<'_>, handler: Option<&Handler>) -> Value {
    let mut binding = json!({ "method": "GET", "bindingVersion": "0.1.0" });
    let input = handler.and_then(|handler| handler.input.as_ref()).filter(|input| !is_unit(input));
    if let Some(input) = input {
        let mut input = components.schema(Direction::Sent, input);
        draft_07(&mut input);
        binding["query"] = json!({ "type": "object", "properties": { "input": input } });
    }
    binding
}

struct Channel<'a> {
    components: &'a Components<'a>,
    name: String,
    taken: BTreeSet<String>,
    messages: Map<String, Value>,
    operations: Vec<(String, Value)>,
}

impl<'a> Channel<'a> {
    fn new(components: &'a Components<'a>, name: String) -> Self {
        Self { components, name, taken: BTreeSet::new(), messages: Map::new(), operations: Vec::new() }
    }

    fn endpoint(&mut self, endpoint: &Endpoint) {
        use Direction::{Received, Sent};
        for (name, procedure) in &endpoint.procedures {
            let call = self.asking("call", name, Sent, &procedure.input);
            let mut replies = vec![self.frame("result", name, ("data", Received, &procedure.output))];
            replies.extend(
                procedure.progress.as_ref().map(|schema| self.frame("progress", name, ("data", Received, schema))),
            );
            replies.push(self.error(name));
            self.operation(name, "receive", &call, &replies);
        }
        for (name, subscription) in &endpoint.subscriptions {
            let subscribe = self.asking("subscribe", name, Sent, &subscription.input);
            let mut replies = vec![self.frame("data", name, ("data", Received, &subscription.item))];
            replies.extend([self.gap(name), self.complete(name), self.error(name)]);
            self.operation(name, "receive", &subscribe, &replies);
        }
        for (name, ask) in &endpoint.asks {
            let call = self.asking("call", name, Received, &ask.input);
            let replies = [self.frame("result", name, ("data", Sent, &ask.output)), self.error(name)];
            self.operation(&format!("{name}.ask"), "send", &call, &replies);
        }
        for (name, schema) in &endpoint.client_events {
            let event = self.event(name, Sent, schema);
            self.operation(&format!("{name}.receive"), "receive", &event, &[]);
        }
        for (name, schema) in &endpoint.server_events {
            let event = self.event(name, Received, schema);
            self.operation(&format!("{name}.send"), "send", &event, &[]);
        }
        for (name, schema) in &endpoint.presence {
            let notice = self.presence(name, schema);
            self.operation(&format!("{name}.presence"), "send", &notice, &[]);
        }
        self.handler(endpoint.handler.as_ref());
    }

    fn handler(&mut self, handler: Option<&Handler>) {
        let Some(handler) = handler else { return };
        let sides = [
            ("receive", Direction::Sent, &handler.client_message),
            ("send", Direction::Received, &handler.server_message),
        ];
        for (action, direction, schema) in sides {
            let Some(schema) = schema else { continue };
            let schema = self.schema(direction, schema);
            let message =
                self.message(format!("message.{action}"), frame("message", &[("value", schema)], &["value"]));
            self.operation(&format!("message.{action}"), action, &message, &[]);
        }
    }

    /// Adds a frame that is answered with the same id.
    fn asking(&mut self, of: &str, name: &str, direction: Direction, input: &Value) -> String {
        let mut fields = vec![("id", id()), ("path", json!({ "const": name }))];
        let mut required = vec!["id", "path"];
        if !is_unit(input) {
            required.push("input");
        }
        fields.push(("input", self.schema(direction, input)));
        fields.push(("timeoutMs", json!({ "type": "integer", "minimum": 0 })));
        if of == "call" && direction == Direction::Sent {
            fields.push(("idempotencyKey", json!({ "type": "string", "minLength": 1, "maxLength": 128 })));
        }
        if of == "subscribe" {
            fields.retain(|(field, _)| *field != "timeoutMs");
            fields.push(("credit", json!({ "type": "integer", "minimum": 0 })));
            fields.push(("after", position()));
        }
        self.message(format!("{name}.{of}"), frame(of, &fields, &required))
    }

    fn frame(&mut self, of: &str, name: &str, (field, direction, schema): (&str, Direction, &Value)) -> String {
        let mut fields = vec![("id", id()), (field, self.schema(direction, schema))];
        if of == "data" {
            fields.extend([("epoch", json!({ "type": "string" })), ("offset", json!({ "type": "integer" }))]);
        }
        self.message(format!("{name}.{of}"), frame(of, &fields, &["id", field]))
    }

    fn event(&mut self, name: &str, direction: Direction, schema: &Value) -> String {
        let fields = [("name", json!({ "const": name })), ("data", self.schema(direction, schema))];
        let way = if direction == Direction::Sent { "sent" } else { "received" };
        let required: &[&str] = if is_unit(schema) { &["name"] } else { &["name", "data"] };
        self.message(format!("{name}.event.{way}"), frame("event", &fields, required))
    }

    fn presence(&mut self, name: &str, schema: &Value) -> String {
        let one = json!({
            "type": "object",
            "properties": { "connection": { "type": "string" }, "data": self.schema(Direction::Received, schema) },
            "required": ["connection", "data"],
        });
        let those = json!({ "type": "array", "items": one });
        let notice = json!({
            "type": "object",
            "properties": {
                "name": { "type": "string" },
                "here": those, "joined": those, "changed": those,
                "left": { "type": "array", "items": { "type": "string" } },
            },
            "required": ["name"],
        });
        let fields = [("name", json!({ "const": "presence" })), ("data", notice)];
        self.message(format!("{name}.presence"), frame("event", &fields, &["name", "data"]))
    }

    fn gap(&mut self, name: &str) -> String {
        let fields = [
            ("id", id()),
            ("count", json!({ "type": "integer", "minimum": 0 })),
            ("from", json!({ "type": "integer" })),
            ("to", json!({ "type": "integer" })),
            ("cause", json!({ "type": "string" })),
        ];
        self.message(format!("{name}.gap"), frame("gap", &fields, &["id", "count", "cause"]))
    }

    fn complete(&mut self, name: &str) -> String {
        self.message(format!("{name}.complete"), frame("complete", &[("id", id())], &["id"]))
    }

    fn error(&mut self, name: &str) -> String {
        let error = json!({ "$ref": format!("#/components/schemas/{ERROR}") });
        self.message(format!("{name}.error"), frame("error", &[("id", id()), ("error", error)], &["id", "error"]))
    }

    fn schema(&self, direction: Direction, schema: &Value) -> Value {
        let mut schema = self.components.schema(direction, schema);
        draft_07(&mut schema);
        schema
    }

    /// Adds a message and returns a reference to it through the channel; parsers refuse a direct one.
    fn message(&mut self, name: String, payload: Value) -> String {
        let title = name.clone();
        let name = unique(key(&name), &mut self.taken);
        self.messages.insert(name.clone(), json!({ "name": title, "payload": payload }));
        format!("#/channels/{}/messages/{name}", self.name)
    }

    fn operation(&mut self, name: &str, action: &str, message: &str, replies: &[String]) {
        let channel = json!({ "$ref": format!("#/channels/{}", self.name) });
        let mut operation = json!({ "action": action, "channel": channel, "messages": [{ "$ref": message }] });
        if !replies.is_empty() {
            let messages: Vec<Value> = replies.iter().map(|reply| json!({ "$ref": reply })).collect();
            operation["reply"] = json!({ "channel": channel, "messages": messages });
        }
        self.operations.push((key(name), operation));
    }
}

/// Returns the schema of a whole frame of the protocol.
fn frame(of: &str, fields: &[(&str, Value)], required: &[&str]) -> Value {
    let mut properties = Map::from_iter([("type".to_owned(), json!({ "const": of }))]);
    properties.extend(fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())));
    let required: Vec<&str> = ["type"].into_iter().chain(required.iter().copied()).collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

fn id() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 64 })
}

fn position() -> Value {
    json!({
        "type": "object",
        "properties": { "epoch": { "type": "string" }, "offset": { "type": "integer" } },
        "required": ["epoch", "offset"],
    })
}

/// Converts a schema to draft 07, which AsyncAPI uses.
fn draft_07(schema: &mut Value) {
    let Ok(schema) = <&mut schemars::Schema>::try_from(schema) else { return };
    ReplaceUnevaluatedProperties::default().transform(schema);
    RemoveRefSiblings::default().transform(schema);
    ReplacePrefixItems::default().transform(schema);
}
