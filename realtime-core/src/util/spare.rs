//! A buffer for each thread, lent to the connection that is being written: an idle connection holds none, and a busy
//! one allocates none.

use std::{cell::Cell, thread::LocalKey};

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Takes the thread's value and leaves the default. Taken, not borrowed: application code may come back here while it
/// is lent.
pub(crate) fn take<T: Default>(kept: &'static LocalKey<Cell<T>>) -> T {
    kept.try_with(Cell::take).unwrap_or_default()
}

/// Puts a value back for the thread. A thread that is ending drops it.
pub(crate) fn put<T>(kept: &'static LocalKey<Cell<T>>, value: T) {
    let _ = kept.try_with(|kept| kept.set(value));
}

/// Takes an empty buffer: the thread's, unless it is lent already.
pub(crate) fn take_buffer() -> Vec<u8> {
    take(&BUFFER)
}

/// Returns a buffer, from whichever thread it came.
pub(crate) fn put_buffer(mut buffer: Vec<u8>) {
    if (1..=KEPT_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        put(&BUFFER, buffer);
    }
}

/// A larger buffer is freed instead of being kept by the thread.
const KEPT_BYTES: usize = 64 * 1024;
