use super::system::Signals;
use crate::runtime::Listen;
use realtime_core::raw::BoxFuture;
use std::{
    collections::HashMap,
    future::{pending, poll_fn},
    io,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

/// Returns the output of whichever future is ready first.
pub(super) async fn race<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> T {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(output),
        Poll::Pending => second.as_mut().poll(cx),
    })
    .await
}

/// The trigger of a shutdown: a future of the application, or signals.
pub(super) enum Stop {
    Application(BoxFuture<'static>),
    Signals(Signals),
}

impl Stop {
    pub(super) fn new<L: Listen>(application: Option<BoxFuture<'static>>) -> io::Result<Self> {
        match application {
            Some(shutdown) => Ok(Self::Application(shutdown)),
            None => L::signals().map(Self::Signals),
        }
    }

    /// Waits for the trigger.
    pub(super) async fn first(&mut self) {
        match self {
            Self::Application(shutdown) => shutdown.await,
            Self::Signals(signals) => signals.next().await,
        }
    }

    /// Waits for a second signal, which cuts the shutdown short. Never ready with a future of the application.
    pub(super) async fn again(&mut self) {
        match self {
            Self::Application(_) => pending().await,
            Self::Signals(signals) => signals.next().await,
        }
    }
}

/// The open HTTP connections, with the phase of the shutdown that they follow.
#[derive(Default)]
pub(super) struct Open {
    phase: AtomicU8,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    next: u64,
    wakers: HashMap<u64, Option<Waker>>,
    /// The waker of the server, which waits for all connections to end.
    server: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Finish requests in progress, accept no new ones.
    Closing,
    Cut,
}

impl Open {
    pub(super) fn join(self: &Arc<Self>) -> Member {
        let mut members = self.lock();
        let id = members.next;
        members.next += 1;
        members.wakers.insert(id, None);
        Member { id, open: Arc::clone(self), waker: None }
    }

    pub(super) fn close(&self) {
        self.tell(Phase::Closing);
    }

    pub(super) fn cut(&self) {
        let cut = self.tell(Phase::Cut);
        if cut > 0 {
            tracing::warn!(cut, "connections cut at the end of the shutdown");
        }
    }

    /// Waits until all connections have ended.
    pub(super) async fn ended(&self) {
        poll_fn(|cx| {
            let mut members = self.lock();
            if members.wakers.is_empty() {
                return Poll::Ready(());
            }
            members.server = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Sets the phase, wakes all connections, and returns their number.
    fn tell(&self, phase: Phase) -> usize {
        let wakers: Vec<_> = {
            let members = self.lock();
            self.phase.store(phase as u8, Relaxed);
            members.wakers.values().cloned().collect()
        };
        let count = wakers.len();
        wakers.into_iter().flatten().for_each(Waker::wake);
        count
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the open connections. Dropping it removes it.
pub(super) struct Member {
    id: u64,
    open: Arc<Open>,
    /// The registered waker: registering the same one again would only take the lock.
    waker: Option<Waker>,
}

impl Member {
    /// Returns the current phase, and wakes the task when it changes.
    pub(super) fn phase(&mut self, cx: &Context<'_>) -> Phase {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            self.open.lock().wakers.insert(self.id, self.waker.clone());
        }
        match self.open.phase.load(Relaxed) {
            0 => Phase::Open,
            1 => Phase::Closing,
            _ => Phase::Cut,
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let server = {
            let mut members = self.open.lock();
            members.wakers.remove(&self.id);
            members.wakers.is_empty().then(|| members.server.take()).flatten()
        };
        if let Some(server) = server {
            server.wake();
        }
    }
}
