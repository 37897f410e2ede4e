use super::running::offer;
use crate::{
    calls::{Begin, CallCore, FeedOf, Reply, Streaming, drop_running, poll_running},
    hub::{Behind, Client, Entry, Following, HeldBack, To, revoked},
    outbox::{Right, may_hold},
    protocol::Encode,
    seams::BoxFuture,
    util::sync::Mutex,
    websocket::Frame,
};
use realtime_protocol::{Gap, Position, Result, format::Outgoing};
use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The feed of a subscription: a cursor into its log.
pub(super) struct Feed {
    following: Following,
    /// The first item, while it is being made, and its position.
    first: Option<BoxFuture<'static, Result<Reply>>>,
    position: Position,
    /// Makes the first item again, if the log restarts.
    begin: Option<Begin>,
    /// It has had all entries once: before, it is behind because its client was away.
    was_level: bool,
    /// The entries are sent in frames that other clients are sent too.
    is_shared: bool,
    share: Option<Share>,
}

/// The beginning of a subscription's feed.
pub(super) enum Begun {
    Feed(Box<Feed>),
    /// Its log is not known here yet.
    Unprepared(FeedOf),
}

/// Waits until the log of a feed is known here.
pub(super) fn prepare(
    client: &Arc<Client>,
    core: &Arc<CallCore>,
    of: FeedOf,
) -> BoxFuture<'static, Result<Streaming>> {
    let (hub, core) = (Arc::clone(&client.hub), Arc::clone(core));
    Box::pin(async move {
        hub.prepare(&of.name, of.log, of.after.as_ref().or(core.after.as_ref())).await?;
        Ok(Streaming::Feed(FeedOf { is_prepared: true, ..of }))
    })
}

/// The next thing that a subscription sends.
pub(super) enum Ahead {
    /// The frame of its first item.
    First(Frame),
    Entries,
    Failed(realtime_protocol::Error),
}

/// The result of taking from the log.
pub(super) enum Taken {
    Nothing,
    /// The next entry has to be read from the broker first: the task is woken then.
    Past,
    Gap(Gap),
    Sent,
    /// There is no room for it.
    Unsent(HeldBack),
}

impl Feed {
    /// Begins to follow, and tells the client from where.
    pub(super) fn begin(
        client: &Arc<Client>,
        core: &CallCore,
        of: FeedOf,
        shared: &Option<Arc<SharedFeeds>>,
        since: u64,
    ) -> Result<Begun> {
        let is_built_in = client.hub.protocols.is_built_in(client.format);
        let share = shared.as_ref().filter(|_| is_built_in).and_then(|shared| Share::of(shared, &of.name));
        let is_shared = share.is_some() || client.hub.protocols.is_of_one_subscription(client.format);
        let to = || if is_shared { To::items(client) } else { To::task(Some(client)) };
        let after = of.after.as_ref().or(core.after.as_ref());
        let follow = client.hub.follow(&of.name, of.log, of.keeping, after, since, to)?;
        let Some((following, mut beginning)) = follow else { return Ok(Begun::Unprepared(of)) };
        client.may_follow(&of.name, since)?;
        let mut begin = of.begin;
        let has_state = begin.is_some() && beginning.resumed != Some(true);
        if has_state {
            // First the position, then the state: what is appended meanwhile comes behind it.
            beginning.position = following.restart();
        }
        client.tell_opened();
        let position = beginning.position;
        // Of the client's own position: another one says nothing about what is behind that.
        let is_own = of.after.is_none() || of.after == core.after;
        let resumed = core.after.as_ref().map(|_| is_own && beginning.resumed == Some(true));
        client.reply(&Outgoing::Subscribed {
            id: &core.id,
            topic: &of.name,
            position: &position,
            shared: share.is_some(),
            resumed,
            state: has_state,
        });
        let first = begin.as_mut().filter(|_| has_state).map(|begin| begin());
        // The log of one node restarts with its process.
        let begin = begin.filter(|_| client.hub.needs_preparing());
        let feed = Self { following, first, position, begin, was_level: false, is_shared, share };
        Ok(Begun::Feed(Box::new(feed)))
    }

    pub(super) fn set_credit(&self, credit: Option<u32>) {
        self.following.set_credit(credit);
    }

    pub(super) fn grant(&self, more: u32) {
        self.following.grant(more);
    }

    pub(super) fn has_credit(&self) -> bool {
        self.following.has_credit()
    }

    pub(super) fn use_credit(&self) {
        self.following.use_credit();
    }

    pub(super) fn right(&self) -> &Right {
        self.following.right()
    }

