use super::Client;
use crate::{
    outbox::{Keeping, Post, PushError},
    protocol::Format,
    util::{Few, spare, sync::Mutex},
    websocket::Frame,
};
use realtime_protocol::ConnectionId;
use std::{
    cell::Cell,
    collections::HashMap,
    iter,
    sync::{Arc, OnceLock},
    task::Waker,
};

/// The members of one topic, in parts: joining or leaving a large topic waits for a publication no longer than it takes
/// to walk one part.
#[derive(Debug, Default)]
pub(super) struct Members {
    counts: Mutex<Counts>,
    /// Held while a publication is queued for the members, so that all receive publications in one order.
    order: Mutex<()>,
    first: Mutex<Part>,
    /// Set once the first part is full.
    parts: OnceLock<Box<[Mutex<Part>]>>,
}

impl Members {
    /// Adds a client; returns its part. `None` if the topic has ended.
    pub(super) fn insert(&self, client: &Arc<Client>, keeping: Keeping) -> Option<usize> {
        // Counted before it is inserted: a publication that finds it has encoded its format.
        if !self.counts.lock().add(client.format) {
            return None;
        }
        let mut first = self.first.lock();
        if first.list.len() < PART {
            first.insert(client, keeping);
            return Some(0);
        }
        drop(first);
        let parts = self.parts.get_or_init(|| (1..PARTS).map(|_| Mutex::default()).collect());
        let part = client.id.number as usize % parts.len();
        parts[part].lock().insert(client, keeping);
        Some(part + 1)
    }

    /// Removes the client; returns true if it was the last member.
    pub(super) fn remove(&self, client: &Client, part: usize) -> bool {
        let Some(members) = self.parts().nth(part) else { return false };
        members.lock().remove(client);
        self.counts.lock().remove(client.format)
    }

    /// Returns the formats of the members.
    pub(super) fn formats(&self) -> Few<Format> {
        self.counts.lock().formats()
    }

    /// Queues for each member, except those in `except`, the frame of its format.
    pub(super) fn publish(
        &self,
        frames: &Few<(Format, Frame)>,
        post: &Post<'_>,
        except: &[ConnectionId],
    ) -> Effects {
        let mut effects = Effects::take();
        let order = self.order.lock();
        for part in self.parts() {
            part.lock().push(frames, post, except, &mut effects);
        }
        drop(order);
        effects
    }

    fn parts(&self) -> impl Iterator<Item = &Mutex<Part>> {
        let more = self.parts.get().map_or(&[][..], |parts| parts);
        iter::once(&self.first).chain(more)
    }
}

/// Members of a topic in one part.
const PART: usize = 512;

/// Parts of a larger topic.
const PARTS: usize = 32;

/// The number of members of each format.
#[derive(Debug, Default)]
struct Counts {
    /// The last member has left; nobody may join this one any more.
    ended: bool,
    /// A handful at most.
    of: Vec<(Format, usize)>,
}

impl Counts {
    /// Returns `false` if the topic has ended.
    fn add(&mut self, format: Format) -> bool {
        if self.ended {
            return false;
        }
        match self.of.iter_mut().find(|(known, _)| *known == format) {
            Some((_, count)) => *count += 1,
            None => self.of.push((format, 1)),
        }
        true
    }

    /// Returns true if that was the last member.
    fn remove(&mut self, format: Format) -> bool {
        if let Some(at) = self.of.iter().position(|(known, _)| *known == format) {
            self.of[at].1 -= 1;
            if self.of[at].1 == 0 {
                self.of.swap_remove(at);
            }
        }
        self.ended = self.of.is_empty();
        self.ended
    }

    fn formats(&self) -> Few<Format> {
        self.of.iter().map(|(format, _)| *format).collect()
    }
}

/// The work that a publication leaves for after its locks are released.
#[derive(Default)]
#[must_use = "members are woken by `run`"]
pub(super) struct Effects {
    delivered: usize,
    wake: Vec<Waker>,
    slow: Vec<Arc<Client>>,
}

impl Effects {
    /// Takes the thread's own list of wakers.
    pub(super) fn take() -> Self {
        Self { wake: spare::take(&WAKERS), ..Self::default() }
    }

    /// Adds the effects of another publication.
    pub(super) fn extend(&mut self, mut other: Self) {
        self.delivered += other.delivered;
        self.wake.append(&mut other.wake);
        self.slow.append(&mut other.slow);
    }

