use super::{
    ClientCalls, ConnectionPermit, Credentials, Hub, Mark, Membership, feed::Left, held_back::HeldBytes,
    revocations::Ahead,
};
use crate::{
    context::Context,
    outbox::{Opening, Outbox, PushError, may_hold},
    protocol::{Encode, Format, Outgoing, Protocol},
    util::sync::{
        Mutex,
        atomic::{
            AtomicU8, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    websocket::{Draft, Frame},
};
use realtime_protocol::{Close, CloseCode, Code, ConnectionId, Error};
use std::{any::Any, fmt, sync::Arc, task::Waker};
use tracing::{Level, Span, debug_span};

/// One client, as the hub, its handles and its driver know it: an outbox and its memberships.
pub(crate) struct Client {
    pub(crate) id: ConnectionId,
    pub(crate) hub: Arc<Hub>,
    /// The id of the endpoint that it connected to.
    pub(crate) endpoint: Arc<str>,
    pub(crate) context: Context,
    /// The typed part of its session, opaque to the hub.
    pub(crate) typed: Box<dyn Any + Send + Sync>,
    pub(crate) format: Format,
    pub(crate) outbox: Outbox,
    pub(super) topics: Mutex<Memberships>,
    /// Calls of its procedures that wait for an answer.
    pub(crate) calls: ClientCalls,
    /// Number of calls that go on after their caller has left.
    pub(crate) unattended: AtomicUsize,
    /// The bytes that its subscriptions and answers hold back.
    pub(super) held_back: HeldBytes,
    pub(super) life: super::Life,
    /// Its credentials, if they end.
    pub(super) credentials: Option<Box<Credentials>>,
    reading: AtomicU8,
    stage: AtomicU8,
    /// The decision whether it is served, if its response waits for one.
    pub(super) opening: Option<Arc<Opening>>,
    /// Frames behind the outbox, if they wait to be pulled.
    pub(super) ahead: Option<Arc<dyn Ahead>>,
    /// Released at the end, even if handles to the connection remain.
    permit: Mutex<Option<ConnectionPermit>>,
    /// The places that it is in on account of subscriptions, with the number of these.
    pub(super) stays: Mutex<Vec<(Box<str>, usize)>>,
    /// The span of its session, if somebody wants to know of it.
    span: Option<Box<Span>>,
}

/// The topics of one connection.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    /// No membership can be added.
    pub(super) closed: bool,
    pub(super) list: Vec<Membership>,
    /// The feeds that it was revoked from.
    pub(super) left: Option<Box<Left>>,
}

/// The state of reading from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reading {
    /// The driver reads.
    On,
    /// Paused until the handler catches up: the client's silence is not its fault.
    Paused,
    /// Paused until the client reads what is queued for it: its silence is its fault.
    Held,
}

/// The state of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// `on_open` is running: no call runs yet.
    Opening,
    /// The handler is handling a message, or waiting for something else.
    Busy,
    /// The handler is waiting for the next message.
    Idle,
}

/// The parts that a client is made from.
pub(crate) struct NewClient {
    pub(crate) hub: Arc<Hub>,
    pub(crate) endpoint: Arc<str>,
    pub(crate) context: Context,
    pub(crate) typed: Box<dyn Any + Send + Sync>,
    pub(crate) format: Format,
    pub(crate) opening: Option<Arc<Opening>>,
    pub(crate) ahead: Option<Arc<dyn Ahead>>,
    pub(crate) credentials: Option<Box<Credentials>>,
    /// The revocations when its request began.
    pub(crate) since: Mark,
    pub(crate) permit: ConnectionPermit,
}

impl Client {
    /// Creates a client and registers it with the hub.
    pub(crate) fn connect(new: NewClient) -> Arc<Self> {
        let hub = new.hub;
        let id = hub.next_id();
        let client = Arc::new(Self {
            id,
            span: session_span(id, &new.endpoint),
            endpoint: new.endpoint,
            context: new.context,
            typed: new.typed,
            format: new.format,
            outbox: Outbox::new(hub.config.outbox_bytes),
            topics: Mutex::default(),
            calls: ClientCalls::default(),
            unattended: AtomicUsize::new(0),
            held_back: HeldBytes::default(),
            life: super::Life::new(hub.clock.now()),
            credentials: new.credentials,
            reading: AtomicU8::new(Reading::On as u8),
            stage: AtomicU8::new(Stage::Opening as u8),
            stays: Mutex::default(),
            opening: new.opening,
            ahead: new.ahead,
            permit: Mutex::new(Some(new.permit)),
            hub,
        });
        let hub = &client.hub;
        hub.connections.insert(Arc::clone(&client));
        hub.list(&client);
        hub.counters.accepted.fetch_add(1, Relaxed);
        hub.wheel.watch(client.id, client.first_turn());
        tracing::debug!(connection = %client.id, endpoint = %client.endpoint, "opened");
        client.revoke_if_late(new.since);
        // A drain that began after the request was accepted has not seen this connection.
        if hub.draining.load(Relaxed) {
            client.close(CloseCode::GOING_AWAY, "the server is going away");
        }
        client
    }

