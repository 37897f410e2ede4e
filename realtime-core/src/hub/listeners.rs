use super::{Client, Name, revoked};
use crate::{
    config::Config,
    context::Principal,
    ledger::{Account, Class, Ledger},
    outbox::{Keeping, Right, may_hold},
    protocol::Encode,
    util::{
        sync::{
            Mutex,
            atomic::{
                AtomicU64, AtomicUsize,
                Ordering::{Acquire, Relaxed},
            },
        },
        wake,
    },
};
use realtime_protocol::{Code, ConnectionId, Error, Gap, Result, internal::Encoded};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    hash::{BuildHasher, RandomState},
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// The subscriptions that are served from topics, by the names of these.
///
/// A member of a topic is sent frames that all members share. A subscription has an id in each frame, credit and turns:
/// the messages wait in a queue, by the topic's policy, until its connection takes them.
#[derive(Debug)]
pub(crate) struct Listeners {
    /// Their number: while there are none, a publication does not look for them.
    count: AtomicUsize,
    hasher: RandomState,
    shards: [Mutex<HashMap<Box<str>, Listed>>; SHARDS],
    last: AtomicU64,
}

/// Those of one topic, by connection, which may have several.
type Listed = BTreeMap<(ConnectionId, u64), Arc<Listener>>;

const SHARDS: usize = 64;

/// One of them.
pub(crate) struct Listener {
    client: Arc<Client>,
    keeping: Keeping,
    right: Right,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    /// Messages that it misses in front of the first one.
    missed: Option<Gap>,
    /// More came than had room, and none may be missed.
    is_overrun: bool,
    /// The subscription waits for the next message, and not only for the end.
    wants_more: bool,
    task: Option<Waker>,
}

/// A message of a topic, for all who listen.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) value: Encoded,
    pub(crate) key: Option<String>,
    /// Counted once, for as long as it waits for any of them.
    _account: Account,
}

impl Message {
    fn of(message: &dyn Encode, key: Option<&str>, ledger: &Arc<Ledger>) -> Result<Self> {
        let (value, key) = (Encoded::of(message)?, key.map(str::to_owned));
        let mut account = Account::new(ledger, Class::Shared);
        account.set(size_of::<Self>() + value.len() + key.as_ref().map_or(0, String::len));
        Ok(Self { value, key, _account: account })
    }

    /// Returns its bytes as they count for one queue: those that go into an outbox, nearly, and its own, of which a small
    /// one has many times more.
    fn size(&self) -> usize {
        size_of::<Self>() + self.value.json.len()
    }
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            count: AtomicUsize::new(0),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            last: AtomicU64::new(0),
        }
    }
}

impl Listeners {
    /// Encodes a message of a topic, if somebody listens to it.
    pub(super) fn encode(
        &self,
        topic: &str,
        message: &dyn Encode,
        key: Option<&str>,
        config: &Config,
        ledger: &Arc<Ledger>,
    ) -> Result<Option<Arc<Message>>> {
        if self.count.load(Acquire) == 0 || !self.shard(topic).lock().contains_key(topic) {
            return Ok(None);
        }
        let message = Message::of(message, key, ledger)?;
        may_hold(config.outbox_bytes, message.value.json.len())?;
        Ok(Some(Arc::new(message)))
    }

    /// Queues a message for all who listen to the topic, in one order, and wakes them.
    pub(super) fn publish(&self, topic: &str, message: &Arc<Message>, except: &[ConnectionId]) -> usize {
        let mut wakers = Vec::new();
        let shard = self.shard(topic).lock();
        let listeners = shard.get(topic).into_iter().flat_map(Listed::values);
        let meant = listeners.filter(|listener| !except.contains(&listener.client.id));
        let heard = meant.map(|listener| wakers.extend(listener.push(message))).count();
        drop(shard);
        wakers.into_iter().for_each(Waker::wake);
        heard
    }

