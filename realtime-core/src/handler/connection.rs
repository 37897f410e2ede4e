use super::{Handler, typed::Typed};
use crate::{
    handles::{AnyConnection, Begun, Feed, Recipients, SendError, Topic},
    hub::{Client, SendFailure},
    outbox::PushError,
    request::Registry,
};
use realtime_protocol::{Position, Result};
use std::{any::TypeId, fmt, marker::PhantomData, ops::Deref, sync::Arc};

/// A handle to one client, with the message types of its handler. [`AnyConnection`] has the methods that do not depend
/// on them.
///
/// A clone is another handle to the same client; it may be kept, sent to other tasks and outlive
/// the connection, after which nothing can be sent. Dropping it does nothing.
pub struct Connection<H: Handler> {
    any: AnyConnection,
    handler: PhantomData<fn() -> H>,
}

impl<H: Handler> Connection<H> {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { any: AnyConnection::new(client), handler: PhantomData }
    }

    /// Returns the input that the client connected with.
    pub fn input(&self) -> &H::Input {
        &Typed::<H>::of(self.client()).input
    }

    /// Queues a message for this client.
    ///
    /// `Ok` means that the message is queued behind all earlier ones, not that it has arrived.
    ///
    /// # Errors
    ///
    /// The error returns the message: [`SendError::Full`] if [`Config::outbox_bytes`](crate::Config::outbox_bytes) are
    /// already queued (see [`ready`](AnyConnection::ready)), [`SendError::Closed`] if the connection has ended or is
    /// closing, [`SendError::Invalid`] if the message does not serialise.
    pub fn send(&self, message: H::ServerMessage) -> Result<(), SendError<H::ServerMessage>> {
        match self.client().send(&message) {
            Ok(()) => Ok(()),
            Err(SendFailure::Push(PushError::Full)) => Err(SendError::Full(message)),
            Err(SendFailure::Push(PushError::Closed)) => Err(SendError::Closed(message)),
            Err(SendFailure::Encode(error)) => Err(SendError::Invalid(message, error)),
        }
    }

    /// Makes the client a member of a topic that carries its handler's messages; see [`AnyConnection::subscribe`].
    ///
    /// # Errors
    ///
    /// The errors of [`AnyConnection::subscribe`].
    pub fn subscribe(&self, topic: &Topic<H::ServerMessage>) -> Result {
        self.any.subscribe(topic)
    }

    /// Ends a subscription. Messages published earlier may still arrive.
    pub fn unsubscribe(&self, topic: &Topic<H::ServerMessage>) {
        self.any.unsubscribe(topic);
    }

    /// Sends the client the entries of a feed that carries its handler's messages; see [`AnyConnection::follow`].
    ///
    /// # Errors
    ///
    /// The errors of [`AnyConnection::follow`].
    pub async fn follow(&self, feed: &Feed<H::ServerMessage>, after: Option<&Position>) -> Result<Begun> {
        self.any.follow(feed, after).await
    }

    /// Follows a feed that carries its handler's messages, behind the state if the client cannot go on where it was; see
    /// [`AnyConnection::follow_or_begin_with`].
    ///
    /// # Errors
    ///
    /// The errors of [`AnyConnection::follow_or_begin_with`].
    pub async fn follow_or_begin_with<F, R>(
        &self,
        feed: &Feed<H::ServerMessage>,
        after: Option<&Position>,
        begin: F,
    ) -> Result<Begun>
    where
        H::ServerMessage: Sync,
        F: FnOnce() -> R + Send,
        R: Future<Output = Result<H::ServerMessage>> + Send,
    {
        self.any.follow_or_begin_with(feed, after, begin).await
    }

    /// Returns true if the client is a member of the topic.
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
        Self::new(Arc::clone(self.client()))
    }
}

impl<H: Handler> fmt::Debug for Connection<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl Recipients<'_> {
    /// Queues a message for each connection to the handler `H`, and returns for how many it was on this node: see
    /// [`emit`](Recipients::emit). On other nodes they are those of the ids under which `H` is mounted here.
    ///
    /// # Errors
    ///
    /// Those of [`emit`](Recipients::emit).
    pub fn send<H: Handler>(self, message: &H::ServerMessage) -> Result<usize> {
        let mounts = Registry::of(self.hub()).ids_of(TypeId::of::<Typed<H>>());
        self.queue(message, |client| client.typed.is::<Typed<H>>(), &mounts)
    }
}

impl AnyConnection {
    /// Returns the typed handle, if `H` is the type of the client's handler.
    pub fn downcast<H: Handler>(&self) -> Option<Connection<H>> {
        self.client().typed.is::<Typed<H>>().then(|| Connection::new(Arc::clone(self.client())))
    }
}
