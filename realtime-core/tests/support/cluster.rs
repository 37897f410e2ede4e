//! Three nodes that share feeds over links that fail, and clients of them, against the list of what was appended.

use adapter_testing::{FaultyBroker, TestClient, TestServer};
use futures_util::{FutureExt, Stream};
use realtime_core::{
    AppendError, Begun, Config, Connection, Endpoint, Feed, FeedUpdate, FeedUpdates, Gap, Handler, Log, Position,
    Realtime, Result, Subscription, Topic, raw::BoxFuture,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

const NODES: usize = 3;
const FEEDS: usize = 2;
const SLOTS: usize = 6;
/// Entries that a log keeps.
const KEPT: u64 = 20;
const STEPS: u64 = 30;
const ROUNDS: usize = 3;
/// More than the beats that are on their way at any time.
const BEATS_BYTES: usize = 1024;
const TICK: Duration = Duration::from_millis(250);

const FOLLOW: Subscription<usize, Value> = Subscription::new("follow");
/// Begins with a state.
const STATE: Subscription<usize, Value> = Subscription::new("state");

macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

fn feed(at: usize) -> Feed<Value> {
    Topic::new(format!("feed {at}")).log(Log::last(KEPT as usize))
}

/// Follows what it is told to, and says from where.
struct Follower;

#[derive(Serialize, Deserialize)]
struct Told {
    feed: usize,
    after: Option<Position>,
}

impl Handler for Follower {
    type Input = ();
    type ClientMessage = Told;
    type ServerMessage = Value;

    async fn on_message(&self, connection: &Connection<Self>, told: Told) -> Result {
        let Begun { position, resumed, .. } = loop {
            match connection.follow(&feed(told.feed), told.after.as_ref()).await {
                // The broker was away for longer than a handler waits.
                Err(error) if error.code().as_str() == "UNAVAILABLE" => {}
                begun => break begun?,
            }
        };
        let begun = json!({ "begun": true, "offset": position.offset, "resumed": resumed });
        connection.send(begun).map_err(Into::into)
    }
}

/// Runs a random history.
///
/// # Errors
///
/// What does not hold in it.
pub(crate) async fn run(seed: u64, with_proofs: bool) -> Result<(), String> {
    let mut world = World::new(seed, with_proofs).await;
    for _ in 0..ROUNDS {
        for _ in 0..STEPS {
            world.step().await?;
        }
        world.be_quiet().await?;
    }
    Ok(())
}

struct World {
    random: Random,
    nodes: Vec<Node>,
    appends: Vec<Append>,
    followers: Vec<Option<Client>>,
    /// The last place of each slot in each feed.
    known: [[Option<Place>; FEEDS]; SLOTS],
    feeds: [Known; FEEDS],
    fail_overs: u64,
    /// Those before everybody had noticed them.
    quiet: u64,
    number: u64,
    refused: HashSet<u64>,
}

struct Node {
    link: FaultyBroker,
    server: TestServer,
}

/// The facts about a feed beside its entries.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Failovers that have lost some of it.
    losses: u64,
    /// Those that all nodes have noticed.
    noticed: u64,
    /// Entries before this offset were dropped.
    trimmed: u64,
    /// The highest offset there ever was.
    highest: u64,
}

struct Append {
    node: usize,
    number: u64,
    feed: usize,
    fail_overs: u64,
    appending: BoxFuture<'static, Result<Position, AppendError>>,
}

/// The position of a client, and the entry that it had there.
#[derive(Clone, Debug)]
struct Place {
    position: Position,
    number: Option<u64>,
    /// The losses of the log by then: an entry that was lost may be there again, by another attempt.
    losses: u64,
}

struct Client {
    node: usize,
    feed: usize,
    reads: Reads,
    has_state: bool,
    stalled: bool,
    asked: Option<Place>,
    /// When it asked.
    fail_overs: u64,
    /// Losses that it may have been told of.
    losses: u64,
    account: Account,
}

enum Reads {
    Subscribed(Box<TestClient>),
    Messages(Box<TestClient>),
    Updates(Pin<Box<FeedUpdates<Value>>>),
}

/// Everything that a client was sent since it began, or since it was told that it is in another history.
#[derive(Debug, Default)]
struct Account {
    begun: bool,
    /// A gap is due, which says why it does not go on.
    unresumed: bool,
    /// A state is due.
    state: bool,
    base: u64,
    base_number: Option<u64>,
    /// Not known where a handler is told of another history.
    cursor: Option<u64>,
    delivered: Vec<(u64, u64)>,
    missing: u64,
    place: Option<Place>,
}