    /// Adds a delivery, and the task to wake for it.
    #[inline]
    pub(super) fn deliver(&mut self, waker: Option<Waker>) {
        self.delivered += 1;
        self.wake.extend(waker);
    }

    /// Adds a client to close because it does not keep up.
    pub(super) fn slow(&mut self, client: &Arc<Client>) {
        self.slow.push(Arc::clone(client));
    }

    /// Adds a task to wake.
    pub(super) fn wake(&mut self, waker: Option<Waker>) {
        self.wake.extend(waker);
    }

    /// Wakes the tasks; returns the number of members that received the publication.
    pub(super) fn run(mut self) -> usize {
        self.wake.drain(..).for_each(Waker::wake);
        self.slow.iter().for_each(|client| client.close_slow());
        if self.wake.capacity() <= KEPT_WAKERS {
            spare::put(&WAKERS, self.wake);
        }
        self.delivered
    }
}

thread_local! {
    static WAKERS: Cell<Vec<Waker>> = const { Cell::new(Vec::new()) };
}

/// A longer list is freed instead of being kept by the thread.
const KEPT_WAKERS: usize = 16 * 1024;

/// One part of a topic's members: a list to walk, and an index into it once it is long.
#[derive(Debug, Default)]
struct Part {
    list: Vec<Member>,
    places: HashMap<ConnectionId, usize>,
}

/// The facts about a member that are needed before its client is read.
#[derive(Debug)]
struct Member {
    format: Format,
    keeping: Keeping,
    client: Arc<Client>,
}

/// From this length on, searching the list takes longer than a map.
const SEARCHED: usize = 16;

impl Part {
    fn insert(&mut self, client: &Arc<Client>, keeping: Keeping) {
        self.list.push(Member { format: client.format, keeping, client: Arc::clone(client) });
        if self.list.len() > SEARCHED {
            let known = self.places.len();
            let unknown = self.list.iter().enumerate().skip(known);
            self.places.extend(unknown.map(|(at, member)| (member.client.id, at)));
        }
    }

    fn remove(&mut self, client: &Client) {
        let Some(at) = self.place(client.id) else { return };
        self.places.remove(&client.id);
        self.list.swap_remove(at);
        if let Some(moved) = self.list.get(at)
            && let Some(place) = self.places.get_mut(&moved.client.id)
        {
            *place = at;
        }
        if self.list.len() <= SEARCHED {
            self.places = HashMap::new();
        }
    }

    fn place(&self, id: ConnectionId) -> Option<usize> {
        if self.list.len() > SEARCHED {
            return self.places.get(&id).copied();
        }
        self.list.iter().position(|member| member.client.id == id)
    }

    /// Queues for each member, except those in `except`, the frame of its format.
    fn push(
        &self,
        frames: &Few<(Format, Frame)>,
        post: &Post<'_>,
        except: &[ConnectionId],
        effects: &mut Effects,
    ) {
        let mut left_out: Vec<usize> = except.iter().filter_map(|id| self.place(*id)).collect();
        left_out.sort_unstable();
        left_out.dedup();
        let mut rest = &self.list[..];
        for at in left_out.into_iter().rev() {
            let (before, after) = rest.split_at(at);
            push_all(&after[1..], frames, post, effects);
            rest = before;
        }
        push_all(rest, frames, post, effects);
    }
}

fn push_all(members: &[Member], frames: &Few<(Format, Frame)>, post: &Post<'_>, effects: &mut Effects) {
    let Some(&(first, ref of_first)) = frames.first() else { return };
    for Member { format, keeping, client } in members {
        let of_other = || frames.others().iter().find(|(known, _)| known == format).map(|(_, frame)| frame);
        // A member that joined with a new format since the message was encoded misses it.
        let Some(frame) = (if *format == first { Some(of_first) } else { of_other() }) else { continue };
        let pushed = match keeping {
            Keeping::Nothing | Keeping::Block => client.outbox.push_shared(frame),
            keeping => client.outbox.push_or_keep(frame, post, *keeping, &client.hub.ledger),
        };
        match pushed {
            Ok(waker) => {
                effects.delivered += 1;
                effects.wake.extend(waker);
            }
            Err(PushError::Full) => effects.slow.push(Arc::clone(client)),
            Err(PushError::Closed) => {}
        }
    }
}
