//! Publications and the bodies of records as bytes: a version, then each field in its order. Numbers are little-endian;
//! strings and bytes begin with their length. What may be absent begins with 0 or 1.
//!
//! All nodes of a cluster must know the version, so a new one is first read and only then, in a later release, written.

use super::{Body, Logged, Publication, Writer};
use bytes::{Buf, BufMut, Bytes};
use realtime_protocol::{ConnectionId, Error, Kind, Result};

const VERSION: u8 = 1;

pub(super) fn write_body(body: &Body) -> Bytes {
    let mut out = vec![VERSION];
    out.put_u64_le(body.writer.node);
    out.put_u64_le(body.writer.number);
    out.put_u64_le(body.time);
    out.put_u32_le(body.entries.len() as u32);
    for entry in &body.entries {
        put_bytes(&mut out, &entry.json);
        put_whole(&mut out, entry.whole.as_ref());
        put_text(&mut out, entry.key.as_deref());
    }
    out.into()
}

pub(super) fn read_body(bytes: &Bytes) -> Result<Body> {
    let mut from = Reader(bytes.clone());
    from.version()?;
    let writer = Writer { node: from.u64()?, number: from.u64()? };
    let time = from.u64()?;
    let count = from.u32()?;
    if count > ENTRIES {
        return Err(invalid(&format!("{count} entries in a record, which has up to {ENTRIES}")));
    }
    let mut entries = Vec::with_capacity(from.at_most(count, ENTRY_BYTES)?);
    for _ in 0..count {
        entries.push(Logged { json: from.bytes()?, whole: from.whole()?, key: from.text()? });
    }
    from.end()?;
    if entries.is_empty() {
        return Err(invalid("a record without entries"));
    }
    Ok(Body { writer, time, entries })
}

pub(super) fn write_publication(publication: &Publication) -> Bytes {
    let Publication { node, topic, json, msgpack, whole, event, key, except } = publication;
    let mut out = vec![VERSION];
    out.put_u64_le(*node);
    put_bytes(&mut out, topic.as_bytes());
    put_bytes(&mut out, json);
    put_optional(&mut out, msgpack.as_deref());
    put_whole(&mut out, whole.as_ref());
    put_text(&mut out, event.as_deref());
    put_text(&mut out, key.as_deref());
    out.put_u32_le(except.len() as u32);
    for id in except {
        out.put_u64_le(id.node);
        out.put_u64_le(id.number);
    }
    out.into()
}

pub(super) fn read_publication(bytes: &Bytes) -> Result<Publication> {
    let mut from = Reader(bytes.clone());
    from.version()?;
    let node = from.u64()?;
    let topic = from.string()?;
    let json = from.bytes()?;
    let msgpack = from.optional()?;
    let whole = from.whole()?;
    let (event, key) = (from.text()?, from.text()?);
    let count = from.u32()?;
    let mut except = Vec::with_capacity(from.at_most(count, ID_BYTES)?);
    for _ in 0..count {
        except.push(ConnectionId { node: from.u64()?, number: from.u64()? });
    }
    from.end()?;
    Ok(Publication { node, topic, json, msgpack, whole, event, key, except })
}

/// The most entries of a record: many times those that a node writes. Each takes more memory than bytes of the message.
const ENTRIES: u32 = 1024;

/// The fewest bytes of an entry: a length and two absent fields.
const ENTRY_BYTES: usize = 6;

const ID_BYTES: usize = 16;

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32_le(bytes.len() as u32);
    out.put_slice(bytes);
}

fn put_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.put_u8(bytes.is_some().into());
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    put_optional(out, text.map(str::as_bytes));
}

fn put_whole(out: &mut Vec<u8>, whole: Option<&(Kind, Bytes)>) {
    match whole {
        None => out.put_u8(0),
        Some((kind, bytes)) => {
            out.put_u8(if *kind == Kind::Text { 1 } else { 2 });
            put_bytes(out, bytes);
        }
    }
}

struct Reader(Bytes);

impl Reader {
    fn version(&mut self) -> Result {
        match self.u8()? {
            VERSION => Ok(()),
            other => Err(invalid(&format!("version {other}; this node knows {VERSION}"))),
        }
    }

    fn u8(&mut self) -> Result<u8> {
        self.0.try_get_u8().map_err(|_| ends())
    }

