use crate::{
    error::{ClientError, Result},
    mailbox::Mailbox,
    shared::MessageIn,
    state::State,
};
use futures_util::Stream;
use realtime_protocol::{Appended, Error, Gap};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The messages of an endpoint's handler with their places in the feeds that it follows for this client, and the gaps
/// among them, from the creation of this stream until the client is closed.
///
/// Errors keep their place in the stream, as in [`Messages`](crate::Messages). The client does not follow by itself: after a
/// lost connection the application sends its handler the position of the last message that it has handled.
#[must_use = "it does nothing unless it is read"]
pub struct Followed<V> {
    mailbox: Arc<Mailbox<MessageIn>>,
    /// Came after some were dropped.
    next: Option<MessageIn>,
    value: PhantomData<fn() -> V>,
}

/// An element of [`Followed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowedMessage<V> {
    /// A message.
    Message {
        /// The message.
        value: V,
        /// The feed that it is an entry of, and its position there; `None` for other messages.
        place: Option<Appended>,
    },
    /// Messages are missing here.
    Gap {
        /// The feed or topic.
        topic: String,
        /// Their number, and the cause.
        gap: Gap,
    },
}

impl<V: DeserializeOwned + 'static> Followed<V> {
    pub(crate) fn new(mailbox: Arc<Mailbox<MessageIn>>, state: &State) -> Self {
        if matches!(state, State::Closed { .. }) {
            mailbox.end();
        }
        Self { mailbox, next: None, value: PhantomData }
    }

    /// Returns the next message or gap. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<FollowedMessage<V>>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<V: DeserializeOwned + 'static> Stream for Followed<V> {
    type Item = Result<FollowedMessage<V>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = match self.next.take() {
            Some(message) => message,
            None => match ready!(self.mailbox.poll_next(cx)) {
                Some(message) => message,
                None => return Poll::Ready(None),
            },
        };
        let missed = self.mailbox.take_missed();
        if missed > 0 {
            self.next = Some(message);
            let error =
                Error::resource_exhausted(format!("{missed} messages were dropped: they were not read in time"));
            return Poll::Ready(Some(Err(ClientError::local(error))));
        }
        Poll::Ready(Some(match message {
            MessageIn::Message { value, place } => value
                .read()
                .map(|value| FollowedMessage::Message { value, place })
                .map_err(|error| ClientError::unreadable("a message", &error)),
            MessageIn::Gap { topic, gap } => Ok(FollowedMessage::Gap { topic, gap }),
            // Several readers receive the same error.
            MessageIn::Error(error) => Err(ClientError::remote(error.without_source())),
        }))
    }
}

impl<V> fmt::Debug for Followed<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Followed")
    }
}
