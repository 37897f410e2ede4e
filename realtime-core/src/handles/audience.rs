use super::Topic;
use crate::{hub::Hub, protocol::Encode};
use realtime_protocol::{ConnectionId, Event, Result};
use serde::Serialize;
use std::{fmt, slice};

/// The members of a topic that a message is published to: by default all of them, the publisher included.
///
/// Returned by `to` of a [`Connection`](crate::Connection), an [`AnyConnection`](super::AnyConnection), a
/// [`Call`](crate::Call) or the [`Realtime`](super::Realtime). A member whose outbox is full is closed with 1013 or
/// misses the message, depending on the topic's [`Overflow`](crate::Overflow).
///
/// # Examples
///
/// ```
/// use realtime_core::{Connection, ConnectionId, Event, Handler, Result, Topic};
///
/// const NEWS: Topic<String> = Topic::fixed("news");
/// const READ: Event<u64> = Event::new("READ");
///
/// fn publish<H: Handler>(connection: &Connection<H>, blocked: &[ConnectionId]) -> Result {
///     connection.to(&NEWS).send(&"to all members".into())?;
///     connection.to(&NEWS).others().send(&"to all but this client".into())?;
///     connection.to(&NEWS).others().except(blocked).emit(READ, &7)
/// }
/// ```
#[must_use = "nothing is published before `send` or `emit`"]
pub struct Audience<'a, T> {
    hub: &'a Hub,
    topic: &'a Topic<T>,
    publisher: Option<ConnectionId>,
    left_out: Option<ConnectionId>,
    except: &'a [ConnectionId],
}

impl<'a, T> Audience<'a, T> {
    pub(crate) fn new(hub: &'a Hub, publisher: Option<ConnectionId>, topic: &'a Topic<T>) -> Self {
        Self { hub, topic, publisher, left_out: None, except: &[] }
    }

    /// Leaves out the publisher's own connection. Has no effect where there is none: on a
    /// [`Realtime`](super::Realtime), or in a call by HTTP.
    pub fn others(mut self) -> Self {
        self.left_out = self.publisher;
        self
    }

    /// Leaves out these connections, in addition to [`others`](Self::others). A second call replaces the first.
    pub fn except(mut self, connections: &'a [ConnectionId]) -> Self {
        self.except = connections;
        self
    }

    /// Publishes a message of the topic.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the message does not serialise, `INVALID_ARGUMENT` for a topic whose name is empty or over 256
    /// bytes, `RESOURCE_EXHAUSTED` for a message larger than an outbox; in these cases nothing is sent. `UNAVAILABLE`
    /// if the broker is so far behind that other nodes miss the message.
    pub fn send(self, message: &T) -> Result
    where
        T: Serialize + Sync + 'static,
    {
        self.publish(None, message, self.topic.key_of(message))
    }

    /// Publishes an event, whatever the message type of the topic.
    ///
    /// # Errors
    ///
    /// The errors of [`send`](Self::send).
    pub fn emit<D: Serialize + Sync + 'static>(self, event: Event<D>, data: &D) -> Result {
        self.publish(Some(event.name()), data, None)
    }

    fn publish(&self, event: Option<&str>, message: &dyn Encode, key: Option<String>) -> Result {
        let both: Vec<ConnectionId>;
        let except = match (&self.left_out, self.except) {
            (None, except) => except,
            (Some(publisher), []) => slice::from_ref(publisher),
            (Some(publisher), except) => {
                both = [except, &[*publisher]].concat();
                &both
            }
        };
        self.hub.publish(self.topic.name(), event, message, key, except)
    }
}

impl<T> fmt::Debug for Audience<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audience")
            .field("topic", &self.topic)
            .field("left_out", &self.left_out)
            .field("except", &self.except)
            .finish_non_exhaustive()
    }
}
