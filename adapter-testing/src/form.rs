use crate::{TestFrame, packet::Head};
use http::Response;
use realtime_core::{
    Error,
    protocol::{Encode, Json, MessagePack, Outgoing, Protocol, Value},
    websocket::{Kind, Opcode},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::HashMap, sync::Mutex};

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
    pub(crate) fn message(self, value: impl Serialize + Send + 'static) -> TestFrame {
        let mut payload = Vec::new();
        // What is `Send` alone is `Sync` in a lock, which serialises as what is in it.
        let value = Mutex::new(value);
        let encoded = self.protocol().encode(&Outgoing::Message(&value), &mut payload);
        match encoded.expect("the message serialises") {
            Some(Kind::Text) => TestFrame::new(Opcode::Text, payload),
            _ => TestFrame::new(Opcode::Binary, payload),
        }
    }

    /// A packet that serialises as the whole of its frame.
    #[track_caller]
    pub(crate) fn packet(self, packet: impl Serialize + Send + 'static) -> TestFrame {
        let mut payload = Vec::new();
        let packet = Mutex::new(packet);
        let (opcode, encoded) = match self {
            Self::Json => (Opcode::Text, packet.encode_json(&mut payload)),
            Self::MessagePack => (Opcode::Binary, packet.encode_msgpack(&mut payload)),
        };
        encoded.expect("what the packet carries serialises");
        TestFrame::new(opcode, payload)
    }

    /// Reads a frame of the server.
    pub(crate) fn read<T: DeserializeOwned + 'static>(self, frame: &TestFrame) -> Result<T, Error> {
        match (self, frame.opcode) {
            (Self::Json, Opcode::Text) => Value::Json(String::from_utf8_lossy(&frame.payload)).parse(),
            (Self::MessagePack, Opcode::Binary) => Value::MessagePack((&frame.payload).into()).parse(),
            (_, opcode) => Err(Error::invalid_argument(format!("{opcode:?} is not of this form"))),
        }
    }

    /// What a frame says of itself; `None` where it is none of the protocol.
    pub(crate) fn head(self, frame: &TestFrame) -> Option<Head> {
        match (self, frame.opcode) {
            (Self::Json, Opcode::Text) => {
                let fields: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(&frame.payload).ok()?;
                Head::read(|name| serde_json::from_str(fields.get(name)?.get()).ok())
            }
            (Self::MessagePack, Opcode::Binary) => {
                let mut fields = HashMap::new();
                MessagePack::fields(&frame.payload, |name, value| {
                    fields.insert(name, value);
                })
                .ok()?;
                Head::read(|name| Value::MessagePack((*fields.get(name)?).into()).parse().ok())
            }
            _ => None,
        }
    }

    fn protocol(self) -> &'static dyn Protocol {
        match self {
            Self::Json => &Json,
            Self::MessagePack => &MessagePack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_frame_is_told_by_its_type_whatever_its_other_fields_are() {
        for (fields, id) in [
            (json!({ "type": "later", "id": 7, "path": {}, "name": [[null]] }), None),
            (json!({ "type": "later", "id": null, "path": ["a"], "name": true }), None),
            (json!({ "type": "later", "id": "1", "path": 1.5 }), Some("1")),
        ] {
            for form in [Form::Json, Form::MessagePack] {
                let head = form.head(&form.packet(fields.clone())).expect("a frame of the protocol");
                assert!(head.is("later"), "{head:?}");
                assert_eq!(head.id.as_deref(), id);
            }
        }
        let deep = format!("{{\"id\":{}{},\"type\":\"later\"}}", "[".repeat(1000), "]".repeat(1000));
        assert!(Form::Json.head(&TestFrame::text(&deep)).is_some_and(|head| head.is("later")));
        let extension = TestFrame::new(Opcode::Binary, b"\x82\xa4type\xa5later\xa2id\xd4\x05\0");
        assert!(Form::MessagePack.head(&extension).is_some_and(|head| head.is("later")));
        for form in [Form::Json, Form::MessagePack] {
            for fields in [json!({}), json!({ "type": 7 }), json!(["later"])] {
                assert!(form.head(&form.packet(fields)).is_none());
            }
        }
    }
}
