//! `cargo xtask soak failover`: a replica takes over that lacks the newest entries of half of the topics, and is appended to past
//! their old ends. Whoever comes back is told "resumed" where that is true, and only there.

use crate::{
    Outcome,
    cluster::{Door, FILE, Redis},
    process,
};
use adapter_hyper::raw::Tokio;
use broker_redis::RedisBroker;
use futures_util::StreamExt;
use realtime_core::{Config, Error, Feed, FeedUpdate, Log, Position, Realtime, Topic};
use rustix::process::Signal;
use std::time::{Duration, Instant};
use tokio::{runtime::Builder, task::JoinSet, time::timeout};

/// Entries before the failover that the replica has, at most.
const KEPT: u64 = 4;

/// Entries of half of the topics that are lost with the master, at most.
const LOST: u64 = 3;

/// Entries that are appended to each topic after the failover: past all old ends.
const AFTER: u64 = LOST + 2;

/// Requests at a time.
const AT_ONCE: usize = 256;

const PATIENCE: Duration = Duration::from_secs(120);

/// A position that a client has when it comes back.
#[derive(Clone, Debug)]
struct Seen {
    topic: usize,
    position: Position,
    is_lost: bool,
}

/// The answers that those who came back got.
#[derive(Clone, Copy, Debug, Default)]
struct Verdicts {
    resumed: u64,
    falsely: u64,
    refused: u64,
    needlessly: u64,
}

impl Verdicts {
    fn add(&mut self, resumed: bool, is_lost: bool) {
        self.resumed += u64::from(resumed);
        self.falsely += u64::from(resumed && is_lost);
        self.refused += u64::from(!resumed);
        self.needlessly += u64::from(!resumed && !is_lost);
    }
}

pub(crate) fn run(words: &[&str]) -> Outcome {
    let topics = match words {
        [] => 10_000,
        ["--topics", count] => count.parse()?,
        _ => return Err("usage: soak failover [--topics N]".into()),
    };
    process::raise_file_limit()?;
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let late = |_| format!("not within {} s", PATIENCE.as_secs());
        timeout(PATIENCE, failover(topics)).await.map_err(late)?
    })
}

fn feed(topic: usize) -> Feed<u64> {
    Topic::new(format!("topic {topic}")).log(Log::last(100))
}

async fn failover(topics: usize) -> Outcome {
    let begun = Instant::now();
    let mut master = Redis::start(&[FILE, &["--repl-diskless-sync-delay", "0"]].concat())?;
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()])?;
    // Appends before its first load is over could be in what it has not loaded yet.
    wait_for_replica(&master)?;
    let door = Door::open(vec![master.port], 0).await?;
    let writer = node(1, door.port).await?;
    let kept = append_to_all(&writer, topics, |_| fastrand::u64(1..=KEPT)).await?;
    wait_for_replica(&master)?;
    replica.signal(Signal::STOP)?;
    master.ask("CLIENT KILL TYPE replica")?;
    let lost = append_to_all(&writer, topics, |topic| (topic % 2) as u64 * fastrand::u64(1..=LOST)).await?;
    master.kill()?;
    replica.signal(Signal::CONT)?;
    replica.ask("REPLICAOF NO ONE")?;
    door.lead_to(replica.port);
    append_to_all(&writer, topics, |_| AFTER).await?;

    let kept = kept.into_iter().map(|(topic, position)| Seen { topic, position, is_lost: false });
    let lost = lost.into_iter().map(|(topic, position)| Seen { topic, position, is_lost: true });
    let seen: Vec<_> = kept.chain(lost).collect();
    // On a node that has not seen any of it, and on the one that has appended it all.
    let fresh = node(2, door.port).await?;
    let mut told = Verdicts::default();
    let mut control = Verdicts::default();
    for node in [&fresh, &writer] {
        come_back(node, &seen, &mut told, &mut control).await?;
    }
    println!("{topics} topics, of which {} have lost entries; {:.1} s", topics / 2, begun.elapsed().as_secs_f64());
    println!("with proofs:         {}", shown(&told));
    println!("by epoch and offset: {}", shown(&control));
    if told.falsely > 0 || told.needlessly > 0 {
        return Err("a proof said what is not so".into());
    }
    if control.falsely == 0 {
        return Err("the failover lost nothing that a proof is needed for".into());
    }
    Ok(())
}

/// Waits until the replica has what the master has.
fn wait_for_replica(master: &Redis) -> Outcome {
    let up_to_date = master.ask("WAIT 1 20000")?;
    if up_to_date == ":1" { Ok(()) } else { Err("the replica does not follow its master".into()) }
}

fn shown(Verdicts { resumed, falsely, refused, needlessly }: &Verdicts) -> String {
    format!("{resumed} resumed, {falsely} of them falsely; {refused} diverged, {needlessly} of them needlessly")
}

async fn node(number: u64, port: u16) -> Outcome<Realtime> {
    let redis = broker_redis::Redis::url(format!("redis://127.0.0.1:{port}/"));
    let broker = RedisBroker::connect(redis).await.map_err(|error| error.to_string())?;
    let mut config = Config::default();
    config.append_timeout = Duration::from_secs(20);
    let realtime = Realtime::builder().config(config).node(number).broker(broker).build();
    realtime.start(Tokio::current().ok_or("no runtime")?);
    Ok(realtime)
}

/// Appends a number of entries to each topic. Returns the position of the last one, where there is one.
async fn append_to_all(
    node: &Realtime,
    topics: usize,
    count: impl Fn(usize) -> u64,
) -> Outcome<Vec<(usize, Position)>> {
    let append = |topic: usize| {
        let (node, count) = (node.clone(), count(topic));
        async move {
            let mut last = None;
            for entry in 0..count {
                last = Some(node.append(&feed(topic), &entry).await.map_err(Error::from)?);
            }
            Ok(last.map(|position| (topic, position)))
        }
    };
    Ok(all((0..topics).map(append)).await?.into_iter().flatten().collect())
}

/// Has clients with these positions come back, and compares what they are told with what is so.
async fn come_back(node: &Realtime, seen: &[Seen], told: &mut Verdicts, control: &mut Verdicts) -> Outcome {
    let ask = |seen: Seen| {
        let node = node.clone();
        async move {
            let feed = feed(seen.topic);
            let end = node.position(&feed).await?;
            let mut updates = std::pin::pin!(node.follow(&feed, Some(&seen.position))?);
            let begun = match updates.next().await.ok_or("no beginning")?? {
                FeedUpdate::Begun(begun) => begun,
                other => return Err(format!("begins with {other:?}").into()),
            };
            Ok((begun.resumed == Some(true), by_offset(&seen.position, &end), seen.is_lost))
        }
    };
    for (resumed, by_offset, is_lost) in all(seen.iter().cloned().map(ask)).await? {
        told.add(resumed, is_lost);
        control.add(by_offset, is_lost);
    }
    Ok(())
}

/// The usual test: the log has the same name, which a failover does not change, and is as long.
fn by_offset(seen: &Position, end: &Position) -> bool {
    let log = |position: &Position| position.epoch.split('.').next().map(str::to_owned);
    log(seen) == log(end) && seen.offset <= end.offset
}

/// Runs all, some at a time.
async fn all<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = Outcome<T>> + Send + 'static>,
) -> Outcome<Vec<T>> {
    let (mut running, mut results) = (JoinSet::new(), Vec::new());
    for task in tasks {
        if running.len() == AT_ONCE {
            results.extend(running.join_next().await.transpose()?.transpose()?);
        }
        running.spawn(task);
    }
    while let Some(result) = running.join_next().await {
        results.push(result??);
    }
    Ok(results)
}
