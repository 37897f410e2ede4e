use super::{
    PushError, Session,
    calls::Calls,
    hooks,
    hooks::{Panicked, drop_caught, poll_caught},
    inbox::Backlog,
    reply,
    tail::Tail,
    turn::Turn,
};
use crate::{
    error::Error,
    hub::Place,
    protocol::{Outgoing, Packet, Value},
    runtime::BoxFuture,
    spare,
    transport::{SendQueue, Transport},
    websocket::{
        Close, CloseCode, Data, DecodeError, Decoder, Draft, Event, Frame, Limits, Opcode, PerMessageDeflate,
    },
};
use bytes::Bytes;
use std::{
    cell::Cell,
    sync::Arc,
    task::{Context, Poll},
};

/// What moves a connection: it reads, runs the handler and writes, in this order, until there is
/// nothing to do.
pub(super) struct Driver<T> {
    pub(super) session: Arc<Session>,
    transport: T,
    /// The application's part, until it is done.
    run: Option<BoxFuture<'static>>,
    /// There is news for it.
    run_due: bool,
    /// Calls, subscriptions and events, once there was one.
    calls: Option<Box<Calls>>,
    /// `on_open` has begun.
    pub(super) opened: bool,
    decoder: Decoder,
    /// The place of a long message among those that are inflated.
    inflating: Option<Box<Place>>,
    /// Bytes that were read and not decoded: the turn was over, the handler was behind, or the client was.
    tail: Tail,
    /// What the transport did not yet take.
    sending: Option<Box<SendQueue>>,
    /// The transport took no more at the last try.
    blocked: bool,
    /// As much waits for the handler as may; known only to have been so.
    behind: bool,
    /// Nothing was read, because of what waits for the client.
    held: bool,
    /// Replies of the protocol since the last flush.
    replies: usize,
    /// Unreadable messages in a row.
    malformed: u32,
    input: Input,
    /// The client's own close.
    peer: Option<Box<Close>>,
    /// Ours, once nothing can be sent any more.
    ours: Option<Box<Close>>,
    /// Our close frame is queued or gone.
    closing: bool,
    /// The transport can carry nothing more.
    lost: bool,
    expired: bool,
    /// Another task has made room in the handler's backlog.
    look: bool,
}

/// What becomes of the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// They are decoded and handled.
    Open,
    /// We have closed: they are decoded to find the client's close frame.
    AwaitingClose,
    /// The client broke the protocol: they are read only to see the end, so that the close frame
    /// is not lost to a reset.
    Discarding,
    /// Nothing is read any more.
    Ended,
}

impl<T: Transport> Driver<T> {
    pub(super) fn new(session: Arc<Session>, transport: T, early: Bytes) -> Self {
        let config = &session.hub.config;
        let limits = Limits { message_bytes: config.message_bytes, frames: config.frames_per_message };
        if session.welcome {
            let heartbeat = config.ping_interval;
            reply(&session, &Outgoing::Welcome { connection: session.id, heartbeat });
        }
        let first = session.first.lock().take();
        let calls = first.map(|first| {
            let mut calls = Box::new(Calls::new(&session));
            calls.handle(*first, &mut Turn::new());
            calls
        });
        Self {
            run: Some(hooks::run(&session)),
            run_due: true,
            calls,
            opened: false,
            decoder: Decoder::new(limits).inflating(session.deflate),
            inflating: None,
            // Copied: an empty or short `Bytes` may hold the framework's whole read buffer.
            tail: Tail::new(early.to_vec()),
            sending: None,
            blocked: false,
            behind: false,
            held: false,
            replies: 0,
            malformed: 0,
            input: Input::Open,
            peer: None,
            ours: None,
            closing: false,
            lost: false,
            expired: false,
            look: false,
            session,
            transport,
        }
    }

