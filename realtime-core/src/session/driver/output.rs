use super::{Carrier, Driver, end::Stage};
use crate::{
    outbox::Signals,
    seams::{SendQueue, put_queue, take_queue},
    session::turn::Turn,
};
use std::task::{Context, Poll};

impl<T: Carrier> Driver<T> {
    /// Sends everything queued, as long as the carrier accepts it.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>, turn: &mut Turn) {
        self.replies = 0;
        if self.sending.is_none() && !self.blocked && !self.session.client.outbox.has_news() {
            return;
        }
        let mut sending = self.sending.take().unwrap_or_else(take_queue);
        self.send(cx, &mut sending, turn);
        if sending.is_empty() {
            put_queue(sending);
        } else {
            sending.seal();
            self.sending = Some(sending);
        }
    }

    fn send(&mut self, cx: &mut Context<'_>, sending: &mut SendQueue, turn: &mut Turn) {
        if self.session.client.outbox.is_behind() {
            self.session.client.catch_up();
        }
        let is_lost = self.stage == Stage::Lost;
        let signals = self.session.client.outbox.take(sending);
        if !signals.is_empty() {
            self.handle_signals(signals, sending);
            // The application's code has run.
            if !is_lost && !self.session.client.outbox.begin_write(sending) {
                return;
            }
        }
        if is_lost || (sending.is_empty() && !self.blocked) {
            return;
        }
        let before = sending.bytes();
        let sent = self.carrier.poll_send(cx, sending);
        let written = before - sending.bytes();
        turn.spend(written);
        if self.blocked && written > 0 {
            // A slow reader is alive.
            self.session.client.saw_life();
        }
        self.blocked = sent.is_pending();
        self.session.client.outbox.set_in_flight(sending.bytes());
        if let Poll::Ready(Err(error)) = sent {
            self.lose(&error.to_string());
        }
    }

    #[cold]
    fn handle_signals(&mut self, signals: Signals, sending: &mut SendQueue) {
        if signals.has(Signals::EXPIRED) {
            self.stage = Stage::Expired;
        }
        self.look |= signals.has(Signals::LOOK);
        if signals.has(Signals::CLOSE) {
            self.begin_closing();
            if let Some((close, closing)) = self.session.client.outbox.started_close() {
                self.carrier.push_close(&close, closing, sending);
            }
        }
        if signals.has(Signals::SHRINK) {
            self.session.service.hooks.shrink(&self.session.client);
        }
        if signals.has(Signals::SHED)
            && let Some(calls) = &mut self.calls
        {
            self.session.client.hub.ledger.acts.dropped.add(calls.drop_older());
        }
        if !signals.has(Signals::PING) {
            return;
        }
        if self.calls.as_ref().is_some_and(|calls| calls.is_idle()) {
            self.calls = None;
        }
        if !self.is_closing() {
            self.carrier.push_ping(sending);
        }
    }
}
