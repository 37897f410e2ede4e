//! A model of what a client may see of its calls and subscriptions: one state for each id, fed with the frames that
//! come and compared with what has become of the futures and streams.

use crate::{
    lab::{CONFIRM_MS, EPOCH, End, Feed, Job, KEPT, Lab, Policy, Shout, Then, key},
    node::Link,
};
use adapter_testing::TestFrame;
use realtime_core::{Config, websocket::Opcode};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

pub(crate) type Checked<T = ()> = Result<T, String>;

macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}
pub(crate) use ensure;

/// The limits under which the cases run: small, so that they are reached.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.outbox_bytes = OUTBOX_BYTES;
    config.calls_per_connection = CALLS;
    config.subscriptions_per_connection = SUBSCRIPTIONS;
    // Often, so that what is idle is freed often; nobody answers them.
    config.ping_interval = std::time::Duration::from_secs(2);
    config.idle_timeout = std::time::Duration::from_secs(100_000);
    config
}

pub(crate) const OUTBOX_BYTES: usize = 8 * 1024;
pub(crate) const CALLS: usize = 4;
pub(crate) const SUBSCRIPTIONS: usize = 4;

/// One client while it is connected.
pub(crate) struct Client {
    pub(crate) link: Link,
    /// It does not read all that it is sent.
    pub(crate) stalled: bool,
    /// It sends several frames at once: nothing is sent between them.
    pub(crate) pressed: bool,
    /// Either side has begun to close, or the connection is cut: nothing more is owed to the client.
    pub(crate) ended: bool,
    /// The requests under each id that are not over for the client, in their order.
    entries: HashMap<String, VecDeque<Entry>>,
    /// Errors without an id that are to come, by their codes.
    loose: Vec<&'static str>,
    pub(crate) pongs: usize,
    events: VecDeque<(u32, Shout)>,
    /// Calls of the server's that the client has seen.
    asked: HashMap<String, Asked>,
    pub(crate) close: Option<(u16, String)>,
    /// The last position of a subscription that is resumed.
    pub(crate) seen: Option<u64>,
}

/// A request under an id.
struct Entry {
    n: u32,
    what: What,
    at: u64,
    may: May,
    started: bool,
    fate: Option<Fate>,
    /// The fates that were asked for when it may have been over already.
    perhaps: Vec<Fate>,
    progress: usize,
    /// It has run while the client did not read, or while other frames were handled in the same turn.
    was_pressed: bool,
    /// Something was sent for it, and what has come of that is not known yet.
    fresh: bool,
}

/// The possible first answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct May {
    pub(crate) start: bool,
    pub(crate) duplicate: bool,
    pub(crate) refusals: Vec<&'static str>,
}

pub(crate) enum What {
    Call { job: Job, limit: u64 },
    Subscription(Subscribed),
    Nothing,
}

pub(crate) struct Subscribed {
    pub(crate) feed: Feed,
    pub(crate) policy: Policy,
    pub(crate) credit: Option<u64>,
    /// The number of the first item.
    pub(crate) from: u64,
    /// Its last position is where the client resumes.
    pub(crate) resumes: bool,
    /// Items that came.
    received: u64,
    /// Items of which gaps told.
    missing: u64,
    /// The place of the next item, if none is missing.
    next: u64,
    /// Missing since the last item.
    gap: u64,
    /// The time before which nothing that waits begins.
    floor: u64,
}

/// Why it was ended from without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Cancelled,
    Unsubscribed,
    Late,
    Overflowed,
}

impl Fate {
    fn answer(self) -> &'static str {
        match self {
            Self::Cancelled => "CANCELLED",
            Self::Unsubscribed => "complete",
            Self::Late => "DEADLINE_EXCEEDED",
            Self::Overflowed => "RESOURCE_EXHAUSTED",
        }
    }
}

/// A call of the server's.
struct Asked {
    n: u32,
    cancelled: bool,
}

/// The server's knowledge of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Yes,
    Perhaps,
    No,
}

