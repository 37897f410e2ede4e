use super::{Audience, Begun, Feed, Realtime, Topic};
use crate::{
    context::Context,
    hub::{self, Calling, Client, Name},
    protocol::Outgoing,
    seams::AppendError,
};
use realtime_protocol::{CloseCode, ConnectionId, Error, Event, Position, Presence, Procedure, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, future::poll_fn, sync::Arc};

/// A handle to one client, independent of its handler's types.
///
/// A clone is another handle to the same client. Handles may be stored, sent to other tasks and outlive the
/// connection; dropping one has no effect.
#[derive(Clone)]
pub struct AnyConnection(Arc<Client>);

impl AnyConnection {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self(client)
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.0
    }

    /// Returns the connection's id, unique in the cluster.
    pub fn id(&self) -> ConnectionId {
        self.0.id
    }

    /// Returns the id of the endpoint that the client connected to.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// Returns the request that opened the connection, with the variables set by middleware.
    pub fn context(&self) -> &Context {
        &self.0.context
    }

    /// Returns the registry of this node.
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

    /// Calls a procedure of the client and waits for the answer.
    ///
    /// # Errors
    ///
    /// The error that the client returns; `NOT_FOUND` if it does not have the procedure; `DEADLINE_EXCEEDED` after the
    /// procedure's [timeout](Procedure::timeout); `UNAVAILABLE` if the connection ends first; `RESOURCE_EXHAUSTED` if
    /// [`Config::calls_per_connection`](crate::Config::calls_per_connection) are already waiting for an answer, or the
    /// outbox is full; `INVALID_ARGUMENT` if the answer does not fit the type; `UNIMPLEMENTED` on a
    /// [plain](crate::Handler::plain) connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call: the client is told that the answer is no longer needed.
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

    /// Waits until at most half of the outbox is in use, so that a fast sender slows down to the client's pace
    /// (backpressure). Also returns when the connection ends.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn ready(&self) {
        poll_fn(|cx| self.0.outbox.poll_room(cx)).await;
    }

    /// Starts to close the connection: queued messages still go out, later ones do not. Messages of the client that are
    /// not handled yet are dropped. Does nothing if the connection is already closing.
    ///
    /// [`CloseCode::NO_STATUS`] sends a close frame without a code; [`CloseCode::ABNORMAL`] cuts the connection. At
    /// most 123 bytes of the reason are sent.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.0.close(code, reason);
    }

    /// Waits until either side starts to close, or the connection is lost.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn closed(&self) {
        poll_fn(|cx| self.0.outbox.poll_ended(cx)).await;
    }

    /// Returns true if either side has started to close, or the connection is lost.
    pub fn is_closed(&self) -> bool {
        self.0.outbox.has_ended()
    }

    /// Returns the number of bytes queued for this client.
    pub fn queued_bytes(&self) -> usize {
        self.0.outbox.bytes()
    }

    /// Makes the client a member of a topic until it disconnects. Does nothing if it already is one.
    ///
    /// # Errors
    ///
    /// `FAILED_PRECONDITION` if the connection has ended, `RESOURCE_EXHAUSTED` over
    /// [`Config::topics_per_connection`](crate::Config::topics_per_connection),
    /// `INVALID_ARGUMENT` for a name that is empty or over 256 bytes.
    pub fn subscribe<T>(&self, topic: &Topic<T>) -> Result {
        self.0.hub.topics.join(&self.0, Name::Topic(topic.name()), topic.keeping())
    }

    /// Ends a subscription. Messages published earlier may still arrive.
    pub fn unsubscribe<T>(&self, topic: &Topic<T>) {
        self.0.hub.topics.leave(&self.0, Name::Topic(topic.name()));
    }

    /// Returns true if the client is a member of the topic.
    pub fn is_subscribed<T>(&self, topic: &Topic<T>) -> bool {
        self.0.hub.topics.is_member(&self.0, Name::Topic(topic.name()))
    }

    /// Returns true if the client has joined the topic by a [subscription](crate::Endpoint::topic).
    pub fn has_joined<T>(&self, topic: &Topic<T>) -> bool {
        self.0.hub.listeners.has(topic.name(), self.id())
    }

    /// Publishes to a topic: select the members on the returned builder, then call `send` or `emit`. The client need
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

    /// Sends the client the entries of a feed, as messages with their positions: behind `after`, a position that the
    /// client has got, or from the end of the log on. Until the client disconnects; a second call replaces the first.
    ///
    /// If what is behind `after` is not known to be whole, the client is told of a gap. A client that does not keep up
    /// reads on later, and with [`Overflow::close`](crate::Overflow::close) it is closed with 1013.
    ///
    /// # Errors
    ///
    /// Those of [`subscribe`](Self::subscribe): a feed counts as a topic. Also those of [`Realtime::position`], but over a
    /// broker it waits for the log without a timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it has no effect.
    pub async fn follow<T>(&self, feed: &Feed<T>, after: Option<&Position>) -> Result<Begun> {
        self.0.follow(feed.name(), feed.log(), feed.keeping(), after).await.map(Begun::from)
    }

    /// Like [`follow`](Self::follow), for entries that change a state: a client that comes without a position, or cannot go
    /// on from it, is first sent the state that `begin` makes, as a message with the position behind which the entries
    /// follow. The position is taken before `begin` runs, and what is appended meanwhile comes behind the state: if the
    /// state is changed before the change is appended, nothing is missed. A change may come that is in the state already.
    ///
    /// Waits until there is room for the state. Until it is sent, the client is sent no entry of this feed.
    ///
    /// # Errors
    ///
    /// Those of [`follow`](Self::follow) and of `begin`; `RESOURCE_EXHAUSTED` if an empty outbox could not hold the state.
    /// The client follows nothing then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the client may be sent the state, and no entries.
    pub async fn follow_or_begin_with<T, F, R>(
        &self,
        feed: &Feed<T>,
        after: Option<&Position>,
        begin: F,
    ) -> Result<Begun>
    where
        T: Serialize + Send + Sync + 'static,
        F: FnOnce() -> R + Send,
        R: Future<Output = Result<T>> + Send,
    {
        let begun = hub::Begun::new(&self.0, feed.name(), feed.log(), feed.keeping(), after).await?;
        if begun.needs_state() {
            let state = begin().await?;
            begun.send(&state).await?;
        }
        begun.join().map(Begun::from)
    }

    /// Stops sending the entries of a feed. Those that are queued may still arrive.
    pub fn unfollow<T>(&self, feed: &Feed<T>) {
        self.0.unfollow(feed.name());
    }

    /// Appends an entry to a feed, and returns its position.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, the entry may be in the log or not.
    pub async fn append<T: Serialize + Sync + 'static>(
        &self,
        feed: &Feed<T>,
        entry: &T,
    ) -> Result<Position, AppendError> {
        self.realtime().append(feed, entry).await
    }

    /// Returns the position of the newest entry of a feed: for a client to go on from, even if it is sent none.
    ///
    /// # Errors
    ///
    /// As [`Realtime::position`].
    pub async fn position<T>(&self, feed: &Feed<T>) -> Result<Position> {
        self.realtime().position(feed).await
    }

    /// Enters a place. The client is sent a [`PRESENCE`](crate::PRESENCE) event with the list of clients present, and
    /// every client present, this one included, is sent an event that it joined. If the client is already present,
    /// its data is replaced and the change is sent. It leaves when its connection ends, however it ends, or by
    /// [`leave`](Self::leave).
    ///
    /// In a place [by principal](Presence::by_principal) a user is present once: another connection of it gets the list,
    /// with the user in it, and the others are told if the data differs. The user leaves with its last connection.
    ///
    /// # Errors
    ///
    /// The errors of [`subscribe`](Self::subscribe), since each place counts as one topic; `RESOURCE_EXHAUSTED` if the
    /// list does not fit into the outbox; `FAILED_PRECONDITION` in a place by principal if the client has none, or if
    /// others are present in the place by connection; `INVALID_ARGUMENT` if the principal has more than 8 KiB.
    pub fn enter<P: Serialize>(&self, presence: &Presence<P>, data: &P) -> Result {
        let data = serde_json::to_value(data).map_err(Error::internal)?;
        self.0.hub.enter(&self.0, presence.name(), presence.is_by_principal(), data)
    }

    /// Sends the client the presence of a place, the list and each change, without making it present.
    ///
    /// # Errors
    ///
    /// The errors of [`enter`](Self::enter).
    pub fn observe<P>(&self, presence: &Presence<P>) -> Result {
        self.0.hub.observe(&self.0, presence.name())
    }

    /// Leaves a place: the others are told, and the client as well, which gets no further events of it.
    pub fn leave<P>(&self, presence: &Presence<P>) {
        self.0.hub.leave(&self.0, presence.name());
    }
}

impl fmt::Debug for AnyConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyConnection").field("id", &self.id()).field("endpoint", &self.endpoint()).finish()
    }
}
