//! The frames of `realtime.v1.json`, as a client sees them.

use realtime_core::{Error, Gap, Position, raw::Offset};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{borrow::Cow, time::Duration};

/// What a client offers, and the server must choose.
pub(crate) const SUBPROTOCOL: &str = "realtime.v1.json";

/// A frame to the server.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Outgoing<'a> {
    Message {
        value: &'a RawValue,
    },
    Event {
        name: &'a str,
        data: &'a RawValue,
    },
    Ping,
    Call {
        id: String,
        path: &'a str,
        input: &'a RawValue,
        timeout_ms: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<&'a str>,
    },
    Cancel {
        id: String,
    },
    Subscribe {
        id: String,
        path: &'a str,
        input: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<&'a Position>,
        credit: usize,
    },
    Credit {
        id: String,
        more: usize,
    },
    Unsubscribe {
        id: String,
    },
    Result {
        id: &'a str,
        data: &'a RawValue,
    },
    Error {
        id: &'a str,
        error: &'a Error,
    },
}

impl Outgoing<'_> {
    pub(crate) fn encode(&self) -> String {
        // Strings, numbers and JSON that was checked before: none of them can fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A frame of the server's. What is not known is [`Unknown`](Self::Unknown).
#[derive(Debug)]
pub(crate) enum Incoming {
    Welcome { connection: String, heartbeat: Option<Duration> },
    Message { value: Box<RawValue> },
    Event { name: String, data: Box<RawValue> },
    Data { id: String, data: Box<RawValue>, position: Option<Position> },
    Complete { id: String },
    Result { id: String, data: Box<RawValue> },
    Progress { id: String, data: Box<RawValue> },
    Error { id: Option<String>, error: Error },
    Call { id: String, path: String, input: Box<RawValue>, timeout: Option<Duration> },
    Cancel { id: String },
    Gap { id: String, gap: Gap },
    Unknown,
}

impl Incoming {
    /// Reads one text message.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub(crate) fn decode(text: &str) -> Result<Self, String> {
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| format!("no frame: {error}"))?;
        fields.into_frame().map_err(|field| format!("a frame without `{field}`"))
    }
}

/// All fields that a server's frame may have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    id: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    name: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    offset: Option<Offset>,
    epoch: Option<String>,
    error: Option<Error>,
    path: Option<Path>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    timeout_ms: Option<u64>,
    connection: Option<String>,
    heartbeat_ms: Option<u64>,
    #[serde(default)]
    count: u64,
    from: Option<Offset>,
    to: Option<Offset>,
    #[serde(default)]
    cause: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Path {
    Dotted(String),
    Parts(Vec<String>),
}

impl Fields<'_> {
    fn into_frame(self) -> Result<Incoming, &'static str> {
        let data = raw(self.data);
        Ok(match &*self.kind {
            "welcome" => Incoming::Welcome {
                connection: self.connection.ok_or("connection")?,
                heartbeat: self.heartbeat_ms.map(Duration::from_millis),
            },
            "message" => Incoming::Message { value: raw(self.value) },
            "event" => Incoming::Event { name: self.name.ok_or("name")?, data },
            "data" => Incoming::Data {
                id: self.id.ok_or("id")?,
                data,
                position: self.epoch.zip(self.offset).map(|(epoch, Offset(offset))| Position { epoch, offset }),
            },
            "complete" => Incoming::Complete { id: self.id.ok_or("id")? },
            "result" => Incoming::Result { id: self.id.ok_or("id")?, data },
            "progress" => Incoming::Progress { id: self.id.ok_or("id")?, data },
            "error" => Incoming::Error { id: self.id, error: self.error.ok_or("error")? },
            "call" => Incoming::Call {
                id: self.id.ok_or("id")?,
                path: self.path.ok_or("path")?.joined(),
                input: raw(self.input),
                timeout: self.timeout_ms.map(Duration::from_millis),
            },
            "cancel" => Incoming::Cancel { id: self.id.ok_or("id")? },
            "gap" => {
                let gap = Gap::new(self.count, self.cause);
                let gap = match self.from.zip(self.to) {
                    Some((Offset(from), Offset(to))) => gap.between(from, to),
                    None => gap,
                };
                // A topic's gap belongs to no subscription of ours.
                self.id.map_or(Incoming::Unknown, |id| Incoming::Gap { id, gap })
            }
            _ => Incoming::Unknown,
        })
    }
}

