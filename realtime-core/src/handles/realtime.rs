use crate::config::Config;
use crate::context::Context;
use crate::endpoint::Endpoint;
use crate::handler::{FnConnection, IntoMount, Mount, handler_fn};
use crate::handles::{AnyConnection, Topic};
use crate::hub::{Drained, Hub, Plan, drain};
use crate::protocol::{Events, Plain};
use crate::request::{Answer, ErasedMiddleware, Middleware, Mounted, Registry, Reject, Upgrade, accept, answer};
use crate::seams::{Broker, Runtime};
use crate::session::NoHandler;
use realtime_protocol::{ConnectionId, Event, Presence, Present, Result};
use realtime_protocol::format::{Json, MessagePack, Protocol};
use bytes::Bytes;
use futures_core::Stream;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

/// The registry that an application builds when it starts, and gives to an adapter.
///
/// A clone is another handle to the same registry. When the last one and all connections are
/// gone, so is its clock.
///
/// # Examples
///
/// ```
/// use realtime_core::{FnConnection, Realtime, Topic};
///
/// let realtime = Realtime::builder()
///     .handler_fn("news", |connection: FnConnection<(), String>| async move {
///         connection.subscribe(&Topic::fixed("news"))?;
///         connection.closed().await;
///         Ok(())
///     })
///     .build();
/// realtime.publish(&Topic::fixed("news"), &"hello".to_owned()).unwrap();
/// ```
#[derive(Clone)]
pub struct Realtime(pub(crate) Arc<Hub>);

impl Realtime {
    /// Begins to build.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            mounts: Vec::new(),
            middleware: Vec::new(),
            protocols: Vec::new(),
            prefix: "/__realtime".into(),
            broker: None,
            node: None,
            manual_time: false,
        }
    }

    /// Sends a message to all members of a topic.
    ///
    /// # Errors
    ///
    /// As [`AnyConnection::publish`].
    pub fn publish<T: Serialize + Sync + 'static>(&self, topic: &Topic<T>, message: &T) -> Result {
        self.0.publish(topic.name(), None, message, topic.key_of(message), &[])
    }

    /// Sends an event to all members of a topic, whatever messages the topic is for.
    ///
    /// # Errors
    ///
    /// As [`AnyConnection::publish`].
    pub fn publish_event<T, D>(&self, topic: &Topic<T>, event: &Event<D>, data: &D) -> Result
    where
        D: Serialize + Sync + 'static,
    {
        self.0.publish(topic.name(), Some(event.name()), data, None, &[])
    }

    /// Who is in a place. Data that does not fit the type is left out.
    pub fn present<P: DeserializeOwned>(&self, presence: &Presence<P>) -> Vec<Present<P>> {
        let present = self.0.present(presence.name()).into_iter();
        let read =
            |Present { connection, data }| Some(Present { connection, data: serde_json::from_value(data).ok()? });
        present.filter_map(read).collect()
    }

    /// The connection with this id, if it is open on this node.
    pub fn find(&self, id: ConnectionId) -> Option<AnyConnection> {
        self.0.connections.find(id).map(AnyConnection::new)
    }

    /// The open connections of this node for which `filter` says yes.
    pub fn filter(&self, mut filter: impl FnMut(&AnyConnection) -> bool) -> Vec<AnyConnection> {
        let all = self.0.connections.all().into_iter().map(AnyConnection::new);
        all.filter(|connection| filter(connection)).collect()
    }

    /// How many connections are open on this node.
    pub fn connections(&self) -> usize {
        self.0.connections.len()
    }

    /// What this node does and did.
    pub fn stats(&self) -> Stats {
        let hub = &self.0;
        let counters = &hub.counters;
        Stats {
            connections: hub.connections.len(),
            topics: hub.topics.len(),
            accepted: counters.accepted.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            published: counters.published.load(Relaxed),
            delivered: counters.delivered.load(Relaxed),
            slow_consumers: counters.slow_consumers.load(Relaxed),
            broker_failures: counters.broker_failures.load(Relaxed),
        }
    }

    /// Ends all connections before a shutdown: refuses new ones with 503, closes those that are
    /// open with 1001, in batches over half of the time, and waits until all have ended or the
    /// deadline is over; then cuts the rest.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, new connections stay refused and those not yet closed stay open.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        drain(Arc::clone(&self.0), deadline).await
    }

    /// Starts what runs beside the connections, the clock and the link to the broker, on a node
    /// that has no connections yet and publishes all the same. The first connection does it too.
    pub fn start(&self, runtime: impl Runtime) {
        self.0.start(|| Arc::new(runtime));
    }

    /// Decides on a request: runs the checks and the middleware. For adapters, which bring the
    /// runtime that the clock and the link to the broker run on.
    ///
    /// # Errors
    ///
    /// The response that refuses it.
    pub async fn upgrade(&self, mut context: Context, runtime: impl Runtime) -> Result<Upgrade, Reject> {
        self.start(runtime);
        self.resolve_client(&mut context);
        accept(&self.0, context).await
    }

    /// Answers a request of any kind: upgrades it to a WebSocket, begins a stream of server-sent events, or makes a call
    /// by HTTP. For adapters, which bring the runtime that the sessions of event streams run on, and the clock and the link
    /// to the broker.
    ///
    /// The body is read where it is a call's. What is left of it before a refusal is discarded, within
    /// [`Config::discarded_bytes`], so that the client sees the answer. A body that the client holds back with
    /// `Expect: 100-continue` is not polled then: where the framework has said 100 already, leave the header out.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, so is the call that it makes.
    pub async fn answer<B, E>(&self, mut context: Context, body: &mut B, runtime: impl Runtime) -> Answer
    where
        B: Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    {
        let mut runtime = Some(runtime);
        self.0.start(|| Arc::new(runtime.take().expect("a hub takes one runtime")));
        self.resolve_client(&mut context);
        // Its own, where the hub has that of another thread.
        answer(&self.0, context, body, |task| match &runtime {
            Some(runtime) => runtime.spawn(task),
            None => self.0.spawn(task),
        })
        .await
    }

    fn resolve_client(&self, context: &mut Context) {
        let config = &self.0.config;
        context.resolve_client(&config.trusted_proxies, config.forwarding_header);
    }

    /// The limits, as they were set when it was built.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The path under which adapters mount the handlers, without a slash at its end.
    pub fn prefix(&self) -> &str {
        &self.0.registry.prefix
    }

    /// Turns the clock by hand; only if it was built with [`Builder::manual_time`].
    ///
    /// # Panics
    ///
    /// If the clock runs by itself.
    #[doc(hidden)]
    #[track_caller]
    pub fn tick(&self) {
        assert!(self.0.manual_time, "the clock runs by itself");
        self.0.tick();
    }
}

