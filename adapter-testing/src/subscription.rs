use crate::{Ended, protocol::read, wire::Wire};
use realtime_core::{Gap, Position, Subscription};
use realtime_protocol::client::{Incoming, Outgoing};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, marker::PhantomData};

/// A running subscription, returned by [`TestClient::subscribe`](crate::TestClient::subscribe).
///
/// Dropping it does not end it: [`unsubscribe`](Self::unsubscribe) does.
pub struct TestSubscription<T> {
    wire: Wire,
    id: String,
    position: Option<Position>,
    gap: Option<Gap>,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + 'static> TestSubscription<T> {
    pub(crate) async fn begin<I>(
        wire: &Wire,
        subscription: Subscription<I, T>,
        input: I,
        options: TestSubscribeOptions,
    ) -> Self
    where
        I: Serialize + Send + 'static,
    {
        let id = wire.next_id();
        let TestSubscribeOptions { after, credit } = options;
        let (path, input, after) = (subscription.name(), wire.write(input), after.as_ref());
        let subscribe = Outgoing::Subscribe { id: &id, path: &path, input: &input, after, credit };
        wire.send(subscribe).await;
        Self { wire: wire.clone(), id, position: None, gap: None, item: PhantomData }
    }

    /// Returns the id of the subscription on the wire.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the next item.
    ///
    /// # Errors
    ///
    /// [`Ended::Complete`] if the subscription completed, [`Ended::Error`] if it failed, [`Ended::Closed`] or
    /// [`Ended::Lost`] if the connection ended first.
    ///
    /// # Panics
    ///
    /// If the item does not match the type.
    pub async fn next(&mut self) -> Result<T, Ended> {
        self.gap = None;
        loop {
            let frame = self.wire.wait(|frame| frame.id() == Some(&self.id)).await?;
            if let Some(item) = self.read(frame)? {
                return Ok(item);
            }
        }
    }

    /// Returns the next item if there is one, after running the server until it is idle.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    ///
    /// # Panics
    ///
    /// As [`next`](Self::next).
    pub async fn try_next(&mut self) -> Result<Option<T>, Ended> {
        self.gap = None;
        while let Some(frame) = self.wire.look(|frame| frame.id() == Some(&self.id)).await? {
            if let Some(item) = self.read(frame)? {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }

    /// Returns the gap reported immediately before the last item.
    pub fn gap(&self) -> Option<&Gap> {
        self.gap.as_ref()
    }

    /// Returns the position of the last item that had one, to resume from.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Lets the server send more items, if the subscription has [credit](TestSubscribeOptions::credit).
    pub async fn grant(&mut self, more: u32) {
        self.wire.send(Outgoing::Credit { id: &self.id, more }).await;
    }

    /// Ends the subscription, and waits for the server's reply; items before it are dropped.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next), except for [`Ended::Complete`].
    pub async fn unsubscribe(mut self) -> Result<(), Ended> {
        self.wire.send(Outgoing::Unsubscribe { id: &self.id }).await;
        loop {
            match self.next().await {
                Ok(_) => {}
                Err(Ended::Complete) => return Ok(()),
                Err(ended) => return Err(ended),
            }
        }
    }

    /// Returns the item of a frame, or `None` for a gap.
    fn read(&mut self, frame: Incoming) -> Result<Option<T>, Ended> {
        match frame {
            Incoming::Data { data, position, .. } => {
                self.position = position.or(self.position.take());
                Ok(Some(read(&data)))
            }
            Incoming::Gap { gap, .. } => {
                self.gap = Some(gap);
                Ok(None)
            }
            Incoming::Complete { .. } => Err(Ended::Complete),
            Incoming::Error { error, .. } => Err(Ended::Error(error.into())),
            other => panic!("unexpected frame for the subscription {}: {other:?}", self.id),
        }
    }
}

impl<T> fmt::Debug for TestSubscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestSubscription").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The options of a subscription: where to resume, and credit.
#[derive(Clone, Debug, Default)]
#[must_use = "options are given to `subscribe_with`"]
pub struct TestSubscribeOptions {
    after: Option<Position>,
    credit: Option<u32>,
}

impl TestSubscribeOptions {
    /// Continues after this position, the last one received.
    pub fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// Accepts this many items until [more are granted](TestSubscription::grant); unlimited by default.
    pub fn credit(mut self, items: u32) -> Self {
        self.credit = Some(items);
        self
    }
}
