use crate::util::{sync::Mutex, wake};
use async_trait::async_trait;
use bytes::Bytes;
use realtime_protocol::{
    ConnectionId, Error, Kind, Result,
    format::{Encode, WriteWith},
    internal::Encoded,
};
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

/// The link between the nodes of a cluster: carries publications to the members on other nodes.
///
/// A node delivers to its own members directly; the broker carries the publication to the other nodes. Without a
/// broker, a node is alone.
///
/// Each method is called by one task, which waits for one call to finish before it makes the next.
#[async_trait]
pub trait Broker: Send + Sync + fmt::Debug + 'static {
    /// Hands a publication to the other nodes; returns once the broker has accepted it.
    ///
    /// # Errors
    ///
    /// The publication was not accepted. If the error [is retryable](Error::is_retryable) it is tried up to 30 times,
    /// a second apart; otherwise, or after that, it is logged, counted and dropped.
    async fn publish(&self, publication: &Publication) -> Result;

    /// Waits for the next publication of another node.
    ///
    /// # Errors
    ///
    /// The link is down; the call is retried after a second.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must lose no publication.
    async fn receive(&self) -> Result<Publication>;
}

/// A message on its way to the members of a topic on other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publication {
    /// The number of the node that published it.
    pub node: u64,
    /// The topic's name.
    pub topic: String,
    /// The message as JSON.
    pub json: Bytes,
    /// The message as MessagePack. Without it, the receiving node converts the JSON, in which byte strings are arrays
    /// and numbers such as NaN are null.
    pub msgpack: Option<Bytes>,
    /// The message as a whole WebSocket message, if that differs from its JSON.
    pub whole: Option<(Kind, Bytes)>,
    /// The event's name, if it is an event.
    pub event: Option<String>,
    /// The key of the messages that it replaces for members who do not keep up, if it has one.
    pub key: Option<String>,
    /// Connections to leave out.
    pub except: Vec<ConnectionId>,
}

impl Publication {
    /// Creates a publication without MessagePack: see [`with_msgpack`](Self::with_msgpack).
    pub fn new(
        node: u64,
        topic: String,
        json: Bytes,
        whole: Option<(Kind, Bytes)>,
        except: Vec<ConnectionId>,
    ) -> Self {
        Self { node, topic, json, msgpack: None, whole, event: None, key: None, except }
    }

    /// Adds the message as MessagePack.
    #[must_use = "the publication with its MessagePack is returned"]
    pub fn with_msgpack(mut self, msgpack: Bytes) -> Self {
        self.msgpack = Some(msgpack);
        self
    }

    /// Makes it an event of this name.
    #[must_use = "the changed publication is returned"]
    pub fn with_event(mut self, name: String) -> Self {
        self.event = Some(name);
        self
    }

    /// Sets the key of the messages that it replaces.
    #[must_use = "the changed publication is returned"]
    pub fn with_key(mut self, key: String) -> Self {
        self.key = Some(key);
        self
    }

    /// Returns the bytes that it takes in a queue.
    pub(crate) fn size(&self) -> usize {
        let whole = self.whole.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let names = self.topic.len()
            + self.event.as_ref().map_or(0, String::len)
            + self.key.as_ref().map_or(0, String::len);
        let except = self.except.len() * size_of::<ConnectionId>();
        size_of::<Self>() + names + except + self.json.len() + self.msgpack.as_ref().map_or(0, Bytes::len) + whole
    }

    pub(crate) fn of(
        node: u64,
        topic: &str,
        event: Option<&str>,
        message: &dyn Encode,
        key: Option<String>,
        except: &[ConnectionId],
    ) -> Result<Self> {
        let Encoded { json, msgpack, whole } = Encoded::of(message)?;
        let publication = Self::new(node, topic.to_owned(), json, whole, except.to_vec());
        Ok(Self { event: event.map(str::to_owned), key, ..publication.with_msgpack(msgpack) })
    }
}

