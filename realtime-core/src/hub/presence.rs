use super::{
    Client, Hub,
    list::{Entry, List},
    members::Effects,
    news::News,
    nodes::check_principal,
    topics::Name,
    users::{Gone, Users},
};
use crate::{context::Principal, outbox::Keeping, util::sync::Mutex};
use realtime_protocol::{ConnectionId, Error, PRESENCE, PresenceNotice, Present, Result, format::Outgoing};
use serde_json::Value;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    sync::Arc,
};

/// The clients present in each place.
///
/// The members of a place's topic receive its events. The place's own lock is held while a client enters or leaves
/// and the event is queued, so that every client sees the events in one order, and the list it starts with matches
/// the events after it. Tasks are woken after the lock is released.
#[derive(Debug)]
pub(crate) struct Places {
    hasher: RandomState,
    pub(super) shards: [Mutex<HashMap<Box<str>, Arc<Place>>>; SHARDS],
}

/// One place. It exists while a client is present.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: Box<str>,
    pub(super) here: Mutex<Here>,
}

#[derive(Debug, Default)]
pub(super) struct Here {
    /// The last client has left; nobody may enter this one any more.
    ended: bool,
    /// The clients of all nodes.
    pub(super) list: List,
    /// The users of this node. Empty in a place where its connections are present for themselves.
    users: Users,
    /// Bytes of the connections of users.
    connection_bytes: usize,
}

/// Who enters.
struct Entering<'a> {
    client: &'a Arc<Client>,
    /// The user for whom it does, if it is not present for itself.
    user: Option<&'a str>,
}

const SHARDS: usize = 64;

impl Default for Places {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Hub {
    /// Makes a client present, for itself or for its principal, or changes its data.
    pub(crate) fn enter(&self, client: &Arc<Client>, name: &str, by_principal: bool, data: Value) -> Result {
        Name::Place(name).check()?;
        let (bytes, limit) = (memory_of(&data), self.config.presence_bytes);
        if bytes > limit {
            let text = format!("presence data of {bytes} bytes is over the limit of {limit}");
            return Err(Error::invalid_argument(text));
        }
        let user = if by_principal { Some(user_of(client)?) } else { None };
        let tag = self.nodes.as_ref().map_or(0, |nodes| nodes.own.next_tag());
        let bytes = ENTRY_BYTES + bytes + user.map_or(0, str::len);
        let entry = Entry { data, bytes, tag, published: 0, user: None };
        let mut effects = Effects::default();
        let entering = Entering { client, user };
        let entered = self.places.at(name, |here| self.enter_here(&entering, name, here, entry, &mut effects));
        self.run(effects);
        entered
    }

    fn enter_here(
        &self,
        entering: &Entering<'_>,
        name: &str,
        here: &mut Here,
        mut entry: Entry,
        effects: &mut Effects,
    ) -> Result {
        let Entering { client, user } = *entering;
        here.check_kind(self.node, user)?;
        let id = user.and_then(|user| here.users.entry(user)).unwrap_or(client.id);
        let known = here.list.get(id);
        let of_user = user.map(|user| here.list.next_version(user));
        // Another page of a user is news only if it changes something, here or for those who see what was set elsewhere.
        let is_shown = |user| here.list.shown(user) == Some(&entry.data);
        let is_set = known.is_some_and(|known| known.data == entry.data);
        let is_change = user.is_none_or(|user| !is_set || !is_shown(user));
        let is_new = if user.is_some() { !here.users.has(client.id) } else { known.is_none() };
        let more = if is_new && user.is_some() { ENTRY_BYTES } else { 0 };
        here.check(id, entry.bytes + more, self.config.presence_bytes_per_place)?;
        entry.published = known.map_or(0, |known| known.published);
        let reserved = is_change.then(|| self.reserve(name, known, &entry)).transpose()?;
        if is_new && let Err(error) = self.begin(client, name, here, effects) {
            reserved.into_iter().for_each(|reserved| self.release(reserved));
            return Err(error);
        }
        if let Some(user) = of_user.as_ref().filter(|_| is_new) {
            here.users.enter(&user.name, client.id);
            here.connection_bytes += more;
        }
        if !is_change {
            return Ok(());
        }
        self.mark(name, id, 0);
        entry.user = of_user.map(Box::new);
        let (news, _) = here.list.change(vec![(id, Some(entry))]);
        self.tell_all(name, news, &[], effects)
    }

    /// Sends the client the events of a place without making it present.
    pub(crate) fn observe(&self, client: &Arc<Client>, name: &str) -> Result {
        Name::Place(name).check()?;
        let mut effects = Effects::default();
        let begun = self.places.at(name, |here| self.begin(client, name, here, &mut effects));
        self.run(effects);
        begun
    }

