use crate::{
    handler::Handler,
    middleware::{ErasedMiddleware, Middleware},
    session::{HandlerHooks, Hooks},
};
use std::{fmt, sync::Arc};

/// A handler and how it is mounted: its middleware, and whether it has an envelope.
///
/// Every [`Handler`] becomes one by itself; [`handler_fn`](crate::handler_fn) makes one.
pub struct Mount {
    pub(crate) hooks: Arc<dyn Hooks>,
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
}

/// What can be mounted: a [`Handler`], or a [`Mount`] of one.
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
        Mount { hooks: Arc::new(HandlerHooks(Arc::new(self))), middleware: Vec::new(), plain: false }
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
