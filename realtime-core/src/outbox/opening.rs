use crate::util::{Wakers, sync::Mutex};
use realtime_protocol::Error;
use std::task::{Context, Poll};

/// The decision whether a client of an event stream is served. Until it is made, the response has no status.
#[derive(Debug, Default)]
pub(crate) struct Opening(Mutex<State>);

#[derive(Debug)]
enum State {
    Unknown(Wakers),
    Opened,
    Refused(Error),
}

impl Default for State {
    fn default() -> Self {
        Self::Unknown(Wakers::default())
    }
}

impl Opening {
    /// Creates one that is decided: opened.
    pub(crate) fn opened() -> Self {
        Self(Mutex::new(State::Opened))
    }

    /// Marks the client as served, unless it is refused already. Returns true if it is served.
    pub(crate) fn open(&self) -> bool {
        self.decide(|| State::Opened);
        matches!(*self.0.lock(), State::Opened)
    }

    /// Marks the client as refused, unless it is served already. Returns true if it is refused now.
    pub(crate) fn refuse(&self, error: &Error) -> bool {
        self.decide(|| State::Refused(error.without_source()))
    }

    /// Returns whether the client is known to be served.
    pub(crate) fn is_opened(&self) -> bool {
        matches!(*self.0.lock(), State::Opened)
    }

    fn decide(&self, decision: impl FnOnce() -> State) -> bool {
        let mut state = self.0.lock();
        let State::Unknown(waiting) = &mut *state else { return false };
        let waiting = std::mem::take(waiting);
        *state = decision();
        drop(state);
        waiting.wake();
        true
    }

    /// Ready once it is decided, with the error if the client is refused.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        match &mut *self.0.lock() {
            State::Opened => Poll::Ready(Ok(())),
            State::Refused(error) => Poll::Ready(Err(error.without_source())),
            State::Unknown(waiting) => {
                waiting.add(cx.waker());
                Poll::Pending
            }
        }
    }
}