    /// Makes the client a member of the topic if it is not, and queues the list for it.
    fn begin(&self, client: &Arc<Client>, name: &str, here: &Here, effects: &mut Effects) -> Result {
        let topic = Name::Place(name);
        if self.topics.is_member(client, topic) {
            return Ok(());
        }
        // Fails once the connection has ended: from then on nothing would remove the client.
        self.topics.join(client, topic, Keeping::Nothing)?;
        let mut notice = PresenceNotice::new(name);
        notice.here = Some(here.list.present());
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

    /// Removes a client, present or observing, and tells it so: its list of the place has ended.
    pub(crate) fn leave(&self, client: &Arc<Client>, name: &str) {
        let topic = Name::Place(name);
        if !self.topics.is_member(client, topic) {
            return;
        }
        let queued = self.places.at(name, |_| {
            self.topics.leave(client, topic);
            client.queue_packet(&Outgoing::Event { name: PRESENCE.name(), data: &left_by(client.id, name) })
        });
        // One that cannot be told is closed for it, as any that does not read.
        if let Ok(waker) = queued {
            let mut effects = Effects::default();
            effects.wake(waker);
            self.run(effects);
        }
        self.left(client.id, name);
    }

    /// Removes a client that is gone from all its places.
    pub(super) fn left_all(&self, id: ConnectionId, places: &[Arc<str>]) {
        for name in places {
            self.left(id, name);
        }
    }

    fn left(&self, id: ConnectionId, name: &str) {
        if self.places.find(name).is_none() {
            return;
        }
        let mut effects = Effects::default();
        let told = self.places.at(name, |here| {
            let gone = here.leave(id)?;
            let (news, removed) = here.list.change(vec![(gone, None)]);
            removed.iter().for_each(|(gone, removed)| self.mark_left(name, *gone, removed));
            Some(self.tell_all(name, news, &[id], &mut effects))
        });
        self.run(effects);
        if let Some(Err(error)) = told {
            tracing::error!(name, ?error, "the members were not told who left");
        }
    }

    /// Returns all clients present in a place, on all nodes.
    pub(crate) fn present(&self, name: &str) -> Vec<Present<Value>> {
        self.places.find(name).map(|place| place.here.lock().list.present()).unwrap_or_default()
    }

    /// Returns the clients of this node that are present in a place.
    pub(crate) fn present_here(&self, name: &str) -> Vec<Present<Value>> {
        let Some(place) = self.places.find(name) else { return Vec::new() };
        let here = place.here.lock();
        here.list.of_node(self.node).map(|(id, entry)| Present::new(*id, entry.data.clone())).collect()
    }

    /// Publishes what has changed on this node alone: the others tell their members what they hear of it. Under the place's
    /// lock, so that the list that a member starts with matches the notices after it.
    pub(super) fn tell_all(
        &self,
        name: &str,
        news: News,
        except: &[ConnectionId],
        effects: &mut Effects,
    ) -> Result {
        let mut told = Ok(());
        for notice in news.notices(name) {
            match self.tell(name, notice, except) {
                Ok(more) => effects.extend(more),
                Err(error) => told = Err(error),
            }
        }
        told
    }

    fn tell(&self, name: &str, notice: PresenceNotice, except: &[ConnectionId]) -> Result<Effects> {
        self.queue(Name::Place(name), Some(PRESENCE.name()), &notice, None, except)
    }
}

impl Places {
    /// Calls `change` under the place's lock.
    pub(super) fn at<T>(&self, name: &str, change: impl FnOnce(&mut Here) -> T) -> T {
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

    pub(super) fn find(&self, name: &str) -> Option<Arc<Place>> {
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

    /// Removes a place that has ended, unless a new one of its name has replaced it.
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
    /// Checks that this node's part of the place has entries of this kind alone: a list that counts some users once and
    /// others for each page is of no use.
    fn check_kind(&self, node: u64, user: Option<&str>) -> Result {
        let (is_empty, has_users) = (self.list.of_node(node).next().is_none(), !self.users.is_empty());
        if is_empty || has_users == user.is_some() {
            return Ok(());
        }
        Err(Error::failed_precondition("in one place, clients are present either by principal or by connection"))
    }

    /// Checks that there is room for a new or changed entry, of `bytes` with what else it takes.
    fn check(&self, id: ConnectionId, bytes: usize, limit: usize) -> Result {
        let known = self.list.get(id).map_or(0, |known| known.bytes);
        if self.list.bytes() + self.connection_bytes - known + bytes > limit {
            return Err(Error::resource_exhausted(format!(
                "this place is full: its data is limited to {limit} bytes"
            )));
        }
        Ok(())
    }

    /// Takes a connection of this node off the list of its user. Returns the entry that is gone with it.
    fn leave(&mut self, id: ConnectionId) -> Option<ConnectionId> {
        match self.users.leave(id) {
            None if self.users.is_empty() => Some(id),
            // It had left already, and its user may still have an entry of its name.
            None => None,
            Some(gone) => {
                self.connection_bytes -= ENTRY_BYTES;
                if let Gone::Last(entry) = gone { Some(entry) } else { None }
            }
        }
    }
}

fn left_by(id: ConnectionId, name: &str) -> PresenceNotice {
    let mut notice = PresenceNotice::new(name);
    notice.left.push(id);
    notice
}

fn user_of(client: &Client) -> Result<&str> {
    let Some(Principal(name)) = client.context.principal() else {
        return Err(Error::failed_precondition("a client without a principal cannot be present by principal"));
    };
    check_principal(name)?;
    Ok(name)
}

/// The ids of the connections of a node.
pub(super) fn ids_of(node: u64) -> RangeInclusive<ConnectionId> {
    ConnectionId { node, number: 0 }..=ConnectionId { node, number: u64::MAX }
}

/// Bytes of an entry beside its data, and of a user's connection.
pub(super) const ENTRY_BYTES: usize = 64;

/// Returns the approximate memory of a value.
pub(super) fn memory_of(value: &Value) -> usize {
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(memory_of).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| 32 + name.len() + memory_of(value)).sum(),
    };
    32 + inside
}
