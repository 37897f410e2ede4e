use realtime_core::{
    Close, Connection, ConnectionId, Error, Feed, Handler, Log, Position, Presence, Result, Topic,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The input of a connection: the room to join, a name, and where the client was.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Join {
    /// The room.
    pub room: String,
    /// The person's name.
    pub name: String,
    /// The position of the last message that the client has, if it was in the room before. A browser's `EventSource`
    /// has it in `Last-Event-ID` instead.
    pub after: Option<Position>,
}

/// A message from a client.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Say {
    /// Posts a message.
    Say {
        /// The text, 1 to 2000 characters.
        text: String,
    },
    /// Starts or stops typing.
    Typing {
        /// True when typing starts.
        active: bool,
    },
}

/// A message to a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The state of the room; the first message to a client. The list of people follows, by the event `presence`.
    Present {
        /// The person who receives this.
        you: Person,
        /// The topic of the room; empty if none is set.
        topic: String,
        /// The position behind which the posted messages follow: the client's own, or the one before the last 50. Its
        /// epoch is another one after a restart.
        after: Position,
        /// The position of the newest posted message: a client that has it has the history.
        newest: Position,
    },
    /// Somebody posted a message, now or before the client joined; sent to its author too. It has a position.
    Said {
        /// The message.
        message: Posted,
    },
    /// Somebody else started or stopped typing.
    Typing {
        /// The person.
        person: Person,
        /// True when typing started.
        active: bool,
    },
}

/// A person in a room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// The id of the connection, because two people may have the same name.
    pub id: String,
    /// The name.
    pub name: String,
}

/// A posted message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Posted {
    /// The author.
    pub person: Person,
    /// The text.
    pub text: String,
    /// The time, in milliseconds since 1970.
    pub at: u64,
}

/// The chat with all its rooms. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Chat {
    rooms: Arc<Mutex<HashMap<String, Room>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Those who are connected to this node, with their names as they are now.
    pub(crate) people: Vec<(ConnectionId, Person)>,
    pub(crate) topic: String,
}

/// The number of messages that a newcomer is shown.
const HISTORY: usize = 50;

/// The messages that are kept for clients that come back: a thousand of a day.
const KEPT: Log = Log::last(1000).within(Duration::from_secs(24 * 60 * 60));

/// The maximum number of rooms. Clients choose their names, so there has to be a bound.
const ROOMS: usize = 1000;

pub(crate) const MAX_NAME: usize = 32;
const MAX_ROOM: usize = 64;
const MAX_TEXT: usize = 2000;

impl Handler for Chat {
    type Input = Join;
    type ClientMessage = Say;
    type ServerMessage = Event;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        let Join { room, name, .. } = connection.input();
        check("name", name, MAX_NAME)?;
        check("room", room, MAX_ROOM)?;
        let person = Person { id: connection.id().to_string(), name: name.trim().to_owned() };

        let said = said(room);
        let history = connection.realtime().history(&said).last(HISTORY).await?;
        // One of another log is from before a restart: what the new log has is all new to the client.
        let has = last_seen(connection).filter(|position| position.epoch == history.end.epoch);
        let after = has.unwrap_or(history.begin);

        self.enter(connection, person, after.clone(), history.end)?;
        connection.follow(&said, Some(&after)).await.map(|_| ())
    }

    async fn on_message(&self, connection: &Connection<Self>, message: Say) -> Result {
        let room = &connection.input().room;
        let person = self.rooms().get(room).and_then(|here| here.person(connection)).cloned();
        let person = person.ok_or_else(not_here)?;
        let text = match message {
            Say::Say { text } => text,
            Say::Typing { active } => {
                return connection.to(&topic(room)).others().send(&Event::Typing { person, active });
            }
        };
        let text = text.trim();
        check("text", text, MAX_TEXT)?;
        let message = Posted { person, text: text.to_owned(), at: now() };
        connection.append(&said(room), &Event::Said { message }).await?;
        Ok(())
    }

    async fn on_close(&self, connection: &Connection<Self>, _: Close) {
        let room = &connection.input().room;
        let mut rooms = self.rooms();
        let Some(here) = rooms.get_mut(room) else { return };
        let Some(at) = here.people.iter().position(|(id, _)| *id == connection.id()) else { return };
        here.people.remove(at);
    }
}

impl Chat {
    /// Adds a person to the room, and to its list of people on all nodes. All who are in it are told.
    fn enter(&self, connection: &Connection<Self>, person: Person, after: Position, newest: Position) -> Result {
        let room = &connection.input().room;
        let mut rooms = self.rooms();
        if rooms.len() >= ROOMS && !rooms.contains_key(room) {
            rooms.retain(|_, room| !room.people.is_empty());
            if rooms.len() >= ROOMS {
                return Err(Error::resource_exhausted("there are too many rooms"));
            }
        }
        let here = rooms.entry(room.clone()).or_default();
        let name = person.name.clone();
        here.people.push((connection.id(), person.clone()));
        connection.send(Event::Present { you: person, topic: here.topic.clone(), after, newest })?;
        connection.subscribe(&topic(room))?;
        connection.enter(&people(room), &name)
    }

    pub(crate) fn rooms(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn person(&self, connection: &Connection<Chat>) -> Option<&Person> {
        self.people.iter().find(|(id, _)| *id == connection.id()).map(|(_, person)| person)
    }
}

/// Returns the last position that the client has seen, if it was in the room before.
fn last_seen(connection: &Connection<Chat>) -> Option<Position> {
    let id = || connection.context().header("last-event-id")?.parse().ok();
    connection.input().after.clone().or_else(id)
}

/// Returns the messages of a room.
fn said(room: &str) -> Feed<Event> {
    Topic::new(format!("chat:{room}")).log(KEPT)
}

/// Returns the people in a room, on all nodes, by their names.
pub(crate) fn people(room: &str) -> Presence<String> {
    Presence::new(format!("chat:{room}"))
}

/// Returns the topic of what is for those only who are in a room now, such as who is typing.
pub(crate) fn topic(room: &str) -> Topic<Event> {
    Topic::new(format!("chat:{room}"))
}

pub(crate) fn not_here() -> Error {
    Error::failed_precondition("you are not in the room")
}

/// Checks that a text is not empty and has at most `max` characters (not bytes).
pub(crate) fn check(what: &str, text: &str, max: usize) -> Result {
    match text.trim().chars().count() {
        0 => Err(Error::invalid_argument(format!("the {what} is empty"))),
        len if len > max => {
            Err(Error::invalid_argument(format!("the {what} has {len} characters, and {max} are allowed")))
        }
        _ => Ok(()),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
