//! One client: what waits for it, what waits for its handler, and the future that runs both.

mod behind;
mod calling;
mod calls;
mod driver;
mod hooks;
mod inbox;
mod outbox;
mod queued;
mod running;
mod serving;
mod streaming;
mod tail;
mod tasks;
mod turn;
mod wakers;

pub(crate) use calling::{Calling, Outcalls};
pub(crate) use hooks::{HandlerHooks, Hooks, NoHandler, Typed, catch, run_handler};
pub(crate) use outbox::{PushError, may_hold};
pub(crate) use running::{begin, drop_running, late_error, poll_running};
pub(crate) use serving::Serving;
pub(crate) use wakers::Wakers;

use crate::context::Context;
use crate::hub::{ConnectionPermit, Hub, Membership};
use crate::request::{EVENTS, EVENTS_OF_WHOLE, Mounted};
use crate::util::sync::Mutex;
use crate::util::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize};
use crate::util::sync::atomic::Ordering::Relaxed;
use crate::websocket::{Draft, Frame, PerMessageDeflate, compose};
use realtime_protocol::{Close, CloseCode, Error};
use realtime_protocol::format::{Encode, Outgoing, Packet, Protocol};
use outbox::Outbox;
use std::{any::Any, fmt, sync::Arc, task::Waker, time::Duration};

/// One client's state, shared by its driver, its handles and the hub.
pub(crate) struct Session {
    pub(crate) id: ConnectionId,
    pub(crate) hub: Arc<Hub>,
    pub(crate) endpoint: Arc<Mounted>,
    pub(crate) context: Context,
    /// The handler's [`Typed`] part.
    pub(crate) typed: Box<dyn Any + Send + Sync>,
    pub(crate) outbox: Outbox,
    pub(crate) topics: Mutex<Memberships>,
    /// Where its protocol stands in the hub's list.
    protocol: u8,
    /// The compression that was agreed on.
    deflate: Option<PerMessageDeflate>,
    welcome: bool,
    /// What it begins with, and ends with as well.
    first: Mutex<Option<Box<Packet<'static>>>>,
    is_for_one: bool,
    /// The tick at which the client last gave a sign of life.
    seen: AtomicU32,
    /// It has been silent for too long, and its driver was asked to read once more.
    asked: AtomicBool,
    /// The tick at which a close that has begun is over; 0 before.
    deadline: AtomicU32,
    /// Reading has stopped until the handler catches up: silence is our own doing.
    paused: AtomicBool,
    /// Reading has stopped until the client takes what waits for it: its silence is its own doing.
    held: AtomicBool,
    /// The handler waits for the next message and for nothing else.
    idle: AtomicBool,
    /// `on_open` is done: calls may run.
    opened: AtomicBool,
    /// Calls of the client's procedures.
    pub(crate) calling: Outcalls,
    /// Calls that run on, though their caller does not wait for them any more.
    pub(crate) unattended: AtomicUsize,
    /// The tick at which the wheel looks whether a call is late; 0 if it does not.
    watched: AtomicU32,
    /// Given back at the end, also where handles to the connection are kept.
    pub(crate) permit: Mutex<Option<ConnectionPermit>>,
}

/// The topics of one connection; once `closed`, none can be added.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    pub(crate) closed: bool,
    pub(crate) list: Vec<Membership>,
}

/// What a session is made from.
pub(crate) struct Opening {
    pub(crate) hub: Arc<Hub>,
    pub(crate) endpoint: Arc<Mounted>,
    pub(crate) context: Context,
    pub(crate) typed: Box<dyn Any + Send + Sync>,
    pub(crate) protocol: u8,
    pub(crate) deflate: Option<PerMessageDeflate>,
    pub(crate) welcome: bool,
    /// What the session begins with, where it is for one subscription alone.
    pub(crate) first: Option<Box<Packet<'static>>>,
    pub(crate) permit: ConnectionPermit,
}

