use super::Hub;
use crate::{
    ConnectionId,
    endpoint::Keeping,
    error::{Error, Result},
    presence::{PRESENCE, PresenceNotice, Present},
    protocol::Outgoing,
    session::Session,
    sync::{Mutex, MutexGuard},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// Who is present where.
///
/// The members of a place's topic are those who are told. One lock is held while someone comes or goes and that is told,
/// so that each client sees what happens in one order, and the list that it begins with fits what follows.
#[derive(Debug)]
pub(crate) struct Places {
    hasher: RandomState,
    shards: [Mutex<HashMap<Box<str>, Place>>; SHARDS],
}

type Place = BTreeMap<ConnectionId, Value>;

const SHARDS: usize = 64;

impl Default for Places {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Hub {
    /// A client comes, or changes its data.
    pub(crate) fn enter(&self, session: &Arc<Session>, name: &str, data: Value) -> Result {
        let topic = topic_of(name)?;
        let mut places = self.places.shard(name);
        if let Some(known) = places.get_mut(name).and_then(|place| place.get_mut(&session.id)) {
            known.clone_from(&data);
            let changed = vec![Present { connection: session.id, data }];
            return self.tell(
                &topic,
                PresenceNotice { name: name.to_owned(), changed, ..Default::default() },
                &[],
            );
        }
        self.begin(session, name, &topic, &places)?;
        places.entry(name.into()).or_default().insert(session.id, data.clone());
        let joined = vec![Present { connection: session.id, data }];
        self.tell(&topic, PresenceNotice { name: name.to_owned(), joined, ..Default::default() }, &[])
    }

    /// A client is told who comes and goes, and is not itself here.
    pub(crate) fn observe(&self, session: &Arc<Session>, name: &str) -> Result {
        let topic = topic_of(name)?;
        let places = self.places.shard(name);
        self.begin(session, name, &topic, &places)
    }

    /// Makes the client a member of the topic if it is none, and sends it the list.
    fn begin(&self, session: &Arc<Session>, name: &str, topic: &str, places: &HashMap<Box<str>, Place>) -> Result {
        if self.topics.is_member(session, topic) {
            return Ok(());
        }
        // Refused once the connection has ended: from then on nobody would make it leave.
        self.topics.join(session, topic, Keeping::Nothing)?;
        let here = places.get(name).map(present).unwrap_or_default();
        let notice = PresenceNotice { name: name.to_owned(), here: Some(here), ..Default::default() };
        let sent = session.send_packet(&Outgoing::Event { name: PRESENCE.name(), data: &notice });
        if sent.is_err() {
            self.topics.leave(session, topic);
        }
        sent
    }

    /// A client goes, or is no longer told.
    pub(crate) fn leave(&self, session: &Arc<Session>, name: &str) {
        if let Ok(topic) = topic_of(name) {
            self.topics.leave(session, &topic);
            self.left(session.id, name);
        }
    }

    /// A client is gone, and was a member of these topics.
    pub(super) fn left_all(&self, id: ConnectionId, topics: &[Arc<str>]) {
        for topic in topics {
            if let Some(name) = topic.strip_prefix(PREFIX) {
                self.left(id, name);
            }
        }
    }

    fn left(&self, id: ConnectionId, name: &str) {
        let mut places = self.places.shard(name);
        let Some(place) = places.get_mut(name) else { return };
        if place.remove(&id).is_none() {
            return;
        }
        if place.is_empty() {
            places.remove(name);
        }
        let notice = PresenceNotice { name: name.to_owned(), left: vec![id], ..Default::default() };
        if let Err(error) = topic_of(name).and_then(|topic| self.tell(&topic, notice, &[id])) {
            tracing::error!(name, ?error, "nobody was told who left");
        }
    }

    /// All who are in a place.
    pub(crate) fn present(&self, name: &str) -> Vec<Present<Value>> {
        self.places.shard(name).get(name).map(present).unwrap_or_default()
    }

    /// On this node alone: the others do not know who is here.
    fn tell(&self, topic: &str, notice: PresenceNotice, except: &[ConnectionId]) -> Result {
        self.deliver_here(topic, Some(PRESENCE.name()), &notice, None, except)
    }
}

impl Places {
    fn shard(&self, name: &str) -> MutexGuard<'_, HashMap<Box<str>, Place>> {
        self.shards[self.hasher.hash_one(name) as usize % SHARDS].lock()
    }
}

/// Whether a topic is that of a place.
pub(super) fn is_place(topic: &str) -> bool {
    topic.starts_with(PREFIX)
}

/// Topics of applications have no such name, as a rule.
const PREFIX: &str = "\0presence:";

fn topic_of(name: &str) -> Result<String> {
    match name.len() {
        1..=240 => Ok(format!("{PREFIX}{name}")),
        len => Err(Error::invalid_argument(format!("the name of a presence has {len} bytes instead of 1 to 240"))),
    }
}

fn present(place: &Place) -> Vec<Present<Value>> {
    place.iter().map(|(connection, data)| Present { connection: *connection, data: data.clone() }).collect()
}