    /// Returns true if the connection has a subscription to the topic.
    pub(crate) fn has(&self, topic: &str, connection: ConnectionId) -> bool {
        let shard = self.shard(topic).lock();
        let of_connection = (connection, 0)..=(connection, u64::MAX);
        shard.get(topic).is_some_and(|listeners| listeners.range(of_connection).next().is_some())
    }

    /// Returns true if anybody listens to the topic.
    pub(super) fn is_heard(&self, topic: &str) -> bool {
        self.shard(topic).lock().contains_key(topic)
    }

    /// Ends what a principal hears of a topic.
    pub(super) fn revoke(&self, principal: &Principal, topic: &str) {
        let listeners = self.shard(topic).lock().get(topic).cloned().unwrap_or_default();
        for listener in listeners.into_values() {
            if listener.client.context.principal() == Some(principal) {
                listener.revoke();
            }
        }
    }

    /// Drops what waits for those who are behind, down to the newest message. Subscriptions that miss nothing out end.
    /// Returns the number of messages.
    pub(super) fn drop_older(&self) -> usize {
        let shards = self.shards.iter();
        let all =
            shards.flat_map(|shard| shard.lock().values().flat_map(Listed::values).cloned().collect::<Vec<_>>());
        all.map(|listener| listener.drop_older()).sum()
    }

    /// Adds one; returns its number.
    fn insert(&self, topic: &str, listener: &Arc<Listener>) -> u64 {
        let number = self.last.fetch_add(1, Relaxed);
        self.count.fetch_add(1, Relaxed);
        let mut shard = self.shard(topic).lock();
        shard.entry(topic.into()).or_default().insert((listener.client.id, number), Arc::clone(listener));
        number
    }

    fn remove(&self, topic: &str, key: (ConnectionId, u64)) {
        let mut shard = self.shard(topic).lock();
        let Some(listeners) = shard.get_mut(topic) else { return };
        let removed = listeners.remove(&key);
        if listeners.is_empty() {
            shard.remove(topic);
        }
        drop(shard);
        drop(removed);
        self.count.fetch_sub(1, Relaxed);
    }

    fn shard(&self, topic: &str) -> &Mutex<HashMap<Box<str>, Listed>> {
        &self.shards[self.hasher.hash_one(topic) as usize % SHARDS]
    }
}

impl Listener {
    /// Queues a message; returns whom to wake.
    fn push(&self, message: &Arc<Message>) -> Option<Waker> {
        let limit = self.client.hub.config.outbox_bytes;
        let mut queue = self.queue.lock();
        if queue.is_overrun || self.right.is_revoked() {
            return None;
        }
        queue.push(message, self.keeping, limit);
        let is_due = queue.wants_more || queue.is_overrun;
        queue.task.take_if(|_| is_due)
    }

    fn revoke(&self) {
        // Under the lock, so that nothing is queued after it.
        let before = {
            let mut queue = self.queue.lock();
            self.right.revoke();
            mem::take(&mut *queue)
        };
        wake(before.task);
    }

    fn drop_older(&self) -> usize {
        let (dropped, task) = {
            let mut queue = self.queue.lock();
            let older = queue.messages.len().saturating_sub(1);
            (0..older).for_each(|_| queue.drop_at(0, "memory"));
            if older > 0 && self.keeping == Keeping::Nothing {
                queue.overrun();
            }
            let is_overrun = queue.is_overrun;
            (older, queue.task.take_if(|_| is_overrun))
        };
        wake(task);
        dropped
    }

    /// The right to queue what it hears.
    pub(crate) fn right(&self) -> &Right {
        &self.right
    }

    /// Fails once the client is revoked from the topic, or has not kept up; the task is woken for that.
    pub(crate) fn check(&self, cx: &Context<'_>) -> Result {
        let waker = cx.waker().clone();
        let before = {
            let mut queue = self.queue.lock();
            if self.right.is_revoked() {
                return Err(revoked());
            }
            if queue.is_overrun {
                return Err(too_slow());
            }
            queue.wants_more = false;
            queue.task.replace(waker)
        };
        drop(before);
        Ok(())
    }
}

