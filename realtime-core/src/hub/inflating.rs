use crate::util::sync::Mutex;
use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// The limit of messages that are inflated over several turns of their connections, each up to the length limit.
/// Further messages wait in order, still compressed.
#[derive(Debug)]
pub(crate) struct Inflating {
    places: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    taken: usize,
    /// In the order of their tickets.
    waiting: VecDeque<Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    waker: Waker,
}

impl Inflating {
    pub(crate) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places, queue: Mutex::default() })
    }
}

/// A message's place under the limit, or in the queue for one. Released on drop.
#[derive(Debug)]
pub(crate) struct Place {
    inflating: Arc<Inflating>,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    New,
    /// Queued with this ticket; once the queue no longer has it, the place is taken.
    Waiting(u64),
    Taken,
}

impl Place {
    pub(crate) fn new(inflating: &Arc<Inflating>) -> Self {
        Self { inflating: Arc::clone(inflating), state: State::New }
    }

    /// Ready once the place is taken; the task is woken then.
    pub(crate) fn poll_taken(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut queue = self.inflating.queue.lock();
        self.state = match self.state {
            State::Taken => State::Taken,
            State::New if queue.taken < self.inflating.places => {
                queue.taken += 1;
                State::Taken
            }
            State::New => State::Waiting(queue.push(cx.waker())),
            State::Waiting(ticket) => match queue.find(ticket) {
                Some(at) => {
                    queue.waiting[at].waker.clone_from(cx.waker());
                    State::Waiting(ticket)
                }
                None => State::Taken,
            },
        };
        if matches!(self.state, State::Taken) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.inflating.queue.lock();
        let next = match self.state {
            State::New => None,
            State::Waiting(ticket) => match queue.find(ticket) {
                Some(at) => queue.waiting.remove(at).and(None),
                None => queue.hand_over(),
            },
            State::Taken => queue.hand_over(),
        };
        drop(queue);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Queue {
    fn push(&mut self, waker: &Waker) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.waiting.push_back(Waiting { ticket, waker: waker.clone() });
        ticket
    }

    fn find(&self, ticket: u64) -> Option<usize> {
        self.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket).ok()
    }

    /// Passes a free place to the longest waiting message; returns the waker to wake.
    #[must_use]
    fn hand_over(&mut self) -> Option<Waker> {
        match self.waiting.pop_front() {
            Some(next) => Some(next.waker),
            None => {
                self.taken -= 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        task::Wake,
    };

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    struct Client {
        place: Place,
        woken: Arc<Woken>,
    }

    impl Client {
        fn new(inflating: &Arc<Inflating>) -> Self {
            Self { place: Place::new(inflating), woken: Arc::default() }
        }

        fn has_place(&mut self) -> bool {
            let waker = Waker::from(Arc::clone(&self.woken));
            self.place.poll_taken(&Context::from_waker(&waker)).is_ready()
        }

        fn woken(&self) -> usize {
            self.woken.0.load(Relaxed)
        }
    }

    #[test]
    fn places_go_to_those_who_wait_in_order() {
        let inflating = Inflating::new(2);
        let mut clients: VecDeque<Client> = (0..5).map(|_| Client::new(&inflating)).collect();
        let placed: Vec<bool> = clients.iter_mut().map(Client::has_place).collect();
        assert_eq!(placed, [true, true, false, false, false]);
        for _ in 0..3 {
            assert!(!clients[2].has_place());
            assert_eq!(clients[2].woken(), 0);
            clients.pop_front();
            assert_eq!(clients[1].woken(), 1);
            // A newcomer does not overtake those that wait.
            assert!(!Client::new(&inflating).has_place() || clients.len() == 2);
            assert!(clients[1].has_place());
        }
        clients.clear();
        assert_eq!(inflating.queue.lock().taken, 0);
    }

    #[test]
    fn who_goes_while_waiting_leaves_no_gap() {
        let inflating = Inflating::new(1);
        let mut clients: Vec<Client> = (0..4).map(|_| Client::new(&inflating)).collect();
        clients.iter_mut().for_each(|client| _ = client.has_place());
        // One that waits; then one that was given the place and has not noticed.
        clients.remove(2);
        clients.remove(0);
        clients.remove(0);
        assert_eq!(clients[0].woken(), 1);
        assert!(clients[0].has_place());
        clients.clear();
        assert!(Client::new(&inflating).has_place());
    }
}
