//! The names and types that the server and the page share. `web/src/api.ts` is generated from them.

use realtime_core::{Event, Position, Presence, Procedure, Result, Subscription, validate::Invalid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Returns the cards, with the position after which [`CHANGES`] continues.
pub const CURRENT: Procedure<(), Current> = Procedure::query("board.current");

/// Yields what happens to the cards, after a position or from now on.
pub const CHANGES: Subscription<(), Change> = Subscription::new("board.changes");

/// Yields who did what: the last entries, then each new one.
pub const ACTIVITY: Subscription<(), Entry> = Subscription::new("board.activity");

/// Adds a card at the end of the first column.
pub const ADD: Procedure<Add, Card> = Procedure::new("cards.add").with_check(Add::check);

/// Moves a card to the end of a column, or in front of another card.
pub const MOVE: Procedure<Move, ()> = Procedure::new("cards.move");

/// Removes all cards that are done, if the caller [confirms](CONFIRM); returns their number.
pub const CLEAR: Procedure<(), usize> = Procedure::new("cards.clear");

/// Asks the person at a page a yes-or-no question. The server calls it.
pub const CONFIRM: Procedure<String, bool> = Procedure::new("confirm");

/// The pointer of a page has moved.
pub const POINT: Event<Option<Point>> = Event::new("point");

/// Those who look at the board.
pub const PEOPLE: Presence<Person> = Presence::fixed("board");

/// The state of the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Current {
    /// The cards, in their order.
    pub cards: Vec<Card>,
    /// The position of the last change.
    pub position: Position,
}

/// A card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Card {
    /// The number of the card, from 1.
    pub id: u32,
    /// The title, 1 to 60 characters.
    pub title: String,
    /// The estimated effort, 1 to 13.
    pub points: u32,
    /// Where it is.
    pub column: Column,
}

/// A column of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// Nobody works on it.
    Todo,
    /// Somebody does.
    Doing,
    /// It is done.
    Done,
}

/// An item of [`CHANGES`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// A card was added at the end.
    Added(Card),
    /// A card was moved.
    Moved(Move),
    /// A card was removed.
    Removed {
        /// The card.
        id: u32,
    },
}

/// An item of [`ACTIVITY`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// The time, in milliseconds since 1970.
    pub at: u64,
    /// The name of the person.
    pub who: String,
    /// The deed, in words.
    pub what: String,
}

/// The input of [`ADD`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Add {
    /// The title.
    pub title: String,
    /// The estimated effort.
    pub points: u32,
}

/// The input of [`MOVE`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Move {
    /// The card.
    pub id: u32,
    /// The column to move it to.
    pub column: Column,
    /// The card in front of which it is put; at the end of the column without one.
    pub before: Option<u32>,
}

/// A place on the page, in parts of the board's width and height.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// From the left.
    pub x: f64,
    /// From the top.
    pub y: f64,
}

/// Somebody who looks at the board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// A name that the server gave them.
    pub name: String,
    /// The hue of their color, in degrees.
    pub hue: u32,
    /// Where their pointer is, if it is over the board.
    pub at: Option<Point>,
}

impl Add {
    fn check(&self) -> Result {
        let mut invalid = Invalid::new();
        match self.title.trim().chars().count() {
            0 => invalid.push("title", "A card needs a title"),
            length if length > 60 => invalid.push("title", format!("60 characters at most; these are {length}")),
            _ => {}
        }
        if !(1..=13).contains(&self.points) {
            invalid.push("points", "Between 1 and 13 points");
        }
        invalid.into_result()
    }
}
