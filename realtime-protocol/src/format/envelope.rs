use super::{Packet, Secret, Value};
use crate::{
    error::{Code, Error},
    item::{MAX_EPOCH_BYTES, MAX_PROOF_BYTES, Offset, Position, is_proof},
    names::check_path,
    text::clip,
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt, time::Duration};

/// The fields of all client frames, in any form of the native protocol. They stay raw, whatever their
/// depth, until the frame's type asks for them; those that it does not have are not looked at.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a, R> {
    pub(super) kind: Option<Cow<'a, str>>,
    value: Option<R>,
    name: Option<R>,
    data: Option<R>,
    id: Option<R>,
    path: Option<R>,
    input: Option<R>,
    timeout: Option<R>,
    key: Option<R>,
    after: Option<R>,
    credit: Option<R>,
    shared: Option<R>,
    more: Option<R>,
    error: Option<R>,
    token: Option<R>,
}

impl<'a, R: Raw<'a>> Envelope<'a, R> {
    /// Where the field of this name goes; `None` for a name that is not known.
    pub(super) fn field(&mut self, name: &str) -> Option<&mut Option<R>> {
        Some(match name {
            "value" => &mut self.value,
            "name" => &mut self.name,
            "data" => &mut self.data,
            "id" => &mut self.id,
            "path" => &mut self.path,
            "input" => &mut self.input,
            "timeoutMs" => &mut self.timeout,
            "idempotencyKey" => &mut self.key,
            "after" => &mut self.after,
            "credit" => &mut self.credit,
            "shared" => &mut self.shared,
            "more" => &mut self.more,
            "error" => &mut self.error,
            "token" => &mut self.token,
            _ => return None,
        })
    }

    /// Returns the packet; an optional field that is `null` is absent.
    pub(super) fn into_packet(mut self) -> Result<Packet<'a>, Error> {
        let kind = self.kind.take().ok_or_else(|| parse_error("a frame needs the field \"type\""))?;
        Ok(match &*kind {
            "message" => Packet::Message(require(self.value, "message", "value")?.value()),
            "event" => {
                let name = require(self.name, "event", "name")?;
                Packet::Event { name: text(name, "name", MAX_NAME_BYTES)?, data: or_null(self.data) }
            }
            "ping" => Packet::Ping,
            "authenticate" => {
                let token = require(self.token, "authenticate", "token")?;
                Packet::Authenticate { token: Secret(text(token, "token", MAX_TOKEN_BYTES)?) }
            }
            "call" => self.call(self.id("call")?),
            "cancel" => Packet::Cancel { id: self.id("cancel")? },
            "subscribe" => self.subscribe(self.id("subscribe")?),
            "unsubscribe" => Packet::Unsubscribe { id: self.id("unsubscribe")? },
            "credit" => {
                let (id, more) = (self.id("credit")?, require(self.more, "credit", "more")?);
                Packet::Credit { id, more: integer(more, "more")? }
            }
            "result" => Packet::Reply { id: self.id("result")?, data: or_null(self.data) },
            "error" => {
                let (id, error) = (self.id("error")?, require(self.error, "error", "error")?);
                Packet::Error { id, error: object(error, "error")? }
            }
            other => {
                let what = format!("unknown type {:?}", clip(other, ECHOED_BYTES));
                return Err(Error::new(Code::PARSE_ERROR, what));
            }
        })
    }

    fn call(&self, id: Cow<'a, str>) -> Packet<'a> {
        let read = || Ok((self.path("call")?, self.timeout()?, self.key()?));
        match read() {
            Ok((path, timeout, key)) => Packet::Call { id, path, input: or_null(self.input), timeout, key },
            Err(error) => Packet::Invalid { id, error },
        }
    }

    fn subscribe(&self, id: Cow<'a, str>) -> Packet<'a> {
        let read = || Ok((self.path("subscribe")?, self.after()?, self.credit()?, self.shared()?));
        match read() {
            Ok((path, after, credit, shared)) => {
                let after = after.map(Box::new);
                Packet::Subscribe { id, path, input: or_null(self.input), after, credit, shared }
            }
            Err(error) => Packet::Invalid { id, error },
        }
    }

    fn id(&self, kind: &str) -> Result<Cow<'a, str>, Error> {
        text(require(self.id, kind, "id")?, "id", MAX_NAME_BYTES)
    }

    /// A text with dots, or its parts.
    fn path(&self, kind: &str) -> Result<Cow<'a, str>, Error> {
        let raw = require(self.path, kind, "path")?;
        let path = match raw.shape() {
            Shape::Text => raw.text().map_err(|what| wrong("path", what))?,
            Shape::Array => {
                let Joined(path) = raw.value().parse().map_err(|error| wrong_in("path", &error))?;
                path.into()
            }
            Shape::Map | Shape::Other => return Err(wrong("path", "must be a string or an array of strings")),
        };
        check_path(&path).map_err(|error| wrong_in("path", &error))?;
        Ok(path)
    }

    fn timeout(&self) -> Result<Option<Duration>, Error> {
        self.timeout.filter(is_given).map(read_timeout).transpose()
    }

    fn key(&self) -> Result<Option<Cow<'a, str>>, Error> {
        self.key.filter(is_given).map(|raw| text(raw, "idempotencyKey", MAX_KEY_BYTES)).transpose()
    }

    fn after(&self) -> Result<Option<Position>, Error> {
        let Some(raw) = self.after.filter(is_given) else { return Ok(None) };
        let After { epoch: Text(epoch), offset: Offset(offset), proof } = object(raw, "after")?;
        check_length("after.epoch", epoch.len(), MAX_EPOCH_BYTES)?;
        let proof = proof.map(|Text(proof)| proof);
        if !proof.as_deref().is_none_or(is_proof) {
            let what = format!("must be 1 to {MAX_PROOF_BYTES} ASCII letters and digits");
            return Err(wrong("after.proof", &what));
        }
        Ok(Some(Position { epoch, offset, proof }))
    }

    fn shared(&self) -> Result<bool, Error> {
        let Some(raw) = self.shared.filter(is_given) else { return Ok(false) };
        raw.value().parse().map_err(|_| wrong("shared", "must be true or false"))
    }

    fn credit(&self) -> Result<Option<u32>, Error> {
        self.credit.filter(is_given).map(|raw| integer(raw, "credit")).transpose()
    }
}

