use super::outcome::{Outcome, Pending, Waiter};
use crate::{
    config::Config,
    context::{Peer, PrivatePeers},
    ledger::{Class, Ledger},
    util::sync::Mutex,
};
use realtime_protocol::{Code, ConnectionId, Error, Result, format::Value};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::RandomState},
    fmt,
    future::poll_fn,
    hash::BuildHasher,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

/// The outcomes of calls with an idempotency key: a repeated call is not run again, but gets the outcome of the first,
/// even while that is still running.
///
/// Outcomes are stored for a window of time, with limits of calls and bytes, in total and for each owner. The oldest
/// outcome makes room for a new one, the owner's own first; running calls stay. Retryable errors are not stored.
pub(crate) struct Outcomes {
    limits: Limits,
    /// Two, for an id of 128 bits.
    hashes: [RandomState; 2],
    entries: Mutex<Entries>,
    ledger: Arc<Ledger>,
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
    /// The caller's address, if known.
    pub(crate) peer: Option<Peer>,
    /// The procedure.
    pub(crate) name: &'a str,
    /// The key that the client chose.
    pub(crate) key: &'a str,
    pub(crate) input: &'a Value<'a>,
}

/// The owner of a key: no caller receives the outcome of another's call.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Scope<'a> {
    Principal { endpoint: Cow<'a, str>, name: &'a str },
    Connection(ConnectionId),
}

/// The way to handle a call.
#[derive(Debug)]
pub(crate) enum Begin {
    /// The first call with its key: run it, and wait for its outcome.
    Run(Ticket, Waiter),
    /// A call that is running elsewhere, or has run: wait for its outcome.
    Wait(Waiter),
}

impl Outcomes {
    pub(super) fn new(config: &Config, window: u32, ledger: &Arc<Ledger>) -> Arc<Self> {
        let limits = Limits {
            calls: config.idempotent_calls,
            calls_per_peer: config.idempotent_calls_per_peer,
            bytes: config.idempotency_bytes,
            bytes_per_peer: config.idempotency_bytes_per_peer,
            private_peers: config.private_peers,
            window,
        };
        let hashes = [(); 2].map(|()| RandomState::new());
        Arc::new(Self { limits, hashes, entries: Mutex::default(), ledger: Arc::clone(ledger) })
    }

    /// Begins a call, or joins the one that has the same key.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the key was used with another input, `RESOURCE_EXHAUSTED` if the limit of running calls is
    /// reached.
    pub(crate) fn begin(self: &Arc<Self>, call: &Keyed<'_>) -> Result<Begin> {
        let id = self.id(call);
        let input = self.digest(call.input);
        let owner = self.limits.private_peers.one_client(call.peer).map_or(Owner::Scope(id.scope), Owner::Peer);
        let principal = match call.scope {
            Scope::Principal { name, .. } => Some(self.principal(name)),
            Scope::Connection(_) => None,
        };
        let pending = Arc::<Pending>::default();
        let mut entries = self.entries.lock();
        if let Some(known) = entries.calls.get(&id) {
            if known.input != input {
                return Err(Error::invalid_argument("the idempotency key was used with another input"));
            }
            return Ok(Begin::Wait(known.pending.wait()));
        }
        let evicted = self.counted(&mut entries, |entries| entries.make_room(owner, &self.limits));
        let inserted = evicted.is_ok();
        if inserted {
            entries.insert(id, Entry { pending: Arc::clone(&pending), owner, principal, input, settled: None });
        }
        drop(entries);
        drop(evicted?);
        let waiter = pending.wait();
        Ok(Begin::Run(Ticket { outcomes: Arc::clone(self), id, pending: Some(pending) }, waiter))
    }

    /// Drops the outcomes whose window is over at the tick `now`.
    pub(crate) fn expire(&self, now: u32) {
        let mut entries = self.entries.lock();
        let expired = self.counted(&mut entries, |entries| entries.expire(now));
        drop(entries);
        drop(expired);
    }

    /// Drops the outcomes of a principal's calls, and ends those that run.
    pub(super) fn revoke(&self, principal: &str) {
        let principal = Some(self.principal(principal));
        let revoked: Vec<_> = {
            let mut entries = self.entries.lock();
            let own = entries.calls.iter().filter(|(_, entry)| entry.principal == principal);
            let ids: Vec<_> = own.map(|(id, _)| *id).collect();
            self.counted(&mut entries, |entries| ids.into_iter().filter_map(|id| entries.remove(id)).collect())
        };
        for entry in revoked {
            entry.pending.settle(Err(Arc::new(super::revocations::revoked())));
        }
    }

    fn principal(&self, name: &str) -> u64 {
        self.hashes[1].hash_one(name)
    }