impl Subscribed {
    pub(crate) fn new(feed: Feed, policy: Policy, credit: Option<u32>, after: Option<u64>, resumes: bool) -> Self {
        Self {
            feed,
            policy,
            credit: credit.map(u64::from),
            from: after.map_or(0, |after| after + 1),
            resumes,
            received: 0,
            missing: 0,
            next: 0,
            gap: 0,
            floor: 0,
        }
    }

    /// Items that its gates have let through.
    fn available(&self, opened: u64) -> u64 {
        u64::from(self.feed.count).min(self.released(opened))
    }

    fn released(&self, opened: u64) -> u64 {
        match (self.feed.late, self.feed.gated) {
            (true, _) if opened == 0 => 0,
            (_, false) => u64::MAX,
            (late, true) => opened - u64::from(late),
        }
    }

    fn has_credit(&self) -> bool {
        self.credit.is_none_or(|credit| self.received < credit)
    }

    /// Its items do not fit into an outbox.
    fn is_too_large(&self) -> bool {
        self.feed.padding > OUTBOX_BYTES
    }

    /// So many at once may be more than streams may have waiting.
    fn is_burst(&self, count: u64) -> bool {
        count as usize * (self.feed.padding + 150) > OUTBOX_BYTES / 4
    }
}

impl Client {
    pub(crate) fn new(link: Link, seen: Option<u64>) -> Self {
        Self {
            link,
            stalled: false,
            pressed: false,
            ended: false,
            entries: HashMap::new(),
            loose: Vec::new(),
            pongs: 0,
            events: VecDeque::new(),
            asked: HashMap::new(),
            close: None,
            seen,
        }
    }

    /// Returns how an id is held, before anything else is sent.
    pub(crate) fn held(&self, lab: &Lab, id: &str) -> Held {
        let held = self.entries.get(id).into_iter().flatten().map(|entry| self.holds(lab, entry));
        held.fold(Held::No, |all, one| match (all, one) {
            (Held::Yes, _) | (_, Held::Yes) => Held::Yes,
            (Held::Perhaps, _) | (_, Held::Perhaps) => Held::Perhaps,
            (Held::No, Held::No) => Held::No,
        })
    }

    fn holds(&self, lab: &Lab, entry: &Entry) -> Held {
        if entry.fate.is_some_and(|fate| fate != Fate::Overflowed) {
            return Held::No;
        }
        if entry.fresh && entry.may.start {
            return Held::Perhaps;
        }
        if !entry.started {
            return Held::No;
        }
        match lab.with(entry.n, |run| run.alive) {
            0 if self.stalled => Held::Perhaps,
            _ => Held::Yes,
        }
    }

    /// The calls or subscriptions that run at least, and at most.
    pub(crate) fn running(&self, lab: &Lab, calls: bool) -> (usize, usize) {
        let of_kind = |entry: &&Entry| match entry.what {
            What::Call { .. } => calls,
            What::Subscription(_) => !calls,
            What::Nothing => false,
        };
        let held = self.entries.values().flatten().filter(of_kind).map(|entry| self.holds(lab, entry));
        held.fold((0, 0), |(least, most), held| match held {
            Held::Yes => (least + 1, most + 1),
            Held::Perhaps => (least, most + 1),
            Held::No => (least, most),
        })
    }

    /// Something was asked under an id.
    pub(crate) fn ask(&mut self, id: &str, n: u32, what: What, now: u64, may: May) {
        let entry = Entry {
            n,
            what,
            at: now,
            may,
            started: false,
            fate: None,
            perhaps: Vec::new(),
            progress: 0,
            was_pressed: self.stalled || self.pressed,
            fresh: true,
        };
        self.entries.entry(id.to_owned()).or_default().push_back(entry);
    }

    /// A cancel is sent.
    pub(crate) fn cancel(&mut self, lab: &Lab, id: &str) {
        self.give_up(lab, id, Fate::Cancelled, |_| true);
    }

    /// An unsubscribe is sent.
    pub(crate) fn unsubscribe(&mut self, lab: &Lab, id: &str) {
        self.give_up(lab, id, Fate::Unsubscribed, |what| matches!(what, What::Subscription(_)));
    }

