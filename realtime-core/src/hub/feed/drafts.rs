//! Entries on their way into a log that a broker keeps. One record of a feed is under way at a time, and what comes
//! meanwhile is the next one.

use crate::{
    seams::{AppendError, Body, Draft, Logged, Retention, Writer},
    util::{register_waker, sync::Mutex, wake},
};
use realtime_protocol::{Code, Error, Position};
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

/// The entries of one feed that wait.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    waiting: VecDeque<Pending>,
    /// The first so many make a record each: the broker has refused one with all of them.
    alone: usize,
    /// A task hands them over.
    is_running: bool,
    /// The end of the log after the last append of this node.
    end: Option<Position>,
}

/// An entry that waits for its place in the log.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) logged: Logged,
    pub(super) keep: Retention,
    /// The bytes counted for it.
    pub(super) bytes: usize,
    pub(super) since: Instant,
    pub(super) answer: Arc<Answer>,
}

/// The place for the outcome of an append.
#[derive(Debug, Default)]
pub(super) struct Answer(Mutex<Answered>);

#[derive(Debug, Default)]
struct Answered {
    outcome: Option<Result<Position, AppendError>>,
    waker: Option<Waker>,
}

/// Entries of one record, and their bytes. Most of the work for a record does not depend on its entries, and one
/// of this size is 2 ms of a slow network.
const ENTRIES: usize = 64;
const BYTES: usize = 64 * 1024;

impl Drafts {
    /// Adds an entry; returns true if a task has to be started.
    pub(super) fn add(&mut self, pending: Pending) -> bool {
        self.waiting.push_back(pending);
        !std::mem::replace(&mut self.is_running, true)
    }

    /// Takes the entries of the next record; none if nothing waits, and then the task ends.
    pub(super) fn next(&mut self) -> Vec<Pending> {
        let mut bytes = 0;
        let mut record = Vec::new();
        let most = if self.alone > 0 { 1 } else { ENTRIES };
        while let Some(pending) = self.waiting.front()
            && record.len() < most
            && (record.is_empty() || bytes + pending.logged.bytes() <= BYTES)
        {
            bytes += pending.logged.bytes();
            record.extend(self.waiting.pop_front());
        }
        self.alone = self.alone.saturating_sub(1);
        if record.is_empty() {
            (self.waiting, self.is_running) = (VecDeque::new(), false);
        }
        record
    }

    /// Takes a record back that the broker has refused for good, so that each of its entries is tried alone: one of them
    /// may be the reason.
    pub(super) fn divide(&mut self, record: Vec<Pending>) {
        self.alone += record.len();
        record.into_iter().rev().for_each(|pending| self.waiting.push_front(pending));
    }

    /// Takes all that waits: the task is gone.
    pub(super) fn end(&mut self) -> VecDeque<Pending> {
        (self.is_running, self.alone) = (false, 0);
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn known_end(&self) -> Option<&Position> {
        self.end.as_ref()
    }

    pub(super) fn note_end(&mut self, end: &Position) {
        self.end = Some(end.clone());
    }

    /// Forgets an end of another reign than the log has now: it may have been lost.
    pub(super) fn forget_lost(&mut self, epoch: &str) {
        self.end.take_if(|end| end.epoch != epoch);
    }
}

impl Pending {
    pub(super) fn size(logged: &Logged) -> usize {
        logged.size() + size_of::<Self>()
    }

    pub(super) fn answer(self, outcome: Result<Position, AppendError>) {
        self.answer.set(outcome);
    }
}

impl Answer {
    fn set(&self, outcome: Result<Position, AppendError>) {
        let waker = {
            let mut answered = self.0.lock();
            answered.outcome = Some(outcome);
            answered.waker.take()
        };
        wake(waker);
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Position, AppendError>> {
        let mut answered = self.0.lock();
        if let Some(outcome) = answered.outcome.take() {
            return Poll::Ready(outcome);
        }
        let replaced = register_waker(&mut answered.waker, cx);
        drop(answered);
        drop(replaced);
        Poll::Pending
    }
}

/// Makes the draft of a record. `fitting` older entries may stay, if that is limited by bytes.
pub(super) fn draft(topic: &str, writer: Writer, time: u64, record: &[Pending], fitting: Option<u64>) -> Draft {
    let entries = record.iter().map(|pending| pending.logged.clone()).collect();
    let body = Body { writer, time, entries };
    let mut keep = record[record.len() - 1].keep;
    if let Some(fitting) = fitting {
        // A number, not an offset: the log may be another one than was known here.
        keep.entries = keep.entries.min(fitting.saturating_add(record.len() as u64));
    }
    Draft { topic: topic.to_owned(), tag: 0, body, keep }
}

/// The outcome of a record's append.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The position of its last entry.
    Done(Position),
    Refused(Error),
    Unknown,
}

/// Answers those that wait for the entries of a record.
pub(super) fn answer(record: Vec<Pending>, outcome: &Outcome) {
    let count = record.len() as u64;
    for (at, pending) in (1..).zip(record) {
        let answer = match outcome {
            Outcome::Done(last) => {
                Ok(Position { offset: (last.offset + at).saturating_sub(count), ..last.clone() })
            }
            Outcome::Refused(error) => Err(AppendError::Refused(again(error))),
            Outcome::Unknown => Err(unknown()),
        };
        pending.answer(answer);
    }
}

/// Makes the same error once more.
pub(super) fn again(error: &Error) -> Error {
    let again = error.without_source();
    match error.source() {
        Some(source) => again.with_source(source.to_string()),
        None => again,
    }
}

pub(super) fn unknown() -> AppendError {
    let error = Error::new(Code::DEADLINE_EXCEEDED, "the broker did not say if the entry is in the log");
    AppendError::Unknown(error.with_details(serde_json::json!({ "outcome": "unknown" })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use realtime_protocol::Kind;
    use std::time::Duration;

    fn pending(json: usize, whole: usize) -> Pending {
        let bytes = |count| Bytes::from(vec![b'7'; count]);
        let logged = Logged { json: bytes(json), whole: Some((Kind::Binary, bytes(whole))), key: None };
        let keep = Retention { entries: 1, within: Duration::ZERO };
        Pending { bytes: 0, logged, keep, since: Instant::now(), answer: Arc::default() }
    }

    fn counts(drafts: &mut Drafts) -> Vec<usize> {
        std::iter::from_fn(|| Some(drafts.next().len()).filter(|count| *count > 0)).collect()
    }

    #[test]
    fn a_record_is_bounded_in_all_bytes_of_its_entries() {
        let mut drafts = Drafts::default();
        for (json, whole) in [(1, 1), (BYTES / 2, 0), (1, BYTES / 2), (1, BYTES), (BYTES * 2, 1), (1, 1)] {
            drafts.add(pending(json, whole));
        }
        assert_eq!(counts(&mut drafts), [2, 1, 1, 1, 1]);
    }

    #[test]
    fn entries_of_a_divided_record_are_alone_and_in_front() {
        let mut drafts = Drafts::default();
        for _ in 0..3 {
            drafts.add(pending(1, 1));
        }
        let record = drafts.next();
        for _ in 0..2 {
            drafts.add(pending(2, 1));
        }
        drafts.divide(record);
        assert_eq!(counts(&mut drafts), [1, 1, 1, 2]);
    }
}
