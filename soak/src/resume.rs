//! `cargo xtask soak resume`: many clients come back to a feed at once, each of them behind by a hundred entries.

use crate::{
    Outcome,
    client::{Client, Tally},
    process,
    restart::{ADD, Server, connect},
};
use realtime_client::Position;
use std::time::{Duration, Instant};
use tokio::{runtime::Builder, task::JoinSet, time::timeout};

/// The entries that each client has missed.
const ENTRIES: u64 = 100;

const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(words: &[&str]) -> Outcome {
    let clients = match words {
        [] => 10_000,
        ["--clients", count] => count.parse()?,
        _ => return Err("usage: soak resume [--clients N]".into()),
    };
    process::raise_file_limit()?;
    Builder::new_current_thread().enable_all().build()?.block_on(resume(clients))
}

async fn resume(clients: usize) -> Outcome {
    let server = Server::start(0)?;
    let position = append(server.port).await?;
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(Client::connect_to(([127, 0, 0, 1], server.port).into(), "feeds").await?);
    }
    let idle = process::resident(server.id())?;
    let begun = Instant::now();
    let mut reading = JoinSet::new();
    for client in connected {
        let position = position.clone();
        reading.spawn(async move {
            let tally = timeout(PATIENCE, client.resume(&position, ENTRIES)).await??;
            Outcome::<(Duration, Tally)>::Ok((begun.elapsed(), tally))
        });
    }
    let mut times = Vec::new();
    while let Some(read) = reading.join_next().await {
        let (time, tally) = read??;
        if tally.received != ENTRIES || tally.missed > 0 || tally.close.is_some() {
            return Err(format!("a client did not get {ENTRIES} entries: {tally:?}").into());
        }
        times.push(time);
    }
    times.sort_unstable();
    let [half, all] = [times[times.len() / 2], times[times.len() - 1]].map(|time| time.as_secs_f64());
    let [idle, peak] = [idle, process::peak(server.id())?].map(|bytes| bytes as f64 / f64::from(1 << 20));
    println!(
        "{clients} clients got {ENTRIES} entries each: half of them after {half:.2} s, all after {all:.2} s; \
         resident {idle:.0} MiB before, {peak:.0} at most"
    );
    server.kill()
}

/// Appends the entries; returns the position before them.
async fn append(port: u16) -> Outcome<Position> {
    let client = connect(&format!("ws://127.0.0.1:{port}/__realtime/feeds"));
    let mut epoch = String::new();
    for _ in 0..ENTRIES {
        let written = client.call(ADD, 0).written().await.map_err(|error| error.to_string())?;
        epoch = written.at.into_iter().map(|at| at.position.epoch).next().ok_or("nothing was written")?;
    }
    client.close().await;
    Ok(Position::new(epoch, 0))
}
