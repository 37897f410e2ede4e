use super::{Class, Ledger};
use crate::util::sync::Mutex;
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// The frames that wait for several clients, by the address of their end: the start moves while one is written.
///
/// Whoever counts a frame holds it, so that no other one gets its address meanwhile.
#[derive(Debug)]
pub(super) struct SharedFrames([Mutex<HashMap<usize, Waiting, BuildHasherDefault<Mixed>>>; SHARDS]);

const SHARDS: usize = 64;

/// One frame.
#[derive(Debug)]
struct Waiting {
    clients: usize,
    bytes: usize,
}

impl Default for SharedFrames {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Ledger {
    /// Counts one more client that a shared frame waits for: the most bytes that are left of it for any of them.
    pub(super) fn add_shared(&self, end: usize, bytes: usize) {
        let mut shard = self.shared.shard(end).lock();
        let waiting = shard.entry(end).or_insert(Waiting { clients: 0, bytes: 0 });
        waiting.clients += 1;
        if bytes > waiting.bytes {
            self.add(Class::Shared, bytes - waiting.bytes);
            waiting.bytes = bytes;
        }
    }

    /// Counts one client less.
    pub(super) fn sub_shared(&self, end: usize) {
        let mut shard = self.shared.shard(end).lock();
        let Some(waiting) = shard.get_mut(&end) else { return };
        waiting.clients -= 1;
        if waiting.clients > 0 {
            return;
        }
        self.sub(Class::Shared, waiting.bytes);
        shard.remove(&end);
        if shard.is_empty() {
            shard.shrink_to(KEPT);
        }
    }
}

/// Frames that an empty shard keeps room for.
const KEPT: usize = 16;

impl SharedFrames {
    fn shard(&self, end: usize) -> &Mutex<HashMap<usize, Waiting, BuildHasherDefault<Mixed>>> {
        &self.0[mix(end as u64) as usize >> 8 & (SHARDS - 1)]
    }
}

/// The hash of an address. Nobody else chooses it, so it only has to spread.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = mix(self.0 ^ u64::from(*byte)));
    }

    fn write_usize(&mut self, number: usize) {
        self.0 = mix(number as u64);
    }
}

fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}
