use crate::context::Context;
use crate::handler::{Handler, Typed};
use crate::handles::{Realtime, Topic};
use crate::hub::{Calling, Client, Hub, Name, SendFailure};
use crate::outbox::PushError;
use realtime_protocol::{CloseCode, ConnectionId, Error, Event, Presence, Procedure, Result};
use realtime_protocol::format::{Encode, Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, future::poll_fn, marker::PhantomData, ops::Deref, sync::Arc};

/// The handle to one client, by the types of its handler; what does not depend on them is in [`AnyConnection`].
///
/// A clone is another handle to the same client; it may be kept, sent to other tasks and outlive
/// the connection, after which nothing can be sent. Dropping it does nothing.
pub struct Connection<H: Handler> {
    any: AnyConnection,
    handler: PhantomData<fn() -> H>,
}

impl<H: Handler> Connection<H> {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { any: AnyConnection::new(session), handler: PhantomData }
    }

    /// What the client gave when it connected.
    pub fn input(&self) -> &H::Input {
        &Typed::<H>::of(self.session()).input
    }

    /// Queues a message for this client.
    ///
    /// `Ok` means queued behind all that was sent before, not that it has arrived.
    ///
    /// # Errors
    ///
    /// Gives the message back: [`SendError::Full`] if
    /// [`Config::outbox_bytes`](crate::Config::outbox_bytes) wait already (see
    /// [`ready`](AnyConnection::ready)), [`SendError::Closed`] if the connection has ended or is closing,
    /// [`SendError::Invalid`] if it does not serialise.
    pub fn send(&self, message: H::ServerMessage) -> Result<(), SendError<H::ServerMessage>> {
        match self.session().send(&message) {
            Ok(()) => Ok(()),
            Err(SendFailure::Push(PushError::Full)) => Err(SendError::Full(message)),
            Err(SendFailure::Push(PushError::Closed)) => Err(SendError::Closed(message)),
            Err(SendFailure::Encode(error)) => Err(SendError::Invalid(message, error)),
        }
    }

    /// Makes the client a member of a topic of its handler's messages, as [`AnyConnection::subscribe`].
    ///
    /// # Errors
    ///
    /// Those of [`AnyConnection::subscribe`].
    pub fn subscribe(&self, topic: &Topic<H::ServerMessage>) -> Result {
        self.any.subscribe(topic)
    }

    /// Ends a subscription. What was published before may still arrive.
    pub fn unsubscribe(&self, topic: &Topic<H::ServerMessage>) {
        self.any.unsubscribe(topic);
    }

    /// Whether the client is a member of a topic.
    pub fn is_subscribed(&self, topic: &Topic<H::ServerMessage>) -> bool {
        self.any.is_subscribed(topic)
    }
}

impl<H: Handler> Deref for Connection<H> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.any
    }
}

impl<H: Handler> Clone for Connection<H> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(self.session()))
    }
}

impl<H: Handler> fmt::Debug for Connection<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// The handle to one client, whatever its handler's types are.
///
/// A clone is another handle to the same client; it may be kept, sent to other tasks and outlive
/// the connection. Dropping it does nothing.
#[derive(Clone)]
pub struct AnyConnection(Arc<Session>);

