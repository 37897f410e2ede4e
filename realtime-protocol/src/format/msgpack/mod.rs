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
    item::{Offset, Position},
    message::{Data, Kind},
    whole::{whole, whole_f32},
};
use head::{Fault, Head, Reader};
use serde::{Serialize, de, ser};
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
            Outgoing::Welcome { connection, heartbeat, message_bytes, schema } => {
                begin(4 + usize::from(schema.is_some()), "welcome", out)?;
                text("connection", out)?;
                text(&connection.to_string(), out)?;
                text("heartbeatMs", out)?;
                number(heartbeat.as_millis() as u64, out)?;
                text("messageBytes", out)?;
                number(*message_bytes as u64, out)?;
                if let Some(schema) = schema {
                    text("schema", out)?;
                    text(schema, out)?;
                }
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
                write_data(3 + position.map_or(0, fields_of), "data", id, *data, out)?;
                if let Some(position) = position {
                    write_position(position, out)?;
                }
            }
            Outgoing::Subscribed { id, topic, position, shared, resumed, state } => {
                let optional = usize::from(*shared) + usize::from(resumed.is_some()) + usize::from(*state);
                begin_with_id(3 + fields_of(position) + optional, "subscribed", id, out)?;
                text("topic", out)?;
                text(topic, out)?;
                write_position(position, out)?;
                if *shared {
                    text("shared", out)?;
                    shared.encode_msgpack(out)?;
                }
                if let Some(resumed) = resumed {
                    text("resumed", out)?;
                    resumed.encode_msgpack(out)?;
                }
                if *state {
                    text("state", out)?;
                    state.encode_msgpack(out)?;
                }
            }
            Outgoing::Entry { topic, data, position } => {
                begin(3 + fields_of(position), "data", out)?;
                text("topic", out)?;
                text(topic, out)?;
                text("data", out)?;
                data.encode_msgpack(out)?;
                write_position(position, out)?;
            }
            Outgoing::Followed { topic, value, position } => {
                begin(3 + fields_of(position), "message", out)?;
                text("value", out)?;
                value.encode_msgpack(out)?;
                text("topic", out)?;
                text(topic, out)?;
                write_position(position, out)?;
            }
            Outgoing::Complete { id } => begin_with_id(2, "complete", id, out)?,
            Outgoing::Reply { id, data, wrote } => {
                write_data(3 + usize::from(!wrote.is_empty()), "result", id, *data, out)?;
                if !wrote.is_empty() {
                    text("wrote", out)?;
                    write(wrote, out).map_err(Error::internal)?;
                }
            }
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
                    write_offset(from, out)?;
                }
                if let Some(to) = gap.to {
                    text("to", out)?;
                    write_offset(to, out)?;
                }
                text("cause", out)?;
                text(&gap.cause, out)?;
            }
            Outgoing::Opened => return Ok(None),
            Outgoing::Reauthenticate { within } => {
                begin(2, "reauthenticate", out)?;
                text("withinMs", out)?;
                number(within.as_millis() as u64, out)?;
            }
            Outgoing::Pong => begin(1, "pong", out)?,
        }
        Ok(Some(Kind::Binary))
    }
}

