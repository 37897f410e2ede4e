//! The values that pass between a server and its clients, for whoever looks at them: with the feature `schema` that is
//! [`TestServer::checked`](crate::TestServer::checked), without it nobody.

use crate::{ServerSentEvent, TestFrame};
use bytes::Bytes;
use http::{Method, Request, Uri, header::ACCEPT};
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
#[cfg_attr(not(feature = "schema"), allow(dead_code, reason = "only its tests look"))]
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
        if let Some(frame) = self.read(frame) {
            self.sent_value(&frame);
        }
    }

    fn sent_value(&mut self, frame: &Value) {
        let (id, name) = (text(frame, "id"), text(frame, "path"));
        match text(frame, "type") {
            "message" => self.watched.look(Role::ClientMessage, "", &frame["value"]),
            "event" => self.watched.look(Role::ClientEvent, text(frame, "name"), &frame["data"]),
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
        if let Some(frame) = self.read(frame) {
            self.came_value(&frame);
        }
    }

    fn came_value(&mut self, frame: &Value) {
        let id = text(frame, "id");
        let kind = text(frame, "type");
        match kind {
            "message" => self.watched.look(Role::ServerMessage, "", &frame["value"]),
            "event" => self.watched.look(Role::ServerEvent, text(frame, "name"), &frame["data"]),
            "call" => {
                let name = text(frame, "path");
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
#[derive(Debug)]
pub(crate) struct Exchange {
    watched: Watched,
    /// The procedure or subscription, where it is one.
    name: Option<String>,
    /// The reader of the answer, where it is a stream of frames.
    frames: Option<Frames>,
}

impl Exchange {
    /// Looks at what is asked for.
    pub(crate) fn new(watched: Watched, prefix: &str, request: &Request<()>, body: &[Bytes]) -> Self {
        let uri = request.uri();
        let is_post = request.method() == Method::POST;
        // A body has the name in itself, unless the path has it.
        let name = target(prefix, uri).1.or_else(|| pair(uri, "path").filter(|_| !is_post));
        let frames = wants_frames(request).then(|| Frames::new(watched.clone(), Format::Json));
        let mut exchange = Self { watched, name, frames };
        match (is_post, serde_json::from_slice(&body.concat())) {
            (true, Ok(body)) => exchange.posted(&body),
            (true, Err(_)) => {}
            (false, _) => exchange.asked(uri),
        }
        exchange
    }

    fn asked(&self, uri: &Uri) {
        let Some(input) = input_of(uri) else { return };
        match &self.name {
            Some(name) => self.watched.look(Role::Input, name, &input),
            None => self.watched.look(Role::HandlerInput, "", &input),
        }
    }

    fn posted(&mut self, body: &Value) {
        if let Some(frames) = &mut self.frames {
            body["subscribe"].as_array().into_iter().flatten().for_each(|frame| frames.sent_value(frame));
            return;
        }
        if let Some(name) = &self.name {
            return self.watched.look(Role::Input, name, body);
        }
        if text(body, "type") == "event" {
            return self.watched.look(Role::ClientEvent, text(body, "name"), &body["data"]);
        }
        let name = text(body, "path");
        self.watched.look(Role::Input, name, &body["input"]);
        self.name = Some(name.to_owned());
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
    pub(crate) fn event(&mut self, event: &ServerSentEvent) {
        let Ok(data) = serde_json::from_str(&event.data) else { return };
        if let Some(frames) = &mut self.frames {
            return frames.came_value(&data);
        }
        match (&self.name, &*event.event) {
            (_, "complete" | "error" | "gap") => {}
            (Some(name), _) => self.watched.look(Role::Item, name, &data),
            (None, "message") => self.watched.look(Role::ServerMessage, "", &data),
            (None, name) => self.watched.look(Role::ServerEvent, name, &data),
        }
    }
}

/// True if the answer is asked for as frames of the protocol, each in an event without a name.
fn wants_frames(request: &Request<()>) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.into_iter().any(|value| value.contains("text/event-stream") && value.contains("realtime="))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Mutex;

    /// Notes what it is shown.
    #[derive(Debug, Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Watch for Notes {
        fn look(&self, Passed { id, role, name, value }: &Passed<'_>) {
            self.0.lock().unwrap().push(format!("{role:?} {id}/{name} {value}"));
        }
    }

    /// Returns the values seen of a request and of the events that answer it.
    fn seen(request: Request<()>, body: &Value, events: &[(&str, Value)]) -> Vec<String> {
        let notes = Arc::new(Notes::default());
        let watched = Watched::new(Arc::<Notes>::clone(&notes), "/rt", request.uri());
        let body = Bytes::from(body.to_string());
        let mut exchange = Exchange::new(watched, "/rt", &request, &[body]);
        for (name, data) in events {
            exchange.event(&ServerSentEvent { id: None, event: (*name).to_owned(), data: data.to_string() });
        }
        std::mem::take(&mut *notes.0.lock().unwrap())
    }

    fn request(method: Method, uri: &str, accept: &str) -> Request<()> {
        Request::builder().method(method).uri(uri).header("accept", accept).body(()).unwrap()
    }

    #[test]
    fn names_are_in_the_path_the_query_or_the_body() {
        let post = |uri, body| seen(request(Method::POST, uri, "*/*"), &body, &[]);
        assert_eq!(post("/rt/a%2Db/x%2Fy+z", json!({ "path": 1 })), [r#"Input a-b/x/y+z {"path":1}"#]);
        assert_eq!(post("/rt/api?path=y", json!({ "path": "x", "input": 5 })), ["Input api/x 5"]);
        assert_eq!(post("/rt/api", json!({ "type": "event", "name": "x", "data": 5 })), ["ClientEvent api/x 5"]);
        let get = |uri| seen(request(Method::GET, uri, "*/*"), &json!(null), &[]);
        assert_eq!(get("/rt/api?path=x&input=%5B1%5D"), ["Input api/x [1]"]);
        assert_eq!(get("/rt/api/x?input=1"), ["Input api/x 1"]);
        assert_eq!(get("/rt/api?input=1"), ["HandlerInput api/ 1"]);
        assert_eq!(get("/rt/api?path=x&n=1"), [""; 0]);
    }

    #[test]
    fn events_are_items_messages_or_events() {
        let events = [("message", json!(1)), ("x", json!(2)), ("gap", json!(3)), ("complete", json!(null))];
        let of = |uri| seen(request(Method::GET, uri, "text/event-stream"), &json!(null), &events);
        assert_eq!(of("/rt/api?path=s"), ["Item api/s 1", "Item api/s 2"]);
        assert_eq!(of("/rt/api"), ["ServerMessage api/ 1", "ServerEvent api/x 2"]);
    }

    #[test]
    fn events_may_be_frames() {
        let accept = "text/event-stream; realtime=v1.json";
        let body = json!({ "subscribe": [{ "type": "subscribe", "id": "1", "path": "s", "input": 5 }] });
        let events = [
            ("message", json!({ "type": "data", "id": "1", "data": 6 })),
            ("message", json!({ "type": "event", "name": "x", "data": 7 })),
            ("message", json!({ "type": "complete", "id": "1" })),
        ];
        let seen = seen(request(Method::POST, "/rt/api", accept), &body, &events);
        assert_eq!(seen, ["Input api/s 5", "Item api/s 6", "ServerEvent api/x 7"]);
    }
}
