use super::{
    Encode, Outgoing, Packet, Protocol, Value,
    envelope::{self, Raw, Shape, parse_error, twice},
    value::unsupported,
};
use crate::{
    error::Error,
    item::{Offset, Position},
    message::{Data, Kind},
    whole::whole_of_json,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, time::Duration};

/// The JSON form of the native protocol, `realtime.v1.json`: text messages, one object each.
///
/// The fields are those of `docs/protocol.md`.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Protocol for Json {
    fn subprotocol(&self) -> Option<&'static str> {
        Some("realtime.v1.json")
    }

    fn decode<'a>(&self, data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
        let Data::Text(text) = data else { return Err(unsupported(Kind::Binary)) };
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        if text.starts_with(MESSAGE) {
            return Ok(Packet::Message(Value::JsonFrame(text)));
        }
        match read_call(text) {
            Some(call) => Ok(call),
            None => read_frame(text),
        }
    }

    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
        match packet {
            Outgoing::Welcome { connection, heartbeat, message_bytes, schema } => {
                out.extend_from_slice(br#"{"type":"welcome","connection":"#);
                connection.to_string().encode_json(out)?;
                out.extend_from_slice(br#","heartbeatMs":"#);
                out.extend_from_slice(heartbeat.as_millis().to_string().as_bytes());
                out.extend_from_slice(br#","messageBytes":"#);
                out.extend_from_slice(message_bytes.to_string().as_bytes());
                if let Some(schema) = schema {
                    out.extend_from_slice(br#","schema":"#);
                    write_str(schema, out)?;
                }
            }
            Outgoing::Message(value) => {
                out.extend_from_slice(MESSAGE.as_bytes());
                value.encode_json(out)?;
            }
            Outgoing::Event { name, data } => {
                out.extend_from_slice(br#"{"type":"event","name":"#);
                write_str(name, out)?;
                out.extend_from_slice(br#","data":"#);
                data.encode_json(out)?;
            }
            Outgoing::Error { id, error } => {
                out.extend_from_slice(br#"{"type":"error","#);
                if let Some(id) = id {
                    out.extend_from_slice(br#""id":"#);
                    write_str(id, out)?;
                    out.push(b',');
                }
                out.extend_from_slice(br#""error":"#);
                serde_json::to_writer(&mut *out, error).map_err(Error::internal)?;
            }
            Outgoing::Data { id, data, position, event: _ } => {
                write_data("data", id, *data, out)?;
                if let Some(position) = position {
                    write_position(position, out)?;
                }
            }
            Outgoing::Subscribed { id, topic, position, shared, resumed, state } => {
                begin("subscribed", id, out)?;
                out.extend_from_slice(br#","topic":"#);
                write_str(topic, out)?;
                write_position(position, out)?;
                if *shared {
                    out.extend_from_slice(br#","shared":true"#);
                }
                if let Some(resumed) = resumed {
                    out.extend_from_slice(br#","resumed":"#);
                    resumed.encode_json(out)?;
                }
                if *state {
                    out.extend_from_slice(br#","state":true"#);
                }
            }
            Outgoing::Entry { topic, data, position } => {
                out.extend_from_slice(br#"{"type":"data","topic":"#);
                write_str(topic, out)?;
                out.extend_from_slice(br#","data":"#);
                data.encode_json(out)?;
                write_position(position, out)?;
            }
            Outgoing::Followed { topic, value, position } => {
                out.extend_from_slice(MESSAGE.as_bytes());
                value.encode_json(out)?;
                out.extend_from_slice(br#","topic":"#);
                write_str(topic, out)?;
                write_position(position, out)?;
            }
            Outgoing::Complete { id } => begin("complete", id, out)?,
            Outgoing::Reply { id, data, wrote } => {
                write_data("result", id, *data, out)?;
                if !wrote.is_empty() {
                    out.extend_from_slice(br#","wrote":"#);
                    serde_json::to_writer(&mut *out, wrote).map_err(Error::internal)?;
                }
            }
            Outgoing::Progress { id, data } => write_data("progress", id, *data, out)?,
            Outgoing::Call { id, path, input, timeout } => {
                begin("call", id, out)?;
                out.extend_from_slice(br#","path":"#);
                write_str(path, out)?;
                out.extend_from_slice(br#","input":"#);
                input.encode_json(out)?;
                out.extend_from_slice(br#","timeoutMs":"#);
                write_number(timeout.as_millis() as u64, out)?;
            }
            Outgoing::Cancel { id } => begin("cancel", id, out)?,
            Outgoing::Gap { id, topic, gap } => {
                out.extend_from_slice(br#"{"type":"gap""#);
                if let Some(id) = id {
                    out.extend_from_slice(br#","id":"#);
                    write_str(id, out)?;
                }
                if let Some(topic) = topic {
                    out.extend_from_slice(br#","topic":"#);
                    write_str(topic, out)?;
                }
                out.extend_from_slice(br#","count":"#);
                write_number(gap.count, out)?;
                if let Some(from) = gap.from {
                    out.extend_from_slice(br#","from":"#);
                    write_offset(from, out)?;
                }
                if let Some(to) = gap.to {
                    out.extend_from_slice(br#","to":"#);
                    write_offset(to, out)?;
                }
                out.extend_from_slice(br#","cause":"#);
                write_str(&gap.cause, out)?;
            }
            Outgoing::Opened => return Ok(None),
            Outgoing::Reauthenticate { within } => {
                out.extend_from_slice(br#"{"type":"reauthenticate","withinMs":"#);
                out.extend_from_slice(within.as_millis().to_string().as_bytes());
            }
            Outgoing::Pong => out.extend_from_slice(br#"{"type":"pong""#),
        }
        out.push(b'}');
        Ok(Some(Kind::Text))
    }
}

/// The beginning of a message's frame in the usual form. Then it is not read twice, once
/// for its fields and once for the value: the value's type finds the end of it.
const MESSAGE: &str = r#"{"type":"message","value":"#;

/// The value of a frame that begins like [`MESSAGE`] and what follows it. `None` where the value is
/// not a `T` or the frame goes on behind it: then the long way tells what it is.
pub(super) fn parse_message<T: DeserializeOwned>(frame: &str) -> Option<T> {
    let value = frame.strip_prefix(MESSAGE)?;
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<T>();
    let parsed = values.next()?.ok()?;
    let end = value.get(values.byte_offset()..)?;
    (end.trim_ascii() == "}").then_some(parsed)
}

/// A call that is written as most are: with these fields, in this order, and nothing to unescape in its names. `None`
/// for any other frame, and for what is wrong: then the long way tells what it is.
fn read_call(text: &str) -> Option<Packet<'_>> {
    let (id, rest) = split_plain(text.strip_prefix(CALL)?)?;
    let (path, rest) = split_plain(rest.strip_prefix(PATH)?)?;
    let input = rest.strip_prefix(INPUT)?;
    let mut values = serde_json::Deserializer::from_str(input).into_iter::<&RawValue>();
    let value = values.next()?.ok()?.get();
    if input.get(values.byte_offset()..)? != "}" {
        return None;
    }
    envelope::read_call(id, path, value)
}

/// Some libraries write it before any text; a parser may pass over it (RFC 8259, section 8.1).
const BYTE_ORDER_MARK: char = '\u{feff}';

const CALL: &str = r#"{"type":"call","id":""#;
const PATH: &str = r#","path":""#;
const INPUT: &str = r#","input":"#;

/// A string's content, where it stands there as it is, and what follows its closing quote.
fn split_plain(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
    let after = text[end..].strip_prefix('"')?;
    Some((&text[..end], after))
}

/// The field `timeoutMs`.
pub fn read_timeout(json: &RawValue) -> Result<Duration, Error> {
    envelope::read_timeout(json.get())
}

/// A frame as a packet, with its value found.
pub(super) fn read_frame(text: &str) -> Result<Packet<'_>, Error> {
    let Envelope(envelope) = serde_json::from_str(text).map_err(parse_error)?;
    envelope.into_packet()
}

/// The fields of a frame; those that are not known are skipped.
struct Envelope<'a>(envelope::Envelope<'a, &'a str>);

/// By hand: the derived form takes arrays as well.
impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut envelope = envelope::Envelope::default();
        while let Some(Text(key)) = map.next_key()? {
            let known = if key == "type" {
                envelope.kind.replace(map.next_value::<Text<'_>>()?.0).is_some()
            } else if let Some(field) = envelope.field(&key) {
                field.replace(map.next_value::<&RawValue>()?.get()).is_some()
            } else {
                map.next_value::<IgnoredAny>()?;
                false
            };
            if known {
                return Err(A::Error::custom(twice(&key)));
            }
        }
        Ok(Envelope(envelope))
    }
}

/// Text that is borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of one value, without blanks around it.
impl<'a> Raw<'a> for &'a str {
    const NULL: Self = "null";

    fn shape(self) -> Shape {
        match self.as_bytes().first() {
            Some(b'"') => Shape::Text,
            Some(b'[') => Shape::Array,
            Some(b'{') => Shape::Map,
            _ => Shape::Other,
        }
    }

    fn text(self) -> Result<Cow<'a, str>, &'static str> {
        let quoted = self.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let plain = quoted.ok_or("must be a string")?;
        if memchr::memchr(b'\\', plain.as_bytes()).is_none() {
            return Ok(plain.into());
        }
        // All else that can be wrong with a string was found with the frame.
        serde_json::from_str(self).map(Cow::Owned).map_err(|_| "holds half of a surrogate pair")
    }

    fn integer(self) -> Option<u64> {
        self.parse().ok().or_else(|| whole_of_json(self)?.try_into().ok())
    }

    fn value(self) -> Value<'a> {
        Value::Json(self.into())
    }
}

/// The beginning of a frame that has an id.
fn begin(kind: &str, id: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","id":"#);
    write_str(id, out)
}

/// All of a frame that has an id and data, but for its end.
#[inline]
fn write_data(kind: &str, id: &str, data: &dyn Encode, out: &mut Vec<u8>) -> Result<(), Error> {
    begin(kind, id, out)?;
    out.extend_from_slice(br#","data":"#);
    data.encode_json(out)
}

/// Most are ids and names, with nothing to escape.
fn write_str(text: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    let is_escaped = |byte| byte < b' ' || byte == b'"' || byte == b'\\';
    if !text.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return Ok(());
    }
    serde_json::to_writer(out, text).map_err(Error::internal)
}

fn write_position(Position { epoch, offset, proof }: &Position, out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(br#","offset":"#);
    write_offset(*offset, out)?;
    out.extend_from_slice(br#","epoch":"#);
    write_str(epoch, out)?;
    if let Some(proof) = proof {
        out.extend_from_slice(br#","proof":"#);
        write_str(proof, out)?;
    }
    Ok(())
}

fn write_offset(offset: u64, out: &mut Vec<u8>) -> Result<(), Error> {
    serde_json::to_writer(out, &Offset(offset)).map_err(Error::internal)
}

fn write_number(number: u64, out: &mut Vec<u8>) -> Result<(), Error> {
    serde_json::to_writer(out, &number).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overflow::Gap;

    fn text(text: &str) -> Data<'_> {
        Data::Text(text.into())
    }

    fn refusal(message: &str) -> String {
        match Json.decode(&text(message)) {
            Ok(Packet::Message(value)) => value.located().unwrap_err().to_string(),
            decoded => decoded.unwrap_err().to_string(),
        }
    }

    #[test]
    fn a_message_keeps_its_value_raw() {
        for (frame, expected) in [
            (r#"{"type":"message","value":{"a":[1, 2]}}"#, r#"{"a":[1, 2]}"#),
            (r#" { "value" : null , "type" : "message" , "more": 1 } "#, "null"),
            (r#"{"type":"m\u0065ssage","value":"x"}"#, "\"x\""),
        ] {
            let data = text(frame);
            let Packet::Message(value) = Json.decode(&data).unwrap() else { panic!("{frame}") };
            let Value::Json(value) = value.located().unwrap() else { panic!("{frame}") };
            assert_eq!(value, expected);
        }
    }

    #[test]
    fn what_is_not_a_frame_is_refused_with_the_reason() {
        assert_eq!(refusal("{"), "PARSE_ERROR: EOF while parsing an object at line 1 column 1");
        assert_eq!(refusal(r#"{"type":"nope"}"#), "PARSE_ERROR: unknown type \"nope\"");
        assert_eq!(refusal(r#"{"type":"message"}"#), "INVALID_ARGUMENT: a message needs the field \"value\"");
        let long = format!(r#"{{"type":"event","name":"{}"}}"#, "n".repeat(65));
        assert!(refusal(&long).contains("the field \"name\" has 65 bytes instead of 1 to 64"));
        let huge = format!(r#"{{"type":"{}"}}"#, "é".repeat(1 << 20));
        assert!(refusal(&huge).len() < 400, "a peer's text is not echoed whole");
        assert!(Json.decode(&Data::Binary(b"{}"[..].into())).is_err());
    }

    #[test]
    fn every_frame_of_a_client_is_read() {
        for (frame, expected) in [
            (r#"{"type":"event","name":"A","data":[1, 2]}"#, r#"Event { name: "A", data: Json("[1, 2]") }"#),
            (r#"{"type":"event","name":"A"}"#, r#"Event { name: "A", data: Json("null") }"#),
            (r#"{"type":"ping"}"#, "Ping"),
            (
                r#"{"type":"call","id":"1","path":"a.b","input":7,"timeoutMs":5000,"idempotencyKey":"k"}"#,
                r#"Call { id: "1", path: "a.b", input: Json("7"), timeout: Some(5s), key: Some("k") }"#,
            ),
            (
                r#" { "path" : ["a","\u0062","c"] , "id" : "\u0031" , "type" : "call" } "#,
                r#"Call { id: "1", path: "a.b.c", input: Json("null"), timeout: None, key: None }"#,
            ),
            (r#"{"type":"cancel","id":"1"}"#, r#"Cancel { id: "1" }"#),
            (
                r#"{"type":"subscribe","id":"s","path":"a","input":{"b": 1},"after":{"offset":7,"epoch":"e"},"credit":64}"#,
                "Subscribe { id: \"s\", path: \"a\", input: Json(\"{\\\"b\\\": 1}\"), \
                 after: Some(Position { epoch: \"e\", offset: 7, proof: None }), credit: Some(64), shared: false }",
            ),
            (
                r#"{"type":"subscribe","id":"s","path":"a"}"#,
                r#"Subscribe { id: "s", path: "a", input: Json("null"), after: None, credit: None, shared: false }"#,
            ),
            (r#"{"type":"credit","id":"s","more":32}"#, r#"Credit { id: "s", more: 32 }"#),
            (r#"{"type":"unsubscribe","id":"s"}"#, r#"Unsubscribe { id: "s" }"#),
            (r#"{"type":"result","id":"c","data":true}"#, r#"Reply { id: "c", data: Json("true") }"#),
            (r#"{"type":"result","id":"c"}"#, r#"Reply { id: "c", data: Json("null") }"#),
            (
                r#"{"type":"error","id":"c","error":{"code":"NOT_FOUND","message":"no \"x\""}}"#,
                r#"Error { id: "c", error: NOT_FOUND: no "x" }"#,
            ),
        ] {
            assert_eq!(format!("{:?}", Json.decode(&text(frame)).unwrap()), expected, "{frame}");
        }
    }

    #[test]
    fn nothing_of_a_plain_call_is_copied() {
        let data = text(r#"{"type":"call","id":"1","path":"a.b","input":[1],"idempotencyKey":"k"}"#);
        let Packet::Call { id, path, input, key, .. } = Json.decode(&data).unwrap() else { panic!() };
        assert!(matches!((id, path, key), (Cow::Borrowed("1"), Cow::Borrowed("a.b"), Some(Cow::Borrowed("k")))));
        assert!(matches!(input, Value::Json(Cow::Borrowed("[1]"))));
    }

    #[test]
    fn every_frame_to_a_client_is_written() {
        let (position, gap) = (Position::new("e\"", 8), Gap::new(3, "overflow"));
        let between = gap.clone().with_range(8, u64::MAX);
        let (id, event) = ("s\n", Some("unseen"));
        for (packet, expected) in [
            (
                Outgoing::Data { id, data: &[1, 2], position: None, event },
                r#"{"type":"data","id":"s\n","data":[1,2]}"#,
            ),
            (
                Outgoing::Data { id: "s1", data: &(), position: Some(&position), event: None },
                r#"{"type":"data","id":"s1","data":null,"offset":8,"epoch":"e\""}"#,
            ),
            (Outgoing::Complete { id: "s1" }, r#"{"type":"complete","id":"s1"}"#),
            (Outgoing::Reply { id: "1", data: &"o", wrote: &[] }, r#"{"type":"result","id":"1","data":"o"}"#),
            (Outgoing::Progress { id: "1", data: &0.5 }, r#"{"type":"progress","id":"1","data":0.5}"#),
            (
                Outgoing::Call { id: "c1", path: "a.b", input: &true, timeout: Duration::from_secs(30) },
                r#"{"type":"call","id":"c1","path":"a.b","input":true,"timeoutMs":30000}"#,
            ),
            (Outgoing::Cancel { id: "c1" }, r#"{"type":"cancel","id":"c1"}"#),
            (
                Outgoing::Reauthenticate { within: Duration::from_secs(30) },
                r#"{"type":"reauthenticate","withinMs":30000}"#,
            ),
            (
                Outgoing::Gap { id: Some("s1"), topic: None, gap: &between },
                r#"{"type":"gap","id":"s1","count":3,"from":8,"to":"18446744073709551615","cause":"overflow"}"#,
            ),
            (
                Outgoing::Gap { id: None, topic: Some("prices"), gap: &gap },
                r#"{"type":"gap","topic":"prices","count":3,"cause":"overflow"}"#,
            ),
        ] {
            let mut out = Vec::new();
            assert_eq!(Json.encode(&packet, &mut out).unwrap(), Some(Kind::Text));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn the_quick_way_takes_no_frame_that_the_long_way_reads_otherwise() {
        for (end, expected) in [
            ("}", Some(7)),
            (" } ", Some(7)),
            (r#","more":1}"#, Some(7)),
            ("", None),
            ("}}", None),
            ("8}", Some(78)),
            (" 8}", None),
            (r#","value":8}"#, None),
            (r#","type":"ping"}"#, None),
        ] {
            let data = Data::Text(format!("{MESSAGE}7{end}").into());
            let Packet::Message(value) = Json.decode(&data).unwrap() else { panic!("{end}") };
            assert_eq!(value.parse::<u32>().ok(), expected, "{end}");
        }
    }

    #[test]
    fn the_quick_way_takes_no_call_that_the_long_way_reads_otherwise() {
        let long_id = "i".repeat(65);
        for (frame, is_quick) in [
            (r#"{"type":"call","id":"1","path":"a.b","input":[1,{"x":"}"}]}"#, true),
            (r#"{"type":"call","id":"1","path":"a","input":null}"#, true),
            (r#"{"type":"call","id":"\u0031","path":"a","input":1}"#, false),
            (r#"{"type":"call","id":"1","path":"a\"","input":1}"#, false),
            ("{\"type\":\"call\",\"id\":\"\n\",\"path\":\"a\",\"input\":1}", false),
            (r#"{"type":"call","id":"1","path":["a"],"input":1}"#, false),
            (r#"{"type":"call","id":"","path":"a","input":1}"#, false),
            (&format!(r#"{{"type":"call","id":"{long_id}","path":"a","input":1}}"#), false),
            (r#"{"type":"call","id":"1","path":"a..b","input":1}"#, false),
            (r#"{"type":"call","id":"1","path":"a","input":1,"timeoutMs":5}"#, false),
            (r#"{"type":"call","id":"1","path":"a","input":1,"id":"2"}"#, false),
            (r#"{"type":"call","id":"1","path":"a","input":1} "#, false),
            (r#"{"type":"call","id":"1","path":"a","input":1"#, false),
            (r#"{"type":"call","id":"1","path":"a","input":1}}"#, false),
            (r#"{"type":"call","id":"1","path":"a","input":}"#, false),
            (r#"{"type":"call","id":"1","path":"a","input":01}"#, false),
            (r#"{"type":"call","id":"1","path":"a"}"#, false),
            (r#"{"type":"call","id":"1"#, false),
        ] {
            let quick = read_call(frame).map(|packet| format!("{packet:?}"));
            assert_eq!(quick.is_some(), is_quick, "{frame}");
            if quick.is_some() {
                assert_eq!(quick, read_frame(frame).ok().map(|packet| format!("{packet:?}")), "{frame}");
            }
        }
    }

    #[test]
    fn depth_is_no_matter_until_a_type_reads_it() {
        let deep = format!(r#"{{"type":"message","value":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        let data = text(&deep);
        let Packet::Message(value) = Json.decode(&data).unwrap() else { panic!() };
        let error = value.parse::<serde_json::Value>().unwrap_err();
        assert!(error.message().contains("recursion limit exceeded"), "{error}");
    }
}
