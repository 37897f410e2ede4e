use crate::{ConnectionId, sync::Mutex};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

/// A timer wheel, one for all connections of a hub: an entry waits in the slot of its tick, so a
/// tick costs what is due in it and not what exists.
///
/// (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987: scheme 6.)
#[derive(Debug)]
pub(crate) struct Wheel(Mutex<Slots>);

#[derive(Debug)]
struct Slots {
    /// The last tick that was turned to.
    now: u32,
    slots: Box<[Vec<Entry>]>,
}

#[derive(Debug)]
struct Entry {
    due: u32,
    who: Who,
}

#[derive(Debug)]
enum Who {
    /// A connection, by its number: an entry keeps nothing alive.
    Connection(ConnectionId),
    /// A connection whose calls may be late.
    Calls(ConnectionId),
    Sleeper(Arc<Sleeper>),
}

impl Default for Wheel {
    fn default() -> Self {
        Self(Mutex::new(Slots { now: 0, slots: (0..SLOTS).map(|_| Vec::new()).collect() }))
    }
}

impl Wheel {
    /// Gives a connection its turn at tick `due`.
    pub(crate) fn watch(&self, id: ConnectionId, due: u32) {
        self.insert(Entry { due, who: Who::Connection(id) });
    }

    /// Tells a connection at tick `due` to look whether its calls are late.
    pub(crate) fn watch_calls(&self, id: ConnectionId, due: u32) {
        self.insert(Entry { due, who: Who::Calls(id) });
    }

    /// A future that is ready at tick `due`.
    pub(crate) fn sleep_until(&self, due: u32) -> Sleep {
        let sleeper = Arc::new(Sleeper::default());
        self.insert(Entry { due, who: Who::Sleeper(Arc::clone(&sleeper)) });
        Sleep(sleeper)
    }

    /// Calls `turn` for each connection that is due at `now`, which gives the tick of the next turn; and `late` for each
    /// whose calls may be late.
    pub(crate) fn turn(
        &self,
        now: u32,
        turn: impl Fn(ConnectionId, u32) -> Option<u32>,
        late: impl Fn(ConnectionId, u32),
    ) {
        let due: Vec<Entry> = {
            let mut wheel = self.0.lock();
            wheel.now = now;
            let slot = &mut wheel.slots[slot(now)];
            let (due, later) = std::mem::take(slot).into_iter().partition(|entry| entry.due <= now);
            *slot = later;
            due
        };
        for entry in due {
            match entry.who {
                Who::Sleeper(sleeper) => sleeper.wake(),
                Who::Calls(id) => late(id, now),
                Who::Connection(id) => {
                    if let Some(next) = turn(id, now) {
                        self.watch(id, next.max(now + 1));
                    }
                }
            }
        }
    }

    fn insert(&self, mut entry: Entry) {
        let mut wheel = self.0.lock();
        // What is past already has its turn at the next tick, not a round later.
        entry.due = entry.due.max(wheel.now + 1);
        wheel.slots[slot(entry.due)].push(entry);
    }
}

/// 64 s of ticks; what is due later stays in its slot for another round.
const SLOTS: usize = 256;

fn slot(tick: u32) -> usize {
    tick as usize % SLOTS
}

#[derive(Debug, Default)]
struct Sleeper {
    done: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Sleeper {
    fn wake(&self) {
        self.done.store(true, Relaxed);
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Ready at a tick of the hub's clock.
#[derive(Debug)]
pub(crate) struct Sleep(Arc<Sleeper>);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waker = self.0.waker.lock();
        // Under the lock that `wake` takes after it has set the flag.
        if self.0.done.load(Relaxed) {
            return Poll::Ready(());
        }
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
