use super::{ClientCalls, ConnectionPermit, Hub, Membership};
use crate::{
    context::Context,
    outbox::{Opening, Outbox, PushError, may_hold},
    protocol::{Encode, Format, Outgoing},
    util::sync::{
        Mutex,
        atomic::{
            AtomicU8, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    websocket::{Draft, Frame},
};
use realtime_protocol::{Close, CloseCode, Code, ConnectionId, Error};
use std::{any::Any, fmt, sync::Arc, task::Waker};

/// One client, as the hub, its handles and its driver know it: a mailbox and what it is a member of.
pub(crate) struct Client {
    pub(crate) id: ConnectionId,
    pub(crate) hub: Arc<Hub>,
    /// The id under which it has connected.
    pub(crate) endpoint: Arc<str>,
    pub(crate) context: Context,
    /// What its handler keeps with it. The hub does not look into it.
    pub(crate) typed: Box<dyn Any + Send + Sync>,
    pub(crate) format: Format,
    pub(crate) outbox: Outbox,
    pub(super) topics: Mutex<Memberships>,
    /// Calls of its procedures that wait for an answer.
    pub(crate) calls: ClientCalls,
    /// Calls that run on, though their caller does not wait for them any more.
    pub(crate) unattended: AtomicUsize,
    pub(super) life: super::Life,
    reading: AtomicU8,
    stage: AtomicU8,
    /// Whether it is served, where its response waits for that.
    opening: Option<Arc<Opening>>,
    /// Given back at the end, also where handles to the connection are kept.
    permit: Mutex<Option<ConnectionPermit>>,
}

/// The topics of one connection.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    /// None can be added.
    pub(super) closed: bool,
    pub(super) list: Vec<Membership>,
}

/// Whether the driver reads what the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reading {
    /// It does.
    On,
    /// Not until the handler catches up: the client's silence is our own doing.
    Paused,
    /// Not until the client takes what waits for it: its silence is its own doing.
    Held,
}

/// How far the handler is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// In `on_open`: no call runs yet.
    Opening,
    /// It handles a message, or waits for something.
    Busy,
    /// It waits for the next message and for nothing else.
    Idle,
}

/// What a client is made from.
pub(crate) struct NewClient {
    pub(crate) hub: Arc<Hub>,
    pub(crate) endpoint: Arc<str>,
    pub(crate) context: Context,
    pub(crate) typed: Box<dyn Any + Send + Sync>,
    pub(crate) format: Format,
    pub(crate) opening: Option<Arc<Opening>>,
    pub(crate) permit: ConnectionPermit,
}

impl Client {
    /// Makes a client and puts it on the hub's lists.
    pub(crate) fn connect(new: NewClient) -> Arc<Self> {
        let hub = new.hub;
        let client = Arc::new(Self {
            id: hub.next_id(),
            endpoint: new.endpoint,
            context: new.context,
            typed: new.typed,
            format: new.format,
            outbox: Outbox::new(hub.config.outbox_bytes),
            topics: Mutex::default(),
            calls: ClientCalls::default(),
            unattended: AtomicUsize::new(0),
            life: super::Life::new(hub.clock.now()),
            reading: AtomicU8::new(Reading::On as u8),
            stage: AtomicU8::new(Stage::Opening as u8),
            opening: new.opening,
            permit: Mutex::new(Some(new.permit)),
            hub,
        });
        let hub = &client.hub;
        hub.connections.insert(Arc::clone(&client));
        hub.counters.accepted.fetch_add(1, Relaxed);
        hub.wheel.watch(client.id, client.first_turn());
        tracing::debug!(connection = %client.id, endpoint = %client.endpoint, "opened");
        // A drain that began after the request was accepted has not seen this connection.
        if hub.draining.load(Relaxed) {
            client.close(CloseCode::GOING_AWAY, "the server is going away");
        }
        client
    }

    /// Writes a packet in this client's protocol and hands its frame to `with`; `None` where the protocol has no such
    /// packet, or where the packet is an error that becomes the status of the client's response.
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

    /// Queues a message of the handler's.
    pub(crate) fn send(&self, message: &dyn Encode) -> Result<(), SendFailure> {
        let queued = self.encode(&Outgoing::Message(message), |frame| {
            let bytes = frame.len();
            self.outbox.push(frame).or_else(|error| {
                may_hold(self.hub.config.outbox_bytes, bytes).map_err(SendFailure::Encode)?;
                Err(SendFailure::Push(error))
            })
        });
        queued.map_err(SendFailure::Encode)?.unwrap_or(Ok(()))
    }

    /// Queues a packet.
    pub(crate) fn send_packet(&self, packet: &Outgoing<'_>) -> Result<(), Error> {
        let queued = self.encode(packet, |frame| {
            let bytes = frame.len();
            self.outbox.push(frame).map_err(|error| self.unsent(error, bytes))
        });
        queued?.unwrap_or_else(|| Err(unknown_packet()))
    }

    /// Queues a packet, and leaves it to the caller to wake the driver: once its locks are gone.
    pub(crate) fn queue_packet(&self, packet: &Outgoing<'_>) -> Result<Option<Waker>, Error> {
        self.queue_frame(&self.frame(packet)?)
    }

