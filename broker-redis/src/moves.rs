//! Masters that change while their connections look sound, or while connections are made.

use crate::{
    find::{Found, are_same, find, is_moved},
    link::Link,
    master::{BEAT, Master},
    settings::Place,
};
use futures_util::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};
use realtime_core::{Error, Result};
use redis::ConnectionInfo;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// The time between two looks for other masters while one does not answer: one that is gone takes the whole time limit to show it,
/// and its replica may have been promoted meanwhile.
const LOOK: Duration = Duration::from_millis(250);

impl Link {
    /// Waits until a master is lost, or another master of a cluster says that partitions have moved: one that is parted from the
    /// rest takes subscriptions and publications for as long as it believes to be a master.
    pub(crate) async fn must_look(&self) {
        let lost = self.finder.notified();
        if !self.redis.place.is_cluster() {
            return lost.await;
        }
        let moved = async {
            loop {
                sleep(BEAT).await;
                if timeout(BEAT, self.has_moved()).await == Ok(true) {
                    return;
                }
            }
        };
        select(pin!(lost), pin!(moved)).await;
    }

    /// Waits for connections to masters, but not once there are others.
    pub(crate) async fn unless_moved<T>(
        &self,
        reaching: impl Future<Output = T>,
        found: &[Found],
        known: &[ConnectionInfo],
    ) -> Result<T> {
        if matches!(self.redis.place, Place::Server(_)) {
            return Ok(reaching.await);
        }
        let moved = async {
            loop {
                sleep(LOOK).await;
                let now = find(&self.redis, &self.dialer, &self.names, known).await;
                if now.is_ok_and(|now| !are_same(&now, found)) {
                    return;
                }
            }
        };
        match select(pin!(reaching), pin!(moved)).await {
            Either::Left((reached, _)) => Ok(reached),
            Either::Right(_) => {
                Err(Error::unavailable("the masters of Redis have changed while they were connected to"))
            }
        }
    }

    /// Asks the masters of a cluster where the partitions are. Returns true once one of them says elsewhere.
    async fn has_moved(&self) -> bool {
        let routes = self.routes.borrow().clone();
        let addresses: Vec<_> =
            routes.iter().map(|master| master.as_ref().map(|master| master.address.clone())).collect();
        let mut masters: Vec<&Arc<Master>> = Vec::new();
        for master in routes.iter().flatten().filter(|master| master.is_alive()) {
            if !masters.iter().any(|other| Arc::ptr_eq(other, master)) {
                masters.push(master);
            }
        }
        let mut asked: FuturesUnordered<_> =
            masters.into_iter().map(|master| is_moved(master, &addresses, &self.names)).collect();
        while let Some(is_moved) = asked.next().await {
            if is_moved {
                return true;
            }
        }
        false
    }
}
