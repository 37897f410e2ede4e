use crate::{inbox::Inbox, names::Names, record, state::State, wanted::Wanted};
use bytes::Bytes;
use realtime_core::{
    Result,
    broker::{Arrival, Publication, Source},
};
use redis::{PushInfo, PushKind, Value};
use std::sync::Arc;

/// The way of what a subscribing connection brings into the inbox.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) names: Arc<Names>,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) health: Arc<Health>,
    reign: Arc<str>,
}

/// What can be wrong with what comes in.
#[derive(Debug)]
pub(crate) struct Health {
    slow: State,
    strange: State,
}

impl Push {
    pub(crate) fn new(inbox: Arc<Inbox>, names: Arc<Names>, wanted: Arc<Wanted>) -> Self {
        let slow = State::new("receiving from Redis");
        let health = Arc::new(Health { slow, strange: State::new("reading messages from Redis") });
        Self { inbox, names, wanted, health, reign: "".into() }
    }

    /// Names the reign of the server that the connection is to.
    pub(crate) fn of_reign(mut self, reign: String) -> Self {
        self.reign = reign.into();
        self
    }

    /// Takes what a connection brought. Returns false if the connection is of no more use.
    pub(crate) fn handle(&self, said: PushInfo) -> bool {
        match said.kind {
            PushKind::Message | PushKind::SMessage => self.deliver(said.data),
            // A cluster ends subscriptions whose slot has moved.
            PushKind::SUnsubscribe => return !self.is_wanted(&said.data),
            _ => {}
        }
        true
    }

    fn deliver(&self, data: Vec<Value>) {
        let Ok([Value::BulkString(channel), Value::BulkString(message)]) = <[Value; 2]>::try_from(data) else {
            return;
        };
        let Some((of, topic)) = str::from_utf8(&channel).ok().and_then(|channel| self.names.read_channel(channel))
        else {
            return;
        };
        let bytes = message.len();
        match self.read(of, topic, message.into()) {
            Ok(arrival) => {
                if self.inbox.push(arrival, bytes) {
                    self.health.slow.good();
                } else {
                    self.health.slow.bad("slow", "too much waits for the node, so it has missed something");
                }
            }
            Err(error) => self.health.strange.bad("strange", &format!("{topic}: {}", error.message())),
        }
    }

    fn read(&self, of: Source, topic: &str, message: Bytes) -> Result<Arrival> {
        match of {
            Source::Topic => Publication::decode(&message).map(Arrival::Publication),
            Source::Log => record::read(topic, &self.reign, &message).map(Arrival::Record),
        }
    }

    fn is_wanted(&self, data: &[Value]) -> bool {
        let Some(Value::BulkString(channel)) = data.first() else { return false };
        let named = str::from_utf8(channel).ok().and_then(|channel| self.names.read_channel(channel));
        named.is_some_and(|(of, topic)| self.wanted.contains(self.names.partition(topic), of, topic))
    }
}
