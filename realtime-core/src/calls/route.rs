use crate::calls::{CallCore, ErasedGuard};
use crate::endpoint::call::Call;
use crate::seams::BoxFuture;
use realtime_protocol::{Close, Event, Gap, IntoItem, Item, Position, Procedure, Result, Subscription};
use realtime_protocol::format::{Encode, Value};
use realtime_protocol::internal::{Policy, same};
use futures_core::Stream;
use pin_project_lite::pin_project;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// One procedure, subscription or event, and what must let a call of it through.
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) starts: Arc<Starts>,
    pub(super) guards: Vec<Arc<dyn ErasedGuard>>,
    pub(super) place: &'static Location<'static>,
}

/// What a route is, without its types.
pub(crate) enum Starts {
    Call { query: bool, timeout: Duration, start: Box<dyn Start<Reply>> },
    Subscription(Box<dyn Start<Streaming>>),
    Event(Box<dyn Start<()>>),
}

/// Begins a call: reads its input, and gives the future of its outcome.
pub(crate) trait Start<T>: Send + Sync {
    fn start(&self, call: &Arc<CallCore>, input: Value<'_>) -> Result<BoxFuture<'static, Result<T>>>;
}

/// What a procedure gave.
pub(crate) type Reply = Box<dyn Encode + Send + Sync>;

/// The stream of a subscription, and what happens to what the client does not take.
pub(crate) struct Streaming {
    pub(crate) source: Pin<Box<dyn Source>>,
    pub(crate) keeping: Keeping,
}

/// A [`Policy`] without its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    Block,
    Newest(usize),
    NewestOfEach,
    Nothing,
}

impl Keeping {
    /// How many items may wait for a client that is behind.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::Newest(count) => count,
            Self::NewestOfEach => KEYS,
            Self::Block | Self::Nothing => usize::MAX,
        }
    }
}

/// Keys of which the newest item is kept.
const KEYS: usize = 1024;

impl<T> From<Policy<T>> for Keeping {
    fn from(policy: Policy<T>) -> Self {
        match policy {
            Policy::Block => Self::Block,
            Policy::DropOldest(count) => Self::Newest(count),
            Policy::Conflate(_) => Self::NewestOfEach,
            Policy::Close => Self::Nothing,
        }
    }
}

/// The items of a subscription, without their type.
pub(crate) trait Source: Send {
    /// Polls for the next item and hands it to `take`.
    fn poll_item(self: Pin<&mut Self>, cx: &mut Context<'_>, take: &mut dyn FnMut(Piece<'_>)) -> Poll<Next>;
}

/// What a source came to.
pub(crate) enum Next {
    Item,
    End,
    Failed(crate::Error),
}

/// One item of a source.
pub(crate) struct Piece<'a> {
    pub(crate) value: &'a dyn Encode,
    pub(crate) position: Option<&'a Position>,
    pub(crate) event: Option<&'static str>,
    /// Which items it replaces, where it does.
    pub(crate) key: Option<String>,
    pub(crate) after: Option<&'a Gap>,
}

impl Route {
    pub(super) fn new(name: &str, starts: Starts, place: &'static Location<'static>) -> Self {
        Self { name: name.into(), starts: Arc::new(starts), guards: Vec::new(), place }
    }

    pub(super) fn is_event(&self) -> bool {
        matches!(*self.starts, Starts::Event(_))
    }

    pub(super) fn renamed(&self, name: String) -> Self {
        Self {
            name: name.into(),
            starts: Arc::clone(&self.starts),
            guards: self.guards.clone(),
            place: self.place,
        }
    }

    pub(super) fn guarded(&self, guards: &[Arc<dyn ErasedGuard>]) -> Self {
        let guards = guards.iter().chain(&self.guards).cloned().collect();
        Self { name: Arc::clone(&self.name), starts: Arc::clone(&self.starts), guards, place: self.place }
    }

    /// Begins a call of this route by way of its guards. `of` finds what starts it.
    pub(crate) fn start<T: 'static>(
        self: &Arc<Self>,
        call: &Arc<CallCore>,
        input: Value<'_>,
        of: fn(&Starts) -> Option<&dyn Start<T>>,
    ) -> Result<BoxFuture<'static, Result<T>>> {
        if self.guards.is_empty() {
            return self.start_checked(call, input, of);
        }
        let (route, call, input) = (Arc::clone(self), Arc::clone(call), input.into_owned());
        Ok(Box::pin(async move {
            route.check(&call).await?;
            route.start_checked(&call, input, of)?.await
        }))
    }

    /// Asks the guards about a call.
    pub(crate) async fn check(&self, call: &Arc<CallCore>) -> Result {
        for guard in &self.guards {
            guard.check(call).await?;
        }
        Ok(())
    }

    /// Begins a call that the guards have let through.
    pub(crate) fn start_checked<T: 'static>(
        &self,
        call: &Arc<CallCore>,
        input: Value<'_>,
        of: fn(&Starts) -> Option<&dyn Start<T>>,
    ) -> Result<BoxFuture<'static, Result<T>>> {
        let wrong = || realtime_protocol::Error::internal("a route was started as what it is not");
        of(&self.starts).ok_or_else(wrong)?.start(call, input)
    }

    /// How long a call may take.
    pub(crate) fn time_limit(&self) -> Duration {
        if let Starts::Call { timeout, .. } = &*self.starts { *timeout } else { Duration::MAX }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({})", self.name)
    }
}

impl Starts {
    pub(crate) fn as_call(&self) -> Option<&dyn Start<Reply>> {
        if let Self::Call { start, .. } = self { Some(&**start) } else { None }
    }

