use super::{FEEDS, server::Change};
use crate::follower::{Follower, Record};
use realtime_client::{Client, Position, Reconnect, Subscription, Update};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub(crate) const CHANGES: Subscription<usize, Change> = Subscription::new("changes");
/// Begins with a state for one that cannot go on.
pub(crate) const STATE: Subscription<usize, Change> = Subscription::new("state");

/// The entries of one log that a client has received: those behind `from`, up to `to`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// The record of what a client has received and was told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Book {
    /// The logs that it has followed, in order, by their epochs.
    pub(crate) spans: Vec<(String, Span)>,
    pub(crate) twice: u64,
    pub(crate) disordered: u64,
    pub(crate) diverged: u64,
    pub(crate) states: u64,
    /// States that came in the place of another log's rest.
    pub(crate) restated: u64,
    pub(crate) wrong: Vec<String>,
}

impl Book {
    fn begin(&mut self, position: &Position) {
        if self.spans.last().is_none_or(|(epoch, _)| *epoch != position.epoch) {
            let span = Span { from: position.offset, to: position.offset };
            self.spans.push((position.epoch.clone(), span));
        }
    }

    fn take(&mut self, change: &Change, position: &Position) {
        let lives = self.spans.len() as u64;
        let Some((epoch, span)) = self.spans.last_mut() else { return self.note("an item before the beginning") };
        if *epoch != position.epoch {
            return self.note("an item of another log");
        }
        if let Change::Whole(number) = change {
            self.states += 1;
            self.restated += u64::from(lives > 1);
            if *number < position.offset {
                self.note("a state that is older than its position");
            }
            return;
        }
        match position.offset.checked_sub(span.to) {
            Some(1) => span.to += 1,
            None | Some(0) => self.twice += 1,
            Some(_) => self.disordered += 1,
        }
        if *change != Change::Next(position.offset) {
            self.note("an entry of another place");
        }
    }
}

impl Record for Book {
    type Entry = Change;

    fn apply(&mut self, update: Update<Change>) {
        match update {
            Update::Begun { position, .. } => self.begin(&position),
            Update::Item { value, position: Some(position) } => self.take(&value, &position),
            Update::Item { .. } => self.note("an item without a position"),
            Update::Gap(gap) if gap.cause == "diverged" && gap.count == 0 => self.diverged += 1,
            Update::Gap(gap) => self.note(&format!("a gap: {gap:?}")),
        }
    }

    fn note(&mut self, what: &str) {
        self.wrong.push(format!("{what}: {:?}", self.spans.last()));
    }
}

/// A client that follows one feed.
pub(crate) struct Reader(Follower<Book>);

impl Reader {
    pub(crate) fn start(url: &str, number: usize) -> Self {
        let client = connect(url);
        let subscription = if (number / FEEDS).is_multiple_of(2) { CHANGES } else { STATE };
        let updates = client.subscribe(subscription, number % FEEDS);
        Self(Follower::start(client, updates, Book::default()))
    }

    /// The number of logs that it has followed.
    pub(crate) fn lives(&self) -> usize {
        self.0.book().spans.len()
    }

    /// Returns true if it has all of the log that it follows.
    pub(crate) fn has(&self, ends: &[(String, u64)]) -> bool {
        let book = self.0.book();
        let Some((epoch, span)) = book.spans.last() else { return false };
        ends.iter().all(|(known, end)| known != epoch || span.to >= *end)
    }

    pub(crate) async fn stop(self) -> Book {
        self.0.stop().await
    }
}

pub(crate) fn connect(url: &str) -> Client {
    let reconnect = Reconnect::default().between(Duration::from_millis(20), Duration::from_millis(300));
    Client::builder(url).reconnect(reconnect).connect()
}
