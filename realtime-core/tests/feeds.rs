//! Feeds in any order of appends, followers that come, stall, go and come back, and time that passes: each follower gets
//! every entry once and in order, or is told how many are missing and why, against a list of what was appended.
//!
//! Faults planted by hand, and where they show:
//!
//! | fault | found by |
//! |---|---|
//! | replay off by one; live before replay; a gap that is not told or miscounted; retention; another history that is told as resumed; a feed that is made anew and keeps its epoch; lost wake-ups after credit, room or a stall; an entry again after catching up; the wrong position; credit not spent or spent twice; a position after the load; bytes not given back; a feed that ends while it is followed | this model |
//! | `wrote` without a feed or of another; one share for two subscriptions; `conflate` that skips nothing, `drop_oldest` that keeps one more, `close` that waits; all logs together over their limit | `cases/feeds.rs` |
//! | entries that leave after a revocation | `tests/revoke_feeds.rs`; where it races, `tests/interleavings.rs` |

use adapter_testing::{TestClient, TestFrame, TestServer, block_on};
use futures_util::Stream;
use proptest::{collection::vec, prelude::*, sample::select};
use realtime_core::{
    AppendError, Config, Connection, Endpoint, Feed, FeedUpdate, FeedUpdates, Gap, Handler, Log, Overflow,
    Position, Realtime, Result, Subscription, Topic,
    broker::{Arrival, Broker, Publication, Untaken},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        // What once failed becomes a test of its own.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_appended_is_delivered_or_told(steps in vec(step(), 1..80)) {
        run(&steps);
    }
}

/// Enough for each fault that was ever planted here, and a few seconds; `PROPTEST_CASES` says another number.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(150)
}

/// A follower that was level reads on by itself once an entry did not fit.
#[test]
fn one_who_stalls_in_the_middle_of_a_burst_gets_the_rest() {
    for slot in [0, 1, 2] {
        let mut steps =
            vec![Step::Begin { slot, feed: 0, from: From::End, credit: None, state: false }, Step::Stall { slot }];
        steps.extend([Step::Append { feed: 0, key: 0, large: true }; 18]);
        steps.push(Step::Read { slot });
        steps.push(Step::Append { feed: 0, key: 0, large: false });
        run(&steps);
    }
}

/// There is room, but not for an entry that is larger than half of the outbox.
#[test]
fn a_large_entry_comes_behind_small_ones() {
    for slot in [0, 1, 2] {
        let mut steps =
            vec![Step::Begin { slot, feed: 0, from: From::End, credit: None, state: false }, Step::Stall { slot }];
        steps.extend([4, 4, 0].repeat(6).into_iter().map(|key| Step::Append { feed: 0, key, large: true }));
        steps.push(Step::Read { slot });
        run(&steps);
    }
}

/// Carries publications, and keeps no logs.
#[derive(Debug)]
struct Carrier;

#[realtime_core::async_trait]
impl Broker for Carrier {
    async fn publish(&self, _: &[Publication]) -> Result<(), Untaken> {
        Ok(())
    }

    async fn receive(&self, _: &mut Vec<Arrival>) -> Result {
        std::future::pending().await
    }
}

#[test]
fn a_node_whose_broker_keeps_no_logs_refuses_feeds() {
    let realtime = Realtime::builder().broker(Carrier).manual_time().build();
    let feed = feed(0);
    let refused = block_on(realtime.append(&feed, &Entry::new(0, false, 1))).unwrap_err();
    assert!(matches!(refused, AppendError::Refused(ref error) if error.code().as_str() == "UNIMPLEMENTED"));
    assert!(refused.to_string().contains("broker keeps no logs"), "{refused}");
    assert!(realtime.follow(&feed, None).is_err());
}

