use super::Keeping;
use crate::websocket::Frame;
use realtime_protocol::Gap;
use std::{collections::VecDeque, sync::Arc};

/// Publications that wait for a client that is behind, topic by topic, where the topic says that some of them may be
/// dropped instead of the client.
#[derive(Debug, Default)]
pub(super) struct Behind(VecDeque<OfTopic>);

#[derive(Debug)]
struct OfTopic {
    topic: Arc<str>,
    frames: VecDeque<(Option<Box<str>>, Frame)>,
    dropped: Option<Gap>,
}

impl Behind {
    /// Whether publications of this topic wait: then later ones do too.
    pub(super) fn has(&self, topic: &str) -> bool {
        self.0.iter().any(|waiting| &*waiting.topic == topic)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a publication, and drops those that it replaces or for which there is no place.
    pub(super) fn add(&mut self, frame: &Frame, post: &Post<'_>, keeping: Keeping) {
        let at = self.0.iter().position(|waiting| waiting.topic == *post.topic).unwrap_or_else(|| {
            self.0.push_back(OfTopic { topic: Arc::clone(post.topic), frames: VecDeque::new(), dropped: None });
            self.0.len() - 1
        });
        let waiting = &mut self.0[at];
        if keeping == Keeping::NewestOfEach
            && post.key.is_some()
            && let Some(at) = waiting.frames.iter().position(|(key, _)| key.as_deref() == post.key)
        {
            waiting.drop_at(at, "conflated");
        }
        waiting.frames.push_back((post.key.map(Box::from), frame.clone()));
        while waiting.frames.len() > keeping.limit() {
            waiting.drop_at(0, "overflow");
        }
    }

    /// What is to be told next of what was dropped, before what waits behind it.
    pub(super) fn take_gap(&mut self) -> Option<(Arc<str>, Gap)> {
        let waiting = self.0.front_mut()?;
        Some((Arc::clone(&waiting.topic), waiting.dropped.take()?))
    }

    /// The next publication, if nothing is to be told before it.
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let waiting = self.0.front_mut()?;
        if waiting.dropped.is_some() {
            return None;
        }
        let frame = waiting.frames.pop_front();
        if waiting.frames.is_empty() {
            self.0.pop_front();
        }
        frame.map(|(_, frame)| frame)
    }
}

impl OfTopic {
    fn drop_at(&mut self, at: usize, cause: &str) {
        self.frames.remove(at);
        self.dropped.get_or_insert_with(|| Gap::new(0, cause)).count += 1;
    }
}

/// What members who do not keep up must know of a publication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post<'a> {
    pub(crate) topic: &'a Arc<str>,
    /// Of those with one key only the newest is kept.
    pub(crate) key: Option<&'a str>,
}
