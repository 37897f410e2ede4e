//! The parts of presence that the other nodes write, of which this node has a copy.

use super::{
    Nodes, TICKS_PER_SECOND,
    obeyed::Obeyed,
    places::{Changed, Difference},
    wire::{Beat, Change, Changes, Confirmed, Message, Part, Revocation, Revoke, Says, Summary},
};
use crate::{
    context::Principal,
    hub::{Hub, members::Effects, presence::memory_of},
    ledger::{Account, Class},
    seams::Publication,
};
use realtime_protocol::ConnectionId;
use std::{
    collections::{HashMap, VecDeque},
    mem,
    time::Duration,
};

/// The other nodes.
#[derive(Debug, Default)]
pub(super) struct Others {
    of: HashMap<u64, Other>,
    /// The lives of nodes that have ended, by their number, with the tick: what they said before may still arrive.
    ended: HashMap<(u64, u64), u32>,
    /// The revocations of other nodes that are done here.
    pub(super) obeyed: Obeyed,
    /// No beat of any node is heard any more.
    pub(super) vanished: bool,
}

/// Another node, from its first beat until it is drained or not heard for five seconds.
#[derive(Debug)]
pub(super) struct Other {
    life: u64,
    /// The tick of its last beat.
    heard: u32,
    /// The copy of its list that is in the places here.
    copy: Summary,
    /// Bytes of the copy.
    bytes: usize,
    account: Account,
    state: State,
    /// The number of the last revocation of this node that is done there.
    pub(super) confirmed: u64,
    /// The number of the last revocation of this node when that one was first heard.
    pub(super) revoked_before: u64,
}

#[derive(Debug)]
enum State {
    /// The copy has all changes up to its number.
    Level,
    /// The whole list was asked for.
    Asking(Asking),
    /// The list is larger than it may be. It is asked for again at this tick.
    Refused(u32),
}

#[derive(Debug)]
struct Asking {
    /// The tick of the first question, or of the last part that has come.
    since: u32,
    /// The tick of the last question, or of the last part that has come.
    at: u32,
    /// The parts that have come.
    number: u64,
    next: u32,
    entries: Vec<Change>,
    /// Bytes of the parts.
    bytes: usize,
    held: Held,
}

/// Changes that have come before the list to which they belong, and their sizes.
#[derive(Debug, Default)]
struct Held {
    changes: VecDeque<(Changes, usize)>,
    bytes: usize,
}

/// The time without a beat after which a node's clients have left.
const LEASE: u32 = 5 * TICKS_PER_SECOND;

/// The time after which a question without an answer is asked again.
const PATIENCE: u32 = 2 * TICKS_PER_SECOND;

/// The time without an answer after which a node's clients have left, although it is heard: two questions were lost, or it
/// does not hear.
const UNANSWERED: u32 = 4 * TICKS_PER_SECOND;

/// The time for which a list that is too large is not asked for.
const REFUSED: u32 = 30 * TICKS_PER_SECOND;

/// The time for which the end of a life is remembered: what it has said has arrived by then.
const ENDED: u32 = 10 * TICKS_PER_SECOND;

/// The most other nodes: far more than share a broker, so that a faulty one that makes up numbers has a bound.
pub(super) const NODES: usize = 256;

/// The most bytes of changes that wait for the rest of a list.
const HELD_BYTES: usize = 256 * 1024;

/// What is left to do once the lock is released.
#[derive(Default)]
pub(super) struct Work {
    pub(super) effects: Effects,
    revocations: Vec<Revocation>,
    publications: Vec<Publication>,
    /// The number up to which a node has confirmed.
    confirmed: Option<u64>,
}

impl Others {
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&u64, &Other)> {
        self.of.iter()
    }

    fn living(&mut self, node: u64, life: u64) -> Option<&mut Other> {
        self.of.get_mut(&node).filter(|other| other.life == life)
    }
}