/// A call of nothing but these fields; `None` where one of them is wrong.
pub(super) fn read_call<'a, R: Raw<'a>>(id: &'a str, path: &'a str, input: R) -> Option<Packet<'a>> {
    check_length("id", id.len(), MAX_NAME_BYTES).ok()?;
    check_path(path).ok()?;
    Some(Packet::Call { id: id.into(), path: path.into(), input: input.value(), timeout: None, key: None })
}

/// A field's value in one form of the protocol: whole and well-formed, and not yet read.
pub(super) trait Raw<'a>: Copy + PartialEq {
    const NULL: Self;

    fn shape(self) -> Shape;

    /// The text, borrowed where it stands there as it is; or what is wrong, as "must be a string".
    fn text(self) -> Result<Cow<'a, str>, &'static str>;

    /// The number, where it is an integer that is not below zero, or a float that is one.
    fn integer(self) -> Option<u64>;

    fn value(self) -> Value<'a>;
}

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Array,
    Map,
    Other,
}

fn require<R>(raw: Option<R>, kind: &str, field: &str) -> Result<R, Error> {
    raw.ok_or_else(|| {
        let article = if kind.starts_with(['e', 'u']) { "an" } else { "a" };
        Error::invalid_argument(format!("{article} {kind} needs the field {field:?}"))
    })
}

/// Reads the time that a caller waits.
pub(super) fn read_timeout<'a>(raw: impl Raw<'a>) -> Result<Duration, Error> {
    integer(raw, "timeoutMs").map(Duration::from_millis)
}

/// Many languages write a field that is left out as null.
fn is_given<'a, R: Raw<'a>>(raw: &R) -> bool {
    *raw != R::NULL
}

fn or_null<'a, R: Raw<'a>>(raw: Option<R>) -> Value<'a> {
    raw.unwrap_or(R::NULL).value()
}

