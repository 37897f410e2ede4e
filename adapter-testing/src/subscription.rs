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
    begun: Option<TestBegun>,
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
        let TestSubscribeOptions { after, credit, shared } = options;
        let (path, input, after) = (subscription.name(), wire.write(input), after.as_ref());
        let subscribe = Outgoing::Subscribe { id: &id, path: &path, input: &input, after, credit, shared };
        wire.send(subscribe).await;
        Self { wire: wire.clone(), id, position: None, gap: None, begun: None, item: PhantomData }
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
            let frame = self.wire.wait(|frame| self.is_own(frame)).await?;
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
        while let Some(frame) = self.wire.look(|frame| self.is_own(frame)).await? {
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

    /// Waits until a subscription of a feed has begun.
    ///
    /// # Errors
    ///
    /// The errors of [`next`](Self::next).
    ///
    /// # Panics
    ///
    /// If an item comes first.
    pub async fn begun(&mut self) -> Result<TestBegun, Ended> {
        while self.begun.is_none() {
            let frame = self.wire.wait(|frame| self.is_own(frame)).await?;
            assert!(self.read(frame)?.is_none(), "the first frame is an item");
        }
        Ok(self.begun.clone().expect("it has begun"))
    }

    /// Returns the position of the last item that had one, or at which a feed began, to resume from.
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

    fn is_own(&self, frame: &Incoming) -> bool {
        let shares = |topic: &str| self.begun.as_ref().is_some_and(|begun| begun.shared && begun.topic == topic);
        match frame {
            Incoming::Entry { topic, .. } => shares(topic),
            frame => frame.id() == Some(&self.id),
        }
    }

    /// Returns the item of a frame, or `None` for a gap and for the beginning of a feed.
    fn read(&mut self, frame: Incoming) -> Result<Option<T>, Ended> {
        match frame {
            Incoming::Data { data, position, .. } => {
                self.position = position.or(self.position.take());
                Ok(Some(read(&data)))
            }
            Incoming::Entry { data, position, .. } => {
                self.position = Some(position);
                Ok(Some(read(&data)))
            }
            Incoming::Subscribed { topic, position, shared, resumed, .. } => {
                self.position = Some(position.clone());
                self.begun = Some(TestBegun { topic, position, shared, resumed });
                Ok(None)
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

/// The beginning of a subscription of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TestBegun {
    /// The name of the feed.
    pub topic: String,
    /// The position behind which it goes on.
    pub position: Position,
    /// The items come under the name of the feed.
    pub shared: bool,
    /// Nothing is missing behind the position that the client came with; `None` if it came with none.
    pub resumed: Option<bool>,
}

/// The options of a subscription: where to resume, credit, and shared frames.
#[derive(Clone, Debug, Default)]
#[must_use = "options are given to `subscribe_with`"]
pub struct TestSubscribeOptions {
    after: Option<Position>,
    credit: Option<u32>,
    shared: bool,
}

impl TestSubscribeOptions {
    /// Continues after this position, the last one received.
    pub fn after(mut self, position: Position) -> Self {
        self.after = Some(position);
        self
    }

    /// Takes the items under the name of the feed.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// Accepts this many items until [more are granted](TestSubscription::grant); unlimited by default.
    pub fn credit(mut self, items: u32) -> Self {
        self.credit = Some(items);
        self
    }
}
