//! A writer that changes a state and its log as fast as it can, and readers that join at random: each of them has, at each
//! position, all that was written up to there, and ends with the writer's state. Whoever loads the state gives way in the middle of it, so does the writer between the state and the log.
//!
//! Faults planted by hand, all of which are found here: the log before the state; the position after the state; a state that
//! is sent behind entries; a reader that goes on over a gap.

#[path = "support/node.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod node;

use adapter_testing::TestFrame;
use futures_util::lock::Mutex as AsyncMutex;
use node::{Link, Node};
use proptest::{collection::vec, prelude::*};
use realtime_core::{
    Call, Config, Connection, Endpoint, Feed, Handler, Log, Position, Procedure, Realtime, Result, Subscription,
    Topic,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

const CELLS: usize = 6;
const READERS: usize = 5;
/// Few enough for those who are away to miss some.
const KEPT: usize = 12;

/// A change of the cells, or all of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Change {
    Whole([u64; CELLS]),
    /// May come again.
    Set {
        cell: usize,
        to: u64,
    },
    /// May not.
    Add {
        cell: usize,
        more: u64,
    },
}

const SETS: Feed<Change> = Topic::fixed("sets").log(Log::last(KEPT));
const ADDS: Feed<Change> = Topic::fixed("adds").log(Log::last(KEPT));
const SET: Procedure<(usize, u64), ()> = Procedure::new("set");
const ADD: Procedure<(usize, u64), ()> = Procedure::new("add");
/// The cells that are added to, and the position behind which their changes come.
const LOAD: Procedure<(), ([u64; CELLS], Position)> = Procedure::query("load");
const FOLLOW_SETS: Subscription<(), Change> = Subscription::new("follow_sets");
const FOLLOW_ADDS: Subscription<(), Change> = Subscription::new("follow_adds");

/// The writer's state. One change at a time is made and appended.
struct Sheet {
    set: Mutex<[u64; CELLS]>,
    added: Mutex<[u64; CELLS]>,
    writing: AsyncMutex<()>,
    dice: Mutex<u64>,
    rounds: Mutex<Rounds>,
}

/// The rounds so far, and those who wait for later ones.
#[derive(Default)]
struct Rounds {
    count: u64,
    waiting: Vec<Waker>,
}

impl Sheet {
    fn new(seed: u64) -> Arc<Self> {
        let (set, added) = (Mutex::default(), Mutex::default());
        Arc::new(Self {
            set,
            added,
            writing: AsyncMutex::new(()),
            dice: Mutex::new(seed | 1),
            rounds: Mutex::default(),
        })
    }

