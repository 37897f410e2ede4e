//! A client's state without its connection: frames and the time come in as arguments, frames go out as results.

mod calls;
mod heartbeat;
mod place;
mod queue;
mod requests;
mod subscriptions;

pub(crate) use calls::{Answer, Output, Request};
pub use queue::OfflineQueue;
pub(crate) use subscriptions::{Delivery, WINDOW};

use crate::{
    error::{ClientError, Result},
    state::Cause,
};
use calls::Calls;
use heartbeat::{Heartbeat, Silence};
use queue::{Frame, Queue};
use realtime_protocol::{
    Appended, Data, Error, Gap, Message, Position,
    client::{Format, Incoming, Outgoing, Payload},
    format::Secret,
};
use std::{task::Waker, time::Duration};
use subscriptions::{Owed, Subscriptions};
use tokio::time::Instant;

/// The calls, subscriptions and queued frames of a client, across its connections.
///
/// One counter provides the ids of calls and subscriptions and the order of the queue. Ids are therefore never reused,
/// and frames sent again on a new connection keep their order.
#[derive(Debug)]
pub(crate) struct Session {
    format: Format,
    phase: Phase,
    last: u64,
    queue: Queue,
    calls: Calls,
    subscriptions: Subscriptions,
    heartbeat: Option<Heartbeat>,
    /// The bytes of a message that the server takes, as it last said.
    message_bytes: u64,
    /// Those who have got something. They are woken when the session's lock is gone.
    wakers: Vec<Waker>,
}

#[derive(Debug)]
enum Phase {
    Offline,
    Open,
    Closed(Cause),
}

/// Input from the server to the application.
#[derive(Debug)]
pub(crate) enum Input {
    Message {
        value: Payload,
        place: Option<Appended>,
    },
    /// Messages of a feed or topic are missing.
    Gap {
        topic: String,
        gap: Gap,
    },
    /// An error of the connection, or of a message to its handler.
    Complaint(Error),
    Event {
        name: String,
        data: Payload,
    },
    Call {
        id: String,
        path: String,
        input: Payload,
        timeout: Option<Duration>,
    },
    Cancel {
        id: String,
    },
    /// The server asks for a fresh token.
    Reauthenticate,
}

impl Session {
    pub(crate) fn new(format: Format, offline: OfflineQueue) -> Self {
        Self {
            format,
            phase: Phase::Offline,
            last: 0,
            queue: Queue::new(offline),
            calls: Calls::default(),
            subscriptions: Subscriptions::default(),
            heartbeat: None,
            message_bytes: u64::MAX,
            wakers: Vec::new(),
        }
    }

    /// Starts a connection.
    pub(crate) fn open(&mut self, now: Instant, ping_after: Duration, ping_deadline: Duration) {
        if matches!(self.phase, Phase::Offline) {
            self.phase = Phase::Open;
            self.heartbeat = Some(Heartbeat::new(now, ping_after, ping_deadline));
        }
    }

    /// Notes the bytes of a message that the server takes. A larger one would close the connection for good, so it fails
    /// alone.
    pub(crate) fn limit_messages(&mut self, bytes: Option<u64>) {
        self.message_bytes = bytes.unwrap_or(self.message_bytes);
    }

