//! Presence across nodes.

#[path = "support/line.rs"]
mod line;
#[path = "support/places.rs"]
mod places;

use adapter_testing::block_on;
use places::Cluster;

/// The seeds of the model; `PRESENCE_SEEDS` says another number, and `PRESENCE_SEED` one seed.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    match number("PRESENCE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PRESENCE_SEEDS").unwrap_or(10),
    }
}

/// After 1 000 entries, changes, ends, deaths, stops and partings, all nodes that hear each other agree with the truth within
/// six seconds, and so does what each of their clients was told.
#[test]
fn all_nodes_come_to_agree_with_the_truth() {
    for seed in seeds() {
        let run = async { Cluster::new(seed).await.run(1000).await };
        if let Err(error) = block_on(run) {
            panic!("PRESENCE_SEED={seed}: {error}");
        }
    }
}