/// Text of 1 to `most` bytes.
fn text<'a>(raw: impl Raw<'a>, field: &str, most: usize) -> Result<Cow<'a, str>, Error> {
    let text = raw.text().map_err(|what| wrong(field, what))?;
    check_length(field, text.len(), most)?;
    Ok(text)
}

fn check_length(field: &str, len: usize, most: usize) -> Result<(), Error> {
    match (1..=most).contains(&len) {
        true => Ok(()),
        false => Err(wrong(field, &format!("has {len} bytes instead of 1 to {most}"))),
    }
}

fn integer<'a, T: TryFrom<u64> + Bounded>(raw: impl Raw<'a>, field: &str) -> Result<T, Error> {
    let number = raw.integer().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| wrong(field, &format!("must be an integer from 0 to {}", T::MAX)))
}

trait Bounded {
    const MAX: u64;
}

impl Bounded for u32 {
    const MAX: u64 = u32::MAX as u64;
}

impl Bounded for u64 {
    const MAX: u64 = u64::MAX;
}

/// Reads a map. Derived deserializers accept arrays as well, so anything else is refused first.
fn object<'a, T: DeserializeOwned + 'static>(raw: impl Raw<'a>, field: &str) -> Result<T, Error> {
    if raw.shape() != Shape::Map {
        return Err(wrong(field, "must be an object"));
    }
    raw.value().parse().map_err(|error| wrong_in(field, &error))
}

/// A [`Position`] on the wire.
#[derive(Deserialize)]
struct After {
    epoch: Text,
    offset: Offset,
    #[serde(default)]
    proof: Option<Text>,
}

/// Text from a string only: serde's own takes byte strings as well.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ReadText)
    }
}

struct ReadText;

impl Visitor<'_> for ReadText {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }
}

/// The parts of a path, with dots between them.
struct Joined(String);

impl<'de> Deserialize<'de> for Joined {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(JoinParts)
    }
}

struct JoinParts;

impl<'de> Visitor<'de> for JoinParts {
    type Value = Joined;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of strings")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Joined, A::Error> {
        let mut path = None;
        while let Some(Text(part)) = seq.next_element()? {
            // With it, two paths would be one.
            if part.contains('.') {
                return Err(A::Error::custom(format_args!(
                    "a part with a dot in it: {:?}",
                    clip(&part, ECHOED_BYTES)
                )));
            }
            path = Some(match path {
                None => part,
                Some(before) => before + "." + part.as_str(),
            });
        }
        Ok(Joined(path.unwrap_or_default()))
    }
}

/// Names and ids are keys of maps: a peer must not choose their size.
const MAX_NAME_BYTES: usize = 64;

/// Keys of calls that are run once are kept.
const MAX_KEY_BYTES: usize = 128;

/// As much as web servers take of a header.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Of two fields with one name it would depend on the reader which one counts.
pub(super) fn twice(field: &str) -> String {
    format!("the field {field:?} twice")
}

pub(super) fn parse_error(what: impl fmt::Display) -> Error {
    Error::new(Code::PARSE_ERROR, clip(&what.to_string(), ECHOED_BYTES).to_owned())
}

fn wrong(field: &str, what: &str) -> Error {
    parse_error(format_args!("the field {field:?} {what}"))
}

/// An error inside a field; its text is already cut.
fn wrong_in(field: &str, error: &Error) -> Error {
    Error::new(Code::PARSE_ERROR, format!("the field {field:?}: {}", error.message()))
}