    fn give_up(&mut self, lab: &Lab, id: &str, fate: Fate, affects: fn(&What) -> bool) {
        let Some(mut entries) = self.entries.remove(id) else { return };
        for entry in entries.iter_mut().filter(|entry| affects(&entry.what)) {
            match self.holds(lab, entry) {
                Held::Yes => entry.fate = Some(fate),
                Held::Perhaps => entry.perhaps.push(fate),
                Held::No => {}
            }
        }
        self.entries.insert(id.to_owned(), entries);
    }

    /// Credit is granted.
    pub(crate) fn grant(&mut self, lab: &Lab, id: &str, more: u32) {
        let Some(mut entries) = self.entries.remove(id) else { return };
        for entry in &mut entries {
            let held = self.holds(lab, entry);
            if let What::Subscription(Subscribed { credit: Some(credit), .. }) = &mut entry.what
                && held != Held::No
            {
                *credit = credit.saturating_add(u64::from(more));
                // With it, it may come to its end before the next frame.
                entry.fresh |= self.pressed;
            }
        }
        self.entries.insert(id.to_owned(), entries);
    }

    /// An error without an id is to come.
    pub(crate) fn expect_loose(&mut self, code: &'static str) {
        self.loose.push(code);
    }

    /// Returns the number of events that wait or are handled.
    pub(crate) fn events(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn shout(&mut self, n: u32, shout: Shout) {
        self.events.push_back((n, shout));
    }

    /// The ids of the server's calls that came, as they came.
    pub(crate) fn asked(&self) -> Vec<(String, u32)> {
        let mut asked: Vec<_> = self.asked.iter().map(|(id, asked)| (id.clone(), asked.n)).collect();
        asked.sort_unstable();
        asked
    }

    /// Finds out what has begun, reads what has come, and says what is wrong with it.
    pub(crate) fn look(&mut self, lab: &Lab) -> Checked {
        self.find_started(lab)?;
        self.find_handled(lab);
        for frame in self.link.take() {
            self.take(lab, &frame).map_err(|wrong| format!("{wrong}; the frame is {:.200}", frame.as_text()))?;
        }
        self.check_events(lab)?;
        let mut entries = std::mem::take(&mut self.entries);
        for (id, entry) in entries.iter_mut().flat_map(|(id, entries)| entries.iter_mut().map(move |e| (id, e))) {
            entry.was_pressed |= self.stalled || self.pressed;
            self.check(lab, entry).map_err(|wrong| format!("{wrong}: run {} as {id:?}", entry.n))?;
        }
        self.entries = entries;
        self.entries.retain(|_, entries| !entries.is_empty());
        if self.ended || self.stalled {
            return Ok(());
        }
        ensure!(self.loose.is_empty(), "no error {:?} came", self.loose);
        ensure!(self.pongs == 0, "{} pongs did not come", self.pongs);
        self.check_asked(lab)
    }

    fn find_started(&mut self, lab: &Lab) -> Checked {
        for entry in self.entries.values_mut().flatten().filter(|entry| entry.fresh) {
            entry.fresh = false;
            let started = lab.with(entry.n, |run| run.started);
            ensure!(started <= 1, "run {} was started {started} times", entry.n);
            entry.started = started == 1;
            if entry.started {
                ensure!(entry.may.start, "run {} was started and is one of {:?}", entry.n, entry.may);
            } else {
                let refused = entry.may.duplicate || !entry.may.refusals.is_empty() || self.ended;
                ensure!(refused, "run {} was not started", entry.n);
            }
        }
        Ok(())
    }

    fn find_handled(&mut self, lab: &Lab) {
        while let Some(&(n, shout)) = self.events.front()
            && lab.with(n, |run| run.finished)
        {
            self.events.pop_front();
            if shout.fails {
                self.loose.push("TEAPOT");
            }
        }
    }

    fn check_events(&self, lab: &Lab) -> Checked {
        for (at, (n, shout)) in self.events.iter().enumerate() {
            let (started, alive, opened) = lab.with(*n, |run| (run.started, run.alive, run.opened));
            let runs = u32::from(at == 0 && !self.ended);
            ensure!(alive == runs, "event {n} at {at}: {alive} futures");
            ensure!(self.ended || started == runs, "event {n} at {at} was started {started} times");
            ensure!(runs == 0 || (shout.gated && opened == 0), "event {n} waits for nothing");
        }
        Ok(())
    }

    fn take(&mut self, lab: &Lab, frame: &TestFrame) -> Checked {
        ensure!(self.close.is_none(), "something after the close frame");
        match frame.opcode {
            Opcode::Ping => return Ok(()),
            Opcode::Close => {
                ensure!(self.ended, "closed with {:?}", frame.as_close());
                self.close = frame.as_close();
                return Ok(());
            }
            Opcode::Text => {}
            other => return Err(format!("a frame of {other:?}")),
        }
        let frame: Value = serde_json::from_slice(&frame.payload).map_err(|error| error.to_string())?;
        let id = frame["id"].as_str();
        match (frame["type"].as_str().unwrap_or_default(), id) {
            ("pong", None) => {
                self.pongs = self.pongs.checked_sub(1).ok_or("a pong too many")?;
                Ok(())
            }
            ("error", None) => self.take_loose(&frame["error"]),
            ("call", Some(id)) => self.take_call(lab, id, &frame),
            ("cancel", Some(id)) => self.take_cancel(lab, id),
            (kind, Some(id)) => {
                let mut entries = self.entries.remove(id).ok_or("of an id that is free")?;
                let taken = self.take_of(lab, &mut entries, kind, &frame);
                self.entries.insert(id.to_owned(), entries);
                taken
            }
            (kind, None) => Err(format!("a {kind:?}")),
        }
    }

    fn take_loose(&mut self, error: &Value) -> Checked {
        let code = error["code"].as_str().unwrap_or_default();
        if code == "DUPLICATE_ID" {
            let entries = error["details"]["id"].as_str().and_then(|id| self.entries.get_mut(id));
            let entries = entries.ok_or("a duplicate of nothing")?;
            let at = entries.iter().position(|entry| !entry.started && entry.may.duplicate);
            entries.remove(at.ok_or("refused as a duplicate")?);
            return Ok(());
        }
        match self.loose.iter().position(|expected| *expected == code) {
            Some(at) => drop(self.loose.swap_remove(at)),
            None => return Err("an error that was not to come".into()),
        }
        Ok(())
    }

    /// A frame of what has an id.
    fn take_of(&mut self, lab: &Lab, entries: &mut VecDeque<Entry>, kind: &str, frame: &Value) -> Checked {
        let entry = entries.front_mut().ok_or("of an id that is free")?;
        let terminal = match kind {
            "result" | "error" | "complete" => true,
            "progress" | "data" | "gap" => false,
            other => return Err(format!("a {other:?}")),
        };
        if !entry.started {
            ensure!(kind == "error", "what was not started gave a {kind:?}");
            let code = frame["error"]["code"].as_str().unwrap_or_default();
            ensure!(entry.may.refusals.contains(&code), "refused, and not with {:?}", entry.may.refusals);
            if code == "RESOURCE_EXHAUSTED" {
                let soon = json!({"retryable": true, "retryAfterMs": 100});
                ensure!(frame["error"]["retryAfterMs"] == soon["retryAfterMs"], "without when to try again");
                ensure!(frame["error"]["retryable"] == soon["retryable"], "not to be tried again");
            }
            entries.pop_front();
            return Ok(());
        }
        if !terminal {
            return match (&mut entry.what, kind) {
                (What::Call { .. }, "progress") => entry.take_progress(lab, frame),
                (What::Subscription(of), "data") => {
                    of.take_data(lab, entry.n, frame)?;
                    if of.resumes {
                        self.seen = frame["offset"].as_u64().or(self.seen);
                    }
                    Ok(())
                }
                (What::Subscription(of), "gap") => of.take_gap(frame),
                _ => Err(format!("a {kind:?} of what gives none")),
            };
        }
        entry.take_last(lab, kind, frame)?;
        let ended = lab.with(entry.n, |run| (run.alive, run.call.clone()));
        let (alive, call) = ended;
        ensure!(alive == 0, "run {} is answered and lives", entry.n);
        let call = call.ok_or("started without a call")?;
        ensure!(call.is_over(), "run {} is answered and not over", entry.n);
        ensure!(call.progress(&99).is_err(), "run {} is answered and tells its progress", entry.n);
        entries.pop_front();
        Ok(())
    }

    /// Checks an entry at a moment at which nothing more happens by itself.
    fn check(&self, lab: &Lab, entry: &mut Entry) -> Checked {
        if !entry.started {
            ensure!(self.stalled || self.ended, "is not answered");
            return Ok(());
        }
        let now = lab.lock().now;
        let (alive, finished, call) = lab.with(entry.n, |run| (run.alive, run.finished, run.call.clone()));
        let over = call.ok_or("started without a call")?.is_over();
        if self.ended || entry.fate.is_some() {
            ensure!(alive == 0, "{:?} and lives", entry.fate);
            let last_waits = !self.ended && entry.fate == Some(Fate::Overflowed);
            ensure!(over || last_waits, "{:?} and not over", entry.fate);
        } else if finished {
            ensure!(alive == 0, "is finished and lives");
        } else if alive == 0 && entry.perhaps.is_empty() {
            entry.fate = Some(entry.why_dropped(lab, now)?);
        } else if alive == 0 {
            ensure!(self.stalled, "was dropped and is not answered");
        } else {
            ensure!(!over, "runs and is over");
            if let What::Call { limit, .. } = entry.what {
                ensure!(now <= entry.at + limit + LATE_MS, "runs {} ms after its begin", now - entry.at);
            }
        }
        if self.stalled || self.ended {
            return Ok(());
        }
        ensure!(entry.fate.is_none(), "{:?} and not answered", entry.fate);
        match &mut entry.what {
            What::Subscription(of) => of.check(lab, entry.n),
            _ => {
                ensure!(!finished, "is finished and not answered");
                Ok(())
            }
        }
    }

    fn take_call(&mut self, lab: &Lab, id: &str, frame: &Value) -> Checked {
        let n = frame["input"].as_u64().ok_or("a call without its input")? as u32;
        let expected = json!({"type": "call", "id": id, "path": "confirm", "input": n, "timeoutMs": CONFIRM_MS});
        ensure!(*frame == expected, "instead of {expected}");
        ensure!(lab.with(n, |run| run.asked.is_some()), "nobody calls");
        ensure!(self.asked.values().all(|asked| asked.n != n), "called twice");
        ensure!(self.asked.insert(id.to_owned(), Asked { n, cancelled: false }).is_none(), "its id is taken");
        Ok(())
    }

    fn take_cancel(&mut self, lab: &Lab, id: &str) -> Checked {
        let asked = self.asked.get_mut(id).ok_or("a call is cancelled that was not made")?;
        ensure!(!asked.cancelled, "a call is cancelled twice");
        asked.cancelled = true;
        ensure!(is_given_up(lab, asked.n), "a call is cancelled that waits or was answered");
        Ok(())
    }

    fn check_asked(&self, lab: &Lab) -> Checked {
        for Asked { n, cancelled } in self.asked.values() {
            let given_up = is_given_up(lab, *n);
            ensure!(*cancelled || !given_up, "the client was not told that {n} does not wait for its answer");
        }
        Ok(())
    }
}

/// Returns true if a call of the client's ended without its answer.
fn is_given_up(lab: &Lab, n: u32) -> bool {
    lab.with(n, |run| match &run.settled[..] {
        [] => run.alive == 0,
        [(outcome, _)] => *outcome == Err("DEADLINE_EXCEEDED".to_owned()),
        _ => false,
    })
}

impl Entry {
    fn take_progress(&mut self, lab: &Lab, frame: &Value) -> Checked {
        let told = lab.with(self.n, |run| run.told.get(self.progress).copied());
        ensure!(frame["data"].as_u64() == told.map(u64::from), "told was {told:?}");
        self.progress += 1;
        Ok(())
    }

