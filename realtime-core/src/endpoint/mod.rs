//! Endpoints: procedures, subscriptions and events, by their types.
//!
//! May import `handler` and the layers beneath it.

mod around;
mod call;
mod connected;
#[cfg(feature = "schema")]
mod described;
mod functions;
mod guard;
mod time;
mod topic;

pub use around::Around;
pub use call::Call;
pub use connected::Connected;
pub use guard::Guard;

use crate::{
    calls::{Layers, Route, Router, Starts},
    describe::{Bare, Gives, Sides, Takes},
    handler::{IntoMount, Mount},
    handles::Follow,
    request::{ErasedMiddleware, Middleware},
};
use functions::{CloseFn, EventFn, FeedFn, OpenFn, ProcedureFn, SubscriptionFn};
use futures_core::Stream;
use guard::Guarded;
use realtime_protocol::{
    Close, Event, IntoItem, Procedure, Result, Subscription,
    internal::{Policy, check_path},
};
use std::{fmt, marker::PhantomData, panic::Location, sync::Arc};

/// Procedures, subscriptions and events under one id, with a state of type `S` that they share.
///
/// Clients reach them over a WebSocket, the procedures over HTTP as well, and the subscriptions as server-sent
/// events. The calls of one connection run concurrently, its events one after the other. When the client cancels,
/// unsubscribes or goes, the future or stream is dropped at once.
///
/// # Examples
///
/// ```
/// use realtime_core::{Call, Endpoint, Event, Procedure, Realtime, Result, Subscription, Topic};
/// use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
///
/// const GET: Procedure<(), i64> = Procedure::query("get");
/// const ADD: Procedure<i64, i64> = Procedure::new("add");
/// const ADDED: Event<i64> = Event::new("added");
/// const COUNTER: Topic<i64> = Topic::fixed("counter");
///
/// async fn add(call: Call<AtomicI64>, amount: i64) -> Result<i64> {
///     let count = call.state().fetch_add(amount, Relaxed) + amount;
///     call.to(&COUNTER).others().emit(ADDED, &amount)?;
///     Ok(count)
/// }
///
/// let counter = Endpoint::new(AtomicI64::new(0))
///     .on_open(|connected| async move { connected.subscribe(&COUNTER) })
///     .procedure(GET, |call, ()| async move { Ok(call.state().load(Relaxed)) })
///     .procedure(ADD, add);
/// let realtime = Realtime::builder().endpoint("counter", counter).build();
/// ```
#[must_use = "an endpoint is mounted with `RealtimeBuilder::endpoint`"]
pub struct Endpoint<S, D = Bare> {
    state: Arc<S>,
    /// Routes registered here, and nested ones: put behind the layers when the endpoint is mounted.
    own: Router,
    /// Those of merged endpoints, behind their own layers.
    merged: Router,
    layers: Layers,
    middleware: Vec<Arc<dyn ErasedMiddleware>>,
    described: PhantomData<fn() -> D>,
}

impl<S: Send + Sync + 'static> Endpoint<S> {
    /// An empty endpoint. All calls share the state; it is not cloned.
    pub fn new(state: S) -> Self {
        Self::empty(state)
    }
}

