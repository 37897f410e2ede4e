use super::outcome::{Outcome, Pending, Waiter};
use crate::config::Config;
use crate::context::{Peer, PrivatePeers};
use crate::util::sync::Mutex;
use realtime_protocol::format::Value;
use realtime_protocol::{Code, ConnectionId, Error, Result};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    sync::Arc,
};

/// The outcomes of calls with an idempotency key: a call that is made again is not run again, but has the outcome of
/// the first, also while that still runs.
///
/// Outcomes are kept for a window of time. There may be so many calls and so many bytes, in all and of each owner: the oldest
/// outcome makes room for the next, first among the owner's own, and what runs stays. An error that is retryable is not kept.
pub(crate) struct Outcomes {
    limits: Limits,
    /// Two, for an id of 128 bits.
    hashes: [RandomState; 2],
    entries: Mutex<Entries>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    calls: usize,
    calls_per_peer: usize,
    bytes: usize,
    bytes_per_peer: usize,
    private_peers: PrivatePeers,
    /// In ticks.
    window: u32,
}

/// A call with a key.
#[derive(Debug)]
pub(crate) struct Keyed<'a> {
    pub(crate) scope: Scope<'a>,
    /// Where the caller is, if that is known.
    pub(crate) peer: Option<Peer>,
    /// The procedure.
    pub(crate) name: &'a str,
    /// The key that the client chose.
    pub(crate) key: &'a str,
    pub(crate) input: &'a Value<'a>,
}

/// Whose key it is: nobody has the outcome of another's call.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Scope<'a> {
    Principal { endpoint: Cow<'a, str>, name: &'a str },
    Connection(ConnectionId),
}

/// What to do with a call.
#[derive(Debug)]
pub(crate) enum Begin {
    /// It is the first: run it, and wait for its outcome.
    Run(Ticket, Waiter),
    /// It runs elsewhere, or has: wait for its outcome.
    Wait(Waiter),
}

impl Outcomes {
    pub(super) fn new(config: &Config, window: u32) -> Arc<Self> {
        let limits = Limits {
            calls: config.idempotent_calls,
            calls_per_peer: config.idempotent_calls_per_peer,
            bytes: config.idempotency_bytes,
            bytes_per_peer: config.idempotency_bytes_per_peer,
            private_peers: config.private_peers,
            window,
        };
        let hashes = [(); 2].map(|()| RandomState::new());
        Arc::new(Self { limits, hashes, entries: Mutex::default() })
    }

    /// Begins a call, or joins the one that has begun.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the key was used with another input, `RESOURCE_EXHAUSTED` if as many calls as may be are
    /// running.
    pub(crate) fn begin(self: &Arc<Self>, call: &Keyed<'_>) -> Result<Begin> {
        let id = self.id(call);
        let input = self.digest(call.input);
        let owner = self.limits.private_peers.one_client(call.peer).map_or(Owner::Scope(id.scope), Owner::Peer);
        let pending = Arc::<Pending>::default();
        let mut entries = self.entries.lock();
        if let Some(known) = entries.calls.get(&id) {
            if known.input != input {
                return Err(Error::invalid_argument("the idempotency key was used with another input"));
            }
            return Ok(Begin::Wait(known.pending.wait()));
        }
        let evicted = entries.make_room(owner, &self.limits);
        let inserted = evicted.is_ok();
        if inserted {
            entries.insert(id, Entry { pending: Arc::clone(&pending), owner, input, settled: None });
        }
        drop(entries);
        drop(evicted?);
        let waiter = pending.wait();
        Ok(Begin::Run(Ticket { outcomes: Arc::clone(self), id, pending: Some(pending) }, waiter))
    }

    /// Drops what need not be kept any longer at the tick `now`.
    pub(crate) fn expire(&self, now: u32) {
        let expired = self.entries.lock().expire(now);
        drop(expired);
    }

    /// Stands for the key, its procedure and whose it is: an entry then has a fixed size, however long they are. Nobody
    /// outside can find two with one id, and by chance there are none.
    fn id(&self, call: &Keyed<'_>) -> Id {
        let parts = (&call.scope, call.name, call.key);
        let key = [self.hashes[0].hash_one(parts), self.hashes[1].hash_one(parts)];
        Id { scope: self.hashes[0].hash_one(&call.scope), key }
    }