enum Update {
    Begun { offset: u64, resumed: Option<bool> },
    State { offset: u64 },
    Entry { number: u64, position: Position },
    Gap(Gap),
}

impl World {
    async fn new(seed: u64, with_proofs: bool) -> Self {
        let first = FaultyBroker::new(seed);
        if !with_proofs {
            first.without_proofs();
        }
        let mut random = Random(seed);
        first.disorder(random.below(3) * 4);
        first.delay(Duration::from_millis(random.below(2) * 300));
        let mut nodes = Vec::new();
        for node in 0..NODES {
            let link = if node == 0 { first.clone() } else { first.join() };
            nodes.push(Node::new(link).await);
        }
        Self {
            random,
            nodes,
            appends: Vec::new(),
            followers: (0..SLOTS).map(|_| None).collect(),
            known: Default::default(),
            feeds: Default::default(),
            fail_overs: 0,
            quiet: 0,
            number: 0,
            refused: HashSet::new(),
        }
    }

    async fn step(&mut self) -> Result<(), String> {
        let (node, slot, at) = (self.below(NODES), self.below(SLOTS), self.below(FEEDS));
        let link = self.nodes[node].link.clone();
        match self.below(32) {
            0..=9 => (0..=self.below(4)).for_each(|_| self.append(node, at)),
            10..=15 => self.begin(slot, node, at).await,
            16..=18 => self.advance(1 + slot).await,
            19 => self.stall(slot, true),
            20 => self.stall(slot, false),
            21 => self.grant(slot, 5).await,
            22 => link.cut(),
            23 => link.freeze(),
            24 => link.deafen(),
            25 => link.lose_answers(1 + self.below(3)),
            26 | 27 => link.mend(),
            28 => self.fail_over(3),
            29 => self.fail_over(0),
            30 => self.trim(at),
            _ => self.kill(node).await,
        }
        self.settle().await;
        self.collect()?;
        self.read().await
    }

    fn append(&mut self, node: usize, at: usize) {
        self.number += 1;
        let (number, realtime) = (self.number, self.nodes[node].server.realtime().clone());
        let appending = Box::pin(async move { realtime.append(&feed(at), &Value::from(number)).await });
        self.appends.push(Append { node, number, feed: at, fail_overs: self.fail_overs, appending });
    }

    async fn begin(&mut self, slot: usize, node: usize, at: usize) {
        self.followers[slot] = None;
        let asked = self.known[slot][at].clone().filter(|_| self.random.below(4) > 0);
        let after = asked.as_ref().map(|place| &place.position);
        let server = &self.nodes[node].server;
        let reads = match slot % 3 {
            0 => {
                let mut client = server.open("api").await.unwrap();
                let (path, credit) =
                    (["follow", "state"][slot / 3], [None, Some(7)][self.random.below(2) as usize]);
                let frame = json!({ "type": "subscribe", "id": "s", "path": path, "input": at, "after": after,
                    "credit": credit, "shared": slot == 0 });
                client.send_text(&frame.to_string()).await;
                Reads::Subscribed(Box::new(client))
            }
            1 => {
                let mut client = server.open("follower").await.unwrap();
                let frame = json!({ "type": "message", "value": { "feed": at, "after": after } });
                client.send_text(&frame.to_string()).await;
                Reads::Messages(Box::new(client))
            }
            _ => Reads::Updates(Box::pin(server.realtime().follow(&feed(at), after).unwrap())),
        };
        self.followers[slot] = Some(Client {
            node,
            feed: at,
            reads,
            has_state: slot == 3,
            stalled: false,
            asked,
            fail_overs: self.fail_overs,
            losses: self.feeds[at].noticed,
            account: Account::default(),
        });
    }

    fn stall(&mut self, slot: usize, stalled: bool) {
        let Some(client) = &mut self.followers[slot] else { return };
        client.stalled = stalled;
        if let Reads::Subscribed(client) | Reads::Messages(client) = &mut client.reads {
            if stalled { client.stall() } else { client.resume() }
        }
    }

    async fn grant(&mut self, slot: usize, more: u32) {
        if let Some(Client { reads: Reads::Subscribed(client), .. }) = &mut self.followers[slot] {
            client.send_text(&json!({ "type": "credit", "id": "s", "more": more }).to_string()).await;
        }
    }

    fn fail_over(&mut self, records: usize) {
        self.fail_overs += 1;
        let lossy = self.nodes[0].link.fail_over(records);
        for (at, known) in self.feeds.iter_mut().enumerate() {
            known.losses += u64::from(lossy.contains(&feed(at).name().to_owned()));
        }
    }

