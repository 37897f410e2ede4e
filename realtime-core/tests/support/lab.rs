//! The endpoint under test: what it runs waits at gates, and notes what becomes of it.

use futures_core::Stream;
use realtime_core::{
    AnyConnection, Call, ConnectionId, Endpoint, Error, Event, Item, Overflow, Position, Procedure, Result,
    Subscription,
};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use std::{
    collections::HashMap,
    future::poll_fn,
    panic::resume_unwind,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The work of a call.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The number of gates that it waits at, one after the other.
    pub(crate) gates: u32,
    /// It tells its progress before each of them.
    pub(crate) progress: bool,
    pub(crate) then: Then,
    /// It panics where it is dropped before its end.
    pub(crate) fragile: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Then {
    Answer,
    /// Answers with so many bytes.
    Large(usize),
    Unserialisable,
    Fail,
    Panic,
    /// Calls the client, and answers with what it said.
    Ask,
}

/// The work of a subscription: it yields the numbers from 0, or from behind the position that the client has seen.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Feed {
    pub(crate) count: u32,
    /// Each item waits for a gate, and the end too.
    pub(crate) gated: bool,
    /// It waits at a gate before there is a stream.
    pub(crate) late: bool,
    pub(crate) positions: bool,
    /// Bytes beside the number.
    pub(crate) padding: usize,
    pub(crate) end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Complete,
    Fail,
    Panic,
    /// Another item, that does not serialise.
    Unserialisable,
    Never,
}

/// The work of handling an event.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Shout {
    pub(crate) gated: bool,
    pub(crate) fails: bool,
}

/// The fate of the items that a client does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Block,
    DropOldest,
    Conflate,
    Close,
}

pub(crate) const JOB: Procedure<(u32, Job), Output> =
    Procedure::new("job").with_timeout(Duration::from_millis(JOB_MS));
pub(crate) const BRIEF: Procedure<(u32, Job), Output> =
    Procedure::new("brief").with_timeout(Duration::from_millis(BRIEF_MS));
/// The procedure that the client implements.
pub(crate) const CONFIRM: Procedure<u32, bool> =
    Procedure::new("confirm").with_timeout(Duration::from_millis(CONFIRM_MS));
const SHOUT: Event<(u32, Shout)> = Event::new("SHOUT");
const BLOCK: Subscription<(u32, Feed), Beat> = Subscription::new("block");
const DROP_OLDEST: Subscription<(u32, Feed), Beat> =
    Subscription::new("drop_oldest").with_overflow(Overflow::drop_oldest(KEPT as usize));
const CONFLATE: Subscription<(u32, Feed), Beat> =
    Subscription::new("conflate").with_overflow(Overflow::conflate(|beat| key(beat.number).to_string()));
const CLOSE: Subscription<(u32, Feed), Beat> = Subscription::new("close").with_overflow(Overflow::close());

pub(crate) const JOB_MS: u64 = 3000;
pub(crate) const BRIEF_MS: u64 = 600;
pub(crate) const CONFIRM_MS: u64 = 1000;
/// Items that wait for a client that does not keep up.
pub(crate) const KEPT: u64 = 3;
pub(crate) const EPOCH: &str = "e";

/// Which items replace each other: three keys in no regular order, so that the oldest is seldom the one replaced.
pub(crate) fn key(number: u64) -> u32 {
    number.count_ones() % 3
}

/// The log of all runs: each is noted under the number that it was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lab(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Milliseconds.
    pub(crate) now: u64,
    pub(crate) runs: Vec<Run>,
    /// For each time that a connection has ended: what still ran then.
    pub(crate) closed: HashMap<ConnectionId, Vec<Vec<u32>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) started: u32,
    /// Futures and streams that exist.
    pub(crate) alive: u32,
    /// It came to its own end.
    pub(crate) finished: bool,
    /// The number of times that a gate was opened for it.
    pub(crate) opened: u64,
    passed: u64,
    waiting: Option<Waker>,
    /// The progress that it has told.
    pub(crate) told: Vec<u32>,
    /// Items that its stream has yielded.
    pub(crate) yielded: u64,
    /// When it called the client.
    pub(crate) asked: Option<u64>,
    /// The results of those, and when they came.
    pub(crate) settled: Vec<(Result<bool, String>, u64)>,
    pub(crate) call: Option<Call<Lab>>,
}

