//! The server of `docs/delivery.md`.

use realtime_core::{Call, Endpoint, Feed, Log, Position, Procedure, Realtime, Result, Subscription, Topic};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub const NEWS: Feed<String> = Topic::fixed("news").log(Log::last(1000).within(Duration::from_secs(3600)));
pub const STORIES: Subscription<(), String> = Subscription::new("stories");
pub const PUBLISH: Procedure<String, ()> = Procedure::new("publish");

fn news() -> Endpoint<()> {
    Endpoint::new(()).feed(STORIES, |_, ()| async { Ok(NEWS.follow()) }).procedure(PUBLISH, publish)
}

async fn publish(call: Call<()>, story: String) -> Result {
    call.append(&NEWS, &story).await?;
    Ok(())
}

pub const RECENT: Subscription<(), String> = Subscription::new("recent");

fn recent() -> Endpoint<()> {
    Endpoint::new(()).feed(RECENT, |call, ()| async move {
        let newest = call.history(&NEWS).last(50).await?;
        // A client that comes back goes on where it was; a new one begins 50 entries before the end.
        Ok(if call.after().is_some() { NEWS.follow() } else { NEWS.follow().after(newest.begin) })
    })
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    Whole(Vec<String>),
    Set { line: usize, to: String },
}

const TEXT: Feed<Change> = Topic::fixed("text").log(Log::last(1000));
pub const CHANGES: Subscription<(), Change> = Subscription::new("changes");
pub const SET: Procedure<(usize, String), ()> = Procedure::new("set").with_check(Lines::check);

async fn set(call: Call<Lines>, (line, to): (usize, String)) -> Result {
    call.state().all()[line].clone_from(&to); // first the state, then the log
    call.append(&TEXT, &Change::Set { line, to }).await?;
    Ok(())
}

fn text() -> Endpoint<Lines> {
    Endpoint::new(Lines::default()).procedure(SET, set).feed(CHANGES, |call, ()| async move {
        let whole = move || async move { Ok(Change::Whole(call.state().all().clone())) };
        Ok(TEXT.follow().or_begin_with(whole))
    })
}

/// Returns the position from which a handler sends a client the news.
pub async fn begin(realtime: &Realtime, seen: Option<Position>) -> Result<Position> {
    let newest = realtime.history(&NEWS).last(50).await?;
    Ok(seen.filter(|seen| seen.epoch == newest.end.epoch).unwrap_or(newest.begin))
}

pub struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check((line, _): &(usize, String)) -> Result {
        if *line < 3 { Ok(()) } else { Err(realtime_core::Error::invalid_argument("there are three lines")) }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self(Mutex::new(vec![String::new(); 3]))
    }
}

pub fn realtime() -> Realtime {
    Realtime::builder().endpoint("news", news().merge(recent())).endpoint("text", text()).build()
}
