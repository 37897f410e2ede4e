use super::Client;
use crate::util::sync::{RwLock, RwLockWriteGuard};
use realtime_protocol::ConnectionId;
use std::{collections::HashMap, sync::Arc};

/// The open connections by number, in shards so that connects on many cores do not contend.
#[derive(Debug)]
pub(crate) struct Connections([RwLock<HashMap<u64, Arc<Client>>>; SHARDS]);

const SHARDS: usize = 16;

impl Default for Connections {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

impl Connections {
    pub(crate) fn insert(&self, client: Arc<Client>) {
        self.shard(client.id).insert(client.id.number, client);
    }

    pub(crate) fn remove(&self, id: ConnectionId) {
        let mut shard = self.shard(id);
        let removed = shard.remove(&id.number);
        if shard.is_empty() {
            shard.shrink_to(0);
        }
        drop(shard);
        // The last handle may drop application values: not under the lock.
        drop(removed);
    }

    pub(crate) fn find(&self, id: ConnectionId) -> Option<Arc<Client>> {
        let client = self.0[id.number as usize % SHARDS].read().get(&id.number).cloned()?;
        (client.id == id).then_some(client)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.read().len()).sum()
    }

    /// Returns all connections open now.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.0.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>()).collect()
    }

    fn shard(&self, id: ConnectionId) -> RwLockWriteGuard<'_, HashMap<u64, Arc<Client>>> {
        self.0[id.number as usize % SHARDS].write()
    }
}
