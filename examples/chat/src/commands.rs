use crate::chat::{Chat, MAX_NAME, Person, Room, check, not_here, people, topic};
use realtime_core::{Call, Connection, Described, Endpoint, Error, Event, Procedure, RateLimit, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `/who`: lists the people in the room.
pub const MEMBERS: Procedure<(), Vec<Person>> = Procedure::query("members");

/// `/nick`: changes the caller's name.
pub const RENAME: Procedure<String, Person> =
    Procedure::new("rename").with_check(|name| check("name", name, MAX_NAME));

/// `/topic`: sets the topic of the room; an empty text removes it.
pub const SET_TOPIC: Procedure<String, String> =
    Procedure::new("set_topic").with_check(|text| match text.trim() {
        "" => Ok(()),
        text => check("topic", text, MAX_TOPIC),
    });

/// `/roll`: rolls a die with 2 to 1000 sides.
pub const ROLL: Procedure<u32, Rolled> = Procedure::new("roll").with_check(|sides| match sides {
    2..=1000 => Ok(()),
    _ => Err(Error::invalid_argument(format!("a die has 2 to 1000 sides, and not {sides}"))),
});

/// Somebody changed their name.
pub const RENAMED: Event<Renamed> = Event::new("renamed");

/// The topic of the room changed.
pub const TOPIC_CHANGED: Event<TopicChanged> = Event::new("topic_changed");

/// Somebody rolled a die.
pub const ROLLED: Event<Rolled> = Event::new("rolled");

/// The data of [`RENAMED`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Renamed {
    /// The person, with the new name.
    pub person: Person,
    /// The old name.
    pub before: String,
}

/// The data of [`TOPIC_CHANGED`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TopicChanged {
    /// The person who set it.
    pub person: Person,
    /// The topic; empty if it was removed.
    pub topic: String,
}

/// The result of [`ROLL`], and the data of [`ROLLED`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rolled {
    /// The person who rolled.
    pub person: Person,
    /// The number of sides.
    pub sides: u32,
    /// The side that came up, 1 to `sides`.
    pub result: u32,
}

const MAX_TOPIC: usize = 120;

impl Chat {
    /// Returns the commands as procedures. They need the connection of a person in a room.
    pub fn endpoint(&self) -> Endpoint<Self, Described> {
        Endpoint::described(self.clone())
            .guard(RateLimit::new(2, Duration::from_secs(1)).with_burst(10))
            .procedure(MEMBERS, members)
            .procedure(RENAME, rename)
            .procedure(SET_TOPIC, set_topic)
            .procedure(ROLL, roll)
            .presence::<String>("chat")
            .emits(RENAMED)
            .emits(TOPIC_CHANGED)
            .emits(ROLLED)
    }
}

async fn members(call: Call<Chat>, (): ()) -> Result<Vec<Person>> {
    let room = in_room(&call, |_, _, connection| Ok(connection.input().room.clone()))?;
    let present = call.realtime().present(&people(&room)).into_iter();
    Ok(present.map(|present| Person { id: present.connection.to_string(), name: present.data }).collect())
}

async fn rename(call: Call<Chat>, name: String) -> Result<Person> {
    in_room(&call, |here, at, connection| {
        let person = &mut here.people[at].1;
        let before = std::mem::replace(&mut person.name, name.trim().to_owned());
        let person = person.clone();
        if person.name != before {
            connection.enter(&people(&connection.input().room), &person.name)?;
            tell(connection, RENAMED, &Renamed { person: person.clone(), before })?;
        }
        Ok(person)
    })
}

async fn set_topic(call: Call<Chat>, text: String) -> Result<String> {
    in_room(&call, |here, at, connection| {
        here.topic = text.trim().to_owned();
        let changed = TopicChanged { person: here.people[at].1.clone(), topic: here.topic.clone() };
        tell(connection, TOPIC_CHANGED, &changed)?;
        Ok(changed.topic)
    })
}

async fn roll(call: Call<Chat>, sides: u32) -> Result<Rolled> {
    in_room(&call, |here, at, connection| {
        let rolled = Rolled { person: here.people[at].1.clone(), sides, result: fastrand::u32(1..=sides) };
        tell(connection, ROLLED, &rolled)?;
        Ok(rolled)
    })
}

/// Runs `act` on the room of the caller, with the caller's index in `people`. The rooms are locked meanwhile, so that
/// all clients receive changes in the same order.
fn in_room<T>(call: &Call<Chat>, act: impl FnOnce(&mut Room, usize, &Connection<Chat>) -> Result<T>) -> Result<T> {
    let connection = call.connection()?.downcast::<Chat>().ok_or_else(not_here)?;
    let mut rooms = call.state().rooms();
    let here = rooms.get_mut(&connection.input().room).ok_or_else(not_here)?;
    let at = here.people.iter().position(|(id, _)| *id == connection.id()).ok_or_else(not_here)?;
    act(here, at, &connection)
}

/// Emits an event to everybody in the room, the caller included.
fn tell<D: Serialize + Sync + 'static>(connection: &Connection<Chat>, event: Event<D>, data: &D) -> Result {
    connection.to(&topic(&connection.input().room)).emit(event, data)
}
