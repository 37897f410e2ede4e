use crate::calls::{drop_running, panicked, poll_running};
use crate::hub::Client;
use crate::session::running::{offer, poll_send};
use crate::session::turn::Turn;
use crate::util::panics::catch;
use crate::calls::{CallCore, Next, Piece, Source, Streaming};
use crate::outbox::Keeping;
use crate::seams::BoxFuture;
use crate::websocket::Frame;
use realtime_protocol::{Code, Error, Gap, Result};
use realtime_protocol::format::Outgoing;
use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A subscription that runs.
///
/// It sends while its client takes what it is sent: while less waits than all streams of the connection together may
/// have waiting, and while the client has granted it credit, where it grants any. What it does otherwise is its
/// [`Keeping`].
pub(super) struct Stream {
    core: Arc<CallCore>,
    starting: Option<BoxFuture<'static, Result<Streaming>>>,
    source: Option<Pin<Box<dyn Source>>>,
    keeping: Keeping,
    /// Items that the client will still take; `None` if it takes any number.
    credit: Option<u32>,
    /// Items that were not sent, encoded, with what they replace.
    kept: VecDeque<Kept>,
    dropped: Option<Gap>,
    /// How it ends, once what is kept is sent.
    end: Option<Result<()>>,
    /// Its last frame, where the outbox was full.
    unsent: Option<Frame>,
    done: bool,
    /// It waits until less is queued for the client.
    blocked: bool,
    /// It is in the list of those that do.
    listed: bool,
    /// It has more, and it is the turn of others.
    again: bool,
}

struct Kept {
    key: Option<String>,
    offset: Option<u64>,
    /// What the application said to be missing before it.
    after: Option<Gap>,
    frame: Frame,
}

impl Stream {
    pub(super) fn new(
        core: Arc<CallCore>,
        starting: BoxFuture<'static, Result<Streaming>>,
        credit: Option<u32>,
    ) -> Self {
        Self {
            core,
            starting: Some(starting),
            source: None,
            keeping: Keeping::Block,
            credit,
            kept: VecDeque::new(),
            dropped: None,
            end: None,
            unsent: None,
            done: false,
            blocked: false,
            listed: false,
            again: false,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.core.id
    }

    pub(super) fn grant(&mut self, more: u32) {
        if let Some(credit) = &mut self.credit {
            *credit = credit.saturating_add(more);
        }
    }

    /// Whether it is to be put into the list of those that wait for room.
    pub(super) fn list(&mut self) -> bool {
        let list = self.blocked && !self.listed;
        self.listed |= list;
        list
    }

    /// Bytes of the next item that it has kept.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept.front().map_or(0, |kept| kept.frame.len())
    }

    /// It is no longer in that list.
    pub(super) fn unlist(&mut self) {
        self.listed = false;
    }

    pub(super) fn take_again(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }

