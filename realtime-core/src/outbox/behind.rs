use super::Keeping;
use crate::{
    ledger::{Counted, HELD_PLACE, Ledger},
    websocket::Frame,
};
#[cfg(test)]
use bytes::Bytes;
use realtime_protocol::Gap;
use std::{collections::VecDeque, sync::Arc};

/// A topic, as a hash of its name and kind: two with one hash are too unlikely to matter.
pub(crate) type Tag = u64;

/// Publications held back for a client that is behind, topic by topic, if the topic's policy is to drop some of them
/// rather than close the client.
#[derive(Debug, Default)]
pub(super) struct Behind {
    topics: VecDeque<OfTopic>,
    /// The client follows feeds whose entries it has not got.
    feeds: bool,
}

/// The work of the driver before it queues more of what was held back.
#[derive(Debug)]
pub(crate) enum Held {
    /// Report the publications of a topic that were dropped.
    Gap(Arc<str>, Gap),
    /// Read on in the client's feeds.
    Feeds,
}

#[derive(Debug)]
struct OfTopic {
    topic: Arc<str>,
    tag: Tag,
    frames: VecDeque<Waiting>,
    dropped: Option<Gap>,
}

#[derive(Debug)]
struct Waiting {
    // Counted no more before it is freed: its address identifies it.
    _counted: Counted,
    key: Option<Box<str>>,
    frame: Frame,
}

const _: () = assert!(size_of::<Waiting>() + size_of::<Waiting>() / 2 <= HELD_PLACE, "it is counted as less");

impl Behind {
    /// Returns true if publications of this topic are held back: then later ones are too.
    pub(super) fn has(&self, topic: Tag) -> bool {
        self.topics.iter().any(|waiting| waiting.tag == topic)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty() && !self.feeds
    }

    /// Adds a publication, and drops those that it replaces or that exceed the limit.
    pub(super) fn add(&mut self, frame: &Frame, post: &Post<'_>, keeping: Keeping, ledger: &Arc<Ledger>) {
        let at = self.topics.iter().position(|waiting| waiting.tag == post.tag).unwrap_or_else(|| {
            let topic = Arc::clone(post.topic);
            self.topics.push_back(OfTopic { topic, tag: post.tag, frames: VecDeque::new(), dropped: None });
            self.topics.len() - 1
        });
        let waiting = &mut self.topics[at];
        if keeping == Keeping::NewestOfEach
            && post.key.is_some()
            && let Some(at) = waiting.frames.iter().position(|known| known.key.as_deref() == post.key)
        {
            waiting.drop_at(at, "conflated");
        }
        let counted = Counted::shared(ledger, frame.bytes());
        waiting.frames.push_back(Waiting {
            key: post.key.map(Box::from),
            frame: frame.clone(),
            _counted: counted,
        });
        while waiting.frames.len() > keeping.limit() {
            waiting.drop_at(0, "overflow");
        }
    }

    /// Drops all publications but the newest of each topic; returns how many.
    pub(super) fn drop_older(&mut self) -> usize {
        let mut dropped = 0;
        for waiting in &mut self.topics {
            while waiting.frames.len() > 1 {
                waiting.drop_at(0, "overflow");
                dropped += 1;
            }
            // Their places are memory too.
            waiting.frames.shrink_to_fit();
        }
        dropped
    }

    /// Takes the gap to report before the next publication, if some were dropped.
    pub(super) fn take_gap(&mut self) -> Option<Held> {
        let waiting = self.topics.front_mut()?;
        Some(Held::Gap(Arc::clone(&waiting.topic), waiting.dropped.take()?))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> Vec<Bytes> {
        let frames = self.topics.iter().flat_map(|waiting| &waiting.frames);
        frames.map(|waiting| waiting.frame.bytes().clone()).collect()
    }

    pub(super) fn hold_feeds(&mut self) {
        self.feeds = true;
    }

    /// Returns true if only feeds are left.
    pub(super) fn take_feeds(&mut self) -> bool {
        self.topics.is_empty() && std::mem::take(&mut self.feeds)
    }

    /// Drops the publications of a topic.
    pub(super) fn remove(&mut self, topic: Tag) {
        self.topics.retain(|waiting| waiting.tag != topic);
    }

    /// Takes the next publication, unless a gap has to be reported first.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let waiting = self.topics.front_mut()?;
        if waiting.dropped.is_some() {
            return None;
        }
        let frame = waiting.frames.pop_front();
        if waiting.frames.is_empty() {
            self.topics.pop_front();
        }
        frame.map(|waiting| waiting.frame)
    }
}

impl OfTopic {
    fn drop_at(&mut self, at: usize, cause: &str) {
        self.frames.remove(at);
        self.dropped.get_or_insert_with(|| Gap::new(0, cause)).count += 1;
    }
}

/// The facts about a publication that matter for members who do not keep up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post<'a> {
    pub(crate) topic: &'a Arc<str>,
    pub(crate) tag: Tag,
    /// The key of which only the newest publication is kept.
    pub(crate) key: Option<&'a str>,
}
