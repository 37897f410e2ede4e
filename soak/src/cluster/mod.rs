//! `cargo xtask soak cluster`: three nodes on one Redis. Nodes and Redis are killed and stopped, and the network between them and to
//! the clients has faults, while all nodes append. Each client gets every acknowledged entry once and in order, or is told.

mod books;
mod calm;
mod door;
mod faults;
mod line;
mod node;
mod reader;
mod redis;
mod writer;

pub(crate) use door::Door;
pub(crate) use node::serve;
pub(crate) use redis::{FILE, Redis};

use crate::{Outcome, process};
use node::{Node, READY};
use reader::{Reader, connect};
use realtime_client::Position;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Builder, task::JoinHandle, time::sleep};
use writer::{Told, append, write};

const NODES: usize = 3;

/// Feeds, each with a writer on every node.
const FEEDS: usize = 100;

/// The clients of each feed.
const READERS: usize = 3;

/// The time in which all clients begin, or catch up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    messages: u64,
    /// Messages in a second, of all writers together.
    rate: u64,
    seed: u64,
    /// Redis keeps what it has in a file. Without one it is empty after a kill.
    file: bool,
    /// Faults are made; without them all nodes have to be ready all the time.
    faults: bool,
}

impl Options {
    pub(crate) fn of(words: &[&str]) -> Outcome<Self> {
        let seed = fastrand::u64(..1 << 32);
        let mut options = Self { messages: 1_000_000, rate: 3000, seed, file: true, faults: true };
        let mut words = words.iter();
        while let Some(&name) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{name} has no value"));
            match name {
                "--no-file" => options.file = false,
                "--no-faults" => options.faults = false,
                "--messages" => options.messages = value()?.parse()?,
                "--rate" => options.rate = value()?.parse::<u64>()?.max(1),
                "--seed" => options.seed = value()?.parse()?,
                unknown => return Err(format!("there is no option {unknown}").into()),
            }
        }
        Ok(options)
    }
}

pub(crate) fn run(options: &Options) -> Outcome {
    process::raise_file_limit()?;
    Builder::new_current_thread().enable_all().build()?.block_on(cluster(options))
}

async fn cluster(options: &Options) -> Outcome {
    let Options { messages, seed, file, faults, .. } = *options;
    println!(
        "{messages} messages, {NODES} nodes, Redis with{} a file, seed {seed}",
        if file { "" } else { "out" }
    );
    let begun = Instant::now();
    let mut redis = Redis::start(if file { FILE } else { redis::NO_FILE })?;
    let (mut nodes, mut to_redis) = (Vec::new(), Vec::new());
    for number in 1..=NODES as u64 {
        let door = Door::open(vec![redis.port], seed.wrapping_add(number)).await?;
        nodes.push(Node::start(number, door.port, redis.port)?);
        to_redis.push(door);
    }
    let door = Door::open(nodes.iter().map(|node| node.port).collect(), seed).await?;
    let doors = [vec![door.clone()], to_redis].concat();
    let readers: Vec<_> = (0..FEEDS * READERS).map(|number| Reader::start(door.port, number % FEEDS)).collect();
    wait("all clients have begun", || readers.iter().all(Reader::has_begun)).await?;

    // A position before the first entry is one of every log: who has got nothing of a log is not told that it was lost.
    let (firsts, first): (Vec<_>, Vec<_>) = appended(door.port, 0).await?.into_iter().unzip();
    wait("all clients have got an entry", || readers.iter().all(|reader| reader.has(&firsts))).await?;

    ready(&nodes).await?;
    let writers = writers(&nodes, options);
    let over = AtomicBool::new(false);
    let troubled = async {
        match faults {
            true => Ok(faults::make(&mut redis, &mut nodes, &doors, seed, &over).await?.to_string()),
            false => calm::watch(&nodes, &over).await,
        }
    };
    let (happened, told) = tokio::join!(troubled, async {
        let told = joined(writers).await;
        over.store(true, Relaxed);
        told
    });
    println!("{}", happened?);
    let mut told = told?;
    ready(&nodes).await?;
    let (ends, last): (Vec<_>, Vec<_>) = appended(door.port, 1).await?.into_iter().unzip();
    told.extend(first);
    told.extend(last);
    let caught_up = wait("all clients have caught up", || readers.iter().all(|reader| reader.has(&ends))).await;
    let stopping = readers.into_iter().map(|reader| tokio::spawn(reader.stop())).collect();
    let books = joined(stopping).await?;
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    if caught_up.is_err() {
        println!("{}", books::behind(&books, &ends));
    }
    books::settle(&told, &books, file).and(caught_up)
}

/// Starts the writers, each with a feed and a node.
fn writers(nodes: &[Node], options: &Options) -> Vec<JoinHandle<Told>> {
    let left = Arc::new(AtomicU64::new(options.messages));
    let pause = Duration::from_secs_f64((FEEDS * NODES) as f64 / options.rate as f64);
    let clients: Vec<_> = nodes.iter().map(|node| connect(node.port)).collect();
    let start = |number: usize| {
        let client = clients[number / FEEDS].clone();
        tokio::spawn(write(client, number % FEEDS, number as u64, pause, Arc::clone(&left)))
    };
    (0..FEEDS * NODES).map(start).collect()
}

async fn joined<T>(tasks: Vec<JoinHandle<T>>) -> Outcome<Vec<T>> {
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await?);
    }
    Ok(results)
}

/// Waits until all nodes are ready.
async fn ready(nodes: &[Node]) -> Outcome {
    for node in nodes {
        let client = connect(node.port);
        let ready = async {
            while !client.call(READY, ()).await.unwrap_or(false) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        within("all nodes are ready", ready).await?;
        client.close().await;
    }
    Ok(())
}

/// Appends an entry to each feed, until that is acknowledged. Each `round` has entries of its own.
async fn appended(port: u16, round: usize) -> Outcome<Vec<(Position, Told)>> {
    let client = connect(port);
    let append_to = |feed: usize| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut told = Told::default();
            // Other entries than those of the writers.
            let mut entry = ((FEEDS * (NODES + round) + feed) as u64) << 32;
            loop {
                if let Some(position) = append(&client, feed, entry, &mut told).await {
                    return (position, told);
                }
                entry += 1;
                sleep(Duration::from_millis(50)).await;
            }
        })
    };
    within("all feeds are appended to", joined((0..FEEDS).map(append_to).collect())).await?
}

async fn wait(what: &str, is_so: impl Fn() -> bool) -> Outcome {
    let holds = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    within(what, holds).await
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> Outcome<T> {
    let late = |_| format!("not within {} s: {what}", PATIENCE.as_secs()).into();
    tokio::time::timeout(PATIENCE, future).await.map_err(late)
}
