//! The servers that ereo's guide on real-time writes by hand: a socket with messages of its own, and a stream of events.

use crate::now;
use realtime_core::{Close, Connection, Event, Handler, Mount, Realtime, Result, Topic};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

struct Socket;

const ALL: Topic<FromServer> = Topic::fixed("guide");

/// Any fields, which the others are sent.
#[derive(Serialize, Deserialize)]
struct FromClient {
    #[serde(default, skip_serializing_if = "Value::is_null")]
    id: Value,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum FromServer {
    UserJoined {
        user_id: String,
    },
    UserLeft {
        user_id: String,
    },
    Ack {
        id: Value,
    },
    Message {
        user_id: String,
        #[serde(flatten)]
        message: FromClient,
    },
}

impl Handler for Socket {
    type Input = ();
    type ClientMessage = FromClient;
    type ServerMessage = FromServer;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&ALL)?;
        connection.to(&ALL).send(&FromServer::UserJoined { user_id: connection.id().to_string() })
    }

    async fn on_message(&self, connection: &Connection<Self>, mut message: FromClient) -> Result {
        connection.send(FromServer::Ack { id: message.id.clone() })?;
        // A client does not choose who it is.
        message.fields.retain(|name, _| name != "type" && name != "userId");
        let user_id = connection.id().to_string();
        connection.to(&ALL).others().send(&FromServer::Message { user_id, message })
    }

    async fn on_close(&self, connection: &Connection<Self>, _: Close) {
        let left = FromServer::UserLeft { user_id: connection.id().to_string() };
        // It has left the topic; without other members nobody hears it.
        let _ = connection.to(&ALL).send(&left);
    }
}

/// Mounts the socket at `/api/ws`.
pub fn socket() -> Mount {
    Socket.plain().at("/api/ws")
}

struct Ticks;

const TICKS: Topic<Tick> = Topic::fixed("ticks");
const NOTIFICATION: Event<Tick> = Event::new("notification");

/// A message of the event stream.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tick {
    time: u64,
    message: String,
}

impl Handler for Ticks {
    type Input = ();
    type ClientMessage = ();
    type ServerMessage = Tick;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&TICKS)
    }

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

/// Mounts the stream at `/api/events`, for an `EventSource`.
pub fn ticks() -> Mount {
    Ticks.plain().at("/api/events")
}

/// Publishes a tick, and an event with a name.
pub fn tick(realtime: &Realtime) {
    let tick = Tick { time: now(), message: "Server tick".into() };
    // Both are small, and always serialise.
    let _ = realtime.to(&TICKS).send(&tick).and_then(|()| realtime.to(&TICKS).emit(NOTIFICATION, &tick));
}
