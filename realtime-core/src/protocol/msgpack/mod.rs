mod head;
mod read;
mod write;

pub(super) use read::parse;
pub(super) use write::write;

use super::{
    Encode, Outgoing, Packet, Protocol, Value,
    envelope::{Envelope, Raw, Shape, parse_error, twice},
    value::unsupported,
};
use crate::{
    error::Error,
    item::Position,
    websocket::{Data, Kind},
};
use head::{Fault, Head, Reader};
use serde::{de, ser};
use std::{borrow::Cow, fmt};
use write::{write_map, write_text};

/// The MessagePack form of the native protocol, `realtime.v1.msgpack`: binary messages, one map each.
///
/// The packets and their fields are those of the JSON form, and a type has one shape in both:
/// structs are maps, and what is text in JSON is text here. Only byte strings differ: they are
/// `bin` here, and arrays of numbers in JSON.
#[derive(Clone, Copy, Debug)]
pub struct MessagePack;

impl Protocol for MessagePack {
    fn subprotocol(&self) -> Option<&'static str> {
        Some("realtime.v1.msgpack")
    }

    fn decode<'a>(&self, data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
        let Data::Binary(bytes) = data else { return Err(unsupported(Kind::Text)) };
        read_envelope(bytes).map_err(parse_error)?.into_packet()
    }

    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
        match packet {
            Outgoing::Welcome { connection, heartbeat } => {
                begin(3, "welcome", out)?;
                text("connection", out)?;
                text(&connection.to_string(), out)?;
                text("heartbeatMs", out)?;
                number(heartbeat.as_millis() as u64, out)?;
            }
            Outgoing::Message(value) => {
                begin(2, "message", out)?;
                text("value", out)?;
                value.encode_msgpack(out)?;
            }
            Outgoing::Event { name, data } => {
                begin(3, "event", out)?;
                text("name", out)?;
                text(name, out)?;
                text("data", out)?;
                data.encode_msgpack(out)?;
            }
            Outgoing::Error { id, error } => {
                begin(2 + usize::from(id.is_some()), "error", out)?;
                if let Some(id) = id {
                    text("id", out)?;
                    text(id, out)?;
                }
                text("error", out)?;
                write(error, out).map_err(Error::internal)?;
            }
            Outgoing::Data { id, data, position, event: _ } => {
                write_data(if position.is_some() { 5 } else { 3 }, "data", id, *data, out)?;
                if let Some(Position { epoch, offset }) = position {
                    text("offset", out)?;
                    number(*offset, out)?;
                    text("epoch", out)?;
                    text(epoch, out)?;
                }
            }
            Outgoing::Complete { id } => begin_with_id(2, "complete", id, out)?,
            Outgoing::Result { id, data } => write_data(3, "result", id, *data, out)?,
            Outgoing::Progress { id, data } => write_data(3, "progress", id, *data, out)?,
            Outgoing::Call { id, path, input, timeout } => {
                begin_with_id(5, "call", id, out)?;
                text("path", out)?;
                text(path, out)?;
                text("input", out)?;
                input.encode_msgpack(out)?;
                text("timeoutMs", out)?;
                number(timeout.as_millis() as u64, out)?;
            }
            Outgoing::Cancel { id } => begin_with_id(2, "cancel", id, out)?,
            Outgoing::Gap { id, topic, gap } => {
                let optional = [id.is_some(), topic.is_some(), gap.from.is_some(), gap.to.is_some()];
                begin(3 + optional.into_iter().filter(|there| *there).count(), "gap", out)?;
                if let Some(id) = id {
                    text("id", out)?;
                    text(id, out)?;
                }
                if let Some(topic) = topic {
                    text("topic", out)?;
                    text(topic, out)?;
                }
                text("count", out)?;
                number(gap.count, out)?;
                if let Some(from) = gap.from {
                    text("from", out)?;
                    number(from, out)?;
                }
                if let Some(to) = gap.to {
                    text("to", out)?;
                    number(to, out)?;
                }
                text("cause", out)?;
                text(&gap.cause, out)?;
            }
            Outgoing::Pong => begin(1, "pong", out)?,
        }
        Ok(Some(Kind::Binary))
    }
}

fn read_envelope(bytes: &[u8]) -> Result<Envelope<'_, &[u8]>, Failure> {
    let mut reader = Reader::new(bytes);
    let Head::Map(fields) = reader.head()? else { return Err(Failure("a frame must be a map".into())) };
    let mut envelope = Envelope::default();
    for _ in 0..fields {
        let key = read_text(&mut reader, "a field's name")?;
        let known = if key == "type" {
            envelope.kind.replace(read_text(&mut reader, "the type")?.into()).is_some()
        } else if let Some(field) = envelope.field(key) {
            field.replace(reader.value()?).is_some()
        } else {
            reader.value()?;
            false
        };
        if known {
            return Err(Failure(twice(key)));
        }
    }
    reader.end()?;
    Ok(envelope)
}