    /// Returns the span of its session, if somebody wants to know of it.
    pub(crate) fn span(&self) -> Option<&Span> {
        self.span.as_deref()
    }

    /// Encodes a packet in this client's protocol and passes its frame to `with`. Returns `None` if the protocol has
    /// no such packet, or if the packet is an error that becomes the status of the client's response.
    pub(crate) fn encode<T>(
        &self,
        packet: &Outgoing<'_>,
        with: impl FnOnce(Draft<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        if let (Some(opening), Outgoing::Error { error, .. }) = (&self.opening, packet)
            && self.outbox.bytes() == 0
            && opening.refuse(error)
        {
            return Ok(None);
        }
        self.hub.protocols.encode(self.format, packet, with)
    }

    /// Queues a message of the handler. Called without locks.
    pub(crate) fn send(&self, message: &dyn Encode) -> Result<(), SendFailure> {
        let queued = self.encode(&Outgoing::Message(message), |frame| {
            let bytes = frame.len();
            self.outbox.push(frame).or_else(|error| {
                may_hold(self.hub.config.outbox_bytes, bytes).map_err(SendFailure::Encode)?;
                Err(SendFailure::Push(error))
            })
        });
        self.hub.keep_to_budget();
        queued.map_err(SendFailure::Encode)?.unwrap_or(Ok(()))
    }

    /// Queues a packet. Called without locks.
    pub(crate) fn send_packet(&self, packet: &Outgoing<'_>) -> Result<(), Error> {
        let queued = self.encode(packet, |frame| {
            let bytes = frame.len();
            self.outbox.push(frame).map_err(|error| self.unsent(error, bytes))
        });
        self.hub.keep_to_budget();
        queued?.unwrap_or_else(|| Err(unknown_packet()))
    }

    /// Queues a packet. The caller wakes the returned waker once its locks are released.
    pub(crate) fn queue_packet(&self, packet: &Outgoing<'_>) -> Result<Option<Waker>, Error> {
        self.queue_frame(&self.frame(packet)?)
    }

    /// Frames a packet for this client.
    pub(crate) fn frame(&self, packet: &Outgoing<'_>) -> Result<Frame, Error> {
        self.hub.protocols.frame(self.format, packet)?.ok_or_else(unknown_packet)
    }

    /// Like [`queue_packet`](Self::queue_packet), for a frame.
    pub(crate) fn queue_frame(&self, frame: &Frame) -> Result<Option<Waker>, Error> {
        self.outbox.push_shared(frame).map_err(|error| self.unsent(error, frame.len()))
    }

    /// Queues a packet of the protocol itself. A client that keeps asking without reading the answers is closed.
    pub(crate) fn reply(&self, packet: &Outgoing<'_>) {
        let pushed = self.encode(packet, |frame| self.outbox.push_reply(frame));
        if let Ok(Some(Err(PushError::Full))) = pushed {
            self.close_slow();
        }
    }

    /// Returns the error for a frame of `bytes` that was not queued.
    fn unsent(&self, error: PushError, bytes: usize) -> Error {
        match error {
            PushError::Full => match may_hold(self.hub.config.outbox_bytes, bytes) {
                Ok(()) => Error::resource_exhausted("the client's outbox is full"),
                Err(error) => error,
            },
            PushError::Closed => Error::new(Code::CANCELLED, "the connection is closed"),
        }
    }

    /// Sends an error to the client. Closes with the error's code if the protocol has no packet for it, or the outbox
    /// has no room.
    pub(crate) fn report(&self, error: &Error) {
        self.log(error);
        match self.encode(&Outgoing::Error { id: None, error }, |frame| self.outbox.push(frame)) {
            Ok(Some(Err(PushError::Full))) => self.close_slow(),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                let (code, reason) = self.protocol().close(error);
                self.close(code, reason);
            }
        }
    }

    /// Sends the client an error that ends the session, and closes.
    pub(crate) fn refuse(&self, error: &Error) {
        self.log(error);
        // Without room for the packet, the close frame's reason carries the message.
        let _ = self.encode(&Outgoing::Error { id: None, error }, |frame| self.outbox.push(frame));
        let (code, reason) = self.protocol().close(error);
        let code = match code {
            // This code is for malformed messages, and here the session was refused.
            CloseCode::INVALID_PAYLOAD => CloseCode::POLICY,
            code => code,
        };
        self.close(code, reason);
    }

