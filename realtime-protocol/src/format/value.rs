use super::{
    Packet,
    json::{parse_message, read_frame},
    msgpack,
};
use crate::{
    error::{Code, Error},
    message::{Data, Kind},
    message::{Message, is, same},
    text::clip,
    whole::without_whole_floats,
};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, fmt};

/// A value that was received and not yet read: its type is the application's.
#[derive(Debug)]
#[non_exhaustive]
pub enum Value<'a> {
    /// JSON text.
    Json(Cow<'a, str>),
    /// The value in a whole frame of the JSON form, whose end is not known yet.
    JsonFrame(&'a str),
    /// One value in MessagePack.
    MessagePack(Cow<'a, [u8]>),
    /// Pairs of a query, percent-encoded.
    Pairs(String),
    /// A whole WebSocket message, in whatever format the application has.
    Whole(Data<'a>),
    /// One value in the format of a [`Protocol`](super::Protocol) that is not built in.
    Other {
        /// The value as it is on the wire.
        bytes: Cow<'a, [u8]>,
        /// Reads it.
        format: &'static dyn ValueFormat,
    },
}

/// Reads values in a format that is not built in, for the [`Protocol`](super::Protocol) that gives them out as
/// [`Value::Other`].
///
/// # Examples
///
/// ```
/// use realtime_protocol::{Error, format::{ReadWith, ValueFormat}};
///
/// #[derive(Debug)]
/// struct Cbor;
///
/// impl ValueFormat for Cbor {
///     fn read(&self, bytes: &[u8], with: ReadWith<'_>) -> Result<(), Error> {
///         let mut deserializer = cbor4ii::serde::Deserializer::new(cbor4ii::core::utils::SliceReader::new(bytes));
///         with(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut deserializer))
///     }
/// }
/// ```
pub trait ValueFormat: fmt::Debug + Sync {
    /// Calls `with` once, with a deserializer of these bytes. Must take time and memory linear in them.
    ///
    /// # Errors
    ///
    /// That of `with`, or what is wrong with the bytes.
    fn read(&self, bytes: &[u8], with: ReadWith<'_>) -> Result<(), Error>;
}

/// Writes a value of the application's type.
pub type WriteWith<'a> = &'a mut dyn FnMut(&dyn erased_serde::Serialize) -> Result<(), Error>;

/// Reads a value of the application's type from a deserializer.
pub type ReadWith<'a> = &'a mut dyn FnMut(&mut dyn erased_serde::Deserializer<'_>) -> Result<(), Error>;

impl<'a> Value<'a> {
    /// The value by itself, where it is still in its frame.
    ///
    /// # Errors
    ///
    /// Those of the frame.
    pub fn located(self) -> Result<Self, Error> {
        let Self::JsonFrame(frame) = self else { return Ok(self) };
        match read_frame(frame)? {
            Packet::Message(value) => Ok(value),
            _ => Err(Error::internal("a message was read as something else")),
        }
    }

    /// The value with nothing borrowed.
    #[doc(hidden)]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Json(json) => Value::Json(json.into_owned().into()),
            Self::JsonFrame(frame) => match read_frame(frame) {
                Ok(Packet::Message(value)) => value.into_owned(),
                // What is wrong with it is told when it is read.
                _ => Value::Json(frame.to_owned().into()),
            },
            Self::MessagePack(bytes) => Value::MessagePack(bytes.into_owned().into()),
            Self::Pairs(pairs) => Value::Pairs(pairs),
            Self::Whole(Data::Text(text)) => Value::Whole(Data::Text(text.into_owned().into())),
            Self::Whole(Data::Binary(bytes)) => Value::Whole(Data::Binary(bytes.into_owned().into())),
            Self::Other { bytes, format } => Value::Other { bytes: bytes.into_owned().into(), format },
        }
    }

    /// The same value, borrowed.
    #[doc(hidden)]
    pub fn reborrow(&self) -> Value<'_> {
        match self {
            Self::Json(json) => Value::Json(Cow::Borrowed(json)),
            Self::JsonFrame(frame) => Value::JsonFrame(frame),
            Self::MessagePack(bytes) => Value::MessagePack(Cow::Borrowed(bytes)),
            Self::Pairs(pairs) => Value::Pairs(pairs.clone()),
            Self::Whole(Data::Text(text)) => Value::Whole(Data::Text(Cow::Borrowed(text))),
            Self::Whole(Data::Binary(bytes)) => Value::Whole(Data::Binary(Cow::Borrowed(bytes))),
            Self::Other { bytes, format } => Value::Other { bytes: Cow::Borrowed(bytes), format: *format },
        }
    }

    /// The value as it is on the wire.
    #[doc(hidden)]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(json) => json.as_bytes(),
            Self::JsonFrame(frame) => frame.as_bytes(),
            Self::MessagePack(bytes) => bytes,
            Self::Pairs(pairs) => pairs.as_bytes(),
            Self::Whole(data) => data.as_bytes(),
            Self::Other { bytes, .. } => bytes,
        }
    }

    /// Bytes that the value takes on the wire.
    #[doc(hidden)]
    #[expect(clippy::len_without_is_empty, reason = "a value has a byte at least")]
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Returns true if a whole message becomes a `T` unchanged.
    #[doc(hidden)]
    pub fn is_whole<T: 'static>() -> bool {
        is::<T, Message>() || is::<T, String>() || is::<T, Bytes>()
    }

    /// Reads the value as a `T`.
    ///
    /// A whole message becomes a `String`, `Bytes` or [`Message`] as it is, and any other type
    /// from JSON.
    ///
    /// Arrays and maps in it may be 127 levels deep.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` that names the field and the position; `UNSUPPORTED_DATA` for text where
    /// the type is binary, and the other way round.
    pub fn parse<T: DeserializeOwned + 'static>(self) -> Result<T, Error> {
        let data = match self {
            Self::Json(json) => return parse_json(&json),
            Self::JsonFrame(frame) => return parse_frame(frame),
            Self::MessagePack(bytes) => return msgpack::parse(&bytes),
            Self::Pairs(pairs) => return parse_pairs(&pairs),
            Self::Other { bytes, format } => return parse_other(&bytes, format),
            Self::Whole(data) => data,
        };
        let found = if is::<T, Message>() {
            same(Message::from(data))
        } else if is::<T, String>() {
            match data {
                Data::Text(text) => same(text.into_owned()),
                Data::Binary(_) => return Err(unsupported(Kind::Binary)),
            }
        } else if is::<T, Bytes>() {
            match data {
                Data::Binary(bytes) => same(Bytes::from(bytes.into_owned())),
                Data::Text(_) => return Err(unsupported(Kind::Text)),
            }
        } else {
            return match &data {
                Data::Text(text) => parse_json(text),
                Data::Binary(bytes) => {
                    parse_json(std::str::from_utf8(bytes).map_err(|_| unsupported(Kind::Binary))?)
                }
            };
        };
        found.ok_or_else(|| Error::internal("a type that is itself was not"))
    }
}

