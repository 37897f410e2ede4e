use super::{Client, Hub, members::Effects};
use crate::{
    context::Principal,
    outbox::{PushError, may_hold},
    protocol::Outgoing,
    util::sync::Mutex,
};
use realtime_protocol::{ConnectionId, Result};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// The connections of each principal. Those without one take nothing.
#[derive(Debug)]
pub(crate) struct Principals {
    hasher: RandomState,
    shards: [Mutex<HashMap<Box<str>, Listed>>; SHARDS],
}

/// Those of one, by number: a name that all guests share may have very many.
type Listed = HashMap<u64, Arc<Client>>;

const SHARDS: usize = 16;

impl Default for Principals {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Principals {
    /// Lists a client under its principal, if it has one.
    pub(super) fn insert(&self, client: &Arc<Client>) {
        let Some(Principal(name)) = client.context.principal() else { return };
        let mut shard = self.shard(name).lock();
        let number = client.id.number;
        match shard.get_mut(&**name) {
            Some(clients) => drop(clients.insert(number, Arc::clone(client))),
            None => drop(shard.insert(name.as_str().into(), Listed::from([(number, Arc::clone(client))]))),
        }
    }

    pub(super) fn remove(&self, client: &Client) {
        let Some(Principal(name)) = client.context.principal() else { return };
        let mut shard = self.shard(name).lock();
        let Some(clients) = shard.get_mut(&**name) else { return };
        let removed = clients.remove(&client.id.number);
        let emptied = if clients.is_empty() { shard.remove(&**name) } else { None };
        if shard.is_empty() {
            shard.shrink_to(0);
        }
        drop(shard);
        // The last handle may drop application values: not under the lock.
        drop((removed, emptied));
    }

    /// Returns the connections of a principal.
    pub(crate) fn of(&self, Principal(name): &Principal) -> Vec<Arc<Client>> {
        let shard = self.shard(name).lock();
        shard.get(&**name).map(|clients| clients.values().cloned().collect()).unwrap_or_default()
    }

    fn shard(&self, name: &str) -> &Mutex<HashMap<Box<str>, Listed>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

impl Hub {
    /// Queues a packet for the connections of a principal that are `meant` and whose protocol has it; returns their number.
    /// One that does not keep up is closed.
    pub(crate) fn send_to_principal(
        &self,
        principal: &Principal,
        except: &[ConnectionId],
        packet: &Outgoing<'_>,
        meant: impl Fn(&Client) -> bool,
    ) -> Result<usize> {
        let mut effects = Effects::default();
        let queued = self.queue_for(principal, except, packet, meant, &mut effects);
        let delivered = self.run(effects);
        queued.map(|()| delivered)
    }

    fn queue_for(
        &self,
        principal: &Principal,
        except: &[ConnectionId],
        packet: &Outgoing<'_>,
        meant: impl Fn(&Client) -> bool,
        effects: &mut Effects,
    ) -> Result {
        for client in self.principals.of(principal) {
            if except.contains(&client.id) || !meant(&client) {
                continue;
            }
            let Some(frame) = self.protocols.frame(client.format, packet)? else { continue };
            may_hold(self.config.outbox_bytes, frame.len())?;
            match client.outbox.push_shared(&frame) {
                Ok(waker) => effects.deliver(waker),
                Err(PushError::Full) => effects.slow(&client),
                Err(PushError::Closed) => {}
            }
        }
        Ok(())
    }
}
