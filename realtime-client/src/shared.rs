use crate::{
    mailbox::Feed,
    session::{OfflineQueue, Session},
    state::{Cause, State, StateCell},
};
use realtime_protocol::{
    Appended, Error, Gap,
    client::{Format, Payload},
};
use serde::Serialize;
use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

/// The state that the handles of a client share with its task.
pub(crate) struct Shared {
    format: Format,
    session: Mutex<Session>,
    pub(crate) states: StateCell,
    pub(crate) messages: Feed<MessageIn>,
    /// Notified when there may be something to send.
    pub(crate) news: Notify,
    closing: watch::Sender<bool>,
}

/// A message of the handler, or what came in its place.
#[derive(Clone, Debug)]
pub(crate) enum MessageIn {
    Message { value: Arc<Payload>, place: Option<Appended> },
    Gap { topic: String, gap: Gap },
    Error(Arc<Error>),
}

impl Shared {
    pub(crate) fn new(format: Format, offline: OfflineQueue) -> Arc<Self> {
        Arc::new(Self {
            format,
            session: Mutex::new(Session::new(format, offline)),
            states: StateCell::new(),
            messages: Feed::new(),
            news: Notify::new(),
            closing: watch::Sender::new(false),
        })
    }

    /// Encodes a value in the client's format.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded.
    pub(crate) fn write<T: Serialize + ?Sized>(&self, value: &T) -> Result<Payload, String> {
        Payload::write(self.format, value)
    }

    /// Changes the session on behalf of the task, then wakes the readers that have something to read.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Session) -> T) -> T {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut session);
        let wakers = session.take_wakers();
        drop(session);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Changes the session on behalf of the application, then notifies the task.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Session) -> T) -> T {
        let result = self.with(change);
        self.news.notify_one();
        result
    }

    /// Ends everything that runs, and asks the task to close the connection.
    pub(crate) fn begin_close(&self) {
        self.with(|session| session.close(Cause::Local));
        self.closing.send_replace(true);
    }

    /// Waits until this side has begun to close. Cancel safe.
    pub(crate) async fn closing(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    /// Ends calls at their deadlines while there is no connection whose task does so. Cancel safe.
    pub(crate) async fn keep_time(&self) -> Infallible {
        loop {
            // Without a connection, `handle_time` cannot fail.
            let _ = self.with(|session| session.handle_time(Instant::now()));
            match self.with(|session| session.next_deadline()) {
                Some(deadline) => {
                    tokio::select! {
                        () = self.news.notified() => {}
                        () = sleep_until(deadline) => {}
                    }
                }
                None => self.news.notified().await,
            }
        }
    }

    /// Ends the client.
    pub(crate) fn finish(&self, why: Cause) {
        self.with(|session| {
            session.lose();
            session.close(why.clone());
        });
        self.states.set(State::Closed { why });
        // Last, so that a reader that starts meanwhile sees the state.
        self.messages.end().wake();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.states.present())
    }
}
