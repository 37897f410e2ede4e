use super::{door::Door, line::Fault, node::Node, redis::Redis};
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
    /// Of each kind in [`KINDS`].
    of_network: [u64; KINDS.len()],
}

/// The kinds of faults of the network.
const KINDS: [&str; 5] = ["delays", "half-open", "without answers", "without requests", "cuts inside"];

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node_kills, node_stops, redis_kills, redis_stops, cuts, of_network } = self;
        write!(
            f,
            "nodes: {node_kills} kills, {node_stops} stops; Redis: {redis_kills} kills, {redis_stops} stops; "
        )?;
        write!(f, "{cuts} connections cut; network:")?;
        let mut kinds = KINDS.iter().zip(of_network);
        kinds.try_for_each(|(kind, count)| write!(f, " {count} {kind}"))
    }
}

/// Makes faults until it is over: of Redis, of nodes and of the network at the same time. In the end all run. The first door is
/// that of the clients, the others are between a node and Redis each.
pub(crate) async fn make(
    redis: &mut Redis,
    nodes: &mut [Node],
    doors: &[Door],
    seed: u64,
    over: &AtomicBool,
) -> Outcome<Faults> {
    let (of_redis, of_nodes, cuts, of_network) = tokio::join!(
        of_redis(redis, Rng::with_seed(seed), over),
        of_nodes(nodes, Rng::with_seed(seed ^ 1), over),
        of_connections(doors, Rng::with_seed(seed ^ 2), over),
        of_network(doors, Rng::with_seed(seed ^ 3), over)
    );
    let ((redis_kills, redis_stops), (node_kills, node_stops)) = (of_redis?, of_nodes?);
    Ok(Faults { node_kills, node_stops, redis_kills, redis_stops, cuts, of_network })
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

async fn of_connections(doors: &[Door], mut random: Rng, over: &AtomicBool) -> u64 {
    let mut cuts = 0;
    while !over.load(Relaxed) {
        pause(&mut random, 200..1000).await;
        cuts += doors.iter().map(|door| door.cut(0.1)).sum::<u64>();
    }
    cuts
}

/// Makes the faults of the network, one kind after the other.
async fn of_network(doors: &[Door], mut random: Rng, over: &AtomicBool) -> [u64; KINDS.len()] {
    let mut counts = [0; KINDS.len()];
    let first = random.usize(..KINDS.len());
    for kind in (0..KINDS.len()).cycle().skip(first) {
        if over.load(Relaxed) {
            break;
        }
        let door = &doors[random.usize(..doors.len())];
        // A node has two connections to Redis: one of them, or both.
        let chance = if random.bool() { 1.0 } else { 0.5 };
        door.trouble(fault(kind, &mut random), chance);
        counts[kind] += 1;
        // Some are longer than the broker waits.
        let milliseconds = if random.u8(..4) == 0 { 1500..4000 } else { 100..800 };
        pause(&mut random, milliseconds).await;
        door.heal();
        pause(&mut random, 100..600).await;
    }
    counts
}

fn fault(kind: usize, random: &mut Rng) -> Fault {
    match kind {
        0 if random.u8(..4) == 0 => Fault::Delay(Duration::from_millis(random.u64(1000..3000))),
        0 => Fault::Delay(Duration::from_millis(random.u64(10..400))),
        1 => Fault::HalfOpen,
        2 => Fault::NoAnswers,
        3 => Fault::NoRequests,
        _ => Fault::CutInside,
    }
}

async fn pause(random: &mut Rng, milliseconds: Range<u64>) {
    sleep(Duration::from_millis(random.u64(milliseconds))).await;
}
