use crate::{error::ClientError, mailbox::Mailbox};
use realtime_protocol::{
    Appended, Message,
    client::{Format, Outgoing, Payload},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    task::Waker,
    time::Duration,
};
use tokio::time::Instant;

/// A step of a call: any number of progress reports, and one result.
#[derive(Debug)]
pub(crate) enum Answer {
    Progress(Payload),
    Done(Result<Output, ClientError>),
}

/// The result of a call.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) data: Payload,
    pub(crate) wrote: Vec<Appended>,
}

/// One call, as requested by the application.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) input: Payload,
    pub(crate) key: Option<String>,
    pub(crate) deadline: Instant,
}

/// The calls without an answer. Removing a call makes its first answer the only one.
#[derive(Debug, Default)]
pub(super) struct Calls {
    running: HashMap<u64, Running>,
    deadlines: BTreeSet<(Instant, u64)>,
}

#[derive(Debug)]
struct Running {
    request: Request,
    answers: Arc<Mailbox<Answer>>,
    sent: bool,
}

impl Calls {
    pub(super) fn add(&mut self, id: u64, request: Request) -> Arc<Mailbox<Answer>> {
        let answers = Mailbox::new();
        self.deadlines.insert((request.deadline, id));
        self.running.insert(id, Running { request, answers: Arc::clone(&answers), sent: false });
        answers
    }

    /// Returns the frame of the call, if it is still wanted.
    pub(super) fn send(&mut self, format: Format, id: u64, now: Instant) -> Option<Message> {
        let call = self.running.get_mut(&id)?;
        let left = call.request.deadline.saturating_duration_since(now);
        // `expire` reports a call that is too late.
        if left.is_zero() {
            return None;
        }
        call.sent = true;
        let Request { path, input, key, .. } = &call.request;
        // The wire format has whole milliseconds.
        let timeout = Some(left.max(Duration::from_millis(1)));
        let (id, idempotency_key) = (&*id.to_string(), key.as_deref());
        Some(Outgoing::Call { id, path, input, timeout, idempotency_key }.encode(format))
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.running.contains_key(&id)
    }

    pub(super) fn progress(&self, id: u64, data: Payload) -> Option<Waker> {
        self.running.get(&id)?.answers.push_within(Answer::Progress(data), PROGRESS)
    }

    pub(super) fn settle(&mut self, id: u64, result: Result<Output, ClientError>) -> Option<Waker> {
        let call = self.take(id)?;
        call.answers.push(Answer::Done(result))
    }

    /// Removes a call whose caller is gone. Returns true if the server knows the call.
    pub(super) fn drop_call(&mut self, id: u64) -> Option<bool> {
        Some(self.take(id)?.sent)
    }

    /// Returns a call whose deadline has passed, if there is one.
    pub(super) fn next_expired(&self, now: Instant) -> Option<(u64, bool)> {
        let (_, id) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        Some((id, self.running.get(&id).is_some_and(|call| call.sent)))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Removes the sent calls of a lost connection. Returns the calls that may be sent again, then those that may not.
    pub(super) fn unsend(&mut self) -> (Vec<u64>, Vec<u64>) {
        let mut sent: Vec<_> = self.running.iter_mut().filter(|(_, call)| call.sent).collect();
        sent.iter_mut().for_each(|(_, call)| call.sent = false);
        let (again, lost): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(_, call)| call.request.key.is_some());
        let ids = |calls: Vec<(&u64, &mut Running)>| calls.into_iter().map(|(id, _)| *id).collect();
        (ids(again), ids(lost))
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    fn take(&mut self, id: u64) -> Option<Running> {
        let call = self.running.remove(&id)?;
        self.deadlines.remove(&(call.request.deadline, id));
        Some(call)
    }
}

/// The number of progress reports that wait for the caller.
const PROGRESS: usize = 64;
