use super::{
    fields::Fields,
    value::{Format, Payload, Raw},
};
use crate::{Appended, Data, Error, Gap, Position};
use std::time::Duration;

/// A frame of the server's. Of an unknown type it is [`Unknown`](Self::Unknown), whatever its fields are.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// The first frame of a connection.
    Welcome {
        /// The id of the connection; empty if there is none.
        connection: String,
        /// The interval at which the server looks for signs of life.
        heartbeat: Option<Duration>,
        /// The bytes of a message that the server takes.
        message_bytes: Option<u64>,
        /// A hash of the types of the endpoint.
        schema: Option<String>,
    },
    /// A message of the endpoint's handler.
    Message {
        /// The message.
        value: Payload,
        /// Its place in the feed of this name, where it comes from one.
        place: Option<Appended>,
    },
    /// A named one-way event.
    Event {
        /// Its name.
        name: String,
        /// Its data.
        data: Payload,
    },
    /// An item of a subscription.
    Data {
        /// The subscription.
        id: String,
        /// The item.
        data: Payload,
        /// Its place, where it has one.
        position: Option<Position>,
    },
    /// The beginning of a subscription of a feed, and its position.
    Subscribed {
        /// The subscription.
        id: String,
        /// The name of the feed.
        topic: String,
        /// The position behind which it goes on.
        position: Position,
        /// Its items come as [`Entry`](Self::Entry).
        shared: bool,
        /// Nothing is missing behind the position that the client came with; `None` if it came with none.
        resumed: Option<bool>,
        /// The first item is a state, at this position.
        state: bool,
    },
    /// An item of the subscription that shares the frames of a feed.
    Entry {
        /// The name of the feed.
        topic: String,
        /// The item.
        data: Payload,
        /// Its place.
        position: Position,
    },
    /// The end of a subscription.
    Complete {
        /// The subscription.
        id: String,
    },
    /// The answer to a call.
    Result {
        /// The call.
        id: String,
        /// The output.
        data: Payload,
        /// The entries that the call has appended to feeds.
        wrote: Vec<Appended>,
    },
    /// A progress report of a call.
    Progress {
        /// The call.
        id: String,
        /// The report.
        data: Payload,
    },
    /// The error with which a call or subscription ends; without an id it is about the connection.
    Error {
        /// The call or subscription.
        id: Option<String>,
        /// The error: as much of it as can be read.
        error: Error,
    },
    /// A call of a procedure of the client's.
    Call {
        /// The server's name for the call.
        id: String,
        /// The procedure, with dots between its parts.
        path: String,
        /// Its input.
        input: Payload,
        /// The time that the server will wait.
        timeout: Option<Duration>,
    },
    /// The server gives up a [`Call`](Self::Call).
    Cancel {
        /// The call.
        id: String,
    },
    /// Something is missing here: in a subscription or in a topic.
    Gap {
        /// The subscription.
        id: Option<String>,
        /// The topic.
        topic: Option<String>,
        /// The number of missing items, and the cause.
        gap: Gap,
    },
    /// The server asks for a fresh token, as [`Outgoing::Authenticate`](super::Outgoing::Authenticate).
    Reauthenticate {
        /// The time until the credentials of the connection end.
        within: Option<Duration>,
    },
    /// A frame of a type that is not known here.
    Unknown,
}

impl Incoming {
    /// Reads one message that is text or binary.
    ///
    /// # Errors
    ///
    /// Says what is wrong: it is no frame of this format, or lacks a field without which it says nothing.
    pub fn decode(format: Format, message: &Data<'_>) -> Result<Self, String> {
        let raw = match (format, message) {
            (Format::Json, Data::Text(text)) => Raw::Json(text),
            (Format::MessagePack, Data::Binary(bytes)) => Raw::MessagePack(bytes),
            (Format::Json, _) => return Err("a binary message is no frame".to_owned()),
            (Format::MessagePack, _) => return Err("a text message is no frame".to_owned()),
        };
        let fields = Fields::read(raw).map_err(|wrong| format!("no frame: {wrong}"))?;
        let kind = fields.required("type").map_err(|wrong| format!("no frame: {wrong}"))?;
        let Some(kind) = kind.text() else { return Ok(Self::Unknown) };
        Self::read(&kind, &fields).map_err(|wrong| format!("an unreadable frame of type {kind:?}: {wrong}"))
    }

