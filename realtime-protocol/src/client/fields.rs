use super::value::{Format, Payload, Raw, unquote};
use crate::{Code, Error, format::MessagePack};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, time::Duration};

/// The known fields of one object in a frame. None is looked at until it is asked for: only what is needed is judged.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    format: Format,
    slots: [Slot<'a>; NAMES.len()],
}

#[derive(Clone, Copy, Debug)]
enum Slot<'a> {
    Absent,
    Once(Raw<'a>),
    /// It would depend on the reader which of them counts.
    Twice,
}

/// All fields of the server's frames, and those of an error.
const NAMES: [&str; 30] = [
    "type",
    "id",
    "value",
    "name",
    "data",
    "offset",
    "epoch",
    "proof",
    "shared",
    "resumed",
    "state",
    "wrote",
    "error",
    "path",
    "input",
    "timeoutMs",
    "connection",
    "heartbeatMs",
    "messageBytes",
    "schema",
    "count",
    "from",
    "to",
    "topic",
    "cause",
    "code",
    "message",
    "details",
    "retryable",
    "retryAfterMs",
];

impl<'a> Fields<'a> {
    /// # Errors
    ///
    /// Says why it is no object.
    pub(super) fn read(raw: Raw<'a>) -> Result<Self, String> {
        match raw {
            Raw::Json(json) => {
                let object: Object<'a> = serde_json::from_str(json).map_err(|error| error.to_string())?;
                Ok(object.0)
            }
            Raw::MessagePack(bytes) => {
                let mut fields = Self::new(Format::MessagePack);
                MessagePack::fields(bytes, |name, value| fields.add(name, Raw::MessagePack(value)))?;
                Ok(fields)
            }
        }
    }

    fn new(format: Format) -> Self {
        Self { format, slots: [Slot::Absent; NAMES.len()] }
    }

    fn add(&mut self, name: &str, value: Raw<'a>) {
        let Some(index) = NAMES.iter().position(|known| *known == name) else { return };
        self.slots[index] = match self.slots[index] {
            Slot::Absent => Slot::Once(value),
            Slot::Once(_) | Slot::Twice => Slot::Twice,
        };
    }

    fn slot(&self, name: &str) -> Slot<'a> {
        let index = NAMES.iter().position(|known| *known == name);
        index.map_or(Slot::Absent, |index| self.slots[index])
    }

    /// A field without which the frame says nothing.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub(super) fn required(&self, name: &str) -> Result<Raw<'a>, String> {
        match self.slot(name) {
            Slot::Once(value) => Ok(value),
            Slot::Absent => Err(format!("it has no `{name}`")),
            Slot::Twice => Err(format!("it has `{name}` twice")),
        }
    }

    pub(super) fn required_text(&self, name: &str) -> Result<String, String> {
        let text = self.required(name)?.text().ok_or_else(|| format!("its `{name}` is no string"))?;
        Ok(text.into_owned())
    }

    /// A field that does without: one that is not as it should be is none.
    pub(super) fn optional(&self, name: &str) -> Option<Raw<'a>> {
        match self.slot(name) {
            Slot::Once(value) => Some(value),
            Slot::Absent | Slot::Twice => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.optional(name)?.text()
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.optional(name)?.read().ok()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.optional(name)?.number()
    }

    /// A place in a sequence: a number, or its digits where JavaScript's numbers have holes.
    pub(super) fn offset(&self, name: &str) -> Option<u64> {
        self.number(name).or_else(|| {
            let digits = self.text(name)?;
            let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| are_digits)
        })
    }

    /// A time, of which fractions of a millisecond do not count.
    pub(super) fn millis(&self, name: &str) -> Option<Duration> {
        let value = self.optional(name)?;
        let fraction = || value.read::<f64>().ok().filter(|millis| *millis >= 0.0).map(|millis| millis as u64);
        value.number().or_else(fraction).map(Duration::from_millis)
    }

    /// The value of this name, which is null where it is left out.
    ///
    /// # Errors
    ///
    /// It is there twice.
    pub(super) fn payload(&self, name: &str) -> Result<Payload, String> {
        match self.slot(name) {
            Slot::Absent => Ok(Raw::null(self.format).to_payload()),
            Slot::Once(_) | Slot::Twice => self.required(name).map(Raw::to_payload),
        }
    }

    /// The error in the field `error`: as much of it as can be read.
    pub(super) fn error(&self) -> Error {
        let fields = self.optional("error").and_then(|raw| Fields::read(raw).ok());
        let error = fields.map(|fields| {
            serde_json::json!({
                "code": fields.text("code").unwrap_or("INTERNAL".into()),
                "message": fields.text("message").unwrap_or_default(),
                "details": fields.optional("details").and_then(|raw| raw.read::<serde_json::Value>().ok()),
                "retryable": fields.optional("retryable").is_some_and(|raw| raw.read().unwrap_or(false)),
                "retryAfterMs": fields.millis("retryAfterMs").map(|after| after.as_millis() as u64),
            })
        });
        let unreadable = || Error::new(Code::PARSE_ERROR, "the server's error cannot be read");
        error.and_then(|error| serde_json::from_value(error).ok()).unwrap_or_else(unreadable)
    }
}

struct Object<'a>(Fields<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ReadObject)
    }
}

struct ReadObject;

impl<'de> Visitor<'de> for ReadObject {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut fields = Fields::new(Format::Json);
        // Raw: an escape that stands for no character is allowed in JSON, and its name is not known.
        while let Some(name) = map.next_key::<&RawValue>()? {
            match unquote(name.get()) {
                Some(name) => fields.add(&name, Raw::Json(map.next_value::<&RawValue>()?.get())),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Object(fields))
    }
}