fn read_text<'a>(reader: &mut Reader<'a>, what: &str) -> Result<&'a str, Failure> {
    let Head::Text(text) = reader.head()? else { return Err(Failure(format!("{what} must be a string"))) };
    std::str::from_utf8(text).map_err(|_| Failure(format!("{what} is not UTF-8")))
}

/// The bytes of one value.
impl<'a> Raw<'a> for &'a [u8] {
    const NULL: Self = b"\xc0";

    fn shape(self) -> Shape {
        match Reader::new(self).head() {
            Ok(Head::Text(_)) => Shape::Text,
            Ok(Head::Array(_)) => Shape::Array,
            Ok(Head::Map(_)) => Shape::Map,
            _ => Shape::Other,
        }
    }

    fn text(self) -> Result<Cow<'a, str>, &'static str> {
        let Ok(Head::Text(text)) = Reader::new(self).head() else { return Err("must be a string") };
        std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| "is not UTF-8")
    }

    fn integer(self) -> Option<u64> {
        let Ok(Head::Unsigned(number)) = Reader::new(self).head() else { return None };
        Some(number)
    }

    fn value(self) -> Value<'a> {
        Value::MessagePack(self.into())
    }
}

/// The header of a frame's map, and the first of its fields.
fn begin(fields: usize, kind: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    write_map(fields, out).map_err(Error::internal)?;
    text("type", out)?;
    text(kind, out)
}

/// The same, and the second field: an id.
fn begin_with_id(fields: usize, kind: &str, id: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    begin(fields, kind, out)?;
    text("id", out)?;
    text(id, out)
}

/// The same, and the third field: its data.
fn write_data(fields: usize, kind: &str, id: &str, data: &dyn Encode, out: &mut Vec<u8>) -> Result<(), Error> {
    begin_with_id(fields, kind, id, out)?;
    text("data", out)?;
    data.encode_msgpack(out)
}

fn text(text: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    write_text(text, out).map_err(Error::internal)
}

fn number(number: u64, out: &mut Vec<u8>) -> Result<(), Error> {
    write(&number, out).map_err(Error::internal)
}

/// What was wrong with a value, in words.
#[derive(Debug)]
pub(super) struct Failure(String);

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }
}

impl ser::Error for Failure {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(bytes: &[u8]) -> Data<'_> {
        Data::Binary(bytes.into())
    }

    fn refusal(bytes: &[u8]) -> String {
        MessagePack.decode(&binary(bytes)).unwrap_err().to_string()
    }

    #[test]
    fn a_message_keeps_its_value_raw() {
        for (frame, expected) in [
            (&b"\x82\xa4type\xa7message\xa5value\x92\x01\x02"[..], &b"\x92\x01\x02"[..]),
            (b"\x83\xa5value\xc0\xa4more\x81\x01\xc0\xa4type\xa7message", b"\xc0"),
            (b"\xde\0\x02\xd9\x04type\xda\0\x07message\xa5value\xd4\x05\xc1", b"\xd4\x05\xc1"),
        ] {
            let data = binary(frame);
            let Packet::Message(Value::MessagePack(value)) = MessagePack.decode(&data).unwrap() else { panic!() };
            assert_eq!(value, expected);
        }
    }

    #[test]
    fn what_is_not_a_frame_is_refused_with_the_reason() {
        for (frame, reason) in [
            (&b""[..], "PARSE_ERROR: the end came inside the value at byte 0"),
            (b"\xc1", "PARSE_ERROR: 0xc1 stands for nothing, at byte 0"),
            (b"\x92\xa4ping\xc0", "PARSE_ERROR: a frame must be a map"),
            (b"\x80", "PARSE_ERROR: a frame needs the field \"type\""),
            (b"\x81\x01\xa4ping", "PARSE_ERROR: a field's name must be a string"),
            (b"\x81\xc4\x04type\xa4ping", "PARSE_ERROR: a field's name must be a string"),
            (b"\x81\xa1\xff\xa4ping", "PARSE_ERROR: a field's name is not UTF-8"),
            (b"\x81\xa4type\x01", "PARSE_ERROR: the type must be a string"),
            (b"\x81\xa4type\xa4nope", "PARSE_ERROR: unknown type \"nope\""),
            (b"\x81\xa4type\xa4ping\xc0", "PARSE_ERROR: trailing bytes at byte 11"),
            (b"\x81\xa4type\xa7message", "INVALID_ARGUMENT: a message needs the field \"value\""),
            (b"\x82\xa4type\xa4ping\xa4type\xa4ping", "PARSE_ERROR: the field \"type\" twice"),
            (b"\x82\xa4type\xa4ping\xa4more\x92\xc0\xc1", "PARSE_ERROR: 0xc1 stands for nothing, at byte 18"),
        ] {
            assert_eq!(refusal(frame), reason);
        }
        assert!(MessagePack.decode(&Data::Text("\u{81}".into())).is_err());
    }
}
