use crate::{
    config::Config,
    endpoint::Endpoint,
    handler::{FnConnection, IntoMount, Mount, handler_fn},
    handles::Realtime,
    hub::{Hub, Plan},
    protocol::{Json, MessagePack, Protocol, Protocols},
    request::{ErasedMiddleware, Middleware, Registry},
    seams::Broker,
};
use realtime_protocol::Result;
use serde::{Serialize, de::DeserializeOwned};
#[cfg(feature = "schema")]
use std::panic::Location;
use std::{collections::HashMap, fmt, sync::Arc};

impl Realtime {
    /// Returns a builder with the default [`Config`] and nothing mounted.
    pub fn builder() -> RealtimeBuilder {
        RealtimeBuilder {
            config: Config::default(),
            mounts: Vec::new(),
            middleware: Vec::new(),
            protocols: Vec::new(),
            prefix: "/__realtime".into(),
            broker: None,
            node: None,
            schemas: HashMap::new(),
            manual_time: false,
        }
    }
}

/// Builds a [`Realtime`].
#[derive(Debug)]
#[must_use = "nothing is mounted before `build`"]
pub struct RealtimeBuilder {
    config: Config,
    mounts: Vec<(Box<str>, Mount)>,
    middleware: Vec<BoxedMiddleware>,
    protocols: Vec<Arc<dyn Protocol>>,
    prefix: Box<str>,
    broker: Option<Arc<dyn Broker>>,
    node: Option<u64>,
    schemas: HashMap<Box<str>, Arc<str>>,
    manual_time: bool,
}

struct BoxedMiddleware(Arc<dyn ErasedMiddleware>);

impl fmt::Debug for BoxedMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Middleware")
    }
}

impl RealtimeBuilder {
    /// Mounts a handler under an id: clients connect to `/__realtime/{id}`.
    ///
    /// # Panics
    ///
    /// If the id already has a handler, or does not consist of 1 to 64 letters, digits, `-`, `_`, `.` and `~`.
    #[track_caller]
    pub fn handler(mut self, id: &str, handler: impl IntoMount) -> Self {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        assert!(
            (1..=64).contains(&id.len()) && id.bytes().all(valid),
            "the id {id:?} is not of 1 to 64 letters, digits, '-', '_', '.' and '~'",
        );
        #[cfg_attr(not(feature = "schema"), expect(unused_mut, reason = "only schemas know of the place"))]
        let mut mount = handler.into_mount();
        #[cfg(feature = "schema")]
        mount.mounted(Location::caller());
        match self.mounts.iter_mut().find(|(taken, _)| **taken == *id) {
            Some((_, taken)) => taken.join(id, mount),
            None => self.mounts.push((id.into(), mount)),
        }
        self
    }