    /// Ready when its last frame is queued.
    pub(super) fn poll(&mut self, session: &Session, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<()> {
        if self.starting.is_some() {
            ready!(self.poll_start(session, cx));
        }
        for _ in 0..BATCH {
            self.send_kept(session);
            if self.end.is_some() || turn.is_over() {
                break;
            }
            if !self.may_send(session) && self.keeping == Keeping::Block {
                return Poll::Pending;
            }
            match self.poll_source(session, cx, turn) {
                Poll::Ready(()) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        self.send_kept(session);
        if self.end.is_none() {
            self.again = true;
            return Poll::Pending;
        }
        self.poll_end(session, cx)
    }

    fn poll_start(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<()> {
        let Some(starting) = &mut self.starting else { return Poll::Ready(()) };
        let started = ready!(poll_running(&self.core, starting, cx));
        drop_running(&mut self.starting);
        match started {
            Ok(streaming) => {
                (self.source, self.keeping) = (Some(streaming.source), streaming.keeping);
                session.tell_opened();
            }
            Err(error) => self.end = Some(Err(error)),
        }
        Poll::Ready(())
    }

    /// Takes one item of the source, to send or to keep.
    fn poll_source(&mut self, session: &Session, cx: &mut Context<'_>, turn: &mut Turn) -> Poll<()> {
        let Some(mut source) = self.source.take() else { return Poll::Ready(()) };
        let mut taken = Ok(());
        let polled = catch(|| {
            source.as_mut().poll_item(cx, &mut |piece| {
                turn.spend(0);
                taken = self.take(session, &piece);
            })
        });
        self.source = Some(source);
        let next = match polled {
            Ok(polled) => ready!(polled),
            Err(panic) => Next::Failed(panicked(&self.core, panic)),
        };
        self.end = match next {
            Next::Item => taken.err().map(Err),
            Next::End => Some(Ok(())),
            Next::Failed(error) => Some(Err(error)),
        };
        if self.end.is_some() {
            drop_running(&mut self.source);
        }
        Poll::Ready(())
    }

    fn take(&mut self, session: &Session, piece: &Piece<'_>) -> Result {
        let may_send = self.kept.is_empty() && self.may_send(session);
        let packet =
            Outgoing::Data { id: &self.core.id, data: piece.value, position: piece.position, event: piece.event };
        let offset = piece.position.map(|position| position.offset);
        if may_send {
            if let Some(gap) = piece.after {
                self.tell_gap(session, gap);
            }
            match offer(session, &packet)? {
                None => self.use_credit(),
                Some(frame) => self.kept.push_back(Kept { key: piece.key.clone(), offset, after: None, frame }),
            }
            return Ok(());
        }
        if self.keeping == Keeping::Nothing {
            return Err(Error::new(Code::RESOURCE_EXHAUSTED, "the client does not keep up").retryable());
        }
        let Some(frame) = session.encode(&packet, |frame| frame.into_frame())? else { return Ok(()) };
        super::may_hold(session.hub.config.outbox_bytes, frame.len())?;
        self.keep(Kept { key: piece.key.clone(), offset, after: piece.after.cloned(), frame });
        Ok(())
    }

    fn use_credit(&mut self) {
        if let Some(credit) = &mut self.credit {
            *credit -= 1;
        }
    }

    /// Keeps an item, and drops those for which there is no place.
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

    /// Sends what is kept, as far as it is taken; before it, what was dropped.
    fn send_kept(&mut self, session: &Session) {
        while !self.kept.is_empty() && self.may_send(session) {
            if let Some(gap) = self.dropped.take() {
                self.tell_gap(session, &gap);
            }
            let Some(mut item) = self.kept.pop_front() else { return };
            if let Some(gap) = item.after.take() {
                self.tell_gap(session, &gap);
            }
            if let Some(frame) = session.outbox.offer_frame(item.frame) {
                self.kept.push_front(Kept { frame, ..item });
                self.blocked = true;
                return;
            }
            self.use_credit();
        }
    }

    fn tell_gap(&self, session: &Session, gap: &Gap) {
        super::reply(session, &Outgoing::Gap { id: Some(&self.core.id), topic: None, gap });
    }

    fn may_send(&mut self, session: &Session) -> bool {
        if self.credit == Some(0) {
            return false;
        }
        self.blocked = !session.outbox.takes_stream(self.kept_bytes());
        !self.blocked
    }

    fn poll_end(&mut self, session: &Session, cx: &mut Context<'_>) -> Poll<()> {
        if !self.kept.is_empty() {
            return Poll::Pending;
        }
        if !self.done {
            self.done = true;
            self.core.end();
            let id = &*self.core.id;
            let last = match &self.end {
                Some(Err(error)) => {
                    session.log(error);
                    offer(session, &Outgoing::Error { id: Some(id), error })
                }
                _ => offer(session, &Outgoing::Complete { id }),
            };
            self.unsent = last.unwrap_or_default();
        }
        poll_send(session, &mut self.unsent, cx)
    }
}

/// Items of one stream before it is the turn of others.
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