    fn u32(&mut self) -> Result<u32> {
        self.0.try_get_u32_le().map_err(|_| ends())
    }

    fn u64(&mut self) -> Result<u64> {
        self.0.try_get_u64_le().map_err(|_| ends())
    }

    fn bytes(&mut self) -> Result<Bytes> {
        let length = self.u32()? as usize;
        if length > self.0.len() {
            return Err(ends());
        }
        Ok(self.0.split_to(length))
    }

    fn string(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| invalid("text that is not UTF-8"))
    }

    fn optional(&mut self) -> Result<Option<Bytes>> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.bytes().map(Some),
            other => Err(invalid(&format!("{other} where 0 or 1 says whether something follows"))),
        }
    }

    fn text(&mut self) -> Result<Option<String>> {
        let text = self.optional()?.map(|bytes| String::from_utf8(bytes.into()));
        text.transpose().map_err(|_| invalid("text that is not UTF-8"))
    }

    fn whole(&mut self) -> Result<Option<(Kind, Bytes)>> {
        let kind = match self.u8()? {
            0 => return Ok(None),
            1 => Kind::Text,
            2 => Kind::Binary,
            other => return Err(invalid(&format!("{other} as the kind of a message"))),
        };
        Ok(Some((kind, self.bytes()?)))
    }

    /// Returns `count`, if as many things of at least `bytes` bytes each may follow.
    fn at_most(&self, count: u32, bytes: usize) -> Result<usize> {
        let count = count as usize;
        if count > self.0.len() / bytes { Err(ends()) } else { Ok(count) }
    }

    fn end(&self) -> Result {
        if self.0.is_empty() { Ok(()) } else { Err(invalid("bytes behind its end")) }
    }
}

fn ends() -> Error {
    invalid("an end before its last field")
}

fn invalid(what: &str) -> Error {
    Error::invalid_argument(format!("a message of another node has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    fn whole() -> impl Strategy<Value = Option<(Kind, Bytes)>> {
        proptest::option::of((prop_oneof![Just(Kind::Text), Just(Kind::Binary)], bytes()))
    }

    fn entries() -> impl Strategy<Value = Vec<Logged>> {
        let entry = (bytes(), whole(), proptest::option::of(".{0,8}")).prop_map(|(json, whole, key)| Logged {
            json,
            whole,
            key,
        });
        proptest::collection::vec(entry, 1..5)
    }

    #[test]
    fn a_record_of_more_entries_than_a_node_writes_is_refused() {
        let body = |count| {
            let entries = vec![Logged { json: Bytes::new(), whole: None, key: None }; count];
            Body { writer: Writer { node: 1, number: 1 }, time: 0, entries }
        };
        assert!(Body::decode(&body(1024).encode()).is_ok());
        let error = Body::decode(&body(1025).encode()).unwrap_err();
        assert!(error.message().contains("1025 entries in a record"), "{error}");
    }

    proptest! {
        #[test]
        fn a_body_is_read_as_it_was_written(
            node: u64, number: u64, time: u64, entries in entries(), cut: prop::sample::Index
        ) {
            let body = Body { writer: Writer { node, number }, time, entries };
            let written = body.encode();
            prop_assert_eq!(&Body::decode(&written).unwrap(), &body);
            prop_assert!(Body::decode(&written.slice(..cut.index(written.len()))).is_err());
            prop_assert!(Body::decode(&[&written, &b"x"[..]].concat().into()).is_err());
        }

        #[test]
        fn a_publication_is_read_as_it_was_written(
            node: u64,
            topic in ".{0,8}",
            json in bytes(),
            msgpack in proptest::option::of(bytes()),
            whole in whole(),
            event in proptest::option::of(".{0,8}"),
            key in proptest::option::of(".{0,8}"),
            except in proptest::collection::vec(any::<(u64, u64)>(), 0..4),
            cut: prop::sample::Index,
        ) {
            let except = except.into_iter().map(|(node, number)| ConnectionId { node, number }).collect();
            let publication = Publication { node, topic, json, msgpack, whole, event, key, except };
            let written = publication.encode();
            prop_assert_eq!(&Publication::decode(&written).unwrap(), &publication);
            prop_assert!(Publication::decode(&written.slice(..cut.index(written.len()))).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let bytes = Bytes::from(bytes);
            let _ = (Body::decode(&bytes), Publication::decode(&bytes));
        }
    }
}
