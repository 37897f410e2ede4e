use crate::{util::spare, websocket::Frame};
use bytes::{Buf, Bytes, BytesMut};
use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Poll, ready},
};

/// The queue of frames to send to one client, in wire order.
///
/// Transports that write call [`poll_write`](Self::poll_write); transports whose framework pulls a body call
/// [`pop`](Self::pop).
///
/// Control frames have a lane of their own: while data waits for a slow reader, a ping or pong is sent right after the
/// frame that is half written, before the rest.
#[derive(Debug, Default)]
pub struct SendQueue {
    /// The rest of a frame that is half written.
    partial: Option<Bytes>,
    pong: Option<Bytes>,
    ping: Option<Bytes>,
    /// Whole frames, one or several in each buffer.
    frames: VecDeque<Bytes>,
    /// Small frames behind those, joined in the thread's spare buffer.
    tail: Vec<u8>,
    bytes: usize,
}

impl SendQueue {
    /// Returns the number of bytes to write.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Fills `slices` with the front of the queue; returns how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, bytes) in slices.iter_mut().zip(self.iter()) {
            *slice = IoSlice::new(bytes);
            filled += 1;
        }
        filled
    }

    /// Returns the first buffer of the queue; empty if the queue is.
    pub fn front(&self) -> &[u8] {
        let shared = self.partial.as_ref().or(self.pong.as_ref()).or(self.ping.as_ref());
        shared.or(self.frames.front()).map_or(&self.tail, |bytes| bytes)
    }

    /// Returns the number of buffers.
    pub fn count(&self) -> usize {
        self.iter().count()
    }

    /// Removes `count` bytes from the front: the bytes that a write accepted.
    ///
    /// # Panics
    ///
    /// If the queue holds fewer bytes.
    #[track_caller]
    pub fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "advanced by {count} of {} bytes", self.bytes);
        self.bytes -= count;
        if self.bytes == 0 {
            return self.clear();
        }
        while count > 0 {
            let begun = self.partial.is_some();
            let Some(mut front) = self.take_front() else { return };
            if count < front.len() {
                let end = if begun { front.len() } else { Frame::end_around(&front, count) };
                let rest = front.split_off(end);
                if !rest.is_empty() {
                    self.frames.push_front(rest);
                }
                front.advance(count);
                self.partial = Some(front);
                return;
            }
            count -= front.len();
        }
    }

    /// Removes and returns the first buffer.
    pub fn pop(&mut self) -> Option<Bytes> {
        let front = self.take_front()?;
        self.bytes -= front.len();
        Some(front)
    }

    /// Joins the small buffers at the front into one of at most `limit` bytes, for streams that cannot write several at
    /// once (HTTP/2, TLS).
    pub fn coalesce(&mut self, limit: usize) {
        if self.partial.is_some() || self.pong.is_some() || self.ping.is_some() {
            return;
        }
        let (mut count, mut bytes) = (0, 0);
        for buffer in self.iter() {
            if bytes + buffer.len() > limit {
                break;
            }
            count += 1;
            bytes += buffer.len();
        }
        if count < 2 {
            return;
        }
        let mut joined = BytesMut::with_capacity(bytes);
        for _ in 0..count {
            joined.extend_from_slice(&self.take_front().unwrap_or_default());
        }
        self.frames.push_front(joined.freeze());
    }

    /// Calls `write` with the front of the queue, and removes the bytes it accepted, until the queue is empty. Passes
    /// many buffers at once if the stream is `vectored`; otherwise joins small ones, up to the 16 KiB of a TLS record
    /// or HTTP/2 frame.
    ///
    /// # Errors
    ///
    /// The error of `write`; [`io::ErrorKind::WriteZero`] if it accepts nothing.
    #[inline(always)]
    pub fn poll_write(
        &mut self,
        vectored: bool,
        mut write: impl FnMut(&[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            if !vectored {
                self.coalesce(16 * 1024);
            }
            let single = !vectored || self.front().len() == self.bytes;
            let count = if single {
                ready!(write(&[IoSlice::new(self.front())]))?
            } else {
                let mut buffers = [IoSlice::new(&[]); MAX_BUFFERS];
                let filled = self.slices(&mut buffers);
                ready!(write(&buffers[..filled]))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Adds a frame without copying it.
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.seal();
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Appends copies of whole frames, so that many small ones are one buffer to write.
    pub(crate) fn append(&mut self, frames: &[u8]) {
        if self.tail.capacity() == 0 {
            self.tail = spare::take_buffer();
        }
        self.bytes += frames.len();
        self.tail.extend_from_slice(frames);
    }

    /// Appends a buffer of whole frames, which is some thread's spare buffer.
    #[inline(always)]
    pub(crate) fn append_buffer(&mut self, frames: Vec<u8>) {
        if self.tail.is_empty() {
            self.bytes += frames.len();
            spare::put_buffer(std::mem::replace(&mut self.tail, frames));
        } else {
            self.append(&frames);
            spare::put_buffer(frames);
        }
    }

    /// Shrinks the buffers to their contents: what cannot be sent now may wait for long.
    pub(crate) fn seal(&mut self) {
        if self.tail.capacity() == 0 {
            return;
        }
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            self.frames.push_back(Bytes::copy_from_slice(&tail));
        }
        spare::put_buffer(tail);
    }

    /// Puts a pong in front of the data. Replaces a pong that still waits: only the latest ping needs an answer (RFC
    /// 6455, section 5.5.3).
    pub(crate) fn push_pong(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        if let Some(earlier) = self.pong.replace(frame) {
            self.bytes -= earlier.len();
        }
    }

    /// Puts a ping in front of the data, unless one is waiting already.
    pub(crate) fn push_ping(&mut self, frame: Bytes) {
        if self.ping.is_none() {
            self.bytes += frame.len();
            self.ping = Some(frame);
        }
    }

    /// Drops all data except a frame that is half written, which the peer must receive whole. Returns true if there was
    /// some.
    pub(crate) fn discard(&mut self) -> bool {
        let dropped = self.frames.iter().map(Bytes::len).sum::<usize>() + self.tail.len();
        self.bytes -= dropped;
        self.frames = VecDeque::new();
        spare::put_buffer(std::mem::take(&mut self.tail));
        dropped > 0
    }

    /// Returns the buffers of data.
    pub(crate) fn data(&self) -> impl Iterator<Item = &Bytes> + Clone {
        self.partial.iter().chain(&self.frames)
    }

    /// Returns the bytes of a ping and a pong that wait.
    pub(crate) fn control_bytes(&self) -> usize {
        self.ping.iter().chain(&self.pong).map(Bytes::len).sum()
    }

    /// Returns the number of frames the queue has allocated room for.
    pub(crate) fn capacity(&self) -> usize {
        self.frames.capacity()
    }

    fn clear(&mut self) {
        (self.partial, self.pong, self.ping) = (None, None, None);
        // Popping is faster than clearing when there is one frame.
        while self.frames.pop_front().is_some() {}
        spare::put_buffer(std::mem::take(&mut self.tail));
    }

    fn take_front(&mut self) -> Option<Bytes> {
        if self.frames.is_empty() {
            self.seal();
        }
        self.partial
            .take()
            .or_else(|| self.pong.take())
            .or_else(|| self.ping.take())
            .or_else(|| self.frames.pop_front())
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let shared = self.partial.iter().chain(&self.pong).chain(&self.ping).chain(&self.frames);
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        shared.map(|bytes| &bytes[..]).chain(tail)
    }
}

/// Takes an empty queue: the thread's, unless it is lent already.
pub(crate) fn take_queue() -> Box<SendQueue> {
    spare::take(&QUEUE).unwrap_or_default()
}

/// Returns an empty queue to the thread.
pub(crate) fn put_queue(queue: Box<SendQueue>) {
    debug_assert!(queue.is_empty());
    if queue.capacity() <= KEPT_FRAMES {
        spare::put(&QUEUE, Some(queue));
    }
}

thread_local! {
    static QUEUE: Cell<Option<Box<SendQueue>>> = const { Cell::new(None) };
}

/// A longer queue is freed instead of being kept by the thread.
const KEPT_FRAMES: usize = 1024;

/// 64 slices are a KiB of stack; more gain less than the longer call costs.
const MAX_BUFFERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut SendQueue) -> Vec<u8> {
        std::iter::from_fn(|| queue.pop()).flatten().collect()
    }

    #[test]
    fn a_pong_goes_between_frames_never_inside_one() {
        let mut queue = SendQueue::default();
        queue.push(Bytes::from_static(b"aaaa"));
        queue.push(Bytes::from_static(b"bb"));
        queue.advance(1);
        queue.push_pong(Bytes::from_static(b"1"));
        queue.push_pong(Bytes::from_static(b"2"));
        queue.push_ping(Bytes::from_static(b"3"));
        assert_eq!(queue.bytes(), 3 + 2 + 2);
        assert_eq!(drain(&mut queue), b"aaa23bb");
        assert!(queue.is_empty());
    }

    #[test]
    fn a_pong_goes_between_frames_that_are_joined() {
        let frame = |text: &str| Frame::new(crate::websocket::Opcode::Text, text.as_bytes()).into_bytes();
        for written in 1..8 {
            let mut queue = SendQueue::default();
            queue.push(frame("before"));
            for text in ["a", "", "bcd"] {
                queue.append(&frame(text));
            }
            let mut wire = drain_to(&mut queue, 8 + written);
            queue.push_pong(frame("pong"));
            wire.extend(drain(&mut queue));
            let order = match written {
                1..=3 => ["before", "a", "pong", "", "bcd"],
                4..=5 => ["before", "a", "", "pong", "bcd"],
                _ => ["before", "a", "", "bcd", "pong"],
            };
            assert_eq!(wire, order.map(frame).concat(), "{written}");
        }
    }

    fn drain_to(queue: &mut SendQueue, count: usize) -> Vec<u8> {
        let mut wire: Vec<u8> = queue.iter().flatten().copied().collect();
        wire.truncate(count);
        queue.advance(count);
        wire
    }

    #[test]
    fn what_is_sealed_takes_no_more_than_its_bytes() {
        let mut queue = SendQueue { tail: Vec::with_capacity(64 * 1024), ..SendQueue::default() };
        queue.append(b"abc");
        queue.seal();
        assert_eq!((queue.tail.capacity(), queue.bytes(), queue.front()), (0, 3, &b"abc"[..]));
    }

    #[test]
    fn discard_keeps_the_frame_that_is_half_written() {
        let mut queue = SendQueue::default();
        queue.push(Bytes::from_static(b"aaaa"));
        queue.push(Bytes::from_static(b"bb"));
        queue.advance(2);
        queue.discard();
        queue.push(Bytes::from_static(b"close"));
        assert_eq!(drain(&mut queue), b"aaclose");
    }

    #[test]
    fn coalescing_changes_no_byte() {
        let mut queue = SendQueue::default();
        for part in ["a", "bc", "def", "ghijklmnop", "q"] {
            queue.push(Bytes::from_static(part.as_bytes()));
        }
        queue.coalesce(8);
        assert_eq!((queue.front(), queue.bytes(), queue.count()), (&b"abcdef"[..], 17, 3));
        queue.advance(2);
        assert_eq!(drain(&mut queue), b"cdefghijklmnopq");
    }
}