    /// The call or subscription that it is about.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Data { id, .. }
            | Self::Subscribed { id, .. }
            | Self::Complete { id }
            | Self::Result { id, .. }
            | Self::Progress { id, .. }
            | Self::Call { id, .. }
            | Self::Cancel { id } => Some(id),
            Self::Error { id, .. } | Self::Gap { id, .. } => id.as_deref(),
            Self::Welcome { .. } | Self::Message { .. } | Self::Entry { .. } | Self::Event { .. } => None,
            Self::Reauthenticate { .. } | Self::Unknown => None,
        }
    }

    fn read(kind: &str, fields: &Fields<'_>) -> Result<Self, String> {
        let id = || fields.required_text("id");
        let optional_id = || fields.text("id").map(String::from);
        Ok(match kind {
            "welcome" => Self::Welcome {
                connection: fields.text("connection").unwrap_or_default().into_owned(),
                heartbeat: fields.millis("heartbeatMs"),
                message_bytes: fields.number("messageBytes"),
                schema: fields.text("schema").map(String::from),
            },
            "message" => {
                let place = fields.text("topic").zip(position(fields));
                let place = place.map(|(topic, position)| Appended { topic: topic.into_owned(), position });
                Self::Message { value: fields.payload("value")?, place }
            }
            "event" => Self::Event { name: fields.required_text("name")?, data: fields.payload("data")? },
            "data" => match (fields.text("topic"), fields.text("id"), position(fields)) {
                (Some(topic), None, Some(position)) => {
                    Self::Entry { topic: topic.into_owned(), data: fields.payload("data")?, position }
                }
                (.., position) => Self::Data { id: id()?, data: fields.payload("data")?, position },
            },
            "subscribed" => Self::Subscribed {
                id: id()?,
                topic: fields.required_text("topic")?,
                position: position(fields).ok_or("it has no position")?,
                shared: fields.flag("shared").unwrap_or(false),
                resumed: fields.flag("resumed"),
                state: fields.flag("state").unwrap_or(false),
            },
            "complete" => Self::Complete { id: id()? },
            "result" => Self::Result { id: id()?, data: fields.payload("data")?, wrote: wrote(fields) },
            "progress" => Self::Progress { id: id()?, data: fields.payload("data")? },
            "error" => Self::Error { id: optional_id(), error: fields.error() },
            "call" => Self::Call {
                id: id()?,
                path: path(fields)?,
                input: fields.payload("input")?,
                timeout: fields.millis("timeoutMs"),
            },
            "cancel" => Self::Cancel { id: id()? },
            "reauthenticate" => Self::Reauthenticate { within: fields.millis("withinMs") },
            "gap" => match (optional_id(), fields.text("topic").map(String::from)) {
                // It is missing nowhere.
                (None, None) => Self::Unknown,
                (id, topic) => Self::Gap { id, topic, gap: gap(fields) },
            },
            _ => Self::Unknown,
        })
    }
}

/// The error in the body of a refused upgrade, if there is one.
pub fn error_in(body: &[u8]) -> Option<Error> {
    let fields = Fields::read(Raw::Json(std::str::from_utf8(body).ok()?)).ok()?;
    fields.optional("error")?;
    Some(fields.error())
}

fn position(fields: &Fields<'_>) -> Option<Position> {
    let (epoch, offset) = (fields.text("epoch")?.into_owned(), fields.offset("offset")?);
    Some(Position { epoch, offset, proof: fields.text("proof").map(String::from) })
}

fn wrote(fields: &Fields<'_>) -> Vec<Appended> {
    fields.optional("wrote").and_then(|raw| raw.read().ok()).unwrap_or_default()
}

fn gap(fields: &Fields<'_>) -> Gap {
    let gap = Gap::new(fields.number("count").unwrap_or(0), fields.text("cause").unwrap_or_default());
    match fields.offset("from").zip(fields.offset("to")) {
        Some((from, to)) => gap.with_range(from, to),
        None => gap,
    }
}

/// A text with dots, or its parts.
fn path(fields: &Fields<'_>) -> Result<String, String> {
    let path = fields.required("path")?;
    let parts = || path.read::<Vec<String>>().ok().map(|parts| parts.join("."));
    path.text()
        .map(String::from)
        .or_else(parts)
        .ok_or_else(|| "its `path` is neither a string nor its parts".to_owned())
}
