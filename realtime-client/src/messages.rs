use crate::{
    error::Result,
    followed::{Followed, FollowedMessage},
};
use futures_util::Stream;
use serde::de::DeserializeOwned;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The messages of an endpoint's handler, from the creation of this stream until the client is closed.
///
/// Errors keep their place in the stream: for a message that does not parse as `V`, for messages dropped because more
/// than 256 waited (`RESOURCE_EXHAUSTED`), and for errors that the server reports outside of a call or subscription.
/// Messages may follow. Gaps, and the places of messages in feeds, are in [`Followed`].
#[must_use = "it does nothing unless it is read"]
pub struct Messages<V>(Followed<V>);

impl<V: DeserializeOwned + 'static> Messages<V> {
    pub(crate) fn new(followed: Followed<V>) -> Self {
        Self(followed)
    }

    /// Returns the next message. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<V>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<V: DeserializeOwned + 'static> Stream for Messages<V> {
    type Item = Result<V>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<V>>> {
        loop {
            let message = match ready!(Pin::new(&mut self.0).poll_next(cx)) {
                Some(Ok(FollowedMessage::Gap { .. })) => continue,
                Some(Ok(FollowedMessage::Message { value, .. })) => Some(Ok(value)),
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            return Poll::Ready(message);
        }
    }
}

impl<V> fmt::Debug for Messages<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Messages")
    }
}
