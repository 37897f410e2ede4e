//! The wire format: one WebSocket message is one packet.
//!
//! A [`Protocol`] writes the envelope; the typed value inside is written by the type itself
//! ([`Encode`]) and read by it ([`Value::parse`]), so that a format needs to know nothing of
//! applications and a value is visited once, statically.

mod encoded;
mod envelope;
mod json;
mod msgpack;
mod secret;
mod value;

pub use encoded::Encoded;
pub use json::Json;
pub use json::read_timeout;
pub use msgpack::MessagePack;
pub use secret::Secret;
pub use value::{Encode, ReadWith, Value, ValueFormat, WriteWith};

use crate::{
    close::CloseCode,
    connection_id::ConnectionId,
    error::Error,
    item::{Appended, Position},
    message::{Data, Kind},
    overflow::Gap,
};
use std::{borrow::Cow, fmt, time::Duration};

/// One wire format. The built-in ones are [`Json`], [`MessagePack`] and `Plain`, which has no envelope.
pub trait Protocol: Send + Sync + fmt::Debug + 'static {
    /// The name by which clients ask for it in `Sec-WebSocket-Protocol`; `None` for a format that
    /// an endpoint prescribes.
    fn subprotocol(&self) -> Option<&'static str>;

    /// Reads one message. Must accept any bytes, and take time linear in them.
    ///
    /// # Errors
    ///
    /// The message is not of this format; the client is told, and the session goes on. Where it is known
    /// which call or subscription is meant, it is a [`Packet::Invalid`] instead.
    fn decode<'a>(&self, data: &'a Data<'_>) -> Result<Packet<'a>, Error>;

    /// Appends one message to `out` and gives its kind, or `None` where this format has no such
    /// packet; then nothing is sent, and an error closes the connection instead.
    ///
    /// # Errors
    ///
    /// The value does not serialise.
    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error>;

    /// Returns true for a format without an envelope: each message is one of the handler's, and [`decode`](Self::decode) would say
    /// [`Packet::Whole`] of all of them, so that it is not asked. By default `false`.
    fn is_plain(&self) -> bool {
        false
    }

    /// The message as it stands in memory, where this format has nothing to add to it: only to
    /// spare [`encode`](Self::encode), which must give the same. By default `None`.
    fn borrow<'a>(&self, packet: &Outgoing<'a>) -> Option<(Kind, &'a [u8])> {
        let _ = packet;
        None
    }

    /// Finds the input of a handler in the query of the URL. By default it is the JSON in the pair `input`, or else all
    /// pairs.
    ///
    /// # Errors
    ///
    /// The query is not of this format; the request is refused with 400.
    fn input(&self, query: &str) -> Result<Value<'static>, Error> {
        Ok(input_of_query(query))
    }

    /// Returns the code and reason of a close that is caused by an error: of a session that is refused, and of one in
    /// which this format has no packet for the error. By default those of the error.
    fn close<'a>(&self, error: &'a Error) -> (CloseCode, &'a str) {
        (error.code().close_code(), error.message())
    }
}

fn input_of_query(query: &str) -> Value<'static> {
    match form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "input") {
        Some((_, json)) => Value::Json(json.into_owned().into()),
        None => Value::Pairs(query.to_owned()),
    }
}

/// A packet from a client.
#[derive(Debug)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// The whole WebSocket message is the handler's message.
    Whole,
    /// A message to the handler.
    Message(Value<'a>),
    /// A named one-way event.
    Event {
        /// Its name.
        name: Cow<'a, str>,
        /// Its data; null if there is none.
        data: Value<'a>,
    },
    /// Calls a procedure.
    Call {
        /// The client's name for this call.
        id: Cow<'a, str>,
        /// The procedure, with dots between its parts.
        path: Cow<'a, str>,
        /// Its input; null if there is none.
        input: Value<'a>,
        /// The time that the caller will wait.
        timeout: Option<Duration>,
        /// Calls with one key are run once.
        key: Option<Cow<'a, str>>,
    },
    /// Gives a call up.
    Cancel {
        /// The call.
        id: Cow<'a, str>,
    },
    /// Begins a subscription.
    Subscribe {
        /// The client's name for it.
        id: Cow<'a, str>,
        /// The subscription, with dots between its parts.
        path: Cow<'a, str>,
        /// Its input; null if there is none.
        input: Value<'a>,
        /// The last position that the client has seen. Boxed, because all packets are as large as the largest.
        after: Option<Box<Position>>,
        /// The number of items that the client accepts before it grants more; without it, any number.
        credit: Option<u32>,
        /// The items may come under the name of a topic, as an [`Outgoing::Entry`].
        shared: bool,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// The subscription.
        id: Cow<'a, str>,
    },
    /// Lets a subscription send more items.
    Credit {
        /// The subscription.
        id: Cow<'a, str>,
        /// The number of additional items.
        more: u32,
    },
    /// Answers an [`Outgoing::Call`].
    Reply {
        /// The call.
        id: Cow<'a, str>,
        /// Its result; null if there is none.
        data: Value<'a>,
    },
    /// Answers an [`Outgoing::Call`] that failed.
    Error {
        /// The call.
        id: Cow<'a, str>,
        /// Why.
        error: Error,
    },
    /// A call or subscription whose other fields are wrong or missing: the error is the end of it.
    Invalid {
        /// The client's name for it.
        id: Cow<'a, str>,
        /// The error, and the field in which it is.
        error: Error,
    },
    /// Answers an [`Outgoing::Reauthenticate`].
    Authenticate {
        /// The fresh token.
        token: Secret<Cow<'a, str>>,
    },
    /// Asks for a [`Outgoing::Pong`].
    Ping,
    /// Means nothing here, and is no error: for formats whose clients may send more than the server knows.
    Ignored,
}

