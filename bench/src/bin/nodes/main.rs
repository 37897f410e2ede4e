//! The cost of a second and a third node: the same load on one Redis, spread over one, two and three nodes.
//!
//! `cargo run --release -p bench --bin nodes`, optionally with the number of rounds and of messages a second. It starts
//! Redis, the nodes and the clients itself, on ports that the system chooses.

#![allow(clippy::print_stdout)]

mod clients;
mod cluster;
mod node;

use bench::Outcome;
use cluster::{Cluster, Cost};
use std::env;

/// Topics and feeds, each of which has three clients, however many nodes there are.
const GROUPS: usize = 100;
const CLIENTS: usize = 3 * GROUPS;
/// Messages of a turn, over all nodes.
const MESSAGES: usize = 12_000;
const MOST_NODES: usize = 3;

/// The kind of what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Publication,
    Entry,
}

const KINDS: [Kind; 2] = [Kind::Publication, Kind::Entry];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Publication => "publication",
            Self::Entry => "entry",
        }
    }
}

fn main() -> Outcome {
    if env::var_os(node::REDIS).is_some() {
        return node::run();
    }
    let number = |at| env::args().nth(at).map(|text| text.parse::<usize>()).transpose();
    let (rounds, rate) = (number(1)?.unwrap_or(3).max(1), number(2)?.unwrap_or(2000).max(MOST_NODES));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut costs = Vec::new();
    for round in 0..rounds {
        for nodes in 1..=MOST_NODES {
            eprintln!("round {} of {rounds}: {nodes} nodes", round + 1);
            let cluster = Cluster::start(nodes, &runtime)?;
            for kind in KINDS {
                costs.push((kind, nodes, cluster.measure(kind, rate)?));
            }
        }
    }
    report(&costs);
    Ok(())
}

fn report(costs: &[(Kind, usize, Cost)]) {
    println!(
        "| for each message of {} bytes | Redis, µs | all nodes, µs | each node, µs | nodes, for each delivery, µs |",
        node::BYTES
    );
    println!("|---|--:|--:|--:|--:|");
    for kind in KINDS {
        for nodes in 1..=MOST_NODES {
            let of = |part: fn(&Cost) -> f64| {
                let these = costs.iter().filter(|(other, count, _)| (*other, *count) == (kind, nodes));
                median(these.map(|(_, _, cost)| part(cost)).collect())
            };
            let (redis, all, deliveries) =
                (of(|cost| cost.redis), of(|cost| cost.nodes), (CLIENTS / GROUPS) as f64);
            let (name, each) = (kind.name(), all / nodes as f64);
            println!("| {name}, nodes: {nodes} | {redis:.1} | {all:.1} | {each:.1} | {:.1} |", all / deliveries);
        }
    }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