#[test]
#[should_panic(expected = "the subscription \"follow\" has an overflow policy, and is served from a feed")]
fn a_subscription_of_a_feed_has_no_policy_of_its_own() {
    let subscription = FOLLOW.with_overflow(Overflow::close());
    let _ = Endpoint::new(()).feed(subscription, |_, at: usize| async move { Ok(feed(at).follow()) });
}

/// Bytes of the largest entry, that of the first key: a dozen of them are more than a client that does not read takes.
const LARGE: usize = 30_000;
const KEPT: usize = 20;
/// Seconds.
const WITHIN: u64 = 28;
const FEEDS: usize = 3;
const SLOTS: usize = 4;

const FOLLOW: Subscription<usize, Entry> = Subscription::new("follow");
/// Begins with a state, and something is appended while that is loaded.
const STATE: Subscription<usize, Entry> = Subscription::new("state");
/// The key of the state.
const STATE_KEY: u8 = 9;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    key: u8,
    number: u64,
    padding: String,
}

impl Entry {
    fn new(key: u8, large: bool, number: u64) -> Self {
        Self { key, number, padding: "x".repeat(if large { LARGE - usize::from(key) * 5000 } else { 0 }) }
    }
}

/// The first waits for those who do not keep up, the second keeps the newest three, the third the newest of each key.
fn feed(at: usize) -> Feed<Entry> {
    let log = Log::last(KEPT).within(Duration::from_secs(WITHIN)).bytes(16 << 20);
    let feed = Topic::new(format!("feed {at}")).log(log);
    match at {
        0 => feed,
        1 => feed.with_overflow(Overflow::drop_oldest(3)),
        _ => feed.with_overflow(Overflow::conflate(|entry: &Entry| entry.key.to_string())),
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append {
        feed: usize,
        key: u8,
        large: bool,
    },
    /// So many large entries.
    Burst {
        feed: usize,
        count: usize,
    },
    Begin {
        slot: usize,
        feed: usize,
        from: From,
        credit: Option<u32>,
        /// With a state, if it is a subscription.
        state: bool,
    },
    Grant {
        slot: usize,
        more: u32,
    },
    Stall {
        slot: usize,
    },
    Read {
        slot: usize,
    },
    Leave {
        slot: usize,
    },
    Advance {
        seconds: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum From {
    End,
    /// The last position of the follower before, so many entries earlier.
    Known(u64),
    AnotherLog,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || 0..SLOTS;
    let from = prop_oneof![
        Just(From::End),
        (0..4_u64).prop_map(From::Known),
        (0..60_u64).prop_map(From::Known),
        Just(From::AnotherLog)
    ];
    prop_oneof![
        8 => (0..FEEDS, 0..3_u8, any::<bool>()).prop_map(|(feed, key, large)| Step::Append { feed, key, large }),
        2 => (0..FEEDS, 10..24_usize).prop_map(|(feed, count)| Step::Burst { feed, count }),
        3 => (slot(), 0..FEEDS, from, select(vec![None, Some(0), Some(1), Some(5), Some(50)]), any::<bool>())
            .prop_map(|(slot, feed, from, credit, state)| Step::Begin { slot, feed, from, credit, state }),
        2 => (slot(), 0..4_u32).prop_map(|(slot, more)| Step::Grant { slot, more }),
        1 => slot().prop_map(|slot| Step::Stall { slot }),
        1 => slot().prop_map(|slot| Step::Read { slot }),
        1 => slot().prop_map(|slot| Step::Leave { slot }),
        1 => select(vec![7, WITHIN, 2 * WITHIN + 1]).prop_map(|seconds| Step::Advance { seconds }),
    ]
}

/// Follows what it is told to.
struct Follower;

#[derive(Serialize, Deserialize)]
struct Told {
    feed: usize,
    after: Option<Position>,
}

impl Handler for Follower {
    type Input = ();
    type ClientMessage = Told;
    type ServerMessage = Entry;

    async fn on_message(&self, connection: &Connection<Self>, told: Told) -> Result {
        connection.follow(&feed(told.feed), told.after.as_ref()).await?;
        Ok(())
    }
}

fn run(steps: &[Step]) {
    block_on(async {
        let mut world = World::new();
        // The clock runs from the first connection on.
        let _client = world.server.open("api").await.unwrap();
        for step in steps {
            world.take(*step).await;
        }
        world.finish().await;
    });
}

struct World {
    server: TestServer,
    books: Vec<Book>,
    slots: Vec<Option<Slot>>,
    /// The last position of each slot in each feed.
    known: [[Option<Position>; FEEDS]; SLOTS],
    seconds: u64,
    /// The entries so far.
    appended: u64,
}

/// The entries appended to a feed: key, number and time.
#[derive(Default)]
struct Book {
    entries: Vec<(u8, u64, u64)>,
    epoch: Option<String>,
}

impl Book {
    fn end(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The offset of the first entry that is kept.
    fn first(&self, now: u64) -> u64 {
        let by_count = self.entries.len().saturating_sub(KEPT);
        let by_age = self.entries.iter().take_while(|(.., time)| time + WITHIN <= now).count();
        by_count.max(by_age) as u64 + 1
    }
}

struct Slot {
    reads: Reads,
    account: Account,
    stalled: bool,
}

/// The way in which a slot follows.
enum Reads {
    /// With its own frames, or with shared ones.
    Subscribed(Box<TestClient>),
    Messages(Box<TestClient>),
    Updates(Pin<Box<FeedUpdates<Entry>>>, Arc<Woken>),
}

/// The entries and gaps that a follower was sent.
#[derive(Debug)]
struct Account {
    slot: usize,
    feed: usize,
    cursor: u64,
    begun: bool,
    /// A gap of another history is due.
    diverged: bool,
    /// The state is due.
    state: bool,
    resumed: Option<bool>,
    delivered: u64,
    missing: u64,
    from: u64,
    /// Entries that it accepts.
    credit: Option<u64>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl World {
    fn new() -> Self {
        let mut config = Config::default();
        // Less than two large entries: one may not fit where there is room for a smaller one.
        config.outbox_bytes = 48 * 1024;
        // Nobody is closed for being silent.
        (config.ping_interval, config.idle_timeout) = (Duration::from_secs(1 << 20), Duration::from_secs(1 << 21));
        let endpoint = Endpoint::new(()).feed(FOLLOW, |_, at: usize| async move { Ok(feed(at).follow()) }).feed(
            STATE,
            |call, at: usize| async move {
                Ok(feed(at).follow().or_begin_with(move || async move {
                    call.append(&feed(at), &Entry::new(0, false, 0)).await?;
                    Ok(Entry::new(STATE_KEY, false, 0))
                }))
            },
        );
        let builder = Realtime::builder().config(config).endpoint("api", endpoint);
        let server = TestServer::new(builder.handler("follower", Follower).build());
        let books = (0..FEEDS).map(|_| Book::default()).collect();
        Self {
            server,
            books,
            slots: (0..SLOTS).map(|_| None).collect(),
            known: Default::default(),
            seconds: 0,
            appended: 0,
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append { feed: at, key, large } => self.append(at, key, large).await,
            Step::Burst { feed: at, count } => {
                for number in 0..count {
                    self.append(at, number as u8 % 5, true).await;
                    if number % 4 == 0 {
                        self.server.settle().await;
                    }
                }
            }
            Step::Begin { slot, feed, from, credit, state } => {
                self.begin(slot, feed, from, credit, state && slot < 2).await;
            }
            Step::Grant { slot, more } => self.grant(slot, more).await,
            Step::Stall { slot } => self.stall(slot, true),
            Step::Read { slot } => self.stall(slot, false),
            Step::Leave { slot } => self.slots[slot] = None,
            Step::Advance { seconds } => {
                self.server.advance(Duration::from_secs(seconds)).await;
                self.seconds += seconds;
            }
        }
        self.read().await;
    }

    async fn append(&mut self, at: usize, key: u8, large: bool) {
        self.appended += 1;
        let book = &mut self.books[at];
        let entry = Entry::new(key, large, self.appended);
        let position = self.server.realtime().append(&feed(at), &entry).await.unwrap();
        if book.epoch.as_ref() != Some(&position.epoch) {
            // The feed was forgotten, which it may be after all of it was.
            assert!(book.first(self.seconds) > book.end(), "an epoch ends before its log");
            assert!(
                self.slots.iter().flatten().all(|slot| slot.account.feed != at),
                "it ends while it is followed"
            );
            *book = Book { epoch: Some(position.epoch.clone()), entries: Vec::new() };
        }
        assert_eq!(position.offset, book.end() + 1);
        book.entries.push((key, self.appended, self.seconds));
    }

    async fn begin(&mut self, slot: usize, at: usize, from: From, credit: Option<u32>, state: bool) {
        self.slots[slot] = None;
        let end = self.server.realtime().position(&feed(at)).await.unwrap();
        let book = &mut self.books[at];
        if book.epoch.as_ref() != Some(&end.epoch) {
            assert_eq!(end.offset, 0);
            *book = Book { epoch: Some(end.epoch.clone()), entries: Vec::new() };
        }
        assert_eq!(end.offset, book.end());
        let after = match from {
            From::End => None,
            From::Known(earlier) => self.known[slot][at].clone().map(|known| {
                let offset = known.offset.saturating_sub(earlier);
                Position { offset, ..known }
            }),
            From::AnotherLog => Some(Position::new("another", 3)),
        };
        let known = after.as_ref().filter(|after| after.epoch == end.epoch).map(|after| after.offset);
        let cursor = known.unwrap_or(end.offset);
        let resumed = after.as_ref().map(|_| known.is_some_and(|known| known + 1 >= book.first(self.seconds)));
        let path = if state { STATE.name() } else { FOLLOW.name() };
        // It goes on, or has the state.
        let state = state && resumed != Some(true);
        let diverged = after.is_some() && known.is_none() && !state;
        let cursor = if state { end.offset } else { cursor };
        let reads = self.follow(slot, at, &path, after, credit).await;
        if state {
            self.books[at].entries.push((0, 0, self.seconds));
        }
        let account = Account {
            slot,
            feed: at,
            cursor,
            begun: false,
            diverged,
            state,
            resumed,
            delivered: 0,
            missing: 0,
            from: cursor,
            credit: credit.filter(|_| slot < 2).map(u64::from),
        };
        self.slots[slot] = Some(Slot { reads, account, stalled: false });
    }

    async fn follow(
        &self,
        slot: usize,
        at: usize,
        path: &str,
        after: Option<Position>,
        credit: Option<u32>,
    ) -> Reads {
        match slot {
            0 | 1 => {
                let mut client = self.server.open("api").await.unwrap();
                let shared = slot == 1;
                let frame = json!({ "type": "subscribe", "id": "s", "path": path, "input": at, "after": after,
                    "credit": credit, "shared": shared });
                client.send_text(&frame.to_string()).await;
                Reads::Subscribed(Box::new(client))
            }
            2 => {
                let mut client = self.server.open("follower").await.unwrap();
                let frame = json!({ "type": "message", "value": { "feed": at, "after": after } });
                client.send_text(&frame.to_string()).await;
                Reads::Messages(Box::new(client))
            }
            _ => {
                let updates = self.server.realtime().follow(&feed(at), after.as_ref()).unwrap();
                let woken = Arc::new(Woken(AtomicBool::new(true)));
                Reads::Updates(Box::pin(updates), woken)
            }
        }
    }

    async fn grant(&mut self, slot: usize, more: u32) {
        let Some(Slot { reads: Reads::Subscribed(client), account, .. }) = &mut self.slots[slot] else { return };
        account.credit = account.credit.map(|credit| credit + u64::from(more));
        client.send_text(&json!({ "type": "credit", "id": "s", "more": more }).to_string()).await;
    }

    fn stall(&mut self, slot: usize, stalled: bool) {
        let Some(slot) = &mut self.slots[slot] else { return };
        slot.stalled = stalled;
        if let Reads::Subscribed(client) | Reads::Messages(client) = &mut slot.reads {
            if stalled { client.stall() } else { client.resume() }
        }
    }

    /// Takes what has come for all that read.
    async fn read(&mut self) {
        self.server.settle().await;
        for slot in self.slots.iter_mut().flatten().filter(|slot| !slot.stalled) {
            match &mut slot.reads {
                Reads::Subscribed(client) | Reads::Messages(client) => {
                    while let Some(frame) = client.try_frame().await.unwrap() {
                        slot.account.take_frame(&frame, &self.books, self.seconds);
                    }
                }
                Reads::Updates(updates, woken) => {
                    let waker = Waker::from(Arc::clone(woken));
                    while woken.0.load(Relaxed) {
                        match updates.as_mut().poll_next(&mut Context::from_waker(&waker)) {
                            Poll::Ready(Some(update)) => {
                                slot.account.take_update(update.unwrap(), &self.books, self.seconds);
                            }
                            Poll::Ready(None) => panic!("it never ends"),
                            Poll::Pending => woken.0.store(false, Relaxed),
                        }
                    }
                }
            }
            // Who reads has all that it accepts.
            let end = self.books[slot.account.feed].end();
            assert!(slot.account.cursor == end || slot.account.credit == Some(0), "{:?}", slot.account);
            let Account { slot, feed, cursor, .. } = slot.account;
            let epoch = self.books[feed].epoch.clone().unwrap();
            self.known[slot][feed] = Some(Position::new(epoch, cursor));
        }
    }

    /// Lets all read and gives them all credit: each has got or been told of everything.
    async fn finish(mut self) {
        for slot in 0..SLOTS {
            self.stall(slot, false);
            self.grant(slot, 1000).await;
        }
        self.read().await;
        for Slot { account, .. } in self.slots.iter().flatten() {
            // A handler's client is not told of the beginning.
            assert!((account.begun || account.slot == 2) && !account.diverged, "{account:?}");
            assert_eq!(account.cursor, self.books[account.feed].end(), "{account:?}");
            assert_eq!(account.delivered + account.missing, account.cursor - account.from, "{account:?}");
        }
        // Those that are level get what comes next at once.
        for at in 0..FEEDS {
            self.append(at, 0, false).await;
        }
        self.read().await;
        for Slot { account, .. } in self.slots.iter().flatten() {
            assert_eq!(account.cursor, self.books[account.feed].end(), "{account:?}");
        }
        // Nothing is left of what nobody uses.
        self.slots.clear();
        self.server.advance(Duration::from_secs(3 * WITHIN)).await;
        let stats = self.server.realtime().stats();
        assert_eq!((stats.feeds, stats.log_bytes), (0, 0));
    }
}

impl Account {
    fn take_frame(&mut self, frame: &TestFrame, books: &[Book], now: u64) {
        let frame: Value = serde_json::from_str(&frame.as_text()).unwrap();
        let name = format!("feed {}", self.feed);
        match frame["type"].as_str() {
            Some("subscribed") => {
                assert_eq!((&frame["id"], &frame["topic"]), (&json!("s"), &json!(name)));
                assert_eq!(frame["shared"], if self.slot == 1 { json!(true) } else { Value::Null });
                self.begin(frame["offset"].as_u64().unwrap(), frame["resumed"].as_bool());
            }
            Some("gap") => {
                let gap: Gap = serde_json::from_value(frame).unwrap();
                self.skip(&gap, books, now);
            }
            Some(kind @ ("data" | "message")) => {
                if self.state {
                    return self.take_state(&frame);
                }
                // A handler's client is not told of the beginning.
                self.begun |= kind == "message";
                assert_eq!(frame["id"], if self.slot == 0 { json!("s") } else { Value::Null });
                assert_eq!(frame["topic"], if self.slot == 0 { Value::Null } else { json!(name) });
                let entry = if kind == "data" { &frame["data"] } else { &frame["value"] };
                let position = Position::new(frame["epoch"].as_str().unwrap(), frame["offset"].as_u64().unwrap());
                self.deliver(&serde_json::from_value(entry.clone()).unwrap(), &position, books);
            }
            _ => panic!("{frame}"),
        }
    }

    fn take_update(&mut self, update: FeedUpdate<Entry>, books: &[Book], now: u64) {
        match update {
            FeedUpdate::Begun(begun) => self.begin(begun.position.offset, begun.resumed),
            FeedUpdate::Gap(gap) => self.skip(&gap, books, now),
            FeedUpdate::Item(item) => self.deliver(&item.value, &item.position.unwrap(), books),
            update => panic!("{update:?}"),
        }
    }

    fn begin(&mut self, offset: u64, resumed: Option<bool>) {
        assert!(!self.begun, "it begins twice: {self:?}");
        self.begun = true;
        assert_eq!((offset, resumed), (self.cursor, self.resumed), "{self:?}");
    }

    /// It is of the place where the client began, whatever was appended while it was loaded.
    fn take_state(&mut self, frame: &Value) {
        assert!(self.begun && std::mem::take(&mut self.state));
        assert_eq!((&frame["id"], &frame["data"]["key"]), (&json!("s"), &json!(STATE_KEY)));
        assert_eq!(frame["offset"], self.cursor, "{self:?}");
        self.spend();
    }

    fn spend(&mut self) {
        self.credit = self.credit.map(|credit| credit.checked_sub(1).expect("it has credit"));
    }

    fn deliver(&mut self, entry: &Entry, position: &Position, books: &[Book]) {
        assert!(self.begun && !self.diverged, "{self:?}");
        let book = &books[self.feed];
        assert_eq!(book.epoch.as_ref(), Some(&position.epoch));
        assert_eq!(position.offset, self.cursor + 1, "{self:?}");
        let (key, number, _) = book.entries[self.cursor as usize];
        assert_eq!((entry.key, entry.number), (key, number));
        self.spend();
        self.cursor += 1;
        self.delivered += 1;
    }

    fn skip(&mut self, gap: &Gap, books: &[Book], now: u64) {
        // A handler's client is not told of the beginning.
        self.begun |= self.slot == 2;
        assert!(self.begun, "{self:?}");
        if gap.cause == "diverged" {
            assert!(gap.count == 0 && std::mem::take(&mut self.diverged), "{self:?}");
            return;
        }
        assert!(!self.diverged, "{self:?}");
        let (from, to) = (gap.from.unwrap(), gap.to.unwrap());
        assert_eq!((from, to), (self.cursor + 1, self.cursor + gap.count), "{gap:?} {self:?}");
        let book = &books[self.feed];
        assert!(to <= book.end());
        match (&*gap.cause, self.feed) {
            ("retention", _) => assert!(to < book.first(now), "{gap:?} {self:?}"),
            ("overflow", 1) => assert!(to + 3 <= book.end(), "{gap:?} {self:?}"),
            ("conflated", 2) => {
                let has_newer = |offset: u64| {
                    let (key, ..) = book.entries[offset as usize - 1];
                    book.entries[offset as usize..].iter().any(|(newer, ..)| *newer == key)
                };
                assert!((from..=to).all(has_newer), "{gap:?} {self:?}");
            }
            _ => panic!("{gap:?} {self:?}"),
        }
        self.cursor = to;
        self.missing += gap.count;
    }
}
