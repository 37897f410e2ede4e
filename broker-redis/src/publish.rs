use crate::{
    link::Link,
    master::Master,
    trouble::{self, Outcome, Trouble},
};
use bytes::Bytes;
use futures_util::future::join_all;
use realtime_core::{Error, broker::Untaken};
use redis::RedisResult;
use std::sync::Arc;
use tokio::time::Instant;

/// A publication that is to be sent.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) partition: usize,
    pub(crate) channel: String,
    pub(crate) message: Bytes,
}

/// The fate of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waits,
    Taken,
    Unsure,
}

/// Publications in one request. A connection that breaks leaves those of a request unsure.
const BATCH: usize = 64;

impl Link {
    /// Sends publications in their order, all at once; those that a server certainly did not take are sent again.
    pub(crate) async fn publish(&self, parcels: Vec<Parcel>) -> Result<(), Untaken> {
        let until = Instant::now() + self.redis.time_limit;
        let mut fates = vec![Fate::Waits; parcels.len()];
        loop {
            let Err(trouble) = self.send(&parcels, &mut fates, until).await else { return Ok(()) };
            let is_over =
                Instant::now() >= until || !matches!(trouble.outcome, Outcome::Elsewhere | Outcome::Absent);
            if is_over || !fates.contains(&Fate::Waits) {
                return Err(untaken(&fates, trouble.into()));
            }
            self.pause().await;
        }
    }

    /// Sends those that wait. Returns the first trouble.
    async fn send(&self, parcels: &[Parcel], fates: &mut [Fate], until: Instant) -> Result<(), Trouble> {
        let mut batches: Vec<(Arc<Master>, Vec<usize>)> = Vec::new();
        let mut outcome = Ok(());
        for at in (0..parcels.len()).filter(|at| fates[*at] == Fate::Waits) {
            let master = self.master(parcels[at].partition, until).await?;
            // It would end the connection, and with it all that is sent over it.
            if let Some(trouble) = master.server.too_large(parcels[at].message.len()) {
                outcome = Err(trouble);
                break;
            }
            let open = batches.iter_mut().rev().find(|(other, _)| Arc::ptr_eq(other, &master));
            match open.filter(|(_, batch)| batch.len() < BATCH) {
                Some((_, batch)) => batch.push(at),
                None => batches.push((master, vec![at])),
            }
        }
        let command = self.publish_command();
        let sent = join_all(batches.iter().map(|(master, batch)| send(master, parcels, batch, command))).await;
        for ((_, batch), replies) in batches.iter().zip(sent) {
            match replies {
                Ok(replies) => {
                    for (at, reply) in batch.iter().zip(replies) {
                        fates[*at] = reply.as_ref().map_or_else(fate, |()| Fate::Taken);
                        outcome = reply.and(outcome);
                    }
                }
                Err(trouble) => {
                    batch.iter().for_each(|at| fates[*at] = fate(&trouble));
                    outcome = Err(trouble);
                }
            }
        }
        outcome
    }
}

/// Sends one batch to one master; returns the reply to each.
async fn send(
    master: &Master,
    parcels: &[Parcel],
    batch: &[usize],
    command: &str,
) -> Result<Vec<Result<(), Trouble>>, Trouble> {
    let mut pipe = redis::pipe();
    for at in batch {
        pipe.cmd(command).arg(&parcels[*at].channel).arg(&*parcels[*at].message);
    }
    let replies: RedisResult<Vec<RedisResult<u64>>> =
        pipe.ignore_errors().query_async(&mut master.commands.clone()).await;
    let replies = trouble::read(replies, &master.address).map_err(|trouble| master.noted(trouble))?;
    let read = |reply| trouble::read(reply, &master.address).map(drop).map_err(|trouble| master.noted(trouble));
    Ok(replies.into_iter().map(read).collect())
}

fn fate(trouble: &Trouble) -> Fate {
    if trouble.is_unsure() { Fate::Unsure } else { Fate::Waits }
}

fn untaken(fates: &[Fate], error: Error) -> Untaken {
    let taken = fates.iter().take_while(|fate| **fate == Fate::Taken).count();
    let unsure = fates[taken..].iter().rposition(|fate| *fate != Fate::Waits).map_or(0, |last| last + 1);
    Untaken { taken, unsure, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_told_as_the_first_and_what_may_have_been_behind_them() {
        let told = |fates: &[Fate]| {
            let untaken = untaken(fates, Error::unavailable("down"));
            (untaken.taken, untaken.unsure)
        };
        use Fate::{Taken, Unsure, Waits};
        assert_eq!(told(&[Waits, Waits]), (0, 0));
        assert_eq!(told(&[Taken, Waits]), (1, 0));
        assert_eq!(told(&[Taken, Unsure, Waits]), (1, 1));
        assert_eq!(told(&[Waits, Taken, Waits]), (0, 2));
        assert_eq!(told(&[Taken, Waits, Unsure, Waits]), (1, 2));
    }
}
