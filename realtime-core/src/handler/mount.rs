use crate::calls::Router;
use crate::handler::{Handler, HandlerHooks};
use crate::request::{ErasedMiddleware, Middleware};
use crate::session::Hooks;
use std::{fmt, sync::Arc};

/// A handler or an endpoint and how it is mounted: its middleware, and whether it has an envelope.
///
/// Every [`Handler`] becomes one by itself; [`handler_fn`](crate::handler_fn) makes one.
pub struct Mount {
    pub(crate) hooks: Option<Arc<dyn Hooks>>,
    pub(crate) router: Option<Router>,
    pub(crate) middleware: Vec<Arc<dyn ErasedMiddleware>>,
    pub(crate) plain: bool,
}

impl Mount {
    /// Without an envelope: one WebSocket message is one value.
    #[must_use = "the mount without an envelope is returned"]
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Adds a middleware, which runs after those that were added before.
    #[must_use = "the mount with the middleware is returned"]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }

    /// Adds what is mounted under the same id.
    #[track_caller]
    pub(crate) fn join(&mut self, id: &str, other: Self) {
        assert!(self.hooks.is_none() || other.hooks.is_none(), "two handlers have the id {id:?}");
        assert!(self.router.is_none() || other.router.is_none(), "two endpoints have the id {id:?}");
        let plain = self.plain || other.plain;
        assert!(!plain, "{id:?} has an endpoint, whose frames a plain handler has no envelope for");
        self.hooks = self.hooks.take().or(other.hooks);
        self.router = self.router.take().or(other.router);
        self.middleware.extend(other.middleware);
    }
}

/// What can be mounted: a [`Handler`], an [`Endpoint`](crate::Endpoint), or a [`Mount`] of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a realtime handler",
    label = "this needs `impl Handler for {Self}`",
    note = "implement `realtime_core::Handler` with `Input`, `ClientMessage`, `ServerMessage` and `on_message`, or use `handler_fn`"
)]
pub trait IntoMount {
    /// The handler, and how it is mounted.
    fn into_mount(self) -> Mount;
}

impl<H: Handler> IntoMount for H {
    fn into_mount(self) -> Mount {
        let hooks: Arc<dyn Hooks> = Arc::new(HandlerHooks(Arc::new(self)));
        Mount { hooks: Some(hooks), router: None, middleware: Vec::new(), plain: false }
    }
}

impl IntoMount for Mount {
    fn into_mount(self) -> Mount {
        self
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("plain", &self.plain).finish_non_exhaustive()
    }
}
