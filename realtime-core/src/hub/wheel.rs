use crate::util::{panics::catch, sync::Mutex};
use realtime_protocol::ConnectionId;
use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// A timer wheel for all connections of a hub: an entry waits in the slot of its tick, so the cost of a tick depends on
/// the entries due in it, not on all entries.
///
/// (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987: scheme 6.)
#[derive(Debug)]
pub(crate) struct Wheel(Arc<Mutex<Slots>>);

#[derive(Debug)]
struct Slots {
    /// The last tick handled.
    now: u32,
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
struct Slot {
    entries: Vec<Entry>,
    /// Entries whose [`Sleep`] was dropped.
    dropped: usize,
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
        let slots = (0..SLOTS).map(|_| Slot::default()).collect();
        Self(Arc::new(Mutex::new(Slots { now: 0, slots })))
    }
}

impl Wheel {
    /// Schedules a connection's turn at tick `due`.
    pub(crate) fn watch(&self, id: ConnectionId, due: u32) {
        self.0.lock().insert(due, Who::Connection(id));
    }

    /// Schedules a connection's check for late calls at tick `due`.
    pub(crate) fn watch_calls(&self, id: ConnectionId, due: u32) {
        self.0.lock().insert(due, Who::Calls(id));
    }

    /// Returns a future that is ready at tick `due`.
    pub(crate) fn sleep_until(&self, due: u32) -> Sleep {
        let sleeper = Arc::<Sleeper>::default();
        let due = self.0.lock().insert(due, Who::Sleeper(Arc::clone(&sleeper)));
        Sleep { slots: Arc::clone(&self.0), due, sleeper }
    }

    /// Advances to the next tick, unless that is after `now`. Returns false if it is.
    ///
    /// Calls `turn` for each connection that is due, which returns the tick of its next turn; and `late` for each
    /// connection whose calls may be late.
    pub(crate) fn turn(
        &self,
        now: u32,
        turn: impl Fn(ConnectionId, u32) -> Option<u32>,
        late: impl Fn(ConnectionId, u32),
    ) -> bool {
        let Some((tick, due)) = self.0.lock().take_due(now) else { return false };
        for entry in due {
            // The last handle to a connection may be dropped here, and with it application values.
            let turned = catch(|| match entry.who {
                Who::Sleeper(sleeper) => sleeper.wake(),
                Who::Calls(id) => late(id, tick),
                Who::Connection(id) => {
                    if let Some(next) = turn(id, tick) {
                        self.watch(id, next.max(tick + 1));
                    }
                }
            });
            if let Err(panic) = turned {
                tracing::error!(panic = panic.0, "a panic at a connection's turn");
            }
        }
        true
    }
}

/// 64 s of ticks; later entries stay in their slot for another round.
const SLOTS: usize = 256;

impl Slots {
    /// Inserts an entry; returns the tick at which it is due.
    fn insert(&mut self, due: u32, who: Who) -> u32 {
        // A past tick is due at the next one, not a round later.
        let due = due.max(self.now + 1);
        self.slot(due).entries.push(Entry { due, who });
        due
    }

    /// Advances to the next tick, and takes out the entries due in it.
    fn take_due(&mut self, until: u32) -> Option<(u32, Vec<Entry>)> {
        if self.now >= until {
            return None;
        }
        self.now += 1;
        let now = self.now;
        let slot = self.slot(now);
        slot.sweep();
        let (due, later) = mem::take(&mut slot.entries).into_iter().partition(|entry| entry.due <= now);
        slot.entries = later;
        Some((now, due))
    }

    fn slot(&mut self, tick: u32) -> &mut Slot {
        &mut self.slots[tick as usize % SLOTS]
    }
}

impl Slot {
    /// Counts an entry whose [`Sleep`] was dropped, and removes such entries once they are half of all.
    fn drop_one(&mut self) {
        self.dropped += 1;
        if self.dropped * 2 >= self.entries.len() {
            self.sweep();
        }
    }