impl Session {
    pub(crate) fn new(id: ConnectionId, opening: Opening) -> Arc<Self> {
        let outbox = Outbox::new(opening.hub.config.outbox_bytes);
        let seen = AtomicU32::new(opening.hub.clock.now());
        Arc::new(Self {
            id,
            hub: opening.hub,
            endpoint: opening.endpoint,
            context: opening.context,
            typed: opening.typed,
            outbox,
            topics: Mutex::default(),
            protocol: opening.protocol,
            deflate: opening.deflate,
            welcome: opening.welcome,
            is_for_one: opening.first.is_some(),
            first: Mutex::new(opening.first),
            seen,
            asked: AtomicBool::new(false),
            deadline: AtomicU32::new(0),
            paused: AtomicBool::new(false),
            held: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            opened: AtomicBool::new(false),
            calling: Outcalls::default(),
            unattended: AtomicUsize::new(0),
            watched: AtomicU32::new(0),
            permit: Mutex::new(Some(opening.permit)),
        })
    }

    /// Makes a session and puts it on the hub's lists.
    pub(crate) fn open(opening: Opening) -> Arc<Self> {
        let hub = Arc::clone(&opening.hub);
        let session = Self::new(hub.next_id(), opening);
        hub.connections.insert(Arc::clone(&session));
        hub.counters.accepted.fetch_add(1, Relaxed);
        hub.wheel.watch(session.id, session.first_turn());
        tracing::debug!(connection = %session.id, endpoint = %session.endpoint.id, "opened");
        // A drain that began after the request was accepted has not seen this connection.
        if hub.draining.load(Relaxed) {
            session.close(CloseCode::GOING_AWAY, "the server is going away");
        }
        session
    }

    /// Whether it is a stream of server-sent events.
    fn is_events(&self) -> bool {
        [EVENTS, EVENTS_OF_WHOLE].contains(&self.protocol)
    }

    /// After how much silence the client is asked for a sign of life.
    fn heartbeat(&self) -> Duration {
        let config = &self.hub.config;
        // An idle stream is asked at least once before it is taken for dead.
        if self.is_events() { config.keep_alive.min(config.idle_timeout / 2) } else { config.ping_interval }
    }

    pub(crate) fn protocol(&self) -> &dyn Protocol {
        &*self.hub.protocols[usize::from(self.protocol)]
    }

    /// Sessions of the same format are sent the same bytes: [`Hub::of_format`] says what it is.
    pub(crate) fn format(&self) -> usize {
        PerMessageDeflate::class(self.deflate) * self.hub.protocols.len() + usize::from(self.protocol)
    }