    pub(crate) fn as_subscription(&self) -> Option<&dyn Start<Streaming>> {
        if let Self::Subscription(start) = self { Some(&**start) } else { None }
    }

    pub(crate) fn as_event(&self) -> Option<&dyn Start<()>> {
        if let Self::Event(start) = self { Some(&**start) } else { None }
    }
}

/// Who takes nothing is not asked what it is given.
fn read<I: DeserializeOwned + 'static>(input: Value<'_>) -> Result<I> {
    same::<(), I>(()).map_or_else(|| input.parse(), Ok)
}

pub(super) struct ProcedureFn<S, I, O, F> {
    pub(super) state: Arc<S>,
    pub(super) procedure: Procedure<I, O>,
    pub(super) function: F,
}

impl<S, I, O, F, R> Start<Reply> for ProcedureFn<S, I, O, F>
where
    S: Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    O: Serialize + Send + Sync + 'static,
    F: Fn(Call<S>, I) -> R + Send + Sync + 'static,
    R: Future<Output = Result<O>> + Send + 'static,
{
    fn start(&self, call: &Arc<CallCore>, input: Value<'_>) -> Result<BoxFuture<'static, Result<Reply>>> {
        let input = read(input)?;
        self.procedure.validate(&input)?;
        let running = (self.function)(Call::new(call, &self.state), input);
        Ok(Box::pin(async move { Ok(Box::new(running.await?) as Reply) }))
    }
}

pub(super) struct SubscriptionFn<S, I, T, F> {
    pub(super) state: Arc<S>,
    pub(super) subscription: Subscription<I, T>,
    pub(super) function: F,
}

impl<S, I, T, F, R, St> Start<Streaming> for SubscriptionFn<S, I, T, F>
where
    S: Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    T: Serialize + Send + Sync + 'static,
    F: Fn(Call<S>, I) -> R + Send + Sync + 'static,
    R: Future<Output = Result<St>> + Send + 'static,
    St: Stream + Send + 'static,
    St::Item: IntoItem<T>,
{
    fn start(&self, call: &Arc<CallCore>, input: Value<'_>) -> Result<BoxFuture<'static, Result<Streaming>>> {
        let input = read(input)?;
        self.subscription.validate(&input)?;
        let running = (self.function)(Call::new(call, &self.state), input);
        let policy = self.subscription.policy().0;
        Ok(Box::pin(async move {
            let source = Box::pin(Items { stream: running.await?, policy });
            Ok(Streaming { source, keeping: policy.into() })
        }))
    }
}

pin_project! {
    /// The stream of an application's function as a [`Source`].
    struct Items<St, T> {
        #[pin]
        stream: St,
        policy: Policy<T>,
    }
}

impl<St, T> Source for Items<St, T>
where
    St: Stream + Send,
    St::Item: IntoItem<T>,
    T: Serialize + Send + Sync + 'static,
{
    fn poll_item(self: Pin<&mut Self>, cx: &mut Context<'_>, take: &mut dyn FnMut(Piece<'_>)) -> Poll<Next> {
        let this = self.project();
        let Some(item) = ready!(this.stream.poll_next(cx)) else { return Poll::Ready(Next::End) };
        let item: Item<T> = match item.into_item() {
            Ok(item) => item,
            Err(error) => return Poll::Ready(Next::Failed(error)),
        };
        let key = if let Policy::Conflate(key) = this.policy { Some(key(&item.value)) } else { None };
        take(Piece {
            value: &item.value,
            position: item.position.as_ref(),
            event: item.event,
            key,
            after: item.after.as_ref(),
        });
        Poll::Ready(Next::Item)
    }
}

pub(super) struct EventFn<S, T, F> {
    pub(super) state: Arc<S>,
    pub(super) event: Event<T>,
    pub(super) function: F,
}

impl<S, T, F, R> Start<()> for EventFn<S, T, F>
where
    S: Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
    F: Fn(Call<S>, T) -> R + Send + Sync + 'static,
    R: Future<Output = Result> + Send + 'static,
{
    fn start(&self, call: &Arc<CallCore>, data: Value<'_>) -> Result<BoxFuture<'static, Result>> {
        let data = read(data)?;
        self.event.validate(&data)?;
        Ok(Box::pin((self.function)(Call::new(call, &self.state), data)))
    }
}

/// What an endpoint does when a client has connected.
pub(crate) trait OnOpen: Send + Sync + 'static {
    fn open(&self, call: &Arc<CallCore>) -> BoxFuture<'static, Result>;
}

/// What an endpoint does when a connection has ended.
pub(crate) trait OnClose: Send + Sync + 'static {
    fn close(&self, call: &Arc<CallCore>, close: Close) -> BoxFuture<'static>;
}

pub(super) struct OpenFn<S, F> {
    pub(super) state: Arc<S>,
    pub(super) function: F,
}

impl<S, F, R> OnOpen for OpenFn<S, F>
where
    S: Send + Sync + 'static,
    F: Fn(Call<S>) -> R + Send + Sync + 'static,
    R: Future<Output = Result> + Send + 'static,
{
    fn open(&self, call: &Arc<CallCore>) -> BoxFuture<'static, Result> {
        Box::pin((self.function)(Call::new(call, &self.state)))
    }
}

pub(super) struct CloseFn<S, F> {
    pub(super) state: Arc<S>,
    pub(super) function: F,
}

impl<S, F, R> OnClose for CloseFn<S, F>
where
    S: Send + Sync + 'static,
    F: Fn(Call<S>, Close) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    fn close(&self, call: &Arc<CallCore>, close: Close) -> BoxFuture<'static> {
        Box::pin((self.function)(Call::new(call, &self.state), close))
    }
}
