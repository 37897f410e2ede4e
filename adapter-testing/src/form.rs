use crate::Frame;
use http::Response;
use realtime_core::{
    Error,
    protocol::{Encode, Json, MessagePack, Outgoing, Protocol, Value},
    websocket::{Kind, Opcode},
};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Mutex;

/// The form of the native protocol that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    MessagePack,
}

impl Form {
    /// What the server has chosen; JSON where nothing was.
    pub(crate) fn of(response: &Response<()>) -> Self {
        let chosen = response.headers().get("sec-websocket-protocol").and_then(|name| name.to_str().ok());
        match chosen == MessagePack.subprotocol() {
            true => Self::MessagePack,
            false => Self::Json,
        }
    }

    /// A message with this value. A client's is written as a server's.
    #[track_caller]
    pub(crate) fn message(self, value: impl Serialize + Send + 'static) -> Frame {
        let mut payload = Vec::new();
        // What is `Send` alone is `Sync` in a lock, which serialises as what is in it.
        let value = Mutex::new(value);
        let encoded = self.protocol().encode(&Outgoing::Message(&value), &mut payload);
        match encoded.expect("the message serialises") {
            Some(Kind::Text) => Frame::new(Opcode::Text, payload),
            _ => Frame::new(Opcode::Binary, payload),
        }
    }

    /// A packet that serialises as the whole of its frame.
    #[track_caller]
    pub(crate) fn packet(self, packet: impl Serialize + Send + 'static) -> Frame {
        let mut payload = Vec::new();
        let packet = Mutex::new(packet);
        let (opcode, encoded) = match self {
            Self::Json => (Opcode::Text, packet.encode_json(&mut payload)),
            Self::MessagePack => (Opcode::Binary, packet.encode_msgpack(&mut payload)),
        };
        encoded.expect("what the packet carries serialises");
        Frame::new(opcode, payload)
    }

    /// Reads a frame of the server.
    pub(crate) fn read<T: DeserializeOwned + 'static>(self, frame: &Frame) -> Result<T, Error> {
        match (self, frame.opcode) {
            (Self::Json, Opcode::Text) => Value::Json(String::from_utf8_lossy(&frame.payload)).parse(),
            (Self::MessagePack, Opcode::Binary) => Value::MessagePack((&frame.payload).into()).parse(),
            (_, opcode) => Err(Error::invalid_argument(format!("{opcode:?} is not of this form"))),
        }
    }

    fn protocol(self) -> &'static dyn Protocol {
        match self {
            Self::Json => &Json,
            Self::MessagePack => &MessagePack,
        }
    }
}