impl Hub {
    /// Takes what another node says; `bytes` is its size.
    pub(super) fn hear_other(&self, nodes: &Nodes, node: u64, message: Message, bytes: usize) {
        let mut work = Work::default();
        let mut others = nodes.others.lock();
        let life = message.life;
        if !others.ended.contains_key(&(node, life)) {
            match message.says {
                Says::Beat(beat) => self.hear_beat(nodes, &mut others, (node, life), &beat, &mut work),
                Says::Gone => self.end_other(&mut others, (node, life), &mut work),
                Says::Ask => nodes.own.ask(node),
                Says::Changes(changes) => {
                    if let Some(other) = others.living(node, life) {
                        self.hear_changes(nodes, node, other, (changes, bytes), &mut work);
                    }
                }
                Says::Part(part) => {
                    if let Some(other) = others.living(node, life) {
                        self.hear_part(nodes, node, other, (part, bytes), &mut work);
                    }
                }
                Says::Revoke(told) => {
                    if others.living(node, life).is_some() {
                        self.hear_revocations(nodes, &mut others, (node, life), told, &mut work);
                    }
                }
                Says::Revoked(confirmed) => {
                    if let Some(other) = others.living(node, life).filter(|_| confirmed.life == nodes.life) {
                        // No node can have done what was not revoked yet.
                        let number = confirmed.number.min(nodes.revoking.last());
                        other.confirmed = other.confirmed.max(number);
                        work.confirmed = Some(number);
                    }
                }
            }
        }
        drop(others);
        self.finish(work);
    }

    /// Ends the nodes that were not heard for too long, and asks again where there was no answer.
    pub(super) fn watch_others(&self, nodes: &Nodes) {
        let now = self.clock.now();
        let mut work = Work::default();
        let mut others = nodes.others.lock();
        others.ended.retain(|_, at| now.wrapping_sub(*at) < ENDED);
        others.obeyed.expire(now);
        let is_late = |other: &mut Other| now.saturating_sub(other.heard) > LEASE;
        let late: Vec<_> = others.of.extract_if(|_, other| is_late(other)).map(|(node, _)| node).collect();
        for node in late {
            tracing::warn!(node, "another node is not heard any more: its clients have left");
            self.tell_left(node, &mut work.effects);
            others.vanished = others.of.is_empty();
        }
        for (node, other) in &mut others.of {
            let State::Asking(Asking { since, at, .. }) = other.state else { continue };
            if now.saturating_sub(at) >= PATIENCE {
                self.ask(nodes, *node, other, &mut work);
            }
            if now.saturating_sub(since) > UNANSWERED && other.copy.count > 0 {
                // It is heard and does not hear: nobody knows who is still there.
                self.drop_copy(*node, other, &mut work);
            }
        }
        drop(others);
        self.finish(work);
    }

    fn finish(&self, work: Work) {
        self.run(work.effects);
        for Revocation { principal, from, .. } in work.revocations {
            self.revoke_here(&Principal(principal), from.as_ref());
        }
        if let (Some(nodes), Some(confirmed)) = (&self.nodes, work.confirmed) {
            self.go_on_telling(nodes, confirmed);
        }
        for publication in work.publications {
            self.say(publication);
        }
    }

    fn hear_beat(
        &self,
        nodes: &Nodes,
        others: &mut Others,
        (node, life): (u64, u64),
        beat: &Beat,
        work: &mut Work,
    ) {
        let now = self.clock.now();
        if let Some(earlier) = others.of.get(&node).map(|other| other.life).filter(|known| *known != life) {
            tracing::info!(node, "another node has started again");
            self.end_other(others, (node, earlier), work);
        }
        if !others.of.contains_key(&node) {
            if others.of.len() >= NODES {
                return self.warn_of(node, "there are too many nodes: its clients are not known here");
            }
            let account = Account::new(&self.ledger, Class::Presence);
            let other = Other { revoked_before: nodes.revoking.last(), ..Other::new(life, now, account) };
            others.of.insert(node, other);
            others.vanished = false;
        }
        let Some(other) = others.of.get_mut(&node) else { return };
        other.heard = now;
        if matches!(other.state, State::Level) && beat.list.count == 0 && other.copy.count == 0 {
            // There is nothing to ask for.
            other.copy.number = other.copy.number.max(beat.list.number);
            return;
        }
        let is_behind = match &other.state {
            State::Level => beat.carries && beat.list.number >= other.copy.number && beat.list != other.copy,
            State::Asking(_) => false,
            State::Refused(until) => now >= *until,
        };
        if is_behind {
            self.ask(nodes, node, other, work);
        }
    }

