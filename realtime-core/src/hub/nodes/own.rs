//! The part of presence that this node writes: its own clients.

use super::wire::{Change, Changes, MESSAGE_BYTES, Message, Part, Says, Summary, Tagged};
use crate::{
    hub::Hub,
    util::sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};
use realtime_protocol::{ConnectionId, Error, Result};
use std::{
    collections::{BTreeSet, HashMap},
    mem,
};

/// What the other nodes were told of the clients here, and what they are to be told.
///
/// A change is only marked where it happens, under the lock of its place. The tick looks up what the marked entries are
/// by then, so that many changes become one message, and their numbers have one order.
#[derive(Debug)]
pub(in crate::hub) struct Own {
    life: u64,
    versions: AtomicU64,
    /// Bytes of all entries.
    bytes: AtomicUsize,
    marked: Mutex<HashMap<Key, Gone>>,
    told: Mutex<Told>,
}

/// A place, and the number of a connection.
type Key = (Box<str>, u64);

/// The tag under which the others know an entry that was removed; 0 if they do not.
type Gone = u64;

#[derive(Debug, Default)]
struct Told {
    list: Summary,
    /// The nodes that asked for the whole list.
    asked: BTreeSet<u64>,
}

/// The most nodes whose questions wait: more than there may be.
const ASKING: usize = 1024;

impl Own {
    pub(super) fn new(life: u64) -> Self {
        Self {
            life,
            versions: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            marked: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Returns a tag that no other entry of this node has, or had.
    pub(in crate::hub) fn next_tag(&self) -> u64 {
        // The finalizer of splitmix64: sums of consecutive numbers would be alike.
        let mut mixed = self.life.wrapping_add(self.versions.fetch_add(2, Relaxed));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) | 1
    }

    /// Makes room for an entry of `bytes` in place of one of `known` bytes.
    pub(in crate::hub) fn reserve(&self, known: usize, bytes: usize, limit: usize) -> Result {
        let before = self.bytes.fetch_add(bytes, Relaxed);
        if before + bytes - known > limit {
            self.bytes.fetch_sub(bytes, Relaxed);
            let text = format!("this node is full: the data of its present clients is limited to {limit} bytes");
            return Err(Error::resource_exhausted(text));
        }
        self.bytes.fetch_sub(known, Relaxed);
        Ok(())
    }

    /// Takes back what was reserved.
    pub(in crate::hub) fn release(&self, known: usize, bytes: usize) {
        self.bytes.fetch_add(known, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }

    /// Has the others told what becomes of an entry. `gone` is the tag under which they know one that was removed.
    pub(in crate::hub) fn mark(&self, place: &str, id: ConnectionId, gone: Gone) {
        let mut marked = self.marked.lock();
        let mark = marked.entry((place.into(), id.number)).or_default();
        if gone != 0 {
            *mark = gone;
        }
    }

    /// Notes that another node needs the whole list.
    pub(super) fn ask(&self, node: u64) {
        let asked = &mut self.told.lock().asked;
        if asked.len() < ASKING {
            asked.insert(node);
        }
    }

    /// Returns a node that has asked.
    pub(super) fn take_asked(&self) -> Option<u64> {
        self.told.lock().asked.pop_first()
    }

    pub(super) fn list(&self) -> Summary {
        self.told.lock().list
    }

    /// Returns the messages of what has changed.
    pub(super) fn take_changes(&self, hub: &Hub) -> Vec<Message> {
        let marked = mem::take(&mut *self.marked.lock());
        let mut list = self.list();
        let mut messages = Vec::new();
        let (mut changes, mut bytes) = (Vec::new(), 0);
        for ((place, number), gone) in marked {
            let id = ConnectionId { node: hub.node, number };
            let now = hub.places.publish_entry(&place, id);
            let before = now.as_ref().map_or(0, |(before, _)| *before).max(gone);
            let entry = now.map(|(_, entry)| entry);
            let after = entry.as_ref().map_or(0, |entry| entry.tag);
            if before == after {
                continue;
            }
            list.replace(before, after);
            let change = Change { place: place.into(), id: number, entry };
            bytes += change.size();
            changes.push(change);
            if bytes >= MESSAGE_BYTES {
                messages.push(self.changes(&mut list, mem::take(&mut changes)));
                bytes = 0;
            }
        }
        if !changes.is_empty() {
            messages.push(self.changes(&mut list, changes));
        }
        self.told.lock().list = list;
        messages
    }

    fn changes(&self, list: &mut Summary, changes: Vec<Change>) -> Message {
        list.number += 1;
        Message { life: self.life, says: Says::Changes(Changes { number: list.number, changes }) }
    }

    /// Returns the messages of the whole list, right after the changes: what has changed since is in the next ones.
    pub(super) fn whole(&self, hub: &Hub) -> Vec<Message> {
        let number = self.list().number;
        let mut parts = vec![Vec::new()];
        let mut bytes = 0;
        for (place, id, entry) in hub.places.entries_of(hub.node) {
            let change = Change { place: place.into(), id: id.number, entry: Some(entry) };
            if bytes >= MESSAGE_BYTES {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += change.size();
            if let Some(part) = parts.last_mut() {
                part.push(change);
            }
        }
        let count = parts.len() as u32;
        let message = |(part, entries)| Message {
            life: self.life,
            says: Says::Part(Part { number, part, parts: count, entries }),
        };
        (0..).zip(parts).map(message).collect()
    }
}

impl Change {
    /// Returns the bytes that it takes on its way, about.
    fn size(&self) -> usize {
        64 + self.place.len() + self.entry.as_ref().map_or(0, Tagged::size)
    }
}
