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

/// Entries of one record, and their bytes as JSON. Most of the work for a record does not depend on its entries, and one
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
        while let Some(pending) = self.waiting.front()
            && record.len() < ENTRIES
            && (record.is_empty() || bytes + pending.logged.json.len() <= BYTES)
        {
            bytes += pending.logged.json.len();
            record.extend(self.waiting.pop_front());
        }
        if record.is_empty() {
            (self.waiting, self.is_running) = (VecDeque::new(), false);
        }
        record
    }

    /// Takes all that waits: the task is gone.
    pub(super) fn end(&mut self) -> VecDeque<Pending> {
        self.is_running = false;
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn known_end(&self) -> Option<&Position> {
        self.end.as_ref()
    }

    pub(super) fn note_end(&mut self, end: &Position) {
        self.end = Some(end.clone());
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

/// Makes the draft of a record.
pub(super) fn draft(
    topic: &str,
    writer: Writer,
    time: u64,
    record: &[Pending],
    trim_before: Option<u64>,
) -> Draft {
    let entries = record.iter().map(|pending| pending.logged.clone()).collect();
    let body = Body { writer, time, entries };
    let keep = record[record.len() - 1].keep;
    Draft { topic: topic.to_owned(), tag: 0, body, keep, trim_before }
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
fn again(error: &Error) -> Error {
    let again = Error::new(error.code().clone(), error.message().to_owned());
    if error.is_retryable() { again.with_retry() } else { again }
}

pub(super) fn unknown() -> AppendError {
    let error = Error::new(Code::DEADLINE_EXCEEDED, "the broker did not say if the entry is in the log");
    AppendError::Unknown(error.with_details(serde_json::json!({ "outcome": "unknown" })))
}
