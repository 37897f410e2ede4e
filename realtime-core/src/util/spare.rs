//! A buffer and a queue for each thread, lent to the connection that is being written: so that a
//! connection at rest holds neither, and one at work allocates neither.

use crate::seams::SendQueue;
use std::{cell::Cell, thread::LocalKey};

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static QUEUE: Cell<Option<Box<SendQueue>>> = const { Cell::new(None) };
}

/// Takes what the thread keeps, and leaves nothing. Taken and not borrowed: the application's code
/// may come back here while it is lent.
pub(crate) fn take<T: Default>(kept: &'static LocalKey<Cell<T>>) -> T {
    kept.try_with(Cell::take).unwrap_or_default()
}

/// Has the thread keep this. One that is ending keeps nothing any more.
pub(crate) fn put<T>(kept: &'static LocalKey<Cell<T>>, value: T) {
    let _ = kept.try_with(|kept| kept.set(value));
}

/// An empty buffer: the thread's, unless it is lent already.
pub(crate) fn take_buffer() -> Vec<u8> {
    take(&BUFFER)
}

/// Gives a buffer back, from whichever thread it came.
pub(crate) fn put_buffer(mut buffer: Vec<u8>) {
    if (1..=KEPT_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        put(&BUFFER, buffer);
    }
}

/// An empty queue: the thread's, unless it is lent already.
pub(crate) fn take_queue() -> Box<SendQueue> {
    take(&QUEUE).unwrap_or_default()
}

/// Gives a queue back that is empty.
pub(crate) fn put_queue(queue: Box<SendQueue>) {
    debug_assert!(queue.is_empty());
    if queue.capacity() <= KEPT_FRAMES {
        put(&QUEUE, Some(queue));
    }
}

/// A larger buffer is freed instead of being kept by the thread.
const KEPT_BYTES: usize = 64 * 1024;

/// A longer queue is freed instead of being kept by the thread.
const KEPT_FRAMES: usize = 1024;