    fn protocol(&self) -> &dyn Protocol {
        self.hub.protocols.get(self.format.protocol())
    }

    /// Logs an error with its causes, which the client is not told.
    pub(crate) fn log(&self, error: &Error) {
        if error.code() == &Code::INTERNAL {
            tracing::error!(connection = %self.id, endpoint = %self.endpoint, ?error, "handler failed");
        }
    }

    /// Starts to close, after the queued frames.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        self.decide_opening(code);
        self.outbox.close(Close::by_server(code, reason));
    }

    /// Closes a client that does not read fast enough.
    pub(crate) fn close_slow(&self) {
        if self.close_discarding(CloseCode::TRY_AGAIN_LATER, "slow consumer: the outbox is full") {
            self.hub.counters.slow_consumer();
            tracing::info!(connection = %self.id, endpoint = %self.endpoint, "slow consumer closed");
        }
    }

    /// Starts to close and drops what is queued. Returns true if this call started it.
    pub(super) fn close_discarding(&self, code: CloseCode, reason: &str) -> bool {
        self.decide_opening(code);
        self.outbox.close_discarding(Close::by_server(code, reason))
    }

    /// Decides the opening of a client that is closed before: it was served, unless the close is an error.
    fn decide_opening(&self, code: CloseCode) {
        let Some(opening) = &self.opening else { return };
        if code == CloseCode::ABNORMAL {
            // The connection is cut, and the carrier refuses the client when it is dropped.
        } else if code == CloseCode::INTERNAL && self.outbox.bytes() == 0 {
            // The error itself is logged where it happened.
            opening.refuse(&Error::internal("the stream failed before it opened"));
        } else if code == CloseCode::UNAUTHORIZED && self.outbox.bytes() == 0 {
            opening.refuse(&Error::unauthenticated());
        } else {
            opening.open();
        }
    }

    /// Starts the end of a client that is gone or leaving: releases what others hold for it, and starts the timeout
    /// for the rest. May be called again.
    pub(crate) fn begin_end(self: &Arc<Self>) {
        if self.is_ending() {
            return;
        }
        self.life.end_at(self.hub.clock.after(self.hub.config.close_timeout), self);
        self.outbox.end();
        self.calls.end();
        self.hub.forget(self);
    }

    /// Takes the client off the hub's lists and releases its permit.
    pub(crate) fn release(&self) {
        self.hub.connections.remove(self.id);
        self.hub.unlist(self);
        let permit = self.permit.lock().take();
        drop(permit);
    }

    pub(crate) fn reading(&self) -> Reading {
        match self.reading.load(Relaxed) {
            0 => Reading::On,
            1 => Reading::Paused,
            _ => Reading::Held,
        }
    }

    /// For the driver.
    pub(crate) fn set_reading(&self, reading: Reading) {
        let before = self.reading.swap(reading as u8, Relaxed);
        // The silence until now was not the client's fault.
        if before == Reading::Paused as u8 && reading != Reading::Paused {
            self.saw_life();
        }
    }

    /// Tells the driver that the backlog has shrunk: it may read again.
    pub(crate) fn look_again(&self) {
        if self.reading() == Reading::Paused {
            self.outbox.signal_look();
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.stage.load(Relaxed) == Stage::Idle as u8
    }

    /// Returns true once `on_open` has finished: calls may run.
    pub(crate) fn is_opened(&self) -> bool {
        self.stage.load(Acquire) != Stage::Opening as u8
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Release);
    }

    /// Marks `on_open` as finished, and the client as served.
    pub(crate) fn set_opened(&self) {
        self.set_stage(Stage::Busy);
        self.tell_opened();
    }

    /// Tells the client that it is served, unless it is closed already. A response that waits for it begins.
    pub(crate) fn tell_opened(&self) {
        if self.outbox.is_closing() {
            return;
        }
        if let Some(opening) = &self.opening {
            opening.open();
        }
        self.reply(&Outgoing::Opened);
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn session_span(id: ConnectionId, endpoint: &str) -> Option<Box<Span>> {
    let is_on = tracing::enabled!(target: "realtime_core::session", Level::DEBUG);
    is_on.then(|| {
        let span = debug_span!(target: "realtime_core::session", "session", connection = %id, endpoint);
        Box::new(span)
    })
}

fn unknown_packet() -> Error {
    Error::new(Code::UNIMPLEMENTED, "this client's protocol has no such thing")
}

/// The reason why a value was not queued.
pub(crate) enum SendFailure {
    Encode(Error),
    Push(PushError),
}
