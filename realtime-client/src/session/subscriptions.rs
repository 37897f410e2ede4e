use super::place::{Place, Step};
use crate::{error::ClientError, mailbox::Mailbox};
use realtime_protocol::Message;
use realtime_protocol::{
    Code, Error, Gap, Position,
    client::{Format, Outgoing, Payload},
};
use std::{collections::HashMap, sync::Arc, task::Waker};

/// A step of a subscription. `place` is the position behind which it goes on then.
#[derive(Debug)]
pub(crate) enum Delivery {
    Begun { topic: String, position: Position, resumed: Option<bool>, place: Option<Position> },
    Item { data: Payload, position: Option<Position> },
    Gap { gap: Gap, place: Option<Position> },
    Failed(ClientError),
}

/// The frame that the server is owed for one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owed {
    Nothing,
    Credit,
    Unsubscribe,
}

/// The subscriptions that have not ended.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    running: HashMap<u64, Running>,
    /// Those whose items come under the name of a feed.
    shared: HashMap<String, u64>,
}

#[derive(Debug)]
struct Running {
    path: String,
    input: Payload,
    place: Place,
    deliveries: Arc<Mailbox<Delivery>>,
    phase: Phase,
    /// True once the subscription was sent, on any connection.
    begun: bool,
    /// True if it was left since something new has come.
    left: bool,
}

#[derive(Debug)]
enum Phase {
    /// It is to be sent.
    Waiting,
    /// The server may send this many more items on the current connection.
    Open { credit: u32 },
    /// It was unsubscribed because something was missing. It is sent again when the server has ended it.
    Leaving,
}

impl Subscriptions {
    pub(super) fn add(
        &mut self,
        id: u64,
        path: String,
        input: Payload,
        position: Option<Position>,
    ) -> Arc<Mailbox<Delivery>> {
        let deliveries = Mailbox::new();
        let (place, readers) = (Place::new(position), Arc::clone(&deliveries));
        let running =
            Running { path, input, place, deliveries: readers, phase: Phase::Waiting, begun: false, left: false };
        self.running.insert(id, running);
        deliveries
    }

    /// Returns the frame that starts the subscription, if it is still wanted.
    pub(super) fn send(&mut self, format: Format, id: u64, wakers: &mut Vec<Waker>) -> Option<Message> {
        let running = self.running.get_mut(&id)?;
        if running.begun && running.place.is_unknown() {
            wakers.extend(running.add_news(Delivery::Gap { gap: Gap::new(0, "reconnect"), place: None }));
        }
        running.begun = true;
        let credit = WINDOW.saturating_sub(running.held()) as u32;
        running.phase = Phase::Open { credit };
        let Running { path, input, place, .. } = running;
        let (id, after, credit) = (&*id.to_string(), place.position(), Some(credit));
        Some(Outgoing::Subscribe { id, path, input, after, credit, shared: true }.encode(format))
    }

    /// The subscription of a feed begins.
    pub(super) fn begin(
        &mut self,
        id: u64,
        topic: String,
        position: Position,
        is_shared: bool,
        resumed: Option<bool>,
        state: bool,
    ) -> Option<Waker> {
        let running = self.running.get_mut(&id).filter(|running| running.credit().is_some())?;
        running.place.begin(position.clone(), resumed, state);
        let place = running.place.position().cloned();
        if is_shared {
            self.shared.insert(topic.clone(), id);
        }
        running.add_news(Delivery::Begun { topic, position, resumed, place })
    }

    /// Returns the subscription whose items come under the name of this feed.
    pub(super) fn sharing(&self, topic: &str) -> Option<u64> {
        self.shared.get(topic).copied()
    }

    /// Adds an item. One that was not granted ends the subscription.
    pub(super) fn item(
        &mut self,
        id: u64,
        data: Payload,
        position: Option<Position>,
        wakers: &mut Vec<Waker>,
    ) -> Owed {
        let Some(running) = self.running.get_mut(&id) else { return Owed::Nothing };
        let Phase::Open { credit } = &mut running.phase else { return Owed::Nothing };
        let Some(left) = credit.checked_sub(1) else {
            let error = Error::resource_exhausted("the server sent more items than it was granted");
            wakers.extend(self.end(id, Some(ClientError::local(error))));
            return Owed::Unsubscribe;
        };
        *credit = left;
        match running.place.take(position.as_ref()) {
            Step::Next => {
                running.left = false;
                wakers.extend(running.deliveries.push(Delivery::Item { data, position }));
                Owed::Nothing
            }
            // Nobody takes it, and the server would run out of credit.
            Step::Known if (left as usize + running.held()) < WINDOW / 2 => Owed::Credit,
            Step::Known => Owed::Nothing,
            Step::Hole => self.leave(id, wakers),
        }
    }