fn parse_other<T: DeserializeOwned>(bytes: &[u8], format: &dyn ValueFormat) -> Result<T, Error> {
    let mut parsed = None;
    format.read(bytes, &mut |deserializer| {
        let read = serde_path_to_error::deserialize(deserializer);
        parsed = Some(read.map_err(|error| describe(&error.path().to_string(), &error.inner().to_string()))?);
        Ok(())
    })?;
    parsed.ok_or_else(|| Error::internal(format!("{format:?} has read no value")))
}

/// Reads the pairs of a query. A type that has no fields takes no pairs as it takes null.
fn parse_pairs<T: DeserializeOwned>(query: &str) -> Result<T, Error> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    let parsed = serde_path_to_error::deserialize(pairs)
        .map_err(|error| describe(&error.path().to_string(), &error.inner().to_string()));
    match parsed {
        // The first error is the better one: it names a field.
        Err(error) if query.is_empty() => serde_json::from_str("null").map_err(|_| error),
        parsed => parsed,
    }
}

pub(super) fn unsupported(kind: Kind) -> Error {
    Error::new(
        Code::UNSUPPORTED_DATA,
        match kind {
            Kind::Text => "text messages are not taken here",
            Kind::Binary => "binary messages are not taken here",
        },
    )
}

fn parse_frame<T: DeserializeOwned>(frame: &str) -> Result<T, Error> {
    if check_keys(frame).is_ok()
        && let Some(parsed) = parse_message(frame)
    {
        return Ok(parsed);
    }
    match Value::JsonFrame(frame).located()? {
        Value::Json(json) => parse_json(&json),
        _ => Err(Error::internal("a value of a frame of JSON is no JSON")),
    }
}

