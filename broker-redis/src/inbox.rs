use realtime_core::broker::{Arrival, Missed};
use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// What was brought and not yet received, bounded: what is over the bounds is dropped, and told as [`Missed::All`].
#[derive(Debug)]
pub(crate) struct Inbox {
    received: Mutex<Received>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Received {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
    waker: Option<Waker>,
}

/// Arrivals that may wait: small ones have a cost that their bytes do not show.
const WAITING: usize = 65_536;

/// Bytes of an arrival beside those of its message, about.
const OVERHEAD: usize = 256;

impl Inbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self { received: Mutex::default(), limit }
    }

    /// Adds an arrival that came as so many bytes. Returns false if there was no room for it.
    pub(crate) fn push(&self, arrival: Arrival, bytes: usize) -> bool {
        let mut received = self.lock();
        let bytes = bytes + OVERHEAD;
        let fits =
            received.arrivals.len() < WAITING && (received.bytes == 0 || received.bytes + bytes <= self.limit);
        if fits {
            received.bytes += bytes;
            received.arrivals.push_back(arrival);
        } else {
            received.miss_all();
        }
        let waker = received.waker.take();
        drop(received);
        wake(waker);
        fits
    }

    pub(crate) fn miss(&self, shard: usize) {
        let mut received = self.lock();
        let missed = Arrival::Missed(Missed::Shard(shard));
        if received.arrivals.len() >= WAITING {
            received.miss_all();
        } else if received.arrivals.back() != Some(&missed) {
            received.arrivals.push_back(missed);
        }
        let waker = received.waker.take();
        drop(received);
        wake(waker);
    }

    pub(crate) async fn receive(&self, into: &mut Vec<Arrival>) {
        poll_fn(|cx| self.poll(cx, into)).await;
    }

    fn poll(&self, cx: &Context<'_>, into: &mut Vec<Arrival>) -> Poll<()> {
        let mut received = self.lock();
        if received.arrivals.is_empty() {
            received.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        received.bytes = 0;
        into.extend(received.arrivals.drain(..));
        Poll::Ready(())
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Received {
    fn miss_all(&mut self) {
        let missed = Arrival::Missed(Missed::All);
        if self.arrivals.back() != Some(&missed) {
            self.arrivals.push_back(missed);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures_util::FutureExt;
    use realtime_core::broker::Publication;

    fn publication(number: u64) -> Arrival {
        Arrival::Publication(Publication::new(number, "t".into(), Bytes::from_static(b"1"), None, Vec::new()))
    }

    fn all(inbox: &Inbox) -> Vec<Arrival> {
        let mut into = Vec::new();
        let _ = inbox.receive(&mut into).now_or_never();
        into
    }

    #[test]
    fn what_is_over_the_bytes_is_told_as_missed_once() {
        let inbox = Inbox::new(2 * (100 + OVERHEAD));
        for number in 0..5 {
            assert_eq!(inbox.push(publication(number), 100), number < 2);
        }
        assert_eq!(all(&inbox), [publication(0), publication(1), Arrival::Missed(Missed::All)]);
        assert!(inbox.push(publication(6), 100));
        assert_eq!(all(&inbox), [publication(6)]);
    }

    #[test]
    fn what_is_over_the_count_is_told_as_missed_once() {
        let inbox = Inbox::new(usize::MAX);
        for number in 0..70_000 {
            inbox.push(publication(number), 1);
            inbox.miss(3);
        }
        let all = all(&inbox);
        assert!(all.len() <= WAITING + 1, "{}", all.len());
        assert_eq!(all.last(), Some(&Arrival::Missed(Missed::All)));
    }

    #[test]
    fn one_that_is_larger_than_the_limit_is_brought_alone() {
        let inbox = Inbox::new(10);
        assert!(inbox.push(publication(1), 100));
        assert!(!inbox.push(publication(2), 1));
    }

    #[test]
    fn losses_of_a_shard_are_told_once_while_nothing_else_comes() {
        let inbox = Inbox::new(1000);
        inbox.miss(1);
        inbox.miss(1);
        inbox.miss(2);
        let missed = |shard| Arrival::Missed(Missed::Shard(shard));
        assert_eq!(all(&inbox), [missed(1), missed(2)]);
    }
}
