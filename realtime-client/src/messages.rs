use crate::{
    error::{ClientError, Result},
    mailbox::Mailbox,
    shared::MessageIn,
    state::State,
};
use futures_util::Stream;
use realtime_protocol::Error;
use serde::de::DeserializeOwned;
use std::{
    collections::VecDeque,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The messages of an endpoint's handler, from the creation of this stream until the client is closed.
///
/// Errors keep their place in the stream: for a message that does not parse as `V`, for messages dropped because more
/// than 256 waited (`RESOURCE_EXHAUSTED`), and for errors that the server reports outside of a call or subscription.
/// Messages may follow.
#[must_use = "it does nothing unless it is read"]
pub struct Messages<V> {
    mailbox: Arc<Mailbox<MessageIn>>,
    /// Messages received after some were dropped.
    next: VecDeque<MessageIn>,
    value: PhantomData<fn() -> V>,
}

impl<V: DeserializeOwned + 'static> Messages<V> {
    pub(crate) fn new(mailbox: Arc<Mailbox<MessageIn>>, state: &State) -> Self {
        if matches!(state, State::Closed { .. }) {
            mailbox.end();
        }
        Self { mailbox, next: VecDeque::new(), value: PhantomData }
    }

    /// Returns the next message. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<V>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<V: DeserializeOwned + 'static> Stream for Messages<V> {
    type Item = Result<V>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<V>>> {
        let message = match self.next.pop_front() {
            Some(message) => message,
            None => match ready!(self.mailbox.poll_next(cx)) {
                Some(message) => message,
                None => return Poll::Ready(None),
            },
        };
        let missed = self.mailbox.take_missed();
        if missed > 0 {
            self.next.push_front(message);
            let error =
                Error::resource_exhausted(format!("{missed} messages were dropped: they were not read in time"));
            return Poll::Ready(Some(Err(ClientError::local(error))));
        }
        Poll::Ready(Some(match message {
            Ok(value) => value.read().map_err(|error| ClientError::unreadable("a message", &error)),
            // Several readers receive the same error.
            Err(error) => Err(ClientError::remote(error.without_source())),
        }))
    }
}

impl<V> fmt::Debug for Messages<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Messages")
    }
}
