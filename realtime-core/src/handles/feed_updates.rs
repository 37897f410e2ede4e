use super::{Feed, Realtime};
use crate::{
    hub::{Beginning, Behind, Following, Log, To},
    outbox::Keeping,
    seams::BoxFuture,
};
use futures_core::Stream;
use realtime_protocol::{Error, Gap, Item, Position, Result};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The entries of a feed as they are appended, for projections and bots. Made by [`Realtime::follow`]; it ends only with
/// an error before the beginning. Dropped, it leaves the feed.
///
/// An entry that does not parse as `T` is an error in its place, and the next one follows.
#[must_use = "nothing is read before it is polled"]
pub struct FeedUpdates<T> {
    realtime: Realtime,
    state: State,
    entry: PhantomData<fn() -> T>,
}

enum State {
    /// The log is not known here yet.
    Preparing(BoxFuture<'static, Result<(Following, Beginning)>>),
    Begun(Following, Begun),
    Following(Following),
    /// The log was restarted, and the gap is not told yet.
    Restarted(Following),
    Failed,
}

/// An element of [`FeedUpdates`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedUpdate<T> {
    /// The beginning: always the first. Again, and then a gap, where the broker has lost entries that were delivered.
    Begun(Begun),
    /// An entry, with its position.
    Item(Item<T>),
    /// Entries that are missing here.
    Gap(Gap),
}

/// The beginning of following a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Begun {
    /// The position behind which it goes on.
    pub position: Position,
    /// Nothing is missing behind the position that was given, but for what an overflow policy skips; `None` if none was
    /// given.
    pub resumed: Option<bool>,
}

impl From<Beginning> for Begun {
    fn from(Beginning { position, resumed }: Beginning) -> Self {
        Self { position, resumed }
    }
}

impl<T> FeedUpdates<T> {
    pub(super) fn new(realtime: &Realtime, feed: &Feed<T>, after: Option<&Position>) -> Result<Self> {
        let (name, log, keeping) = (feed.name(), feed.log(), feed.keeping());
        realtime.0.check_feed(name)?;
        let state = if realtime.0.needs_preparing() {
            let following = prepare(realtime.clone(), name.to_owned(), log, keeping, after.cloned());
            State::Preparing(Box::pin(following))
        } else {
            let follow = realtime.0.follow(name, log, keeping, after, 0, || To::task(None))?;
            let (following, beginning) =
                follow.ok_or_else(|| Error::internal("a feed of one node is not known"))?;
            State::Begun(following, beginning.into())
        };
        Ok(Self { realtime: realtime.clone(), state, entry: PhantomData })
    }
}

async fn prepare(
    realtime: Realtime,
    name: String,
    log: Log,
    keeping: Keeping,
    after: Option<Position>,
) -> Result<(Following, Beginning)> {
    realtime.0.follow_prepared(&name, log, keeping, after.as_ref(), 0, || To::task(None)).await
}

impl<T: DeserializeOwned> Stream for FeedUpdates<T> {
    type Item = Result<FeedUpdate<T>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let State::Preparing(preparing) = &mut this.state {
            match ready!(preparing.as_mut().poll(cx)) {
                Ok((following, beginning)) => this.state = State::Begun(following, beginning.into()),
                Err(error) => {
                    this.state = State::Failed;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        match std::mem::replace(&mut this.state, State::Failed) {
            State::Begun(following, begun) => {
                this.state = State::Following(following);
                Poll::Ready(Some(Ok(FeedUpdate::Begun(begun))))
            }
            State::Restarted(following) => {
                this.state = State::Following(following);
                Poll::Ready(Some(Ok(FeedUpdate::Gap(Gap::new(0, "diverged")))))
            }
            State::Following(following) => {
                following.register(cx);
                let polled = this.poll_entry(&following);
                let is_restarted = matches!(polled, Poll::Ready(Ok(FeedUpdate::Begun(_))));
                this.state = if is_restarted { State::Restarted(following) } else { State::Following(following) };
                polled.map(Some)
            }
            State::Preparing(_) | State::Failed => Poll::Ready(None),
        }
    }
}

impl<T: DeserializeOwned> FeedUpdates<T> {
    fn poll_entry(&self, following: &Following) -> Poll<Result<FeedUpdate<T>>> {
        while !following.arm() {
            let update = match following.read(self.realtime.0.clock.now()) {
                Behind::Past if following.awaits_past(&self.realtime.0) => return Poll::Pending,
                Behind::Nothing | Behind::Past => continue,
                Behind::Restarted(position) => Ok(FeedUpdate::Begun(Begun { position, resumed: Some(false) })),
                Behind::Gap(gap) => Ok(FeedUpdate::Gap(gap)),
                Behind::Entry(entry, _) => {
                    following.pass(&entry);
                    let value = serde_json::from_slice(entry.value.json()).map_err(Error::internal);
                    value.map(|value| FeedUpdate::Item(Item::new(value).with_position(entry.position.clone())))
                }
            };
            return Poll::Ready(update);
        }
        Poll::Pending
    }
}

impl<T> fmt::Debug for FeedUpdates<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedUpdates").finish_non_exhaustive()
    }
}