/// A peer's own text goes back to it in an error only up to here.
const ECHOED_BYTES: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::{Json, MessagePack, Protocol, msgpack},
        message::Data,
    };
    use serde_json::json;

    /// The error for the same frame in either form, with the id where it is reported.
    fn refusal(frame: &serde_json::Value) -> (Option<String>, String) {
        let mut bytes = Vec::new();
        msgpack::write(frame, &mut bytes).unwrap();
        let binary = refused(&MessagePack, &Data::Binary(bytes.into()));
        let text = refused(&Json, &Data::Text(frame.to_string().into()));
        // A place in the text has no meaning in the bytes.
        let words = text.1.split(" at line").next().unwrap().to_owned();
        assert_eq!((text.0, words), binary, "{frame:.100}");
        binary
    }

    fn refused(protocol: &dyn Protocol, data: &Data<'_>) -> (Option<String>, String) {
        match protocol.decode(data) {
            Ok(Packet::Invalid { id, error }) => (Some(id.into_owned()), error.to_string()),
            Ok(packet) => panic!("{packet:?}"),
            Err(error) => (None, error.to_string()),
        }
    }

    #[test]
    fn a_frame_without_what_it_needs_names_the_field() {
        for (frame, field) in [
            (json!({ "type": "message" }), "a message needs the field \"value\""),
            (json!({ "type": "event" }), "an event needs the field \"name\""),
            (json!({ "type": "call", "path": "a" }), "a call needs the field \"id\""),
            (json!({ "type": "cancel" }), "a cancel needs the field \"id\""),
            (json!({ "type": "subscribe", "path": 7 }), "a subscribe needs the field \"id\""),
            (json!({ "type": "unsubscribe" }), "an unsubscribe needs the field \"id\""),
            (json!({ "type": "credit", "more": 1 }), "a credit needs the field \"id\""),
            (json!({ "type": "credit", "id": "1" }), "a credit needs the field \"more\""),
            (json!({ "type": "result", "data": 1 }), "a result needs the field \"id\""),
            (json!({ "type": "error", "error": {} }), "an error needs the field \"id\""),
            (json!({ "type": "error", "id": "1" }), "an error needs the field \"error\""),
        ] {
            assert_eq!(refusal(&frame), (None, format!("INVALID_ARGUMENT: {field}")));
        }
    }

    #[test]
    fn an_id_that_is_none_refuses_the_frame() {
        let long = "i".repeat(65);
        for kind in ["call", "cancel", "subscribe", "unsubscribe", "credit", "result", "error"] {
            for (id, what) in [
                (json!(""), "has 0 bytes instead of 1 to 64"),
                (json!(long), "has 65 bytes instead of 1 to 64"),
                (json!(1), "must be a string"),
                (json!(null), "must be a string"),
                (json!(["1"]), "must be a string"),
                (json!({ "id": "1" }), "must be a string"),
            ] {
                let frame = json!({ "type": kind, "id": id, "path": "a", "more": 1, "error": { "code": "A" } });
                assert_eq!(refusal(&frame), (None, format!("PARSE_ERROR: the field \"id\" {what}")));
            }
        }
    }

    #[test]
    fn what_is_wrong_in_a_call_or_subscription_is_told_with_its_id() {
        let integer = "must be an integer from 0 to 18446744073709551615";
        let short = "must be an integer from 0 to 4294967295";
        for (kind, field, value, what) in [
            ("call", "path", json!(7), " must be a string or an array of strings"),
            ("call", "path", json!({}), " must be a string or an array of strings"),
            ("call", "path", json!(null), " must be a string or an array of strings"),
            ("call", "path", json!(""), ": \"\" is no name: 1 to 256 bytes, with something between its dots"),
            (
                "call",
                "path",
                json!("a..b"),
                ": \"a..b\" is no name: 1 to 256 bytes, with something between its dots",
            ),
            ("call", "path", json!([]), ": \"\" is no name: 1 to 256 bytes, with something between its dots"),
            (
                "call",
                "path",
                json!(["a", ""]),
                ": \"a.\" is no name: 1 to 256 bytes, with something between its dots",
            ),
            (
                "call",
                "path",
                json!(["", "a"]),
                ": \".a\" is no name: 1 to 256 bytes, with something between its dots",
            ),
            ("call", "path", json!(["a", "b.c"]), ": a part with a dot in it: \"b.c\""),
            ("call", "path", json!(["a", 7]), ": [1]: invalid type: integer `7`, expected a string"),
            ("call", "path", json!([["a"]]), ": [0]: invalid type: sequence, expected a string"),
            ("call", "timeoutMs", json!(-1), &format!(" {integer}")),
            ("call", "timeoutMs", json!(0.5), &format!(" {integer}")),
            ("call", "timeoutMs", json!("1"), &format!(" {integer}")),
            ("call", "timeoutMs", json!(-0.0), &format!(" {integer}")),
            ("call", "timeoutMs", json!(-1.0), &format!(" {integer}")),
            ("call", "timeoutMs", json!(9_007_199_254_740_992.0), &format!(" {integer}")),
            ("call", "idempotencyKey", json!(""), " has 0 bytes instead of 1 to 128"),
            ("call", "idempotencyKey", json!("k".repeat(129)), " has 129 bytes instead of 1 to 128"),
            ("call", "idempotencyKey", json!(1), " must be a string"),
            (
                "subscribe",
                "path",
                json!("."),
                ": \".\" is no name: 1 to 256 bytes, with something between its dots",
            ),
            ("subscribe", "credit", json!(-1), &format!(" {short}")),
            ("subscribe", "credit", json!(1_u64 << 32), &format!(" {short}")),
            ("subscribe", "credit", json!(4_294_967_296.0), &format!(" {short}")),
            ("subscribe", "credit", json!([1]), &format!(" {short}")),
            ("subscribe", "shared", json!(1), " must be true or false"),
            ("subscribe", "shared", json!("true"), " must be true or false"),
            ("subscribe", "after", json!(7), " must be an object"),
            ("subscribe", "after", json!(["e", 7]), " must be an object"),
            ("subscribe", "after", json!({}), ": missing field `epoch`"),
            ("subscribe", "after", json!({ "epoch": "e" }), ": missing field `offset`"),
            ("subscribe", "after", json!({ "offset": 7 }), ": missing field `epoch`"),
            (
                "subscribe",
                "after",
                json!({ "epoch": 1, "offset": 7 }),
                ": epoch: invalid type: integer `1`, expected a string",
            ),
            (
                "subscribe",
                "after",
                json!({ "epoch": "e", "offset": -7 }),
                ": offset: invalid value: integer `-7`, expected an integer from 0 to 18446744073709551615, or its digits",
            ),
        ] {
            let mut frame = json!({ "type": kind, "id": "1", "path": "a" });
            frame[field] = value;
            assert_eq!(refusal(&frame), (Some("1".into()), format!("PARSE_ERROR: the field \"{field}\"{what}")));
        }
        for (epoch, bytes) in [(String::new(), 0), ("e".repeat(65), 65)] {
            let after = json!({ "epoch": epoch, "offset": 7 });
            let frame = json!({ "type": "subscribe", "id": "1", "path": "a", "after": after });
            let what = format!("PARSE_ERROR: the field \"after.epoch\" has {bytes} bytes instead of 1 to 64");
            assert_eq!(refusal(&frame), (Some("1".into()), what));
        }
        for proof in [String::new(), "p".repeat(17), "é".into(), "a:b".into()] {
            let after = json!({ "epoch": "e", "offset": 7, "proof": proof });
            let frame = json!({ "type": "subscribe", "id": "1", "path": "a", "after": after });
            let what = "PARSE_ERROR: the field \"after.proof\" must be 1 to 16 ASCII letters and digits";
            assert_eq!(refusal(&frame), (Some("1".into()), what.into()));
        }
        for kind in ["call", "subscribe"] {
            let what = format!("INVALID_ARGUMENT: a {kind} needs the field \"path\"");
            assert_eq!(refusal(&json!({ "type": kind, "id": "1" })), (Some("1".into()), what));
        }
    }

    #[test]
    fn what_is_wrong_in_another_frame_names_the_field() {
        for (frame, what) in [
            (json!({ "type": "event", "name": "" }), "\"name\" has 0 bytes instead of 1 to 64"),
            (json!({ "type": "event", "name": 1 }), "\"name\" must be a string"),
            (
                json!({ "type": "credit", "id": "1", "more": "x" }),
                "\"more\" must be an integer from 0 to 4294967295",
            ),
            (json!({ "type": "error", "id": "1", "error": null }), "\"error\" must be an object"),
            (json!({ "type": "error", "id": "1", "error": "x" }), "\"error\" must be an object"),
            (
                json!({ "type": "error", "id": "1", "error": { "code": "A", "retryAfterMs": 0.5 } }),
                "\"error\": retryAfterMs: invalid value: floating point `0.5`, expected an integer from 0 to 18446744073709551615",
            ),
            (json!({ "type": "error", "id": "1", "error": ["A", "b"] }), "\"error\" must be an object"),
            (json!({ "type": "error", "id": "1", "error": {} }), "\"error\": missing field `code`"),
            (
                json!({ "type": "error", "id": "1", "error": { "code": 1 } }),
                "\"error\": code: invalid type: integer `1`, expected a string",
            ),
        ] {
            assert_eq!(refusal(&frame), (None, format!("PARSE_ERROR: the field {what}")));
        }
    }

    /// The packet that both forms read from a frame.
    fn read(frame: &serde_json::Value) -> String {
        let mut bytes = Vec::new();
        msgpack::write(frame, &mut bytes).unwrap();
        let (binary, text) = (Data::Binary(bytes.into()), Data::Text(frame.to_string().into()));
        let packets = [MessagePack.decode(&binary).unwrap(), Json.decode(&text).unwrap()];
        let [binary, text] = packets.map(|packet| match packet {
            Packet::Error { id, error } => {
                let (details, after) = (error.details(), error.retry_after());
                format!("{id}: {error} {details:?} {} {after:?}", error.is_retryable())
            }
            packet => {
                format!("{packet:?}").replace("MessagePack([192])", "null").replace("Json(\"null\")", "null")
            }
        });
        assert_eq!(binary, text);
        binary
    }

    #[test]
    fn null_is_an_optional_field_that_is_left_out() {
        for (mut frame, optional) in [
            (json!({ "type": "event", "name": "A" }), &["data"][..]),
            (json!({ "type": "call", "id": "1", "path": "a" }), &["input", "timeoutMs", "idempotencyKey"]),
            (json!({ "type": "subscribe", "id": "1", "path": "a" }), &["input", "after", "credit", "shared"]),
            (json!({ "type": "result", "id": "1" }), &["data"]),
        ] {
            let absent = read(&frame);
            for field in optional {
                frame[field] = json!(null);
                assert_eq!(read(&frame), absent, "{field}");
            }
        }
        let mut frame = json!({ "type": "error", "id": "1", "error": { "code": "A" } });
        let absent = read(&frame);
        for field in ["message", "details", "retryable", "retryAfterMs"] {
            frame["error"][field] = json!(null);
            assert_eq!(read(&frame), absent, "{field}");
        }
    }

    #[test]
    fn a_whole_float_is_an_integer() {
        let call = |timeout| json!({ "type": "call", "id": "1", "path": "a", "timeoutMs": timeout });
        let after = |offset| json!({ "epoch": "e", "offset": offset });
        let subscribe = |credit, after| json!({ "type": "subscribe", "id": "1", "path": "a", "credit": credit, "after": after });
        let credit = |more| json!({ "type": "credit", "id": "1", "more": more });
        let error = |after| json!({ "type": "error", "id": "1", "error": { "code": "A", "retryAfterMs": after, "details": 1.0 } });
        for (float, integer) in [
            (call(json!(5e3)), call(json!(5000))),
            (call(json!(9_007_199_254_740_991.0)), call(json!(9_007_199_254_740_991_u64))),
            (subscribe(json!(0.0), after(json!(7.0))), subscribe(json!(0), after(json!(7)))),
            (credit(json!(4_294_967_295.0)), credit(json!(u32::MAX))),
            (error(json!(100.0)), error(json!(100))),
        ] {
            assert_eq!(read(&float), read(&integer));
        }
    }

    /// A field added to one frame does not break the others.
    #[test]
    fn a_field_that_the_frame_does_not_have_is_not_looked_at() {
        for frame in [
            r#"{"type":"ping","id":1,"path":"","more":-1,"after":[]}"#,
            r#"{"type":"cancel","id":"1","name":"","timeoutMs":"x","error":0}"#,
        ] {
            assert!(Json.decode(&Data::Text(frame.into())).is_ok(), "{frame}");
        }
    }
}