impl fmt::Debug for Realtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.0.registry.mounted.keys().collect();
        f.debug_struct("Realtime").field("endpoints", &endpoints).field("hub", &self.0).finish()
    }
}

/// What a node does and did, for dashboards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections that are open.
    pub connections: usize,
    /// Topics that have members.
    pub topics: usize,
    /// Requests that became connections.
    pub accepted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Publications.
    pub published: u64,
    /// Messages of publications that were queued for a member.
    pub delivered: u64,
    /// Connections that were closed because they did not keep up.
    pub slow_consumers: u64,
    /// Publications that the broker did not take, after all tries, and failures to receive one.
    pub broker_failures: u64,
}

/// Builds a [`Realtime`].
#[derive(Debug)]
#[must_use = "nothing is mounted before `build`"]
pub struct Builder {
    config: Config,
    mounts: Vec<(Box<str>, Mount)>,
    middleware: Vec<BoxedMiddleware>,
    protocols: Vec<Arc<dyn Protocol>>,
    prefix: Box<str>,
    broker: Option<Arc<dyn Broker>>,
    node: Option<u64>,
    manual_time: bool,
}

struct BoxedMiddleware(Arc<dyn ErasedMiddleware>);

impl fmt::Debug for BoxedMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Middleware")
    }
}

impl Builder {
    /// Mounts a handler under an id: clients connect to `/__realtime/{id}`.
    ///
    /// # Panics
    ///
    /// If the id has a handler, or is not of 1 to 64 letters, digits, `-`, `_`, `.` and `~`.
    #[track_caller]
    pub fn handler(mut self, id: &str, handler: impl IntoMount) -> Self {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        assert!(
            (1..=64).contains(&id.len()) && id.bytes().all(valid),
            "the id {id:?} is not of 1 to 64 letters, digits, '-', '_', '.' and '~'",
        );
        let mount = handler.into_mount();
        match self.mounts.iter_mut().find(|(taken, _)| **taken == *id) {
            Some((_, taken)) => taken.join(id, mount),
            None => self.mounts.push((id.into(), mount)),
        }
        self
    }

