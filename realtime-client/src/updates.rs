use crate::{
    call::Written,
    error::{ClientError, Result},
    mailbox::Mailbox,
    session::{Delivery, WINDOW},
    shared::Shared,
};
use futures_util::Stream;
use realtime_protocol::{Appended, Gap, Position, Subscription};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::VecDeque,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// An update of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update<T> {
    /// An item.
    Item {
        /// The value.
        value: T,
        /// The item's position, if the subscription has positions.
        position: Option<Position>,
    },
    /// The subscription of a feed begins, or goes on after a lost connection. The entries behind this position follow.
    Begun {
        /// The position.
        position: Position,
        /// True if nothing is missing behind the last position. False if something is: a gap follows, or a state. `None`
        /// if the subscription had no position before.
        resumed: Option<bool>,
    },
    /// Items are missing here. The cause `reconnect` means that some may be: the connection was lost, and there was no
    /// position to continue from.
    Gap(Gap),
}

/// The stream of a subscription's updates, in order, across reconnections. It ends when the subscription is complete,
/// or after an error.
///
/// At most 64 unread items are held; the server waits with further ones. Dropping the stream ends the subscription.
///
/// # Feeds
///
/// The stream of a feed starts with [`Update::Begun`]. Each entry comes once and in order; what is missing is reported by
/// an [`Update::Gap`] with the number of entries. Where the server sends a state first, a client that cannot resume
/// receives the state again instead of a gap. The [position](Self::position) as text continues in another process:
///
/// ```no_run
/// use realtime_client::{Client, Position, Subscription, Update};
///
/// const NEWS: Subscription<(), String> = Subscription::new("news");
///
/// # async fn run(client: Client, saved: Option<String>) -> realtime_client::Result {
/// let mut news = match saved.and_then(|text| text.parse().ok()) {
///     Some(position) => client.subscribe_after(NEWS, (), position),
///     None => client.subscribe(NEWS, ()),
/// };
/// while let Some(update) = news.next().await {
///     match update? {
///         Update::Begun { position, .. } => println!("from {position} on"),
///         Update::Item { value, .. } => println!("{value}"),
///         Update::Gap(gap) => println!("{} are missing: {}", gap.count, gap.cause),
///     }
///     let saved = news.position().map(Position::to_string);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping it ends the subscription"]
pub struct Updates<T> {
    stage: Stage,
    name: String,
    position: Option<Position>,
    /// The name of the feed, once it has begun.
    topic: Option<String>,
    /// The logs of the feed that came before the present one, the last few.
    left: VecDeque<String>,
    /// Items taken since the last grant.
    taken: usize,
    item: PhantomData<fn() -> T>,
}

enum Stage {
    Failed(ClientError),
    Running { shared: Arc<Shared>, id: u64, deliveries: Arc<Mailbox<Delivery>> },
    Done,
}

impl<T: DeserializeOwned + 'static> Updates<T> {
    pub(crate) fn begin<I: Serialize>(
        shared: &Arc<Shared>,
        subscription: Subscription<I, T>,
        input: &I,
        after: Option<Position>,
    ) -> Self {
        let name = subscription.name();
        let begin = || {
            subscription.validate(input).map_err(ClientError::local)?;
            let input = shared.write(input).map_err(|error| ClientError::unwritable(&name, &error))?;
            shared.change(|session| session.subscribe(name.clone(), input, after.clone()))
        };
        let stage = match begin() {
            Ok((id, deliveries)) => Stage::Running { shared: Arc::clone(shared), id, deliveries },
            Err(error) => Stage::Failed(error),
        };
        let left = VecDeque::new();
        Self { stage, name, position: after, topic: None, left, taken: 0, item: PhantomData }
    }

    /// Returns the next update. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Update<T>>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Returns the position of the last update taken, or the one the subscription started after. Pass it to
    /// [`Client::subscribe_after`](crate::Client::subscribe_after) to continue there.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Returns true if the updates taken include what a [call has written](crate::PendingCall::written) to this feed, or
    /// report it as missing. True for a call that has written nothing to it; false before the feed has begun.
    pub fn has<O>(&self, written: &Written<O>) -> bool {
        let Some(topic) = &self.topic else { return written.at.is_empty() };
        let Some(Appended { position: at, .. }) = written.at.iter().find(|at| at.topic == *topic) else {
            return true;
        };
        match &self.position {
            Some(last) if last.epoch == at.epoch => last.offset >= at.offset,
            // Nothing of a log that was left comes any more.
            _ => self.left.contains(&at.epoch),
        }
    }
}

impl<T: DeserializeOwned + 'static> Stream for Updates<T> {
    type Item = Result<Update<T>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Stage::Running { deliveries, .. } = &self.stage else { return Poll::Ready(self.fail().map(Err)) };
        let update = match ready!(deliveries.poll_next(cx)) {
            Some(Delivery::Begun { topic, position, resumed, place }) => {
                self.topic = Some(topic);
                self.go_to(place);
                return Poll::Ready(Some(Ok(Update::Begun { position, resumed })));
            }
            Some(Delivery::Item { data, position }) => {
                self.count();
                match data.read() {
                    Ok(value) => {
                        self.go_to(position.clone());
                        return Poll::Ready(Some(Ok(Update::Item { value, position })));
                    }
                    Err(error) => Err(ClientError::unreadable(&format!("an item of {:?}", self.name), &error)),
                }
            }
            Some(Delivery::Gap { gap, place }) => {
                self.go_to(place);
                return Poll::Ready(Some(Ok(Update::Gap(gap))));
            }
            Some(Delivery::Failed(error)) => Err(error),
            None => {
                self.end();
                return Poll::Ready(None);
            }
        };
        self.end();
        Poll::Ready(Some(update))
    }
}

impl<T> Updates<T> {
    fn go_to(&mut self, position: Option<Position>) {
        let Some(position) = position else { return };
        let last = self.position.replace(position);
        let epoch = self.position.as_ref().map(|position| &position.epoch);
        if let Some(last) = last.filter(|last| Some(&last.epoch) != epoch) {
            self.left.push_back(last.epoch);
            if self.left.len() > LOGS {
                self.left.pop_front();
            }
        }
    }

    /// Counts an item as taken. Grants the server more after each half of the window.
    fn count(&mut self) {
        self.taken += 1;
        if self.taken < WINDOW / 2 {
            return;
        }
        self.taken = 0;
        if let Stage::Running { shared, id, .. } = &self.stage {
            shared.change(|session| session.grant(*id));
        }
    }

    fn fail(&mut self) -> Option<ClientError> {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Failed(error) => Some(error),
            Stage::Running { .. } | Stage::Done => None,
        }
    }

    fn end(&mut self) {
        if let Stage::Running { shared, id, .. } = std::mem::replace(&mut self.stage, Stage::Done) {
            shared.change(|session| session.drop_subscription(id));
        }
    }
}

impl<T> Drop for Updates<T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T> fmt::Debug for Updates<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Updates({})", self.name)
    }
}

/// The number of logs of a feed that are remembered after they were left.
const LOGS: usize = 8;