impl Encode for Publication {
    fn encode_json(&self, out: &mut Vec<u8>) -> Result {
        out.extend_from_slice(&self.json);
        Ok(())
    }

    fn encode_msgpack(&self, out: &mut Vec<u8>) -> Result {
        let Some(msgpack) = &self.msgpack else {
            return serde_json::from_slice::<serde_json::Value>(&self.json)?.encode_msgpack(out);
        };
        out.extend_from_slice(msgpack);
        Ok(())
    }

    fn encode_with(&self, write: WriteWith<'_>) -> Result {
        serde_json::from_slice::<serde_json::Value>(&self.json)?.encode_with(write)
    }

    fn as_whole(&self) -> Option<(Kind, &[u8])> {
        Some(self.whole.as_ref().map_or((Kind::Text, &self.json), |(kind, bytes)| (*kind, bytes)))
    }
}

/// A cluster within one process: for tests, and for several registries that share topics.
///
/// 65 536 publications and 64 MiB may wait for each node; more are refused with `UNAVAILABLE` until it has caught up.
///
/// ```
/// use realtime_core::{MemoryBroker, Realtime};
///
/// let first = MemoryBroker::new();
/// let second = first.join();
/// let first = Realtime::builder().broker(first).build();
/// let second = Realtime::builder().broker(second).build();
/// ```
#[derive(Debug)]
pub struct MemoryBroker {
    own: Arc<Inbox>,
    all: Arc<Mutex<Vec<Weak<Inbox>>>>,
}

#[derive(Debug, Default)]
struct Inbox(Mutex<Received>);

#[derive(Debug, Default)]
struct Received {
    publications: VecDeque<Publication>,
    /// Bytes of all of them.
    bytes: usize,
    waker: Option<Waker>,
}

/// Publications that may wait for one node; over it the node is not keeping up.
const WAITING: usize = 65_536;

/// Bytes that may wait for one node.
const WAITING_BYTES: usize = 64 * 1024 * 1024;

impl MemoryBroker {
    /// Creates a cluster and returns its first node.
    #[expect(clippy::new_without_default, reason = "a default value is not expected to be a member of something")]
    pub fn new() -> Self {
        Self::join_to(Arc::default())
    }

    /// Adds a node to the same cluster.
    pub fn join(&self) -> Self {
        Self::join_to(Arc::clone(&self.all))
    }

    fn join_to(all: Arc<Mutex<Vec<Weak<Inbox>>>>) -> Self {
        let own = Arc::<Inbox>::default();
        all.lock().push(Arc::downgrade(&own));
        Self { own, all }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn publish(&self, publication: &Publication) -> Result {
        let others: Vec<_> = {
            let mut all = self.all.lock();
            all.retain(|inbox| inbox.strong_count() > 0);
            all.iter().filter_map(Weak::upgrade).filter(|inbox| !Arc::ptr_eq(inbox, &self.own)).collect()
        };
        // All nodes or none: a retried publication must not arrive twice.
        let bytes = publication.size();
        if others.iter().any(|inbox| inbox.0.lock().is_full(bytes)) {
            return Err(Error::unavailable("a node does not keep up"));
        }
        for inbox in others {
            let waker = {
                let mut received = inbox.0.lock();
                received.bytes += bytes;
                received.publications.push_back(publication.clone());
                received.waker.take()
            };
            wake(waker);
        }
        Ok(())
    }

    async fn receive(&self) -> Result<Publication> {
        poll_fn(|cx| self.own.poll(cx)).await
    }
}

impl Inbox {
    fn poll(&self, cx: &Context<'_>) -> Poll<Result<Publication>> {
        let mut received = self.0.lock();
        if let Some(publication) = received.publications.pop_front() {
            received.bytes -= publication.size();
            return Poll::Ready(Ok(publication));
        }
        received.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Received {
    fn is_full(&self, bytes: usize) -> bool {
        self.publications.len() >= WAITING || (self.bytes > 0 && self.bytes + bytes > WAITING_BYTES)
    }
}
