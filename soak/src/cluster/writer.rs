use super::{
    node::{ADD, Answer},
    reader::log_of,
};
use realtime_client::{Client, Position};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// The answers that a writer got for its entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Those that were acknowledged: the log, the offset and the entry.
    pub(crate) done: Vec<(String, u64, u64)>,
    pub(crate) unknown: Vec<u64>,
    pub(crate) refused: Vec<u64>,
}

/// Appends to a feed, again and again, until so many were acknowledged by all writers together. No two entries are the
/// same.
pub(crate) async fn write(
    client: Client,
    feed: usize,
    number: u64,
    pause: Duration,
    left: Arc<AtomicU64>,
) -> Told {
    let mut told = Told::default();
    // Not all at the same time.
    let mut next = Instant::now() + pause.mul_f64(fastrand::f64());
    for entry in (number << 32).. {
        if left.load(Relaxed) == 0 {
            break;
        }
        sleep_until(next).await;
        next = Instant::now().max(next + pause);
        if append(&client, feed, entry, &mut told).await.is_some() {
            let _ = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        }
    }
    told
}

/// Appends one entry, and returns its position if it was acknowledged.
pub(crate) async fn append(client: &Client, feed: usize, entry: u64, told: &mut Told) -> Option<Position> {
    match client.call(ADD, (feed, entry)).written().await {
        Ok(written) if written.value == Answer::Done => {
            let position = written.at.into_iter().next()?.position;
            told.done.push((log_of(&position).to_owned(), position.offset, entry));
            return Some(position);
        }
        Ok(written) if written.value == Answer::Refused => told.refused.push(entry),
        // Its node said so, or the connection was lost before the answer.
        Ok(_) | Err(_) => told.unknown.push(entry),
    }
    None
}
