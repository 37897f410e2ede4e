use crate::{
    config::Config,
    context::{Peer, PrivatePeers},
    util::{Wakers, sync::Mutex},
};
use std::{collections::HashMap, sync::Arc};

/// The limits on connections, in total and from one peer.
#[derive(Debug)]
pub(crate) struct Permits {
    limit: usize,
    limit_per_peer: usize,
    private_peers: PrivatePeers,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// No larger than `all`: an address without connections has no entry.
    peers: HashMap<Peer, usize>,
    idle: Wakers,
}

/// The limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    All,
    Peer,
}

impl Permits {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            limit: config.connections,
            limit_per_peer: config.connections_per_peer,
            private_peers: config.private_peers,
            taken: Mutex::default(),
        })
    }

    pub(crate) fn acquire(self: &Arc<Self>, peer: Option<Peer>) -> Result<Permit, Refused> {
        let mut taken = self.taken.lock();
        self.check_limits(&taken, peer)?;
        if let Some(peer) = peer {
            *taken.peers.entry(peer).or_default() += 1;
        }
        taken.all += 1;
        Ok(Permit { permits: Arc::clone(self), peer })
    }

    /// Checks whether a permit could be acquired now.
    pub(crate) fn check(&self, peer: Option<Peer>) -> Result<(), Refused> {
        self.check_limits(&self.taken.lock(), peer)
    }

    fn check_limits(&self, taken: &Taken, peer: Option<Peer>) -> Result<(), Refused> {
        if taken.all >= self.limit {
            return Err(Refused::All);
        }
        let limited = self.private_peers.one_client(peer);
        if limited.and_then(|peer| taken.peers.get(&peer)).is_some_and(|&count| count >= self.limit_per_peer) {
            return Err(Refused::Peer);
        }
        Ok(())
    }

    /// Returns true if a peer has half of the connections that one client may have.
    pub(crate) fn is_half_taken(&self, peer: Peer) -> bool {
        let count = self.taken.lock().peers.get(&peer).copied().unwrap_or_default();
        count >= self.limit_per_peer.div_ceil(2)
    }

    /// Ready when no permit is in use.
    pub(crate) fn poll_idle(&self, cx: &std::task::Context<'_>) -> std::task::Poll<()> {
        let mut taken = self.taken.lock();
        if taken.all == 0 {
            return std::task::Poll::Ready(());
        }
        taken.idle.add(cx.waker());
        std::task::Poll::Pending
    }
}

/// The permit of one connection, from its request to its end; released on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    permits: Arc<Permits>,
    peer: Option<Peer>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.permits.taken.lock();
        taken.all -= 1;
        if let Some(peer) = self.peer
            && let Some(count) = taken.peers.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                taken.peers.remove(&peer);
            }
        }
        if taken.all > 0 {
            return;
        }
        let idle = std::mem::take(&mut taken.idle);
        drop(taken);
        idle.wake();
    }
}

/// One connection counted against the limits, in total and of its address
/// ([`Config::connections`](crate::Config::connections)). Released when the last clone is dropped.
#[derive(Clone, Debug)]
#[must_use = "dropping it gives the place to another"]
pub struct ConnectionPermit {
    _held: Arc<Permit>,
}

impl From<Permit> for ConnectionPermit {
    fn from(permit: Permit) -> Self {
        Self { _held: Arc::new(permit) }
    }
}