impl<S: Send + Sync + 'static, D> Endpoint<S, D> {
    fn empty(state: S) -> Self {
        Self {
            state: Arc::new(state),
            own: Router::default(),
            merged: Router::default(),
            layers: Layers::default(),
            middleware: Vec::new(),
            described: PhantomData,
        }
    }

    /// Registers a procedure and the function that implements it.
    ///
    /// # Panics
    ///
    /// If the name is taken, is longer than 256 bytes, or has an empty part between dots.
    #[track_caller]
    pub fn procedure<I, O, F, R>(self, procedure: Procedure<I, O>, function: F) -> Self
    where
        I: Takes<D>,
        O: Gives<D>,
        F: Fn(Call<S>, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O>> + Send + 'static,
    {
        let sides = Sides::both::<D, I, O>().with_progress(&procedure);
        let starts = ProcedureFn { state: Arc::clone(&self.state), procedure, function };
        let kind =
            Starts::Call { query: procedure.is_query(), timeout: procedure.timeout(), start: Box::new(starts) };
        self.add(procedure.name(), kind, sides)
    }

    /// Registers a subscription; the function returns the stream of its items.
    ///
    /// # Panics
    ///
    /// As [`procedure`](Self::procedure).
    #[track_caller]
    pub fn subscription<I, T, F, R, St>(self, subscription: Subscription<I, T>, function: F) -> Self
    where
        I: Takes<D>,
        T: Gives<D>,
        F: Fn(Call<S>, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<St>> + Send + 'static,
        St: Stream + Send + 'static,
        St::Item: IntoItem<T>,
    {
        let starts = SubscriptionFn { state: Arc::clone(&self.state), subscription, function };
        self.add(subscription.name(), Starts::Subscription(Box::new(starts)), Sides::both::<D, I, T>())
    }

    /// Registers a subscription that is served from the log of a feed: the function returns which feed to
    /// [follow](crate::Feed::follow). A client that comes back goes on where it was, or is told what it has missed.
    ///
    /// # Panics
    ///
    /// As [`procedure`](Self::procedure), and if the subscription has an overflow policy: the feed's applies.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Call, Endpoint, Feed, Log, Procedure, Result, Subscription, Topic};
    ///
    /// const NEWS: Feed<String> = Topic::fixed("news").log(Log::last(100));
    /// const STORIES: Subscription<(), String> = Subscription::new("stories");
    /// const TELL: Procedure<String, ()> = Procedure::new("tell");
    ///
    /// async fn tell(call: Call<()>, story: String) -> Result {
    ///     call.append(&NEWS, &story).await?;
    ///     Ok(())
    /// }
    ///
    /// let endpoint = Endpoint::new(()).feed(STORIES, |_, ()| async { Ok(NEWS.follow()) }).procedure(TELL, tell);
    /// ```
    #[track_caller]
    pub fn feed<I, T, F, R>(self, subscription: Subscription<I, T>, function: F) -> Self
    where
        I: Takes<D>,
        T: Gives<D>,
        F: Fn(Call<S>, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Follow<T>>> + Send + 'static,
    {
        let name = subscription.name();
        assert!(
            matches!(subscription.policy().0, Policy::Block),
            "the subscription {name:?} has an overflow policy, and is served from a feed: set it with `Feed::with_overflow`"
        );
        let starts = FeedFn { state: Arc::clone(&self.state), subscription, function };
        self.add(name, Starts::Subscription(Box::new(starts)), Sides::both::<D, I, T>())
    }

    /// Registers a function for an event that clients send. The events of one connection are handled one after the other; an
    /// error is sent to the client, and the next one is handled. An event may also come by HTTP, without a connection:
    /// then [`Call::connection`] fails, and events of one client run concurrently.
    ///
    /// # Panics
    ///
    /// If the event is handled already, or its name has not 1 to 64 bytes.
    #[track_caller]
    pub fn on<T, F, R>(mut self, event: Event<T>, function: F) -> Self
    where
        T: Takes<D>,
        F: Fn(Call<S>, T) -> R + Send + Sync + 'static,
        R: Future<Output = Result> + Send + 'static,
    {
        let starts = EventFn { state: Arc::clone(&self.state), event, function };
        assert!((1..=64).contains(&event.name().len()), "the name of {event:?} has not 1 to 64 bytes");
        let starts = Starts::Event(Box::new(starts));
        let route = Route::new(event.name(), starts, Sides::sent::<D, T>(), Location::caller());
        self.assert_free(|router| router.conflict_of(&route));
        self.own.add(route);
        self
    }

    /// Registers a function that runs when a client has connected, before any call of it: to subscribe it to topics, for
    /// example. An error refuses the client. Those of several endpoints run in the order in which they were joined, and
    /// before the `on_open` of a handler.
    pub fn on_open<F, R>(mut self, function: F) -> Self
    where
        F: Fn(Connected<S>) -> R + Send + Sync + 'static,
        R: Future<Output = Result> + Send + 'static,
    {
        self.own.add_open(OpenFn { state: Arc::clone(&self.state), function });
        self
    }

    /// Registers a function that runs when a connection has ended, once for each, after its calls are dropped and before
    /// the `on_close` of a handler.
    pub fn on_close<F, R>(mut self, function: F) -> Self
    where
        F: Fn(Connected<S>, Close) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.own.add_close(CloseFn { state: Arc::clone(&self.state), function });
        self
    }

    /// Takes in another endpoint with a prefix before the names of its procedures and subscriptions: `prefix.name`.
    /// It keeps its state, guards and middleware; those of this one, around its calls too, run before its own.
    ///
    /// # Panics
    ///
    /// If a name is taken; the message says where both were registered.
    #[track_caller]
    pub fn nest<T: Send + Sync + 'static, E>(mut self, prefix: &str, endpoint: Endpoint<T, E>) -> Self {
        let (router, middleware) = endpoint.into_router();
        let nested = router.under(prefix);
        self.assert_free(|router| router.conflict(&nested));
        self.own.take_in(nested);
        self.middleware.extend(middleware);
        self
    }

    /// Takes in another endpoint as it is. It keeps its state, guards and middleware: guards of either do not apply
    /// to the other's calls, and the middleware of both runs, as they share their connections.
    ///
    /// # Panics
    ///
    /// If a name is taken; the message says where both were registered.
    #[track_caller]
    pub fn merge<T: Send + Sync + 'static, E>(mut self, endpoint: Endpoint<T, E>) -> Self {
        let (merged, middleware) = endpoint.into_router();
        self.assert_free(|router| router.conflict(&merged));
        self.merged.take_in(merged);
        self.middleware.extend(middleware);
        self
    }

    /// Adds a middleware, which decides on connections and on requests by HTTP, after those that were added before.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }

    /// Adds a guard, which decides on each call, subscription and event of this endpoint and of those nested in it,
    /// after the guards that were added before. The order among the other methods does not matter.
    pub fn guard(mut self, guard: impl Guard<S>) -> Self {
        self.layers.guards.push(Arc::new(Guarded { state: Arc::clone(&self.state), guard }));
        self
    }

    #[track_caller]
    fn add(mut self, name: String, starts: Starts, sides: Sides) -> Self {
        if let Err(error) = check_path(&name) {
            panic!("{}", error.message());
        }
        let route = Route::new(&name, starts, sides, Location::caller());
        self.assert_free(|router| router.conflict_of(&route));
        self.own.add(route);
        self
    }

    #[track_caller]
    fn assert_free(&self, conflict: impl Fn(&Router) -> Option<String>) {
        if let Some(conflict) = conflict(&self.own).or_else(|| conflict(&self.merged)) {
            panic!("{conflict}");
        }
    }

    fn into_router(self) -> (Router, Vec<Arc<dyn ErasedMiddleware>>) {
        let mut router = self.own.behind(&self.layers);
        router.take_in(self.merged);
        (router, self.middleware)
    }
}

impl<S: Send + Sync + 'static, D> IntoMount for Endpoint<S, D> {
    fn into_mount(self) -> Mount {
        let (router, middleware) = self.into_router();
        Mount::of_router(router, middleware)
    }
}

impl<S, D> fmt::Debug for Endpoint<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("own", &self.own).field("merged", &self.merged).finish_non_exhaustive()
    }
}