    /// One turn: it ends when there is nothing left to do, or when it has done as much work as one [`Turn`] allows.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Close> {
        self.opened = true;
        let mut turn = Turn::new();
        // What others have compressed is their work.
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
                self.session.hub.yield_now(cx);
                return Poll::Pending;
            }
        }
    }

    /// The application's turn.
    fn poll_run(&mut self, cx: &mut Context<'_>) {
        let Some(run) = &mut self.run else { return };
        if !std::mem::take(&mut self.run_due) && self.session.is_idle() {
            return;
        }
        match poll_caught(run, cx) {
            Poll::Pending => return,
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
        let (id, endpoint) = (self.session.id, &self.session.endpoint.id);
        tracing::error!(connection = %id, %endpoint, panic = panic.0, "handler panicked");
        self.session.close(CloseCode::INTERNAL, "handler failed");
    }

    #[cold]
    fn stop_run(&mut self) {
        if let Some(run) = self.run.take() {
            drop_caught(run);
        }
        self.session.endpoint.hooks.end(&self.session, true);
    }

    /// Takes what the client sent, and returns whether there may be more.
    fn poll_input(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
        turn.spend(0);
        if !self.decoder.is_at_rest()
            && let Some(received) = self.poll_inflating(cx, turn)
        {
            return received;
        }
        if self.input == Input::Ended || self.is_held() || self.is_behind() {
            return false;
        }
        if turn.is_over_for_input() {
            // Nothing says that there is no more.
            return true;
        }
        if !self.tail.is_empty() {
            let mut tail = std::mem::take(&mut self.tail);
            let used = self.handle_bytes(cx, tail.rest(), turn);
            if self.input != Input::Ended {
                self.tail = tail.after(used);
            }
            return used > 0;
        }
        // One buffer for each thread, not for each connection.
        let mut scratch = spare::take(&SCRATCH);
        if scratch.is_empty() {
            scratch.resize(SCRATCH_BYTES, 0);
        }
        let read = self.transport.poll_read(cx, &mut scratch);
        if let Poll::Ready(Ok(count @ 1..)) = read {
            self.session.saw_life();
            let used = self.handle_bytes(cx, &mut scratch[..count], turn);
            if used < count && self.input != Input::Ended {
                self.tail = Tail::new(scratch[used..count].to_vec());
            }
        }
        spare::put(&SCRATCH, scratch);
        match read {
            Poll::Pending => return false,
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0)) => self.lose("end of stream"),
            Poll::Ready(Err(error)) => self.lose(&error.to_string()),
        }
        true
    }

    /// Inflates a slice of a message that is longer than one, when there is a place for it. Whether the client is held
    /// matters only when the message is whole: one that is begun is not to take up its place for longer than it needs.
    #[cold]
    fn poll_inflating(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Option<bool> {
        if self.decoder.has_message() {
            return self.poll_inflated(cx, turn);
        }
        self.decoder.is_inflating().then(|| self.poll_slice(cx, turn))
    }

    fn poll_inflated(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Option<bool> {
        if self.is_held() || self.is_behind() {
            return Some(false);
        }
        if !turn.is_over_for_input() {
            self.handle_bytes(cx, &mut [], turn);
        }
        Some(true)
    }

    fn poll_slice(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
        if self.input != Input::Open {
            // Nobody would get the message.
            self.drop_inflating();
            return true;
        }
        let hub = &self.session.hub;
        let place = self.inflating.get_or_insert_with(|| Box::new(Place::new(&hub.inflating)));
        if place.poll_taken(cx).is_pending() {
            self.decoder.rewind_inflation();
            self.session.set_paused(true);
            return false;
        }
        self.session.set_paused(false);
        // Nothing is read meanwhile, which is not the client's silence.
        self.session.saw_life();
        if !turn.is_over_for_input() {
            self.handle_bytes(cx, &mut [], turn);
        }
        if !self.decoder.is_inflating() {
            self.inflating = None;
        }
        true
    }

    fn drop_inflating(&mut self) {
        self.decoder.drop_inflation();
        if self.inflating.take().is_some() {
            self.session.set_paused(false);
        }
    }

    /// Whether so much waits for the client that nothing of it is read. A client that reads what it is sent is not
    /// closed for what it asks, however much it asks at once: it is made to wait, as by any server that writes before
    /// it reads on.
    fn is_held(&mut self) -> bool {
        let held = self.input == Input::Open && !self.session.outbox.is_roomy();
        if held != self.held {
            self.held = held;
            self.session.set_held(held);
        }
        held
    }

    /// Whether the handler has as many messages waiting as it may. Then nothing is read, so that
    /// the client feels it, until the handler has caught up.
    fn is_behind(&mut self) -> bool {
        // Nobody else fills the backlog.
        if !self.behind || self.input != Input::Open {
            return false;
        }
        self.behind = self.has_backlog();
        if self.behind {
            // Looked at again once it is told: another task may just have taken something, and
            // from now on says so.
            self.session.set_paused(true);
            self.behind = self.has_backlog();
        }
        if !self.behind {
            self.session.set_paused(false);
        }
        self.behind
    }

    fn has_backlog(&self) -> bool {
        self.is_full(self.session.endpoint.hooks.backlog(&self.session))
    }

    fn is_full(&self, backlog: Backlog) -> bool {
        let config = &self.session.hub.config;
        let calls = self.calls.as_ref().is_some_and(|calls| calls.is_behind());
        calls || backlog.messages >= config.queued_messages || backlog.bytes >= config.message_bytes
    }

    /// Decodes and handles `bytes`, until the turn is over, or the handler or the output has to come first. Returns how
    /// many were used.
    fn handle_bytes(&mut self, cx: &mut Context<'_>, bytes: &mut [u8], turn: &mut Turn) -> usize {
        let count = bytes.len();
        if self.input == Input::Discarding {
            turn.spend(count);
            return count;
        }
        let mut rest = bytes;
        loop {
            let before = rest.len();
            let event = match self.decoder.decode(&mut rest) {
                Ok(Some(event)) => event,
                Ok(None) => {
                    turn.spend(before);
                    return count;
                }
                Err(error) => {
                    self.fail(cx, error);
                    return count;
                }
            };
            turn.spend(bytes_of(&event));
            if matches!(event, Event::Inflating(_)) {
                // Whether there is a place for the rest is looked at first.
                return count - rest.len();
            }
            self.handle_event(cx, event, turn);
            if self.input == Input::Ended {
                return count;
            }
            if turn.is_over_for_input() || self.is_output_due() || self.is_behind_after_a_turn(cx) {
                return count - rest.len();
            }
        }
    }

    /// Whether what waits for the client is to be written before more is handled.
    #[inline]
    fn is_output_due(&self) -> bool {
        self.replies >= REPLIES_PER_FLUSH
            || (self.session.outbox.is_worth_a_write() && (!self.blocked || !self.session.outbox.is_roomy()))
    }

    fn is_behind_after_a_turn(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_behind() {
            return false;
        }
        self.settle(cx);
        self.is_behind()
    }

    #[inline]
    fn handle_event(&mut self, cx: &mut Context<'_>, event: Event<'_>, turn: &mut Turn) {
        match event {
            Event::Message(data) if self.input == Input::Open => self.handle_message(cx, data, turn),
            Event::Ping(payload) if self.input == Input::Open => {
                self.settle(cx);
                self.pong(&payload);
            }
            Event::Close(code, reason) => {
                self.settle(cx);
                self.peer = Some(Box::new(Close::by_peer(code, &reason)));
                self.end_input();
            }
            Event::Message(_) | Event::Inflating(_) | Event::Ping(_) | Event::Pong => {}
        }
    }

    #[inline]
    fn handle_message(&mut self, cx: &mut Context<'_>, data: Data<'_>, turn: &mut Turn) {
        // What `Plain` says of all of them: asking it is five of a hundred instructions of an echo.
        if self.session.endpoint.plain {
            if self.session.hub.limits_messages() && self.is_limited(cx, &Ok(Packet::Whole), data.as_bytes().len())
            {
                return;
            }
            return self.deliver(cx, Ok(Value::Whole(data)));
        }
        let packet = self.session.protocol().decode(&data);
        if self.session.hub.limits_messages() && self.is_limited(cx, &packet, data.as_bytes().len()) {
            return;
        }
        match packet {
            Ok(Packet::Whole) => {
                drop(packet);
                self.deliver(cx, Ok(Value::Whole(data)));
            }
            Ok(Packet::Message(value)) => self.deliver(cx, Ok(value)),
            Ok(packet) => self.handle_packet(cx, packet, turn),
            Err(error) => self.deliver(cx, Err(error)),
        }
    }

    /// What is not for the handler. Apart, so that the way of a message stays short.
    #[inline(never)]
    fn handle_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>, turn: &mut Turn) {
        match packet {
            Packet::Reply { id, data } => self.session.calling.settle(&id, Ok(data)),
            Packet::Error { id, error } => self.session.calling.settle(&id, Err(error)),
            Packet::Ping => {
                self.settle(cx);
                self.replies += 1;
                reply(&self.session, &Outgoing::Pong);
            }
            packet => {
                // What came before it has its turn first.
                self.settle(cx);
                let is_readable = !matches!(packet, Packet::Invalid { .. });
                let session = &self.session;
                let calls = self.calls.get_or_insert_with(|| Box::new(Calls::new(session)));
                calls.handle(packet, turn);
                self.behind |= calls.is_behind();
                self.count_malformed(cx, is_readable);
            }
        }
    }

    /// Answers a message that is one too many; gives whether it is.
    #[cold]
    fn is_limited(&mut self, cx: &mut Context<'_>, packet: &Result<Packet<'_>, Error>, bytes: usize) -> bool {
        let id = match packet {
            Ok(Packet::Call { id, .. } | Packet::Subscribe { id, .. } | Packet::Invalid { id, .. }) => Some(&**id),
            Ok(Packet::Message(_) | Packet::Whole | Packet::Event { .. } | Packet::Ping) | Err(_) => None,
            // These end something.
            Ok(_) => return false,
        };
        let Err(error) = self.session.hub.limit_message(&self.session, bytes) else { return false };
        self.settle(cx);
        match id {
            Some(id) => reply(&self.session, &Outgoing::Error { id: Some(id), error: &error }),
            None => self.session.report(&error),
        }
        true
    }

    fn deliver(&mut self, cx: &mut Context<'_>, value: Result<Value<'_>, Error>) {
        self.run_due = true;
        let delivered = match self.session.endpoint.hooks.deliver(&self.session, cx, value) {
            Ok(delivered) => delivered,
            Err(panic) => return self.fail_panicked(&panic),
        };
        self.behind = self.is_full(delivered.backlog);
        self.count_malformed(cx, delivered.readable);
    }

    /// Closes a client that sends only what cannot be read.
    #[inline]
    fn count_malformed(&mut self, cx: &mut Context<'_>, is_readable: bool) {
        if is_readable {
            self.malformed = 0;
            return;
        }
        self.malformed += 1;
        if self.malformed > self.session.hub.config.malformed_messages {
            self.settle(cx);
            self.session.close(CloseCode::POLICY, "too many malformed messages");
        }
    }

    /// Lets the application handle what came before, so that replies keep the order of what they
    /// answer, however the client's bytes were split.
    fn settle(&mut self, cx: &mut Context<'_>) {
        if self.run_due {
            self.poll_run(cx);
        }
    }

    fn pong(&mut self, payload: &[u8]) {
        if !self.blocked {
            self.replies += 1;
            let pong = Draft::new(Opcode::Pong, payload);
            if self.session.outbox.push_reply(pong) != Err(PushError::Full) {
                return;
            }
        }
        let pong = Frame::new(Opcode::Pong, payload);
        self.sending.get_or_insert_with(spare::take_queue).push_pong(pong.into_bytes());
    }

    /// The client broke the protocol: RFC 6455, section 7.1.7.
    fn fail(&mut self, cx: &mut Context<'_>, error: DecodeError) {
        self.settle(cx);
        tracing::debug!(connection = %self.session.id, %error, "protocol error");
        self.session.close(error.close_code(), error.reason());
        self.input = Input::Discarding;
    }

    /// Sends all that is queued, for as long as the transport takes it.
    fn poll_output(&mut self, cx: &mut Context<'_>, turn: &mut Turn) {
        self.replies = 0;
        if self.sending.is_none() && !self.blocked && !self.session.outbox.has_news() {
            return;
        }
        let mut sending = self.sending.take().unwrap_or_else(spare::take_queue);
        self.send(cx, &mut sending, turn);
        if sending.is_empty() {
            spare::put_queue(sending);
        } else {
            sending.seal();
            self.sending = Some(sending);
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, sending: &mut SendQueue, turn: &mut Turn) {
        if self.session.outbox.is_behind() {
            self.catch_up();
        }
        let signals = self.session.outbox.take(sending);
        self.expired |= signals.expired;
        self.look |= signals.look;
        if signals.closing {
            self.begin_closing();
        }
        if signals.ping && self.calls.as_ref().is_some_and(|calls| calls.is_idle()) {
            self.calls = None;
        }
        if signals.ping && !self.closing {
            sending.push_ping(Bytes::from_static(PING));
        }
        if self.lost || (sending.is_empty() && !self.blocked) {
            return;
        }
        let before = sending.bytes();
        let sent = self.transport.poll_send(cx, sending);
        let written = before - sending.bytes();
        turn.spend(written);
        if self.blocked && written > 0 {
            // A slow reader is alive.
            self.session.saw_life();
        }
        self.blocked = sent.is_pending();
        self.session.outbox.set_in_flight(sending.bytes());
        if let Poll::Ready(Err(error)) = sent {
            self.lose(&error.to_string());
        }
    }

    /// Queues publications that waited for the client, which was behind.
    #[cold]
    fn catch_up(&self) {
        while let Some((topic, gap)) = self.session.outbox.catch_up() {
            reply(&self.session, &Outgoing::Gap { id: None, topic: Some(&topic), gap: &gap });
        }
    }

    #[cold]
    fn begin_closing(&mut self) {
        self.closing = true;
        if self.input == Input::Open {
            self.input = Input::AwaitingClose;
        }
        // Where it waits for its place, nobody else has the rest read.
        self.look |= self.decoder.is_inflating();
        self.calls = None;
        self.session.endpoint.hooks.end(&self.session, true);
        self.run_due = true;
        self.session.begin_end();
    }

    /// The client says nothing more; what it said before is still handled.
    #[cold]
    fn end_input(&mut self) {
        self.input = Input::Ended;
        self.tail = Tail::default();
        self.drop_inflating();
        self.calls = None;
        self.session.endpoint.hooks.end(&self.session, false);
        self.run_due = true;
        self.session.begin_end();
    }

    #[cold]
    fn lose(&mut self, why: &str) {
        if self.lost {
            return;
        }
        if !self.closing {
            tracing::debug!(connection = %self.session.id, why, "connection lost");
        }
        self.lost = true;
        self.end_input();
        self.ours = self.session.outbox.shut().map(Box::new);
    }

    /// Gives the close once nothing is left to do.
    fn poll_end(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Option<Close> {
        if self.expired || self.lost || self.closing || self.peer.is_some() { self.end(cx, turn) } else { None }
    }

    #[cold]
    fn end(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Option<Close> {
        if self.expired {
            self.stop_run();
            return Some(self.finish());
        }
        if self.lost {
            return self.run.is_none().then(|| self.finish());
        }
        if let Some(peer) = &self.peer
            && !self.closing
        {
            if self.run.is_some() {
                return None;
            }
            // All that the client had said is answered: now its close is.
            self.session.outbox.close_reply(Close::clone(peer));
            self.poll_output(cx, turn);
        }
        if !self.closing || self.sending.is_some() || self.run.is_some() {
            return None;
        }
        let answered = self.peer.is_some();
        if !answered && self.input != Input::Discarding {
            return None;
        }
        match self.transport.poll_close(cx) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) if !answered => None,
            Poll::Ready(_) => Some(self.finish()),
        }
    }

    #[cold]
    fn finish(&mut self) -> Close {
        self.calls = None;
        self.session.begin_end();
        let shut = self.session.outbox.shut();
        let ours = self.ours.take().map(|close| *close).or(shut);
        ours.or_else(|| self.peer.take().map(|close| *close)).unwrap_or_else(Close::lost)
    }

    fn has_calls_to_poll(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.has_work())
    }

    /// Arms the wakers, and returns whether there is nothing to do until one of them is called.
    ///
    /// What others add is looked at under the lock under which they look whether the driver is parked. What only the
    /// driver itself changes is looked at here: whether reading may go on that was held up by what waited for the client.
    fn park(&mut self, cx: &mut Context<'_>) -> bool {
        if std::mem::take(&mut self.look) || (self.run_due && self.run.is_some()) {
            return false;
        }
        if self.has_calls_to_poll() {
            return false;
        }
        if self.held && self.input == Input::Open && self.session.outbox.is_roomy() {
            return false;
        }
        self.session.outbox.park(cx, self.blocked)
    }
}

#[inline]
fn bytes_of(event: &Event<'_>) -> usize {
    match event {
        Event::Message(data) => data.as_bytes().len(),
        Event::Inflating(work) => *work,
        Event::Ping(payload) => payload.len(),
        Event::Pong | Event::Close(..) => 0,
    }
}

/// A ping without a payload.
const PING: &[u8] = &[0x89, 0];

/// Pongs and the like that one read may make us queue before they are sent.
const REPLIES_PER_FLUSH: usize = 64;

/// As much as one read takes. 64 KiB: larger reads save little, and it is one for each thread.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
