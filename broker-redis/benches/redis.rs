//! `cargo bench -p broker-redis`: the CPU time of a server for each append and publication, and of a node for each entry
//! that arrives. The workloads take turns on one server of their own; the median of the rounds counts.

#[path = "../tests/servers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "a part is used")]
mod support;

use adapter_testing::block_on;
use broker_redis::{Redis, RedisBroker};
use bytes::Bytes;
use realtime_core::{
    Broker,
    broker::{Body, FollowChange, Logged, Publication, Source, Writer},
};
use redis::{Connection, Pipeline};
use std::{
    fs, thread,
    time::{Duration, Instant},
};
use support::Server;

const ROUNDS: usize = 7;
const FEEDS: usize = 1000;
const ENTRY: usize = 256;
/// Requests in a round.
const REQUESTS: usize = 20_000;
/// Requests in one write.
const PIPELINE: usize = 100;

const OTHER: &str = include_str!("other.lua");
const OURS: &str = include_str!("../src/scripts/append.lua");

/// A workload, and how many entries one of its requests carries.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    /// The established shape; with a key for publishers that retry.
    Other {
        remembers: bool,
    },
    Append(usize),
    Publish,
}

const WORKS: [Work; 6] = [
    Work::Other { remembers: false },
    Work::Other { remembers: true },
    Work::Append(1),
    Work::Append(4),
    Work::Append(16),
    Work::Publish,
];

/// The CPU time of an entry in a round, in microseconds.
#[derive(Clone, Copy, Default)]
struct Cost {
    server: f64,
    node: f64,
}

fn main() {
    // `cargo test` only shows that all still work: one round of a few requests.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (rounds, requests) = if is_measured { (ROUNDS, REQUESTS) } else { (1, 2 * PIPELINE) };
    let server = Server::start(&["appendonly no"]);
    let node = Node::connect(&server);
    let mut costs = vec![Vec::new(); WORKS.len()];
    for round in 0..=rounds {
        for (at, work) in WORKS.iter().enumerate() {
            let cost = measure(&server, &node, *work, requests);
            // The first round fills the logs.
            if round > 0 {
                costs[at].push(cost);
            }
        }
    }
    report(&costs);
}

fn measure(server: &Server, node: &Node, work: Work, requests: usize) -> Cost {
    let mut connection = server.connect();
    let sha = load(&mut connection, if work.is_other() { OTHER } else { OURS });
    let round = fastrand::u64(..);
    let pipes: Vec<_> = (0..requests / PIPELINE).map(|batch| pipe(&sha, work, round, batch)).collect();
    let before = (server_time(&mut connection), node.time());
    for pipe in &pipes {
        pipe.exec(&mut connection).expect("the server takes each of them");
    }
    if !work.is_other() {
        node.receive(requests);
    }
    let after = (server_time(&mut connection), node.time());
    let entries = (requests * work.entries()) as f64;
    Cost { server: (after.0 - before.0) / entries, node: (after.1 - before.1) / entries }
}

impl Work {
    fn is_other(self) -> bool {
        matches!(self, Self::Other { .. })
    }

    fn entries(self) -> usize {
        if let Self::Append(entries) = self { entries } else { 1 }
    }
}

fn pipe(sha: &str, work: Work, round: u64, batch: usize) -> Pipeline {
    let mut pipe = redis::pipe();
    for request in batch * PIPELINE..(batch + 1) * PIPELINE {
        let feed = request % FEEDS;
        let channel = |kind| format!("bench:{{p0-0}}:{kind}:{feed}");
        match work {
            Work::Publish => {
                let message = Publication::new(1, feed.to_string(), json(), None, Vec::new()).encode();
                pipe.cmd("PUBLISH").arg(channel("t")).arg(&*message);
            }
            Work::Other { remembers } => {
                let result = format!("bench:{{p0-0}}:result:{round}:{request}");
                let (result, life) = if remembers { (&*result, "300") } else { ("", "") };
                pipe.cmd("EVALSHA").arg(sha).arg(3).arg(channel("history")).arg(channel("meta")).arg(result);
                pipe.arg(&*json()).arg(100).arg(600).arg(86_400).arg("abcd").arg(channel("other"));
                pipe.arg("PUBLISH").arg(life);
            }
            Work::Append(entries) => {
                let body = body(request as u64, entries).encode();
                pipe.cmd("EVALSHA").arg(sha).arg(2).arg(channel("e")).arg(channel("s"));
                pipe.arg(format!("{:016x}", fastrand::u64(..))).arg(entries).arg(&*body).arg("0a1b2c3d");
                pipe.arg(100).arg(2 * DAY).arg(DAY).arg(channel("l")).arg("PUBLISH").arg(TIME);
            }
        }
    }
    pipe
}

