use super::{Audience, Realtime, Topic};
use crate::{
    context::Context,
    hub::{Calling, Client, Name},
    protocol::Outgoing,
};
use realtime_protocol::{CloseCode, ConnectionId, Error, Event, Presence, Procedure, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, future::poll_fn, sync::Arc};

/// The handle to one client, whatever its handler's types are.
///
/// A clone is another handle to the same client; it may be kept, sent to other tasks and outlive
/// the connection. Dropping it does nothing.
#[derive(Clone)]
pub struct AnyConnection(Arc<Client>);

impl AnyConnection {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self(client)
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.0
    }

    /// The connection's name, unique in the cluster.
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// The id under which the client has connected.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The request that opened the connection, with the variables that middleware has set.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// The registry of this node.
    pub fn realtime(&self) -> Realtime {
        Realtime::of(&self.0.hub)
    }

    /// Queues an event for this client.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if its outbox is full (see [`ready`](Self::ready)), `CANCELLED` if the connection has ended
    /// or is closing, `INTERNAL` if the data does not serialise.
    pub fn emit<T: Serialize + Sync + 'static>(&self, event: Event<T>, data: &T) -> Result {
        self.0.send_packet(&Outgoing::Event { name: event.name(), data })
    }

    /// Calls a procedure of the client's and waits for its answer.
    ///
    /// # Errors
    ///
    /// The client's own error; `NOT_FOUND` if it does not have the procedure; `DEADLINE_EXCEEDED` after the procedure's
    /// [timeout](Procedure::timeout); `UNAVAILABLE` if the connection ends first; `RESOURCE_EXHAUSTED` if
    /// [`Config::calls_per_connection`](crate::Config::calls_per_connection) wait for an answer already, or the outbox
    /// is full; `INVALID_ARGUMENT` if the answer does not fit the type; `UNIMPLEMENTED` on a
    /// [plain](crate::Handler::plain) connection.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the client is told that the answer is of no more interest.
    pub async fn call<I, O>(&self, procedure: Procedure<I, O>, input: I) -> Result<O>
    where
        I: Serialize + Sync + 'static,
        O: DeserializeOwned + Send + 'static,
    {
        let name = procedure.name();
        let calling = Calling::begin(&self.0, &name, &input, procedure.timeout());
        drop(input);
        calling?.await
    }

    /// Waits until at most half of the outbox is in use, so that a fast sender keeps the pace of
    /// a slow client; also ends when the connection does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn ready(&self) {
        poll_fn(|cx| self.0.outbox.poll_room(cx)).await;
    }

    /// Begins to close: what was sent before still goes out, nothing after it. Messages of the
    /// client that are not yet handled are dropped. Does nothing if the connection is closing.
    ///
    /// [`CloseCode::NO_STATUS`] sends a close frame without a code; [`CloseCode::ABNORMAL`] cuts
    /// the connection. Of the reason at most 123 bytes are sent.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.0.close(code, reason);
    }

    /// Waits until either side has begun to close or the connection is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn closed(&self) {
        poll_fn(|cx| self.0.outbox.poll_ended(cx)).await;
    }

    /// Whether either side has begun to close or the connection is lost.
    pub fn is_closed(&self) -> bool {
        self.0.outbox.has_ended()
    }

    /// Bytes that wait to be sent to this client.
    pub fn queued_bytes(&self) -> usize {
        self.0.outbox.bytes()
    }

    /// Makes the client a member of a topic, for as long as it is connected. Does nothing if it
    /// is one.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` if the connection has ended, `RESOURCE_EXHAUSTED` over
    /// [`Config::topics_per_connection`](crate::Config::topics_per_connection),
    /// `INVALID_ARGUMENT` for a name that is empty or over 256 bytes.
    pub fn subscribe<T>(&self, topic: &Topic<T>) -> Result {
        self.0.hub.topics.join(&self.0, Name::Topic(topic.name()), topic.keeping())
    }

    /// Ends a subscription. What was published before may still arrive.
    pub fn unsubscribe<T>(&self, topic: &Topic<T>) {
        self.0.hub.topics.leave(&self.0, Name::Topic(topic.name()));
    }

    /// Whether the client is a member of a topic.
    pub fn is_subscribed<T>(&self, topic: &Topic<T>) -> bool {
        self.0.hub.topics.is_member(&self.0, Name::Topic(topic.name()))
    }

    /// Publishes to a topic: the builder that it returns says which members, and `send` or `emit` does it. The client need
    /// not be a member.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{AnyConnection, Result, Topic};
    ///
    /// const NEWS: Topic<String> = Topic::fixed("news");
    ///
    /// fn tell_others(connection: &AnyConnection, text: String) -> Result {
    ///     connection.to(&NEWS).others().send(&text)
    /// }
    /// ```
    pub fn to<'a, T>(&'a self, topic: &'a Topic<T>) -> Audience<'a, T> {
        Audience::new(&self.0.hub, Some(self.id()), topic)
    }

    /// Enters a place: the client is sent a [`PRESENCE`](crate::PRESENCE) event with those who are here, and all of
    /// them, this client as well, one that it came. If it is here already, its data becomes `data`, and that is told.
    /// It leaves when its connection ends, in whatever way, or by [`leave`](Self::leave).
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe), of whose topics each place is one; `RESOURCE_EXHAUSTED` if the list does not fit
    /// into the outbox.
    pub fn enter<P: Serialize>(&self, presence: &Presence<P>, data: &P) -> Result {
        let data = serde_json::to_value(data).map_err(Error::internal)?;
        self.0.hub.enter(&self.0, presence.name(), data)
    }

    /// Tells the client who is in a place, and who comes and goes, without its being there.
    ///
    /// # Errors
    ///
    /// As [`enter`](Self::enter).
    pub fn observe<P>(&self, presence: &Presence<P>) -> Result {
        self.0.hub.observe(&self.0, presence.name())
    }

    /// Leaves a place: the others are told, and the client is told nothing more of it.
    pub fn leave<P>(&self, presence: &Presence<P>) {
        self.0.hub.leave(&self.0, presence.name());
    }
}

impl fmt::Debug for AnyConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyConnection").field("id", &self.id()).field("endpoint", &self.endpoint()).finish()
    }
}