    /// Stands for the input, in whatever form it came and whatever the order of its fields.
    fn digest(&self, input: &Value<'_>) -> u64 {
        let hashes = &self.hashes[0];
        match input.reborrow().parse::<serde_json::Value>() {
            Ok(value) => digest(hashes, &value),
            Err(_) => hashes.hash_one(input.bytes()),
        }
    }

    fn settle(&self, id: Id, pending: &Pending, outcome: Outcome, until: Option<u32>) {
        let again = outcome.as_ref().is_err_and(|error| error.is_retryable());
        let mut entries = self.entries.lock();
        // Before those who wait know it: who of them tries again is to run.
        let dropped = match until.filter(|_| !again) {
            Some(until) => entries.keep(id, &outcome, until, &self.limits),
            None => entries.remove(id).into_iter().map(|entry| entry.pending).collect(),
        };
        drop(entries);
        drop(dropped);
        pending.settle(outcome);
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn digest(hashes: &RandomState, value: &serde_json::Value) -> u64 {
    use serde_json::Value::{Array, Object};
    match value {
        Array(items) => hashes.hash_one(items.iter().map(|item| digest(hashes, item)).collect::<Vec<_>>()),
        Object(fields) => fields
            .iter()
            .map(|(name, value)| hashes.hash_one((name, digest(hashes, value))))
            .fold(fields.len() as u64, u64::wrapping_add),
        scalar => hashes.hash_one(scalar.to_string()),
    }
}

/// The right to run a call. Dropped without [`finish`](Self::finish), by a panic or a shutdown, it tells those who wait
/// to try again.
#[must_use = "those who wait for the call are told to try again when it is dropped"]
pub(crate) struct Ticket {
    outcomes: Arc<Outcomes>,
    id: Id,
    /// None once it is settled.
    pending: Option<Arc<Pending>>,
}

impl Ticket {
    /// Gives the outcome to all who wait, and keeps it for others unless it is a retryable error.
    pub(crate) fn finish(mut self, outcome: Outcome, now: u32) {
        let until = now.wrapping_add(self.outcomes.limits.window);
        self.settle(outcome, Some(until));
    }

    /// Tells all who wait that the call was not run. Nothing is kept.
    pub(crate) fn refuse(mut self, error: Error) {
        self.settle(Err(Arc::new(error)), None);
    }

    fn settle(&mut self, outcome: Outcome, until: Option<u32>) {
        if let Some(pending) = self.pending.take() {
            self.outcomes.settle(self.id, &pending, outcome, until);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.pending.is_some() {
            self.settle(Err(Arc::new(Error::new(Code::ABORTED, "the call was given up").with_retry())), None);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id {
    scope: u64,
    key: [u64; 2],
}

/// Whose share a call is counted for: that of the client's network, or of its principal or connection where the address is
/// not known or stands for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Peer(Peer),
    Scope(u64),
}

#[derive(Default)]
struct Entries {
    calls: HashMap<Id, Entry>,
    /// What is settled, by number: the oldest first.
    settled: BTreeMap<u64, Id>,
    next: u64,
    all: Share,
    /// No larger than `calls`: an owner without calls has no share.
    owners: HashMap<Owner, Share>,
}

struct Entry {
    pending: Arc<Pending>,
    owner: Owner,
    /// The digest of the input.
    input: u64,
    /// None while it runs.
    settled: Option<Settled>,
}

#[derive(Clone, Copy)]
struct Settled {
    number: u64,
    /// The tick until which it is kept.
    until: u32,
    /// What its outcome takes; 0 once that is forgotten.
    bytes: usize,
}

/// What there is, in all or of one owner.
#[derive(Default)]
struct Share {
    calls: usize,
    bytes: usize,
    /// Numbers of settled calls.
    settled: BTreeSet<u64>,
    /// Those whose outcome is still there.
    held: BTreeSet<u64>,
}

impl Entries {
    /// Makes room for one more call; returns what had to go.
    fn make_room(&mut self, owner: Owner, limits: &Limits) -> Result<Vec<Entry>> {
        let mut evicted = Vec::new();
        let own = self.owners.get(&owner);
        if let Some(own) = own.filter(|own| own.calls >= limits.calls_per_peer) {
            let oldest = own.settled.first().copied();
            evicted.extend(self.evict(oldest.ok_or_else(|| exhausted("this client"))?));
        }
        if self.all.calls >= limits.calls {
            let oldest = self.all.settled.first().copied();
            evicted.extend(self.evict(oldest.ok_or_else(|| exhausted("all clients"))?));
        }
        Ok(evicted)
    }

    fn insert(&mut self, id: Id, entry: Entry) {
        for share in [&mut self.all, self.owners.entry(entry.owner).or_default()] {
            share.calls += 1;
        }
        self.calls.insert(id, entry);
    }

    /// Keeps an outcome; returns what had to be forgotten for it.
    fn keep(&mut self, id: Id, outcome: &Outcome, until: u32, limits: &Limits) -> Vec<Arc<Pending>> {
        let Some(entry) = self.calls.get_mut(&id) else { return Vec::new() };
        let (owner, number, bytes) = (entry.owner, self.next, bytes_of(outcome));
        self.next += 1;
        entry.settled = Some(Settled { number, until, bytes });
        self.settled.insert(number, id);
        for share in [&mut self.all, self.owners.entry(owner).or_default()] {
            share.bytes += bytes;
            share.settled.insert(number);
            share.held.insert(number);
        }
        let mut forgotten = Vec::new();
        while let Some(oldest) = self.owners.get(&owner).and_then(|own| own.over(limits.bytes_per_peer)) {
            forgotten.extend(self.forget(oldest));
        }
        while let Some(oldest) = self.all.over(limits.bytes) {
            forgotten.extend(self.forget(oldest));
        }
        forgotten
    }

    /// Forgets an outcome, but not that the call has run.
    fn forget(&mut self, number: u64) -> Option<Arc<Pending>> {
        let entry = self.calls.get_mut(self.settled.get(&number)?)?;
        let settled = entry.settled.as_mut()?;
        let bytes = std::mem::take(&mut settled.bytes);
        for share in [&mut self.all, self.owners.entry(entry.owner).or_default()] {
            share.bytes -= bytes;
            share.held.remove(&number);
        }
        let error = Error::failed_precondition("the call has run, and its outcome is not kept any longer");
        let forgotten = Arc::new(Pending::settled(Err(Arc::new(error))));
        Some(std::mem::replace(&mut entry.pending, forgotten))
    }

    fn expire(&mut self, now: u32) -> Vec<Entry> {
        let mut expired = Vec::new();
        while let Some((&number, id)) = self.settled.first_key_value()
            && let Some(Settled { until, .. }) = self.calls.get(id).and_then(|entry| entry.settled)
            && is_past(until, now)
        {
            expired.extend(self.evict(number));
        }
        expired
    }

    fn evict(&mut self, number: u64) -> Option<Entry> {
        let id = *self.settled.get(&number)?;
        self.remove(id)
    }

    fn remove(&mut self, id: Id) -> Option<Entry> {
        let entry = self.calls.remove(&id)?;
        let own = self.owners.entry(entry.owner).or_default();
        for share in [&mut self.all, own] {
            share.calls -= 1;
            if let Some(Settled { number, bytes, .. }) = entry.settled {
                share.bytes -= bytes;
                share.settled.remove(&number);
                share.held.remove(&number);
            }
        }
        if self.owners.get(&entry.owner).is_some_and(|own| own.calls == 0) {
            self.owners.remove(&entry.owner);
        }
        if let Some(Settled { number, .. }) = entry.settled {
            self.settled.remove(&number);
        }
        Some(entry)
    }
}

impl Share {
    /// The oldest outcome, where there are too many bytes.
    fn over(&self, limit: usize) -> Option<u64> {
        if self.bytes > limit { self.held.first().copied() } else { None }
    }
}

fn bytes_of(outcome: &Outcome) -> usize {
    match outcome {
        Ok(encoded) => encoded.len(),
        Err(error) => serde_json::to_vec(&**error).map_or(0, |json| json.len()),
    }
}

/// The clock may wrap between the two.
fn is_past(until: u32, now: u32) -> bool {
    now.wrapping_sub(until) <= u32::MAX / 2
}

fn exhausted(whose: &str) -> Error {
    Error::resource_exhausted(format!("too many calls of {whose} with an idempotency key are running"))
}

#[cfg(test)]
mod tests;