    /// The frame after which there is none.
    fn take_last(&mut self, lab: &Lab, kind: &str, frame: &Value) -> Checked {
        let code = frame["error"]["code"].as_str().unwrap_or_default();
        let given = if kind == "error" { code } else { kind };
        let now = lab.lock().now;
        let finished = lab.with(self.n, |run| run.finished);
        let late_after = self.at + self.limit();
        let perhaps = self.perhaps.iter().any(|fate| fate.answer() == given);
        if perhaps && matches!(self.fate, None | Some(Fate::Overflowed)) {
            return Ok(());
        }
        if let Some(expected) = self.fate.map(Fate::answer) {
            ensure!(given == expected, "{given:?} instead of {expected:?}");
            return Ok(());
        }
        // It was answered and waited for room, until it was late.
        if given == "DEADLINE_EXCEEDED" && finished && self.was_pressed && now >= late_after {
            return Ok(());
        }
        if !finished {
            self.fate = Some(self.why_dropped(lab, now)?);
            return self.take_last(lab, kind, frame);
        }
        match &self.what {
            What::Call { job, .. } => {
                let told = lab.with(self.n, |run| run.told.len());
                ensure!(self.progress == told, "after {} of {told} reports", self.progress);
                let expected = natural(lab, self.n, job);
                let given = if kind == "result" { frame["data"].clone() } else { json!({ "code": code }) };
                ensure!(kind != "complete" && given == expected, "instead of {expected}");
                Ok(())
            }
            What::Subscription(of) => of.take_last(lab, self.n, given, self.was_pressed),
            What::Nothing => Err("what cannot run has ended".into()),
        }
    }

