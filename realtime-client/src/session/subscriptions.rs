use crate::{error::ClientError, mailbox::Mailbox};
use realtime_protocol::Message;
use realtime_protocol::{
    Error, Gap, Position,
    client::{Format, Outgoing, Payload},
};
use std::{collections::HashMap, sync::Arc, task::Waker};

/// A step of a subscription.
#[derive(Debug)]
pub(crate) enum Delivery {
    Item { data: Payload, position: Option<Position> },
    Gap(Gap),
    Failed(ClientError),
}

/// The subscriptions that have not ended.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(HashMap<u64, Running>);

#[derive(Debug)]
struct Running {
    path: String,
    input: Payload,
    /// The position of the last item.
    position: Option<Position>,
    deliveries: Arc<Mailbox<Delivery>>,
    /// The number of items that the server may still send on the current connection.
    credit: Option<u32>,
    /// True once the subscription was sent, on any connection.
    begun: bool,
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
        let running =
            Running { path, input, position, deliveries: Arc::clone(&deliveries), credit: None, begun: false };
        self.0.insert(id, running);
        deliveries
    }

    /// Returns the frame that starts the subscription, if it is still wanted.
    pub(super) fn send(&mut self, format: Format, id: u64, wakers: &mut Vec<Waker>) -> Option<Message> {
        let running = self.0.get_mut(&id)?;
        if running.begun && running.position.is_none() {
            wakers.extend(running.add_gap(Gap::new(0, "reconnect")));
        }
        running.begun = true;
        let credit = WINDOW.saturating_sub(running.held()) as u32;
        running.credit = Some(credit);
        let Running { path, input, position, .. } = running;
        let (id, after, credit) = (&*id.to_string(), position.as_ref(), Some(credit));
        Some(Outgoing::Subscribe { id, path, input, after, credit, shared: false }.encode(format))
    }

    /// Adds an item. Returns false if the item was not granted, which ends the subscription.
    pub(super) fn item(
        &mut self,
        id: u64,
        data: Payload,
        position: Option<Position>,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let Some(running) = self.0.get_mut(&id) else { return true };
        let Some(credit) = running.credit.as_mut() else { return true };
        let Some(left) = credit.checked_sub(1) else {
            let error = Error::resource_exhausted("the server sent more items than it was granted");
            wakers.extend(self.end(id, Some(ClientError::local(error))));
            return false;
        };
        *credit = left;
        if position.is_some() {
            running.position.clone_from(&position);
        }
        wakers.extend(running.deliveries.push(Delivery::Item { data, position }));
        true
    }

    pub(super) fn gap(&mut self, id: u64, gap: Gap) -> Option<Waker> {
        self.0.get_mut(&id).filter(|running| running.credit.is_some())?.add_gap(gap)
    }

    /// Ends the subscription, with an error or as complete.
    pub(super) fn end(&mut self, id: u64, error: Option<ClientError>) -> Option<Waker> {
        let running = self.0.remove(&id)?;
        let waker = error.and_then(|error| running.deliveries.push(Delivery::Failed(error)));
        let ended = running.deliveries.end();
        waker.or(ended)
    }

    /// Removes a subscription whose reader is gone. Returns true if the server knows it.
    pub(super) fn drop_subscription(&mut self, id: u64) -> Option<bool> {
        Some(self.0.remove(&id)?.credit.is_some())
    }

    /// Returns the number of further items that the server may send, if any.
    pub(super) fn grant(&mut self, id: u64) -> Option<u32> {
        let running = self.0.get_mut(&id)?;
        let held = running.held();
        let credit = running.credit.as_mut()?;
        let more = WINDOW.saturating_sub(*credit as usize + held) as u32;
        *credit += more;
        (more > 0).then_some(more)
    }

    /// Ends the subscriptions on a lost connection. Returns those to send on the next.
    pub(super) fn unsend(&mut self) -> Vec<u64> {
        let sent = |(id, running): (&u64, &mut Running)| running.credit.take().map(|_| *id);
        self.0.iter_mut().filter_map(sent).collect()
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.0.keys().copied().collect()
    }
}

impl Running {
    /// Returns the number of items that wait for the reader.
    fn held(&self) -> usize {
        self.deliveries.count(|delivery| matches!(delivery, Delivery::Item { .. }))
    }

    /// Merges a gap into one at the end of the queue: gaps cost no credit, and their number is not bounded.
    fn add_gap(&self, gap: Gap) -> Option<Waker> {
        self.deliveries.edit(|queue| match queue.back_mut() {
            Some(Delivery::Gap(last)) => {
                // If either count is unknown, so is the sum.
                last.count =
                    if last.count == 0 || gap.count == 0 { 0 } else { last.count.saturating_add(gap.count) };
                last.from = last.from.or(gap.from);
                last.to = gap.to.or(last.to);
                last.cause = gap.cause;
            }
            _ => queue.push_back(Delivery::Gap(gap)),
        })
    }
}

/// The number of items that the server may send ahead of the reader.
pub(crate) const WINDOW: usize = 64;