    /// Writes a packet in this client's protocol and hands its frame to `with`; gives `None` where
    /// the protocol has no such packet.
    pub(crate) fn encode<T>(
        &self,
        packet: &Outgoing<'_>,
        with: impl FnOnce(Draft<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        let protocol = self.protocol();
        if let Some(deflate) = self.deflate {
            let Some(frame) = encode(protocol, packet)? else { return Ok(None) };
            return Ok(Some(with(Draft::of(&deflate.apply(&self.hub.config, &frame)))));
        }
        if let Some((kind, payload)) = protocol.borrow(packet) {
            return Ok(Some(with(Draft::new(kind.into(), payload))));
        }
        compose(|out| Ok(protocol.encode(packet, out)?.map(Into::into)), with)
    }

    /// Queues a value for this client.
    pub(crate) fn send(&self, value: &dyn Encode) -> Result<(), SendFailure> {
        let queued = self.encode(&Outgoing::Message(value), |frame| {
            let bytes = frame.len();
            self.outbox.push(frame).or_else(|error| {
                may_hold(self.hub.config.outbox_bytes, bytes).map_err(SendFailure::Encode)?;
                Err(SendFailure::Push(error))
            })
        });
        queued.map_err(SendFailure::Encode)?.unwrap_or(Ok(()))
    }

    /// Queues a packet, and leaves it to the caller to wake the driver: once its locks are gone.
    pub(crate) fn queue_packet(&self, packet: &Outgoing<'_>) -> Result<Option<Waker>, Error> {
        self.queue_frame(&self.frame(packet)?)
    }

    /// Frames a packet for this client.
    pub(crate) fn frame(&self, packet: &Outgoing<'_>) -> Result<Frame, Error> {
        let none = || Error::new("UNIMPLEMENTED", "this client's protocol has no such thing");
        let frame = encode(self.protocol(), packet)?.ok_or_else(none)?;
        Ok(match self.deflate {
            Some(deflate) => deflate.apply(&self.hub.config, &frame),
            None => frame,
        })
    }

    /// As [`queue_packet`](Self::queue_packet), with the frame.
    pub(crate) fn queue_frame(&self, frame: &Frame) -> Result<Option<Waker>, Error> {
        self.outbox.push_shared(frame).map_err(|error| self.unsent(error, frame.len()))
    }

    /// Says why a frame of so many bytes was not queued.
    fn unsent(&self, error: PushError, bytes: usize) -> Error {
        match error {
            PushError::Full => match may_hold(self.hub.config.outbox_bytes, bytes) {
                Ok(()) => Error::resource_exhausted("the client's outbox is full"),
                Err(error) => error,
            },
            PushError::Closed => Error::new("CANCELLED", "the connection is closed"),
        }
    }

    /// Tells the client of an error; closes with the error's code where the protocol has no
    /// packet for it, or no room is left to say it.
    pub(crate) fn report(&self, error: &Error) {
        self.log(error);
        match self.encode(&Outgoing::Error { id: None, error }, |frame| self.outbox.push(frame)) {
            Ok(Some(Err(PushError::Full))) => self.close_slow(),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                self.close(error.code().close_code(), error.message());
            }
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
    fn log(&self, error: &Error) {
        if error.code() == &realtime_protocol::Code::INTERNAL {
            tracing::error!(connection = %self.id, endpoint = %self.endpoint.id, ?error, "handler failed");
        }
    }

    pub(crate) fn close(&self, code: CloseCode, reason: &str) {
        self.outbox.close(Close::by_server(code, reason));
    }

    /// Closes a client that does not read as fast as others write.
    pub(crate) fn close_slow(&self) {
        let reason = "slow consumer: the outbox is full";
        if self.outbox.close_discarding(Close::by_server(CloseCode::TRY_AGAIN_LATER, reason)) {
            self.hub.counters.slow_consumer();
            tracing::info!(connection = %self.id, endpoint = %self.endpoint.id, "slow consumer closed");
        }
    }

    /// The client is gone or going: releases what others hold of it, and starts the clock for the
    /// rest. May be called again.
    pub(crate) fn begin_end(self: &Arc<Self>) {
        if self.is_ending() {
            return;
        }
        let deadline = self.hub.clock.after(self.hub.config.close_timeout);
        self.deadline.store(deadline, Relaxed);
        self.hub.wheel.watch(self.id, deadline);
        self.outbox.end();
        self.calling.end();
        self.hub.forget(self);
    }

    /// Gives back its places on the hub's lists.
    fn release(&self) {
        self.hub.connections.remove(self.id);
        let permit = self.permit.lock().take();
        drop(permit);
    }

    /// Whether the end has begun.
    fn is_ending(&self) -> bool {
        self.deadline.load(Relaxed) != 0
    }

    /// Looks after the session at its turn on the wheel; gives the tick of its next turn.
    pub(crate) fn handle_turn(self: &Arc<Self>, now: u32) -> Option<u32> {
        let deadline = self.deadline.load(Relaxed);
        if deadline != 0 {
            if now >= deadline {
                self.outbox.signal_expired();
                return None;
            }
            return Some(deadline);
        }
        self.outbox.shrink();
        self.endpoint.hooks.shrink(self);
        if self.is_paused() && !self.held.load(Relaxed) {
            self.outbox.signal_ping();
            return Some(now + self.hub.clock.ticks(self.hub.config.ping_interval));
        }
        let seen = self.seen.load(Relaxed);
        let (ping, idle) = self.patience(seen);
        let silent = now.saturating_sub(seen);
        if silent >= idle {
            return Some(self.handle_silence(now));
        }
        self.asked.store(false, Relaxed);
        if silent >= ping {
            self.outbox.signal_ping();
            return Some((now + ping).min((seen + idle).max(now + 1)));
        }
        Some(seen + ping.min(idle))
    }

    /// Closes a client that was silent for too long, or took nothing of what waits for it for as long. Its driver has had a
    /// turn to read and write before: where the process was stopped, or is busy, what the client has sent may still wait
    /// to be read.
    fn handle_silence(&self, now: u32) -> u32 {
        if !self.asked.swap(true, Relaxed) {
            self.outbox.signal_look();
        } else if self.outbox.is_to_look() {
            // It has not had that turn yet.
        } else if self.held.load(Relaxed) {
            self.close_slow();
        } else {
            tracing::debug!(connection = %self.id, endpoint = %self.endpoint.id, "idle timeout");
            self.close(CloseCode::GOING_AWAY, "idle timeout: nothing was received");
        }
        now + 1
    }

    /// The tick of its first turn on the wheel.
    fn first_turn(&self) -> u32 {
        let seen = self.seen.load(Relaxed);
        let (ping, idle) = self.patience(seen);
        seen + ping.min(idle)
    }

    /// After how many ticks of silence a client that was heard of at `seen` is pinged, and closed.
    fn patience(&self, seen: u32) -> (u32, u32) {
        let config = &self.hub.config;
        (self.spread(self.heartbeat(), seen), self.hub.clock.ticks(config.idle_timeout))
    }

    /// An interval in ticks, up to a quarter shorter: connections that were opened, or heard of, in the same tick are not
    /// all due in the same one.
    fn spread(&self, interval: Duration, since: u32) -> u32 {
        let ticks = self.hub.clock.ticks(interval);
        let mixed = (self.id.number ^ u64::from(since) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ticks - mixed as u32 % (ticks / 4 + 1)
    }

    /// Has the wheel look at tick `due` whether a call is late, unless it does so before.
    pub(crate) fn watch(&self, due: u32) {
        let earlier = |watched: u32| (watched == 0 || due < watched).then_some(due);
        if self.watched.fetch_update(Relaxed, Relaxed, earlier).is_ok() {
            self.hub.wheel.watch_calls(self.id, due);
        }
    }

    /// The wheel has come to a tick at which a call may be late.
    pub(crate) fn handle_late_calls(&self, now: u32) {
        self.watched.store(0, Relaxed);
        self.expire_calls(now);
        self.outbox.signal_look();
    }

    pub(crate) fn saw_life(&self) {
        self.seen.store(self.hub.clock.now(), Relaxed);
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        if self.paused.swap(paused, Relaxed) && !paused {
            self.saw_life();
        }
    }

    pub(super) fn set_held(&self, held: bool) {
        self.held.store(held, Relaxed);
        // Its silence until now was our own doing.
        if held && self.is_paused() {
            self.saw_life();
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Relaxed)
    }

    /// Something was taken from the backlog: reading may go on.
    pub(crate) fn look_again(&self) {
        if self.is_paused() {
            self.outbox.signal_look();
        }
    }

    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, Relaxed);
    }

    pub(crate) fn set_opened(&self) {
        self.opened.store(true, Relaxed);
        if !self.is_for_one {
            self.tell_opened();
        }
    }

    /// Says that the client is served, where that is said.
    fn tell_opened(&self) {
        if self.is_events() {
            reply(self, &Outgoing::Opened);
        }
    }

    pub(crate) fn is_opened(&self) -> bool {
        self.opened.load(Relaxed)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.idle.load(Relaxed)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("endpoint", &self.endpoint.id)
            .finish_non_exhaustive()
    }
}

/// Queues a packet of the protocol itself. A client that asks and asks, and does not read the answers, is closed.
fn reply(session: &Session, packet: &Outgoing<'_>) {
    let pushed = session.encode(packet, |frame| session.outbox.push_reply(frame));
    if let Ok(Some(Err(PushError::Full))) = pushed {
        session.close_slow();
    }
}

pub(crate) fn encode(protocol: &dyn Protocol, packet: &Outgoing<'_>) -> Result<Option<Frame>, Error> {
    Frame::build(|out| Ok(protocol.encode(packet, out)?.map(Into::into)))
}

/// Why a value was not queued.
pub(crate) enum SendFailure {
    Encode(Error),
    Push(PushError),
}