    fn sweep(&mut self) {
        if self.dropped == 0 {
            return;
        }
        self.dropped = 0;
        self.entries.retain(|entry| !matches!(&entry.who, Who::Sleeper(sleeper) if sleeper.is_dropped()));
        self.entries.shrink_to(self.entries.len() * 2);
    }
}

#[derive(Debug, Default)]
struct Sleeper(Mutex<Sleeping>);

#[derive(Debug)]
enum Sleeping {
    Waiting(Option<Waker>),
    Due,
    Dropped,
}

impl Default for Sleeping {
    fn default() -> Self {
        Self::Waiting(None)
    }
}

impl Sleeper {
    fn wake(&self) {
        let before = self.replace(Sleeping::Due);
        if let Sleeping::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }

    fn is_dropped(&self) -> bool {
        matches!(*self.0.lock(), Sleeping::Dropped)
    }

    fn replace(&self, next: Sleeping) -> Sleeping {
        mem::replace(&mut *self.0.lock(), next)
    }
}

/// A future that is ready at a tick of the hub's clock. Dropping it releases its waker at once, and its entry soon.
#[derive(Debug)]
pub(crate) struct Sleep {
    slots: Arc<Mutex<Slots>>,
    due: u32,
    sleeper: Arc<Sleeper>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut sleeping = self.sleeper.0.lock();
        let Sleeping::Waiting(known) = &mut *sleeping else { return Poll::Ready(()) };
        let known = known.replace(waker);
        drop(sleeping);
        drop(known);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let before = self.sleeper.replace(Sleeping::Dropped);
        if let Sleeping::Waiting(waker) = before {
            self.slots.lock().slot(self.due).drop_one();
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Wake;

    struct Task;

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    fn entries(wheel: &Wheel) -> usize {
        wheel.0.lock().slots.iter().map(|slot| slot.entries.len()).sum()
    }

    #[test]
    fn a_sleep_that_is_dropped_leaves_nothing() {
        let wheel = Wheel::default();
        let task = Arc::new(Task);
        let waker = Waker::from(Arc::clone(&task));
        let mut sleeps: Vec<_> = (0..1000).map(|due| wheel.sleep_until(40 + due % 2)).collect();
        for sleep in &mut sleeps {
            assert!(Pin::new(sleep).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(waker);
        let last = sleeps.pop();
        drop(sleeps);
        assert_eq!((Arc::strong_count(&task), entries(&wheel)), (2, 1));
        drop(last);
        assert_eq!((Arc::strong_count(&task), entries(&wheel)), (1, 0));
    }

    #[test]
    fn a_sleep_is_ready_at_its_tick() {
        let wheel = Wheel::default();
        let poll = |sleep: &mut Sleep| Pin::new(sleep).poll(&mut Context::from_waker(Waker::noop()));
        // Another round of the wheel, and one in the slot of the first that is dropped.
        let mut sleep = wheel.sleep_until(3 + SLOTS as u32);
        drop(wheel.sleep_until(3));
        for _ in 1..3 + SLOTS {
            assert!(wheel.turn(u32::MAX, |_, _| None, |_, _| {}));
            assert!(poll(&mut sleep).is_pending());
        }
        wheel.turn(u32::MAX, |_, _| None, |_, _| {});
        assert!(poll(&mut sleep).is_ready());
    }

    #[test]
    fn a_panic_at_a_turn_is_not_that_of_the_others() {
        let wheel = Wheel::default();
        for number in 0..3 {
            wheel.watch(ConnectionId { node: 0, number }, 1);
        }
        let turned = Mutex::new(Vec::new());
        let turn = |id: ConnectionId, _| {
            assert_ne!(id.number, 1, "it panics as it was told");
            turned.lock().push(id.number);
            None
        };
        wheel.turn(1, turn, |_, _| {});
        assert_eq!(*turned.lock(), [0, 2]);
    }
}
