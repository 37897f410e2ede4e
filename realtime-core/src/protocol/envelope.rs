use super::{Packet, Value};
use crate::{
    error::{Code, Error},
    text::clip,
};
use std::{borrow::Cow, fmt};

/// The fields of all client frames, in any form of the native protocol. Values stay raw, whatever
/// their depth, until their type reads them.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) kind: Option<Cow<'a, str>>,
    /// Has been checked by [`check_name`].
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) value: Option<Value<'a>>,
    pub(super) data: Option<Value<'a>>,
}

impl<'a> Envelope<'a> {
    /// What the frame says; `null` is the data of an event that has none.
    pub(super) fn into_packet(self, null: impl FnOnce() -> Value<'a>) -> Result<Packet<'a>, Error> {
        let kind = self.kind.ok_or_else(|| parse_error("a frame needs the field \"type\""))?;
        match &*kind {
            "message" => {
                let value = self.value.ok_or_else(|| missing("message", "value"))?;
                Ok(Packet::Message(value))
            }
            "event" => {
                let name = self.name.ok_or_else(|| missing("event", "name"))?;
                Ok(Packet::Event { name, data: self.data.unwrap_or_else(null) })
            }
            "ping" => Ok(Packet::Ping),
            other => Err(Error::new(Code::PARSE_ERROR, format!("unknown type {:?}", clip(other, ECHOED_BYTES)))),
        }
    }
}

/// A name has 1 to 64 bytes.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    match name.len() {
        1..=MAX_NAME_BYTES => Ok(()),
        len => Err(format!("a name of {len} bytes instead of 1 to {MAX_NAME_BYTES}")),
    }
}

/// Names and ids are keys of maps: a peer must not choose their size.
const MAX_NAME_BYTES: usize = 64;

/// Of two fields with one name it would depend on the reader which one counts.
pub(super) fn twice(field: &str) -> String {
    format!("the field {field:?} twice")
}

pub(super) fn parse_error(what: impl fmt::Display) -> Error {
    Error::new(Code::PARSE_ERROR, clip(&what.to_string(), ECHOED_BYTES).to_owned())
}

fn missing(kind: &str, field: &str) -> Error {
    Error::invalid_argument(format!("a {kind} needs the field {field:?}"))
}

/// A peer's own text goes back to it in an error only up to here.
const ECHOED_BYTES: usize = 120;
