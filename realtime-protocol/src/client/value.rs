use crate::{
    Error,
    format::{MessagePack, Value},
};
use serde::{Serialize, de::DeserializeOwned};
use std::borrow::Cow;

/// The wire format of a client's connections, which the server must speak too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// JSON in text messages: the subprotocol `realtime.v1.json`.
    #[default]
    Json,
    /// MessagePack in binary messages: the subprotocol `realtime.v1.msgpack`. Byte strings go as they are, NaN and the
    /// infinities too, and messages are smaller.
    MessagePack,
}

impl Format {
    /// The subprotocol that a client offers and the server must choose.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "realtime.v1.json",
            Self::MessagePack => "realtime.v1.msgpack",
        }
    }
}

/// A value in the format of its connection. Its type is the application's.
#[derive(Clone, Debug)]
pub enum Payload {
    /// JSON text.
    Json(Box<str>),
    /// MessagePack.
    MessagePack(Box<[u8]>),
}

impl Payload {
    /// Writes a value.
    ///
    /// # Errors
    ///
    /// Says why the value cannot be written.
    pub fn write<T: Serialize + ?Sized>(format: Format, value: &T) -> Result<Self, String> {
        match format {
            Format::Json => {
                let json = serde_json::to_string(value).map_err(|error| error.to_string())?;
                Ok(Self::Json(json.into()))
            }
            Format::MessagePack => {
                let mut bytes = Vec::new();
                MessagePack::write(value, &mut bytes)?;
                Ok(Self::MessagePack(bytes.into()))
            }
        }
    }

    /// Reads the value as a `T`.
    ///
    /// # Errors
    ///
    /// It is no `T`: `INVALID_ARGUMENT` that names the field.
    pub fn read<T: DeserializeOwned + 'static>(&self) -> Result<T, Error> {
        match self {
            Self::Json(json) => Raw::Json(json).read(),
            Self::MessagePack(bytes) => Raw::MessagePack(bytes).read(),
        }
    }

    /// The format that it is in.
    pub fn format(&self) -> Format {
        match self {
            Self::Json(_) => Format::Json,
            Self::MessagePack(_) => Format::MessagePack,
        }
    }

    /// The bytes that go into a frame.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(json) => json.as_bytes(),
            Self::MessagePack(bytes) => bytes,
        }
    }
}

/// One value in a frame: whole, and not yet read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    Json(&'a str),
    MessagePack(&'a [u8]),
}

impl<'a> Raw<'a> {
    pub(super) fn null(format: Format) -> Self {
        match format {
            Format::Json => Self::Json("null"),
            Format::MessagePack => Self::MessagePack(b"\xc0"),
        }
    }

    pub(super) fn read<T: DeserializeOwned + 'static>(self) -> Result<T, Error> {
        match self {
            Self::Json(json) => Value::Json(json.into()).parse(),
            Self::MessagePack(bytes) => Value::MessagePack(bytes.into()).parse(),
        }
    }

    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Json(json) => unquote(json),
            Self::MessagePack(_) => self.read().ok().map(Cow::Owned),
        }
    }

    /// A number without a fraction and not below zero, however it is written: `7`, `7.0` and `7e0` are one.
    pub(super) fn number(self) -> Option<u64> {
        if let Ok(number) = self.read() {
            return Some(number);
        }
        let number = self.read::<f64>().ok()?;
        let is_whole = number.fract() == 0.0 && (0.0..TOO_LARGE).contains(&number);
        is_whole.then_some(number as u64)
    }

    pub(super) fn to_payload(self) -> Payload {
        match self {
            Self::Json(json) => Payload::Json(json.into()),
            Self::MessagePack(bytes) => Payload::MessagePack(bytes.into()),
        }
    }
}

/// The text of a JSON string; borrowed where nothing in it is escaped.
pub(super) fn unquote(json: &str) -> Option<Cow<'_, str>> {
    let text = json.strip_prefix('"')?.strip_suffix('"')?;
    match text.contains('\\') {
        true => serde_json::from_str(json).ok().map(Cow::Owned),
        false => Some(text.into()),
    }
}

/// 2⁶⁴.
const TOO_LARGE: f64 = 18_446_744_073_709_551_616.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        for json in ["25000", "25000.0", "2.5e4", "25e3"] {
            assert_eq!(Raw::Json(json).number(), Some(25_000), "{json}");
        }
        for json in ["-1", "7.5", "1e20", "\"7\"", "null", "[]", "true"] {
            assert_eq!(Raw::Json(json).number(), None, "{json}");
        }
        assert_eq!(Raw::Json("18446744073709551615").number(), Some(u64::MAX));
        for bytes in [&b"\x07"[..], b"\xcc\x07", b"\xd0\x07", b"\xca\x40\xe0\0\0", b"\xcb\x40\x1c\0\0\0\0\0\0"] {
            assert_eq!(Raw::MessagePack(bytes).number(), Some(7), "{bytes:?}");
        }
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        for format in [Format::Json, Format::MessagePack] {
            let payload = Payload::write(format, &("a\"b", 1.5, vec![u64::MAX])).unwrap();
            assert_eq!(payload.format(), format);
            assert_eq!(
                payload.read::<(String, f64, Vec<u64>)>().unwrap(),
                ("a\"b".to_owned(), 1.5, vec![u64::MAX])
            );
            let error = payload.read::<Vec<String>>().unwrap_err();
            assert!(error.message().contains("[1]"), "{error}");
        }
    }
}
