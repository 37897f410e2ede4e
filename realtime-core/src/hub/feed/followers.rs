use super::{entry::Frames, follower::Follower};
use crate::{hub::members::Effects, util::sync::Mutex};
use std::{
    iter,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
};

/// The followers of one feed, in parts: joining or leaving waits for an append no longer than it takes to walk one part.
#[derive(Debug, Default)]
pub(super) struct Followers {
    first: Mutex<Part>,
    /// Set once the first part is full.
    parts: OnceLock<Box<[Mutex<Part>]>>,
}

type Part = Vec<Arc<Follower>>;

/// Followers in one part.
const PART: usize = 512;

/// Parts of a larger feed.
const PARTS: usize = 32;

impl Followers {
    pub(super) fn insert(&self, follower: &Arc<Follower>) {
        let mut first = self.first.lock();
        if first.len() < PART {
            return insert(&mut first, 0, follower);
        }
        drop(first);
        let parts = self.parts.get_or_init(|| (1..PARTS).map(|_| Mutex::default()).collect());
        let part = (Arc::as_ptr(follower) as usize / 64) % parts.len();
        insert(&mut parts[part].lock(), part + 1, follower);
    }

    pub(super) fn remove(&self, follower: &Follower) {
        let Some(part) = self.part_of(follower) else { return };
        let mut part = part.lock();
        let place = follower.place.load(Relaxed);
        let removed = part.swap_remove(place);
        if let Some(moved) = part.get(place) {
            moved.place.store(place, Relaxed);
        }
        drop(part);
        drop(removed);
    }

    /// Changes a follower under the lock of its part.
    pub(super) fn change<T>(&self, follower: &Follower, change: impl FnOnce() -> T) -> T {
        let part = self.part_of(follower).map(Mutex::lock);
        let changed = change();
        drop(part);
        changed
    }

    /// Tells all followers of an entry.
    pub(super) fn handle(&self, frames: &mut Frames<'_>, effects: &mut Effects) {
        for part in self.parts() {
            for follower in &*part.lock() {
                follower.handle(frames, effects);
            }
        }
    }

    /// Calls `with` for each follower under the lock of its part.
    pub(super) fn for_each(&self, mut with: impl FnMut(&Follower)) {
        for part in self.parts() {
            part.lock().iter().for_each(|follower| with(follower));
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Mutex<Part>> {
        iter::once(&self.first).chain(self.parts.get().into_iter().flatten())
    }

    fn part_of(&self, follower: &Follower) -> Option<&Mutex<Part>> {
        match follower.part.load(Relaxed) {
            0 => Some(&self.first),
            part => self.parts.get()?.get(part - 1),
        }
    }
}

fn insert(part: &mut Part, number: usize, follower: &Arc<Follower>) {
    follower.part.store(number, Relaxed);
    follower.place.store(part.len(), Relaxed);
    part.push(Arc::clone(follower));
}
