use crate::feed::Feed;
use futures_util::{Stream, stream};
use realtime_core::{
    Endpoint, Item, Overflow, Position, Procedure, RateLimit, Result, Stats, Subscription, validate::Invalid,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// What a page shows first, and after which position it goes on.
pub const CURRENT: Procedure<(), Current> = Procedure::query("stats.current");

/// What happens after a position, or from now on without one. A position with which a client resumes goes first. Of
/// samples only the newest waits for a client that does not keep up; alerts all do.
pub const LIVE: Subscription<Option<Position>, Update> =
    Subscription::new("stats.live").with_overflow(Overflow::conflate(Update::key));

/// Raises an alert on all pages.
pub const RAISE: Procedure<Raise, Alert> = Procedure::new("alerts.raise").with_check(Raise::check);

/// The present state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Current {
    /// The last two minutes, oldest first.
    pub samples: Vec<Sample>,
    /// The last alerts, oldest first.
    pub alerts: Vec<Alert>,
    /// The position of the newest of all these.
    pub position: Position,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Update {
    /// A second has passed.
    Sample(Sample),
    /// Somebody has raised an alert.
    Alert(Alert),
}

/// The figures of one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Connections that are open.
    pub connections: usize,
    /// Calls for each second since the sample before.
    pub calls_per_second: f64,
    /// Messages of publications for each second since the sample before.
    pub messages_per_second: f64,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number.
    pub id: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// How bad it is.
    pub level: Level,
    /// What is the matter.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must look.
    Critical,
}

/// An alert before it is raised.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Raise {
    /// How bad it is.
    pub level: Level,
    /// What is the matter, in 1 to 200 characters.
    pub text: String,
}

/// The figures and alerts of a server. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct Dashboard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    board: Mutex<Board>,
    /// How many updates there were: subscriptions wait for it to change.
    updates: watch::Sender<u64>,
}

#[derive(Debug)]
struct Board {
    feed: Feed<Update>,
    samples: VecDeque<Sample>,
    alerts: VecDeque<Alert>,
    raised: u64,
    before: Option<Counts>,
}

/// The counts from which a rate is taken.
#[derive(Clone, Copy, Debug)]
struct Counts {
    at: u64,
    calls: u64,
    messages: u64,
}

/// Seconds that a page shows.
const SAMPLES: usize = 120;

/// Alerts that a page shows.
const ALERTS: usize = 20;

/// Updates that a client may have missed: five minutes.
const UPDATES: usize = 300;

const MAX_TEXT: usize = 200;

impl Dashboard {
    /// An empty dashboard. Its updates are counted within `epoch`, which must be another after each restart.
    pub fn new(epoch: impl Into<String>) -> Self {
        let board = Board {
            feed: Feed::new(epoch.into(), UPDATES),
            samples: VecDeque::new(),
            alerts: VecDeque::new(),
            raised: 0,
            before: None,
        };
        Self(Arc::new(Shared { board: Mutex::new(board), updates: watch::Sender::new(0) }))
    }

    /// What pages ask for.
    pub fn endpoint(&self) -> Endpoint<Self> {
        // A guard of its own: whoever raises too many alerts still sees the figures.
        let alerts = Endpoint::new(self.clone())
            .guard(RateLimit::new(10, Duration::from_secs(10)).by_peer())
            .procedure(RAISE, |call, raise| async move { Ok(call.state().raise(raise, crate::now())) });
        Endpoint::new(self.clone())
            .procedure(CURRENT, |call, ()| async move { Ok(call.state().current()) })
            .subscription(LIVE, |call, after| async move {
                let after = call.after().cloned().or(after);
                Ok(call.state().clone().live(after))
            })
            .merge(alerts)
    }

    /// Takes the figures of a server, `at` milliseconds since 1970, and tells them to all. `calls` is how many calls
    /// there were in all.
    pub fn sample(&self, stats: &Stats, calls: u64, at: u64) {
        self.update(|board| {
            let counts = Counts { at, calls, messages: stats.delivered };
            let before = board.before.replace(counts).unwrap_or(counts);
            let seconds = at.saturating_sub(before.at) as f64 / 1000.0;
            let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
            let sample = Sample {
                at,
                connections: stats.connections,
                calls_per_second: rate(calls - before.calls),
                messages_per_second: rate(counts.messages - before.messages),
            };
            push_back(&mut board.samples, sample.clone(), SAMPLES);
            board.feed.push(Update::Sample(sample));
        });
    }

    /// Raises an alert, `at` milliseconds since 1970.
    pub fn raise(&self, Raise { level, text }: Raise, at: u64) -> Alert {
        self.update(|board| {
            board.raised += 1;
            let alert = Alert { id: board.raised, at, level, text: text.trim().to_owned() };
            push_back(&mut board.alerts, alert.clone(), ALERTS);
            board.feed.push(Update::Alert(alert.clone()));
            alert
        })
    }

    /// The present state.
    pub fn current(&self) -> Current {
        let board = self.board();
        Current {
            samples: board.samples.iter().cloned().collect(),
            alerts: board.alerts.iter().cloned().collect(),
            position: board.feed.position(),
        }
    }

    /// The updates after a position, or those from now on.
    fn live(self, after: Option<Position>) -> impl Stream<Item = Item<Update>> + Send + 'static {
        let updates = self.0.updates.subscribe();
        let after = after.unwrap_or_else(|| self.board().feed.position());
        stream::unfold((self, updates, after), |(dashboard, mut updates, after)| async move {
            loop {
                updates.mark_unchanged();
                let next = dashboard.board().feed.after(&after);
                if let Some((update, position, gap)) = next {
                    let event = update.event();
                    let item = Item::new(update).with_position(position.clone()).with_event(event);
                    let item = if let Some(gap) = gap { item.with_gap(gap) } else { item };
                    return Some((item, (dashboard, updates, position)));
                }
                // The sender is the dashboard's, which is held here.
                updates.changed().await.ok()?;
            }
        })
    }

    fn update<T>(&self, change: impl FnOnce(&mut Board) -> T) -> T {
        let changed = change(&mut self.board());
        self.0.updates.send_modify(|updates| *updates += 1);
        changed
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Update {
    /// The name of its server-sent event.
    fn event(&self) -> &'static str {
        match self {
            Self::Sample(_) => "sample",
            Self::Alert(_) => "alert",
        }
    }

    /// Updates with one key replace each other while they wait.
    fn key(&self) -> String {
        match self {
            Self::Sample(_) => "sample".to_owned(),
            Self::Alert(alert) => format!("alert {}", alert.id),
        }
    }
}

impl Raise {
    fn check(&self) -> Result {
        let mut invalid = Invalid::new();
        match self.text.trim().chars().count() {
            0 => invalid.push("text", "is empty"),
            len if len > MAX_TEXT => {
                invalid.push("text", format!("has {len} characters, and {MAX_TEXT} are allowed"));
            }
            _ => {}
        }
        invalid.into_result()
    }
}

fn push_back<T>(values: &mut VecDeque<T>, value: T, limit: usize) {
    values.push_back(value);
    if values.len() > limit {
        values.pop_front();
    }
}
