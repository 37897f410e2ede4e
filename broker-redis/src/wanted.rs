use crate::names::Names;
use realtime_core::broker::{FollowChange, Source};
use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What the node wants to be brought, by partition: restored on each new connection.
#[derive(Debug)]
pub(crate) struct Wanted(Mutex<Vec<[HashSet<String>; 2]>>);

impl Wanted {
    pub(crate) fn new(partitions: usize) -> Self {
        Self(Mutex::new(vec![Default::default(); partitions]))
    }

    pub(crate) fn change(&self, changes: &[FollowChange], names: &Names) {
        let mut wanted = self.lock();
        for FollowChange { topic, of, wanted: is_wanted } in changes {
            let topics = &mut wanted[names.partition(topic)][index(*of)];
            if *is_wanted {
                topics.insert(topic.clone());
            } else {
                topics.remove(topic);
            }
        }
    }

    pub(crate) fn contains(&self, partition: usize, of: Source, topic: &str) -> bool {
        self.lock()[partition][index(of)].contains(topic)
    }

    /// Returns the channels of these partitions.
    pub(crate) fn channels(&self, partitions: &[usize], names: &Names) -> Vec<String> {
        let wanted = self.lock();
        let of_both = partitions.iter().flat_map(|partition| {
            let [topics, logs] = &wanted[*partition];
            let topics = topics.iter().map(|topic| names.channel(Source::Topic, topic));
            topics.chain(logs.iter().map(|topic| names.channel(Source::Log, topic)))
        });
        of_both.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<[HashSet<String>; 2]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(of: Source) -> usize {
    match of {
        Source::Topic => 0,
        Source::Log => 1,
    }
}