    /// Frames a packet for this client.
    pub(crate) fn frame(&self, packet: &Outgoing<'_>) -> Result<Frame, Error> {
        self.hub.protocols.frame(self.format, packet)?.ok_or_else(unknown_packet)
    }

    /// As [`queue_packet`](Self::queue_packet), with the frame.
    pub(crate) fn queue_frame(&self, frame: &Frame) -> Result<Option<Waker>, Error> {
        self.outbox.push_shared(frame).map_err(|error| self.unsent(error, frame.len()))
    }

    /// Queues a packet of the protocol itself. A client that asks and asks, and does not read the answers, is closed.
    pub(crate) fn reply(&self, packet: &Outgoing<'_>) {
        let pushed = self.encode(packet, |frame| self.outbox.push_reply(frame));
        if let Ok(Some(Err(PushError::Full))) = pushed {
            self.close_slow();
        }
    }

    /// Says why a frame of so many bytes was not queued.
    fn unsent(&self, error: PushError, bytes: usize) -> Error {
        match error {
            PushError::Full => match may_hold(self.hub.config.outbox_bytes, bytes) {
                Ok(()) => Error::resource_exhausted("the client's outbox is full"),
                Err(error) => error,
            },
            PushError::Closed => Error::new(Code::CANCELLED, "the connection is closed"),
        }
    }

    /// Tells the client of an error; closes with the error's code where the protocol has no
    /// packet for it, or no room is left to say it.
    pub(crate) fn report(&self, error: &Error) {
        self.log(error);
        match self.encode(&Outgoing::Error { id: None, error }, |frame| self.outbox.push(frame)) {
            Ok(Some(Err(PushError::Full))) => self.close_slow(),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => self.close(error.code().close_code(), error.message()),
        }
    }

    /// Tells the client of an error that ends the session, and closes.
    pub(crate) fn refuse(&self, error: &Error) {
        self.log(error);
        // Without room for it, the close frame's reason says it.
        let _ = self.encode(&Outgoing::Error { id: None, error }, |frame| self.outbox.push(frame));
        let code = match error.code().close_code() {
            // No message was wrong, but what the session was asked for.
            CloseCode::INVALID_PAYLOAD => CloseCode::POLICY,
            code => code,
        };
        self.close(code, error.message());
    }

    /// Causes are for the log alone.
    pub(crate) fn log(&self, error: &Error) {
        if error.code() == &Code::INTERNAL {
            tracing::error!(connection = %self.id, endpoint = %self.endpoint, ?error, "handler failed");
        }
    }

    /// Begins to close, behind what is queued.
    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        self.decide_opening(code);
        self.outbox.close(Close::by_server(code, reason));
    }

    /// Closes a client that does not read as fast as others write.
    pub(crate) fn close_slow(&self) {
        let reason = "slow consumer: the outbox is full";
        self.decide_opening(CloseCode::TRY_AGAIN_LATER);
        if self.outbox.close_discarding(Close::by_server(CloseCode::TRY_AGAIN_LATER, reason)) {
            self.hub.counters.slow_consumer();
            tracing::info!(connection = %self.id, endpoint = %self.endpoint, "slow consumer closed");
        }
    }

    /// A client that is closed before it is known whether it is served was served, unless that failed.
    fn decide_opening(&self, code: CloseCode) {
        let Some(opening) = &self.opening else { return };
        if code == CloseCode::INTERNAL && self.outbox.bytes() == 0 {
            // It is logged where it happened.
            opening.refuse(&Error::internal("the stream failed before it opened"));
        } else {
            opening.open();
        }
    }

    /// The client is gone or going: releases what others hold of it, and starts the clock for the
    /// rest. May be called again.
    pub(crate) fn begin_end(self: &Arc<Self>) {
        if self.is_ending() {
            return;
        }
        self.life.end_at(self.hub.clock.after(self.hub.config.close_timeout), self);
        self.outbox.end();
        self.calls.end();
        self.hub.forget(self);
    }

    /// Gives back its places on the hub's lists.
    pub(crate) fn release(&self) {
        self.hub.connections.remove(self.id);
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
        // Its silence until now was our own doing.
        if before == Reading::Paused as u8 && reading != Reading::Paused {
            self.saw_life();
        }
    }

    /// Something was taken from the backlog: reading may go on.
    pub(crate) fn look_again(&self) {
        if self.reading() == Reading::Paused {
            self.outbox.signal_look();
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.stage.load(Relaxed) == Stage::Idle as u8
    }

    /// Whether `on_open` is done: calls may run.
    pub(crate) fn is_opened(&self) -> bool {
        self.stage.load(Acquire) != Stage::Opening as u8
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Release);
    }

    /// `on_open` is done.
    pub(crate) fn set_opened(&self) {
        let _ = self.stage.compare_exchange(Stage::Opening as u8, Stage::Busy as u8, AcqRel, Relaxed);
    }

    /// Says that the client is served, where that is said.
    pub(crate) fn tell_opened(&self) {
        if let Some(opening) = &self.opening {
            opening.open();
            self.reply(&Outgoing::Opened);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn unknown_packet() -> Error {
    Error::new(Code::UNIMPLEMENTED, "this client's protocol has no such thing")
}

/// Why a value was not queued.
pub(crate) enum SendFailure {
    Encode(Error),
    Push(PushError),
}
