use realtime_protocol::Message;
use std::collections::BTreeMap;

/// The bound of calls, events and messages that wait while there is no connection. Subscriptions do not count.
///
/// By default 256 frames and 1 MiB wait, and further ones are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflineQueue {
    frames: usize,
    bytes: usize,
    full: Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    RejectNewest,
    DropOldest,
    Off,
}

impl OfflineQueue {
    /// Holds up to this number of frames and bytes; further ones fail with `RESOURCE_EXHAUSTED`.
    pub const fn reject_newest(frames: usize, bytes: usize) -> Self {
        Self { frames, bytes, full: Full::RejectNewest }
    }

    /// Holds the newest frames, up to this number of frames and bytes. A dropped call fails with `RESOURCE_EXHAUSTED`.
    pub const fn drop_oldest(frames: usize, bytes: usize) -> Self {
        Self { frames, bytes, full: Full::DropOldest }
    }

    /// Holds nothing: without a connection everything fails at once with `UNAVAILABLE`.
    pub const fn off() -> Self {
        Self { frames: 0, bytes: 0, full: Full::Off }
    }
}

impl Default for OfflineQueue {
    fn default() -> Self {
        Self::reject_newest(256, 1 << 20)
    }
}

/// The frames to send, in order.
#[derive(Debug)]
pub(super) struct Queue {
    policy: OfflineQueue,
    frames: BTreeMap<u64, Waiting>,
    /// The number of frames that count toward the bound.
    count: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    frame: Frame,
    /// 0 if the frame does not count.
    cost: usize,
}

/// A frame to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The call with this id, encoded when it is sent, with the time that is left.
    Call,
    /// The subscription with this id, encoded when it is sent, with its latest position.
    Subscribe,
    /// An event or a message.
    Data(Message),
    /// A frame for the current connection only.
    Control(Message),
}

/// The reason why a frame may not wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    Off,
}

impl Queue {
    pub(super) fn new(policy: OfflineQueue) -> Self {
        Self { policy, frames: BTreeMap::new(), count: 0, bytes: 0 }
    }

    /// Makes room for a frame of `cost` bytes. Returns the calls that were dropped for it.
    pub(super) fn admit(&mut self, cost: usize, online: bool) -> Result<Vec<u64>, Refusal> {
        if online {
            let fits = cost <= ONLINE_BYTES.saturating_sub(self.bytes);
            return if fits { Ok(Vec::new()) } else { Err(Refusal::Full) };
        }
        if self.policy.full == Full::Off {
            return Err(Refusal::Off);
        }
        if self.policy.frames == 0 || cost > self.policy.bytes {
            return Err(Refusal::Full);
        }
        let fits = self.count < self.policy.frames && cost <= self.policy.bytes.saturating_sub(self.bytes);
        match self.policy.full {
            _ if fits => Ok(Vec::new()),
            Full::DropOldest => Ok(self.trim(self.policy.frames - 1, self.policy.bytes - cost)),
            Full::RejectNewest | Full::Off => Err(Refusal::Full),
        }
    }

    /// Inserts a frame, in the order of `key`.
    pub(super) fn insert(&mut self, key: u64, frame: Frame, cost: usize) {
        self.count += usize::from(cost > 0);
        self.bytes += cost;
        self.frames.insert(key, Waiting { frame, cost });
    }

    pub(super) fn remove(&mut self, key: u64) {
        if let Some(waiting) = self.frames.remove(&key) {
            self.uncount(&waiting);
        }
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Frame)> {
        let (key, waiting) = self.frames.pop_first()?;
        self.uncount(&waiting);
        Some((key, waiting.frame))
    }

    /// Drops the frames for the lost connection and those beyond the bound. Returns the calls among them.
    pub(super) fn go_offline(&mut self) -> Vec<u64> {
        self.forget(|frame| !matches!(frame, Frame::Control(_)));
        self.trim(self.policy.frames, self.policy.bytes)
    }

    /// Keeps only frames that can still be sent before a close.
    pub(super) fn keep_written(&mut self) {
        self.forget(|frame| matches!(frame, Frame::Control(_) | Frame::Data(_)));
    }

    pub(super) fn clear(&mut self) {
        self.forget(|_| false);
    }

    /// Returns true if more waits than it ever does with a peer that reads.
    pub(super) fn is_overfull(&self) -> bool {
        self.bytes > 2 * ONLINE_BYTES
    }

    fn forget(&mut self, keep: impl Fn(&Frame) -> bool) {
        self.frames.retain(|_, waiting| keep(&waiting.frame));
        self.count = self.frames.values().filter(|waiting| waiting.cost > 0).count();
        self.bytes = self.frames.values().map(|waiting| waiting.cost).sum();
    }

    /// Drops frames that count until at most this many frames and bytes are left. Returns the calls among them.
    fn trim(&mut self, frames: usize, bytes: usize) -> Vec<u64> {
        let mut dropped = Vec::new();
        while self.count > frames || self.bytes > bytes {
            let mut counted = self.frames.iter().filter(|(_, waiting)| waiting.cost > 0).map(|(key, _)| *key);
            let victim = if self.policy.full == Full::DropOldest { counted.next() } else { counted.next_back() };
            let Some((key, waiting)) = victim.and_then(|key| self.frames.remove_entry(&key)) else { break };
            self.uncount(&waiting);
            match waiting.frame {
                Frame::Call => dropped.push(key),
                _ => tracing::warn!("an event or message was dropped: the offline queue is full"),
            }
        }
        dropped
    }

    fn uncount(&mut self, waiting: &Waiting) {
        self.count -= usize::from(waiting.cost > 0);
        self.bytes -= waiting.cost;
    }
}

/// While connected, a queue is short except after a burst, or with a peer that does not read.
const ONLINE_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_counts_makes_room() {
        let mut queue = Queue::new(OfflineQueue::drop_oldest(2, 100));
        queue.insert(1, Frame::Subscribe, 0);
        queue.insert(2, Frame::Call, 10);
        queue.insert(3, Frame::Call, 10);
        assert_eq!(queue.admit(10, false), Ok(vec![2]));
        queue.insert(4, Frame::Call, 10);
        assert_eq!(queue.admit(95, false), Ok(vec![3, 4]));
        assert_eq!(queue.admit(101, false), Err(Refusal::Full));
        assert_eq!(queue.pop(), Some((1, Frame::Subscribe)));
    }

    #[test]
    fn the_newest_is_refused_by_frames_and_by_bytes() {
        let mut queue = Queue::new(OfflineQueue::reject_newest(2, 100));
        queue.insert(1, Frame::Call, 60);
        assert_eq!(queue.admit(41, false), Err(Refusal::Full));
        assert_eq!(queue.admit(40, false), Ok(vec![]));
        queue.insert(2, Frame::Call, 1);
        assert_eq!(queue.admit(1, false), Err(Refusal::Full));
        queue.remove(1);
        assert_eq!(queue.admit(41, false), Ok(vec![]));
    }

    #[test]
    fn a_burst_is_cut_to_what_may_wait_when_the_connection_is_lost() {
        let mut queue = Queue::new(OfflineQueue::reject_newest(2, 100));
        for key in 1..=4 {
            assert_eq!(queue.admit(10, true), Ok(vec![]));
            queue.insert(key, Frame::Call, 10);
        }
        queue.insert(5, Frame::Control(Message::from("")), 0);
        assert_eq!(queue.go_offline(), [4, 3]);
        assert_eq!(queue.pop(), Some((1, Frame::Call)));
        assert_eq!(queue.pop(), Some((2, Frame::Call)));
        assert_eq!(queue.pop(), None);
    }
}
