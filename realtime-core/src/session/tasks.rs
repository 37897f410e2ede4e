use super::Session;
use crate::sync::Mutex;
use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::AcqRel},
    },
    task::{Wake, Waker},
};

/// What runs concurrently inside one connection's future, in numbered places. Each place has a waker of its own, so that
/// only what was woken is polled; the waker stays with the place, so that a call needs none.
pub(super) struct Tasks<T> {
    places: Vec<Place<T>>,
    free: Vec<usize>,
    ready: Arc<Ready>,
    running: usize,
}

struct Place<T> {
    task: Option<T>,
    wakes: Arc<Wakes>,
    waker: Waker,
}

/// The places that were woken, in their order.
struct Ready {
    session: Arc<Session>,
    places: Mutex<VecDeque<usize>>,
}

struct Wakes {
    place: usize,
    /// It is among the ready ones.
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl<T> Tasks<T> {
    pub(super) fn new(session: &Arc<Session>) -> Self {
        let ready = Arc::new(Ready { session: Arc::clone(session), places: Mutex::default() });
        Self { places: Vec::new(), free: Vec::new(), ready, running: 0 }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.running
    }

    /// A place for a task, and the waker with which it is polled. It is taken by [`put`](Self::put), or given back by
    /// [`release`](Self::release).
    pub(super) fn reserve(&mut self) -> (usize, Waker) {
        let place = self.free.pop().unwrap_or_else(|| {
            let place = self.places.len();
            let wakes = Arc::new(Wakes { place, queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
            self.places.push(Place { task: None, waker: Waker::from(Arc::clone(&wakes)), wakes });
            place
        });
        (place, self.places[place].waker.clone())
    }

    pub(super) fn release(&mut self, place: usize) {
        self.free.push(place);
    }

    /// Puts a task into its place, for the first time or after it was polled.
    pub(super) fn put(&mut self, place: usize, task: T) {
        self.running += 1;
        self.places[place].task = Some(task);
    }

    /// Takes a task out, to poll it or to end it.
    pub(super) fn take(&mut self, place: usize) -> Option<T> {
        let task = self.places.get_mut(place)?.task.take()?;
        self.running -= 1;
        Some(task)
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.places.get(place)?.task.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place)?.task.as_mut()
    }

    pub(super) fn waker(&self, place: usize) -> Waker {
        self.places[place].waker.clone()
    }

    /// The next place that was woken. It may be empty by now, or have another task.
    pub(super) fn next_ready(&self) -> Option<usize> {
        let place = self.ready.places.lock().pop_front()?;
        // From here on it is to be polled again if it is woken.
        self.places[place].wakes.queued.swap(false, AcqRel);
        Some(place)
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.places.lock().is_empty()
    }

    /// Puts a place among the ready ones, behind those that are.
    pub(super) fn wake(&self, place: usize) {
        self.places[place].wakes.queue();
    }

    pub(super) fn places(&self) -> impl Iterator<Item = (usize, &T)> {
        self.places.iter().enumerate().filter_map(|(place, at)| Some((place, at.task.as_ref()?)))
    }

    /// Takes all tasks out.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.running = 0;
        self.places.iter_mut().filter_map(|place| place.task.take()).collect()
    }
}

impl Wakes {
    /// Gives whether it was not queued already.
    fn queue(&self) -> bool {
        let queued = self.queued.swap(true, AcqRel);
        if !queued {
            self.ready.places.lock().push_back(self.place);
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
            self.ready.session.outbox.signal_look();
        }
    }
}

impl<T> fmt::Debug for Tasks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.running).finish_non_exhaustive()
    }
}