    fn hear_changes(
        &self,
        nodes: &Nodes,
        node: u64,
        other: &mut Other,
        (changes, bytes): (Changes, usize),
        work: &mut Work,
    ) {
        if !self.takes(node, other, &changes.changes, work) {
            return;
        }
        match &mut other.state {
            State::Refused(_) => {}
            State::Asking(asking) => asking.held.push(changes, bytes),
            State::Level if changes.number <= other.copy.number => {}
            State::Level if changes.number == other.copy.number + 1 => {
                other.copy.number = changes.number;
                self.change_copy(node, other, changes.changes, &mut work.effects);
                self.keep_to_bounds(node, other, work);
            }
            State::Level => {
                self.ask(nodes, node, other, work);
                if let State::Asking(asking) = &mut other.state {
                    asking.held.push(changes, bytes);
                }
            }
        }
        other.count();
    }

    fn hear_part(
        &self,
        nodes: &Nodes,
        node: u64,
        other: &mut Other,
        (part, bytes): (Part, usize),
        work: &mut Work,
    ) {
        if !self.takes(node, other, &part.entries, work) {
            return;
        }
        let State::Asking(asking) = &mut other.state else { return };
        if part.part == 0 {
            asking.begin(part.number);
        }
        if part.number != asking.number || part.part != asking.next {
            return;
        }
        asking.next += 1;
        // As long as parts come, the answer is under way.
        (asking.since, asking.at) = (self.clock.now(), self.clock.now());
        asking.bytes += bytes;
        asking.entries.extend(part.entries);
        if !self.keep_to_bounds(node, other, work) || part.part + 1 < part.parts {
            return;
        }
        let State::Asking(asking) = mem::replace(&mut other.state, State::Level) else { return };
        other.copy.number = asking.number;
        self.replace_copy(node, other, asking.entries, &mut work.effects);
        self.keep_to_bounds(node, other, work);
        for held in asking.held.changes {
            self.hear_changes(nodes, node, other, held, work);
        }
    }

    /// Does what was revoked on another node, and confirms it after.
    fn hear_revocations(
        &self,
        nodes: &Nodes,
        others: &mut Others,
        (node, life): (u64, u64),
        told: Revoke,
        work: &mut Work,
    ) {
        let age =
            (*nodes.start.lock()).map_or(Duration::MAX, |start| self.instant().saturating_duration_since(start));
        let now = (self.clock.now(), age);
        let number = others.obeyed.obey((node, life), told, now, &mut work.revocations);
        let says = Says::Revoked(Confirmed { life, number });
        let confirmation = Message { life: nodes.life, says };
        work.publications.extend(confirmation.to(self.node, &super::inbox_of(node), None));
    }

    /// Refuses a list with an entry that is larger than one here may be: members could not be told of it.
    fn takes(&self, node: u64, other: &mut Other, changes: &[Change], work: &mut Work) -> bool {
        let limit = self.config.presence_bytes;
        let is_large = |change: &Change| change.entry.as_ref().is_some_and(|entry| memory_of(&entry.data) > limit);
        if changes.iter().any(is_large) {
            self.refuse(node, other, "an entry is over Config::presence_bytes of this node", work);
            return false;
        }
        true
    }

    /// Drops the copy of a list that is larger than it may be. Returns true if it is not.
    fn keep_to_bounds(&self, node: u64, other: &mut Other, work: &mut Work) -> bool {
        other.count();
        let limit = self.config.presence_bytes_per_node;
        // A list on its way is text, which takes about as much.
        if other.bytes.max(other.waiting()) > limit {
            self.refuse(node, other, "it is over Config::presence_bytes_per_node of this node", work);
        } else if self.ledger.refuses() {
            self.refuse(node, other, "this node is short of memory", work);
        } else {
            return true;
        }
        false
    }

