use crate::{
    api::{
        ACTIVITY, ADD, Add, CHANGES, CLEAR, CONFIRM, CURRENT, Card, Change, Column, Current, Entry, MOVE, Move,
        PEOPLE, POINT, Person, Point,
    },
    feed::Feed,
};
use realtime_core::{Call, Code, Connected, ConnectionId, Described, Endpoint, Error, Result};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// The cards, who looks at them, and what has happened.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    changes: Feed<Change>,
    activity: Feed<Entry>,
}

#[derive(Debug, Default)]
struct State {
    cards: Vec<Card>,
    last_id: u32,
    people: HashMap<ConnectionId, Person>,
    visits: usize,
}

/// The cards of a board, at most.
const CARDS: usize = 200;

/// The entries of the activity that are kept.
const ENTRIES: usize = 30;

/// The changes that are kept for pages that resume.
const CHANGES_KEPT: usize = 1_000;

const NAMES: [&str; 8] = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Tony"];

impl Board {
    /// Creates a board with a few cards. The epoch must be different after each restart.
    pub fn new(epoch: &str) -> Self {
        let board = Self {
            state: Mutex::default(),
            changes: Feed::new(epoch, CHANGES_KEPT),
            activity: Feed::new(epoch, ENTRIES),
        };
        for (title, points, column) in [
            ("Write the invitation", 2, Column::Todo),
            ("Book a room", 3, Column::Todo),
            ("Choose the music", 1, Column::Doing),
            ("Ask the neighbours", 1, Column::Done),
        ] {
            board.state().add(title, points, column);
        }
        board
    }

    /// Returns the endpoint for pages.
    pub fn endpoint(self) -> Endpoint<Self, Described> {
        Endpoint::described(self)
            .asks(CONFIRM)
            .presence::<Person>("board")
            .on_open(|connected| async move { open(&connected) })
            .on_close(|connected, _| async move {
                connected.state().state().people.remove(&connected.id());
            })
            .on(POINT, |call, at| async move { point(&call, at) })
            .procedure(CURRENT, |call, ()| async move { Ok(call.state().current()) })
            .procedure(ADD, |call, card| async move { add(&call, &card) })
            .procedure(MOVE, |call, change| async move { move_card(&call, change) })
            .procedure(CLEAR, |call, ()| clear(call))
            .subscription(CHANGES, |call, ()| async move {
                let changes = &call.state().changes;
                Ok(changes.after(call.after().cloned().unwrap_or_else(|| changes.position())))
            })
            .subscription(ACTIVITY, |call, ()| async move {
                let activity = &call.state().activity;
                Ok(activity.after(call.after().cloned().unwrap_or_else(|| activity.start())))
            })
    }

    fn current(&self) -> Current {
        let state = self.state();
        Current { cards: state.cards.clone(), position: self.changes.position() }
    }

