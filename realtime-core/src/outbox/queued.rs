use crate::{
    ledger::Bill,
    seams::SendQueue,
    util::spare,
    websocket::{Draft, Frame},
};
use bytes::Bytes;
use std::collections::VecDeque;

/// The frames queued in an outbox, in order.
#[derive(Debug, Default)]
pub(super) struct Queued {
    /// Shared or large frames.
    frames: VecDeque<Bytes>,
    /// The client's own small frames, joined, behind the others.
    tail: Vec<u8>,
    /// Bytes in both.
    bytes: usize,
}

impl Queued {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a frame of this client's own: a small one is copied behind the last.
    #[inline(always)]
    pub(super) fn add(&mut self, frame: Draft<'_>, blocked: bool) {
        if frame.len() > COPIED_BYTES {
            return self.add_shared(&frame.into_frame(), blocked);
        }
        frame.append_to(self.tail_for(frame.len()));
    }

    /// Returns the buffer to copy so many more bytes to.
    #[inline(always)]
    fn tail_for(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.bytes += bytes;
        if self.tail.len() + bytes > JOINED_BYTES {
            self.seal();
        }
        if self.tail.capacity() == 0 {
            self.tail = spare::take_buffer();
        }
        &mut self.tail
    }

    /// Adds a frame without copying it, unless copying keeps the order without another buffer. If the client is
    /// `blocked` the frame stays shared, since it may wait for long.
    #[inline(always)]
    pub(super) fn add_shared(&mut self, frame: &Frame, blocked: bool) {
        if !self.tail.is_empty() {
            if frame.len() <= SMALL_BYTES && !blocked {
                return self.tail_for(frame.len()).extend_from_slice(frame.bytes());
            }
            self.seal();
        }
        self.bytes += frame.len();
        self.frames.push_back(frame.bytes().clone());
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.frames.push_back(Bytes::copy_from_slice(&self.tail));
            self.tail.clear();
        }
    }

    /// Moves all frames to `queue`; joins small ones if there are several.
    #[inline]
    pub(super) fn give(&mut self, queue: &mut SendQueue) {
        self.bytes = 0;
        if self.frames.len() > 1 {
            self.give_frames(queue);
        } else if let Some(frame) = self.frames.pop_front() {
            self.give_one(frame, queue);
        }
        if self.tail.capacity() > 0 {
            queue.append_buffer(std::mem::take(&mut self.tail));
        }
    }

    /// Moves the only frame before the tail: if nothing is joined with it, it stays shared.
    #[inline]
    fn give_one(&mut self, frame: Bytes, queue: &mut SendQueue) {
        if !self.tail.is_empty() && queue.is_empty() && frame.len() <= SMALL_BYTES {
            queue.append(&frame);
        } else {
            queue.push(frame);
        }
    }

    fn give_frames(&mut self, queue: &mut SendQueue) {
        // Frames behind a slow reader stay shared.
        let mut room = if queue.is_empty() { JOINED_BYTES } else { 0 };
        while let Some(frame) = self.frames.pop_front() {
            if frame.len() <= SMALL_BYTES.min(room) {
                room -= frame.len();
                queue.append(&frame);
            } else {
                queue.push(frame);
            }
        }
        if self.frames.capacity() > KEPT_FRAMES {
            self.frames = VecDeque::new();
        }
    }

    /// Counts all frames, behind those that the driver has taken.
    pub(super) fn settle(&self, bill: &mut Bill, taken: Option<&SendQueue>) {
        match taken {
            Some(taken) => bill.settle(taken.data(), &self.frames),
            None => bill.settle(std::iter::empty(), &self.frames),
        }
        bill.set_control(taken.map_or(0, SendQueue::control_bytes));
        bill.set_joined(self.tail.capacity());
    }

    /// Counts the frames that were added since.
    pub(super) fn follow(&self, bill: &mut Bill) {
        bill.follow(&self.frames);
        bill.set_joined(self.tail.capacity());
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> (Vec<Bytes>, usize) {
        (self.frames.iter().cloned().collect(), self.tail.capacity())
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A client's own frame larger than this has its own buffer: copying it costs more than writing two buffers.
pub(super) const COPIED_BYTES: usize = 16 * 1024;

/// A shared frame larger than this is not copied, for the same reason.
pub(super) const SMALL_BYTES: usize = 1024;

/// Bytes joined into one buffer: what one write takes.
pub(super) const JOINED_BYTES: usize = 64 * 1024;

/// A queue that a burst has grown beyond this is freed when it is empty.
const KEPT_FRAMES: usize = 16;
