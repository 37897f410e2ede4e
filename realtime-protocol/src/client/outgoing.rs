use super::value::{Format, Payload};
use crate::{
    Error, Message, Position,
    format::{MessagePack, Secret},
};
use serde::Serialize;
use std::time::Duration;

/// A frame to the server.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outgoing<'a> {
    /// A message to the endpoint's handler.
    Message {
        /// The message.
        value: &'a Payload,
    },
    /// A named one-way event.
    Event {
        /// Its name.
        name: &'a str,
        /// Its data.
        data: &'a Payload,
    },
    /// Asks for a sign of life.
    Ping,
    /// Calls a procedure.
    Call {
        /// The client's name for the call.
        id: &'a str,
        /// The procedure, with dots between its parts.
        path: &'a str,
        /// Its input.
        input: &'a Payload,
        /// The time that the caller will wait, in milliseconds.
        timeout: Option<Duration>,
        /// Calls with one key run once.
        idempotency_key: Option<&'a str>,
    },
    /// Gives up a call.
    Cancel {
        /// The call.
        id: &'a str,
    },
    /// Begins a subscription.
    Subscribe {
        /// The client's name for the subscription.
        id: &'a str,
        /// The subscription, with dots between its parts.
        path: &'a str,
        /// Its input.
        input: &'a Payload,
        /// The last position that the client has seen.
        after: Option<&'a Position>,
        /// The number of items that the server may send before it is granted more; by default any number.
        credit: Option<u32>,
        /// The items may come under the name of a topic, as [`Incoming::Entry`](super::Incoming::Entry).
        shared: bool,
    },
    /// Lets a subscription send more items.
    Credit {
        /// The subscription.
        id: &'a str,
        /// The number of further items.
        more: u32,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// The subscription.
        id: &'a str,
    },
    /// Answers a call of the server's.
    Result {
        /// The call.
        id: &'a str,
        /// The output.
        data: &'a Payload,
    },
    /// Sends the fresh token that the server asked for.
    Authenticate {
        /// The token.
        token: Secret<&'a str>,
    },
    /// Answers a call of the server's that failed.
    Error {
        /// The call.
        id: &'a str,
        /// The error.
        error: &'a Error,
    },
}

impl Outgoing<'_> {
    /// Writes the WebSocket message. The values must be in this format already.
    pub fn encode(&self, format: Format) -> Message {
        let frame = match *self {
            Self::Message { value } => Frame::new(format, "message").payload("value", value),
            Self::Event { name, data } => Frame::new(format, "event").field("name", name).payload("data", data),
            Self::Ping => Frame::new(format, "ping"),
            Self::Call { id, path, input, timeout, idempotency_key } => Frame::new(format, "call")
                .id(id)
                .field("path", path)
                .payload("input", input)
                .optional("timeoutMs", timeout.map(millis).as_ref())
                .optional("idempotencyKey", idempotency_key),
            Self::Cancel { id } => Frame::new(format, "cancel").id(id),
            Self::Subscribe { id, path, input, after, credit, shared } => Frame::new(format, "subscribe")
                .id(id)
                .field("path", path)
                .payload("input", input)
                .optional("after", after)
                .optional("credit", credit.as_ref())
                .optional("shared", shared.then_some(&true)),
            Self::Credit { id, more } => Frame::new(format, "credit").id(id).field("more", &more),
            Self::Unsubscribe { id } => Frame::new(format, "unsubscribe").id(id),
            Self::Authenticate { token: Secret(token) } => {
                Frame::new(format, "authenticate").field("token", token)
            }
            Self::Result { id, data } => Frame::new(format, "result").id(id).payload("data", data),
            Self::Error { id, error } => Frame::new(format, "error").id(id).field("error", error),
        };
        frame.finish()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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

    fn id(self, id: &str) -> Self {
        self.field("id", id)
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
                Message::Text(String::from_utf8(self.out).unwrap_or_default())
            }
            Format::MessagePack => {
                self.out[0] |= self.fields;
                Message::Binary(self.out.into())
            }
        }
    }
}
