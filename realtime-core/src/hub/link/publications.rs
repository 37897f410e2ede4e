//! Publications on their way to the broker.

use super::{ANSWER, PAUSE, Shared, answered, caught};
use crate::{
    hub::{
        Hub,
        nodes::{is_letter, is_reserved},
    },
    seams::{Publication, Runtime, Untaken},
};
use realtime_protocol::Error;
use std::{
    future::poll_fn,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

/// Tries of one publication, a pause apart.
const TRIES: usize = 30;

/// Publications that are handed over together.
const BATCH: usize = 256;

/// Hands publications over, in order and in batches, until the hub is gone and nothing waits.
pub(super) async fn hand_over(shared: Arc<Shared>, hub: Weak<Hub>, runtime: Arc<dyn Runtime>) {
    let mut batch = Batch::default();
    while poll_fn(|cx| batch.fill(&shared, cx)).await {
        let handed = batch.handed();
        let Err(untaken) = batch.hand_over(handed, &shared, &runtime).await else {
            batch.settle(&shared, handed);
            continue;
        };
        let failed = batch.handle(&shared, handed, untaken);
        if let Some(hub) = hub.upgrade() {
            hub.counters.broker_failures(failed.lost);
        }
        if failed.again {
            runtime.sleep(PAUSE).await;
        }
    }
}

/// The publications that are being handed over.
#[derive(Default)]
struct Batch {
    publications: Vec<Publication>,
    /// The first so many are handed over one by one: the broker has refused one of them for good.
    alone: usize,
    /// Failed attempts in a row for the first of them.
    tries: usize,
}

struct Failed {
    lost: usize,
    /// The rest is handed over again after a pause.
    again: bool,
}

impl Batch {
    /// Hands the first `count` over.
    async fn hand_over(&self, count: usize, shared: &Shared, runtime: &Arc<dyn Runtime>) -> Result<(), Untaken> {
        let handed = &self.publications[..count];
        let names = handed.iter().map(|publication| &*publication.topic);
        let publishing = caught(|| shared.broker.publish(handed));
        match answered(runtime, ANSWER, "publish", names, publishing).await {
            Ok(answer) => answer,
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for publications, and adds them behind those that are to be tried again. Returns false at the end.
    fn fill(&mut self, shared: &Shared, cx: &Context<'_>) -> Poll<bool> {
        let mut state = shared.state.lock();
        while self.publications.len() < BATCH
            && let Some(publication) = state.waiting.pop_front()
        {
            self.publications.push(publication);
        }
        if !self.publications.is_empty() {
            return Poll::Ready(true);
        }
        if state.ended {
            return Poll::Ready(false);
        }
        state.wakers.add(cx.waker());
        Poll::Pending
    }

    /// Returns the number of those that are handed over next.
    fn handed(&self) -> usize {
        if self.alone > 0 { 1 } else { self.publications.len() }
    }

    /// Drops the first `count`, of which nothing more is to be done.
    fn settle(&mut self, shared: &Shared, count: usize) {
        let count = count.min(self.publications.len());
        if count > 0 {
            self.tries = 0;
            self.alone = self.alone.saturating_sub(count);
        }
        shared.release(self.publications.drain(..count).map(|publication| publication.size()).sum());
    }

    /// What may have been taken is not sent again: a publication arrives at most once.
    fn handle(&mut self, shared: &Shared, handed: usize, Untaken { taken, unsure, error }: Untaken) -> Failed {
        let taken = taken.min(handed);
        let unsure = unsure.min(handed - taken);
        let rest = handed - taken - unsure;
        // Messages of the nodes themselves are sent anew.
        let is_lost = |topic: &str| !is_reserved(topic) || is_letter(topic);
        let count_of = |list: &[Publication]| list.iter().filter(|lost| is_lost(&lost.topic)).count();
        let mut lost = count_of(&self.publications[taken..taken + unsure]);
        let first_lost = self.publications.get(taken).map(|publication| publication.topic.clone());
        self.settle(shared, taken + unsure);
        self.tries += 1;
        let again = error.is_retryable() && self.tries < TRIES;
        if !again && rest > 1 && !error.is_retryable() {
            // The others are not lost with it.
            self.alone = rest;
        } else if !again {
            // All that waited for as long as it.
            let count = if error.is_retryable() { self.publications.len() } else { rest };
            lost += count_of(&self.publications[..count]);
            self.settle(shared, count);
        }
        if lost > 0 {
            log(first_lost.as_deref(), lost, &error);
        }
        Failed { lost, again: again && !self.publications.is_empty() }
    }
}

fn log(topic: Option<&str>, lost: usize, error: &Error) {
    tracing::error!(topic, lost, ?error, "the broker did not accept publications, or may not have");
}