impl Packet<'_> {
    #[doc(hidden)]
    pub fn into_owned(self) -> Packet<'static> {
        fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        match self {
            Self::Whole => Packet::Whole,
            Self::Message(value) => Packet::Message(value.into_owned()),
            Self::Event { name, data } => Packet::Event { name: owned(name), data: data.into_owned() },
            Self::Call { id, path, input, timeout, key } => Packet::Call {
                id: owned(id),
                path: owned(path),
                input: input.into_owned(),
                timeout,
                key: key.map(owned),
            },
            Self::Subscribe { id, path, input, after, credit, shared } => Packet::Subscribe {
                id: owned(id),
                path: owned(path),
                input: input.into_owned(),
                after,
                credit,
                shared,
            },
            Self::Cancel { id } => Packet::Cancel { id: owned(id) },
            Self::Unsubscribe { id } => Packet::Unsubscribe { id: owned(id) },
            Self::Credit { id, more } => Packet::Credit { id: owned(id), more },
            Self::Invalid { id, error } => Packet::Invalid { id: owned(id), error },
            Self::Reply { id, data } => Packet::Reply { id: owned(id), data: data.into_owned() },
            Self::Error { id, error } => Packet::Error { id: owned(id), error },
            Self::Authenticate { token: Secret(token) } => Packet::Authenticate { token: Secret(owned(token)) },
            Self::Ping => Packet::Ping,
            Self::Ignored => Packet::Ignored,
        }
    }
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Packet<'_>>() <= 128, "each is moved several times");

/// A packet from the server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outgoing<'a> {
    /// The first packet, if the client asked for the format by its subprotocol, or the format has none.
    Welcome {
        /// The id of the connection.
        connection: ConnectionId,
        /// The interval at which the server checks for signs of life.
        heartbeat: Duration,
        /// The bytes of a message that the server takes from the client.
        message_bytes: usize,
        /// A hash of the types of the endpoint, if the application sets one.
        schema: Option<&'a str>,
    },
    /// `on_open` is over, and the client is served from here on.
    Opened,
    /// A handler's message.
    Message(&'a dyn Encode),
    /// A named one-way event.
    Event {
        /// Its name.
        name: &'a str,
        /// Its data.
        data: &'a dyn Encode,
    },
    /// An item of a subscription.
    Data {
        /// The subscription.
        id: &'a str,
        /// The item.
        data: &'a dyn Encode,
        /// Its place, where it has one.
        position: Option<&'a Position>,
        /// The name it has among server-sent events.
        event: Option<&'a str>,
    },
    /// A subscription of a feed has begun, or begins anew. The first packet of it.
    Subscribed {
        /// The subscription.
        id: &'a str,
        /// The name of the feed.
        topic: &'a str,
        /// The position behind which it goes on.
        position: &'a Position,
        /// Its items come as [`Entry`](Self::Entry).
        shared: bool,
        /// Nothing is missing behind the client's position; `None` if it came with none.
        resumed: Option<bool>,
        /// The first item is a state, at this position: until it has come, the client cannot go on from there.
        state: bool,
    },
    /// An item of the subscription that shares the frames of this feed.
    Entry {
        /// The name of the feed.
        topic: &'a str,
        /// The item.
        data: &'a dyn Encode,
        /// Its place.
        position: &'a Position,
    },
    /// A message of a feed that the handler follows.
    Followed {
        /// The name of the feed.
        topic: &'a str,
        /// The message.
        value: &'a dyn Encode,
        /// Its place.
        position: &'a Position,
    },
    /// A subscription is over.
    Complete {
        /// The subscription.
        id: &'a str,
    },
    /// The result of a call.
    Reply {
        /// The call.
        id: &'a str,
        /// The result.
        data: &'a dyn Encode,
        /// The entries that the call has appended to feeds.
        wrote: &'a [Appended],
    },
    /// A progress report of a call.
    Progress {
        /// The call.
        id: &'a str,
        /// The application's words for it.
        data: &'a dyn Encode,
    },
    /// Calls a procedure of the client's.
    Call {
        /// The server's name for this call.
        id: &'a str,
        /// The procedure.
        path: &'a str,
        /// Its input.
        input: &'a dyn Encode,
        /// The time that the server will wait.
        timeout: Duration,
    },
    /// Gives an [`Outgoing::Call`] up.
    Cancel {
        /// The call.
        id: &'a str,
    },
    /// Some messages are missing here.
    Gap {
        /// The subscription in which they are missing.
        id: Option<&'a str>,
        /// The topic in which they are missing.
        topic: Option<&'a str>,
        /// Their number, and the cause.
        gap: &'a Gap,
    },
    /// Something the client did could not be served.
    Error {
        /// The call or subscription that it ends; without one it is about the connection.
        id: Option<&'a str>,
        /// The error for the client.
        error: &'a Error,
    },
    /// Asks for a fresh token: the credentials of the connection end soon.
    Reauthenticate {
        /// The time until they end.
        within: Duration,
    },
    /// The answer to [`Packet::Ping`].
    Pong,
}
