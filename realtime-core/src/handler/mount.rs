use super::{Handler, typed::HandlerHooks};
use crate::{
    calls::Router,
    describe::Messages,
    protocol::{Protocol, Protocols},
    request::{ErasedMiddleware, Middleware, Mounted},
    session::{Hooks, NoHandler, Service},
};
#[cfg(feature = "schema")]
use std::panic::Location;
use std::{fmt, sync::Arc};

/// A handler or an endpoint with its mount options: middleware and protocol.
///
/// Every [`Handler`] converts to one; [`handler_fn`](crate::handler_fn) returns one.
pub struct Mount {
    hooks: Option<Arc<dyn Hooks>>,
    router: Option<Router>,
    middleware: Vec<Arc<dyn ErasedMiddleware>>,
    protocol: Prescribed,
    paths: Vec<Box<str>>,
    /// The types of the handler.
    messages: Messages,
}

/// The protocol of the clients that connect.
enum Prescribed {
    /// The one that each client asks for.
    None,
    Plain,
    Other(Arc<dyn Protocol>),
}

impl Mount {
    /// Mounts without an envelope: one WebSocket message is one value.
    #[must_use = "the mount without an envelope is returned"]
    pub fn plain(mut self) -> Self {
        self.protocol = Prescribed::Plain;
        self
    }

    /// Sets the protocol of all connections, whatever subprotocol the client asks for. For clients with their own
    /// message format. A subprotocol of the protocol is confirmed to clients that ask for it.
    #[must_use = "the mount with the protocol is returned"]
    pub fn protocol(mut self, protocol: impl Protocol) -> Self {
        self.protocol = Prescribed::Other(Arc::new(protocol));
        self
    }

    /// Adds a path of its own, such as `/` or `/api/rpc`: clients connect there as well as under the id. The `routes` of
    /// each adapter serve it. Procedures and subscriptions are asked for with `?path=` there, or by `POST`. Below a nested
    /// router of axum it is the rest of the path.
    ///
    /// # Panics
    ///
    /// If it does not begin with a slash, or has other characters than letters, digits, `/`, `-`, `_`, `.` and `~`.
    /// [`build`](crate::RealtimeBuilder::build) panics if two mounts have the same path.
    #[must_use = "the mount with the path is returned"]
    #[track_caller]
    pub fn at(mut self, path: &str) -> Self {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
        assert!(
            path.starts_with('/') && path.bytes().all(valid),
            "the path {path:?} is not a slash and letters, digits, '/', '-', '_', '.' and '~'",
        );
        self.paths.push(path.into());
        self
    }

    /// Adds a middleware, which runs after the ones added before.
    #[must_use = "the mount with the middleware is returned"]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }

    /// Merges another mount under the same id.
    #[track_caller]
    pub(crate) fn join(&mut self, id: &str, other: Self) {
        assert!(self.hooks.is_none() || other.hooks.is_none(), "two handlers have the id {id:?}");
        assert!(self.router.is_none() || other.router.is_none(), "two endpoints have the id {id:?}");
        assert!(!self.protocol.is_some() || !other.protocol.is_some(), "{id:?} is mounted with two protocols");
        if other.protocol.is_some() {
            self.protocol = other.protocol;
        }
        assert!(
            !self.protocol.is_plain(),
            "{id:?} has an endpoint, which needs an envelope, and a plain handler, which has none"
        );
        if other.hooks.is_some() {
            (self.hooks, self.messages) = (other.hooks, other.messages);
        }
        self.router = self.router.take().or(other.router);
        self.middleware.extend(other.middleware);
        self.paths.extend(other.paths);
    }

    pub(crate) fn of_router(router: Router, middleware: Vec<Arc<dyn ErasedMiddleware>>) -> Self {
        Self {
            hooks: None,
            router: Some(router),
            middleware,
            protocol: Prescribed::None,
            paths: Vec::new(),
            messages: Messages::default(),
        }
    }

    /// Takes the paths of its own.
    pub(crate) fn take_paths(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.paths)
    }

    /// The same with the types of its handler.
    #[cfg(feature = "schema")]
    pub(super) fn with_messages(self, messages: Messages) -> Self {
        Self { messages, ..self }
    }

    /// Notes where the handler was mounted.
    #[cfg(feature = "schema")]
    pub(crate) fn mounted(&mut self, at: &'static Location<'static>) {
        self.messages.mounted(at);
    }

    /// Converts the mount into its entry in the registry.
    pub(crate) fn into_mounted(self, id: &str, protocols: &mut Protocols) -> Mounted {
        let protocol = match self.protocol {
            Prescribed::None => None,
            Prescribed::Plain => Some(protocols.plain()),
            Prescribed::Other(protocol) => Some(protocols.add(protocol)),
        };
        let messages = self.hooks.is_some().then_some(self.messages);
        let hooks = self.hooks.unwrap_or_else(|| Arc::new(NoHandler::Calls));
        let router = Arc::new(self.router.unwrap_or_default());
        let service = Arc::new(Service { hooks, router });
        Mounted { id: id.into(), protocol, service, middleware: self.middleware, messages }
    }
}

impl Prescribed {
    fn is_some(&self) -> bool {
        !matches!(self, Self::None)
    }

    fn is_plain(&self) -> bool {
        match self {
            Self::None => false,
            Self::Plain => true,
            Self::Other(protocol) => protocol.is_plain(),
        }
    }
}

/// A type that can be mounted: a [`Handler`], an [`Endpoint`](crate::Endpoint), or a [`Mount`] of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a realtime handler",
    label = "this needs `impl Handler for {Self}`",
    note = "implement `realtime_core::Handler` with `Input`, `ClientMessage`, `ServerMessage` and `on_message`, or use `handler_fn`"
)]
pub trait IntoMount {
    /// Converts the value into a mount.
    fn into_mount(self) -> Mount;
}

impl<H: Handler> IntoMount for H {
    fn into_mount(self) -> Mount {
        let hooks: Arc<dyn Hooks> = Arc::new(HandlerHooks(Arc::new(self)));
        Mount {
            hooks: Some(hooks),
            router: None,
            middleware: Vec::new(),
            protocol: Prescribed::None,
            paths: Vec::new(),
            messages: Messages::default(),
        }
    }
}

impl IntoMount for Mount {
    fn into_mount(self) -> Mount {
        self
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("plain", &self.protocol.is_plain()).finish_non_exhaustive()
    }
}
