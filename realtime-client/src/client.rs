use crate::{
    builder::ClientBuilder,
    call::{CallOptions, PendingCall},
    error::{ClientError, Result},
    followed::Followed,
    messages::Messages,
    shared::Shared,
    state::{State, States},
    updates::Updates,
};
use realtime_protocol::{Event, Position, Procedure, Subscription, client::Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// A handle to a connection that is reopened whenever it is lost. Clones share the connection; dropping the last one
/// closes the client.
#[derive(Clone, Debug)]
pub struct Client(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.begin_close();
    }
}

impl Client {
    /// Sets up a client of the endpoint at `url`, such as `ws://localhost:3000/__realtime/api`.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Handle(shared)))
    }

    /// Calls a procedure, now or once connected. Dropping the call cancels it.
    ///
    /// The procedure's [timeout](Procedure::timeout) includes the time without a connection.
    pub fn call<I: Serialize, O: DeserializeOwned + 'static>(
        &self,
        procedure: Procedure<I, O>,
        input: I,
    ) -> PendingCall<O> {
        self.call_with(procedure, input, CallOptions::new())
    }

    /// Like [`call`](Self::call), with options.
    pub fn call_with<I: Serialize, O: DeserializeOwned + 'static>(
        &self,
        procedure: Procedure<I, O>,
        input: I,
        options: CallOptions,
    ) -> PendingCall<O> {
        PendingCall::begin(self.shared(), procedure, &input, options)
    }

    /// Starts a subscription, now or once connected. Dropping the stream ends it.
    pub fn subscribe<I: Serialize, T: DeserializeOwned + 'static>(
        &self,
        subscription: Subscription<I, T>,
        input: I,
    ) -> Updates<T> {
        Updates::begin(self.shared(), subscription, &input, None)
    }

    /// Like [`subscribe`](Self::subscribe), continuing after an earlier [position](Updates::position).
    pub fn subscribe_after<I: Serialize, T: DeserializeOwned + 'static>(
        &self,
        subscription: Subscription<I, T>,
        input: I,
        position: Position,
    ) -> Updates<T> {
        Updates::begin(self.shared(), subscription, &input, Some(position))
    }

    /// Sends an event, now or once connected.
    ///
    /// # Errors
    ///
    /// The client is closed, too much waits already, the server takes no message as large, or the data fails the event's
    /// check.
    pub fn emit<T: Serialize>(&self, event: Event<T>, data: T) -> Result {
        event.validate(&data).map_err(ClientError::local)?;
        let data = self.shared().write(&data).map_err(|error| ClientError::unwritable(event.name(), &error))?;
        self.shared().change(|session| session.send(&Outgoing::Event { name: event.name(), data: &data }))
    }

    /// Sends a message to the endpoint's handler, now or once connected.
    ///
    /// # Errors
    ///
    /// The client is closed, too much waits already, or the server takes no message as large.
    pub fn send<V: Serialize>(&self, value: V) -> Result {
        let value = self.shared().write(&value).map_err(|error| ClientError::unwritable("a message", &error))?;
        self.shared().change(|session| session.send(&Outgoing::Message { value: &value }))
    }

    /// Returns a stream of the messages that the endpoint's handler sends from now on.
    pub fn messages<V: DeserializeOwned + 'static>(&self) -> Messages<V> {
        Messages::new(self.followed())
    }

    /// Returns a stream of the same messages with their places in the feeds that the handler follows for this client, and
    /// of the gaps among them.
    pub fn followed<V: DeserializeOwned + 'static>(&self) -> Followed<V> {
        Followed::new(self.shared().messages.subscribe(), &self.state())
    }

    /// Returns the client's state.
    pub fn state(&self) -> State {
        self.shared().states.present()
    }

    /// Returns a stream of the client's states, starting with the current one.
    pub fn states(&self) -> States {
        self.shared().states.follow()
    }

    /// Waits until the client is connected. Cancel safe.
    ///
    /// # Errors
    ///
    /// The client is closed.
    pub async fn opened(&self) -> Result {
        let mut states = self.states();
        while let Some(state) = states.next().await {
            match state {
                State::Open { .. } => return Ok(()),
                State::Closed { why } => return Err(ClientError::closed(why)),
                State::Connecting { .. } | State::Reconnecting { .. } => {}
            }
        }
        Err(ClientError::closed("its task ended"))
    }

    /// Closes the client for good: running calls and subscriptions fail at once, waiting events and messages are sent,
    /// and a close frame follows. Returns when the server has closed too, or after [3 s](ClientBuilder::close_timeout)
    /// whatever the state of the network.
    ///
    /// Cancel safe: the client closes even if the future is dropped.
    pub async fn close(&self) {
        self.shared().begin_close();
        let mut states = self.states();
        while states.next().await.is_some() {}
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}
