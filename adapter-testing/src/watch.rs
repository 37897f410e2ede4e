//! The values that pass between a server and its clients, for whoever looks at them: with the feature `schema` that is
//! [`TestServer::checked`](crate::TestServer::checked), without it nobody.

use crate::{ServerSentEvent, TestFrame};
use bytes::Bytes;
use http::{Method, Uri};
use realtime_protocol::client::Format;
use serde_json::Value;
use std::{collections::HashMap, fmt, sync::Arc};

/// Looks at values.
pub(crate) trait Watch: Send + Sync + fmt::Debug {
    /// Looks at a value. Panics to fail the test.
    fn look(&self, passed: &Passed<'_>);
}

/// A value, and what it is.
#[derive(Debug)]
#[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "nobody looks"))]
pub(crate) struct Passed<'a> {
    /// The id of the endpoint or handler.
    pub(crate) id: &'a str,
    pub(crate) role: Role,
    /// Empty for the values of a handler.
    pub(crate) name: &'a str,
    pub(crate) value: &'a Value,
}

/// The parts that values have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// The input of a procedure or subscription.
    Input,
    Output,
    Progress,
    Item,
    ClientEvent,
    ServerEvent,
    /// The input of a procedure that the server calls.
    Question,
    Answer,
    HandlerInput,
    ClientMessage,
    ServerMessage,
}

/// An id, and who looks at its values.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    watch: Arc<dyn Watch>,
    id: String,
}

impl Watched {
    /// Those of a request.
    pub(crate) fn new(watch: Arc<dyn Watch>, prefix: &str, uri: &Uri) -> Self {
        let (id, _) = target(prefix, uri);
        Self { watch, id }
    }

    fn look(&self, role: Role, name: &str, value: &Value) {
        self.watch.look(&Passed { id: &self.id, role, name, value });
    }

    /// Looks at the input of a handler.
    pub(crate) fn connect(&self, uri: &Uri) {
        if let Some(input) = input_of(uri) {
            self.look(Role::HandlerInput, "", &input);
        }
    }
}

/// The frames of one connection, in which ids stand for names.
#[derive(Debug)]
pub(crate) struct Frames {
    watched: Watched,
    format: Format,
    /// The calls and subscriptions of the client, by id.
    asked: HashMap<String, String>,
    /// The calls of the server, by id.
    answering: HashMap<String, String>,
}

impl Frames {
    pub(crate) fn new(watched: Watched, format: Format) -> Self {
        Self { watched, format, asked: HashMap::new(), answering: HashMap::new() }
    }

    /// Looks at a frame of the client's. What is no frame of the protocol, or only a part of one, is passed over.
    pub(crate) fn sent(&mut self, frame: &TestFrame) {
        let Some(frame) = self.read(frame) else { return };
        let (id, name) = (text(&frame, "id"), text(&frame, "path"));
        match text(&frame, "type") {
            "message" => self.watched.look(Role::ClientMessage, "", &frame["value"]),
            "event" => self.watched.look(Role::ClientEvent, text(&frame, "name"), &frame["data"]),
            "call" | "subscribe" => {
                self.asked.insert(id.to_owned(), name.to_owned());
                self.watched.look(Role::Input, name, &frame["input"]);
            }
            "result" => {
                let name = self.answering.remove(id);
                name.iter().for_each(|name| self.watched.look(Role::Answer, name, &frame["data"]));
            }
            _ => {}
        }
    }

    /// Looks at a frame of the server's.
    pub(crate) fn came(&mut self, frame: &TestFrame) {
        let Some(frame) = self.read(frame) else { return };
        let id = text(&frame, "id");
        let kind = text(&frame, "type");
        match kind {
            "message" => self.watched.look(Role::ServerMessage, "", &frame["value"]),
            "event" => self.watched.look(Role::ServerEvent, text(&frame, "name"), &frame["data"]),
            "call" => {
                let name = text(&frame, "path");
                self.answering.insert(id.to_owned(), name.to_owned());
                self.watched.look(Role::Question, name, &frame["input"]);
            }
            "data" | "progress" | "result" => {
                let Some(name) = self.asked.get(id) else { return };
                self.watched.look(role_of(kind), name, &frame["data"]);
            }
            _ => {}
        }
        if matches!(kind, "result" | "error" | "complete") {
            self.asked.remove(id);
        }
    }