    fn trim(&mut self, at: usize) {
        let end = self.entries(at).len() as u64;
        let before = end.saturating_sub(self.random.below(KEPT));
        self.nodes[0].link.trim(feed(at).name(), before);
        self.feeds[at].trimmed = self.feeds[at].trimmed.max(before);
    }

    /// Kills a node with all that is connected to it, and starts another.
    async fn kill(&mut self, node: usize) {
        for follower in &mut self.followers {
            follower.take_if(|client| client.node == node);
        }
        self.appends.retain(|append| append.node != node);
        let link = self.nodes[node].link.join();
        self.nodes[node] = Node::new(link).await;
    }

    async fn advance(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.nodes[0].link.advance(TICK);
            for node in &self.nodes {
                node.server.advance(TICK).await;
            }
            self.settle().await;
        }
    }

    async fn settle(&mut self) {
        for _ in 0..3 {
            for append in &mut self.appends {
                // What is ready is collected; it is polled again until then.
                if let Some(outcome) = (&mut append.appending).now_or_never() {
                    append.appending = Box::pin(std::future::ready(outcome));
                }
            }
            for node in &self.nodes {
                node.server.settle().await;
            }
        }
    }

    /// Looks at the outcomes of appends.
    fn collect(&mut self) -> Result<(), String> {
        let mut left = Vec::new();
        for mut append in std::mem::take(&mut self.appends) {
            let Some(outcome) = (&mut append.appending).now_or_never() else {
                left.push(append);
                continue;
            };
            match outcome {
                Ok(position) => {
                    let entries = self.entries(append.feed);
                    let found = entries.get(position.offset as usize - 1) == Some(&append.number);
                    let is_lost = append.fail_overs < self.fail_overs;
                    ensure!(found || is_lost, "{} is not at {position}: {entries:?}", append.number);
                }
                Err(AppendError::Refused(_)) => drop(self.refused.insert(append.number)),
                Err(_) => {}
            }
        }
        self.appends = left;
        for at in 0..FEEDS {
            let entries = self.entries(at);
            let mut once = HashSet::new();
            ensure!(
                entries.iter().all(|number| once.insert(*number)),
                "an entry is in the log twice: {entries:?}"
            );
            ensure!(entries.iter().all(|number| !self.refused.contains(number)), "a refused entry is in the log");
            self.feeds[at].highest = self.feeds[at].highest.max(entries.len() as u64);
        }
        Ok(())
    }

    /// Takes what has come for all that read.
    async fn read(&mut self) -> Result<(), String> {
        for slot in 0..SLOTS {
            let Some(mut client) = self.followers[slot].take() else { continue };
            let updates = if client.stalled { Vec::new() } else { client.updates().await };
            for update in updates {
                self.take(&mut client, update).map_err(|error| format!("slot {slot}: {error}"))?;
            }
            if let Some(place) = &client.account.place {
                self.known[slot][client.feed] = Some(place.clone());
            }
            self.followers[slot] = Some(client);
        }
        Ok(())
    }

    fn take(&self, client: &mut Client, update: Update) -> Result<(), String> {
        let account = &mut client.account;
        match update {
            Update::Begun { offset, resumed } if account.begun => {
                ensure!(resumed == Some(false), "it begins twice: {account:?}");
                let cursor = account.cursor;
                *account =
                    Account { begun: true, state: client.has_state, place: account.place.take(), ..at(offset) };
                account.unresumed = !client.has_state;
                return self.diverge(client, cursor);
            }
            Update::Begun { offset, resumed } => {
                ensure!(resumed.is_some() == client.asked.is_some(), "it says {resumed:?}");
                *account = Account { begun: true, ..at(offset) };
                match (&client.asked, resumed) {
                    (Some(asked), Some(true)) => {
                        ensure!(asked.position.offset == offset, "it resumes at {offset} instead of {asked:?}");
                        account.base_number = asked.number;
                        account.place = Some(asked.clone());
                    }
                    (Some(asked), _) => {
                        let asked = asked.clone();
                        account.unresumed = !client.has_state;
                        account.state = client.has_state;
                        ensure!(!self.would_go_on(client, &asked), "it is refused without need: {asked:?}");
                    }
                    (None, _) => account.state = client.has_state,
                }
            }
            Update::State { offset } => {
                ensure!(std::mem::take(&mut account.state), "a state that was not due");
                ensure!(account.cursor == Some(offset), "a state of {offset}: {account:?}");
            }
            Update::Entry { number, position } => {
                ensure!(
                    account.begun && !account.unresumed && !account.state,
                    "an entry is too early: {account:?}"
                );
                let offset = position.offset;
                ensure!(
                    account.cursor.is_none_or(|cursor| cursor + 1 == offset),
                    "{number} at {offset} is not the next: {account:?}"
                );
                if account.cursor.is_none() {
                    account.base = offset - 1;
                }
                account.cursor = Some(offset);
                account.delivered.push((offset, number));
                let losses = self.feeds[client.feed].losses;
                account.place = Some(Place { position, number: Some(number), losses });
            }
            Update::Gap(gap) if &*gap.cause == "diverged" => {
                ensure!(gap.count == 0, "{gap:?}");
                if std::mem::take(&mut account.unresumed) {
                    return Ok(());
                }
                // A handler is told nothing else.
                ensure!(matches!(client.reads, Reads::Messages(_)), "a gap without a beginning: {account:?}");
                let cursor = account.cursor;
                *account = Account { begun: true, place: account.place.take(), ..Account::default() };
                return self.diverge(client, cursor);
            }
            Update::Gap(gap) => {
                ensure!(&*gap.cause == "retention", "{gap:?}");
                account.unresumed = false;
                let (from, to) = (gap.from.unwrap_or_default(), gap.to.unwrap_or_default());
                if account.cursor.is_none() {
                    account.base = from - 1;
                }
                ensure!(account.cursor.is_none_or(|cursor| cursor + 1 == from), "{gap:?}: {account:?}");
                ensure!(to + 1 == from + gap.count, "{gap:?}");
                let known = self.feeds[client.feed];
                ensure!(to + KEPT <= known.highest || to < known.trimmed, "{gap:?} is kept");
                let first = self.nodes[0].link.first(feed(client.feed).name());
                ensure!(to < first, "{gap:?} is needless: the log begins at {first}");
                account.cursor = Some(to);
                account.missing += gap.count;
            }
        }
        Ok(())
    }

    /// It is told that the log is another, which is so where it has lost what was delivered, or has dropped what was not and
    /// had a failover, or its beginning, meanwhile.
    fn diverge(&self, client: &mut Client, cursor: Option<u64>) -> Result<(), String> {
        let known = self.feeds[client.feed];
        let is_dropped = |cursor| known.trimmed > cursor + 1 || known.highest > cursor + KEPT;
        let may_be_other = self.fail_overs > self.quiet || cursor == Some(0);
        let is_other = may_be_other && cursor.is_none_or(is_dropped);
        let is_true = known.losses > client.losses || is_other;
        ensure!(is_true, "nothing was lost of feed {} at {cursor:?}: {:?}", client.feed, client.account);
        // An answer may be of before another loss.
        client.losses = (client.losses + 1).min(known.losses);
        Ok(())
    }

    /// Returns true if nothing can keep a client from going on at this place.
    fn would_go_on(&self, client: &Client, place: &Place) -> bool {
        let (entries, known) = (self.entries(client.feed), self.feeds[client.feed]);
        let offset = place.position.offset;
        let is_there =
            place.number.is_some() && entries.get((offset as usize).wrapping_sub(1)) == place.number.as_ref();
        let is_kept = offset + KEPT / 2 > known.highest && offset > known.trimmed;
        is_there && is_kept && client.fail_overs == self.fail_overs && place.losses == known.losses
    }

    /// Ends all faults: in the end everybody has got, or been told of, everything.
    async fn be_quiet(&mut self) -> Result<(), String> {
        self.nodes.iter().for_each(|node| node.link.mend());
        for slot in 0..SLOTS {
            self.stall(slot, false);
            self.grant(slot, 1000).await;
        }
        // What is read of the past of a log is held for two seconds.
        for _ in 0..16 {
            self.advance(4).await;
            self.collect()?;
            self.read().await?;
        }
        ensure!(self.appends.is_empty(), "an append has no outcome");
        let feeds: Vec<_> = (0..FEEDS).map(|at| self.entries(at)).collect();
        for (slot, client) in self.followers.iter().enumerate() {
            let Some(client) = client else { continue };
            client.account.check(&feeds[client.feed]).map_err(|error| format!("slot {slot}: {error}"))?;
        }
        self.feeds.iter_mut().for_each(|known| known.noticed = known.losses);
        self.quiet = self.fail_overs;
        for node in &self.nodes {
            let memory = node.server.realtime().stats().memory;
            ensure!(memory.broker < BEATS_BYTES, "something waits for the broker: {memory:?}");
        }
        Ok(())
    }

    fn entries(&self, at: usize) -> Vec<u64> {
        let entries = self.nodes[0].link.entries(feed(at).name());
        entries.iter().map(|json| json.parse().unwrap()).collect()
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.below(end as u64) as usize
    }
}