    /// Mounts an [`Endpoint`] under an id: clients connect to `/__realtime/{id}`, or ask by HTTP. The id may have a
    /// [handler](Self::handler) as well; then both are served on the same connections, and the middleware of both
    /// runs, the first mounted first.
    ///
    /// # Panics
    ///
    /// As [`handler`](Self::handler).
    #[track_caller]
    pub fn endpoint<S: Send + Sync + 'static>(self, id: &str, endpoint: Endpoint<S>) -> Self {
        self.handler(id, endpoint)
    }

    /// Mounts an async function: see [`handler_fn`](crate::handler_fn()).
    ///
    /// # Panics
    ///
    /// As [`handler`](Self::handler).
    #[track_caller]
    pub fn handler_fn<C, S, I, F, R>(self, id: &str, function: F) -> Self
    where
        C: DeserializeOwned + Send + 'static,
        S: Serialize + Send + Sync + 'static,
        I: DeserializeOwned + Send + Sync + 'static,
        F: Fn(FnConnection<C, S, I>) -> R + Send + Sync + 'static,
        R: Future<Output = Result> + Send + 'static,
    {
        self.handler(id, handler_fn(function))
    }

    /// Adds a middleware for all handlers; it runs after those that were added before, and before
    /// the handlers' own.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(BoxedMiddleware(Arc::new(middleware)));
        self
    }

    /// Sets the limits.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a wire format beside the built-in ones. Clients ask for it by its subprotocol.
    ///
    /// # Panics
    ///
    /// If it has no subprotocol, or another has the same.
    #[track_caller]
    pub fn protocol(mut self, protocol: impl Protocol) -> Self {
        let name = protocol.subprotocol();
        assert!(name.is_some(), "a protocol that has no subprotocol cannot be asked for");
        let built_in = [Json.subprotocol(), MessagePack.subprotocol()].contains(&name);
        let known = built_in || self.protocols.iter().any(|known| known.subprotocol() == name);
        assert!(!known, "two protocols have the subprotocol {name:?}");
        assert!(self.protocols.len() < MAX_PROTOCOLS, "there are {MAX_PROTOCOLS} protocols already");
        self.protocols.push(Arc::new(protocol));
        self
    }

    /// Sets the path under which adapters mount the handlers; `/__realtime` by default.
    ///
    /// # Panics
    ///
    /// If it does not begin with a slash, or ends with one.
    #[track_caller]
    pub fn prefix(mut self, prefix: &str) -> Self {
        let valid = prefix.is_empty() || (prefix.starts_with('/') && !prefix.ends_with('/'));
        assert!(valid, "the prefix {prefix:?} must begin with a slash and not end with one");
        self.prefix = prefix.into();
        self
    }

    /// Links this node to others: what is published on one reaches the members on all.
    pub fn broker(mut self, broker: impl Broker) -> Self {
        self.broker = Some(Arc::new(broker));
        self
    }

    /// Sets the number of this node in connection ids, which is random by default. Two nodes of
    /// one cluster must not have the same.
    pub fn node(mut self, node: u64) -> Self {
        self.node = Some(node);
        self
    }

    /// Time stands still until it is turned by hand: for tests.
    #[doc(hidden)]
    pub fn manual_time(mut self) -> Self {
        self.manual_time = true;
        self
    }

    /// Builds the registry.
    ///
    /// # Panics
    ///
    /// If a limit of the [`Config`] is 0 where nothing could work with it.
    #[track_caller]
    pub fn build(self) -> Realtime {
        self.config.check();
        let mut protocols: Vec<Arc<dyn Protocol>> = vec![
            Arc::new(Plain),
            Arc::new(Json),
            Arc::new(MessagePack),
            Arc::new(Events::Values),
            Arc::new(Events::Whole),
        ];
        protocols.extend(self.protocols);
        let node = self.node.unwrap_or_else(random);
        let mounted = self.mounts.into_iter().map(|(id, mount)| {
            let Mount { hooks, router, middleware, plain } = mount;
            let hooks = hooks.unwrap_or_else(|| Arc::new(NoHandler));
            let router = Arc::new(router.unwrap_or_default());
            (id.clone(), Arc::new(Mounted { id, plain, hooks, router, middleware }))
        });
        let registry = Registry {
            mounted: mounted.collect(),
            middleware: self.middleware.into_iter().map(|boxed| boxed.0).collect(),
            prefix: self.prefix,
        };
        let plan = Plan {
            config: self.config,
            registry,
            node,
            protocols,
            broker: self.broker,
            manual_time: self.manual_time,
        };
        Realtime(Arc::new(Hub::new(plan)))
    }
}

/// A connection keeps its protocol's place in a byte.
const MAX_PROTOCOLS: usize = 128;

/// Where the system has no randomness, node 0 must do: ids are names and no secrets.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}
