use super::{Carrier, Driver};
use crate::{
    hub::Reading,
    outbox::PushError,
    protocol::Carrier as Carries,
    session::{Backlog, server_calls::Calls, tail::Tail, turn::Turn},
    util::spare,
    websocket::{DecodeError, Draft, Frame, Incoming, Opcode},
};
use realtime_protocol::{
    Close, CloseCode, Data, Error,
    format::{Outgoing, Packet, Value},
};
use std::{
    cell::Cell,
    task::{Context, Poll},
};

/// The treatment of the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// They are decoded and handled.
    Open,
    /// We have closed: they are decoded to find the client's close frame.
    AwaitingClose,
    /// The client broke the protocol: they are read only to reach the end, so that a reset does not discard the close
    /// frame.
    Discarding,
    /// Nothing is read any more.
    Ended,
}

impl<T: Carrier> Driver<T> {
    /// Reads and handles input; returns true if there may be more.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
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
            // There may be more input.
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
        let read = self.carrier.poll_read(cx, &mut scratch);
        if let Poll::Ready(Ok(count @ 1..)) = read {
            self.session.client.saw_life();
            let used = self.handle_bytes(cx, &mut scratch[..count], turn);
            if used < count && self.input != Input::Ended {
                self.tail = Tail::new(scratch[used..count].to_vec());
            }
        }
        spare::put(&SCRATCH, scratch);
        if self.carrier.takes_life() {
            self.session.client.saw_life();
        }
        match read {
            Poll::Pending => return false,
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(Ok(0)) => self.lose("end of stream"),
            Poll::Ready(Err(error)) => self.lose(&error.to_string()),
        }
        true
    }

    /// Returns true if so much is queued for the client that nothing is read from it. A client that reads is not
    /// closed for asking too much at once: it has to wait, as with any server that writes before it reads on.
    pub(super) fn is_held(&mut self) -> bool {
        let client = &self.session.client;
        let held = self.input == Input::Open && !client.outbox.is_roomy();
        let reading = client.reading();
        if held && reading != Reading::Held {
            client.set_reading(Reading::Held);
        } else if !held && reading == Reading::Held {
            client.set_reading(Reading::On);
        }
        held
    }

    /// Returns true if reading was paused for output, and may resume.
    pub(super) fn is_held_no_longer(&self) -> bool {
        let client = &self.session.client;
        client.reading() == Reading::Held && self.input == Input::Open && client.outbox.is_roomy()
    }

    /// Returns true if the handler's backlog is full. Then nothing is read, so that the client is slowed down, until
    /// the handler has caught up (backpressure).
    pub(super) fn is_behind(&mut self) -> bool {
        // Only the driver fills the backlog.
        if !self.behind || self.input != Input::Open {
            return false;
        }
        self.behind = self.has_backlog();
        if self.behind {
            // Checked again after the state is set: another task may just have taken a message, and from now on it
            // reports that.
            self.session.client.set_reading(Reading::Paused);
            self.behind = self.has_backlog();
        }
        if !self.behind {
            self.session.client.set_reading(Reading::On);
        }
        self.behind
    }

    fn has_backlog(&self) -> bool {
        self.is_full(self.session.service.hooks.backlog(&self.session.client))
    }

    fn is_full(&self, backlog: Backlog) -> bool {
        let config = &self.session.client.hub.config;
        let calls = self.calls.as_ref().is_some_and(|calls| calls.is_behind());
        calls || backlog.messages >= config.queued_messages || backlog.bytes >= config.message_bytes
    }

    /// Decodes and handles `bytes`, until the turn is over, or the handler or the output has to run first. Returns
    /// how many were used.
    pub(super) fn handle_bytes(&mut self, cx: &mut Context<'_>, bytes: &mut [u8], turn: &mut Turn) -> usize {
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
            if matches!(event, Incoming::Inflating(_)) {
                // The rest needs a place first.
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

    /// Returns true if queued output should be written before more is handled.
    #[inline]
    fn is_output_due(&self) -> bool {
        let outbox = &self.session.client.outbox;
        self.replies >= REPLIES_PER_FLUSH || (outbox.is_worth_a_write() && (!self.blocked || !outbox.is_roomy()))
    }

    fn is_behind_after_a_turn(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.is_behind() {
            return false;
        }
        self.settle(cx);
        self.is_behind()
    }

    #[inline]
    fn handle_event(&mut self, cx: &mut Context<'_>, event: Incoming<'_>, turn: &mut Turn) {
        match event {
            Incoming::Message(data) if self.input == Input::Open => self.handle_message(cx, data, turn),
            Incoming::Ping(payload) if self.input == Input::Open => {
                self.settle(cx);
                self.pong(&payload);
            }
            Incoming::Close(code, reason) => {
                self.settle(cx);
                self.peer = Some(Box::new(Close::by_peer(code, &reason)));
                self.end_input();
            }
            Incoming::Message(_) | Incoming::Inflating(_) | Incoming::Ping(_) | Incoming::Pong => {}
        }
    }

    #[inline]
    fn handle_message(&mut self, cx: &mut Context<'_>, data: Data<'_>, turn: &mut Turn) {
        let client = &self.session.client;
        if client.format.carrier() == Carries::WholeMessages {
            // Every message is the handler's: asking the protocol would be five of a hundred instructions of an echo.
            let bytes = data.as_bytes().len();
            if client.hub.limits_messages() && self.is_limited(cx, &Ok(Packet::Whole), bytes) {
                return;
            }
            return self.deliver(cx, Ok(Value::Whole(data)));
        }
        let packet = client.hub.protocols.get(client.format.protocol()).decode(&data);
        if client.hub.limits_messages() && self.is_limited(cx, &packet, data.as_bytes().len()) {
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

    /// Handles a packet that is not a message. Kept apart, so that the path of a message stays short.
    #[inline(never)]
    fn handle_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>, turn: &mut Turn) {
        let is_readable = match &packet {
            Packet::Invalid { .. } => false,
            // One that nobody asked for is no better than one that cannot be read.
            Packet::Authenticate { .. } => self.session.client.awaits_token(),
            _ => true,
        };
        match packet {
            Packet::Ignored => {}
            Packet::Reply { id, data } => self.session.client.calls.settle(&id, Ok(data)),
            Packet::Error { id, error } => self.session.client.calls.settle(&id, Err(error)),
            Packet::Ping => {
                self.settle(cx);
                self.replies += 1;
                self.session.client.reply(&Outgoing::Pong);
            }
            packet => {
                // Earlier messages are handled first.
                self.settle(cx);
                let session = &self.session;
                let calls = self.calls.get_or_insert_with(|| Box::new(Calls::new(session)));
                calls.handle(packet, turn);
                self.behind |= calls.is_behind();
                self.count_malformed(cx, is_readable);
            }
        }
    }

    /// Answers a message that is over the rate limit; returns true if it is.
    #[cold]
    fn is_limited(&mut self, cx: &mut Context<'_>, packet: &Result<Packet<'_>, Error>, bytes: usize) -> bool {
        let id = match packet {
            Ok(Packet::Call { id, .. } | Packet::Subscribe { id, .. } | Packet::Invalid { id, .. }) => Some(&**id),
            Ok(
                Packet::Message(_)
                | Packet::Whole
                | Packet::Event { .. }
                | Packet::Authenticate { .. }
                | Packet::Ping
                | Packet::Ignored,
            )
            | Err(_) => None,
            // These end something.
            Ok(_) => return false,
        };
        let client = &self.session.client;
        let Err(error) = client.hub.limit_message(client, bytes) else { return false };
        self.settle(cx);
        match id {
            Some(id) => self.session.client.reply(&Outgoing::Error { id: Some(id), error: &error }),
            None => self.session.client.report(&error),
        }
        true
    }

    fn deliver(&mut self, cx: &mut Context<'_>, value: Result<Value<'_>, Error>) {
        self.run.set_due();
        let delivered = match self.session.service.hooks.deliver(&self.session.client, cx, value) {
            Ok(delivered) => delivered,
            Err(panic) => return self.fail_panicked(&panic),
        };
        self.behind = self.is_full(delivered.backlog);
        self.count_malformed(cx, delivered.readable);
    }

    /// Closes a client that sends too many malformed messages in a row.
    #[inline]
    fn count_malformed(&mut self, cx: &mut Context<'_>, is_readable: bool) {
        if is_readable {
            self.malformed = 0;
            return;
        }
        self.malformed += 1;
        if self.malformed > self.session.client.hub.config.malformed_messages {
            self.settle(cx);
            self.session.client.close(CloseCode::POLICY, "too many malformed messages");
        }
    }

    fn pong(&mut self, payload: &[u8]) {
        if !self.blocked {
            self.replies += 1;
            let pong = Draft::new(Opcode::Pong, payload);
            if self.session.client.outbox.push_reply(pong) != Err(PushError::Full) {
                return;
            }
        }
        let pong = Frame::new(Opcode::Pong, payload);
        self.sending.get_or_insert_with(crate::seams::take_queue).push_pong(pong.into_bytes());
    }

    /// Fails the connection after a protocol error (RFC 6455, section 7.1.7).
    fn fail(&mut self, cx: &mut Context<'_>, error: DecodeError) {
        self.settle(cx);
        tracing::debug!(connection = %self.session.client.id, %error, "protocol error");
        self.session.client.close(error.close_code(), error.reason());
        self.input = Input::Discarding;
    }
}

#[inline]
fn bytes_of(event: &Incoming<'_>) -> usize {
    match event {
        Incoming::Message(data) => data.as_bytes().len(),
        Incoming::Inflating(work) => *work,
        Incoming::Ping(payload) => payload.len(),
        Incoming::Pong | Incoming::Close(..) => 0,
    }
}

/// Pongs and other replies that one read may queue before they are sent.
const REPLIES_PER_FLUSH: u32 = 64;

/// Bytes of one read. Larger reads save little, and there is one buffer for each thread.
const SCRATCH_BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
