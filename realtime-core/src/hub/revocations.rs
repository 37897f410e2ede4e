use super::{Client, Hub, Name};
use crate::{
    context::Principal,
    util::{
        Wakers,
        sync::{
            Mutex,
            atomic::{
                AtomicU64,
                Ordering::{AcqRel, Acquire},
            },
        },
    },
};
use realtime_protocol::{Close, CloseCode, Code, Error, Result};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::poll_fn,
    mem,
    pin::pin,
    sync::Arc,
    task::{self, Poll, Waker},
};

/// The principals revoked of late, and the requests that are being answered to principals.
///
/// A request that middleware let in before a revocation may become a connection after it: each remembers how many
/// revocations there had been when it began, and looks here for a later one.
#[derive(Default)]
pub(crate) struct Revocations {
    /// The number of revocations so far. Changed under the lock.
    count: AtomicU64,
    state: Mutex<State>,
}

/// The number of revocations at a time.
pub(crate) type Mark = u64;

#[derive(Default)]
struct State {
    recent: VecDeque<Revocation>,
    /// Answers to principals that are on their way, by number.
    answers: HashMap<u64, Arc<Answering>>,
    last: u64,
}

struct Revocation {
    number: u64,
    principal: Principal,
    /// The tick until which requests that began before it may be on their way.
    until: u32,
}

struct Answering {
    principal: Principal,
    state: Mutex<Answer>,
}

#[derive(Default)]
struct Answer {
    is_revoked: bool,
    waiting: Wakers,
}

impl Revocations {
    pub(crate) fn mark(&self) -> Mark {
        self.count.load(Acquire)
    }

    /// Returns true if this principal was revoked since the mark.
    fn has(&self, principal: &Principal, since: Mark) -> bool {
        self.mark() != since && self.state.lock().has(principal, since)
    }

    /// Notes a revocation, and refuses the answers that are on their way.
    fn note(&self, principal: &Principal, until: u32) {
        let mut state = self.state.lock();
        let number = self.count.fetch_add(1, AcqRel) + 1;
        state.recent.push_back(Revocation { number, principal: principal.clone(), until });
        let answers: Vec<_> =
            state.answers.values().filter(|answer| answer.principal == *principal).cloned().collect();
        drop(state);
        answers.iter().for_each(|answer| answer.revoke());
    }

    /// Forgets the revocations that no request can be older than.
    pub(super) fn expire(&self, now: u32) {
        if self.mark() == 0 {
            return;
        }
        let mut state = self.state.lock();
        let over = state.recent.iter().take_while(|revocation| revocation.until <= now).count();
        let over: Vec<_> = state.recent.drain(..over).collect();
        if state.recent.is_empty() {
            state.recent = VecDeque::new();
        }
        drop(state);
        drop(over);
    }
}

impl State {
    fn has(&self, principal: &Principal, since: Mark) -> bool {
        let later = self.recent.iter().rev().take_while(|revocation| revocation.number > since);
        later.into_iter().any(|revocation| revocation.principal == *principal)
    }
}

impl Answering {
    fn revoke(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.is_revoked = true;
            mem::take(&mut state.waiting)
        };
        waiting.wake();
    }

    fn poll_revoked(&self, cx: &task::Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.is_revoked {
            return Poll::Ready(());
        }
        state.waiting.add(cx.waker());
        Poll::Pending
    }
}

/// Takes an answer off the list when it is given.
struct Listed<'a> {
    hub: &'a Hub,
    number: u64,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let answering = self.hub.revocations.state.lock().answers.remove(&self.number);
        drop(answering);
    }
}

impl Hub {
    /// Runs what answers a request that began at the mark; drops it and fails once its principal is revoked.
    pub(crate) async fn unless_revoked<T, E: From<Error>>(
        &self,
        principal: Option<Principal>,
        since: Mark,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(principal) = principal else { return answer.await };
        let (_listed, answering) = self.list_answer(principal, since)?;
        let mut answer = pin!(answer);
        poll_fn(|cx| {
            if answering.poll_revoked(cx).is_ready() {
                return Poll::Ready(Err(revoked().into()));
            }
            let polled = answer.as_mut().poll(cx);
            if polled.is_ready() && answering.poll_revoked(cx).is_ready() {
                return Poll::Ready(Err(revoked().into()));
            }
            polled
        })
        .await
    }