impl Queue {
    fn push(&mut self, message: &Arc<Message>, keeping: Keeping, limit: usize) {
        if keeping == Keeping::NewestOfEach
            && let Some(at) = self.messages.iter().position(|known| known.key == message.key)
        {
            self.drop_at(at, "conflated");
        }
        self.bytes += message.size();
        self.messages.push_back(Arc::clone(message));
        // One alone fits: it was compared with the outbox when it was encoded.
        while self.messages.len() > keeping.limit() || (self.bytes > limit && self.messages.len() > 1) {
            self.drop_at(0, "overflow");
            if keeping == Keeping::Nothing {
                return self.overrun();
            }
        }
    }

    fn overrun(&mut self) {
        self.is_overrun = true;
        self.messages = VecDeque::new();
        self.bytes = 0;
    }

    fn drop_at(&mut self, at: usize, cause: &str) {
        let Some(message) = self.messages.remove(at) else { return };
        self.bytes -= message.size();
        self.missed.get_or_insert_with(|| Gap::new(0, cause)).count += 1;
    }
}

/// A subscription to a topic, until it is dropped.
pub(crate) struct Listening {
    topic: Arc<str>,
    number: u64,
    listener: Arc<Listener>,
}

impl Listening {
    /// Begins to listen. Messages that are published from now on are heard.
    pub(crate) fn begin(client: &Arc<Client>, topic: &str, keeping: Keeping) -> Result<Self> {
        Name::Topic(topic).check()?;
        let (client, right, queue) = (Arc::clone(client), Right::default(), Mutex::default());
        let listener = Arc::new(Listener { client, keeping, right, queue });
        let (hub, topic) = (&listener.client.hub, Arc::from(topic));
        let number = hub.listeners.insert(&topic, &listener);
        hub.look_for_hearers(&topic);
        Ok(Self { topic, number, listener })
    }

    pub(crate) fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }

    /// Ready when there is a message, with the gap in front of it.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<(Arc<Message>, Option<Gap>)> {
        let waker = cx.waker().clone();
        let mut queue = self.listener.queue.lock();
        if let Some(message) = queue.messages.pop_front() {
            queue.bytes -= message.size();
            return Poll::Ready((message, queue.missed.take()));
        }
        queue.wants_more = true;
        let before = queue.task.replace(waker);
        drop(queue);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let client = &self.listener.client;
        client.hub.listeners.remove(&self.topic, (client.id, self.number));
        client.hub.look_for_hearers(&self.topic);
    }
}

/// Returns the error for a client that does not take what it may not miss.
pub(crate) fn too_slow() -> Error {
    Error::new(Code::RESOURCE_EXHAUSTED, "the client does not keep up").with_retry()
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("client", &self.client).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_messages_that_wait_stay_within_the_limit_and_are_counted() {
        const LIMIT: usize = 64 * 1024;
        let ledger = Arc::new(Ledger::new(1 << 30));
        let mut queue = Queue::default();
        for _ in 0..LIMIT {
            queue.push(&Arc::new(Message::of(&7, None, &ledger).unwrap()), Keeping::Newest(usize::MAX), LIMIT);
        }
        let bytes = queue.messages.len() * size_of::<Message>();
        assert!(bytes <= LIMIT, "{bytes}");
        assert!(ledger.of(Class::Shared) >= bytes);
        // One that fits into an outbox is not dropped for what it takes beside that.
        let text = "x".repeat(LIMIT - 2);
        queue.push(&Arc::new(Message::of(&text, None, &ledger).unwrap()), Keeping::Nothing, LIMIT);
        queue = Queue::default();
        queue.push(&Arc::new(Message::of(&text, None, &ledger).unwrap()), Keeping::Nothing, LIMIT);
        assert!(!queue.is_overrun && queue.messages.len() == 1);
        drop(queue);
        assert_eq!(ledger.of(Class::Shared), 0);
    }
}