impl Path {
    fn joined(self) -> String {
        match self {
            Self::Dotted(path) => path,
            Self::Parts(parts) => parts.join("."),
        }
    }
}

/// An absent field is `null`.
fn raw(value: Option<&RawValue>) -> Box<RawValue> {
    value.unwrap_or(RawValue::NULL).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_fields_of_the_protocol() {
        let one = RawValue::from_string("1".to_owned()).unwrap();
        let call = Outgoing::Call {
            id: "1".to_owned(),
            path: "a.b",
            input: &one,
            timeout_ms: 5000,
            idempotency_key: Some("k"),
        };
        assert_eq!(
            call.encode(),
            r#"{"type":"call","id":"1","path":"a.b","input":1,"timeoutMs":5000,"idempotencyKey":"k"}"#
        );
        let subscribe = Outgoing::Subscribe {
            id: "2".to_owned(),
            path: "p",
            input: &one,
            after: Some(&Position::new("e", 7)),
            credit: 64,
        };
        assert_eq!(
            subscribe.encode(),
            r#"{"type":"subscribe","id":"2","path":"p","input":1,"after":{"epoch":"e","offset":7},"credit":64}"#
        );
        assert_eq!(Outgoing::Ping.encode(), r#"{"type":"ping"}"#);
        assert_eq!(
            Outgoing::Credit { id: "2".to_owned(), more: 32 }.encode(),
            r#"{"type":"credit","id":"2","more":32}"#
        );
    }

    #[test]
    fn a_field_that_is_needed_and_absent_is_named() {
        assert_eq!(Incoming::decode(r#"{"type":"result"}"#).unwrap_err(), "a frame without `id`");
        assert_eq!(Incoming::decode(r#"{"type":"call","id":"1"}"#).unwrap_err(), "a frame without `path`");
        assert!(Incoming::decode(r#"{"type":"ping","id":"1","id":"2"}"#).unwrap_err().contains("duplicate"));
        assert!(Incoming::decode("[").is_err());
    }

    #[test]
    fn what_is_not_known_is_passed_over() {
        assert!(matches!(Incoming::decode(r#"{"type":"later","x":1}"#), Ok(Incoming::Unknown)));
        assert!(matches!(Incoming::decode(r#"{"type":"pong","x":1}"#), Ok(Incoming::Unknown)));
    }

    #[test]
    fn a_path_is_dotted_or_in_parts() {
        for path in [r#""a.b""#, r#"["a","b"]"#] {
            let frame = Incoming::decode(&format!(r#"{{"type":"call","id":"1","path":{path}}}"#)).unwrap();
            assert!(matches!(frame, Incoming::Call { path, .. } if path == "a.b"));
        }
    }

    #[test]
    fn an_offset_is_a_number_or_text() {
        for (offset, text) in [(7, "7"), (u64::MAX, "\"18446744073709551615\"")] {
            let position = Position::new("e", offset);
            let frame = format!(r#"{{"type":"data","id":"1","data":0,"offset":{text},"epoch":"e"}}"#);
            let frame = Incoming::decode(&frame).unwrap();
            assert!(matches!(frame, Incoming::Data { position: Some(read), .. } if read == position));
            let frame = format!(r#"{{"type":"gap","id":"1","count":1,"from":{text},"to":{text},"cause":"x"}}"#);
            let frame = Incoming::decode(&frame).unwrap();
            assert!(matches!(frame, Incoming::Gap { gap, .. } if gap == Gap::new(1, "x").between(offset, offset)));
            assert_eq!(serde_json::to_string(&position).unwrap(), format!(r#"{{"epoch":"e","offset":{text}}}"#));
        }
    }
}