    /// Lets others go on, for some rounds or none.
    async fn give_way(&self) {
        let turns = {
            let mut dice = self.dice.lock().unwrap();
            *dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (*dice >> 62).saturating_sub(1)
        };
        let until = self.rounds.lock().unwrap().count + turns;
        poll_fn(|cx| {
            let mut rounds = self.rounds.lock().unwrap();
            if rounds.count >= until {
                return Poll::Ready(());
            }
            rounds.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Begins the next round. Returns true if somebody has waited for it.
    fn turn(&self) -> bool {
        let waiting = {
            let mut rounds = self.rounds.lock().unwrap();
            rounds.count += 1;
            mem::take(&mut rounds.waiting)
        };
        waiting.iter().for_each(Waker::wake_by_ref);
        !waiting.is_empty()
    }

    /// The cells one after the other, while they change.
    async fn load(&self) -> Change {
        let mut cells = [0; CELLS];
        for (cell, loaded) in cells.iter_mut().enumerate() {
            *loaded = self.set.lock().unwrap()[cell];
            self.give_way().await;
        }
        Change::Whole(cells)
    }
}

async fn set(call: Call<Arc<Sheet>>, (cell, to): (usize, u64)) -> Result {
    let sheet = call.state();
    let _writing = sheet.writing.lock().await;
    sheet.set.lock().unwrap()[cell] = to;
    sheet.give_way().await;
    call.append(&SETS, &Change::Set { cell, to }).await?;
    Ok(())
}

async fn add(call: Call<Arc<Sheet>>, (cell, more): (usize, u64)) -> Result {
    let sheet = call.state();
    let _writing = sheet.writing.lock().await;
    sheet.added.lock().unwrap()[cell] += more;
    sheet.give_way().await;
    call.append(&ADDS, &Change::Add { cell, more }).await?;
    Ok(())
}

async fn load(call: Call<Arc<Sheet>>, (): ()) -> Result<([u64; CELLS], Position)> {
    let sheet = call.state();
    let _writing = sheet.writing.lock().await;
    let cells = *sheet.added.lock().unwrap();
    sheet.give_way().await;
    Ok((cells, call.position(&ADDS).await?))
}

/// Follows the cells that are set.
struct Follower(Arc<Sheet>);

impl Handler for Follower {
    type Input = ();
    type ClientMessage = Option<Position>;
    type ServerMessage = Change;

    async fn on_message(&self, connection: &Connection<Self>, after: Option<Position>) -> Result {
        let load = || async { Ok(self.0.load().await) };
        connection.follow_or_begin_with(&SETS, after.as_ref(), load).await?;
        Ok(())
    }
}

fn node(sheet: &Arc<Sheet>) -> Node {
    let mut config = Config::default();
    (config.outbox_bytes, config.calls_per_connection) = (1024, 10_000);
    let api = Endpoint::new(Arc::clone(sheet))
        .procedure(SET, set)
        .procedure(ADD, add)
        .procedure(LOAD, load)
        .feed(FOLLOW_SETS, |call: Call<Arc<Sheet>>, ()| async move {
            let sheet = Arc::clone(call.state());
            Ok(SETS.follow().or_begin_with(move || async move { Ok(sheet.load().await) }))
        })
        .feed(FOLLOW_ADDS, |_, ()| async { Ok(ADDS.follow()) });
    let builder = Realtime::builder().config(config).endpoint("api", api);
    Node::new(builder.handler("follower", Follower(Arc::clone(sheet))).manual_time().build())
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many changes at once.
    Write {
        count: usize,
        seed: u64,
    },
    Join {
        reader: usize,
    },
    Leave {
        reader: usize,
    },
    /// Reads so many bytes, and then nothing; all, if it is not said.
    Read {
        reader: usize,
        bytes: Option<usize>,
    },
    Run {
        rounds: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let reader = || 0..READERS;
    prop_oneof![
        6 => (1..20_usize, any::<u64>()).prop_map(|(count, seed)| Step::Write { count, seed }),
        4 => reader().prop_map(|reader| Step::Join { reader }),
        2 => reader().prop_map(|reader| Step::Leave { reader }),
        2 => (reader(), 0..2000_usize).prop_map(|(reader, bytes)| Step::Read { reader, bytes: Some(bytes) }),
        3 => reader().prop_map(|reader| Step::Read { reader, bytes: None }),
        6 => (1..8_usize).prop_map(|rounds| Step::Run { rounds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_ends_with_the_state_of_the_writer(seed in any::<u64>(), steps in vec(step(), 1..60)) {
        run(seed, &steps);
    }
}

fn run(seed: u64, steps: &[Step]) {
    let sheet = Sheet::new(seed);
    let mut node = node(&sheet);
    let mut writer = Writer::new(node.connect("api"));
    let mut readers: Vec<_> = (0..READERS).map(Reader::new).collect();
    for step in steps {
        match *step {
            Step::Write { count, seed } => writer.write(count, seed),
            Step::Join { reader } => readers[reader].join(&mut node),
            Step::Leave { reader } => readers[reader].leave(),
            Step::Read { reader, bytes } => readers[reader].open(bytes),
            Step::Run { rounds } => {
                for _ in 0..rounds {
                    node.round();
                    sheet.turn();
                }
            }
        }
        readers.iter_mut().for_each(|reader| reader.read(&mut node));
    }
    // Who has missed something comes back for the state.
    for _ in 0..2 {
        for reader in &mut readers {
            reader.open(None);
            reader.join(&mut node);
        }
        settle(&mut node, &sheet);
        readers.iter_mut().for_each(|reader| reader.read(&mut node));
        settle(&mut node, &sheet);
        readers.iter_mut().for_each(|reader| reader.read(&mut node));
    }
    writer.read();
    for reader in &readers {
        let of = if reader.way == Way::Adds { &sheet.added } else { &sheet.set };
        assert_eq!(reader.cells, *of.lock().unwrap(), "{reader:?}");
        for (position, cells) in &reader.seen {
            writer.check(reader.way, *position, cells);
        }
    }
}

fn settle(node: &mut Node, sheet: &Sheet) {
    node.settle().unwrap();
    while sheet.turn() {
        node.settle().unwrap();
    }
}

struct Writer {
    link: Link,
    /// What it has called: the number of the call is what is set, or added.
    calls: Vec<(Kind, usize)>,
    /// The number of the call that has written each entry.
    log: HashMap<(Kind, u64), usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Set,
    Add,
}

impl Writer {
    fn new(link: Link) -> Self {
        Self { link, calls: Vec::new(), log: HashMap::new() }
    }

    fn write(&mut self, count: usize, mut seed: u64) {
        for _ in 0..count {
            seed = seed.rotate_left(7).wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let (cell, kind) = (seed as usize % CELLS, if seed >> 9 & 1 == 0 { Kind::Set } else { Kind::Add });
            self.calls.push((kind, cell));
            let number = self.calls.len();
            let path = if kind == Kind::Set { "set" } else { "add" };
            let call = json!({ "type": "call", "id": number.to_string(), "path": path, "input": [cell, number] });
            self.link.send(&TestFrame::text(&call.to_string()));
        }
        self.read();
    }

    fn read(&mut self) {
        for frame in self.link.take() {
            let packet: Value = serde_json::from_str(&frame.as_text()).unwrap();
            assert_eq!(packet["type"], "result", "{packet}");
            let number: usize = packet["id"].as_str().unwrap().parse().unwrap();
            let (kind, _) = self.calls[number - 1];
            self.log.insert((kind, packet["wrote"][0]["offset"].as_u64().unwrap()), number);
        }
    }

    /// Compares the cells at a position with what was written up to there. Those that are set may be newer.
    fn check(&self, way: Way, position: u64, cells: &[u64; CELLS]) {
        let kind = if way == Way::Adds { Kind::Add } else { Kind::Set };
        let entries = || (1..=position).map(|offset| self.log[&(kind, offset)]);
        for (cell, has) in cells.iter().enumerate() {
            let mut changes =
                entries().filter(|number| self.calls[number - 1].1 == cell).map(|number| number as u64);
            if kind == Kind::Add {
                assert_eq!(changes.sum::<u64>(), *has, "{way:?} at {position}");
                continue;
            }
            let offset_of = |number: u64| {
                let entry = self.log.iter().find(|((of, _), by)| *of == kind && **by as u64 == number);
                entry.map_or(0, |((_, offset), _)| *offset)
            };
            let last = changes.next_back().map_or(0, offset_of);
            assert!(offset_of(*has) >= last, "{way:?} at {position}: {has} is older than what is at {last}");
        }
    }
}

/// The way in which a reader follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A subscription that begins with the state, with frames of its own or shared ones.
    Sets {
        shared: bool,
    },
    Messages,
    /// Loads the state by a call, and subscribes behind its position.
    Adds,
}

struct Reader {
    way: Way,
    link: Option<Link>,
    cells: [u64; CELLS],
    last: Option<Position>,
    /// What it had at each position.
    seen: Vec<(u64, [u64; CELLS])>,
}

impl Reader {
    fn new(number: usize) -> Self {
        let way = match number {
            0 | 1 => Way::Sets { shared: number == 1 },
            2 => Way::Messages,
            _ => Way::Adds,
        };
        Self { way, link: None, cells: [0; CELLS], last: None, seen: Vec::new() }
    }

    /// Connects, unless it is there, and goes on where it was.
    fn join(&mut self, node: &mut Node) {
        if self.link.is_none() {
            self.link = Some(node.connect(if self.way == Way::Messages { "follower" } else { "api" }));
            self.ask();
        }
    }

    fn ask(&self) {
        let Self { way, link: Some(link), last, .. } = self else { return };
        let asked = match way {
            Way::Sets { shared } => {
                json!({ "type": "subscribe", "id": "s", "path": "follow_sets", "after": last, "shared": shared })
            }
            Way::Messages => json!({ "type": "message", "value": last }),
            Way::Adds if last.is_none() => json!({ "type": "call", "id": "l", "path": "load" }),
            Way::Adds => json!({ "type": "subscribe", "id": "s", "path": "follow_adds", "after": last }),
        };
        link.send(&TestFrame::text(&asked.to_string()));
    }

    fn leave(&mut self) {
        self.link.take().inspect(Link::cut);
    }

    /// Reads so many bytes and then nothing, or all.
    fn open(&self, bytes: Option<usize>) {
        self.link.iter().for_each(|link| link.read(bytes));
    }

    fn read(&mut self, node: &mut Node) {
        let frames = self.link.as_mut().map(Link::take).unwrap_or_default();
        for frame in frames {
            let packet: Value = serde_json::from_str(&frame.as_text()).unwrap();
            match packet["type"].as_str().unwrap() {
                "subscribed" => {}
                "result" => {
                    let loaded = serde_json::from_value(packet["data"].clone()).unwrap();
                    let (cells, last): ([u64; CELLS], Position) = loaded;
                    self.seen.push((last.offset, cells));
                    (self.cells, self.last) = (cells, Some(last));
                    self.ask();
                }
                "data" => self.apply(&packet["data"], &packet),
                "message" => self.apply(&packet["value"], &packet),
                "gap" => {
                    // It loads the state again.
                    self.last = None;
                    self.leave();
                    return self.join(node);
                }
                _ => panic!("{packet}"),
            }
        }
    }

    fn apply(&mut self, change: &Value, place: &Value) {
        match serde_json::from_value(change.clone()).unwrap() {
            Change::Whole(cells) => self.cells = cells,
            Change::Set { cell, to } => self.cells[cell] = to,
            Change::Add { cell, more } => self.cells[cell] += more,
        }
        let epoch = place["epoch"].as_str().unwrap();
        let offset = place["offset"].as_u64().unwrap();
        self.seen.push((offset, self.cells));
        self.last = Some(Position::new(epoch, offset));
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with {:?} at {:?}", self.way, self.cells, self.last)
    }
}