    pub(super) fn gap(&mut self, id: u64, gap: Gap, wakers: &mut Vec<Waker>) -> Owed {
        let Some(running) = self.running.get_mut(&id) else { return Owed::Nothing };
        if running.credit().is_none() {
            return Owed::Nothing;
        }
        match running.place.skip(&gap) {
            Step::Next => {
                running.left = false;
                let place = running.place.position().cloned();
                wakers.extend(running.add_news(Delivery::Gap { gap, place }));
                Owed::Nothing
            }
            Step::Known => Owed::Nothing,
            Step::Hole => self.leave(id, wakers),
        }
    }

    /// Ends the subscription, with an error or as complete.
    pub(super) fn end(&mut self, id: u64, error: Option<ClientError>) -> Option<Waker> {
        let running = self.running.remove(&id)?;
        self.unshare(id);
        let waker = error.and_then(|error| running.deliveries.push(Delivery::Failed(error)));
        let ended = running.deliveries.end();
        waker.or(ended)
    }

    /// Notes that the server has ended one that was left. Returns true if it was, and is to be sent again.
    pub(super) fn rejoin(&mut self, id: u64) -> bool {
        match self.running.get_mut(&id) {
            Some(running) if matches!(running.phase, Phase::Leaving) => {
                running.phase = Phase::Waiting;
                true
            }
            _ => false,
        }
    }

    /// Removes a subscription whose reader is gone. Returns true if the server knows it.
    pub(super) fn drop_subscription(&mut self, id: u64) -> Option<bool> {
        let running = self.running.remove(&id)?;
        self.unshare(id);
        Some(running.credit().is_some())
    }

    /// Returns the number of further items that the server may send, if any.
    pub(super) fn grant(&mut self, id: u64) -> Option<u32> {
        let running = self.running.get_mut(&id)?;
        let held = running.held();
        let Phase::Open { credit } = &mut running.phase else { return None };
        let more = WINDOW.saturating_sub(*credit as usize + held) as u32;
        *credit += more;
        (more > 0).then_some(more)
    }

    /// Ends the subscriptions on a lost connection. Returns those to send on the next.
    pub(super) fn unsend(&mut self) -> Vec<u64> {
        self.shared.clear();
        let is_known = |(_, running): &(&u64, &mut Running)| !matches!(running.phase, Phase::Waiting);
        let unsend = |(id, running): (&u64, &mut Running)| {
            running.phase = Phase::Waiting;
            *id
        };
        self.running.iter_mut().filter(is_known).map(unsend).collect()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.running.contains_key(&id)
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.running.keys().copied().collect()
    }

    /// Has it begin again behind its place. A server that leaves out the same again would do so for ever.
    fn leave(&mut self, id: u64, wakers: &mut Vec<Waker>) -> Owed {
        self.unshare(id);
        let Some(running) = self.running.get_mut(&id) else { return Owed::Nothing };
        running.phase = Phase::Leaving;
        if std::mem::replace(&mut running.left, true) {
            let error = Error::new(Code::INTERNAL, "the server left out entries of the feed");
            wakers.extend(self.end(id, Some(ClientError::local(error))));
        }
        Owed::Unsubscribe
    }

    fn unshare(&mut self, id: u64) {
        self.shared.retain(|_, sharing| *sharing != id);
    }
}

impl Running {
    fn credit(&self) -> Option<u32> {
        match self.phase {
            Phase::Open { credit } => Some(credit),
            Phase::Waiting | Phase::Leaving => None,
        }
    }

    /// Returns the number of items that wait for the reader.
    fn held(&self) -> usize {
        self.deliveries.count(|delivery| matches!(delivery, Delivery::Item { .. }))
    }

    /// Adds a beginning or a gap. They cost no credit, and their number is not bounded: of each, one waits behind the last
    /// item.
    fn add_news(&self, news: Delivery) -> Option<Waker> {
        self.deliveries.edit(|queue| {
            let mut news = Some(news);
            for waiting in queue.iter_mut().rev().take_while(|waiting| !matches!(waiting, Delivery::Item { .. })) {
                news = news.and_then(|news| merge(waiting, news));
            }
            queue.extend(news);
        })
    }
}

/// Merges what comes into what waits, or returns it.
fn merge(waiting: &mut Delivery, news: Delivery) -> Option<Delivery> {
    match (waiting, news) {
        (Delivery::Gap { gap: last, place: last_place }, Delivery::Gap { gap, place }) => {
            // If either count is unknown, so is the sum.
            last.count = if last.count == 0 || gap.count == 0 { 0 } else { last.count.saturating_add(gap.count) };
            last.from = last.from.or(gap.from);
            last.to = gap.to.or(last.to);
            last.cause = gap.cause;
            *last_place = place;
            None
        }
        // It goes on from where the one that waits has begun.
        (Delivery::Begun { .. }, Delivery::Begun { resumed: Some(true), .. }) => None,
        (waiting @ Delivery::Begun { .. }, news @ Delivery::Begun { .. }) => {
            *waiting = news;
            None
        }
        (_, news) => Some(news),
    }
}

/// The number of items that the server may send ahead of the reader.
pub(crate) const WINDOW: usize = 64;
