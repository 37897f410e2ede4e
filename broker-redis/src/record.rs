use bytes::Bytes;
use realtime_core::{
    Error, Position, Result,
    broker::{Body, Page, Proof, Record},
};

/// Reads a record as the script wrote it.
pub(crate) fn read(topic: &str, reign: &str, bytes: &Bytes) -> Result<Record> {
    let birth = field(bytes, 0, 8)?;
    let first = number(field(bytes, 8, 16)?)?;
    let base = field(bytes, 24, 13)?.parse()?;
    let proof = field(bytes, 37, 13)?.parse()?;
    let body = Body::decode(&bytes.slice(50..))?;
    Ok(Record { topic: topic.to_owned(), epoch: epoch(birth, reign), first, base, proof, body })
}

/// Reads the end of a log: a birth, an offset and a proof, and maybe more.
pub(crate) fn read_end(bytes: &[u8], reign: &str) -> Result<Position> {
    let (birth, offset) = (field(bytes, 0, 8)?, number(field(bytes, 8, 16)?)?);
    let proof: Proof = field(bytes, 24, 13)?.parse()?;
    Ok(Position::new(epoch(birth, reign), offset).with_proof(proof.to_string()))
}

/// Reads what the script that reads a log returns.
pub(crate) fn read_page(topic: &str, reign: &str, mut replies: Vec<Bytes>) -> Result<Page> {
    if replies.len() < 2 {
        return Ok(Page::empty());
    }
    let records = replies.split_off(2);
    let top = read_end(&replies[0], reign)?;
    let records: Vec<_> = records.iter().filter_map(|record| readable(topic, reign, record)).collect();
    let oldest = field(&replies[1], 0, 16).and_then(number).ok();
    let first = oldest.or(records.first().map(|record| record.first)).unwrap_or(top.offset.saturating_add(1));
    Ok(Page { records, top, first })
}

/// Returns a record, or nothing for what no node has written: those who follow are told of what is missing then.
fn readable(topic: &str, reign: &str, bytes: &Bytes) -> Option<Record> {
    let record = read(topic, reign, bytes);
    if let Err(error) = &record {
        let reason = error.message();
        tracing::error!(
            feed = topic,
            bytes = bytes.len(),
            "something in the log is none of its records: {reason}"
        );
    }
    record.ok()
}

/// Returns the birth of a log, from a position in it.
fn epoch(birth: &str, reign: &str) -> String {
    [birth, ".", reign].concat()
}

fn field(bytes: &[u8], at: usize, length: usize) -> Result<&str> {
    let field = bytes.get(at..at + length).and_then(|field| str::from_utf8(field).ok());
    field.ok_or_else(|| Error::invalid_argument("not a record: it ends within its head"))
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::invalid_argument("not a record: its offset is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use realtime_core::broker::{Logged, Writer};

    fn body() -> Body {
        let entry = Logged { json: Bytes::from_static(b"1"), whole: None, key: None };
        Body { writer: Writer { node: 0x0102_0304_0506_0708, number: 9 }, time: 77, entries: vec![entry] }
    }

    #[test]
    fn a_record_is_read_as_the_script_writes_it() {
        let head = b"9f31c2aa00000000000000070000000000001000000000000f";
        let bytes = Bytes::from([&head[..], &body().encode()].concat());
        let record = read("board", "41d07e", &bytes).unwrap();
        assert_eq!((record.first, record.last(), &*record.epoch), (7, 7, "9f31c2aa.41d07e"));
        assert_eq!((record.base, record.proof, record.body), (Proof::new(1), Proof::new(15), body()));
        for length in 0..bytes.len() {
            assert!(read("board", "41d07e", &bytes.slice(..length)).is_err());
        }
    }

    /// The script looks for the writer and the time there.
    #[test]
    fn writer_and_time_stand_behind_the_version_of_a_body() {
        let bytes = body().encode();
        assert_eq!(bytes[1..9], 0x0102_0304_0506_0708_u64.to_le_bytes());
        assert_eq!(bytes[9..17], 9_u64.to_le_bytes());
        assert_eq!(bytes[17..25], 77_u64.to_le_bytes());
    }

    #[test]
    fn a_log_that_is_not_there_is_an_empty_page() {
        assert_eq!(read_page("board", "41d07e", Vec::new()).unwrap(), Page::empty());
    }
}
