//! Checks of messages that are sent to clients as they came: other programs may write to a broker too.

use super::{Logged, Publication};
use bytes::Bytes;
use realtime_protocol::{Error, Kind, Result, format::Value};
use serde::de::IgnoredAny;

impl Logged {
    /// Checks that the entry is what a node writes.
    pub(crate) fn check(&self) -> Result {
        check(&self.json, self.whole.as_ref())
    }
}

impl Publication {
    /// Checks that the message is what a node writes.
    pub(crate) fn check(&self) -> Result {
        check(&self.json, self.whole.as_ref())?;
        let Some(msgpack) = &self.msgpack else { return Ok(()) };
        let read = Value::MessagePack(msgpack[..].into()).parse::<IgnoredAny>();
        read.map(drop).map_err(|error| invalid(format!("not MessagePack: {}", error.message())))
    }
}

fn check(json: &[u8], whole: Option<&(Kind, Bytes)>) -> Result {
    let json = str::from_utf8(json).map_err(|_| invalid("JSON that is not UTF-8".to_owned()))?;
    serde_json::from_str::<IgnoredAny>(json).map_err(|error| invalid(format!("not JSON: {error}")))?;
    match whole {
        Some((Kind::Text, text)) if str::from_utf8(text).is_err() => {
            Err(invalid("text that is not UTF-8".to_owned()))
        }
        _ => Ok(()),
    }
}

fn invalid(what: String) -> Error {
    Error::invalid_argument(format!("a message that no node has written: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(json: &[u8], whole: Option<(Kind, &[u8])>) -> Logged {
        let whole = whole.map(|(kind, bytes)| (kind, Bytes::copy_from_slice(bytes)));
        Logged { json: Bytes::copy_from_slice(json), whole, key: None }
    }

    #[test]
    fn what_is_one_json_value_is_taken_however_deep() {
        let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
        for json in [&b"7"[..], b"{\"a\":[1,\"\xc3\xa4\"]}", deep.as_bytes()] {
            assert!(logged(json, None).check().is_ok());
        }
        assert!(logged(b"[255]", Some((Kind::Binary, b"\xff"))).check().is_ok());
    }

    #[test]
    fn what_is_no_json_or_no_text_is_refused() {
        for json in [&b""[..], b"{", b"1 2", b"\"\xff\"", b"nul", b"7}"] {
            assert!(logged(json, None).check().is_err(), "{json:?}");
        }
        assert!(logged(b"7", Some((Kind::Text, b"\xff"))).check().is_err());
    }

    #[test]
    fn what_is_not_one_messagepack_value_is_refused() {
        let check = |msgpack: &'static [u8]| {
            let publication = Publication::new(7, "t".into(), Bytes::from_static(b"7"), None, Vec::new());
            publication.with_msgpack(Bytes::from_static(msgpack)).check()
        };
        assert!(check(b"\x07").is_ok() && check(b"\x92\x01\xa1x").is_ok());
        for msgpack in [&b""[..], b"\x92\x01", b"\x07\x07", b"\xc1"] {
            assert!(check(msgpack).is_err(), "{msgpack:?}");
        }
    }
}