    fn note(&self, who: String, what: String) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.activity.push(Entry { at, who, what });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(connected: &Connected<Board>) -> Result {
    let mut state = connected.state().state();
    let name = NAMES[state.visits % NAMES.len()].to_owned();
    // Far from the hue of the one before.
    let person = Person { name, hue: (state.visits * 137 % 360) as u32, at: None };
    state.visits += 1;
    state.people.insert(connected.id(), person.clone());
    drop(state);
    connected.enter(&PEOPLE, &person)
}

/// Tells all where the pointer of a page is, as a part of its presence: one that opens the board later sees it, too.
fn point(call: &Call<Board>, at: Option<Point>) -> Result {
    let connection = call.connection()?;
    let mut state = call.state().state();
    let Some(person) = state.people.get_mut(&connection.id()) else { return Ok(()) };
    person.at = at;
    let person = person.clone();
    drop(state);
    connection.enter(&PEOPLE, &person)
}

fn add(call: &Call<Board>, add: &Add) -> Result<Card> {
    let board = call.state();
    let who = name(call);
    let mut state = board.state();
    if state.cards.len() >= CARDS {
        return Err(Error::new(Code::RESOURCE_EXHAUSTED, "the board is full"));
    }
    let card = state.add(add.title.trim(), add.points, Column::Todo);
    // Under the lock: the order of the changes is that in which they were made.
    board.changes.push(Change::Added(card.clone()));
    drop(state);
    board.note(who, format!("added “{}”", card.title));
    Ok(card)
}

fn move_card(call: &Call<Board>, change: Move) -> Result {
    let board = call.state();
    let who = name(call);
    let mut state = board.state();
    let title = state.move_card(&change)?;
    let what = format!("moved “{title}” to {}", label(change.column));
    board.changes.push(Change::Moved(change));
    drop(state);
    board.note(who, what);
    Ok(())
}

async fn clear(call: Call<Board>) -> Result<usize> {
    let count = call.state().state().done().count();
    if count == 0 {
        return Err(Error::failed_precondition("no card is done"));
    }
    let cards = if count == 1 { "1 card that is".to_owned() } else { format!("{count} cards that are") };
    let question = format!("Remove {cards} done, for everybody?");
    if !call.connection()?.call(CONFIRM, question).await? {
        return Err(Error::new(Code::ABORTED, "the cards were kept"));
    }
    let board = call.state();
    let who = name(&call);
    let mut state = board.state();
    let removed: Vec<u32> = state.done().map(|card| card.id).collect();
    state.cards.retain(|card| card.column != Column::Done);
    for &id in &removed {
        board.changes.push(Change::Removed { id });
    }
    drop(state);
    board.note(who, format!("removed {} done", removed.len()));
    Ok(removed.len())
}

/// Returns the name of the caller. One without a connection has none.
fn name(call: &Call<Board>) -> String {
    let id = call.connection_id();
    let state = call.state().state();
    id.and_then(|id| state.people.get(&id)).map_or_else(|| "Somebody".to_owned(), |person| person.name.clone())
}

fn label(column: Column) -> &'static str {
    match column {
        Column::Todo => "To do",
        Column::Doing => "Doing",
        Column::Done => "Done",
    }
}

impl State {
    fn add(&mut self, title: &str, points: u32, column: Column) -> Card {
        self.last_id += 1;
        let card = Card { id: self.last_id, title: title.to_owned(), points, column };
        self.cards.push(card.clone());
        card
    }

    /// Moves a card, and returns its title.
    fn move_card(&mut self, &Move { id, column, before }: &Move) -> Result<String> {
        let at = self.cards.iter().position(|card| card.id == id);
        let mut card = self.cards.remove(at.ok_or_else(|| Error::not_found("this card is gone"))?);
        card.column = column;
        let title = card.title.clone();
        let place = before.and_then(|before| self.cards.iter().position(|card| card.id == before));
        self.cards.insert(place.unwrap_or(self.cards.len()), card);
        Ok(title)
    }

    fn done(&self) -> impl Iterator<Item = &Card> {
        self.cards.iter().filter(|card| card.column == Column::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(board: &Board) -> Vec<(u32, Column)> {
        board.current().cards.iter().map(|card| (card.id, card.column)).collect()
    }

    #[test]
    fn a_card_is_moved_in_front_of_another_or_to_the_end() {
        use Column::{Doing, Done, Todo};
        let board = Board::new("a");
        board.state().move_card(&Move { id: 4, column: Todo, before: Some(2) }).expect("it is there");
        assert_eq!(order(&board), [(1, Todo), (4, Todo), (2, Todo), (3, Doing)]);
        board.state().move_card(&Move { id: 1, column: Done, before: Some(9) }).expect("it is there");
        assert_eq!(order(&board), [(4, Todo), (2, Todo), (3, Doing), (1, Done)]);
        let gone = board.state().move_card(&Move { id: 9, column: Done, before: None });
        assert_eq!(gone.expect_err("there is no such card").code(), &Code::NOT_FOUND);
    }

    #[test]
    fn a_change_has_the_form_that_the_page_reads() {
        let change = Change::Moved(Move { id: 4, column: Column::Todo, before: None });
        let json = serde_json::json!({ "type": "moved", "id": 4, "column": "todo", "before": null });
        assert_eq!(serde_json::to_value(change).expect("it is plain data"), json);
    }
}
