//! The calls by HTTP as an OpenAPI document: <https://spec.openapis.org/oas/v3.1.1.html>.

use crate::components::{Components, ERROR, error, key, unique};
use crate::document::{Direction, Document, Procedure, ProcedureKind, Subscription};
use crate::schemas::is_unit;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Returns the document of all ids, with a path for each procedure and subscription: OpenAPI distinguishes operations
/// by path.
pub(crate) fn document(document: &Document, prefix: &str, title: &str, version: &str) -> Value {
    let components = Components::new(document, &[ERROR]);
    let mut paths = Paths { components: &components, paths: Map::new(), operations: BTreeSet::new() };
    let mut tags = Vec::new();
    for (id, endpoint) in &document.endpoints {
        if !endpoint.procedures.is_empty() || !endpoint.subscriptions.is_empty() {
            tags.push(json!({ "name": id }));
        }
        for (name, procedure) in &endpoint.procedures {
            let path = paths.procedure(id, name, procedure);
            paths.paths.insert(format!("{prefix}/{id}/{}", encoded(name)), path);
        }
        for (name, subscription) in &endpoint.subscriptions {
            let path = paths.subscription(id, name, subscription);
            paths.paths.insert(format!("{prefix}/{id}/{}", encoded(name)), path);
        }
    }
    let paths = paths.paths;
    let mut schemas = components.all();
    schemas.insert(ERROR.to_owned(), error());
    json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": version },
        "servers": [{ "url": "/" }],
        "tags": tags,
        "paths": paths,
        "components": { "schemas": schemas, "responses": { "Error": refusal() } },
    })
}

struct Paths<'a> {
    components: &'a Components<'a>,
    paths: Map<String, Value>,
    operations: BTreeSet<String>,
}

impl Paths<'_> {
    fn procedure(&mut self, id: &str, name: &str, procedure: &Procedure) -> Value {
        let answer = self.answer(&procedure.output);
        let mut post = json!({
            "operationId": self.operation(format!("{id}.{name}")),
            "tags": [id],
            "parameters": [idempotency_key()],
            "responses": answer,
        });
        if !is_unit(&procedure.input) {
            post["requestBody"] =
                json!({ "required": true, "content": self.json(Direction::Sent, &procedure.input) });
        }
        let mut path = json!({ "post": post });
        if procedure.kind == ProcedureKind::Query {
            path["get"] = json!({
                "operationId": self.operation(format!("{id}.{name}.get")),
                "tags": [id],
                "parameters": self.input(&procedure.input),
                "responses": answer,
            });
        }
        path
    }

    fn subscription(&mut self, id: &str, name: &str, subscription: &Subscription) -> Value {
        let mut parameters = self.input(&subscription.input);
        parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "description": "The position after which to begin.",
            "schema": { "type": "string" },
        }));
        let item = self.components.schema(Direction::Received, &subscription.item);
        let stream = json!({
            "type": "string",
            "description": "Server-sent events, whose data is JSON. `complete`, `gap` and `error` are events of their own.",
            "contentMediaType": "application/json",
            "contentSchema": item,
        });
        let get = json!({
            "operationId": self.operation(format!("{id}.{name}")),
            "tags": [id],
            "parameters": parameters,
            "responses": {
                "200": { "description": "The items.", "content": { "text/event-stream": { "schema": stream } } },
                "default": { "$ref": "#/components/responses/Error" },
            },
        });
        json!({ "get": get })
    }

    fn operation(&mut self, name: String) -> String {
        unique(key(&name), &mut self.operations)
    }

    /// Returns the parameters of an input in the query of a URL.
    fn input(&self, input: &Value) -> Vec<Value> {
        if is_unit(input) {
            return Vec::new();
        }
        vec![
            json!({ "name": "input", "in": "query", "required": true, "content": self.json(Direction::Sent, input) }),
        ]
    }

    fn answer(&self, output: &Value) -> Value {
        let body = json!({
            "type": "object",
            "properties": { "ok": { "const": true }, "data": self.components.schema(Direction::Received, output) },
            "required": ["ok", "data"],
        });
        json!({
            "200": { "description": "The output.", "content": { "application/json": { "schema": body } } },
            "default": { "$ref": "#/components/responses/Error" },
        })
    }

    fn json(&self, direction: Direction, schema: &Value) -> Value {
        json!({ "application/json": { "schema": self.components.schema(direction, schema) } })
    }
}

fn refusal() -> Value {
    let body = json!({
        "type": "object",
        "properties": { "ok": { "const": false }, "error": { "$ref": format!("#/components/schemas/{ERROR}") } },
        "required": ["ok", "error"],
    });
    json!({ "description": "An error; the status is that of its code.", "content": { "application/json": { "schema": body } } })
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Calls with one key are run once.",
        "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
    })
}

/// Encodes a name as a path segment; braces would be a template.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
