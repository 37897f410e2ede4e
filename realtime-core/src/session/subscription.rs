use super::{
    feed::{Ahead, Begun, Feed, SharedFeeds, Taken, prepare},
    running::{offer, poll_send},
    topic::TopicItems,
    turn::Turn,
};
use crate::{
    calls::{CallCore, FeedOf, Next, Piece, Source, Streaming, TopicOf, drop_running, panicked, poll_running},
    hub::{Attendance, Client, HeldBack, Listener, Stay, too_slow},
    outbox::{Keeping, Right, may_hold},
    seams::BoxFuture,
    util::panics::catch,
};
use realtime_protocol::{Error, Gap, Result, format::Outgoing};
use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A running subscription.
///
/// It sends while the outbox has less queued than all streams of the connection together may have, and while it has
/// credit, if the client uses credit. Otherwise its [`Keeping`] applies.
pub(super) struct Stream {
    core: Arc<CallCore>,
    starting: Option<BoxFuture<'static, Result<Streaming>>>,
    source: Option<Pin<Box<dyn Source>>>,
    /// The feed that it is served from, instead of a source.
    feed: Option<Box<Feed>>,
    /// The topic that its source listens to.
    listener: Option<Arc<Listener>>,
    /// The presence of its client, for as long as it lasts.
    stay: Option<Stay>,
    keeping: Keeping,
    /// Items that the client accepts; `None` for any number.
    credit: Option<u32>,
    shared: Option<Arc<SharedFeeds>>,
    since: u64,
    /// Encoded items that are not sent yet.
    kept: VecDeque<Kept>,
    dropped: Option<Gap>,
    end: End,
    /// True while it waits for room in the outbox.
    blocked: bool,
    /// True while it is in the list of streams that wait for room.
    listed: bool,
    /// True if it has more, but it is the others' turn.
    again: bool,
}

/// The end of a stream.
enum End {
    None,
    /// Ends once the kept items are sent.
    Due(Result),
    /// The last frame is queued, or waits for room.
    Told {
        unsent: Option<HeldBack>,
    },
}

struct Kept {
    key: Option<String>,
    offset: Option<u64>,
    /// The gap that the application reported before it.
    after: Option<Gap>,
    frame: HeldBack,
}

impl Stream {
    pub(super) fn new(
        core: Arc<CallCore>,
        starting: BoxFuture<'static, Result<Streaming>>,
        Terms { credit, shared, since }: Terms,
    ) -> Self {
        Self {
            core,
            starting: Some(starting),
            source: None,
            feed: None,
            listener: None,
            stay: None,
            keeping: Keeping::Block,
            credit,
            shared,
            since,
            kept: VecDeque::new(),
            dropped: None,
            end: End::None,
            blocked: false,
            listed: false,
            again: false,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.core.id
    }

    pub(super) fn grant(&mut self, more: u32) {
        if let Some(feed) = &self.feed {
            feed.grant(more);
        }
        if let Some(credit) = &mut self.credit {
            *credit = credit.saturating_add(more);
        }
    }

    /// Returns true if it has to be added to the list of streams that wait for room.
    pub(super) fn list(&mut self) -> bool {
        let list = self.blocked && !self.listed;
        self.listed |= list;
        list
    }

    /// Returns the bytes of the first kept item.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept.front().map_or(0, |kept| kept.frame.frame().len())
    }

    /// Notes that it was removed from that list.
    pub(super) fn unlist(&mut self) {
        self.listed = false;
    }

