use crate::{
    link::Link,
    master::Master,
    trouble::{self, Outcome, Trouble},
};
use bytes::Bytes;
use futures_util::future::join_all;
use realtime_core::{Error, broker::Untaken};
use redis::RedisResult;
use std::{collections::HashSet, sync::Arc};
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
    /// It was refused, and a later one of its channel may have been taken.
    Overtaken,
}

/// Publications in one request. A connection that breaks leaves those of a request unsure.
const BATCH: usize = 64;

impl Link {
    /// Sends publications in their order, all at once; those that a server certainly did not take are sent again, unless a later one of
    /// the same channel may have been taken: they would come in another order.
    pub(crate) async fn publish(&self, parcels: Vec<Parcel>) -> Result<(), Untaken> {
        let until = Instant::now() + self.redis.time_limit;
        let mut fates = vec![Fate::Waits; parcels.len()];
        let mut overtaken = None;
        loop {
            let Err(trouble) = self.send(&parcels, &mut fates, until).await else { break };
            let is_any = give_up_overtaken(&parcels, &mut fates);
            let is_over =
                Instant::now() >= until || !matches!(trouble.outcome, Outcome::Elsewhere | Outcome::Absent);
            if is_over || !fates.contains(&Fate::Waits) {
                return Err(untaken(&fates, trouble.into()));
            }
            if is_any {
                overtaken = Some(trouble);
            }
            self.pause().await;
        }
        overtaken.map_or(Ok(()), |trouble| Err(untaken(&fates, trouble.into())))
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

/// Gives up what a later publication of the same channel may have overtaken. Returns true if there is any.
fn give_up_overtaken(parcels: &[Parcel], fates: &mut [Fate]) -> bool {
    let (mut later, mut is_any) = (HashSet::new(), false);
    for (parcel, fate) in parcels.iter().zip(fates).rev() {
        if *fate != Fate::Waits {
            later.insert(&*parcel.channel);
        } else if later.contains(&*parcel.channel) {
            *fate = Fate::Overtaken;
            is_any = true;
        }
    }
    is_any
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
    fn what_a_later_one_of_its_channel_may_have_overtaken_is_not_sent_again() {
        use Fate::{Overtaken, Taken, Unsure, Waits};
        let parcel = |channel: &str| Parcel { partition: 0, channel: channel.into(), message: Bytes::new() };
        let parcels = ["a", "b", "a", "b", "a"].map(parcel);
        let given_up = |mut fates: [Fate; 5]| (give_up_overtaken(&parcels, &mut fates), fates);
        for fates in [[Waits; 5], [Taken, Taken, Waits, Taken, Waits], [Taken, Unsure, Taken, Waits, Waits]] {
            assert_eq!(given_up(fates), (false, fates));
        }
        let fates = given_up([Waits, Waits, Taken, Waits, Waits]);
        assert_eq!(fates, (true, [Overtaken, Waits, Taken, Waits, Waits]));
        let fates = given_up([Waits, Waits, Waits, Unsure, Taken]);
        assert_eq!(fates, (true, [Overtaken, Overtaken, Overtaken, Unsure, Taken]));
    }

    #[test]
    fn what_was_taken_is_told_as_the_first_and_what_may_have_been_behind_them() {
        let told = |fates: &[Fate]| {
            let untaken = untaken(fates, Error::unavailable("down"));
            (untaken.taken, untaken.unsure)
        };
        use Fate::{Overtaken, Taken, Unsure, Waits};
        assert_eq!(told(&[Taken, Overtaken, Taken]), (1, 2));
        assert_eq!(told(&[Waits, Waits]), (0, 0));
        assert_eq!(told(&[Taken, Waits]), (1, 0));
        assert_eq!(told(&[Taken, Unsure, Waits]), (1, 1));
        assert_eq!(told(&[Waits, Taken, Waits]), (0, 2));
        assert_eq!(told(&[Taken, Waits, Unsure, Waits]), (1, 2));
    }
}
