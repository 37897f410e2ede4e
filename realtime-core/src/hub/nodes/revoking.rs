//! Revocations on all nodes. Each node tells the others what was revoked on it, again with every beat until they have said
//! that they have done it.

use super::{
    Nodes,
    others::{Other, Others},
    wire::{Message, RevokedFrom, Says, check_principal},
};
use crate::{
    context::Principal,
    hub::{Hub, topics::Name},
    util::sync::atomic::Ordering::Relaxed,
};
use realtime_protocol::{Error, Result};
use std::{future::poll_fn, ops::Range, task::Poll, time::Duration};

/// The key by which a message replaces one that still waits for the broker: each time, the first are told that are not confirmed.
const REVOKE: &str = "revoke";

/// The most messages at a time. Nodes between them are told once others have confirmed more.
const MESSAGES: usize = 8;

/// The time that the other nodes have to confirm.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

impl Others {
    /// Returns the number up to which all other nodes have confirmed; `None` if there are none.
    fn confirmed(&self) -> Option<u64> {
        self.iter().map(|(_, other)| other.confirmed).min()
    }

    /// Returns the numbers up to which other nodes have confirmed, in order: the lowest ones and the highest of many.
    fn confirmed_by_each(&self) -> Vec<u64> {
        let mut confirmed: Vec<_> = self.iter().map(|(_, other)| other.confirmed).collect();
        confirmed.sort_unstable();
        confirmed.dedup();
        if confirmed.len() > MESSAGES {
            confirmed.drain(MESSAGES - 1..confirmed.len() - 1);
        }
        confirmed
    }

    /// Returns how many of these some node has not confirmed that was heard when they were revoked.
    fn count_untold(&self, dropped: &Range<u64>) -> u64 {
        let was_heard = |other: &&Other| other.revoked_before + 1 < dropped.end;
        let confirmed = self.iter().map(|(_, other)| other).filter(was_heard).map(|other| other.confirmed).min();
        confirmed.map_or(0, |confirmed| dropped.end.saturating_sub(dropped.start.max(confirmed + 1)))
    }

    /// Returns the nodes that have not confirmed a number.
    fn lacking(&self, number: u64) -> Vec<u64> {
        self.iter().filter(|(_, other)| other.confirmed < number).map(|(node, _)| *node).collect()
    }
}

impl Hub {
    /// Revokes a principal, or its place in a topic or feed, here and on the other nodes. Returns the number of its
    /// connections here.
    pub(crate) fn revoke_on_all_nodes(&self, principal: &Principal, from: Option<RevokedFrom>) -> usize {
        let connections = self.revoke_here(principal, from.as_ref());
        let Some(nodes) = &self.nodes else { return connections };
        if from.as_ref().is_some_and(|from| Name::Topic(from.name()).check().is_err()) {
            // No node has such a topic or feed.
            return connections;
        }
        if let Err(error) = check_principal(&principal.0) {
            nodes.revoking.add_untold(1, self.clock.now());
            self.warn_of(self.node, &format!("other nodes are not told of a revocation: {}", error.message()));
            return connections;
        }
        let dropped = nodes.revoking.add(principal, from, (self.clock.now(), self.instant()));
        self.note_untold(nodes, &dropped);
        let confirmed = nodes.others.lock().confirmed();
        if !dropped.is_empty() && confirmed.is_none_or(|confirmed| confirmed + 1 < dropped.end) {
            self.warn_of(self.node, "too much was revoked: a node that is not heard now is not told of all");
        }
        if nodes.revoking.is_due(self.clock.now()) {
            self.tell_revoked(nodes);
        }
        connections
    }

    /// Remembers of what was dropped that which a node that is heard has not confirmed, and never will.
    fn note_untold(&self, nodes: &Nodes, dropped: &Range<u64>) {
        let count = if dropped.is_empty() { 0 } else { nodes.others.lock().count_untold(dropped) };
        if count == 0 {
            return;
        }
        nodes.revoking.add_untold(count, self.clock.now());
        self.warn_of(
            self.node,
            "revocations were dropped that another node had not confirmed: it may not be told",
        );
    }

    /// Does what was revoked, on this node.
    pub(super) fn revoke_here(&self, principal: &Principal, from: Option<&RevokedFrom>) -> usize {
        match from {
            None => self.revoke(principal),
            Some(RevokedFrom::Topic(topic)) => self.revoke_from(principal, topic),
            Some(RevokedFrom::Feed(feed)) => self.revoke_from_feed(principal, feed),
        }
    }

    /// Tells the other nodes what they have not confirmed, and those who wait for that to look again.
    pub(super) fn tell_revoked(&self, nodes: &Nodes) {
        let now = self.clock.now();
        let expired = nodes.revoking.expire(now);
        self.note_untold(nodes, &expired);
        let confirmed = nodes.others.lock().confirmed_by_each();
        for (place, told) in nodes.revoking.tell(&confirmed, (now, self.instant())).into_iter().enumerate() {
            let key = format!("{REVOKE}-{place}");
            self.say_on_carrier(nodes, &Message { life: nodes.life, says: Says::Revoke(told) }, Some(&key));
        }
        nodes.revoking.wake();
    }

    /// Tells the next ones to a node that has confirmed a number, and those who wait to look again.
    pub(super) fn go_on_telling(&self, nodes: &Nodes, confirmed: u64) {
        if let Some(told) = nodes.revoking.tell_on(confirmed, (self.clock.now(), self.instant())) {
            self.say_on_carrier(nodes, &Message { life: nodes.life, says: Says::Revoke(told) }, None);
        }
        nodes.revoking.wake();
    }

    /// Waits until the other nodes have done what was revoked on this one so far.
    pub(crate) async fn revoked_everywhere(&self) -> Result {
        let Some(nodes) = &self.nodes else { return Ok(()) };
        if !self.ticking.load(Relaxed) {
            return Err(Error::unavailable("the clock of this node does not run: no other node was told"));
        }
        let number = nodes.revoking.awaited();
        let confirmed = poll_fn(|cx| {
            nodes.revoking.wait(cx);
            let untold = nodes.revoking.untold(self.clock.now());
            if untold > 0 {
                return Poll::Ready(Err(Error::unavailable(format!(
                    "other nodes were not told of {untold} revocations of the last minutes: too much waited, or a principal is too long"
                ))));
            }
            if self.is_revoked_everywhere(nodes, number) { Poll::Ready(Ok(())) } else { Poll::Pending }
        });
        let outcome = self.before(CONFIRMED_WITHIN, confirmed).await;
        outcome.unwrap_or_else(|| Err(self.unconfirmed(nodes, number)))
    }

    fn is_revoked_everywhere(&self, nodes: &Nodes, number: u64) -> bool {
        // While the broker brings nothing, and shortly after, other nodes may live that are not heard.
        let hears_all = nodes.works(self.instant()) && nodes.revoking.has_heard_all(self.clock.now());
        hears_all && nodes.others.lock().lacking(number).is_empty()
    }

    fn unconfirmed(&self, nodes: &Nodes, number: u64) -> Error {
        let lacking = nodes.others.lock().lacking(number);
        let within = CONFIRMED_WITHIN.as_secs();
        let Some(first) = lacking.first() else {
            return Error::unavailable(format!(
                "the broker did not bring what this node publishes for {within} s"
            ));
        };
        let count = lacking.len();
        Error::unavailable(format!(
            "{count} nodes have not confirmed within {within} s what was revoked, {first:016x} among them"
        ))
    }
}