impl Account {
    /// Compares it with all that is in the log in the end.
    fn check(&self, entries: &[u64]) -> Result<(), String> {
        ensure!(self.begun && !self.unresumed && !self.state, "it has not begun: {self:?}");
        let number = |offset: u64| entries.get((offset as usize).wrapping_sub(1)).copied();
        let is_false = self.base_number.is_some_and(|known| number(self.base) != Some(known));
        ensure!(!is_false, "falsely resumed: {self:?} in {entries:?}");
        let strange = self.delivered.iter().find(|(offset, delivered)| number(*offset) != Some(*delivered));
        ensure!(
            strange.is_none(),
            "{strange:?} is not in the log, and that was not told: {self:?} in {entries:?}"
        );
        let Some(cursor) = self.cursor else { return Ok(()) };
        let end = entries.len() as u64;
        ensure!(cursor == end, "it ends at {cursor} instead of {end}: {self:?}");
        let all = self.delivered.len() as u64 + self.missing;
        ensure!(all == cursor - self.base, "{all} of {} are told: {self:?}", cursor - self.base);
        Ok(())
    }
}

fn at(offset: u64) -> Account {
    Account { base: offset, cursor: Some(offset), ..Account::default() }
}

impl Node {
    async fn new(link: FaultyBroker) -> Self {
        let api = Endpoint::new(()).feed(FOLLOW, |_, at: usize| async move { Ok(feed(at).follow()) }).feed(
            STATE,
            |_, at: usize| async move {
                Ok(feed(at).follow().or_begin_with(|| async { Ok(json!({ "state": true })) }))
            },
        );
        let mut config = Config::default();
        // Nodes hold less than the log has.
        config.log_bytes = 8 * 1024;
        // Nobody is closed for being silent.
        (config.ping_interval, config.idle_timeout) = (Duration::from_secs(1 << 20), Duration::from_secs(1 << 21));
        let builder = Realtime::builder().config(config).endpoint("api", api).handler("follower", Follower);
        let server = TestServer::new(builder.broker(link.clone()).build());
        // The link runs from the first connection on.
        let _client = server.open("api").await.unwrap();
        Self { link, server }
    }
}

