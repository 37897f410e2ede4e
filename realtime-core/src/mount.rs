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

impl<H: Handler> From<H> for Mount {
    fn from(handler: H) -> Self {
        Self { hooks: Arc::new(HandlerHooks(Arc::new(handler))), middleware: Vec::new(), plain: false }
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount").field("plain", &self.plain).finish_non_exhaustive()
    }
}
