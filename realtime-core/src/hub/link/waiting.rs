//! The queue of publications, as the nodes' own messages use it.

use super::Link;
use crate::seams::{Abilities, Broker, Publication};
use realtime_protocol::Result;
use std::{
    sync::Arc,
    task::{Context, Poll},
};

impl Link {
    pub(in crate::hub) fn broker(&self) -> &Arc<dyn Broker> {
        &self.shared.broker
    }

    pub(in crate::hub) fn abilities(&self) -> Abilities {
        self.shared.broker.abilities()
    }

    /// Returns the shard of the broker that carries a topic.
    pub(in crate::hub) fn shard_of(&self, topic: &str) -> usize {
        self.shared.broker.shard_of(topic)
    }

    /// Queues a publication in place of one of the same topic and key that still waits, so that no more of them wait
    /// than there are topics.
    pub(in crate::hub) fn publish_newest(&self, publication: Publication) -> Result {
        self.shared.withdraw(&publication);
        self.shared.publish(publication)
    }

    /// Returns true if most of the queue is free.
    pub(in crate::hub) fn has_room(&self) -> bool {
        self.shared.state.lock().bytes <= self.shared.limit / 4
    }

    /// Ready when nothing waits, and the broker has answered for all that it was handed.
    pub(in crate::hub) fn poll_idle(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.shared.state.lock();
        if state.bytes == 0 {
            return Poll::Ready(());
        }
        state.idle = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl super::Shared {
    /// Drops a waiting publication of the same topic and key.
    fn withdraw(&self, newer: &Publication) {
        let withdrawn = {
            let mut state = self.state.lock();
            let is_older = |older: &Publication| older.key == newer.key && older.topic == newer.topic;
            let at = state.waiting.iter().position(is_older);
            at.and_then(|at| state.waiting.remove(at))
        };
        if let Some(withdrawn) = withdrawn {
            self.release(withdrawn.size());
        }
    }
}
