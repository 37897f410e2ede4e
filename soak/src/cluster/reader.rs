use crate::follower::{Follower, Record};
use realtime_client::{Client, Position, Reconnect, Subscription, Update};
use std::time::Duration;

pub(crate) const CHANGES: Subscription<usize, u64> = Subscription::new("changes");

/// The name of a log that nobody has appended to.
const NONE: &str = "0";

/// The entries of one log that a client has received: those behind `from`, in order.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) log: String,
    pub(crate) from: u64,
    pub(crate) entries: Vec<u64>,
}

impl Span {
    /// Returns the offset of the last one.
    pub(crate) fn to(&self) -> u64 {
        self.from + self.entries.len() as u64
    }
}

/// The record of what a client has received and was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) feed: usize,
    /// The logs that it has followed, in order.
    pub(crate) spans: Vec<Span>,
    pub(crate) resumed: u64,
    pub(crate) diverged: u64,
    pub(crate) twice: u64,
    pub(crate) disordered: u64,
    pub(crate) wrong: Vec<String>,
}

/// Returns the name of the log of a position. The rest of the epoch changes with each start of Redis.
pub(crate) fn log_of(position: &Position) -> &str {
    position.epoch.split_once('.').map_or(&position.epoch, |(log, _)| log)
}

impl Record for Book {
    type Entry = u64;

    fn apply(&mut self, update: Update<u64>) {
        match update {
            Update::Begun { position, resumed } => self.begin(&position, resumed),
            Update::Item { value, position: Some(position) } => self.take(value, &position),
            Update::Item { .. } => self.note("an entry without a position"),
            Update::Gap(gap) if gap.cause == "diverged" && gap.count == 0 => self.diverged += 1,
            Update::Gap(gap) => self.note(&format!("{gap:?}")),
        }
    }

    fn note(&mut self, what: &str) {
        let last = self.spans.last().map(|span| (&span.log, span.from, span.to()));
        self.wrong.push(format!("feed {}: {what}, where the client has {last:?}", self.feed));
    }
}

impl Book {
    fn begin(&mut self, position: &Position, resumed: Option<bool>) {
        let log = log_of(position);
        if resumed != Some(true) {
            self.spans.push(Span { log: log.to_owned(), from: position.offset, entries: Vec::new() });
            return;
        }
        self.resumed += 1;
        self.know(log);
        let goes_on = self.spans.last().is_some_and(|span| span.log == log && span.to() == position.offset);
        if !goes_on {
            self.note(&format!("resumed at {position}"));
        }
    }

    fn take(&mut self, entry: u64, position: &Position) {
        self.know(log_of(position));
        let Some(span) = self.spans.last_mut() else { return self.note("an entry before the beginning") };
        if span.log != log_of(position) {
            return self.note(&format!("an entry of another log at {position}"));
        }
        match position.offset.checked_sub(span.to()) {
            Some(1) => span.entries.push(entry),
            None | Some(0) => self.twice += 1,
            Some(_) => self.disordered += 1,
        }
    }

    /// Notes the name of a log that did not exist when the client began.
    fn know(&mut self, log: &str) {
        if let Some(span) = self.spans.last_mut().filter(|span| span.log == NONE && span.to() == 0) {
            log.clone_into(&mut span.log);
        }
    }
}

/// A client that follows one feed.
pub(crate) struct Reader(Follower<Book>);

impl Reader {
    pub(crate) fn start(port: u16, feed: usize) -> Self {
        let client = connect(port);
        let updates = client.subscribe(CHANGES, feed);
        Self(Follower::start(client, updates, Book { feed, ..Book::default() }))
    }

    /// Returns true if it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        !self.0.book().spans.is_empty()
    }

    /// Returns true if it has the last entry of its feed.
    pub(crate) fn has(&self, ends: &[Position]) -> bool {
        let book = self.0.book();
        let end = &ends[book.feed];
        book.spans.last().is_some_and(|span| span.log == log_of(end) && span.to() >= end.offset)
    }

    pub(crate) async fn stop(self) -> Book {
        self.0.stop().await
    }
}

/// Connects to a node, and notices soon when it stands still.
pub(crate) fn connect(port: u16) -> Client {
    let reconnect = Reconnect::default().between(Duration::from_millis(20), Duration::from_millis(300));
    let second = Duration::from_secs(1);
    let url = format!("ws://127.0.0.1:{port}/__realtime/feeds");
    Client::builder(url).reconnect(reconnect).heartbeat(second, second).connect()
}
