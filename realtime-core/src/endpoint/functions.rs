use super::{Call, Connected};
use crate::{
    calls::{CallCore, Next, OnClose, OnOpen, Piece, Reply, Source, Start, Streaming},
    handles::Follow,
    hub::Client,
    seams::BoxFuture,
};
use futures_core::Stream;
use pin_project_lite::pin_project;
use realtime_protocol::{
    Close, Event, IntoItem, Item, Procedure, Result, Subscription,
    format::Value,
    internal::{Policy, same},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// Reads an input; a `()` input accepts anything.
pub(super) fn read<I: DeserializeOwned + 'static>(input: Value<'_>) -> Result<I> {
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
            Ok(Streaming::Items { source, keeping: policy.into() })
        }))
    }
}

pub(super) struct FeedFn<S, I, T, F> {
    pub(super) state: Arc<S>,
    pub(super) subscription: Subscription<I, T>,
    pub(super) function: F,
}

impl<S, I, T, F, R> Start<Streaming> for FeedFn<S, I, T, F>
where
    S: Send + Sync + 'static,
    I: DeserializeOwned + Send + 'static,
    T: Serialize + Send + Sync + 'static,
    F: Fn(Call<S>, I) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Follow<T>>> + Send + 'static,
{
    fn start(&self, call: &Arc<CallCore>, input: Value<'_>) -> Result<BoxFuture<'static, Result<Streaming>>> {
        let input = read(input)?;
        self.subscription.validate(&input)?;
        let running = (self.function)(Call::new(call, &self.state), input);
        Ok(Box::pin(async move { Ok(Streaming::Feed(running.await?.into_erased()?)) }))
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

pub(super) struct OpenFn<S, F> {
    pub(super) state: Arc<S>,
    pub(super) function: F,
}

impl<S, F, R> OnOpen for OpenFn<S, F>
where
    S: Send + Sync + 'static,
    F: Fn(Connected<S>) -> R + Send + Sync + 'static,
    R: Future<Output = Result> + Send + 'static,
{
    fn open(&self, client: &Arc<Client>) -> BoxFuture<'static, Result> {
        Box::pin((self.function)(Connected::new(client, &self.state)))
    }
}

pub(super) struct CloseFn<S, F> {
    pub(super) state: Arc<S>,
    pub(super) function: F,
}

impl<S, F, R> OnClose for CloseFn<S, F>
where
    S: Send + Sync + 'static,
    F: Fn(Connected<S>, Close) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    fn close(&self, client: &Arc<Client>, close: Close) -> BoxFuture<'static> {
        Box::pin((self.function)(Connected::new(client, &self.state), close))
    }
}