    /// There is none any more.
    pub(crate) fn lose(&mut self) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        self.phase = Phase::Offline;
        self.heartbeat = None;
        for id in self.queue.go_offline() {
            self.wakers.extend(self.calls.settle(id, Err(ClientError::offline())));
        }
        let (again, lost) = self.calls.unsend();
        for id in lost {
            self.wakers.extend(self.calls.settle(id, Err(ClientError::lost())));
        }
        // Already admitted: they do not count again.
        again.into_iter().for_each(|id| self.queue.insert(id, Frame::Call, 0));
        let subscriptions = self.subscriptions.unsend();
        subscriptions.into_iter().for_each(|id| self.queue.insert(id, Frame::Subscribe, 0));
    }

    /// Ends everything that runs. While a connection is open, waiting events and messages can still be sent.
    pub(crate) fn close(&mut self, cause: Cause) {
        match std::mem::replace(&mut self.phase, Phase::Closed(cause.clone())) {
            Phase::Open => self.queue.keep_written(),
            Phase::Offline => self.queue.clear(),
            Phase::Closed(first) => {
                self.phase = Phase::Closed(first);
                return;
            }
        }
        for id in self.calls.ids() {
            self.wakers.extend(self.calls.settle(id, Err(ClientError::closed(&cause))));
        }
        for id in self.subscriptions.ids() {
            self.wakers.extend(self.subscriptions.end(id, Some(ClientError::closed(&cause))));
        }
    }

    /// Notes a sign of life.
    pub(crate) fn hear(&mut self, now: Instant) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.hear(now);
        }
    }

    /// Handles a frame of the server, and returns the input for the application.
    ///
    /// # Errors
    ///
    /// The frame cannot be read.
    pub(crate) fn handle_frame(&mut self, message: &Data<'_>) -> Result<Option<Input>, String> {
        match Incoming::decode(self.format, message)? {
            Incoming::Message { value, place } => return Ok(Some(Input::Message { value, place })),
            Incoming::Gap { id: None, topic: Some(topic), gap } => return Ok(Some(Input::Gap { topic, gap })),
            Incoming::Event { name, data } => return Ok(Some(Input::Event { name, data })),
            Incoming::Call { id, path, input, timeout } => {
                return Ok(Some(Input::Call { id, path, input, timeout }));
            }
            Incoming::Cancel { id } => return Ok(Some(Input::Cancel { id })),
            Incoming::Reauthenticate { .. } => return Ok(Some(Input::Reauthenticate)),
            Incoming::Error { id: None, error } => return Ok(Some(Input::Complaint(error))),
            Incoming::Result { id, data, wrote } => self.settle(&id, Ok(Output { data, wrote })),
            Incoming::Error { id: Some(id), error } => self.settle(&id, Err(error)),
            Incoming::Progress { id, data } => {
                let waker = own(&id).and_then(|id| self.calls.progress(id, data));
                self.wakers.extend(waker);
            }
            Incoming::Subscribed { id, topic, position, shared, resumed, state } => {
                let begin = |id| self.subscriptions.begin(id, topic, position, shared, resumed, state);
                self.wakers.extend(own(&id).and_then(begin));
            }
            Incoming::Data { id, data, position } => self.deliver(own(&id), data, position),
            Incoming::Entry { topic, data, position } => {
                self.deliver(self.subscriptions.sharing(&topic), data, Some(position));
            }
            Incoming::Gap { id: Some(id), gap, .. } => {
                let Some(id) = own(&id) else { return Ok(None) };
                let owed = self.subscriptions.gap(id, gap, &mut self.wakers);
                self.pay(id, owed);
            }
            Incoming::Complete { id } => self.complete(own(&id)),
            Incoming::Gap { id: None, .. } | Incoming::Welcome { .. } => {}
            _ => {}
        }
        Ok(None)
    }

    /// Sends a fresh token, on the connection for which it was asked.
    pub(crate) fn authenticate(&mut self, token: &str) {
        self.control(&Outgoing::Authenticate { token: Secret(token) });
    }

    /// Does everything that is due. All received frames were handled before.
    ///
    /// # Errors
    ///
    /// The connection is dead.
    pub(crate) fn handle_time(&mut self, now: Instant) -> Result<(), Cause> {
        while let Some((id, sent)) = self.calls.next_expired(now) {
            self.wakers.extend(self.calls.settle(id, Err(ClientError::timeout())));
            match sent {
                true => self.control(&Outgoing::Cancel { id: &id.to_string() }),
                false => self.queue.remove(id),
            }
        }
        match self.heartbeat.as_mut().map(|heartbeat| heartbeat.check(now)) {
            Some(Silence::Dead) => return Err(Cause::Silent),
            Some(Silence::Long) => self.control(&Outgoing::Ping),
            Some(Silence::Short) | None => {}
        }
        Ok(())
    }

    /// Checks that the server keeps reading.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(crate) fn check_queue(&self) -> Result<(), Cause> {
        match self.queue.is_overfull() {
            true => Err(Cause::Lost("the server has stopped reading".to_owned())),
            false => Ok(()),
        }
    }

    /// Returns the time of the next deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let heartbeat = self.heartbeat.as_ref().map(Heartbeat::next_deadline);
        [self.calls.next_deadline(), heartbeat].into_iter().flatten().min()
    }

    /// Returns the next frame to send.
    pub(crate) fn take_frame(&mut self, now: Instant) -> Option<Message> {
        loop {
            let (id, frame) = self.queue.pop()?;
            let message = match frame {
                Frame::Call => self.calls.send(self.format, id, now),
                Frame::Subscribe => self.subscriptions.send(self.format, id, &mut self.wakers),
                Frame::Data(message) | Frame::Control(message) => Some(message),
            };
            let Some(message) = message else { continue };
            match self.check_size(&message) {
                Ok(()) => return Some(message),
                Err(error) => self.fail_unsent(id, error),
            }
        }
    }

    fn check_size(&self, message: &Message) -> Result {
        let bytes = message.as_bytes().len();
        match bytes as u64 > self.message_bytes {
            true => Err(ClientError::too_large(bytes, self.message_bytes)),
            false => Ok(()),
        }
    }

    /// Ends what waited for a connection, and turned out to be too large for it.
    fn fail_unsent(&mut self, id: u64, error: ClientError) {
        if self.subscriptions.contains(id) {
            self.wakers.extend(self.subscriptions.end(id, Some(error)));
        } else if self.calls.contains(id) {
            self.wakers.extend(self.calls.settle(id, Err(error)));
        } else {
            tracing::warn!(%error, "an event or message is not sent");
        }
    }

    /// Those who are to be woken after the session's lock is gone.
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    fn settle(&mut self, id: &str, result: Result<Output, Error>) {
        let Some(id) = own(id) else { return };
        match result {
            Err(error) if self.subscriptions.contains(id) => {
                self.wakers.extend(self.subscriptions.end(id, Some(ClientError::remote(error))));
            }
            result => self.wakers.extend(self.calls.settle(id, result.map_err(ClientError::remote))),
        }
    }

    fn deliver(&mut self, id: Option<u64>, data: Payload, position: Option<Position>) {
        let Some(id) = id else { return };
        let owed = self.subscriptions.item(id, data, position, &mut self.wakers);
        self.pay(id, owed);
    }

    fn pay(&mut self, id: u64, owed: Owed) {
        match owed {
            Owed::Nothing => {}
            Owed::Credit => self.grant(id),
            Owed::Unsubscribe => self.control(&Outgoing::Unsubscribe { id: &id.to_string() }),
        }
    }

    fn complete(&mut self, id: Option<u64>) {
        let Some(id) = id else { return };
        if self.subscriptions.rejoin(id) {
            self.queue.insert(id, Frame::Subscribe, 0);
        } else {
            self.wakers.extend(self.subscriptions.end(id, None));
        }
    }

    fn control(&mut self, frame: &Outgoing<'_>) {
        if matches!(self.phase, Phase::Open) {
            let key = self.next();
            self.queue.insert(key, Frame::Control(frame.encode(self.format)), 0);
        }
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Returns the number in an id of this client.
fn own(id: &str) -> Option<u64> {
    let number = id.parse().ok()?;
    // "+1" and "01" parse too, but were never sent.
    (id == u64::to_string(&number)).then_some(number)
}

#[cfg(test)]
mod tests;
