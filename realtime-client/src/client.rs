use crate::{
    builder::ClientBuilder,
    call::{CallOptions, PendingCall},
    error::{ClientError, Result},
    messages::Messages,
    shared::Shared,
    state::{State, States},
    updates::Updates,
};
use realtime_protocol::{Event, Position, Procedure, Subscription, client::Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;

/// A handle to a connection that is made again whenever it is lost. A clone is another handle; with the last one the
/// client closes.
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
    /// Sets up a client of the endpoint at `url`, as `ws://localhost:3000/__realtime/api`.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url.into())
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Handle(shared)))
    }

    /// Calls a procedure: at once, or when there is a connection. Dropping the call cancels it.
    ///
    /// The [timeout](Procedure::timeout) of the procedure applies, the time without a connection included.
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

    /// Begins a subscription: at once, or when there is a connection. Dropping what it gives ends it.
    pub fn subscribe<I: Serialize, T: DeserializeOwned + 'static>(
        &self,
        subscription: Subscription<I, T>,
        input: I,
    ) -> Updates<T> {
        Updates::begin(self.shared(), subscription, &input, None)
    }

    /// Like [`subscribe`](Self::subscribe), going on after a position that was [seen](Updates::position) before.
    pub fn subscribe_after<I: Serialize, T: DeserializeOwned + 'static>(
        &self,
        subscription: Subscription<I, T>,
        input: I,
        position: Position,
    ) -> Updates<T> {
        Updates::begin(self.shared(), subscription, &input, Some(position))
    }

    /// Sends an event: at once, or when there is a connection.
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

    /// Sends a message to the endpoint's handler: at once, or when there is a connection.
    ///
    /// # Errors
    ///
    /// The client is closed, too much waits already, or the server takes no message as large.
    pub fn send<V: Serialize>(&self, value: V) -> Result {
        let value = self.shared().write(&value).map_err(|error| ClientError::unwritable("a message", &error))?;
        self.shared().change(|session| session.send(&Outgoing::Message { value: &value }))
    }

    /// The messages that the endpoint's handler sends from now on.
    pub fn messages<V: DeserializeOwned + 'static>(&self) -> Messages<V> {
        Messages::new(self.shared().messages.subscribe(), &self.state())
    }

    /// Returns the client's state.
    pub fn state(&self) -> State {
        self.shared().states.present()
    }

    /// Returns a stream of the client's states, from now on.
    pub fn states(&self) -> States {
        self.shared().states.follow()
    }

    /// Waits until there is a connection. Cancel safe.
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

    /// Closes for good: what runs fails at once, events and messages that wait are sent, and the server is told.
    /// Returns when it has answered, or after [3 s](ClientBuilder::close_timeout), however dead the network is.
    ///
    /// Cancel safe: the client closes all the same.
    pub async fn close(&self) {
        self.shared().begin_close();
        let mut states = self.states();
        while states.next().await.is_some() {}
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}
