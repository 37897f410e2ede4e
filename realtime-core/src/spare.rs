//! A buffer and a queue for each thread, lent to the connection that is being written: so that a
//! connection at rest holds neither, and one at work allocates neither.

use crate::transport::SendQueue;
use std::cell::Cell;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static QUEUE: Cell<Option<Box<SendQueue>>> = const { Cell::new(None) };
}

/// An empty buffer: the thread's, unless it is lent already.
pub(crate) fn take_buffer() -> Vec<u8> {
    BUFFER.try_with(Cell::take).unwrap_or_default()
}

/// Gives a buffer back, from whichever thread it came.
pub(crate) fn put_buffer(mut buffer: Vec<u8>) {
    if (1..=KEPT_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        // A thread that ends keeps nothing.
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
}

/// An empty queue: the thread's, unless it is lent already.
pub(crate) fn take_queue() -> Box<SendQueue> {
    QUEUE.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

/// Gives a queue back that is empty.
pub(crate) fn put_queue(queue: Box<SendQueue>) {
    debug_assert!(queue.is_empty());
    if queue.capacity() <= KEPT_FRAMES {
        let _ = QUEUE.try_with(|kept| kept.set(Some(queue)));
    }
}

/// A larger buffer is freed instead of being kept by the thread.
const KEPT_BYTES: usize = 64 * 1024;

/// A longer queue is freed instead of being kept by the thread.
const KEPT_FRAMES: usize = 1024;
