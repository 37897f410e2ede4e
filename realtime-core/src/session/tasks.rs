use crate::{
    hub::Client,
    util::sync::{
        Mutex,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
};
use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    task::{Wake, Waker},
};

/// The tasks that run concurrently inside one connection's future, in numbered seats. Each seat has its own waker, so
/// that only woken tasks are polled; the waker stays with the seat, so a new task allocates none.
pub(super) struct Tasks<T> {
    seats: Vec<Seat<T>>,
    free: Vec<usize>,
    ready: Arc<Ready>,
    running: usize,
}

struct Seat<T> {
    task: Option<T>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// The seats that were woken, in order.
struct Ready {
    client: Arc<Client>,
    seats: Mutex<VecDeque<usize>>,
    /// A hint that there are some, to save the lock. Set under it, before the driver is signalled.
    any: AtomicBool,
}

struct Wakes {
    seat: usize,
    /// The seat is in the ready list.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl<T> Tasks<T> {
    pub(super) fn new(client: &Arc<Client>) -> Self {
        let ready =
            Arc::new(Ready { client: Arc::clone(client), seats: Mutex::default(), any: AtomicBool::new(false) });
        Self { seats: Vec::new(), free: Vec::new(), ready, running: 0 }
    }

    /// Returns the number of tasks.
    pub(super) fn len(&self) -> usize {
        self.running
    }

    /// Reserves a seat for a task, and returns it with the waker to poll the task with. Fill it by
    /// [`put`](Self::put), or free it by [`release`](Self::release).
    pub(super) fn reserve(&mut self) -> (usize, Waker) {
        let seat = self.free.pop().unwrap_or_else(|| {
            let seat = self.seats.len();
            let wakes = Arc::new(Wakes { seat, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
            self.seats.push(Seat { task: None, waker: Waker::from(Arc::clone(&wakes)), wakes });
            seat
        });
        (seat, self.seats[seat].waker.clone())
    }

    pub(super) fn release(&mut self, seat: usize) {
        self.free.push(seat);
    }

    /// Puts a task into its seat, for the first time or after a poll.
    pub(super) fn put(&mut self, seat: usize, task: T) {
        self.running += 1;
        self.seats[seat].task = Some(task);
    }

    /// Takes a task out, to poll or to end it.
    pub(super) fn take(&mut self, seat: usize) -> Option<T> {
        let task = self.seats.get_mut(seat)?.task.take()?;
        self.running -= 1;
        Some(task)
    }

    pub(super) fn get(&self, seat: usize) -> Option<&T> {
        self.seats.get(seat)?.task.as_ref()
    }

    pub(super) fn get_mut(&mut self, seat: usize) -> Option<&mut T> {
        self.seats.get_mut(seat)?.task.as_mut()
    }

    pub(super) fn waker(&self, seat: usize) -> Waker {
        self.seats[seat].waker.clone()
    }

    /// Returns the next seat that was woken. It may be empty by now, or have another task.
    pub(super) fn next_ready(&self) -> Option<usize> {
        if !self.has_ready() {
            return None;
        }
        let seat = {
            let mut seats = self.ready.seats.lock();
            let seat = seats.pop_front();
            self.ready.any.store(!seats.is_empty(), Release);
            seat?
        };
        // From here on a wake-up queues it again.
        self.seats[seat].wakes.queued.swap(false, AcqRel);
        Some(seat)
    }

    #[inline]
    pub(super) fn has_ready(&self) -> bool {
        self.ready.any.load(Acquire)
    }

    /// Adds a seat to the end of the ready list.
    pub(super) fn wake(&self, seat: usize) {
        self.seats[seat].wakes.queue();
    }

    pub(super) fn seats(&self) -> impl Iterator<Item = (usize, &T)> {
        self.seats.iter().enumerate().filter_map(|(seat, at)| Some((seat, at.task.as_ref()?)))
    }

    pub(super) fn tasks_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.seats.iter_mut().filter_map(|seat| seat.task.as_mut())
    }

    /// Takes all tasks out.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.running = 0;
        self.seats.iter_mut().filter_map(|seat| seat.task.take()).collect()
    }
}

impl Wakes {
    /// Returns true if it was not queued yet.
    fn queue(&self) -> bool {
        let queued = self.queued.swap(true, AcqRel);
        if !queued {
            let mut seats = self.ready.seats.lock();
            seats.push_back(self.seat);
            self.ready.any.store(true, Release);
        }
        !queued
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queue() {
            self.ready.client.outbox.signal_look();
        }
    }
}

impl<T> fmt::Debug for Tasks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.running).finish_non_exhaustive()
    }
}