impl Lab {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap()
    }

    /// The number of the next run.
    pub(crate) fn add(&self) -> u32 {
        let mut notes = self.lock();
        notes.runs.push(Run::default());
        notes.runs.len() as u32 - 1
    }

    /// Opens gates for a run.
    pub(crate) fn open(&self, n: u32, gates: u64) {
        let waiting = self.with(n, |run| {
            run.opened += gates;
            run.waiting.take()
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn with<T>(&self, n: u32, look: impl FnOnce(&mut Run) -> T) -> T {
        look(&mut self.lock().runs[n as usize])
    }

    /// Lets go of the calls of all runs.
    pub(crate) fn forget(&self) {
        // The calls hold the endpoint's state, and so this.
        let calls: Vec<_> = self.lock().runs.iter_mut().map(|run| run.call.take()).collect();
        drop(calls);
    }

    /// Calls the client and notes what came of it.
    async fn ask(&self, connection: &AnyConnection, n: u32) -> Result<bool> {
        let now = self.lock().now;
        self.with(n, |run| run.asked = Some(now));
        let answer = connection.call(CONFIRM, n).await;
        let now = self.lock().now;
        let noted = answer.as_ref().copied().map_err(|error| error.code().as_str().to_owned());
        self.with(n, |run| run.settled.push((noted, now)));
        answer
    }

    /// As [`ask`](Self::ask), by no call of the client's.
    pub(crate) async fn ask_alone(self, connection: AnyConnection, n: u32) {
        let alive = self.begin(n, None, false);
        // What came of it is noted.
        let _ = self.ask(&connection, n).await;
        alive.finish();
    }

    fn begin(&self, n: u32, call: Option<&Call<Self>>, fragile: bool) -> Alive {
        self.with(n, |run| {
            run.started += 1;
            run.alive += 1;
            run.call = call.cloned();
        });
        Alive { lab: self.clone(), n, fragile, finished: false }
    }

    fn poll_gate(&self, n: u32, cx: &Context<'_>) -> Poll<()> {
        self.with(n, |run| {
            if run.passed < run.opened {
                run.passed += 1;
                return Poll::Ready(());
            }
            run.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
    }
}

pub(crate) fn endpoint(lab: &Lab) -> Endpoint<Lab> {
    Endpoint::new(lab.clone())
        .procedure(JOB, work)
        .procedure(BRIEF, work)
        .subscription(BLOCK, feed)
        .subscription(DROP_OLDEST, feed)
        .subscription(CONFLATE, feed)
        .subscription(CLOSE, feed)
        .on(SHOUT, shout)
        .on_close(|connected, _| async move {
            let id = connected.id();
            let mut notes = connected.state().lock();
            let of_this = |run: &Run| run.call.as_ref().and_then(Call::connection_id) == Some(id);
            let left: Vec<u32> =
                (0..).zip(&notes.runs).filter(|(_, run)| run.alive > 0 && of_this(run)).map(|(n, _)| n).collect();
            notes.closed.entry(id).or_default().push(left);
        })
}

async fn work(call: Call<Lab>, (n, job): (u32, Job)) -> Result<Output> {
    let lab = call.state().clone();
    let alive = lab.begin(n, Some(&call), job.fragile);
    for gate in 0..job.gates {
        if job.progress && call.progress(&gate).is_ok() {
            lab.with(n, |run| run.told.push(gate));
        }
        poll_fn(|cx| lab.poll_gate(n, cx)).await;
    }
    let outcome = match job.then {
        Then::Answer => Ok(Output::Number(n)),
        Then::Large(bytes) => Ok(Output::Text("x".repeat(bytes))),
        Then::Unserialisable => Ok(Output::Unserialisable),
        Then::Fail => Err(failure()),
        Then::Panic => {
            alive.finish();
            panic_on_purpose();
        }
        Then::Ask => lab.ask(&call.connection()?, n).await.map(Output::Said),
    };
    alive.finish();
    outcome
}

async fn feed(call: Call<Lab>, (n, feed): (u32, Feed)) -> Result<Beats> {
    let lab = call.state().clone();
    let alive = lab.begin(n, Some(&call), false);
    if feed.late {
        poll_fn(|cx| lab.poll_gate(n, cx)).await;
    }
    let from = call.after().filter(|after| after.epoch == EPOCH).map_or(0, |after| after.offset + 1);
    Ok(Beats { lab, n, feed, from, at: 0, alive: Some(alive) })
}

async fn shout(call: Call<Lab>, (n, shout): (u32, Shout)) -> Result {
    let lab = call.state().clone();
    let alive = lab.begin(n, Some(&call), false);
    if shout.gated {
        poll_fn(|cx| lab.poll_gate(n, cx)).await;
    }
    alive.finish();
    if shout.fails { Err(failure()) } else { Ok(()) }
}

fn failure() -> Error {
    Error::new("TEAPOT", "failed on purpose").with_details(serde_json::json!({ "short": true }))
}

/// Without the panic's message and backtrace among the test's output.
fn panic_on_purpose() -> ! {
    resume_unwind(Box::new("on purpose"))
}

/// Lives as long as the future or stream that holds it.
struct Alive {
    lab: Lab,
    n: u32,
    fragile: bool,
    finished: bool,
}

impl Alive {
    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.lab.with(self.n, |run| {
            run.alive -= 1;
            run.finished |= self.finished;
        });
        if self.fragile && !self.finished {
            panic_on_purpose();
        }
    }
}

/// The answer of a call.
#[derive(Debug)]
pub(crate) enum Output {
    Number(u32),
    Text(String),
    Said(bool),
    Unserialisable,
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Said(said) => serializer.serialize_bool(*said),
            Self::Unserialisable => Err(S::Error::custom("on purpose")),
        }
    }
}

/// One item of a subscription.
#[derive(Debug)]
pub(crate) struct Beat {
    number: u64,
    padding: usize,
    serialises: bool,
}

impl Serialize for Beat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.serialises {
            return Err(S::Error::custom("on purpose"));
        }
        (self.number, "x".repeat(self.padding)).serialize(serializer)
    }
}

struct Beats {
    lab: Lab,
    n: u32,
    feed: Feed,
    from: u64,
    at: u32,
    alive: Option<Alive>,
}

impl Stream for Beats {
    type Item = Result<Item<Beat>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let feed = self.feed;
        let over = self.at == feed.count;
        if over && feed.end == End::Never {
            return Poll::Pending;
        }
        if feed.gated && self.lab.poll_gate(self.n, cx).is_pending() {
            return Poll::Pending;
        }
        let number = self.from + u64::from(self.at);
        let beat = |serialises| Item::new(Beat { number, padding: feed.padding, serialises });
        if !over {
            self.at += 1;
            self.lab.with(self.n, |run| run.yielded += 1);
            let item = beat(true);
            let item = if feed.positions { item.with_position(Position::new(EPOCH, number)) } else { item };
            return Poll::Ready(Some(Ok(item)));
        }
        self.alive.take().into_iter().for_each(Alive::finish);
        match feed.end {
            End::Complete | End::Never => Poll::Ready(None),
            End::Fail => Poll::Ready(Some(Err(failure()))),
            End::Panic => panic_on_purpose(),
            End::Unserialisable => Poll::Ready(Some(Ok(beat(false)))),
        }
    }
}
