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
    /// It makes a connection.
    #[non_exhaustive]
    Connecting {
        /// The number of the attempt, from 1; it counts on until a connection stays open for 5 s.
        attempt: u32,
    },
    /// It is connected.
    #[non_exhaustive]
    Open {
        /// The id that the server gave this connection.
        connection: String,
    },
    /// It waits before it makes a connection.
    #[non_exhaustive]
    Reconnecting {
        /// The number of the attempt that comes next.
        attempt: u32,
        /// The time until the next attempt.
        after: Duration,
        /// The cause of the last failure.
        cause: Cause,
    },
    /// It is done for good. No other state follows.
    #[non_exhaustive]
    Closed {
        /// Why.
        why: Cause,
    },
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// This side closed: [`Client::close`](crate::Client::close), or the last handle was dropped.
    Local,
    /// The server closed with this code, 1005 if it said none.
    #[non_exhaustive]
    Closed {
        /// The close code.
        code: u16,
        /// The reason beside it.
        reason: String,
    },
    /// It broke without a word, or could not be made.
    Lost(String),
    /// Nothing was heard of the server, not even an answer to a ping.
    Silent,
    /// It could not be made in time.
    Timeout,
    /// The server answered the request for a WebSocket with an HTTP status.
    #[non_exhaustive]
    Refused {
        /// The status.
        status: u16,
        /// The server's error, if it sent one.
        message: String,
    },
    /// There was no token.
    Token(String),
    /// A header of the request could not be fetched.
    Header(String),
    /// It cannot be made: the URL, a header or a certificate is wrong, or the server does not speak the protocol.
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
            Self::Header(text) => write!(f, "no header: {text}"),
            Self::Invalid(text) => f.write_str(text),
        }
    }
}

/// The states of a client, from the present one on and in their order; ends after [`State::Closed`].
///
/// Of states that nobody takes, the newest 64 wait.
#[derive(Debug)]
#[must_use = "it does nothing unless it is read"]
pub struct States(Arc<Mailbox<State>>);

impl States {
    /// The next state. Cancel safe.
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

/// The present state, and those who follow it.
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

    /// Goes to `state`, unless that is the present one or the client is closed.
    pub(crate) fn set(&self, state: State) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if *present == state || matches!(*present, State::Closed { .. }) {
            return;
        }
        let closed = matches!(state, State::Closed { .. });
        *present = state.clone();
        // Under the lock: who begins to read meanwhile gets each state once.
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

/// More changes than anyone follows, and few enough to keep.
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