    fn read(&self, frame: &TestFrame) -> Option<Value> {
        let is_whole = frame.fin && !frame.compressed;
        is_whole.then(|| frame.value(self.format).ok()).flatten()
    }
}

fn role_of(kind: &str) -> Role {
    match kind {
        "data" => Role::Item,
        "progress" => Role::Progress,
        _ => Role::Output,
    }
}

/// A request by HTTP, and what it is answered with.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    watched: Watched,
    /// The procedure or subscription, where it is one.
    name: Option<String>,
}

impl Exchange {
    /// Looks at what is asked for.
    pub(crate) fn new(watched: Watched, prefix: &str, method: &Method, uri: &Uri, body: &[Bytes]) -> Self {
        let name = target(prefix, uri).1.or_else(|| pair(uri, "path"));
        if *method != Method::POST {
            match (&name, input_of(uri)) {
                (Some(name), Some(input)) => watched.look(Role::Input, name, &input),
                (None, Some(input)) => watched.look(Role::HandlerInput, "", &input),
                _ => {}
            }
            return Self { watched, name };
        }
        let Ok(body) = serde_json::from_slice::<Value>(&body.concat()) else { return Self { watched, name } };
        if let Some(name) = name {
            watched.look(Role::Input, &name, &body);
            return Self { watched, name: Some(name) };
        }
        if text(&body, "type") == "event" {
            watched.look(Role::ClientEvent, text(&body, "name"), &body["data"]);
            return Self { watched, name: None };
        }
        let name = text(&body, "path");
        watched.look(Role::Input, name, &body["input"]);
        Self { watched, name: Some(name.to_owned()) }
    }

    /// Looks at the answer of a call.
    pub(crate) fn answer(&self, body: &[u8]) {
        let Some(name) = &self.name else { return };
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return };
        if body["ok"] == true {
            self.watched.look(Role::Output, name, &body["data"]);
        }
    }

    /// Looks at a server-sent event.
    pub(crate) fn event(&self, event: &ServerSentEvent) {
        let Ok(data) = serde_json::from_str(&event.data) else { return };
        match (&self.name, &*event.event) {
            (_, "complete" | "error" | "gap") => {}
            (Some(name), _) => self.watched.look(Role::Item, name, &data),
            (None, "message") => self.watched.look(Role::ServerMessage, "", &data),
            (None, name) => self.watched.look(Role::ServerEvent, name, &data),
        }
    }
}

/// The id in a path, and the name behind it where there is one.
fn target(prefix: &str, uri: &Uri) -> (String, Option<String>) {
    let path = uri.path().strip_prefix(prefix).unwrap_or(uri.path()).trim_start_matches('/');
    match path.split_once('/') {
        Some((id, name)) => (decoded(id), Some(decoded(name))),
        None => (decoded(path), None),
    }
}

/// Without its percent signs. A plus is one: this is no query.
fn decoded(segment: &str) -> String {
    let pair = format!("x={}", segment.replace('+', "%2B"));
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn pair(uri: &Uri, wanted: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
}

/// The input in a query, where it is JSON. Other pairs are texts, whatever type the server makes of them.
fn input_of(uri: &Uri) -> Option<Value> {
    serde_json::from_str(&pair(uri, "input")?).ok()
}

/// A field; empty if it is not there, or no text.
fn text<'a>(frame: &'a Value, field: &str) -> &'a str {
    frame[field].as_str().unwrap_or_default()
}
