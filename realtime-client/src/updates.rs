use crate::{
    error::{ClientError, Result},
    mailbox::Mailbox,
    session::{Delivery, WINDOW},
    shared::Shared,
};
use futures_util::Stream;
use realtime_protocol::{Gap, Position, Subscription};
use serde::{Serialize, de::DeserializeOwned};
use std::{
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
    /// Items are missing here. The cause `reconnect` means that some may be: the connection was lost, and there was no
    /// position to continue from.
    Gap(Gap),
}

/// The stream of a subscription's updates, in order, across reconnections. It ends when the subscription is complete,
/// or after an error.
///
/// At most 64 unread items are held; the server waits with further ones. Dropping the stream ends the subscription.
#[must_use = "dropping it ends the subscription"]
pub struct Updates<T> {
    stage: Stage,
    name: String,
    position: Option<Position>,
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
        Self { stage, name, position: after, taken: 0, item: PhantomData }
    }

    /// Returns the next update. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Update<T>>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Returns the position of the last item taken, or the one the subscription started after. Pass it to
    /// [`Client::subscribe_after`](crate::Client::subscribe_after) to continue there.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }
}

impl<T: DeserializeOwned + 'static> Stream for Updates<T> {
    type Item = Result<Update<T>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Stage::Running { deliveries, .. } = &self.stage else { return Poll::Ready(self.fail().map(Err)) };
        let update = match ready!(deliveries.poll_next(cx)) {
            Some(Delivery::Item { data, position }) => {
                self.count();
                match data.read() {
                    Ok(value) => {
                        if position.is_some() {
                            self.position.clone_from(&position);
                        }
                        return Poll::Ready(Some(Ok(Update::Item { value, position })));
                    }
                    Err(error) => Err(ClientError::unreadable(&format!("an item of {:?}", self.name), &error)),
                }
            }
            Some(Delivery::Gap(gap)) => return Poll::Ready(Some(Ok(Update::Gap(gap)))),
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