    /// Mounts an [`Endpoint`] under an id: clients connect to `/__realtime/{id}`, or call it by HTTP. The id may also
    /// have a [handler](Self::handler); then both are served on the same connections, and the middleware of both
    /// runs, in the order of mounting.
    ///
    /// # Panics
    ///
    /// See [`handler`](Self::handler).
    #[track_caller]
    pub fn endpoint<S: Send + Sync + 'static, D>(self, id: &str, endpoint: Endpoint<S, D>) -> Self {
        self.handler(id, endpoint)
    }

    /// Mounts an async function: see [`handler_fn`](crate::handler_fn()).
    ///
    /// # Panics
    ///
    /// See [`handler`](Self::handler).
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

    /// Adds a middleware for all handlers. It runs after the ones added before, and before the handlers' own.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(BoxedMiddleware(Arc::new(middleware)));
        self
    }

    /// Sets the limits.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Adds a wire format to the built-in ones. Clients select it by its subprotocol; an endpoint may also
    /// [require](Mount::protocol) one.
    ///
    /// # Panics
    ///
    /// If it has no subprotocol, or another protocol has the same.
    #[track_caller]
    pub fn protocol(mut self, protocol: impl Protocol) -> Self {
        let name = protocol.subprotocol();
        assert!(name.is_some(), "a protocol that has no subprotocol cannot be asked for");
        let built_in = [Json.subprotocol(), MessagePack.subprotocol()].contains(&name);
        let known = built_in || self.protocols.iter().any(|known| known.subprotocol() == name);
        assert!(!known, "two protocols have the subprotocol {name:?}");
        self.protocols.push(Arc::new(protocol));
        self
    }

    /// Sets the path under which adapters mount the handlers; `/__realtime` by default.
    ///
    /// # Panics
    ///
    /// If it does not start with a slash, or ends with one.
    #[track_caller]
    pub fn prefix(mut self, prefix: &str) -> Self {
        let valid = prefix.is_empty() || (prefix.starts_with('/') && !prefix.ends_with('/'));
        assert!(valid, "the prefix {prefix:?} must begin with a slash and not end with one");
        self.prefix = prefix.into();
        self
    }

    /// Links this node to others: publications reach the members on all nodes, and feeds are shared if the broker keeps logs.
    pub fn broker(mut self, broker: impl Broker) -> Self {
        self.broker = Some(Arc::new(broker));
        self
    }

    /// Sets this node's number in connection ids; random by default. Two nodes of a cluster must not have the same
    /// number.
    pub fn node(mut self, node: u64) -> Self {
        self.node = Some(node);
        self
    }

    /// Sets a hash of the types behind an id. Clients are sent it in `welcome`: a page that was built with other types
    /// knows from it that it is out of date.
    ///
    /// # Panics
    ///
    /// If the hash does not consist of 1 to 64 visible characters of ASCII. [`build`](Self::build) panics if nothing is
    /// mounted under the id.
    #[track_caller]
    pub fn with_schema(mut self, id: &str, hash: &str) -> Self {
        let valid = (1..=64).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(valid, "the hash {hash:?} does not consist of 1 to 64 visible characters of ASCII");
        self.schemas.insert(id.into(), hash.into());
        self
    }

    /// Stops the clock, which then advances only by [`Realtime::tick`]: for tests.
    #[doc(hidden)]
    pub fn manual_time(mut self) -> Self {
        self.manual_time = true;
        self
    }

    /// Builds the registry.
    ///
    /// # Panics
    ///
    /// If a limit of the [`Config`] is 0 and nothing could work with it, an id [with a schema](Self::with_schema) is
    /// not mounted, or two mounts have [one path](Mount::at).
    #[track_caller]
    pub fn build(self) -> Realtime {
        self.config.check();
        for id in self.schemas.keys() {
            assert!(self.mounts.iter().any(|(taken, _)| taken == id), "{id:?} has a schema, and is not mounted");
        }
        let mut protocols = Protocols::new(self.config.compression());
        for protocol in self.protocols {
            protocols.offer(protocol);
        }
        let (mut mounted, mut paths) = (HashMap::new(), HashMap::new());
        for (id, mut mount) in self.mounts {
            let own = mount.take_paths();
            let mount = Arc::new(mount.into_mounted(&id, &mut protocols));
            for path in own {
                let taken = paths.insert(path.clone(), Arc::clone(&mount.id));
                assert!(taken.is_none(), "two handlers have the path {path:?}");
            }
            mounted.insert(id, mount);
        }
        let registry = Registry {
            mounted,
            paths,
            middleware: self.middleware.into_iter().map(|boxed| boxed.0).collect(),
            prefix: self.prefix,
            schemas: self.schemas,
        };
        let plan = Plan {
            config: self.config,
            registry: Box::new(registry),
            node: self.node.unwrap_or_else(random),
            protocols,
            broker: self.broker,
            manual_time: self.manual_time,
        };
        Realtime::of(&Arc::new(Hub::new(plan)))
    }
}

/// Falls back to node 0 if the system has no randomness: ids are names, not secrets.
fn random() -> u64 {
    getrandom::u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "\"nobody\" has a schema, and is not mounted")]
    fn a_schema_belongs_to_something_that_is_mounted() {
        Realtime::builder().with_schema("nobody", "5eed").build();
    }

    #[test]
    #[should_panic(expected = "does not consist of 1 to 64 visible characters")]
    fn a_hash_is_short_and_visible() {
        let _ = Realtime::builder().with_schema("api", "5eed\n");
    }
}
