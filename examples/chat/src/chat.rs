use realtime_core::{Close, Connection, ConnectionId, Error, Handler, Result, Topic};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// What a person gives to join.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Join {
    /// The room.
    pub room: String,
    /// The person's name.
    pub name: String,
}

/// What a person does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Say {
    /// Says something.
    Say {
        /// The words.
        text: String,
    },
    /// Begins to type, or stops.
    Typing {
        /// Which of the two.
        active: bool,
    },
}

/// What a person is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// What was said before: first of all.
    History {
        /// The last messages, oldest first.
        messages: Vec<Posted>,
    },
    /// Who is here: second.
    Present {
        /// The person who is told.
        you: Person,
        /// All of them, in the order in which they came.
        people: Vec<Person>,
        /// What the room is about; empty, if nobody has said it.
        topic: String,
    },
    /// Somebody came.
    Joined {
        /// Who.
        person: Person,
    },
    /// Somebody went.
    Left {
        /// Who.
        person: Person,
    },
    /// Somebody said something; its author is told as well.
    Said {
        /// What.
        message: Posted,
    },
    /// Somebody else begins to type, or stops.
    Typing {
        /// Who.
        person: Person,
        /// Which of the two.
        active: bool,
    },
}

/// Somebody who is here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// The id of the connection: two people may have the same name.
    pub id: String,
    /// The name.
    pub name: String,
}

/// A message that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posted {
    /// Its number in the room.
    pub id: String,
    /// Who said it.
    pub person: Person,
    /// The words.
    pub text: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// The chat: all rooms. A clone is another handle to the same.
#[derive(Clone, Debug, Default)]
pub struct Chat {
    rooms: Arc<Mutex<HashMap<String, Room>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) people: Vec<(ConnectionId, Person)>,
    pub(crate) topic: String,
    history: VecDeque<Posted>,
    posted: u64,
}

/// Messages that a newcomer is shown.
const HISTORY: usize = 50;

/// Rooms that are remembered: clients choose their names, so there must be an end.
const ROOMS: usize = 1000;

pub(crate) const MAX_NAME: usize = 32;
const MAX_ROOM: usize = 64;
const MAX_TEXT: usize = 2000;

impl Handler for Chat {
    type Input = Join;
    type ClientMessage = Say;
    type ServerMessage = Event;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        let Join { room, name } = connection.input();
        check("name", name, MAX_NAME)?;
        check("room", room, MAX_ROOM)?;
        let person = Person { id: connection.id().to_string(), name: name.trim().to_owned() };

        // One lock from the list to the subscription: nothing is said in between.
        let mut rooms = self.rooms();
        if rooms.len() >= ROOMS && !rooms.contains_key(room) {
            rooms.retain(|_, room| !room.people.is_empty());
            if rooms.len() >= ROOMS {
                return Err(Error::resource_exhausted("there are too many rooms"));
            }
        }
        let here = rooms.entry(room.clone()).or_default();
        here.people.push((connection.id(), person.clone()));
        connection.send(Event::History { messages: here.history.iter().cloned().collect() })?;
        let people = here.people.iter().map(|(_, person)| person.clone()).collect();
        connection.send(Event::Present { you: person.clone(), people, topic: here.topic.clone() })?;
        connection.subscribe(&topic(room))?;
        connection.to(&topic(room)).others().send(&Event::Joined { person })
    }

    async fn on_message(&self, connection: &Connection<Self>, message: Say) -> Result {
        let room = &connection.input().room;
        let text = match message {
            Say::Say { text } => text,
            Say::Typing { active } => {
                let person = self.rooms().get(room).and_then(|here| here.person(connection)).cloned();
                let person = person.ok_or_else(not_here)?;
                return connection.to(&topic(room)).others().send(&Event::Typing { person, active });
            }
        };
        let text = text.trim();
        check("text", text, MAX_TEXT)?;

        let mut rooms = self.rooms();
        let here = rooms.get_mut(room).ok_or_else(not_here)?;
        let person = here.person(connection).cloned().ok_or_else(not_here)?;
        here.posted += 1;
        let message = Posted { id: here.posted.to_string(), person, text: text.to_owned(), at: now() };
        here.history.push_back(message.clone());
        if here.history.len() > HISTORY {
            here.history.pop_front();
        }
        connection.to(&topic(room)).send(&Event::Said { message })
    }

    async fn on_close(&self, connection: &Connection<Self>, _: Close) {
        let room = &connection.input().room;
        let mut rooms = self.rooms();
        let Some(here) = rooms.get_mut(room) else { return };
        let Some(at) = here.people.iter().position(|(id, _)| *id == connection.id()) else { return };
        let (_, person) = here.people.remove(at);
        // Everybody else may be gone as well: then there is nobody to tell.
        let _ = connection.to(&topic(room)).others().send(&Event::Left { person });
    }
}

impl Chat {
    pub(crate) fn rooms(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn person(&self, connection: &Connection<Chat>) -> Option<&Person> {
        self.people.iter().find(|(id, _)| *id == connection.id()).map(|(_, person)| person)
    }
}

/// What everybody in a room is subscribed to.
pub(crate) fn topic(room: &str) -> Topic<Event> {
    Topic::new(format!("chat:{room}"))
}

pub(crate) fn not_here() -> Error {
    Error::failed_precondition("you are not in the room")
}

/// Counts characters as people do, near enough, and not bytes.
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
