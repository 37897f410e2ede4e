//! The application's requests to a session.

use super::{
    Answer, Delivery, Phase, Request, Session,
    queue::{Frame, Refusal},
};
use crate::{
    error::{ClientError, Result},
    mailbox::Mailbox,
};
use realtime_protocol::{
    Error, Position,
    client::{Outgoing, Payload},
};
use std::sync::Arc;

impl Session {
    /// Makes a call, now or once connected.
    ///
    /// # Errors
    ///
    /// The client is closed, or the queue is full.
    pub(crate) fn call(&mut self, request: Request) -> Result<(u64, Arc<Mailbox<Answer>>)> {
        let cost = request.path.len() + request.input.as_bytes().len() + OVERHEAD;
        self.admit(cost)?;
        let id = self.next();
        self.queue.insert(id, Frame::Call, cost);
        Ok((id, self.calls.add(id, request)))
    }

    /// Drops a call whose caller is gone.
    pub(crate) fn drop_call(&mut self, id: u64) {
        match self.calls.drop_call(id) {
            Some(true) => self.control(&Outgoing::Cancel { id: &id.to_string() }),
            Some(false) => self.queue.remove(id),
            None => {}
        }
    }

    /// Starts a subscription, now or once connected.
    ///
    /// # Errors
    ///
    /// The client is closed.
    pub(crate) fn subscribe(
        &mut self,
        path: String,
        input: Payload,
        after: Option<Position>,
    ) -> Result<(u64, Arc<Mailbox<Delivery>>)> {
        self.check_open()?;
        let id = self.next();
        self.queue.insert(id, Frame::Subscribe, 0);
        Ok((id, self.subscriptions.add(id, path, input, after)))
    }

    /// Drops a subscription whose reader is gone.
    pub(crate) fn drop_subscription(&mut self, id: u64) {
        match self.subscriptions.drop_subscription(id) {
            Some(true) => self.control(&Outgoing::Unsubscribe { id: &id.to_string() }),
            Some(false) => self.queue.remove(id),
            None => {}
        }
    }

    /// Grants the server more items, after the reader has taken some.
    pub(crate) fn grant(&mut self, id: u64) {
        if let Some(more) = self.subscriptions.grant(id) {
            self.control(&Outgoing::Credit { id: &id.to_string(), more });
        }
    }

    /// Sends an event or message, now or once connected.
    ///
    /// # Errors
    ///
    /// The client is closed, nothing more may wait, or the server takes no message as large as this.
    pub(crate) fn send(&mut self, frame: &Outgoing<'_>) -> Result {
        let message = frame.encode(self.format);
        self.check_size(&message)?;
        let cost = message.as_bytes().len() + OVERHEAD;
        self.admit(cost)?;
        let key = self.next();
        self.queue.insert(key, Frame::Data(message), cost);
        Ok(())
    }

    /// Answers a call of the server, which must have arrived on the current connection.
    pub(crate) fn answer(&mut self, id: &str, result: Result<Payload, Error>) {
        let encode = |result: &Result<Payload, Error>| match result {
            Ok(data) => Outgoing::Result { id, data }.encode(self.format),
            Err(error) => Outgoing::Error { id, error }.encode(self.format),
        };
        let message = encode(&result);
        let message = match self.check_size(&message) {
            Ok(()) => message,
            Err(error) => encode(&Err(error.into_error())),
        };
        let key = self.next();
        let cost = message.as_bytes().len() + OVERHEAD;
        self.queue.insert(key, Frame::Control(message), cost);
    }

    fn admit(&mut self, cost: usize) -> Result {
        self.check_open()?;
        let online = matches!(self.phase, Phase::Open);
        let dropped = self.queue.admit(cost, online).map_err(|refusal| match refusal {
            Refusal::Full => ClientError::full(),
            Refusal::Off => ClientError::offline(),
        })?;
        for id in dropped {
            self.wakers.extend(self.calls.settle(id, Err(ClientError::full())));
        }
        Ok(())
    }

    fn check_open(&self) -> Result {
        match &self.phase {
            Phase::Closed(cause) => Err(ClientError::closed(cause)),
            Phase::Offline | Phase::Open => Ok(()),
        }
    }
}

/// The size of a frame without its values, in bytes.
const OVERHEAD: usize = 64;