    fn list_answer(&self, principal: Principal, since: Mark) -> Result<(Listed<'_>, Arc<Answering>)> {
        let mut state = self.revocations.state.lock();
        if state.has(&principal, since) {
            return Err(revoked());
        }
        state.last += 1;
        let answering = Arc::new(Answering { principal, state: Mutex::default() });
        let number = state.last;
        state.answers.insert(number, Arc::clone(&answering));
        drop(state);
        Ok((Listed { hub: self, number }, answering))
    }

    /// Ends all that a principal has on this node; returns the number of its open connections.
    pub(super) fn revoke(&self, principal: &Principal) -> usize {
        // Middleware, the framework's upgrade and the request's body take this long each, at most.
        let longest = self.config.handshake_timeout.saturating_mul(4);
        // First of all: a client that connects from here on sees it, and one that has connected is found below.
        self.revocations.note(principal, self.clock.past(longest));
        let clients = self.principals.of(principal);
        let open = clients.iter().filter(|client| !client.outbox.has_ended()).count();
        clients.iter().for_each(|client| client.revoke());
        self.outcomes.revoke(&principal.0);
        tracing::info!(connections = open, "a principal was revoked");
        open
    }

    /// Ends the membership of a principal in a topic on this node; returns the number of its connections.
    pub(super) fn revoke_from(&self, principal: &Principal, topic: &str) -> usize {
        let clients = self.principals.of(principal);
        // First of all: a subscription that begins from here on sees it, and one that has begun is found below.
        clients.iter().for_each(|client| client.note_revoked(self.topics.tag(Name::Topic(topic))));
        self.listeners.revoke(principal, topic);
        clients.iter().for_each(|client| client.revoke_from(Name::Topic(topic)));
        clients.len()
    }
}

/// The part of a revocation that concerns one client.
impl Client {
    /// Ends the client: what is queued is dropped, what runs is cancelled when its driver has its turn, and the connection
    /// is closed.
    fn revoke(self: &Arc<Self>) {
        if let Some(opening) = &self.opening {
            opening.refuse(&revoked());
        }
        let discard = || self.ahead.as_ref().and_then(|ahead| ahead.discard());
        self.outbox.revoke(Close::by_server(CloseCode::UNAUTHORIZED, REASON), discard);
        self.begin_end();
    }

    /// Ends the client if its principal was revoked since its request began.
    pub(super) fn revoke_if_late(self: &Arc<Self>, since: Mark) {
        if self.context.principal().is_some_and(|principal| self.hub.revocations.has(principal, since)) {
            self.revoke();
        }
    }

    /// Ends a membership, and takes back what is queued of it.
    fn revoke_from(self: &Arc<Self>, name: Name<'_>) {
        // No publication is queued any more once it has left.
        self.hub.topics.leave(self, name);
        self.outbox.drop_held(self.hub.topics.tag(name));
        self.take_back();
    }

    /// Closes a client for which something waits, and drops that.
    pub(super) fn take_back(&self) {
        let close = Close::by_server(CloseCode::UNAUTHORIZED, REASON);
        self.outbox.revoke_waiting(close, || self.ahead.as_ref().and_then(|ahead| ahead.discard()));
    }
}

/// Frames that have left the outbox, and that the framework has not pulled.
pub(crate) trait Ahead: Send + Sync {
    /// Drops them; returns the session's waker if it waits for them to be pulled.
    fn discard(&self) -> Option<Waker>;
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Returns the error for what was on its way.
pub(crate) fn revoked() -> Error {
    Error::new(Code::UNAUTHENTICATED, REASON)
}

pub(super) const REASON: &str = "revoked";
