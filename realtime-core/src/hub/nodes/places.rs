//! The lists of places as the nodes see them: the part of this node, and the copies of the others'.

use super::wire::{Tagged, User};
use crate::hub::{
    Hub,
    list::{Entry, OfUser},
    members::Effects,
    news::News,
    presence::{ENTRY_BYTES, Here, Place, Places, memory_of},
};
use realtime_protocol::{ConnectionId, Result};
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
            for (id, _) in here.list.of_node(node) {
                entries.entry(*id).or_insert(None);
            }
            let (news, difference) = here.change(place, entries);
            self.tell_news(place, news, effects);
            difference
        })
    }

    fn tell_news(&self, place: &str, news: News, effects: &mut Effects) {
        if let Err(error) = self.tell_all(place, news, &[], effects) {
            tracing::error!(place, ?error, "members were not told of clients on another node");
        }
    }
}

impl Here {
    fn change(&mut self, place: &str, changed: Changed) -> (News, Difference) {
        let mut difference = Difference::default();
        let mut changes = Vec::new();
        for (id, entry) in changed {
            let before = self.list.get(id).map_or(0, |known| known.tag);
            let after = entry.as_ref().map_or(0, |entry| entry.tag);
            if before == after {
                continue;
            }
            difference.tags.push((before, after));
            let entry = entry.map(Entry::from);
            difference.added += entry.as_ref().map_or(0, |entry| size(place, entry));
            changes.push((id, entry));
        }
        let (news, replaced) = self.list.change(changes);
        difference.removed = replaced.iter().map(|(_, removed)| size(place, removed)).sum();
        (news, difference)
    }
}

impl Tagged {
    fn of(entry: &Entry) -> Self {
        let user = entry.user.as_ref().map(|user| User { name: user.name.to_string(), version: user.version });
        Self { tag: entry.tag, data: entry.data.clone(), user }
    }

    /// Returns the bytes of its data and its user.
    pub(super) fn size(&self) -> usize {
        memory_of(&self.data) + self.user.as_ref().map_or(0, |user| user.name.len())
    }
}

impl From<Tagged> for Entry {
    fn from(tagged: Tagged) -> Self {
        let bytes = ENTRY_BYTES + tagged.size();
        let Tagged { tag, data, user } = tagged;
        let user = user.map(|User { name, version }| Box::new(OfUser { name: name.into(), version }));
        Self { bytes, data, tag, published: tag, user }
    }
}

impl Places {
    /// Marks an entry of this node as published. Returns the tag under which the others know it, and what it is now.
    pub(super) fn publish_entry(&self, place: &str, id: ConnectionId) -> Option<(u64, Tagged)> {
        let place = self.find(place)?;
        let mut here = place.here.lock();
        let entry = here.list.get_mut(id)?;
        let before = std::mem::replace(&mut entry.published, entry.tag);
        Some((before, Tagged::of(entry)))
    }

    /// Returns all entries of a node, with their places.
    pub(super) fn entries_of(&self, node: u64) -> Vec<(Box<str>, ConnectionId, Tagged)> {
        let mut entries = Vec::new();
        for place in self.all() {
            let here = place.here.lock();
            let of_node = here.list.of_node(node);
            entries.extend(of_node.map(|(id, entry)| (place.name.clone(), *id, Tagged::of(entry))));
        }
        entries
    }

    /// Returns the places in which a node has entries.
    pub(super) fn with_node(&self, node: u64) -> Vec<Box<str>> {
        let has = |place: &Arc<Place>| place.here.lock().list.of_node(node).next().is_some();
        self.all().filter(has).map(|place| place.name.clone()).collect()
    }

    fn all(&self) -> impl Iterator<Item = Arc<Place>> {
        self.shards.iter().flat_map(|shard| shard.lock().values().cloned().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use realtime_protocol::Present;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn id(number: u64) -> ConnectionId {
        ConnectionId { node: 7, number }
    }

    fn entry(tag: u64) -> Option<Tagged> {
        Some(Tagged { tag, data: json!("x"), user: None })
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
        let tags: BTreeMap<_, _> = here.list.of_node(7).map(|(id, entry)| (id.number, entry.tag)).collect();
        assert_eq!(tags, BTreeMap::from([(1, 1), (2, 9), (4, 4)]));
    }
}