/// The parts of which a client makes its frames, and into which it takes those of a server.
impl MessagePack {
    /// Appends a value.
    ///
    /// # Errors
    ///
    /// The value does not serialise. Says why.
    pub fn write<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
        write(value, out).map_err(|failure| failure.0)
    }

    /// Calls `each` with the name and the bytes of each field of a frame. A key that is no string names no field.
    ///
    /// # Errors
    ///
    /// The frame is not one whole map. Says why; some of its fields may have been told.
    pub fn fields<'a>(frame: &'a [u8], mut each: impl FnMut(&'a str, &'a [u8])) -> Result<(), String> {
        let mut reader = Reader::new(frame);
        let Head::Map(count) = reader.head().map_err(|fault| fault.to_string())? else {
            return Err("a frame must be a map".to_owned());
        };
        for _ in 0..count {
            let mut next = || reader.value().map_err(|fault| fault.to_string());
            let (name, value) = (next()?, next()?);
            if let Ok(Cow::Borrowed(name)) = name.text() {
                each(name, value);
            }
        }
        reader.end().map_err(|fault| fault.to_string())
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
        match Reader::new(self).head().ok()? {
            Head::Unsigned(number) => Some(number),
            Head::F32(float) => whole_f32(float)?.try_into().ok(),
            Head::F64(float) => whole(float)?.try_into().ok(),
            _ => None,
        }
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

/// The number of a position's fields.
fn fields_of(position: &Position) -> usize {
    2 + usize::from(position.proof.is_some())
}

fn write_position(Position { epoch, offset, proof }: &Position, out: &mut Vec<u8>) -> Result<(), Error> {
    text("offset", out)?;
    write_offset(*offset, out)?;
    text("epoch", out)?;
    text(epoch, out)?;
    if let Some(proof) = proof {
        text("proof", out)?;
        text(proof, out)?;
    }
    Ok(())
}

fn write_offset(offset: u64, out: &mut Vec<u8>) -> Result<(), Error> {
    write(&Offset(offset), out).map_err(Error::internal)
}

fn number(number: u64, out: &mut Vec<u8>) -> Result<(), Error> {
    write(&number, out).map_err(Error::internal)
}

/// A description of an error in a value.
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
    use crate::overflow::Gap;
    use std::time::Duration;

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

    #[test]
    fn a_frame_comes_apart_into_its_fields() {
        let fields = |frame: &'static [u8]| {
            let mut fields = Vec::new();
            MessagePack::fields(frame, |name, value| fields.push((name, value))).map(|()| fields)
        };
        let frame = b"\x83\xa4type\xa4pong\x07\x91\xc0\xa1x\x81\xa1y\x02";
        assert_eq!(fields(frame).unwrap(), [("type", &b"\xa4pong"[..]), ("x", b"\x81\xa1y\x02")]);
        assert_eq!(fields(b"\x90").unwrap_err(), "a frame must be a map");
        assert_eq!(fields(b"\x81\xa1x").unwrap_err(), "the end came inside the value at byte 3");
        assert_eq!(fields(b"\x80\xc0").unwrap_err(), "trailing bytes at byte 1");
    }

    #[test]
    fn every_frame_of_a_client_is_read() {
        for (frame, expected) in [
            (
                &b"\x83\xa4type\xa5event\xa4name\xa1A\xa4data\x01"[..],
                "Event { name: \"A\", data: MessagePack([1]) }",
            ),
            (b"\x82\xa4type\xa5event\xa4name\xa1A", "Event { name: \"A\", data: MessagePack([192]) }"),
            (b"\x81\xa4type\xa4ping", "Ping"),
            (
                b"\x86\xa4type\xa4call\xa2id\xa11\xa4path\xa3a.b\xa5input\x07\xa9timeoutMs\xcd\x13\x88\xaeidempotencyKey\xa1k",
                "Call { id: \"1\", path: \"a.b\", input: MessagePack([7]), timeout: Some(5s), key: Some(\"k\") }",
            ),
            (
                b"\x83\xa4path\x92\xa1a\xd9\x01b\xa2id\xd9\x011\xa4type\xa4call",
                "Call { id: \"1\", path: \"a.b\", input: MessagePack([192]), timeout: None, key: None }",
            ),
            (b"\x82\xa4type\xa6cancel\xa2id\xa11", "Cancel { id: \"1\" }"),
            (
                b"\x86\xa4type\xa9subscribe\xa2id\xa1s\xa4path\xa1a\xa5input\x90\xa5after\x82\xa6offset\x07\xa5epoch\xa1e\xa6credit\x40",
                "Subscribe { id: \"s\", path: \"a\", input: MessagePack([144]), \
                 after: Some(Position { epoch: \"e\", offset: 7, proof: None }), credit: Some(64), shared: false }",
            ),
            (
                b"\x83\xa4type\xa9subscribe\xa2id\xa1s\xa4path\xa1a",
                "Subscribe { id: \"s\", path: \"a\", input: MessagePack([192]), after: None, credit: None, shared: false }",
            ),
            (b"\x83\xa4type\xa6credit\xa2id\xa1s\xa4more\xd3\0\0\0\0\0\0\0\x20", "Credit { id: \"s\", more: 32 }"),
            (b"\x82\xa4type\xabunsubscribe\xa2id\xa1s", "Unsubscribe { id: \"s\" }"),
            (b"\x83\xa4type\xa6result\xa2id\xa1c\xa4data\xc3", "Reply { id: \"c\", data: MessagePack([195]) }"),
            (b"\x82\xa4type\xa6result\xa2id\xa1c", "Reply { id: \"c\", data: MessagePack([192]) }"),
            (
                b"\x83\xa4type\xa5error\xa2id\xa1c\xa5error\x82\xa4code\xa9NOT_FOUND\xa7message\xa2no",
                "Error { id: \"c\", error: NOT_FOUND: no }",
            ),
        ] {
            let data = binary(frame);
            assert_eq!(format!("{:?}", MessagePack.decode(&data).unwrap()), expected, "{}", frame.escape_ascii());
        }
    }

    #[test]
    fn nothing_of_a_plain_call_is_copied() {
        let data = binary(b"\x84\xa4type\xa4call\xa2id\xa11\xa4path\xa3a.b\xa5input\x07");
        let Packet::Call { id, path, input, .. } = MessagePack.decode(&data).unwrap() else { panic!() };
        assert!(matches!((id, path), (Cow::Borrowed("1"), Cow::Borrowed("a.b"))));
        assert!(matches!(input, Value::MessagePack(Cow::Borrowed(b"\x07"))));
    }

    /// Values that JSON cannot express.
    #[test]
    fn text_is_a_string_of_utf_8_and_no_byte_string() {
        for (field, what) in [
            (&b"\xa4path\xc4\x01a"[..], "the field \"path\" must be a string or an array of strings"),
            (b"\xa4path\xa1\xff", "the field \"path\" is not UTF-8"),
            (b"\xa4path\x91\xa1\xff", "the field \"path\": [0]: a string that is not UTF-8"),
            (b"\xa4path\x91\xc4\x01a", "the field \"path\": [0]: invalid type: byte array, expected a string"),
            (b"\xa4path\xd4\x05\0", "the field \"path\" must be a string or an array of strings"),
            (
                b"\xa5after\x82\xa5epoch\xc4\x01e\xa6offset\x07",
                "the field \"after\": epoch: invalid type: byte array, expected a string",
            ),
            (
                b"\xa5after\x82\xa5epoch\xa1e\xa6offset\xcb\x3f\xe0\0\0\0\0\0\0",
                "the field \"after\": offset: invalid type: floating point `0.5`, expected an integer from 0 to \
                 18446744073709551615, or its digits",
            ),
            (b"\xa5after\xc4\x01e", "the field \"after\" must be an object"),
            (b"\xa6credit\xca\x3f\0\0\0", "the field \"credit\" must be an integer from 0 to 4294967295"),
        ] {
            let path: &[u8] = if field.starts_with(b"\xa4path") { b"" } else { b"\xa4path\xa1a" };
            let fields = if path.is_empty() { b"\x83" } else { b"\x84" };
            let frame = [&fields[..], b"\xa4type\xa9subscribe\xa2id\xa11", path, field].concat();
            let data = binary(&frame);
            let Packet::Invalid { id, error } = MessagePack.decode(&data).unwrap() else { panic!("{what}") };
            assert_eq!((&*id, error.to_string()), ("1", format!("PARSE_ERROR: {what}")));
        }
        assert_eq!(refusal(b"\x82\xa4type\xa6cancel\xa2id\xa1\xff"), "PARSE_ERROR: the field \"id\" is not UTF-8");
        assert_eq!(
            refusal(b"\x82\xa4type\xa6cancel\xa2id\xc4\x011"),
            "PARSE_ERROR: the field \"id\" must be a string"
        );
    }

    #[test]
    fn every_frame_to_a_client_is_written() {
        let (position, gap) = (Position::new("e", 8), Gap::new(3, "overflow"));
        let between = gap.clone().with_range(8, 256);
        for (packet, expected) in [
            (
                Outgoing::Data { id: "s1", data: &[1, 2], position: None, event: Some("unseen") },
                &b"\x83\xa4type\xa4data\xa2id\xa2s1\xa4data\x92\x01\x02"[..],
            ),
            (
                Outgoing::Data { id: "s1", data: &(), position: Some(&position), event: None },
                b"\x85\xa4type\xa4data\xa2id\xa2s1\xa4data\xc0\xa6offset\x08\xa5epoch\xa1e",
            ),
            (Outgoing::Complete { id: "s1" }, b"\x82\xa4type\xa8complete\xa2id\xa2s1"),
            (
                Outgoing::Reply { id: "1", data: &"o", wrote: &[] },
                b"\x83\xa4type\xa6result\xa2id\xa11\xa4data\xa1o",
            ),
            (Outgoing::Progress { id: "1", data: &7 }, b"\x83\xa4type\xa8progress\xa2id\xa11\xa4data\x07"),
            (
                Outgoing::Call { id: "c1", path: "a.b", input: &true, timeout: Duration::from_secs(30) },
                b"\x85\xa4type\xa4call\xa2id\xa2c1\xa4path\xa3a.b\xa5input\xc3\xa9timeoutMs\xcd\x75\x30",
            ),
            (Outgoing::Cancel { id: "c1" }, b"\x82\xa4type\xa6cancel\xa2id\xa2c1"),
            (
                Outgoing::Reauthenticate { within: Duration::from_secs(30) },
                b"\x82\xa4type\xaereauthenticate\xa8withinMs\xcd\x75\x30",
            ),
            (
                Outgoing::Gap { id: Some("s1"), topic: None, gap: &between },
                b"\x86\xa4type\xa3gap\xa2id\xa2s1\xa5count\x03\xa4from\x08\xa2to\xcd\x01\0\xa5cause\xa8overflow",
            ),
            (
                Outgoing::Gap { id: None, topic: Some("prices"), gap: &gap },
                b"\x84\xa4type\xa3gap\xa5topic\xa6prices\xa5count\x03\xa5cause\xa8overflow",
            ),
        ] {
            let mut out = Vec::new();
            assert_eq!(MessagePack.encode(&packet, &mut out).unwrap(), Some(Kind::Binary));
            assert_eq!(out, expected, "{}", out.escape_ascii());
        }
    }
}
