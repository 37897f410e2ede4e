use crate::api::{
    ACTIVITY, ADD, Add, CHANGES, CLEAR, CONFIRM, CURRENT, Card, Change, Column, Current, Entry, MOVE, Move,
    PEOPLE, POINT, Person, Point,
};
use realtime_core::{Call, Code, Connected, ConnectionId, Described, Endpoint, Error, Feed, Log, Result, Topic};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The cards, and who looks at them.
#[derive(Debug)]
pub struct Board {
    /// Locked while a change is appended to its feed: the order of the changes is that in which they were made, and the
    /// cards fit to their position.
    cards: tokio::sync::Mutex<Cards>,
    people: Mutex<People>,
}

#[derive(Debug, Default)]
struct Cards {
    list: Vec<Card>,
    last_id: u32,
}

#[derive(Debug, Default)]
struct People {
    present: HashMap<ConnectionId, Person>,
    visits: usize,
}

/// The changes, for pages that resume.
const CHANGED: Feed<Change> = Topic::fixed("cards").log(Log::last(1_000));

/// The feed of the deeds and who did them: the last entries of a day.
const DONE: Feed<Entry> =
    Topic::fixed("activity").log(Log::last(ENTRIES).within(Duration::from_secs(24 * 60 * 60)));

/// The entries of the activity that are kept.
const ENTRIES: usize = 30;

/// The cards of a board, at most.
const CARDS: usize = 200;

const NAMES: [&str; 8] = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Tony"];

impl Default for Board {
    /// Creates a board with a few cards.
    fn default() -> Self {
        let mut cards = Cards::default();
        for (title, points, column) in [
            ("Write the invitation", 2, Column::Todo),
            ("Book a room", 3, Column::Todo),
            ("Choose the music", 1, Column::Doing),
            ("Ask the neighbours", 1, Column::Done),
        ] {
            cards.add(title, points, column);
        }
        Self { cards: cards.into(), people: Mutex::default() }
    }
}

impl Board {
    /// Returns the endpoint for pages.
    pub fn endpoint(self) -> Endpoint<Self, Described> {
        Endpoint::described(self)
            .asks(CONFIRM)
            .presence::<Person>("board")
            .on_open(|connected| async move { open(&connected) })
            .on_close(|connected, _| async move {
                connected.state().people().present.remove(&connected.id());
            })
            .on(POINT, |call, at| async move { point(&call, at) })
            .procedure(CURRENT, |call, ()| current(call))
            .procedure(ADD, add)
            .procedure(MOVE, move_card)
            .procedure(CLEAR, |call, ()| clear(call))
            .feed(CHANGES, |_, ()| async { Ok(CHANGED.follow()) })
            .feed(ACTIVITY, |call, ()| async move {
                let kept = call.history(&DONE).last(ENTRIES).await?;
                Ok(if call.after().is_some() { DONE.follow() } else { DONE.follow().after(kept.begin) })
            })
    }

    fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn current(call: Call<Board>) -> Result<Current> {
    let cards = call.state().cards.lock().await;
    Ok(Current { cards: cards.list.clone(), position: call.position(&CHANGED).await? })
}

fn open(connected: &Connected<Board>) -> Result {
    let mut people = connected.state().people();
    let name = NAMES[people.visits % NAMES.len()].to_owned();
    // Far from the hue of the one before.
    let person = Person { name, hue: (people.visits * 137 % 360) as u32, at: None };
    people.visits += 1;
    people.present.insert(connected.id(), person.clone());
    drop(people);
    connected.enter(&PEOPLE, &person)
}

/// Tells all where the pointer of a page is, as a part of its presence: one that opens the board later sees it, too.
fn point(call: &Call<Board>, at: Option<Point>) -> Result {
    let connection = call.connection()?;
    let mut people = call.state().people();
    let Some(person) = people.present.get_mut(&connection.id()) else { return Ok(()) };
    person.at = at;
    let person = person.clone();
    drop(people);
    connection.enter(&PEOPLE, &person)
}

async fn add(call: Call<Board>, add: Add) -> Result<Card> {
    let mut cards = call.state().cards.lock().await;
    if cards.list.len() >= CARDS {
        return Err(Error::new(Code::RESOURCE_EXHAUSTED, "the board is full"));
    }
    let card = cards.add(add.title.trim(), add.points, Column::Todo);
    call.append(&CHANGED, &Change::Added(card.clone())).await?;
    drop(cards);
    note(&call, format!("added “{}”", card.title)).await?;
    Ok(card)
}

async fn move_card(call: Call<Board>, change: Move) -> Result {
    let mut cards = call.state().cards.lock().await;
    let title = cards.move_card(&change)?;
    let what = format!("moved “{title}” to {}", label(change.column));
    call.append(&CHANGED, &Change::Moved(change)).await?;
    drop(cards);
    note(&call, what).await
}

async fn clear(call: Call<Board>) -> Result<usize> {
    let count = call.state().cards.lock().await.done().count();
    if count == 0 {
        return Err(Error::failed_precondition("no card is done"));
    }
    let cards = if count == 1 { "1 card that is".to_owned() } else { format!("{count} cards that are") };
    let question = format!("Remove {cards} done, for everybody?");
    if !call.connection()?.call(CONFIRM, question).await? {
        return Err(Error::new(Code::ABORTED, "the cards were kept"));
    }
    let mut cards = call.state().cards.lock().await;
    let removed: Vec<u32> = cards.done().map(|card| card.id).collect();
    cards.list.retain(|card| card.column != Column::Done);
    for &id in &removed {
        call.append(&CHANGED, &Change::Removed { id }).await?;
    }
    drop(cards);
    note(&call, format!("removed {} done", removed.len())).await?;
    Ok(removed.len())
}

/// Adds an entry of the caller to the activity. One without a connection has no name.
async fn note(call: &Call<Board>, what: String) -> Result {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let name = |id| call.state().people().present.get(&id).map(|person| person.name.clone());
    let who = call.connection_id().and_then(name).unwrap_or_else(|| "Somebody".to_owned());
    call.append(&DONE, &Entry { at, who, what }).await?;
    Ok(())
}

fn label(column: Column) -> &'static str {
    match column {
        Column::Todo => "To do",
        Column::Doing => "Doing",
        Column::Done => "Done",
    }
}

impl Cards {
    fn add(&mut self, title: &str, points: u32, column: Column) -> Card {
        self.last_id += 1;
        let card = Card { id: self.last_id, title: title.to_owned(), points, column };
        self.list.push(card.clone());
        card
    }

    /// Moves a card, and returns its title.
    fn move_card(&mut self, &Move { id, column, before }: &Move) -> Result<String> {
        let at = self.list.iter().position(|card| card.id == id);
        let mut card = self.list.remove(at.ok_or_else(|| Error::not_found("this card is gone"))?);
        card.column = column;
        let title = card.title.clone();
        let place = before.and_then(|before| self.list.iter().position(|card| card.id == before));
        self.list.insert(place.unwrap_or(self.list.len()), card);
        Ok(title)
    }

    fn done(&self) -> impl Iterator<Item = &Card> {
        self.list.iter().filter(|card| card.column == Column::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(cards: &Cards) -> Vec<(u32, Column)> {
        cards.list.iter().map(|card| (card.id, card.column)).collect()
    }

    #[test]
    fn a_card_is_moved_in_front_of_another_or_to_the_end() {
        use Column::{Doing, Done, Todo};
        let mut cards = Board::default().cards.into_inner();
        cards.move_card(&Move { id: 4, column: Todo, before: Some(2) }).expect("it is there");
        assert_eq!(order(&cards), [(1, Todo), (4, Todo), (2, Todo), (3, Doing)]);
        cards.move_card(&Move { id: 1, column: Done, before: Some(9) }).expect("it is there");
        assert_eq!(order(&cards), [(4, Todo), (2, Todo), (3, Doing), (1, Done)]);
        let gone = cards.move_card(&Move { id: 9, column: Done, before: None });
        assert_eq!(gone.expect_err("there is no such card").code(), &Code::NOT_FOUND);
    }

    #[test]
    fn a_change_has_the_form_that_the_page_reads() {
        let change = Change::Moved(Move { id: 4, column: Column::Todo, before: None });
        let json = serde_json::json!({ "type": "moved", "id": 4, "column": "todo", "before": null });
        assert_eq!(serde_json::to_value(change).expect("it is plain data"), json);
    }
}
