use super::{Carrier, Driver, Input};
use crate::session::{tail::Tail, turn::Turn};
use realtime_protocol::Close;
use std::task::{Context, Poll};

/// The stages of a connection's end; they only advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Open,
    /// Our close frame is queued or sent.
    Closing,
    /// The carrier can carry nothing more.
    Lost,
    /// The close timeout is over.
    Expired,
}

impl<T: Carrier> Driver<T> {
    pub(super) fn is_closing(&self) -> bool {
        self.stage >= Stage::Closing
    }

    #[cold]
    pub(super) fn begin_closing(&mut self) {
        self.stage = self.stage.max(Stage::Closing);
        if self.input == Input::Open {
            self.input = Input::AwaitingClose;
            // Reading may have been held up, and goes on, to find the client's close.
            self.look = true;
        }
        self.calls = None;
        self.session.service.hooks.end(&self.session.client, true);
        self.run.set_due();
        self.session.client.begin_end();
    }

    /// Ends the input: the client sends nothing more. Messages received before are still handled.
    #[cold]
    pub(super) fn end_input(&mut self) {
        self.input = Input::Ended;
        self.tail = Tail::default();
        self.drop_inflating();
        self.calls = None;
        self.session.service.hooks.end(&self.session.client, false);
        self.run.set_due();
        self.session.client.begin_end();
    }

    #[cold]
    pub(super) fn lose(&mut self, why: &str) {
        if self.stage >= Stage::Lost {
            return;
        }
        if !self.is_closing() {
            tracing::debug!(connection = %self.session.client.id, why, "connection lost");
        }
        self.stage = Stage::Lost;
        self.end_input();
        self.ours = self.session.client.outbox.shut().map(Box::new);
    }

    /// Ready with the close, once nothing is left to do.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Option<Close> {
        if self.stage == Stage::Open && self.peer.is_none() { None } else { self.end(cx, turn) }
    }

    #[cold]
    fn end(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Option<Close> {
        match self.stage {
            Stage::Expired => {
                self.stop_run();
                return Some(self.finish());
            }
            Stage::Lost => return self.run.is_done().then(|| self.finish()),
            Stage::Open | Stage::Closing => {}
        }
        if let Some(peer) = &self.peer
            && !self.is_closing()
        {
            if !self.run.is_done() {
                return None;
            }
            // All earlier messages of the client are answered; now its close is.
            self.session.client.outbox.close_reply(Close::clone(peer));
            self.poll_output(cx, turn);
        }
        if !self.is_closing() || self.sending.is_some() || (T::IS_CLOSE_ANSWERED && !self.run.is_done()) {
            return None;
        }
        let answered = self.peer.is_some();
        if T::IS_CLOSE_ANSWERED && !answered && self.input != Input::Discarding {
            return None;
        }
        match self.carrier.poll_close(cx) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) if !answered => None,
            Poll::Ready(_) => Some(self.finish()),
        }
    }

    #[cold]
    fn finish(&mut self) -> Close {
        self.calls = None;
        self.session.client.begin_end();
        let shut = self.session.client.outbox.shut();
        let ours = self.ours.take().map(|close| *close).or(shut);
        ours.or_else(|| self.peer.take().map(|close| *close)).unwrap_or_else(Close::lost)
    }
}
