//! The lists of places as the nodes see them: the part of this node, and the copies of the others'.

use super::wire::Tagged;
use crate::hub::{
    Hub,
    members::Effects,
    presence::{ENTRY_BYTES, Entry, Here, Place, Places, ids_of, memory_of},
};
use realtime_protocol::{ConnectionId, PresenceNotice, Present, Result};
use std::{collections::HashMap, sync::Arc};

/// Entries of one place by their connection: as they are now, or gone.
pub(super) type Changed = HashMap<ConnectionId, Option<Tagged>>;

/// The bytes that were reserved for an entry, in place of those before.
pub(in crate::hub) struct Reserved {
    before: usize,
    after: usize,
}

/// The difference that changes have made to the entries of a node.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// The tags before and after of each; 0 is no entry.
    pub(super) tags: Vec<(u64, u64)>,
    pub(super) added: usize,
    pub(super) removed: usize,
}

/// The changes that the members of a place are told.
#[derive(Default)]
struct News {
    left: Vec<ConnectionId>,
    changed: Vec<Present<serde_json::Value>>,
    joined: Vec<Present<serde_json::Value>>,
}

/// Bytes of the entries that members are told of at a time: less than the share of an outbox that one message may take.
const NOTICE_BYTES: usize = 32 * 1024;

/// Ids of those who have left that members are told at a time.
const NOTICE_IDS: usize = 1024;

/// The part of this node, with a broker; without one there is nothing to do.
impl Hub {
    /// Makes room for an entry among all of this node.
    pub(in crate::hub) fn reserve(&self, place: &str, known: Option<&Entry>, entry: &Entry) -> Result<Reserved> {
        let Some(nodes) = &self.nodes else { return Ok(Reserved { before: 0, after: 0 }) };
        let (before, after) = (known.map_or(0, |known| size(place, known)), size(place, entry));
        nodes.own.reserve(before, after, self.config.presence_bytes_per_node)?;
        Ok(Reserved { before, after })
    }

    /// Takes back what was reserved.
    pub(in crate::hub) fn release(&self, Reserved { before, after }: Reserved) {
        if let Some(nodes) = &self.nodes {
            nodes.own.release(before, after);
        }
    }

    /// Has the other nodes told of a client. `gone` is the tag under which they know an entry that was removed.
    pub(in crate::hub) fn mark(&self, place: &str, id: ConnectionId, gone: u64) {
        if let Some(nodes) = &self.nodes {
            nodes.own.mark(place, id, gone);
        }
    }

    /// Has the other nodes told of a client that has left.
    pub(in crate::hub) fn mark_left(&self, place: &str, id: ConnectionId, removed: &Entry) {
        self.mark(place, id, removed.published);
        self.release(Reserved { before: 0, after: size(place, removed) });
    }
}

/// Returns the bytes of an entry in the bound of its node.
fn size(place: &str, entry: &Entry) -> usize {
    entry.bytes + place.len()
}

/// The copies of the other nodes' parts.
impl Hub {
    /// Changes entries of another node in a place, and tells its members the difference.
    pub(super) fn change_entries(&self, place: &str, changed: Changed, effects: &mut Effects) -> Difference {
        let has_entries = changed.values().any(Option::is_some);
        if !has_entries && self.places.find(place).is_none() {
            return Difference::default();
        }
        self.places.at(place, |here| {
            let (news, difference) = here.change(place, changed);
            self.tell_news(place, news, effects);
            difference
        })
    }

    /// Makes `entries` all that another node has in a place, and tells its members the difference.
    pub(super) fn replace_entries(
        &self,
        place: &str,
        node: u64,
        mut entries: Changed,
        effects: &mut Effects,
    ) -> Difference {
        self.places.at(place, |here| {
            for (id, _) in here.list.range(ids_of(node)) {
                entries.entry(*id).or_insert(None);
            }
            let (news, difference) = here.change(place, entries);
            self.tell_news(place, news, effects);
            difference
        })
    }

    /// Queues the notices under the place's lock, so that the list that a member starts with matches those after it.
    fn tell_news(&self, place: &str, news: News, effects: &mut Effects) {
        for notice in news.notices(place) {
            match self.tell(place, notice, &[]) {
                Ok(told) => effects.extend(told),
                Err(error) => tracing::error!(place, ?error, "members were not told of clients on another node"),
            }
        }
    }
}

impl Here {
    fn change(&mut self, place: &str, changed: Changed) -> (News, Difference) {
        let (mut news, mut difference) = (News::default(), Difference::default());
        for (id, entry) in changed {
            let before = self.list.get(&id).map(|known| known.tag);
            let after = entry.as_ref().map(|entry| entry.tag);
            if before == after {
                continue;
            }
            difference.tags.push((before.unwrap_or(0), after.unwrap_or(0)));
            if let Some(removed) = self.remove_entry(id) {
                difference.removed += size(place, &removed);
            }
            let Some(Tagged { tag, data }) = entry else {
                news.left.push(id);
                continue;
            };
            let present = Present::new(id, data.clone());
            let list = if before.is_some() { &mut news.changed } else { &mut news.joined };
            list.push(present);
            let entry = Entry { bytes: ENTRY_BYTES + memory_of(&data), data, tag, published: tag };
            difference.added += size(place, &entry);
            self.insert(id, entry);
        }
        (news, difference)
    }
}

