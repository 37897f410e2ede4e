use crate::feed::Feed;
use futures_util::{Stream, stream};
use realtime_core::{
    Described, Endpoint, Item, Overflow, Position, Procedure, RateLimit, Result, Stats, Subscription,
    validate::Invalid,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// Returns the current state, with the position after which [`LIVE`] continues.
pub const CURRENT: Procedure<(), Current> = Procedure::query("stats.current");

/// Yields the updates after a position; without one, the updates from now on. The position of a client that resumes
/// takes precedence. A client that falls behind receives only the newest sample, but every alert.
pub const LIVE: Subscription<Option<Position>, Update> =
    Subscription::new("stats.live").with_overflow(Overflow::conflate(Update::key));

/// Raises an alert on all pages.
pub const RAISE: Procedure<Raise, Alert> = Procedure::new("alerts.raise").with_check(Raise::check);

/// The current state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Current {
    /// The samples of the last two minutes, oldest first.
    pub samples: Vec<Sample>,
    /// The last 20 alerts, oldest first.
    pub alerts: Vec<Alert>,
    /// The position of the newest update.
    pub position: Position,
}

/// An item of [`LIVE`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Update {
    /// The figures of the last second.
    Sample(Sample),
    /// An alert was raised.
    Alert(Alert),
}

/// The figures of one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// The time, in milliseconds since 1970.
    pub at: u64,
    /// The number of open connections.
    pub connections: usize,
    /// Calls per second since the last sample.
    pub calls_per_second: f64,
    /// Published messages delivered per second since the last sample.
    pub messages_per_second: f64,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// The number of the alert, from 1.
    pub id: u64,
    /// The time, in milliseconds since 1970.
    pub at: u64,
    /// The severity.
    pub level: Level,
    /// The text.
    pub text: String,
}

/// The severity of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// For information.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must look.
    Critical,
}

/// The input of [`RAISE`].
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Raise {
    /// The severity.
    pub level: Level,
    /// The text, 1 to 200 characters.
    pub text: String,
}

/// The figures and alerts of a server. Clones share them.
#[derive(Clone, Debug)]
pub struct Dashboard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    board: Mutex<Board>,
    /// The number of updates so far. Subscriptions wait for it to change.
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

/// Counts at the time of a sample, from which rates are computed.
#[derive(Clone, Copy, Debug)]
struct Counts {
    at: u64,
    calls: u64,
    messages: u64,
}

/// The number of samples on a page, one per second.
const SAMPLES: usize = 120;

/// The number of alerts on a page.
const ALERTS: usize = 20;

/// The number of updates kept for clients that resume: about five minutes.
const UPDATES: usize = 300;

const MAX_TEXT: usize = 200;

impl Dashboard {
    /// Creates an empty dashboard. The `epoch` of its positions must be different after each restart.
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

    /// Returns the endpoint for pages.
    pub fn endpoint(&self) -> Endpoint<Self, Described> {
        // The guard covers alerts only: a page over its limit still gets the figures.
        let alerts = Endpoint::described(self.clone())
            .guard(RateLimit::new(10, Duration::from_secs(10)).by_peer())
            .procedure(RAISE, |call, raise| async move { Ok(call.state().raise(raise, crate::now())) });
        Endpoint::described(self.clone())
            .procedure(CURRENT, |call, ()| async move { Ok(call.state().current()) })
            .subscription(LIVE, |call, after| async move {
                let after = call.after().cloned().or(after);
                Ok(call.state().clone().live(after))
            })
            .merge(alerts)
    }

    /// Adds a sample of a server's figures, taken `at` milliseconds since 1970. `calls` is the total number of calls.
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

    /// Returns the current state.
    pub fn current(&self) -> Current {
        let board = self.board();
        Current {
            samples: board.samples.iter().cloned().collect(),
            alerts: board.alerts.iter().cloned().collect(),
            position: board.feed.position(),
        }
    }

    /// Streams the updates after a position, or from now on.
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
                // Never fails: the sender belongs to the dashboard, which this stream holds.
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
    /// Returns the name of the server-sent event.
    fn event(&self) -> &'static str {
        match self {
            Self::Sample(_) => "sample",
            Self::Alert(_) => "alert",
        }
    }

    /// Returns the key for `Overflow::conflate`: one for all samples, one for each alert.
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
