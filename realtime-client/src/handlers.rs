use crate::mailbox::Mailbox;
use futures_util::FutureExt;
use realtime_protocol::{Error, Event, Procedure, client::Payload};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::HashMap, fmt, panic::AssertUnwindSafe, pin::Pin, sync::Arc};

/// The application's handlers of events, and of the server's calls.
#[derive(Default)]
pub(crate) struct Handlers {
    events: HashMap<&'static str, EventHandler>,
    calls: HashMap<String, CallHandler>,
}

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type EventHandler = Box<dyn Fn(Payload) -> BoxFuture<()> + Send + Sync>;
pub(crate) type CallHandler = Arc<dyn Fn(Payload) -> BoxFuture<Result<Payload, Error>> + Send + Sync>;

impl Handlers {
    pub(crate) fn on<T, F, Fut>(&mut self, event: Event<T>, handler: F)
    where
        T: DeserializeOwned + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let handler = move |data: Payload| -> BoxFuture<()> {
            match data.read().and_then(|data| event.validate(&data).map(|()| data)) {
                Ok(data) => Box::pin(handler(data)),
                Err(error) => {
                    tracing::warn!(event = event.name(), ?error, "an event was dropped");
                    Box::pin(std::future::ready(()))
                }
            }
        };
        self.events.insert(event.name(), Box::new(handler));
    }

    pub(crate) fn on_call<I, O, F, Fut>(&mut self, procedure: Procedure<I, O>, handler: F)
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Error>> + Send + 'static,
    {
        let handler = move |input: Payload| -> BoxFuture<Result<Payload, Error>> {
            let format = input.format();
            match input.read().and_then(|input| procedure.validate(&input).map(|()| input)) {
                Ok(input) => {
                    let output = handler(input);
                    Box::pin(async move { Payload::write(format, &output.await?).map_err(Error::internal) })
                }
                Err(error) => Box::pin(std::future::ready(Err(error))),
            }
        };
        self.calls.insert(procedure.name(), Arc::new(handler));
    }

    /// Returns the handler of calls to `path`.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn call(&self, path: &str) -> Result<CallHandler, Error> {
        self.calls.get(path).cloned().ok_or_else(|| Error::not_found("this client has no such procedure"))
    }

    /// Starts the event handlers, each in a task that handles one event at a time.
    pub(crate) fn spawn_events(&mut self) -> Events {
        let spawn = |(name, handler)| {
            let mailbox = Mailbox::new();
            tokio::spawn(run_events(name, handler, Arc::clone(&mailbox)));
            (name, mailbox)
        };
        Events(self.events.drain().map(spawn).collect())
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handlers({} events, {} calls)", self.events.len(), self.calls.len())
    }
}

/// The events that wait for their handlers. On drop, the tasks end after handling them.
#[derive(Debug)]
pub(crate) struct Events(HashMap<&'static str, Arc<Mailbox<Payload>>>);

impl Events {
    pub(crate) fn deliver(&self, name: &str, data: Payload) {
        let Some(mailbox) = self.0.get(name) else { return };
        if let Some(waker) = mailbox.push_within(data, WAITING) {
            waker.wake();
        }
        if mailbox.take_missed() > 0 {
            tracing::warn!(event = name, "an event was dropped: its handler is too slow");
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.0.values().filter_map(|mailbox| mailbox.end()).for_each(std::task::Waker::wake);
    }
}

async fn run_events(name: &'static str, handler: EventHandler, mailbox: Arc<Mailbox<Payload>>) {
    while let Some(data) = mailbox.next().await {
        // The closure may panic as well as its future.
        let handled = AssertUnwindSafe(async { handler(data).await }).catch_unwind().await;
        if handled.is_err() {
            tracing::error!(event = name, "an event handler panicked");
        }
    }
}

/// The number of events of one name that wait for their handler.
const WAITING: usize = 256;
