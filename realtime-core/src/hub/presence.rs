use super::Client;
use super::Hub;
use super::members::Effects;
use super::topics::Name;
use crate::outbox::Keeping;
use crate::util::sync::Mutex;
use realtime_protocol::format::Outgoing;
use realtime_protocol::{ConnectionId, Error, PRESENCE, PresenceNotice, Present, Result};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// Who is present where.
///
/// The members of a place's topic are those who are told. The place's own lock is held while someone comes or goes and that is
/// queued for them, so that each client sees what happens in one order, and the list that it begins with fits what follows.
/// Whoever is to be woken for it is woken when the lock is gone.
#[derive(Debug)]
pub(crate) struct Places {
    hasher: RandomState,
    shards: [Mutex<HashMap<Box<str>, Arc<Place>>>; SHARDS],
}

/// One place. It exists while somebody is here.
#[derive(Debug)]
struct Place {
    name: Box<str>,
    here: Mutex<Here>,
}

#[derive(Debug, Default)]
struct Here {
    /// The last one has left; nobody may enter this one any more.
    ended: bool,
    list: BTreeMap<ConnectionId, Entry>,
    /// What all entries take.
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    data: Value,
    bytes: usize,
}

const SHARDS: usize = 64;

impl Default for Places {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Hub {
    /// A client comes, or changes its data.
    pub(crate) fn enter(&self, client: &Arc<Client>, name: &str, data: Value) -> Result {
        Name::Place(name).check()?;
        let (bytes, limit) = (memory_of(&data), self.config.presence_bytes);
        if bytes > limit {
            let text = format!("{bytes} bytes of presence data, and {limit} may be");
            return Err(Error::invalid_argument(text));
        }
        let entry = Entry { data, bytes: ENTRY_BYTES + bytes };
        let mut effects = Effects::default();
        let entered = self.places.at(name, |here| self.enter_here(client, name, here, entry, &mut effects));
        self.run(effects);
        entered
    }

    fn enter_here(
        &self,
        client: &Arc<Client>,
        name: &str,
        here: &mut Here,
        entry: Entry,
        effects: &mut Effects,
    ) -> Result {
        let known = here.list.contains_key(&client.id);
        here.check(client.id, &entry, self.config.presence_bytes_per_place)?;
        if !known {
            self.begin(client, name, here, effects)?;
        }
        let who = vec![Present::new(client.id, entry.data.clone())];
        here.insert(client.id, entry);
        let mut notice = PresenceNotice::new(name);
        *(if known { &mut notice.changed } else { &mut notice.joined }) = who;
        effects.extend(self.tell(name, notice, &[])?);
        Ok(())
    }

    /// A client is told who comes and goes, and is not itself here.
    pub(crate) fn observe(&self, client: &Arc<Client>, name: &str) -> Result {
        Name::Place(name).check()?;
        let mut effects = Effects::default();
        let begun = self.places.at(name, |here| self.begin(client, name, here, &mut effects));
        self.run(effects);
        begun
    }

    /// Makes the client a member of the topic if it is none, and queues the list for it.
    fn begin(&self, client: &Arc<Client>, name: &str, here: &Here, effects: &mut Effects) -> Result {
        let topic = Name::Place(name);
        if self.topics.is_member(client, topic) {
            return Ok(());
        }
        // Refused once the connection has ended: from then on nobody would make it leave.
        self.topics.join(client, topic, Keeping::Nothing)?;
        let mut notice = PresenceNotice::new(name);
        notice.here = Some(here.present());
        let queued = client.queue_packet(&Outgoing::Event { name: PRESENCE.name(), data: &notice });
        match queued {
            Ok(waker) => effects.wake(waker),
            Err(error) => {
                self.topics.leave(client, topic);
                return Err(error);
            }
        }
        Ok(())
    }

    /// A client goes, or is no longer told.
    pub(crate) fn leave(&self, client: &Arc<Client>, name: &str) {
        self.topics.leave(client, Name::Place(name));
        self.left(client.id, name);
    }

