//! The driver, which runs a connection.

mod end;
mod inbound;
mod inflating;
mod input;
mod output;

use super::{
    Carrier, Session, hooks,
    server_calls::Calls,
    tail::Tail,
    turn::{Turn, is_turn_over},
};
use crate::{
    hub::Place,
    ledger::Account,
    outbox::Blocked,
    seams::{BoxFuture, SendQueue},
    util::panics::{Panicked, drop_caught, poll_caught},
    websocket::{Decoder, Limits, PerMessageDeflate},
};
use bytes::Bytes;
use end::Stage;
use input::Input;
use realtime_protocol::{Close, CloseCode, format::Packet};
use std::task::{Context, Poll};

/// Reads, runs the handler and writes, in this order, until there is nothing to do.
pub(super) struct Driver<T> {
    pub(super) session: Session,
    carrier: T,
    run: Run,
    /// Calls, subscriptions and events, once there has been one.
    calls: Option<Box<Calls>>,
    decoder: Decoder,
    /// The place of a long message in the limit of inflating messages.
    inflating: Option<Box<Place>>,
    /// Bytes that are read and not decoded: the turn was over, or the handler or the client was behind.
    tail: Tail,
    input: Input,
    /// The handler's backlog was full when last checked.
    behind: bool,
    /// Another task has made room in the handler's backlog.
    look: bool,
    /// Malformed messages in a row.
    malformed: u32,
    /// Frames that the carrier has not accepted yet.
    sending: Option<Box<SendQueue>>,
    /// The carrier accepted no more at the last try.
    blocked: bool,
    /// Replies of the protocol since the last flush.
    replies: u32,
    /// The client's input that is not handled yet, on the ledger.
    inbound: Option<Box<Account>>,
    stage: Stage,
    /// The client's close.
    peer: Option<Box<Close>>,
    /// Our close, once nothing can be sent any more.
    ours: Option<Box<Close>>,
}

impl<T> Driver<T> {
    /// Returns true if `on_open` has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.run.progress != Progress::New
    }
}

/// The application's part.
struct Run {
    /// Until it is done.
    future: Option<BoxFuture<'static>>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It was never polled.
    New,
    /// There is news for it.
    Due,
    Waiting,
}

impl Run {
    /// Notes that there is news for the application.
    #[inline]
    fn set_due(&mut self) {
        if self.progress == Progress::Waiting {
            self.progress = Progress::Due;
        }
    }

    #[inline]
    fn is_due(&self) -> bool {
        self.progress != Progress::Waiting && self.future.is_some()
    }

    #[inline]
    fn is_done(&self) -> bool {
        self.future.is_none()
    }
}

impl<T: Carrier> Driver<T> {
    pub(super) fn new(session: Session, carrier: T, early: Bytes, first: Vec<Packet<'static>>) -> Self {
        let config = &session.client.hub.config;
        let limits = Limits { message_bytes: config.message_bytes, frames: config.frames_per_message };
        let calls = (!first.is_empty()).then(|| {
            let mut calls = Box::new(Calls::new(&session));
            first.into_iter().for_each(|packet| calls.handle(packet, &mut Turn::new()));
            calls
        });
        Self {
            run: Run { future: Some(hooks::run(&session)), progress: Progress::New },
            calls,
            decoder: Decoder::new(limits).inflating(session.client.format.deflate()),
            inflating: None,
            // Copied: an empty or short `Bytes` may hold the framework's whole read buffer.
            tail: Tail::new(early.to_vec()),
            input: Input::Open,
            behind: false,
            look: false,
            malformed: 0,
            sending: None,
            blocked: false,
            replies: 0,
            inbound: None,
            stage: Stage::Open,
            peer: None,
            ours: None,
            session,
            carrier,
        }
    }

    /// Runs one turn, until there is nothing to do or the work of one [`Turn`] is done.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        let mut turn = Turn::new();
        // Compression by others is not this turn's work.
        PerMessageDeflate::take_work();
        loop {
            let received = self.poll_input(cx, &mut turn);
            self.poll_run(cx);
            self.poll_calls(&mut turn);
            turn.spend_compressed();
            self.poll_output(cx, &mut turn);
            if let Some(close) = self.poll_end(cx, &mut turn) {
                return Poll::Ready(close);
            }
            if !received && self.park(cx) {
                return Poll::Pending;
            }
            if turn.is_over() || (turn.is_over_for_input() && !self.has_calls_to_poll()) {
                self.session.client.hub.yield_now(cx);
                return Poll::Pending;
            }
        }
    }

    /// Polls the application.
    fn poll_run(&mut self, cx: &mut Context<'_>) {
        let due = self.run.is_due();
        let Some(run) = &mut self.run.future else { return };
        if !due && self.session.client.is_idle() {
            return;
        }
        // News that comes while it runs is for its next turn.
        self.run.progress = Progress::Waiting;
        match poll_caught(run, cx) {
            Poll::Pending => {
                // A handler that stopped for the turn has messages left.
                if is_turn_over() {
                    self.run.progress = Progress::Due;
                }
                return;
            }
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(panic)) => self.fail_panicked(&panic),
        }
        self.stop_run();
    }

    #[inline]
    fn poll_calls(&mut self, turn: &mut Turn) {
        if let Some(calls) = &mut self.calls {
            calls.poll(turn);
        }
    }

    #[cold]
    fn fail_panicked(&self, panic: &Panicked) {
        let client = &self.session.client;
        tracing::error!(connection = %client.id, endpoint = %client.endpoint, panic = panic.0, "handler panicked");
        client.hub.note_panic(&panic.0);
        client.close(CloseCode::INTERNAL, "handler failed");
    }

    #[cold]
    fn stop_run(&mut self) {
        if let Some(run) = self.run.future.take() {
            drop_caught(run);
        }
        self.session.service.hooks.end(&self.session.client, true);
    }

    /// Lets the application handle earlier messages, so that replies keep their order however the client's bytes were
    /// split.
    fn settle(&mut self, cx: &mut Context<'_>) {
        let mut compressed = 0;
        while self.run.is_due() {
            self.poll_run(cx);
            if !is_turn_over() {
                break;
            }
            // The handler stopped for the turn, but its answers belong before the one that follows.
            compressed += PerMessageDeflate::take_work();
        }
        PerMessageDeflate::add_work(compressed);
    }

    fn has_calls_to_poll(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.has_work())
    }

    /// Arms the wakers; returns true if there is nothing to do until one of them is called.
    ///
    /// Work added by others is checked under the lock under which they check if the driver is parked. State that only
    /// the driver changes is checked here: if reading was paused for output, it may resume now.
    fn park(&mut self, cx: &mut Context<'_>) -> bool {
        if std::mem::take(&mut self.look) || self.run.is_due() {
            return false;
        }
        if self.has_calls_to_poll() {
            return false;
        }
        if self.is_held_no_longer() {
            return false;
        }
        self.count_inbound();
        let client = &self.session.client;
        if !self.blocked {
            return client.outbox.park(cx);
        }
        let blocked = Blocked { sending: self.sending.as_deref(), ledger: &client.hub.ledger };
        let parked = client.outbox.park_blocked(cx, &blocked);
        client.hub.keep_to_budget();
        parked
    }
}
