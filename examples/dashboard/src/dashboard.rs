use realtime_core::{
    Described, Endpoint, Feed, Log, Position, Procedure, RateLimit, Realtime, Result, Stats, Subscription, Topic,
    validate::Invalid,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// Returns the current state, with the position after which [`LIVE`] continues.
pub const CURRENT: Procedure<(), Current> = Procedure::query("stats.current");

/// Yields the updates after a position; without one, the updates from now on. The position of a client that resumes
/// takes precedence.
pub const LIVE: Subscription<Option<Position>, Update> = Subscription::new("stats.live");

/// The updates of about five minutes, for clients that resume.
const UPDATES: Feed<Update> = Topic::fixed("dashboard").log(Log::last(300));

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
#[derive(Clone, Debug, Default)]
pub struct Dashboard(
    /// Locked while an update is appended to the feed, so that a state and its position fit together.
    Arc<Mutex<Board>>,
);

#[derive(Debug, Default)]
struct Board {
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

const MAX_TEXT: usize = 200;

impl Dashboard {
    /// Returns the endpoint for pages.
    pub fn endpoint(&self) -> Endpoint<Self, Described> {
        // The guard covers alerts only: a page over its limit still gets the figures.
        let alerts = Endpoint::described(self.clone())
            .guard(RateLimit::new(10, Duration::from_secs(10)).by_peer())
            .procedure(RAISE, |call, raise| async move {
                call.state().raise(&call.realtime(), raise, crate::now()).await
            });
        Endpoint::described(self.clone())
            .procedure(CURRENT, |call, ()| async move { call.state().current(&call.realtime()).await })
            .feed(LIVE, |call, after| async move {
                Ok(match after.filter(|_| call.after().is_none()) {
                    Some(position) => UPDATES.follow().after(position),
                    None => UPDATES.follow(),
                })
            })
            .merge(alerts)
    }

    /// Adds a sample of a server's figures, taken `at` milliseconds since 1970. `calls` is the total number of calls.
    ///
    /// # Errors
    ///
    /// Those of [`Realtime::append`].
    pub async fn sample(&self, realtime: &Realtime, stats: &Stats, calls: u64, at: u64) -> Result {
        let mut board = self.0.lock().await;
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
        realtime.append(&UPDATES, &Update::Sample(sample)).await?;
        Ok(())
    }

    /// Raises an alert, `at` milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// Those of [`Realtime::append`].
    pub async fn raise(&self, realtime: &Realtime, Raise { level, text }: Raise, at: u64) -> Result<Alert> {
        let mut board = self.0.lock().await;
        board.raised += 1;
        let alert = Alert { id: board.raised, at, level, text: text.trim().to_owned() };
        push_back(&mut board.alerts, alert.clone(), ALERTS);
        realtime.append(&UPDATES, &Update::Alert(alert.clone())).await?;
        Ok(alert)
    }

    /// Returns the current state.
    ///
    /// # Errors
    ///
    /// Those of [`Realtime::position`].
    pub async fn current(&self, realtime: &Realtime) -> Result<Current> {
        let board = self.0.lock().await;
        Ok(Current {
            samples: board.samples.iter().cloned().collect(),
            alerts: board.alerts.iter().cloned().collect(),
            position: realtime.position(&UPDATES).await?,
        })
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