impl Client {
    async fn updates(&mut self) -> Vec<Update> {
        let mut updates = Vec::new();
        match &mut self.reads {
            Reads::Subscribed(client) | Reads::Messages(client) => {
                while let Some(frame) = client.try_frame().await.unwrap() {
                    updates.extend(Update::of(serde_json::from_str(&frame.as_text()).unwrap()));
                }
            }
            Reads::Updates(stream) => {
                let mut cx = Context::from_waker(Waker::noop());
                while let Poll::Ready(update) = stream.as_mut().poll_next(&mut cx) {
                    updates.push(match update.expect("it does not end").unwrap() {
                        FeedUpdate::Begun(Begun { position, resumed, .. }) => {
                            Update::Begun { offset: position.offset, resumed }
                        }
                        FeedUpdate::Item(item) => Update::Entry {
                            number: item.value.as_u64().unwrap(),
                            position: item.position.unwrap(),
                        },
                        FeedUpdate::Gap(gap) => Update::Gap(gap),
                        other => panic!("{other:?}"),
                    });
                }
            }
        }
        updates
    }
}

impl Update {
    fn of(frame: Value) -> Option<Self> {
        let begun =
            |of: &Value| Self::Begun { offset: of["offset"].as_u64().unwrap(), resumed: of["resumed"].as_bool() };
        let value = if frame["type"] == "data" { &frame["data"] } else { &frame["value"] };
        match frame["type"].as_str().unwrap() {
            "subscribed" => Some(begun(&frame)),
            "message" if value.get("begun").is_some() => Some(begun(value)),
            "data" if value.get("state").is_some() => {
                Some(Self::State { offset: frame["offset"].as_u64().unwrap() })
            }
            "data" | "message" => {
                let number = value.as_u64().unwrap();
                Some(Self::Entry { number, position: serde_json::from_value(frame.clone()).unwrap() })
            }
            "gap" => Some(Self::Gap(serde_json::from_value(frame).unwrap())),
            "error" => panic!("{frame}"),
            _ => None,
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}