    fn limit(&self) -> u64 {
        if let What::Call { limit, .. } = self.what { limit } else { u64::MAX / 2 }
    }

    /// It was dropped, and nobody has asked for it.
    fn why_dropped(&self, lab: &Lab, now: u64) -> Checked<Fate> {
        match &self.what {
            What::Call { limit, .. } => {
                let after = now - self.at;
                ensure!(after >= *limit, "dropped after {after} ms, and {limit} are allowed");
                ensure!(after <= limit + LATE_MS, "dropped after {after} ms, and {limit} are allowed");
                Ok(Fate::Late)
            }
            What::Subscription(of) => {
                let yielded = lab.with(self.n, |run| run.yielded);
                let behind = self.was_pressed || of.credit.is_some_and(|credit| credit < yielded);
                let close = of.policy == Policy::Close && (behind || of.is_burst(yielded));
                ensure!(yielded > 0 && (close || of.is_too_large()), "dropped for no reason");
                Ok(Fate::Overflowed)
            }
            What::Nothing => Err("what cannot run was dropped".into()),
        }
    }
}

/// Two ticks.
const LATE_MS: u64 = 500;

/// The answer of a call that came to its end.
fn natural(lab: &Lab, n: u32, job: &Job) -> Value {
    let error = |code: &str| json!({ "code": code });
    match job.then {
        Then::Answer => json!(n),
        Then::Large(bytes) if bytes > OUTBOX_BYTES => error("RESOURCE_EXHAUSTED"),
        Then::Large(bytes) => json!("x".repeat(bytes)),
        Then::Unserialisable | Then::Panic => error("INTERNAL"),
        Then::Fail => error("TEAPOT"),
        Then::Ask => lab.with(n, |run| match &run.settled[..] {
            [(Ok(said), _)] => json!(said),
            [(Err(code), _)] => error(code),
            _ => json!("not settled once"),
        }),
    }
}

impl Subscribed {
    fn take_data(&mut self, lab: &Lab, n: u32, frame: &Value) -> Checked {
        let yielded = lab.with(n, |run| run.yielded);
        let number = frame["data"][0].as_u64().ok_or("data without a number")?;
        let at = number.checked_sub(self.from).ok_or("an item before the first")?;
        ensure!(self.has_credit(), "more than the credit of {:?}", self.credit);
        ensure!(at < yielded, "an item that was not yielded");
        ensure!(at >= self.next, "not in its order: {} was to come", self.next);
        let skipped = at - self.next;
        match self.policy {
            Policy::Block | Policy::Close => ensure!(skipped == 0, "{skipped} are lost"),
            Policy::DropOldest => {
                ensure!(skipped == self.gap, "{skipped} are lost, and the gap says {}", self.gap);
                ensure!(skipped == 0 || at + KEPT <= yielded, "{skipped} are lost, and there was room");
                ensure!(at >= self.floor, "an older item than the {KEPT} newest");
            }
            Policy::Conflate => {
                for lost in self.next..at {
                    let replaced = (lost + 1..yielded).any(|newer| key(newer) == key(lost));
                    ensure!(replaced, "{lost} is lost, and was the newest of its key");
                }
            }
        }
        let position = (frame["offset"].as_u64(), frame["epoch"].as_str());
        let expected = if self.feed.positions { (Some(number), Some(EPOCH)) } else { (None, None) };
        ensure!(position == expected, "instead of the position {expected:?}");
        self.received += 1;
        self.next = at + 1;
        self.gap = 0;
        let accounted = self.received + self.missing;
        ensure!(accounted <= yielded, "{accounted} came or are lost of {yielded}");
        Ok(())
    }

