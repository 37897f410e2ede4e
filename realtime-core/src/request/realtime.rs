use super::{Answer, Registry, Reject, Upgrade, upgrade};
#[cfg(feature = "schema")]
use crate::describe::Description;
use crate::{
    context::{Context, Ending},
    handles::Realtime,
    seams::Runtime,
};
use bytes::Bytes;
use futures_core::Stream;
use std::sync::Arc;

/// Methods for adapters.
impl Realtime {
    /// Runs the checks and the middleware of a WebSocket request. For adapters, which bring the runtime for the clock
    /// and the link to the broker.
    ///
    /// # Errors
    ///
    /// The response that refuses the request.
    pub async fn upgrade(&self, mut context: Context, runtime: impl Runtime) -> Result<Upgrade, Reject> {
        self.start(runtime);
        self.resolve(&mut context);
        upgrade(&self.0, context).await
    }

    /// Answers a request of any kind: upgrades it to a WebSocket, opens an event stream, or makes a call by HTTP. For
    /// adapters, which bring the runtime for the sessions of event streams, the clock and the link to the broker.
    ///
    /// The body of a call is read. Before a refusal the rest of the body is discarded, within
    /// [`Config::discarded_bytes`](crate::Config::discarded_bytes), so that the client sees the answer. A body that
    /// the client holds back with `Expect: 100-continue` is not polled then; if the framework has already sent the
    /// 100, leave the header out.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call it makes.
    pub async fn answer<B, E>(&self, mut context: Context, body: &mut B, runtime: impl Runtime) -> Answer
    where
        B: Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    {
        let mut runtime = Some(runtime);
        self.0.start(|| Arc::new(runtime.take().expect("a hub takes one runtime")));
        self.resolve(&mut context);
        // The given runtime, even if the hub keeps one of another thread.
        super::answer(&self.0, context, body, |task| match &runtime {
            Some(runtime) => runtime.spawn(task),
            None => self.0.spawn(task),
        })
        .await
    }

    fn resolve(&self, context: &mut Context) {
        Registry::of(&self.0).locate(context);
        let config = &self.0.config;
        context.resolve_client(&config.trusted_proxies, config.forwarding_header);
    }

    /// Returns the path under which adapters mount the handlers, without a trailing slash.
    pub fn prefix(&self) -> &str {
        &Registry::of(&self.0).prefix
    }

    /// Returns the [paths of their own](crate::Mount::at) that handlers have, which adapters route as well.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        Registry::of(&self.0).paths.keys().map(|path| &**path)
    }

    /// Returns the ids of what is mounted, for adapters whose framework finds a fixed path faster than one with a pattern.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        Registry::of(&self.0).mounted.keys().map(|id| &**id)
    }

    /// The names of what is mounted and the schemas of their types, sorted by id. For `realtime-schema`.
    #[cfg(feature = "schema")]
    pub fn descriptions(&self) -> Vec<Description> {
        let mut mounted: Vec<_> = Registry::of(&self.0).mounted.values().collect();
        mounted.sort_unstable_by_key(|mounted| &mounted.id);
        mounted.into_iter().flat_map(|mounted| mounted.descriptions()).collect()
    }
}

/// A route on which an adapter serves a [`Realtime`], with the last segments of its path.
#[derive(Clone, Debug)]
pub struct Route {
    realtime: Realtime,
    ending: Ending,
}

impl Route {
    /// Creates a route whose path ends so.
    pub fn new(realtime: &Realtime, ending: Ending) -> Self {
        Self { realtime: realtime.clone(), ending }
    }

    /// Answers a request: see [`Realtime::answer`].
    ///
    /// # Cancel safety
    ///
    /// As of [`Realtime::answer`].
    pub async fn answer<B, E>(&self, context: Context, body: &mut B, runtime: impl Runtime) -> Answer
    where
        B: Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    {
        self.realtime.answer(context.with_ending(self.ending), body, runtime).await
    }
}
