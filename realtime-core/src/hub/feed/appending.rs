//! Appends to a log that a broker keeps.

use super::{
    FeedState,
    drafts::{Outcome, Pending, answer, draft},
    entry::{Entry, Stored},
    replica::{Held, Replica, unix_time},
    state::{Asked, Limits, frame_of},
};
use crate::{
    hub::{
        Hub,
        link::{Shared, caught, within},
    },
    protocol::Encode,
    seams::{AppendError, Draft, Retention, Runtime, Writer, check_top},
};
use realtime_protocol::{Error, Position, Result};
use std::{
    future::poll_fn,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Pauses between the attempts of one append.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Hub {
    /// Appends an entry to a log that the broker keeps. It is delivered when it comes back with its place.
    pub(super) async fn append_to_shared(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        asked: &Asked<'_>,
        value: &dyn Encode,
        key: Option<String>,
    ) -> Result<Position, AppendError> {
        let answer = {
            let pending = self.pending(asked, value, key).map_err(AppendError::Refused)?;
            let Some(runtime) = self.runtime() else { return Err(AppendError::Refused(not_started())) };
            shared.reserve(pending.bytes).map_err(AppendError::Refused)?;
            let answer = Arc::clone(&pending.answer);
            let bytes = pending.bytes;
            match self.add(asked, pending) {
                Ok(None) => {}
                Ok(Some(held)) => {
                    let (shared, outcome) = (Arc::clone(shared), Outcome::Refused(not_started()));
                    let turn = Turn { held, shared, record: Vec::new(), outcome, is_running: true };
                    runtime.spawn(Box::pin(turn.run(Arc::downgrade(self), Arc::clone(&runtime))));
                }
                Err(error) => {
                    shared.release(bytes);
                    return Err(AppendError::Refused(error));
                }
            }
            answer
        };
        poll_fn(|cx| answer.poll(cx)).await
    }

    /// Encodes an entry, and checks that it may be in the log.
    fn pending(&self, asked: &Asked<'_>, value: &dyn Encode, key: Option<String>) -> Result<Pending> {
        let mut value = Stored::of(value)?;
        let log_bytes = asked.log.bytes.min(self.config.log_bytes);
        let limits = Limits { protocols: &self.protocols, outbox_bytes: self.config.outbox_bytes, log_bytes };
        // As long as a position can be.
        let position = Position::new("f".repeat(64), u64::MAX).with_proof("f".repeat(13));
        let frame = frame_of(&self.protocols, asked.name, &mut value, &position)?;
        let entry = Entry { position, value, key: key.as_deref().map(Arc::from), time: 0 };
        limits.check(&entry, &frame)?;
        let logged = entry.value.into_logged(key);
        let bytes = Pending::size(&logged);
        let keep = Retention { entries: asked.log.entries as u64, within: asked.log.within };
        Ok(Pending { logged, keep, bytes, since: self.instant(), answer: Arc::default() })
    }

    /// Adds an entry to those that wait. Returns the feed if nobody hands them over.
    fn add(&self, asked: &Asked<'_>, pending: Pending) -> Result<Option<Held>> {
        let held = self.at_feed(asked, |feed| feed.hold(asked))?;
        let Some(replica) = &held.0.replica else { return Err(Error::internal("a feed is not of the broker")) };
        let is_first = replica.drafts.lock().add(pending);
        Ok(is_first.then_some(held))
    }
}

impl FeedState {
    /// Keeps the feed for an append; `None` if it has ended.
    fn hold(self: &Arc<Self>, asked: &Asked<'_>) -> Option<Held> {
        let held = Replica::hold(self);
        let mut tail = self.tail.lock();
        if tail.ended {
            return None;
        }
        (tail.log, tail.within, tail.used) = (asked.log, asked.within, asked.now);
        drop(tail);
        Some(held)
    }
}

/// A task that hands over the entries of one feed, a record at a time. Dropped before its end, it answers those that
/// wait.
struct Turn {
    held: Held,
    shared: Arc<Shared>,
    record: Vec<Pending>,
    /// The outcome of the record if the task is dropped now.
    outcome: Outcome,
    /// It is the feed's only one.
    is_running: bool,
}

impl Turn {
    async fn run(mut self, hub: Weak<Hub>, runtime: Arc<dyn Runtime>) {
        loop {
            let Some(replica) = &self.held.0.replica else { return };
            self.record = replica.drafts.lock().next();
            if self.record.is_empty() {
                self.is_running = false;
                return;
            }
            let Some(hub_here) = hub.upgrade() else { return };
            let writer = Writer { node: hub_here.node, number: self.shared.next_number() };
            drop(hub_here);
            self.outcome = Outcome::Unknown;
            self.outcome = self.append(writer, &runtime).await;
            if self.is_refused_together() {
                self.divide();
                continue;
            }
            if let (Outcome::Done(end), Some(hub)) = (&self.outcome, hub.upgrade()) {
                hub.counters.appended.fetch_add(self.record.len() as u64, Relaxed);
                self.note(end);
            }
            self.settle();
        }
    }

    /// Returns true if the broker has refused the record for good, and would maybe take other entries of it.
    fn is_refused_together(&self) -> bool {
        let is_for_good = matches!(&self.outcome, Outcome::Refused(error) if !error.is_retryable());
        is_for_good && self.record.len() > 1
    }

    fn divide(&mut self) {
        let record = std::mem::take(&mut self.record);
        self.outcome = Outcome::Refused(not_started());
        let Some(replica) = &self.held.0.replica else { return };
        replica.drafts.lock().divide(record);
    }

    fn note(&self, end: &Position) {
        let Some(replica) = &self.held.0.replica else { return };
        replica.note_written(end.offset);
        replica.drafts.lock().note_end(end);
    }

    fn settle(&mut self) {
        self.shared.release(self.record.iter().map(|pending| pending.bytes).sum());
        answer(std::mem::take(&mut self.record), &self.outcome);
        self.outcome = Outcome::Refused(not_started());
    }

    /// Tries to append the record until the time is over.
    async fn append(&self, writer: Writer, runtime: &Arc<dyn Runtime>) -> Outcome {
        let timeout = self.shared.append_timeout;
        let deadline = runtime.now() + timeout;
        if self.record.iter().all(|pending| pending.since + timeout <= runtime.now()) {
            return Outcome::Refused(late());
        }
        let mut draft = draft(&self.held.0.name, writer, unix_time(), &self.record, self.fitting());
        let mut attempts = Attempts { since: None, unsure: false, last: None };
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(outcome) = self.attempt(&mut draft, &mut attempts, deadline, runtime).await {
                return outcome;
            }
            if runtime.now() + pause >= deadline {
                return attempts.give_up();
            }
            runtime.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Returns `None` if it has failed and may be repeated.
    async fn attempt(
        &self,
        draft: &mut Draft,
        attempts: &mut Attempts,
        deadline: Instant,
        runtime: &Arc<dyn Runtime>,
    ) -> Option<Outcome> {
        let left = || deadline.saturating_duration_since(runtime.now());
        if attempts.since.is_none() {
            match self.known_end(left(), runtime).await? {
                Ok(end) => attempts.since = Some(end),
                Err(error) => return attempts.refused(error),
            }
        }
        let since = attempts.since.as_ref()?;
        draft.tag = match getrandom::u64() {
            Ok(tag) => tag,
            Err(error) => return Some(Outcome::Refused(Error::internal(error))),
        };
        let again_since = attempts.unsure.then_some(since);
        let broker = &self.shared.broker;
        let appended = within(
            runtime,
            left(),
            caught(|| {
                let appended = broker.append(draft, again_since);
                Box::pin(async move { Ok(appended.await) })
            }),
        );
        match appended.await {
            Some(Ok(Ok(end))) => {
                let Err(error) = check_top(&end) else { return Some(Outcome::Done(end)) };
                tracing::error!(feed = draft.topic, ?error, "the broker has appended where no log has a place");
                return Some(Outcome::Unknown);
            }
            Some(Ok(Err(AppendError::Refused(error)))) => return attempts.refused(error),
            // Also where the broker has panicked.
            Some(Ok(Err(AppendError::Unknown(_))) | Err::<_, Error>(_)) | None => attempts.unsure = true,
        }
        None
    }

    /// Returns the end of the log as it is known here before the first attempt. The broker is asked if nothing is known;
    /// `None` if it has not said anything.
    async fn known_end(&self, left: Duration, runtime: &Arc<dyn Runtime>) -> Option<Result<Position>> {
        let feed = &self.held.0;
        let known = feed.replica.as_ref()?.known_end();
        if let Some(known) = known {
            return Some(Ok(known));
        }
        let topics = [&*feed.name];
        let tops = within(runtime, left, caught(|| self.shared.broker.tops(&topics))).await;
        tops?.map(|mut tops| tops.pop()).transpose()
    }

    /// Returns how many of the newest entries the bytes of the log have room for, by what is known here.
    fn fitting(&self) -> Option<u64> {
        self.held.0.tail.lock().fitting()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(replica) = self.held.0.replica.as_ref().filter(|_| self.is_running) else { return };
        let waiting: Vec<Pending> = replica.drafts.lock().end().into();
        self.settle();
        self.shared.release(waiting.iter().map(|pending| pending.bytes).sum());
        answer(waiting, &Outcome::Refused(not_started()));
    }
}

/// The attempts of one append so far.
struct Attempts {
    /// The end of the log before the first of them.
    since: Option<Position>,
    /// One of them may have succeeded.
    unsure: bool,
    /// The reason of the last refusal.
    last: Option<Error>,
}

impl Attempts {
    /// Takes a refusal; returns the outcome if it is for good.
    fn refused(&mut self, error: Error) -> Option<Outcome> {
        if !error.is_retryable() && !self.unsure {
            return Some(Outcome::Refused(error));
        }
        self.last = Some(error);
        None
    }

    fn give_up(self) -> Outcome {
        if self.unsure { Outcome::Unknown } else { Outcome::Refused(self.last.unwrap_or_else(late)) }
    }
}

fn late() -> Error {
    Error::unavailable("the broker cannot be reached")
}

fn not_started() -> Error {
    Error::unavailable("the link to the broker does not run: `Realtime::start` starts it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, MemoryBroker, Realtime, hub::Log};

    #[test]
    fn an_entry_that_is_taken_fits_whatever_its_position_will_be() {
        let config = Config { outbox_bytes: 1024, ..Config::default() };
        let hub = Realtime::builder().config(config).manual_time().broker(MemoryBroker::new()).build().0;
        let asked = Asked { name: "t", log: Log::last(10), within: 100, now: 1 };
        let mut texts = (0..1024).rev().map(|bytes| "x".repeat(bytes));
        let largest = texts.find(|text| hub.pending(&asked, text, None).is_ok()).unwrap();
        let position = Position::new("e".repeat(64), u64::MAX / 2).with_proof("f".repeat(13));
        let frame = frame_of(&hub.protocols, "t", &mut Stored::of(&largest).unwrap(), &position).unwrap();
        assert!(frame.len() <= 1024, "{}", frame.len());
    }
}