    fn take_gap(&mut self, frame: &Value) -> Checked {
        let cause = match self.policy {
            Policy::DropOldest => "overflow",
            Policy::Conflate => "conflated",
            Policy::Block | Policy::Close => return Err("it drops nothing".into()),
        };
        ensure!(frame["cause"] == cause, "instead of {cause:?}");
        let count = frame["count"].as_u64().unwrap_or_default();
        ensure!(count > 0, "without what is lost");
        let (from, to) = (frame["from"].as_u64(), frame["to"].as_u64());
        ensure!(from.is_some() == self.feed.positions && to.is_some() == self.feed.positions, "not as its items");
        if let (Some(from), Some(to)) = (from, to) {
            let first = self.from + self.next + self.gap;
            match self.policy {
                Policy::DropOldest => ensure!((from, to) == (first, first + count - 1), "begins at {first}"),
                _ => ensure!(from >= first && from + count - 1 <= to, "not of {count} behind {first}"),
            }
        }
        self.gap += count;
        self.missing += count;
        Ok(())
    }

    /// The stream has ended by itself.
    fn take_last(&self, lab: &Lab, n: u32, given: &str, was_pressed: bool) -> Checked {
        let yielded = lab.with(n, |run| run.yielded);
        let accounted = self.received + self.missing;
        let closes = self.policy == Policy::Close && self.feed.end == End::Unserialisable;
        if given == "RESOURCE_EXHAUSTED" && closes {
            // There was no room for the item that does not serialise.
            ensure!(was_pressed || !self.has_credit() || self.is_burst(yielded), "there was room");
            return Ok(());
        }
        let expected = match self.feed.end {
            End::Complete => "complete",
            End::Fail => "TEAPOT",
            End::Panic | End::Unserialisable => "INTERNAL",
            End::Never => return Err("it does not end".into()),
        };
        ensure!(given == expected, "instead of {expected:?}");
        ensure!(accounted == yielded, "{accounted} came or are lost of {yielded}");
        ensure!(yielded == u64::from(self.feed.count), "after {yielded} of {}", self.feed.count);
        ensure!(self.next == yielded, "the newest did not come");
        Ok(())
    }