/// Reads JSON; the error says where it does not fit.
///
/// # Errors
///
/// `INVALID_ARGUMENT`.
fn parse_json<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    check_keys(json)?;
    // The quick way first: finding the path costs, and most messages are right.
    serde_json::from_str(json).or_else(|_| parse_slowly(json))
}

/// Takes whole floats for integers, which the quick way does not where a type has a use for floats; and its errors say
/// where in the value they are.
fn parse_slowly<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    let json = without_whole_floats(json);
    let mut deserializer = serde_json::Deserializer::from_str(&json);
    let parsed = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| describe(&error.path().to_string(), &error.inner().to_string()))?;
    deserializer.end().map_err(|error| describe(".", &error.to_string()))?;
    Ok(parsed)
}

/// Refuses the keys by which serde_json talks to itself: behind one of them a `serde_json::Value`
/// reads a string as JSON of its own, with a recursion limit of its own, so that a few kilobytes
/// could exhaust the stack.
fn check_keys(json: &str) -> Result<(), Error> {
    // It stands there as it is, or with an escape in it.
    if memchr::memchr2(b'$', b'\\', json.as_bytes()).is_none() {
        return Ok(());
    }
    let mut rest = json.as_bytes();
    while let Some(start) = rest.iter().position(|&byte| byte == b'"') {
        let (text, after) = unescape(&rest[start + 1..]);
        let is_key = after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if is_key && text.starts_with(PRIVATE.as_bytes()) {
            return Err(Error::invalid_argument(format!("a key may not begin with {PRIVATE:?}")));
        }
        rest = after;
    }
    Ok(())
}

const PRIVATE: &str = "$serde_json::private::";

/// The beginning of a string's content, long enough to compare, and what follows its closing quote.
fn unescape(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    loop {
        let (byte, used) = match rest {
            [] | [b'"'] => return (text, &[]),
            [b'"', after @ ..] => return (text, after),
            [b'\\', b'u', a, b, c, d, ..] => (code_unit([*a, *b, *c, *d]), 6),
            [b'\\', escaped, ..] => (*escaped, 2),
            [byte, ..] => (*byte, 1),
        };
        if text.len() < PRIVATE.len() {
            text.push(byte);
        }
        rest = &rest[used..];
    }
}

/// An escaped character of ASCII; no other is of interest.
fn code_unit(hex: [u8; 4]) -> u8 {
    let unit = std::str::from_utf8(&hex).ok().and_then(|hex| u16::from_str_radix(hex, 16).ok());
    unit.and_then(|unit| u8::try_from(unit).ok()).unwrap_or(0)
}

/// Describes an error and its place. Both may quote the peer's text, so both are cut.
pub(crate) fn describe(path: &str, what: &str) -> Error {
    let (path, what) = (clip(path, QUOTED_BYTES), clip(what, QUOTED_BYTES));
    if path == "." {
        return Error::invalid_argument(what.to_owned());
    }
    Error::invalid_argument(format!("{path}: {what}")).with_details(serde_json::json!({ "path": path }))
}

const QUOTED_BYTES: usize = 160;

