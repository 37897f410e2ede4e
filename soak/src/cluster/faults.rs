use super::{door::Door, node::Node, redis::Redis};
use crate::Outcome;
use fastrand::Rng;
use rustix::process::Signal;
use std::{
    fmt,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use tokio::time::sleep;

/// The number of faults of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    node_kills: u64,
    node_stops: u64,
    redis_kills: u64,
    redis_stops: u64,
    cuts: u64,
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node_kills, node_stops, redis_kills, redis_stops, cuts } = self;
        write!(
            f,
            "nodes: {node_kills} kills, {node_stops} stops; Redis: {redis_kills} kills, {redis_stops} stops; "
        )?;
        write!(f, "{cuts} connections cut")
    }
}

/// Makes faults until it is over: of Redis, of nodes and of connections at the same time. In the end all run.
pub(crate) async fn make(
    redis: &mut Redis,
    nodes: &mut [Node],
    door: &Door,
    seed: u64,
    over: &AtomicBool,
) -> Outcome<Faults> {
    let (of_redis, of_nodes, cuts) = tokio::join!(
        of_redis(redis, Rng::with_seed(seed), over),
        of_nodes(nodes, Rng::with_seed(seed ^ 1), over),
        of_connections(door, Rng::with_seed(seed ^ 2), over)
    );
    let ((redis_kills, redis_stops), (node_kills, node_stops)) = (of_redis?, of_nodes?);
    Ok(Faults { node_kills, node_stops, redis_kills, redis_stops, cuts })
}

async fn of_redis(redis: &mut Redis, mut random: Rng, over: &AtomicBool) -> Outcome<(u64, u64)> {
    let (mut kills, mut stops) = (0, 0);
    pause(&mut random, 500..1500).await;
    while !over.load(Relaxed) {
        if kills <= stops {
            redis.kill()?;
            kills += 1;
            pause(&mut random, 50..800).await;
            redis.run()?;
        } else {
            redis.signal(Signal::STOP)?;
            stops += 1;
            // Some are longer than the broker waits.
            pause(&mut random, 100..3000).await;
            redis.signal(Signal::CONT)?;
        }
        pause(&mut random, 1000..3000).await;
    }
    Ok((kills, stops))
}

async fn of_nodes(nodes: &mut [Node], mut random: Rng, over: &AtomicBool) -> Outcome<(u64, u64)> {
    let (mut kills, mut stops) = (0, 0);
    pause(&mut random, 500..1500).await;
    while !over.load(Relaxed) {
        let node = &mut nodes[random.usize(..nodes.len())];
        if kills <= stops {
            node.kill()?;
            kills += 1;
            pause(&mut random, 50..800).await;
            node.run()?;
        } else {
            node.signal(Signal::STOP)?;
            stops += 1;
            pause(&mut random, 100..3000).await;
            node.signal(Signal::CONT)?;
        }
        pause(&mut random, 500..2000).await;
    }
    Ok((kills, stops))
}

async fn of_connections(door: &Door, mut random: Rng, over: &AtomicBool) -> u64 {
    let mut cuts = 0;
    while !over.load(Relaxed) {
        pause(&mut random, 200..1000).await;
        cuts += door.cut(0.1);
    }
    cuts
}

async fn pause(random: &mut Rng, milliseconds: Range<u64>) {
    sleep(Duration::from_millis(random.u64(milliseconds))).await;
}