    /// It runs, and has sent what it could.
    fn check(&mut self, lab: &Lab, n: u32) -> Checked {
        let (yielded, opened) = lab.with(n, |run| (run.yielded, run.opened));
        let (available, accounted) = (self.available(opened), self.received + self.missing);
        let ends = self.feed.end != End::Never && self.released(opened) > u64::from(self.feed.count);
        if self.policy == Policy::Block {
            let due = self.credit.map_or(available, |credit| credit.min(available));
            ensure!(self.received == due, "{} of {due} items came", self.received);
            ensure!(yielded == self.received, "{yielded} were yielded, and {} came", self.received);
            // Whether the end is looked for without credit is left open.
            ensure!(!ends || available > due || !self.has_credit(), "did not end");
            return Ok(());
        }
        ensure!(yielded == available, "{yielded} of {available} were yielded");
        if self.policy == Policy::Close {
            ensure!(self.received == available, "{} of {available} came, and it runs", self.received);
        } else if accounted < yielded {
            ensure!(!self.has_credit(), "{accounted} came or are lost of {yielded}, with credit");
            if self.policy == Policy::DropOldest {
                self.floor = self.floor.max(self.next).max(yielded.saturating_sub(KEPT));
            }
            return Ok(());
        }
        ensure!(!ends, "did not end");
        Ok(())
    }
}