    /// Changes the entries, and counts their bytes anew.
    fn counted<T>(&self, entries: &mut Entries, change: impl FnOnce(&mut Entries) -> T) -> T {
        let before = entries.all.bytes;
        let output = change(entries);
        self.ledger.change(Class::Outcomes, before, entries.all.bytes);
        output
    }

    /// Hashes the key with its procedure and owner, so that an entry has a fixed size however long they are. Clients
    /// cannot find two with the same id, and a collision by chance is too unlikely to matter.
    fn id(&self, call: &Keyed<'_>) -> Id {
        let parts = (&call.scope, call.name, call.key);
        let key = [self.hashes[0].hash_one(parts), self.hashes[1].hash_one(parts)];
        Id { scope: self.hashes[0].hash_one(&call.scope), key }
    }

    /// Hashes the input, independently of its format and the order of its fields.
    fn digest(&self, input: &Value<'_>) -> u64 {
        let hashes = &self.hashes[0];
        match input.reborrow().parse::<serde_json::Value>() {
            Ok(value) => digest(hashes, &value),
            Err(_) => hashes.hash_one(input.bytes()),
        }
    }

    fn settle(&self, id: Id, pending: &Arc<Pending>, outcome: Outcome, until: Option<u32>) {
        let again = outcome.as_ref().is_err_and(|error| error.is_retryable());
        let mut entries = self.entries.lock();
        // Removed before the waiting callers know it: one of them that retries is to run the call.
        let dropped = self.counted(&mut entries, |entries| match until.filter(|_| !again) {
            // It was revoked meanwhile, and another call may have its key.
            _ if !entries.has(id, pending) => Vec::new(),
            Some(until) => entries.keep(id, &outcome, until, &self.limits),
            None => entries.remove(id).into_iter().map(|entry| entry.pending).collect(),
        });
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

/// The right to run a call. If it is dropped without [`finish`](Self::finish), by a panic or a shutdown, the waiting
/// callers are told to retry.
#[must_use = "those who wait for the call are told to try again when it is dropped"]
pub(crate) struct Ticket {
    outcomes: Arc<Outcomes>,
    id: Id,
    /// None once it is settled.
    pending: Option<Arc<Pending>>,
}

impl Ticket {
    /// Runs the call; `None` if it is revoked first.
    pub(crate) async fn run<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let Some(pending) = &self.pending else { return Some(call.await) };
        let (mut call, mut revoked) = (pin!(call), pending.wait());
        poll_fn(|cx| match Pin::new(&mut revoked).poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => call.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Sends the outcome to all waiting callers, and stores it unless it is a retryable error.
    pub(crate) fn finish(mut self, outcome: Outcome, now: u32) {
        let until = now.wrapping_add(self.outcomes.limits.window);
        self.settle(outcome, Some(until));
    }

    /// Tells all waiting callers that the call was not run. Nothing is stored.
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

/// The owner whose limits a call counts against: the client's network, or its principal or connection if the address is
/// unknown or shared by many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Peer(Peer),
    Scope(u64),
}

#[derive(Default)]
struct Entries {
    calls: HashMap<Id, Entry>,
    /// Settled calls by number, the oldest first.
    settled: BTreeMap<u64, Id>,
    next: u64,
    all: Share,
    /// No larger than `calls`: an owner without calls has no entry.
    owners: HashMap<Owner, Share>,
}

struct Entry {
    pending: Arc<Pending>,
    owner: Owner,
    /// The hash of its principal, if it has one.
    principal: Option<u64>,
    /// The hash of the input.
    input: u64,
    /// None while it runs.
    settled: Option<Settled>,
}

#[derive(Clone, Copy)]
struct Settled {
    number: u64,
    /// The tick until which it is stored.
    until: u32,
    /// Bytes of its outcome; 0 once that is dropped.
    bytes: usize,
}

/// The totals, of all owners or of one.
#[derive(Default)]
struct Share {
    calls: usize,
    bytes: usize,
    /// Numbers of settled calls.
    settled: BTreeSet<u64>,
    /// Numbers of those whose outcome is still stored.
    held: BTreeSet<u64>,
}

impl Entries {
    /// Makes room for one more call; returns the removed entries.
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

    fn has(&self, id: Id, pending: &Arc<Pending>) -> bool {
        self.calls.get(&id).is_some_and(|entry| Arc::ptr_eq(&entry.pending, pending))
    }

    /// Stores an outcome; returns the outcomes dropped for it.
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

    /// Drops an outcome, but not the fact that the call has run.
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
    /// Returns the oldest outcome, if the bytes exceed the limit.
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

/// Compares ticks; the clock may wrap between the two.
fn is_past(until: u32, now: u32) -> bool {
    now.wrapping_sub(until) <= u32::MAX / 2
}

fn exhausted(whose: &str) -> Error {
    Error::resource_exhausted(format!("too many calls of {whose} with an idempotency key are running"))
}

#[cfg(test)]
mod tests;
