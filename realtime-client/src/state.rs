use crate::mailbox::{Feed, Mailbox, Wakes};
use futures_util::Stream;
use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

/// The state of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// The client is connecting.
    #[non_exhaustive]
    Connecting {
        /// The number of the attempt, from 1; it increases until a connection has stayed open for 5 s.
        attempt: u32,
    },
    /// The client is connected.
    #[non_exhaustive]
    Open {
        /// The id that the server assigned to this connection.
        connection: String,
    },
    /// The client waits before the next attempt.
    #[non_exhaustive]
    Reconnecting {
        /// The number of the next attempt.
        attempt: u32,
        /// The time until the next attempt.
        after: Duration,
        /// The cause of the last failure.
        cause: Cause,
    },
    /// The client is closed for good. No other state follows.
    #[non_exhaustive]
    Closed {
        /// The cause.
        why: Cause,
    },
}

/// The reason why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// This side closed: [`Client::close`](crate::Client::close), or the last handle was dropped.
    Local,
    /// The server closed with this code; 1005 if it sent none.
    #[non_exhaustive]
    Closed {
        /// The close code.
        code: u16,
        /// The reason in the close frame.
        reason: String,
    },
    /// The connection ended without a close frame, or could not be opened.
    Lost(String),
    /// The server sent nothing, not even an answer to a ping.
    Silent,
    /// The attempt to connect timed out.
    Timeout,
    /// The server refused the WebSocket with an HTTP status.
    #[non_exhaustive]
    Refused {
        /// The status.
        status: u16,
        /// The server's error, if it sent one.
        message: String,
    },
    /// No token could be fetched.
    Token(String),
    /// A header could not be fetched.
    Header(String),
    /// The URL, a header or a certificate is invalid, or the server does not support the protocol.
    Invalid(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("closed by this side"),
            Self::Closed { code, reason } if reason.is_empty() => write!(f, "the server closed with {code}"),
            Self::Closed { code, reason } => write!(f, "the server closed with {code}: {reason}"),
            Self::Lost(text) => write!(f, "connection lost: {text}"),
            Self::Silent => f.write_str("nothing was heard of the server"),
            Self::Timeout => f.write_str("no connection in time"),
            Self::Refused { status, message } if message.is_empty() => write!(f, "refused with {status}"),
            Self::Refused { status, message } => write!(f, "refused with {status}: {message}"),
            Self::Token(text) => write!(f, "no token: {text}"),
            Self::Header(text) => write!(f, "cannot fetch a header: {text}"),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

/// The states of a client, in order, starting with the current one; ends after [`State::Closed`].
///
/// Of unread states, the newest 64 are kept.
#[derive(Debug)]
#[must_use = "it does nothing unless it is read"]
pub struct States(Arc<Mailbox<State>>);

impl States {
    /// Returns the next state. Cancel safe.
    pub async fn next(&mut self) -> Option<State> {
        self.0.next().await
    }
}

impl Stream for States {
    type Item = State;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<State>> {
        self.0.poll_next(cx)
    }
}

/// The current state, and the streams that follow it.
#[derive(Debug)]
pub(crate) struct StateCell {
    present: Mutex<State>,
    feed: Feed<State>,
}

impl StateCell {
    pub(crate) fn new() -> Self {
        Self { present: Mutex::new(State::Connecting { attempt: 1 }), feed: Feed::new() }
    }

    pub(crate) fn present(&self) -> State {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Enters `state`, unless the client is in it already or closed.
    pub(crate) fn set(&self, state: State) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if *present == state || matches!(*present, State::Closed { .. }) {
            return;
        }
        let closed = matches!(state, State::Closed { .. });
        *present = state.clone();
        // Published under the lock, so that a new reader gets each state once.
        let told = self.feed.publish(&state, WAITING);
        let ended = closed.then(|| self.feed.end());
        drop(present);
        told.wake();
        ended.into_iter().for_each(Wakes::wake);
    }

    pub(crate) fn follow(&self) -> States {
        let present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let mailbox = self.feed.subscribe();
        mailbox.push(present.clone());
        if matches!(*present, State::Closed { .. }) {
            mailbox.end();
        }
        States(mailbox)
    }
}

/// More than a reader ever falls behind, and few enough to keep.
const WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::tests::{Acting, ends};
    use std::task::Waker;

    #[test]
    fn the_waker_of_a_reader_may_ask_for_the_state() {
        let cell = Arc::new(StateCell::new());
        let mut states = cell.follow();
        let same = Arc::clone(&cell);
        let waker = Waker::from(Arc::new(Acting(move || drop((same.present(), same.follow())))));
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut states).poll_next(&mut cx).is_ready());
        assert!(Pin::new(&mut states).poll_next(&mut cx).is_pending());
        drop(waker);
        ends(move || cell.set(State::Closed { why: Cause::Local }));
    }
}