    /// A client is gone, and was a member of the topics of these places.
    pub(super) fn left_all(&self, id: ConnectionId, places: &[Arc<str>]) {
        for name in places {
            self.left(id, name);
        }
    }

    fn left(&self, id: ConnectionId, name: &str) {
        if self.places.find(name).is_none() {
            return;
        }
        let told = self.places.at(name, |here| {
            here.remove(id)?;
            let mut notice = PresenceNotice::new(name);
            notice.left.push(id);
            Some(self.tell(name, notice, &[id]))
        });
        match told {
            None => {}
            Some(Ok(effects)) => self.run(effects),
            Some(Err(error)) => tracing::error!(name, ?error, "nobody was told who left"),
        }
    }

    /// All who are in a place.
    pub(crate) fn present(&self, name: &str) -> Vec<Present<Value>> {
        self.places.find(name).map(|place| place.here.lock().present()).unwrap_or_default()
    }

    /// On this node alone: the others do not know who is here.
    fn tell(&self, name: &str, notice: PresenceNotice, except: &[ConnectionId]) -> Result<Effects> {
        self.queue(Name::Place(name), Some(PRESENCE.name()), &notice, None, except)
    }
}

impl Places {
    /// Calls `change` while nobody else comes or goes here.
    fn at<T>(&self, name: &str, change: impl FnOnce(&mut Here) -> T) -> T {
        loop {
            let place = self.find_or_insert(name);
            let mut here = place.here.lock();
            if here.ended {
                drop(here);
                self.remove(&place);
                continue;
            }
            let changed = change(&mut here);
            here.ended = here.list.is_empty();
            let ended = here.ended;
            drop(here);
            if ended {
                self.remove(&place);
            }
            return changed;
        }
    }

    fn find(&self, name: &str) -> Option<Arc<Place>> {
        self.shard(name).lock().get(name).cloned()
    }

    fn find_or_insert(&self, name: &str) -> Arc<Place> {
        let mut shard = self.shard(name).lock();
        if let Some(place) = shard.get(name) {
            return Arc::clone(place);
        }
        let place = Arc::new(Place { name: name.into(), here: Mutex::default() });
        shard.insert(name.into(), Arc::clone(&place));
        place
    }

    /// Removes a place that ended, unless a new one of its name has come instead.
    fn remove(&self, place: &Arc<Place>) {
        let mut shard = self.shard(&place.name).lock();
        if shard.get(&place.name).is_some_and(|found| Arc::ptr_eq(found, place)) {
            shard.remove(&place.name);
        }
    }

    fn shard(&self, name: &str) -> &Mutex<HashMap<Box<str>, Arc<Place>>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

impl Here {
    /// Whether there is room for an entry, or for what it becomes.
    fn check(&self, id: ConnectionId, entry: &Entry, limit: usize) -> Result {
        let known = self.list.get(&id).map_or(0, |known| known.bytes);
        if self.bytes - known + entry.bytes > limit {
            return Err(Error::resource_exhausted(format!(
                "this place is full: its data is limited to {limit} bytes"
            )));
        }
        Ok(())
    }

    fn insert(&mut self, id: ConnectionId, entry: Entry) {
        self.bytes += entry.bytes;
        let known = self.list.insert(id, entry);
        self.bytes -= known.map_or(0, |known| known.bytes);
    }

    fn remove(&mut self, id: ConnectionId) -> Option<()> {
        self.bytes -= self.list.remove(&id)?.bytes;
        Some(())
    }

    fn present(&self) -> Vec<Present<Value>> {
        let present = |(id, entry): (&ConnectionId, &Entry)| Present::new(*id, entry.data.clone());
        self.list.iter().map(present).collect()
    }
}

/// What an entry takes beside its data.
const ENTRY_BYTES: usize = 64;

/// What a value takes, nearly.
fn memory_of(value: &Value) -> usize {
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(memory_of).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| 32 + name.len() + memory_of(value)).sum(),
    };
    32 + inside
}
