use super::{Proof, wire};
use bytes::Bytes;
use realtime_protocol::{Error, Kind, Position, Result};
use std::time::Duration;

/// A part of the log of a feed: the entries of one append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name of the feed.
    pub topic: String,
    /// The epoch of its log: the birth of the log, a dot and the reign of the primary that the log is on. The reign
    /// changes whenever the broker may have lost something.
    pub epoch: String,
    /// The offset of the first entry.
    pub first: u64,
    /// The proof of the record before, or [`Proof::NONE`].
    pub base: Proof,
    /// The proof of this record, which is that of each of its entries.
    pub proof: Proof,
    /// The entries, and who wrote them.
    pub body: Body,
}

impl Record {
    /// Returns the offset of the last entry; that before the first if there is none.
    pub fn last(&self) -> u64 {
        self.first.saturating_add(self.body.entries.len() as u64).saturating_sub(1)
    }

    /// Checks what a node relies on, whatever has brought the record.
    pub(crate) fn check(&self) -> Result {
        if self.body.entries.is_empty() {
            return Err(Error::invalid_argument("a record without entries"));
        }
        if self.first == 0 {
            return Err(Error::invalid_argument("a record at the offset 0, which is before the first entry"));
        }
        check_place(&self.epoch, self.first.saturating_add(self.body.entries.len() as u64))
    }

    /// Returns the bytes that it takes in a queue.
    pub(crate) fn size(&self) -> usize {
        let names = self.topic.len() + self.epoch.len();
        size_of::<Self>() + names + self.body.entries.iter().map(Logged::size).sum::<usize>()
    }

    /// Returns the position of the entry at this offset.
    pub fn position(&self, offset: u64) -> Position {
        Position::new(&*self.epoch, offset).with_proof(self.proof.to_string())
    }
}

/// The content of a record, which a broker stores as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The append that made it.
    pub writer: Writer,
    /// The time of the append by the clock of its node, in milliseconds since 1970.
    pub time: u64,
    /// The entries, at least one.
    pub entries: Vec<Logged>,
}

impl Body {
    /// Encodes the body for a broker to store and send.
    pub fn encode(&self) -> Bytes {
        wire::write_body(self)
    }

    /// Decodes a body without copying its entries.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the bytes are not those of a body.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        wire::read_body(bytes)
    }
}

/// An append of a node. A node numbers its appends, and never uses a number again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    /// The number of the node.
    pub node: u64,
    /// The number of the append.
    pub number: u64,
}

/// One entry of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The value as JSON.
    pub json: Bytes,
    /// The value as a whole WebSocket message, if that differs from its JSON.
    pub whole: Option<(Kind, Bytes)>,
    /// The key of the entries that it replaces for followers who want only the newest of each.
    pub key: Option<String>,
}

impl Logged {
    /// Returns the bytes that it takes in a queue.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes()
    }

    /// Returns the bytes of what is in it.
    pub(crate) fn bytes(&self) -> usize {
        let whole = self.whole.as_ref().map_or(0, |(_, whole)| whole.len());
        self.json.len() + whole + self.key.as_ref().map_or(0, String::len)
    }
}

/// A record that is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The name of the feed.
    pub topic: String,
    /// Random bits, new for each attempt: see [`Proof::after`].
    pub tag: u64,
    /// The entries, and who writes them.
    pub body: Body,
    /// The entries that the log is to keep.
    pub keep: Retention,
}

/// The bounds of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The number of the newest entries to keep: fewer than the log may have if they are large. A broker may keep more.
    pub entries: u64,
    /// The time for which an entry is kept. A broker may keep it for longer.
    pub within: Duration,
}

/// A part of a log, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The records that hold entries behind the asked offset, oldest first. They follow each other.
    pub records: Vec<Record>,
    /// The position of the newest entry of the log, which has the proof [`Proof::NONE`] at offset 0.
    pub top: Position,
    /// The offset of the oldest entry that the log still has; that behind the newest if it has none.
    pub first: u64,
}

impl Page {
    /// Checks what a node relies on.
    pub(crate) fn check(&self) -> Result {
        self.records.iter().try_for_each(Record::check)?;
        check_top(&self.top)
    }

    /// Returns the page of a log to which nothing was ever appended.
    pub fn empty() -> Self {
        let top = Position::new("0", 0).with_proof(Proof::NONE.to_string());
        Self { records: Vec::new(), top, first: 1 }
    }
}

/// Checks the end of a log as a broker says it.
pub(crate) fn check_top(top: &Position) -> Result {
    check_place(&top.epoch, top.offset)
}

/// The most bytes of an epoch: clients send back no longer one.
const EPOCH_BYTES: usize = 64;

/// The highest offset: sums with it fit, and no log gets there.
const OFFSET: u64 = u64::MAX / 2;

fn check_place(epoch: &str, offset: u64) -> Result {
    let bytes = epoch.len();
    if !(1..=EPOCH_BYTES).contains(&bytes) {
        return Err(Error::invalid_argument(format!("an epoch of {bytes} bytes instead of 1 to {EPOCH_BYTES}")));
    }
    if offset > OFFSET {
        return Err(Error::invalid_argument(format!("the offset {offset}, which no log has")));
    }
    Ok(())
}
