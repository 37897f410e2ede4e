use super::{Feed, Realtime};
use crate::hub::{Beginning, Behind, Following, To};
use futures_core::Stream;
use realtime_protocol::{Error, Gap, Item, Position, Result};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

/// The entries of a feed as they are appended, for projections and bots. Made by [`Realtime::follow`]; it never ends.
/// Dropped, it leaves the feed.
///
/// An entry that does not parse as `T` is an error in its place, and the next one follows.
#[must_use = "nothing is read before it is polled"]
pub struct FeedUpdates<T> {
    realtime: Realtime,
    following: Following,
    begun: Option<Begun>,
    entry: PhantomData<fn() -> T>,
}

/// An element of [`FeedUpdates`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedUpdate<T> {
    /// The beginning: always the first.
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
        let (name, log) = (feed.name(), feed.log());
        let (following, beginning) = realtime.0.follow(name, log, feed.keeping(), after, 0, || To::task(None))?;
        Ok(Self { realtime: realtime.clone(), following, begun: Some(beginning.into()), entry: PhantomData })
    }
}

impl<T: DeserializeOwned> Stream for FeedUpdates<T> {
    type Item = Result<FeedUpdate<T>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(begun) = this.begun.take() {
            return Poll::Ready(Some(Ok(FeedUpdate::Begun(begun))));
        }
        this.following.register(cx);
        loop {
            if this.following.arm() {
                return Poll::Pending;
            }
            let update = match this.following.read(this.realtime.0.clock.now()) {
                Behind::Nothing => continue,
                Behind::Gap(gap) => Ok(FeedUpdate::Gap(gap)),
                Behind::Entry(entry, _) => {
                    this.following.pass(&entry);
                    let value = serde_json::from_slice(entry.value.json()).map_err(Error::internal);
                    value.map(|value| FeedUpdate::Item(Item::new(value).with_position(entry.position.clone())))
                }
            };
            return Poll::Ready(Some(update));
        }
    }
}

impl<T> fmt::Debug for FeedUpdates<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedUpdates").field("following", &self.following).finish_non_exhaustive()
    }
}