    /// Fails once its client's principal is revoked from the feed; the task is woken for that.
    pub(super) fn check_revoked(&self, cx: &Context<'_>) -> Result {
        self.following.register(cx);
        if self.right().is_revoked() { Err(revoked()) } else { Ok(()) }
    }

    /// Ready when there is something to send. Otherwise the task is woken, or appenders send what comes.
    pub(super) fn poll_next(&mut self, client: &Client, core: &CallCore, cx: &mut Context<'_>) -> Poll<Ahead> {
        if let Some(first) = &mut self.first {
            let made = ready!(poll_running(core, first, cx));
            drop_running(&mut self.first);
            let framed = made.and_then(|value| self.frame_of(client, core, &*value));
            return Poll::Ready(framed.map_or_else(Ahead::Failed, Ahead::First));
        }
        if self.following.arm() {
            self.was_level = true;
            return Poll::Pending;
        }
        Poll::Ready(Ahead::Entries)
    }

    /// Returns true if its client does not keep up: one that comes back may catch up first.
    pub(super) fn falls_behind(&self) -> bool {
        self.was_level
    }

    fn frame_of(&self, client: &Client, core: &CallCore, value: &dyn Encode) -> Result<Frame> {
        let position = Some(&self.position);
        let frame = client.frame(&Outgoing::Data { id: &core.id, data: value, position, event: None })?;
        may_hold(client.hub.config.outbox_bytes, frame.len())?;
        Ok(frame)
    }

    /// Sends the next entry.
    pub(super) fn take(&mut self, client: &Arc<Client>, core: &CallCore) -> Result<Taken> {
        let (entry, known) = match self.following.read(client.hub.clock.now()) {
            Behind::Past if self.following.awaits_past(&client.hub) => return Ok(Taken::Past),
            Behind::Nothing | Behind::Past => return Ok(Taken::Nothing),
            Behind::Restarted(position) => return Ok(self.restart(client, core, position)),
            Behind::Gap(gap) => return Ok(Taken::Gap(gap)),
            Behind::Entry(entry, known) => (entry, known),
        };
        let unsent = match self.is_shared {
            true => self.offer_shared(client, &entry, known)?,
            false => {
                let position = Some(&entry.position);
                let packet = Outgoing::Data { id: &core.id, data: &entry.value, position, event: None };
                offer(client, &packet, Some(self.right()))?
            }
        };
        self.following.pass(&entry);
        Ok(unsent.map_or(Taken::Sent, Taken::Unsent))
    }

    /// Begins again: the log has lost what was delivered.
    fn restart(&mut self, client: &Client, core: &CallCore, position: Position) -> Taken {
        client.reply(&Outgoing::Subscribed {
            id: &core.id,
            topic: self.following.feed_name(),
            position: &position,
            shared: self.share.is_some(),
            resumed: Some(false),
            state: self.begin.is_some(),
        });
        self.position = position;
        self.first = self.begin.as_mut().map(|begin| begin());
        if self.first.is_some() { Taken::Nothing } else { Taken::Gap(Gap::new(0, "diverged")) }
    }

    fn offer_shared(&self, client: &Arc<Client>, entry: &Entry, known: Option<Frame>) -> Result<Option<HeldBack>> {
        let Some(frame) = self.following.frame(&client.hub.protocols, entry, known)? else { return Ok(None) };
        may_hold(client.hub.config.outbox_bytes, frame.len())?;
        let unsent = client.outbox.offer_frame(frame, Some(self.right()));
        Ok(unsent.map(|frame| HeldBack::new(client, frame)))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        drop_running(&mut self.first);
    }
}

/// The feeds whose frames a subscription of one connection shares. One of each: a frame under the name of a feed does
/// not say which of two subscriptions it is for, and one may be further than the other.
#[derive(Debug, Default)]
pub(super) struct SharedFeeds(Mutex<Vec<Arc<str>>>);

/// One of them, until it is dropped.
struct Share {
    feeds: Arc<SharedFeeds>,
    name: Arc<str>,
}

impl Share {
    /// Returns `None` if another subscription has it.
    fn of(feeds: &Arc<SharedFeeds>, name: &str) -> Option<Self> {
        let mut names = feeds.0.lock();
        if names.iter().any(|known| **known == *name) {
            return None;
        }
        let name: Arc<str> = name.into();
        names.push(Arc::clone(&name));
        drop(names);
        Some(Self { feeds: Arc::clone(feeds), name })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.feeds.0.lock().retain(|name| *name != self.name);
    }
}