impl AnyConnection {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self(session)
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// The connection's name, unique in the cluster.
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// The id under which the client has connected.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint.id
    }

    /// The request that opened the connection, with the variables that middleware has set.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// The registry of this node.
    pub fn realtime(&self) -> Realtime {
        Realtime(Arc::clone(&self.0.hub))
    }

    /// Queues an event for this client.
    ///
    /// # Errors
    ///
    /// `RESOURCE_EXHAUSTED` if its outbox is full (see [`ready`](Self::ready)), `CANCELLED` if the connection has ended
    /// or is closing, `INTERNAL` if the data does not serialise.
    pub fn emit<T: Serialize + Sync + 'static>(&self, event: &Event<T>, data: &T) -> Result {
        self.0.send_packet(&Outgoing::Event { name: event.name(), data })
    }

    /// Calls a procedure of the client's and waits for its answer.
    ///
    /// # Errors
    ///
    /// The client's own error; `NOT_FOUND` if it does not have the procedure; `DEADLINE_EXCEEDED` after the procedure's
    /// [time limit](Procedure::time_limit); `UNAVAILABLE` if the connection ends first; `RESOURCE_EXHAUSTED` if
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
        let calling = Calling::begin(&self.0, &name, &input, procedure.time_limit());
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

    /// Sends a message to all members of a topic but this client.
    ///
    /// A member whose outbox is full is closed with 1013, or misses the message, as its topic's
    /// [`Overflow`](crate::Overflow) says.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the message does not serialise, `INVALID_ARGUMENT` for a name that is empty or
    /// over 256 bytes; then nobody is sent anything. `UNAVAILABLE` if the broker is so far behind
    /// that other nodes will miss it.
    pub fn publish<T: Serialize + Sync + 'static>(&self, topic: &Topic<T>, message: &T) -> Result {
        self.publish_to(topic, message, Audience::others())
    }

    /// Sends a message to the members of a topic that `audience` says.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn publish_to<T: Serialize + Sync + 'static>(
        &self,
        topic: &Topic<T>,
        message: &T,
        audience: Audience<'_>,
    ) -> Result {
        self.deliver(topic, None, message, topic.key_of(message), audience)
    }

    /// Sends an event to all members of a topic but this client, whatever messages the topic is for.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn publish_event<T, D>(&self, topic: &Topic<T>, event: &Event<D>, data: &D) -> Result
    where
        D: Serialize + Sync + 'static,
    {
        self.publish_event_to(topic, event, data, Audience::others())
    }

    /// Sends an event to the members of a topic that `audience` says.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn publish_event_to<T, D: Serialize + Sync + 'static>(
        &self,
        topic: &Topic<T>,
        event: &Event<D>,
        data: &D,
        audience: Audience<'_>,
    ) -> Result {
        self.deliver(topic, Some(event.name()), data, None, audience)
    }

    fn deliver<T>(
        &self,
        topic: &Topic<T>,
        event: Option<&str>,
        message: &dyn Encode,
        key: Option<String>,
        audience: Audience<'_>,
    ) -> Result {
        let own = [self.id()];
        let all: Vec<ConnectionId>;
        let except = match (audience.includes_self, audience.except) {
            (true, except) => except,
            (false, []) => &own,
            (false, except) => {
                all = [except, &own].concat();
                &all
            }
        };
        self.0.hub.publish(topic.name(), event, message, key, except)
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

    /// The typed handle, if `H` is the type of its handler.
    pub fn downcast<H: Handler>(&self) -> Option<Connection<H>> {
        self.0.typed.is::<Typed<H>>().then(|| Connection::new(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for AnyConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyConnection").field("id", &self.id()).field("endpoint", &self.endpoint()).finish()
    }
}

/// Which members of a topic a publication goes to.
///
/// ```
/// use realtime_core::Audience;
/// # fn demo(blocked: &[realtime_core::ConnectionId]) {
/// let all_but_blocked_and_me = Audience::others().except(blocked);
/// let all_but_blocked = Audience::everyone().except(blocked);
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "an audience is given to `publish_to`"]
pub struct Audience<'a> {
    includes_self: bool,
    except: &'a [ConnectionId],
}

impl<'a> Audience<'a> {
    /// All members but the one who publishes.
    pub fn others() -> Self {
        Self { includes_self: false, except: &[] }
    }

    /// All members, the one who publishes among them.
    pub fn everyone() -> Self {
        Self { includes_self: true, except: &[] }
    }

    /// Leaves these out as well.
    pub fn except(mut self, connections: &'a [ConnectionId]) -> Self {
        self.except = connections;
        self
    }
}

/// Why a message was not queued; it is given back.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError<M> {
    /// As much waits for this client as may; [`AnyConnection::ready`] waits for room.
    Full(M),
    /// The connection has ended or is closing.
    Closed(M),
    /// The message does not serialise.
    Invalid(M, Error),
}

impl<M> SendError<M> {
    /// The message that was not sent.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) | Self::Invalid(message, _) => message,
        }
    }

    /// Whether waiting for room would help.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the client's outbox is full"),
            Self::Closed(_) => f.write_str("the connection is closed"),
            Self::Invalid(_, error) => write!(f, "the message does not serialise: {error}"),
        }
    }
}

/// So that a handler may say `connection.send(message)?`.
impl<M> From<SendError<M>> for Error {
    fn from(error: SendError<M>) -> Self {
        match error {
            SendError::Full(_) => Self::resource_exhausted("the client's outbox is full"),
            SendError::Closed(_) => Self::new("CANCELLED", "the connection is closed"),
            SendError::Invalid(_, error) => error,
        }
    }
}
