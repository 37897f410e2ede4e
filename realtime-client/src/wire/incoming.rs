use super::{
    fields::Fields,
    value::{Format, Payload, Raw},
};
use realtime_protocol::{Error, Gap, Position};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// A frame of the server's. Of an unknown type it is [`Unknown`](Self::Unknown), whatever its fields are.
#[derive(Debug)]
pub(crate) enum Incoming {
    Welcome { connection: String, heartbeat: Option<Duration> },
    Message { value: Payload },
    Event { name: String, data: Payload },
    Data { id: String, data: Payload, position: Option<Position> },
    Complete { id: String },
    Result { id: String, data: Payload },
    Progress { id: String, data: Payload },
    Error { id: Option<String>, error: Error },
    Call { id: String, path: String, input: Payload, timeout: Option<Duration> },
    Cancel { id: String },
    Gap { id: String, gap: Gap },
    Unknown,
}

impl Incoming {
    /// Reads one message that is text or binary.
    ///
    /// # Errors
    ///
    /// Says what is wrong: it is no frame of this format, or lacks a field without which it says nothing.
    pub(crate) fn decode(format: Format, message: &Message) -> Result<Self, String> {
        let raw = match (format, message) {
            (Format::Json, Message::Text(text)) => Raw::Json(text),
            (Format::MessagePack, Message::Binary(bytes)) => Raw::MessagePack(bytes),
            (Format::Json, _) => return Err("a binary message is no frame".to_owned()),
            (Format::MessagePack, _) => return Err("a text message is no frame".to_owned()),
        };
        let fields = Fields::read(raw).map_err(|wrong| format!("no frame: {wrong}"))?;
        let kind = fields.required("type").map_err(|wrong| format!("no frame: {wrong}"))?;
        let Some(kind) = kind.text() else { return Ok(Self::Unknown) };
        Self::read(&kind, &fields).map_err(|wrong| format!("an unreadable frame of type {kind:?}: {wrong}"))
    }

    fn read(kind: &str, fields: &Fields<'_>) -> Result<Self, String> {
        let id = || fields.required_text("id");
        let optional_id = || fields.text("id").map(String::from);
        Ok(match kind {
            "welcome" => Self::Welcome {
                connection: fields.text("connection").unwrap_or_default().into_owned(),
                heartbeat: fields.millis("heartbeatMs"),
            },
            "message" => Self::Message { value: fields.payload("value")? },
            "event" => Self::Event { name: fields.required_text("name")?, data: fields.payload("data")? },
            "data" => Self::Data { id: id()?, data: fields.payload("data")?, position: position(fields) },
            "complete" => Self::Complete { id: id()? },
            "result" => Self::Result { id: id()?, data: fields.payload("data")? },
            "progress" => Self::Progress { id: id()?, data: fields.payload("data")? },
            "error" => Self::Error { id: optional_id(), error: fields.error() },
            "call" => Self::Call {
                id: id()?,
                path: path(fields)?,
                input: fields.payload("input")?,
                timeout: fields.millis("timeoutMs"),
            },
            "cancel" => Self::Cancel { id: id()? },
            // A topic's gap belongs to no subscription of ours.
            "gap" => optional_id().map_or(Self::Unknown, |id| Self::Gap { id, gap: gap(fields) }),
            _ => Self::Unknown,
        })
    }
}

/// The error in the body of a refusal, if there is one.
pub(crate) fn error_in(body: &[u8]) -> Option<Error> {
    let fields = Fields::read(Raw::Json(std::str::from_utf8(body).ok()?)).ok()?;
    fields.optional("error")?;
    Some(fields.error())
}

fn position(fields: &Fields<'_>) -> Option<Position> {
    Some(Position { epoch: fields.text("epoch")?.into_owned(), offset: fields.offset("offset")? })
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