const DAY: u64 = 86_400_000;
const TIME: u64 = 1_800_000_000_000;

fn body(number: u64, entries: usize) -> Body {
    let entry = || Logged { json: json(), whole: None, key: None };
    let entries = (0..entries).map(|_| entry()).collect();
    Body { writer: Writer { node: 1, number }, time: TIME, entries }
}

fn json() -> Bytes {
    format!("\"{}\"", "x".repeat(ENTRY - 2)).into()
}

fn load(connection: &mut Connection, script: &str) -> String {
    redis::cmd("SCRIPT").arg("LOAD").arg(script).query(connection).expect("the script is loaded")
}

/// Returns the CPU time of the server in microseconds.
fn server_time(connection: &mut Connection) -> f64 {
    let info: redis::InfoDict = redis::cmd("INFO").arg("cpu").query(connection).expect("the server answers");
    let seconds = |key| info.get::<f64>(key).unwrap_or_default();
    (seconds("used_cpu_user") + seconds("used_cpu_sys")) * 1e6
}

/// A node that follows all feeds and topics; another listens to the channels of the other script.
struct Node {
    broker: RedisBroker,
    thread: String,
}

impl Node {
    fn connect(server: &Server) -> Self {
        let mut listener = server.connect();
        let mut subscribe = redis::cmd("SUBSCRIBE");
        for feed in 0..FEEDS {
            subscribe.arg(format!("bench:{{p0-0}}:other:{feed}"));
        }
        listener.set_read_timeout(None).expect("it is a socket");
        thread::spawn(move || {
            let _ = listener.send_packed_command(&subscribe.get_packed_command());
            while listener.recv_response().is_ok() {}
        });
        let before = threads();
        let redis = Redis::url(server.url())
            .prefix("bench")
            .partitions(1)
            .time_limit(Duration::from_secs(4))
            .waiting(1 << 30);
        let broker = block_on(RedisBroker::connect(redis)).expect("the server answers");
        let thread = threads().into_iter().find(|thread| !before.contains(thread)).expect("it has a thread");
        let change = |feed: usize, of| FollowChange { topic: feed.to_string(), of, wanted: true };
        let changes: Vec<_> =
            (0..FEEDS).flat_map(|feed| [Source::Topic, Source::Log].map(|of| change(feed, of))).collect();
        block_on(broker.follow(&changes)).expect("it follows");
        Self { broker, thread }
    }

    /// Waits until so much has arrived, without asking all the time.
    fn receive(&self, count: usize) {
        let (mut arrived, begun) = (Vec::new(), Instant::now());
        while arrived.len() < count {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} of {count} came", arrived.len());
            block_on(self.broker.receive(&mut arrived)).expect("the link is up");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Returns the CPU time of its thread in microseconds.
    fn time(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.thread)).unwrap_or_default();
        text.split(' ').next().and_then(|time| time.parse::<f64>().ok()).unwrap_or_default() / 1e3
    }
}

fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.map(|task| task.file_name().to_string_lossy().into_owned()).collect()
}

#[expect(clippy::print_stdout, reason = "it reports")]
fn report(costs: &[Vec<Cost>]) {
    let median = |costs: &[Cost], of: fn(&Cost) -> f64| {
        let mut all: Vec<_> = costs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    // Rounds are compared with themselves, because the speed of the machine changes between them.
    let ratio = |costs: &[Cost], others: &[Cost]| {
        let mut all: Vec<_> = costs.iter().zip(others).map(|(cost, other)| cost.server / other.server).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!(
        "| for each entry of {ENTRY} bytes | server, µs | to epoch and offset | node, µs |\n|---|--:|--:|--:|"
    );
    for (work, cost) in WORKS.iter().zip(costs) {
        let name = match work {
            Work::Other { remembers: false } => "the established script: epoch and offset".to_owned(),
            Work::Other { remembers: true } => "the same, so that a retry is known".to_owned(),
            Work::Append(1) => "append".to_owned(),
            Work::Append(entries) => format!("append, {entries} entries a record"),
            Work::Publish => "publish to a topic".to_owned(),
        };
        let node =
            if work.is_other() { "–".to_owned() } else { format!("{:.2}", median(cost, |cost| cost.node)) };
        let server = median(cost, |cost| cost.server);
        println!("| {name} | {server:.2} | {:.2} | {node} |", ratio(cost, &costs[0]));
    }
}
