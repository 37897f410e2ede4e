//! The frames of the native protocol, valid ones by `realtime-protocol`, and invalid ones.

use crate::TestFrame;
use http::Response;
use realtime_core::{Error, protocol::Value, websocket::Opcode};
use realtime_protocol::{
    Data, Message,
    client::{Format, Incoming, Outgoing, Payload},
};
use serde::{Serialize, de::DeserializeOwned};

/// Returns the format that the server has selected, by default JSON.
pub(crate) fn chosen(response: &Response<()>) -> Format {
    let chosen = response.headers().get("sec-websocket-protocol").and_then(|name| name.to_str().ok());
    match chosen == Some(Format::MessagePack.subprotocol()) {
        true => Format::MessagePack,
        false => Format::Json,
    }
}

/// Encodes a value.
///
/// # Panics
///
/// If the value does not serialise.
#[track_caller]
pub(crate) fn write(format: Format, value: &impl Serialize) -> Payload {
    Payload::write(format, value).expect("the value serialises")
}

/// Decodes a value.
///
/// # Panics
///
/// If the value does not match the type.
#[track_caller]
pub(crate) fn read<T: DeserializeOwned + 'static>(payload: &Payload) -> T {
    payload.read().unwrap_or_else(|error| panic!("{error}: {}", payload.as_bytes().escape_ascii()))
}

impl TestFrame {
    /// Encodes a frame of the protocol.
    pub(crate) fn outgoing(format: Format, frame: &Outgoing<'_>) -> Self {
        match frame.encode(format) {
            Message::Text(text) => Self::new(Opcode::Text, text),
            Message::Binary(bytes) => Self::new(Opcode::Binary, bytes),
        }
    }

    /// Encodes a message with this value, even if the protocol has no such frame.
    #[track_caller]
    pub(crate) fn packet(format: Format, packet: &impl Serialize) -> Self {
        match write(format, packet) {
            Payload::Json(json) => Self::text(&json),
            Payload::MessagePack(bytes) => Self::new(Opcode::Binary, bytes),
        }
    }

    /// Decodes a frame of the server.
    ///
    /// # Errors
    ///
    /// The frame is not part of the protocol.
    pub(crate) fn incoming(&self, format: Format) -> Result<Incoming, String> {
        let message = match self.opcode {
            Opcode::Text => Data::Text(String::from_utf8_lossy(&self.payload)),
            Opcode::Binary => Data::Binary((&self.payload).into()),
            opcode => return Err(format!("{opcode:?} is not a message")),
        };
        Incoming::decode(format, &message)
    }

    /// Decodes a message as one value, even if the protocol has no such frame.
    pub(crate) fn value<T: DeserializeOwned + 'static>(&self, format: Format) -> Result<T, Error> {
        let value = match (format, self.opcode) {
            (Format::Json, Opcode::Text) => Value::Json(String::from_utf8_lossy(&self.payload)),
            (Format::MessagePack, Opcode::Binary) => Value::MessagePack((&self.payload).into()),
            (_, opcode) => return Err(Error::invalid_argument(format!("{opcode:?} is not of this format"))),
        };
        value.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn frames_that_the_protocol_does_not_have_are_written_and_read() {
        for format in [Format::Json, Format::MessagePack] {
            for odd in [json!({}), json!(["later"]), json!({ "type": "call", "id": 7 })] {
                let frame = TestFrame::packet(format, &odd);
                assert!(frame.incoming(format).is_err(), "{odd}");
                assert_eq!(frame.value::<serde_json::Value>(format).unwrap(), odd);
            }
            let later = TestFrame::packet(format, &json!({ "type": "later", "id": 7, "path": {} }));
            assert!(matches!(later.incoming(format), Ok(Incoming::Unknown)));
            assert!(TestFrame::close(1000, "").incoming(format).is_err());
        }
    }
}
