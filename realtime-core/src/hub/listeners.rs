use super::{Client, Name, revoked};
use crate::{
    context::Principal,
    outbox::{Keeping, Right, may_hold},
    protocol::Encode,
    util::{
        sync::{
            Mutex,
            atomic::{
                AtomicUsize,
                Ordering::{Acquire, Relaxed},
            },
        },
        wake,
    },
};
use realtime_protocol::{Code, ConnectionId, Error, Gap, Result, internal::Encoded};
use std::{
    collections::{HashMap, VecDeque},
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
    shards: [Mutex<HashMap<Box<str>, Vec<Arc<Listener>>>>; SHARDS],
}

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
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            count: AtomicUsize::new(0),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
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
        limit: usize,
    ) -> Result<Option<Arc<Message>>> {
        if self.count.load(Acquire) == 0 || !self.shard(topic).lock().contains_key(topic) {
            return Ok(None);
        }
        let value = Encoded::of(message)?;
        may_hold(limit, value.json.len())?;
        Ok(Some(Arc::new(Message { value, key: key.map(str::to_owned) })))
    }

    /// Queues a message for all who listen to the topic, in one order, and wakes them.
    pub(super) fn publish(&self, topic: &str, message: &Arc<Message>, except: &[ConnectionId]) -> usize {
        let mut wakers = Vec::new();
        let shard = self.shard(topic).lock();
        let listeners = shard.get(topic).map_or(&[][..], |listeners| listeners);
        let meant = listeners.iter().filter(|listener| !except.contains(&listener.client.id));
        let heard = meant.map(|listener| wakers.extend(listener.push(message))).count();
        drop(shard);
        wakers.into_iter().for_each(Waker::wake);
        heard
    }

    /// Returns true if the connection has a subscription to the topic.
    pub(crate) fn has(&self, topic: &str, connection: ConnectionId) -> bool {
        let shard = self.shard(topic).lock();
        shard.get(topic).is_some_and(|listeners| listeners.iter().any(|listener| listener.client.id == connection))
    }

    /// Ends what a principal hears of a topic.
    pub(super) fn revoke(&self, principal: &Principal, topic: &str) {
        let listeners = self.shard(topic).lock().get(topic).cloned().unwrap_or_default();
        for listener in listeners {
            if listener.client.context.principal() == Some(principal) {
                listener.revoke();
            }
        }
    }

    fn insert(&self, topic: &str, listener: &Arc<Listener>) {
        self.count.fetch_add(1, Relaxed);
        self.shard(topic).lock().entry(topic.into()).or_default().push(Arc::clone(listener));
    }

    fn remove(&self, topic: &str, listener: &Arc<Listener>) {
        let mut shard = self.shard(topic).lock();
        let Some(listeners) = shard.get_mut(topic) else { return };
        listeners.retain(|listed| !Arc::ptr_eq(listed, listener));
        if listeners.is_empty() {
            shard.remove(topic);
        }
        drop(shard);
        self.count.fetch_sub(1, Relaxed);
    }

    fn shard(&self, topic: &str) -> &Mutex<HashMap<Box<str>, Vec<Arc<Listener>>>> {
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
        self.bytes += message.value.len();
        self.messages.push_back(Arc::clone(message));
        while self.messages.len() > keeping.limit() || self.bytes > limit {
            self.drop_at(0, "overflow");
            self.is_overrun = keeping == Keeping::Nothing;
        }
        if self.is_overrun {
            self.messages = VecDeque::new();
        }
    }

    fn drop_at(&mut self, at: usize, cause: &str) {
        let Some(message) = self.messages.remove(at) else { return };
        self.bytes -= message.value.len();
        self.missed.get_or_insert_with(|| Gap::new(0, cause)).count += 1;
    }
}

/// A subscription to a topic, until it is dropped.
pub(crate) struct Listening {
    topic: Box<str>,
    listener: Arc<Listener>,
}

impl Listening {
    /// Begins to listen. Messages that are published from now on are heard.
    pub(crate) fn begin(client: &Arc<Client>, topic: &str, keeping: Keeping) -> Result<Self> {
        Name::Topic(topic).check()?;
        let (client, right, queue) = (Arc::clone(client), Right::default(), Mutex::default());
        let listener = Arc::new(Listener { client, keeping, right, queue });
        listener.client.hub.listeners.insert(topic, &listener);
        Ok(Self { topic: topic.into(), listener })
    }

    pub(crate) fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }

    /// Ready when there is a message, with the gap in front of it.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<(Arc<Message>, Option<Gap>)> {
        let waker = cx.waker().clone();
        let mut queue = self.listener.queue.lock();
        if let Some(message) = queue.messages.pop_front() {
            queue.bytes -= message.value.len();
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
        self.listener.client.hub.listeners.remove(&self.topic, &self.listener);
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
