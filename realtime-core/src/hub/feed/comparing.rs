//! Comparing copies with their logs, wherever something may have been missed.

use super::FeedState;
use crate::{
    hub::{
        Hub,
        link::{PAUSE, Shared, answered, caught, within},
    },
    seams::{Missed, Runtime},
    util::{panics::catch, sync::Mutex},
};
use realtime_protocol::{Error, Result};
use std::{
    collections::HashSet,
    future::poll_fn,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The interval at which feeds are compared with their logs if nothing was heard of them for half of it. A broker tells what
/// it has missed; this is for what it does not know.
const IDLE: Duration = Duration::from_secs(10);

/// Feeds that are compared with one request.
const BATCH: usize = 256;

/// Names of feeds that are noted one by one; of more, all are compared.
const NAMES: usize = 1024;

/// The feeds of which something may have been missed.
#[derive(Debug, Default)]
pub(crate) struct MissedHere(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    all: bool,
    shards: HashSet<usize>,
    names: HashSet<String>,
    waker: Option<Waker>,
}

impl MissedHere {
    pub(in crate::hub) fn note(&self, missed: Missed) {
        let waker = {
            let mut noted = self.0.lock();
            match missed {
                Missed::All => noted.all = true,
                Missed::Shard(shard) => noted.shards.extend([shard]),
                Missed::Topics(names) => noted.names.extend(names),
            }
            noted.all |= noted.names.len() > NAMES || noted.shards.len() > NAMES;
            if noted.all {
                (noted.names, noted.shards) = (HashSet::new(), HashSet::new());
            }
            noted.waker.take()
        };
        crate::util::wake(waker);
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Noted> {
        let mut noted = self.0.lock();
        if noted.all || !noted.names.is_empty() || !noted.shards.is_empty() {
            return Poll::Ready(std::mem::take(&mut noted));
        }
        noted.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Compares feeds with their logs: those of which something may have been missed at once, and now and then those of which
/// nothing was heard.
pub(in crate::hub) async fn watch(shared: Arc<Shared>, hub: Weak<Hub>, runtime: Arc<dyn Runtime>) {
    loop {
        let noted = {
            let missed = within(&runtime, IDLE, poll_fn(|cx| shared.missed.poll(cx)));
            let mut missed = std::pin::pin!(missed);
            poll_fn(|cx| match shared.poll_ended(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => missed.as_mut().poll(cx).map(Some),
            })
            .await
        };
        let Some(noted) = noted else { return };
        let Some(feeds) = hub.upgrade().map(|hub| hub.feeds_to_compare(&shared, noted.as_ref())) else { return };
        for feeds in feeds.chunks(BATCH) {
            if let Err((names, error)) = compare_all(&shared, &hub, feeds, &runtime).await {
                tracing::warn!(feed = names.first(), count = names.len(), ?error, "logs cannot be compared");
                shared.missed.note(Missed::Topics(names));
                runtime.sleep(PAUSE).await;
            }
        }
    }
}

/// Compares feeds with their logs; returns the names of those that cannot be. Where the broker refuses all of them for good, each
/// is asked for alone.
async fn compare_all(
    shared: &Shared,
    hub: &Weak<Hub>,
    feeds: &[Arc<FeedState>],
    runtime: &Arc<dyn Runtime>,
) -> Result<(), (Vec<String>, Error)> {
    let names = |feeds: &[Arc<FeedState>]| feeds.iter().map(|feed| feed.name.to_string()).collect::<Vec<_>>();
    let Err(mut problem) = compare(shared, hub, feeds, runtime).await else { return Ok(()) };
    if problem.is_retryable() {
        return Err((names(feeds), problem));
    }
    let mut failed = Vec::new();
    for feed in feeds.chunks(1) {
        if let Err(error) = compare(shared, hub, feed, runtime).await {
            failed.extend(names(feed));
            problem = error;
        }
    }
    if failed.is_empty() { Ok(()) } else { Err((failed, problem)) }
}

async fn compare(
    shared: &Shared,
    hub: &Weak<Hub>,
    feeds: &[Arc<FeedState>],
    runtime: &Arc<dyn Runtime>,
) -> Result {
    let names: Vec<&str> = feeds.iter().map(|feed| &*feed.name).collect();
    let tops = caught(|| shared.broker.tops(&names));
    let tops = answered(runtime, shared.append_timeout, "tops", names.iter().copied(), tops).await??;
    let Some(hub) = hub.upgrade() else { return Ok(()) };
    for (feed, top) in feeds.iter().zip(tops) {
        if feed.differs(&top, hub.clock.now())
            && let Some(replica) = &feed.replica
            && replica.ask().1
        {
            hub.read_soon(feed);
        }
    }
    Ok(())
}

impl Hub {
    fn feeds_to_compare(&self, shared: &Shared, missed: Option<&Noted>) -> Vec<Arc<FeedState>> {
        let idle_since = self.clock.now().saturating_sub(self.clock.ticks(IDLE / 2));
        let mut feeds = self.feeds.matching(|feed| {
            let Some(replica) = feed.replica.as_ref().filter(|replica| replica.is_followed()) else {
                return false;
            };
            let Some(noted) = missed else { return replica.is_idle_since(idle_since) };
            noted.all || noted.names.contains(&*feed.name) || !noted.shards.is_empty()
        });
        if let Some(noted) = missed.filter(|noted| !noted.all && !noted.shards.is_empty()) {
            // The broker is asked without a lock. If it panics, the feed is compared.
            let is_of_shard = |name: &str| {
                let shard = catch(|| shared.broker.shard_of(name));
                shard.map_or(true, |shard| noted.shards.contains(&shard))
            };
            feeds.retain(|feed| noted.names.contains(&*feed.name) || is_of_shard(&feed.name));
        }
        feeds
    }
}
