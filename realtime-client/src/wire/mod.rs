//! The frames of the native protocol, as a client sees them, in either of its formats.

mod fields;
mod incoming;
mod value;

pub(crate) use incoming::{Incoming, error_in};
pub use value::Format;
pub(crate) use value::Payload;

use realtime_protocol::{Error, Position, format::MessagePack};
use serde::Serialize;
use tokio_tungstenite::tungstenite::Message;

/// A frame to the server.
#[derive(Debug)]
pub(crate) enum Outgoing<'a> {
    Message { value: &'a Payload },
    Event { name: &'a str, data: &'a Payload },
    Ping,
    Call { id: u64, path: &'a str, input: &'a Payload, timeout_ms: u64, idempotency_key: Option<&'a str> },
    Cancel { id: u64 },
    Subscribe { id: u64, path: &'a str, input: &'a Payload, after: Option<&'a Position>, credit: usize },
    Credit { id: u64, more: usize },
    Unsubscribe { id: u64 },
    Result { id: &'a str, data: &'a Payload },
    Error { id: &'a str, error: &'a Error },
}

impl Outgoing<'_> {
    /// The WebSocket message. Its values are in this format already.
    pub(crate) fn encode(&self, format: Format) -> Message {
        let frame = match *self {
            Self::Message { value } => Frame::new(format, "message").payload("value", value),
            Self::Event { name, data } => Frame::new(format, "event").field("name", name).payload("data", data),
            Self::Ping => Frame::new(format, "ping"),
            Self::Call { id, path, input, timeout_ms, idempotency_key } => Frame::new(format, "call")
                .id(id)
                .field("path", path)
                .payload("input", input)
                .field("timeoutMs", &timeout_ms)
                .optional("idempotencyKey", idempotency_key),
            Self::Cancel { id } => Frame::new(format, "cancel").id(id),
            Self::Subscribe { id, path, input, after, credit } => Frame::new(format, "subscribe")
                .id(id)
                .field("path", path)
                .payload("input", input)
                .optional("after", after)
                .field("credit", &credit),
            Self::Credit { id, more } => Frame::new(format, "credit").id(id).field("more", &more),
            Self::Unsubscribe { id } => Frame::new(format, "unsubscribe").id(id),
            Self::Result { id, data } => Frame::new(format, "result").field("id", id).payload("data", data),
            Self::Error { id, error } => Frame::new(format, "error").field("id", id).field("error", error),
        };
        frame.finish()
    }
}

/// A frame that is being written.
struct Frame {
    format: Format,
    fields: u8,
    out: Vec<u8>,
}

impl Frame {
    fn new(format: Format, kind: &str) -> Self {
        let out = match format {
            Format::Json => b"{".to_vec(),
            // A map of up to 15 fields, whose number is set at the end.
            Format::MessagePack => vec![0x80],
        };
        Self { format, fields: 0, out }.field("type", kind)
    }

    fn id(self, id: u64) -> Self {
        self.field("id", &id.to_string())
    }

    /// Adds a text, a number or an error: none of them can fail.
    fn field<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        self.name(name);
        match self.format {
            Format::Json => serde_json::to_writer(&mut self.out, value).unwrap_or_default(),
            Format::MessagePack => MessagePack::write(value, &mut self.out).unwrap_or_default(),
        }
        self
    }

    fn optional<T: Serialize + ?Sized>(self, name: &str, value: Option<&T>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    fn payload(mut self, name: &str, payload: &Payload) -> Self {
        self.name(name);
        self.out.extend_from_slice(payload.as_bytes());
        self
    }

    /// Begins a field. The names are words, in which nothing is escaped.
    fn name(&mut self, name: &str) {
        match self.format {
            Format::Json => {
                let comma = if self.fields > 0 { "," } else { "" };
                self.out.extend([comma, "\"", name, "\":"].concat().into_bytes());
            }
            Format::MessagePack => MessagePack::write(name, &mut self.out).unwrap_or_default(),
        }
        self.fields += 1;
    }

    fn finish(mut self) -> Message {
        match self.format {
            Format::Json => {
                self.out.push(b'}');
                // Of nothing but strings and the text that serde_json writes.
                Message::text(String::from_utf8(self.out).unwrap_or_default())
            }
            Format::MessagePack => {
                self.out[0] |= self.fields;
                Message::binary(self.out)
            }
        }
    }
}

#[cfg(test)]
mod tests;