/// A value that can be sent: any `'static` type that is [`Serialize`].
///
/// Erases the type once a message instead of once a field.
pub trait Encode: Sync {
    /// Appends the value as JSON.
    ///
    /// # Errors
    ///
    /// The value does not serialise.
    fn encode_json(&self, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Appends the value as MessagePack.
    ///
    /// # Errors
    ///
    /// The value does not serialise.
    fn encode_msgpack(&self, out: &mut Vec<u8>) -> Result<(), Error>;

    /// Appends the value as a whole WebSocket message: `String`, `Bytes` and [`Message`] as they
    /// are, anything else as JSON text.
    ///
    /// # Errors
    ///
    /// The value does not serialise.
    fn encode_whole(&self, out: &mut Vec<u8>) -> Result<Kind, Error> {
        let Some((kind, payload)) = self.as_whole() else {
            return self.encode_json(out).map(|()| Kind::Text);
        };
        out.extend_from_slice(payload);
        Ok(kind)
    }

    /// Calls `write` once, with the value: for a [`Protocol`](super::Protocol) that is not built in.
    ///
    /// # Errors
    ///
    /// That of `write`.
    fn encode_with(&self, write: WriteWith<'_>) -> Result<(), Error>;

    /// The value where it is a whole WebSocket message already: a `String`, `Bytes` or [`Message`].
    fn as_whole(&self) -> Option<(Kind, &[u8])>;
}

impl<T: Serialize + Sync + 'static> Encode for T {
    fn encode_json(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        serde_json::to_writer(out, self).map_err(Error::internal)
    }

    fn encode_msgpack(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        msgpack::write(self, out).map_err(Error::internal)
    }

    fn encode_with(&self, write: WriteWith<'_>) -> Result<(), Error> {
        write(self)
    }

    fn as_whole(&self) -> Option<(Kind, &[u8])> {
        let this: &dyn std::any::Any = self;
        if let Some(text) = this.downcast_ref::<String>() {
            return Some((Kind::Text, text.as_bytes()));
        }
        if let Some(bytes) = this.downcast_ref::<Bytes>() {
            return Some((Kind::Binary, bytes));
        }
        Some(match this.downcast_ref::<Message>()? {
            Message::Text(text) => (Kind::Text, text.as_bytes()),
            Message::Binary(bytes) => (Kind::Binary, bytes),
        })
    }
}

impl fmt::Debug for dyn Encode + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encode")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Say {
        text: String,
    }

    fn whole(text: &str) -> Value<'_> {
        Value::Whole(Data::Text(text.into()))
    }

    #[test]
    fn a_whole_message_passes_through_by_its_type() {
        assert_eq!(whole("\"a\"").parse::<String>().unwrap(), "\"a\"");
        assert_eq!(whole("x").parse::<Message>().unwrap(), Message::from("x"));
        assert_eq!(whole(r#"{"text":"a"}"#).parse::<Say>().unwrap(), Say { text: "a".into() });
        let binary = Value::Whole(Data::Binary(vec![0xff].into()));
        assert_eq!(binary.parse::<Bytes>().unwrap(), Bytes::from_static(b"\xff"));
    }

    #[test]
    fn no_pairs_are_fields_left_out_or_else_null() {
        let parse = |query: &str| Value::Pairs(query.into()).parse::<Option<Say>>();
        assert_eq!(parse("").unwrap(), None);
        assert!(parse("text=a").is_err(), "an option is no map");
        assert_eq!(parse_pairs::<Say>("").unwrap_err().message(), "missing field `text`");
        assert!(parse_pairs::<()>("").is_ok());
    }

    #[test]
    fn the_wrong_kind_is_refused() {
        let error = Value::Whole(Data::Binary(vec![1].into())).parse::<String>().unwrap_err();
        assert_eq!(error.code(), &Code::UNSUPPORTED_DATA);
        assert_eq!(whole("x").parse::<Bytes>().unwrap_err().code(), &Code::UNSUPPORTED_DATA);
    }

    #[test]
    fn the_keys_of_serde_json_itself_are_refused() {
        let key = "$serde_json::private::RawValue";
        let escaped = format!("\\u0024\\u0073{}", &key[2..]);
        for key in [key, &escaped, "$serde_json::private::Number"] {
            let json = format!(r#"{{"a": [{{"{key}" : "[true]"}}]}}"#);
            let error = Value::Json(json.into()).parse::<serde_json::Value>().unwrap_err();
            assert_eq!(error.message(), r#"a key may not begin with "$serde_json::private::""#, "{key}");
        }
        for harmless in [
            r#"{"text":"$serde_json::private::RawValue"}"#,
            r#"{"\\u0024serde_json::private::RawValue":1}"#,
            r#"{"a\"$serde_json::private::":"\u003c"}"#,
        ] {
            assert!(Value::Json(harmless.into()).parse::<serde_json::Value>().is_ok(), "{harmless}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        let error = Value::Json(r#"{"text":7}"#.into()).parse::<Say>().unwrap_err();
        assert!(error.message().starts_with("text: invalid type: integer `7`"), "{error}");
        let error = Value::Json("{}".into()).parse::<Say>().unwrap_err();
        assert!(error.message().contains("missing field `text`"), "{error}");
        let error = whole("{\"text\":\"a\"} x").parse::<Say>().unwrap_err();
        assert!(error.message().contains("trailing characters"), "{error}");
    }
}
