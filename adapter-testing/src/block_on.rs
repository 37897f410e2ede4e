use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// Runs a test's future on this thread.
///
/// # Panics
///
/// If nothing happens for ten seconds of real time, which means that the test waits in vain.
#[track_caller]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        let parked = Instant::now();
        thread::park_timeout(PATIENCE);
        assert!(parked.elapsed() < PATIENCE, "nothing happened for {PATIENCE:?}: the test waits in vain");
    }
}

const PATIENCE: Duration = Duration::from_secs(10);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