impl News {
    /// Returns the notices, each of which says one thing.
    fn notices(self, place: &str) -> Vec<PresenceNotice> {
        let of = |set: fn(&mut PresenceNotice) -> &mut Vec<Present<serde_json::Value>>, list| {
            in_parts(list).map(move |part| {
                let mut notice = PresenceNotice::new(place);
                *set(&mut notice) = part;
                notice
            })
        };
        let left = self.left.chunks(NOTICE_IDS).map(|ids| {
            let mut notice = PresenceNotice::new(place);
            notice.left = ids.to_vec();
            notice
        });
        left.chain(of(|notice| &mut notice.changed, self.changed))
            .chain(of(|notice| &mut notice.joined, self.joined))
            .collect()
    }
}

/// Divides entries into parts of a bounded size.
fn in_parts(list: Vec<Present<serde_json::Value>>) -> impl Iterator<Item = Vec<Present<serde_json::Value>>> {
    let mut list = list.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut part, mut bytes) = (Vec::new(), 0);
        while bytes < NOTICE_BYTES
            && let Some(present) = list.next()
        {
            bytes += ENTRY_BYTES + memory_of(&present.data);
            part.push(present);
        }
        Some(part).filter(|part| !part.is_empty())
    })
}

impl Places {
    /// Marks an entry of this node as published. Returns the tag under which the others know it, and what it is now.
    pub(super) fn publish_entry(&self, place: &str, id: ConnectionId) -> Option<(u64, Tagged)> {
        let place = self.find(place)?;
        let mut here = place.here.lock();
        let entry = here.list.get_mut(&id)?;
        let before = std::mem::replace(&mut entry.published, entry.tag);
        Some((before, Tagged { tag: entry.tag, data: entry.data.clone() }))
    }

    /// Returns all entries of a node, with their places.
    pub(super) fn entries_of(&self, node: u64) -> Vec<(Box<str>, ConnectionId, Tagged)> {
        let mut entries = Vec::new();
        for place in self.all() {
            let here = place.here.lock();
            let of_node = here.list.range(ids_of(node));
            entries.extend(of_node.map(|(id, entry)| {
                (place.name.clone(), *id, Tagged { tag: entry.tag, data: entry.data.clone() })
            }));
        }
        entries
    }

    /// Returns the places in which a node has entries.
    pub(super) fn with_node(&self, node: u64) -> Vec<Box<str>> {
        let has = |place: &Arc<Place>| place.here.lock().list.range(ids_of(node)).next().is_some();
        self.all().filter(has).map(|place| place.name.clone()).collect()
    }

    fn all(&self) -> impl Iterator<Item = Arc<Place>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn id(number: u64) -> ConnectionId {
        ConnectionId { node: 7, number }
    }

    fn entry(tag: u64) -> Option<Tagged> {
        Some(Tagged { tag, data: json!("x") })
    }

    #[test]
    fn members_are_told_the_difference() {
        let mut here = Here::default();
        here.change("room", HashMap::from([(id(1), entry(1)), (id(2), entry(2)), (id(3), entry(3))]));
        let after = HashMap::from([(id(1), entry(1)), (id(2), entry(9)), (id(3), None), (id(4), entry(4))]);
        let (news, mut difference) = here.change("room", after);
        difference.tags.sort_unstable();
        assert_eq!(difference.tags, [(0, 4), (2, 9), (3, 0)]);
        assert_eq!(difference.added, difference.removed);
        let ids = |list: &[Present<_>]| list.iter().map(|present| present.connection).collect::<Vec<_>>();
        assert_eq!(
            (news.left.as_slice(), ids(&news.changed), ids(&news.joined)),
            (&[id(3)][..], vec![id(2)], vec![id(4)])
        );
        let tags: BTreeMap<_, _> = here.list.iter().map(|(id, entry)| (id.number, entry.tag)).collect();
        assert_eq!(tags, BTreeMap::from([(1, 1), (2, 9), (4, 4)]));
    }

    #[test]
    fn news_of_many_are_told_in_parts() {
        let present = |number| Present::new(id(number), json!("x".repeat(1000)));
        let news = News {
            left: (0..2500).map(id).collect(),
            changed: Vec::new(),
            joined: (0..100).map(present).collect(),
        };
        let notices = news.notices("room");
        let sizes: Vec<_> = notices.iter().map(|notice| (notice.left.len(), notice.joined.len())).collect();
        assert_eq!(sizes, [(1024, 0), (1024, 0), (452, 0), (0, 30), (0, 30), (0, 30), (0, 10)]);
    }
}