    pub(super) fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// Ready when its last frame is queued.
    pub(super) fn poll(&mut self, client: &Arc<Client>, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<()> {
        if self.starting.is_some() {
            ready!(self.poll_start(client, cx));
        }
        if self.feed.is_some() {
            ready!(self.poll_feed(client, cx, turn));
        }
        let listener = self.listener.as_ref().filter(|_| !self.has_ended());
        if let Some(Err(error)) = listener.map(|listener| listener.check(cx)) {
            self.fail_topic(error);
        }
        for _ in 0..BATCH {
            self.send_kept(client);
            if self.has_ended() || turn.is_over() {
                break;
            }
            if !self.may_send(client) && self.keeping == Keeping::Block {
                return Poll::Pending;
            }
            match self.poll_source(client, cx, turn) {
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        self.send_kept(client);
        if !self.has_ended() {
            self.again = true;
            return Poll::Pending;
        }
        self.poll_end(client, cx)
    }

    fn poll_start(&mut self, client: &Arc<Client>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(starting) = &mut self.starting {
            let started = ready!(poll_running(&self.core, starting, cx));
            drop_running(&mut self.starting);
            match started {
                Ok(Streaming::Items { source, keeping }) => {
                    (self.source, self.keeping) = (Some(source), keeping);
                    client.tell_opened();
                }
                Ok(Streaming::Feed(of)) => self.start_feed(client, of),
                Ok(Streaming::Topic(of)) => self.start_topic(client, of),
                Err(error) => self.end = End::Due(Err(error)),
            }
        }
        Poll::Ready(())
    }

    fn start_feed(&mut self, client: &Arc<Client>, mut of: FeedOf) {
        self.keeping = of.keeping;
        if client.hub.needs_preparing() && !of.is_prepared {
            self.starting = Some(prepare(client, &self.core, of));
            return;
        }
        let attendance = of.attendance.take();
        match Feed::begin(client, &self.core, of, &self.shared, self.since) {
            Ok(Begun::Feed(feed)) => {
                if let Err(error) = self.attend(client, attendance) {
                    self.end = End::Due(Err(error));
                    return;
                }
                feed.set_credit(self.credit);
                (self.feed, self.shared) = (Some(feed), None);
            }
            Ok(Begun::Unprepared(of)) => {
                self.starting = Some(prepare(client, &self.core, FeedOf { attendance, ..of }));
            }
            Err(error) => self.end = End::Due(Err(error)),
        }
    }

    fn start_topic(&mut self, client: &Arc<Client>, of: TopicOf) {
        let TopicOf { name, keeping, attendance } = of;
        let begun = TopicItems::begin(client, &name, keeping, self.since);
        match begun.and_then(|items| self.attend(client, attendance).map(|()| items)) {
            Ok(items) => {
                // The policy is that of the queue in which they wait.
                self.keeping = Keeping::Block;
                self.listener = Some(Arc::clone(items.listener()));
                self.source = Some(Box::pin(items));
                client.tell_opened();
            }
            Err(error) => self.end = End::Due(Err(error)),
        }
    }

    fn fail_topic(&mut self, error: Error) {
        self.kept.clear();
        self.listener = None;
        drop_running(&mut self.source);
        self.end = End::Due(Err(error));
    }

    fn attend(&mut self, client: &Arc<Client>, attendance: Option<Attendance>) -> Result {
        self.stay = attendance.map(|attendance| Stay::begin(client, attendance)).transpose()?;
        Ok(())
    }

    /// Sends entries of the feed while there is room. Ready when the subscription has ended.
    fn poll_feed(&mut self, client: &Arc<Client>, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<()> {
        if let Some(Err(revoked)) = self.feed.as_ref().map(|feed| feed.check_revoked(cx)) {
            self.fail_feed(revoked);
            return Poll::Ready(());
        }
        for _ in 0..BATCH {
            self.send_kept(client);
            if !self.kept.is_empty() {
                return Poll::Pending;
            }
            if turn.is_over() {
                break;
            }
            let Some(feed) = &mut self.feed else { return Poll::Ready(()) };
            let next = match feed.poll_next(client, &self.core, cx) {
                Poll::Ready(next) => next,
                Poll::Pending => return Poll::Pending,
            };
            let taken = match next {
                Ahead::First(frame) => {
                    self.keep_entry(HeldBack::new(client, frame));
                    Ok(())
                }
                Ahead::Entries if self.may_send(client) => match self.take_entry(client, turn) {
                    Ok(Poll::Pending) => return Poll::Pending,
                    taken => taken.map(drop),
                },
                Ahead::Entries if self.keeping == Keeping::Nothing && self.falls_behind() => Err(too_slow()),
                Ahead::Entries => return Poll::Pending,
                Ahead::Failed(error) => Err(error),
            };
            if let Err(error) = taken {
                self.fail_feed(error);
                return Poll::Ready(());
            }
        }
        self.again = true;
        Poll::Pending
    }

    fn falls_behind(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.falls_behind())
    }

    fn fail_feed(&mut self, error: Error) {
        self.kept.clear();
        self.feed = None;
        self.end = End::Due(Err(error));
    }

    /// Takes what stands behind the cursor in the feed.
    fn take_entry(&mut self, client: &Arc<Client>, turn: &mut Turn) -> Result<Poll<()>> {
        turn.spend(0);
        let Some(feed) = &mut self.feed else { return Ok(Poll::Ready(())) };
        match feed.take(client, &self.core)? {
            Taken::Nothing => {}
            Taken::Past => return Ok(Poll::Pending),
            Taken::Gap(gap) => self.tell_gap(client, &gap),
            Taken::Sent => self.use_credit(),
            Taken::Unsent(frame) => self.keep_entry(frame),
        }
        Ok(Poll::Ready(()))
    }

    fn keep_entry(&mut self, frame: HeldBack) {
        self.kept.push_back(Kept { key: None, offset: None, after: None, frame });
    }

    /// Takes one item of the source, to send or to keep.
    fn poll_source(&mut self, client: &Arc<Client>, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<()> {
        let Some(mut source) = self.source.take() else { return Poll::Ready(()) };
        let mut taken = Ok(());
        let polled = catch(|| {
            source.as_mut().poll_item(cx, &mut |piece| {
                turn.spend(0);
                taken = self.take(client, &piece);
            })
        });
        self.source = Some(source);
        let next = match polled {
            Ok(polled) => ready!(polled),
            Err(panic) => Next::Failed(panicked(&self.core, panic)),
        };
        self.end = match next {
            Next::Item => taken.map_or_else(|error| End::Due(Err(error)), |()| End::None),
            Next::End => End::Due(Ok(())),
            Next::Failed(error) => End::Due(Err(error)),
        };
        if self.has_ended() {
            drop_running(&mut self.source);
        }
        Poll::Ready(())
    }

    fn take(&mut self, client: &Arc<Client>, piece: &Piece<'_>) -> Result {
        let may_send = self.kept.is_empty() && self.may_send(client);
        let packet =
            Outgoing::Data { id: &self.core.id, data: piece.value, position: piece.position, event: piece.event };
        let offset = piece.position.map(|position| position.offset);
        if may_send {
            if let Some(gap) = piece.after {
                self.tell_gap(client, gap);
            }
            match offer(client, &packet, self.right())? {
                None => self.use_credit(),
                Some(frame) => self.kept.push_back(Kept { key: piece.key.clone(), offset, after: None, frame }),
            }
            return Ok(());
        }
        if self.keeping == Keeping::Nothing {
            return Err(too_slow());
        }
        let Some(frame) = client.encode(&packet, |frame| frame.into_frame())? else { return Ok(()) };
        may_hold(client.hub.config.outbox_bytes, frame.len())?;
        let frame = HeldBack::new(client, frame);
        self.keep(Kept { key: piece.key.clone(), offset, after: piece.after.cloned(), frame });
        Ok(())
    }

    /// Returns the right to queue items, if its principal may be revoked from what it is served from.
    fn right(&self) -> Option<&Right> {
        let of_topic = || self.listener.as_ref().map(|listener| listener.right());
        self.feed.as_ref().map(|feed| feed.right()).or_else(of_topic)
    }

    fn has_credit(&self) -> bool {
        self.feed.as_ref().map_or(self.credit != Some(0), |feed| feed.has_credit())
    }

    fn use_credit(&mut self) {
        if let Some(feed) = &self.feed {
            return feed.use_credit();
        }
        if let Some(credit) = &mut self.credit {
            *credit -= 1;
        }
    }

    /// Keeps an item, and drops those over the limit.
    fn keep(&mut self, item: Kept) {
        if self.keeping == Keeping::NewestOfEach
            && let Some(at) = self.kept.iter().position(|kept| kept.key == item.key)
        {
            self.drop_at(at, "conflated");
        }
        self.kept.push_back(item);
        while self.kept.len() > self.keeping.limit() {
            self.drop_at(0, "overflow");
        }
    }

    /// Drops the kept items but the newest, if its policy may drop some; returns how many.
    pub(super) fn drop_older(&mut self) -> usize {
        let mut dropped = 0;
        while self.keeping.drops() && self.kept.len() > 1 {
            self.drop_at(0, "overflow");
            dropped += 1;
        }
        dropped
    }

    fn drop_at(&mut self, at: usize, cause: &str) {
        let Some(item) = self.kept.remove(at) else { return };
        let gap = self.dropped.get_or_insert_with(|| Gap::new(0, cause));
        let (before, of_before) = item.after.map_or((0, [None, None]), |gap| (gap.count, [gap.from, gap.to]));
        gap.count += 1 + before;
        for offset in of_before.into_iter().chain([item.offset]).flatten() {
            gap.from = Some(gap.from.map_or(offset, |from| from.min(offset)));
            gap.to = Some(gap.to.map_or(offset, |to| to.max(offset)));
        }
    }

    /// Sends kept items while there is room, and first the gap of the dropped ones.
    #[inline]
    fn send_kept(&mut self, client: &Arc<Client>) {
        if !self.kept.is_empty() {
            self.send_all_kept(client);
        }
    }

    fn send_all_kept(&mut self, client: &Arc<Client>) {
        while !self.kept.is_empty() && self.may_send(client) {
            if let Some(gap) = self.dropped.take() {
                self.tell_gap(client, &gap);
            }
            let Some(mut item) = self.kept.pop_front() else { return };
            if let Some(gap) = item.after.take() {
                self.tell_gap(client, &gap);
            }
            if let Some(frame) = client.outbox.offer_frame(item.frame.into_frame(), self.right()) {
                self.kept.push_front(Kept { frame: HeldBack::new(client, frame), ..item });
                self.blocked = true;
                return;
            }
            self.use_credit();
        }
    }

    fn tell_gap(&self, client: &Client, gap: &Gap) {
        client.reply(&Outgoing::Gap { id: Some(&self.core.id), topic: None, gap });
    }

    fn may_send(&mut self, client: &Client) -> bool {
        if !self.has_credit() {
            return false;
        }
        self.blocked = !client.outbox.takes_stream(self.kept_bytes());
        !self.blocked
    }

    fn poll_end(&mut self, client: &Arc<Client>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.kept.is_empty() {
            return Poll::Pending;
        }
        if let End::Due(end) = &self.end {
            self.core.end();
            let id = &*self.core.id;
            let last = match end {
                Err(error) => {
                    client.log(error);
                    offer(client, &Outgoing::Error { id: Some(id), error }, None)
                }
                Ok(()) => offer(client, &Outgoing::Complete { id }, None),
            };
            self.end = End::Told { unsent: last.unwrap_or_default() };
        }
        match &mut self.end {
            End::Told { unsent } => poll_send(client, unsent, cx),
            End::None | End::Due(_) => Poll::Pending,
        }
    }

    fn has_ended(&self) -> bool {
        !matches!(self.end, End::None)
    }
}

/// The terms on which a client subscribes.
pub(super) struct Terms {
    /// Items that it accepts; `None` for any number.
    pub(super) credit: Option<u32>,
    /// The feeds whose frames its subscriptions share, if it takes shared ones.
    pub(super) shared: Option<Arc<SharedFeeds>>,
    /// The number of revocations from feeds that its connection had seen when it asked.
    pub(super) since: u64,
}

/// Items of one stream before it is the others' turn.
const BATCH: usize = 16;

impl Drop for Stream {
    fn drop(&mut self) {
        self.core.end();
        drop_running(&mut self.starting);
        drop_running(&mut self.source);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} as {})", self.core.name, self.core.id)
    }
}