    fn refuse(&self, node: u64, other: &mut Other, reason: &str, work: &mut Work) {
        self.warn_of(node, &format!("the list of its present clients is not taken: {reason}"));
        other.state = State::Refused(self.clock.now() + REFUSED);
        self.drop_copy(node, other, work);
    }

    fn drop_copy(&self, node: u64, other: &mut Other, work: &mut Work) {
        self.tell_left(node, &mut work.effects);
        other.copy = Summary::default();
        other.bytes = 0;
        other.count();
    }

    fn ask(&self, nodes: &Nodes, node: u64, other: &mut Other, work: &mut Work) {
        let now = self.clock.now();
        let since = if let State::Asking(asking) = &other.state { asking.since } else { now };
        other.state = State::Asking(Asking { since, ..Asking::new(now) });
        other.count();
        let question = Message { life: nodes.life, says: Says::Ask };
        work.publications.extend(question.to(self.node, &super::inbox_of(node), None));
    }

    /// Ends a node; nothing more that this life of it has said counts.
    fn end_other(&self, others: &mut Others, (node, life): (u64, u64), work: &mut Work) {
        if others.ended.len() < 4 * NODES {
            others.ended.insert((node, life), self.clock.now());
        }
        if others.living(node, life).is_some() {
            others.of.remove(&node);
            self.tell_left(node, &mut work.effects);
        }
    }

    fn change_copy(&self, node: u64, other: &mut Other, changes: Vec<Change>, effects: &mut Effects) {
        for (place, changes) in by_place(node, changes) {
            let difference = self.change_entries(&place, changes, effects);
            other.apply(&difference);
        }
    }

    /// Makes the copy equal to a whole list; members are told the difference.
    fn replace_copy(&self, node: u64, other: &mut Other, entries: Vec<Change>, effects: &mut Effects) {
        let mut places = by_place(node, entries);
        for name in self.places.with_node(node) {
            places.entry(name).or_default();
        }
        for (place, entries) in places {
            let difference = self.replace_entries(&place, node, entries, effects);
            other.apply(&difference);
        }
    }

    /// Removes all entries of a node.
    fn tell_left(&self, node: u64, effects: &mut Effects) {
        for place in self.places.with_node(node) {
            self.replace_entries(&place, node, HashMap::default(), effects);
        }
    }
}

fn by_place(node: u64, changes: Vec<Change>) -> HashMap<Box<str>, Changed> {
    let mut places: HashMap<Box<str>, Changed> = HashMap::new();
    for Change { place, id, entry } in changes {
        let id = ConnectionId { node, number: id };
        places.entry(place.into()).or_default().insert(id, entry);
    }
    places
}

impl Other {
    fn new(life: u64, now: u32, account: Account) -> Self {
        let (copy, state) = (Summary::default(), State::Level);
        Self { life, heard: now, copy, bytes: 0, account, state, confirmed: 0, revoked_before: 0 }
    }

    fn apply(&mut self, difference: &Difference) {
        for (before, after) in &difference.tags {
            self.copy.replace(*before, *after);
        }
        self.bytes = (self.bytes + difference.added).saturating_sub(difference.removed);
    }

    /// Returns the bytes that have come and are not part of the copy.
    fn waiting(&self) -> usize {
        if let State::Asking(asking) = &self.state { asking.bytes + asking.held.bytes } else { 0 }
    }

    /// Counts its bytes on the ledger.
    fn count(&mut self) {
        self.account.set(self.bytes + self.waiting());
    }
}

impl Asking {
    fn new(now: u32) -> Self {
        Self { since: now, at: now, number: 0, next: 0, entries: Vec::new(), bytes: 0, held: Held::default() }
    }

    fn begin(&mut self, number: u64) {
        *self = Self { since: self.since, number, held: mem::take(&mut self.held), ..Self::new(self.at) };
    }
}

impl Held {
    fn push(&mut self, changes: Changes, bytes: usize) {
        self.bytes += bytes;
        self.changes.push_back((changes, bytes));
        // What is dropped is missed behind the list, which is asked for again.
        while self.bytes > HELD_BYTES
            && let Some((_, bytes)) = self.changes.pop_front()
        {
            self.bytes -= bytes;
        }
    }
}
