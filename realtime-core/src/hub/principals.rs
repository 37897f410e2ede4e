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
    /// Lists a client under its principal, if it has one. Returns the principal if this is its first connection.
    fn insert<'a>(&self, client: &'a Arc<Client>) -> Option<&'a Principal> {
        let principal = client.context.principal()?;
        let mut shard = self.shard(&principal.0).lock();
        let number = client.id.number;
        if let Some(clients) = shard.get_mut(&*principal.0) {
            clients.insert(number, Arc::clone(client));
            return None;
        }
        shard.insert(principal.0.as_str().into(), Listed::from([(number, Arc::clone(client))]));
        Some(principal)
    }

    /// Takes a client off the list. Returns its principal if this was its last connection.
    fn remove<'a>(&self, client: &'a Client) -> Option<&'a Principal> {
        let principal = client.context.principal()?;
        let mut shard = self.shard(&principal.0).lock();
        let clients = shard.get_mut(&*principal.0)?;
        let removed = clients.remove(&client.id.number);
        let emptied = if clients.is_empty() { shard.remove(&*principal.0) } else { None };
        if shard.is_empty() {
            shard.shrink_to(0);
        }
        drop(shard);
        // The last handle may drop application values: not under the lock.
        drop(removed);
        emptied.map(|_| principal)
    }

    /// Returns true if a principal is connected.
    pub(super) fn has(&self, Principal(name): &Principal) -> bool {
        self.shard(name).lock().contains_key(&**name)
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
    /// Lists a client under its principal.
    pub(super) fn list(&self, client: &Arc<Client>) {
        if let Some(first) = self.principals.insert(client) {
            self.look_for_principal(first);
        }
    }

    /// Takes a client off the list of its principal.
    pub(super) fn unlist(&self, client: &Client) {
        if let Some(last) = self.principals.remove(client) {
            self.look_for_principal(last);
        }
    }

    /// Queues a packet for the connections of a principal here that are `meant` and whose protocol has it; returns their number.
    /// One that does not keep up is closed.
    pub(super) fn queue_for_principal(
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
