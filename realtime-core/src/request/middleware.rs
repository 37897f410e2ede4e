use super::Reject;
use crate::{context::Context, protocol::Protocol, seams::BoxFuture, session::Service, util::panics::catch};
use http::HeaderMap;
use realtime_protocol::Error;
use std::{any::Any, fmt, future::poll_fn, sync::Arc, task::Poll};

/// Inspects a request before it becomes a connection: sets variables, refuses it, or passes it on.
///
/// It also decides on requests by HEAD, which ask whether a WebSocket would be let in, and open none.
///
/// Middleware runs before the 101, so a refusal is a normal HTTP response. Any `async fn(Context, Next) ->
/// Result<Accepted, Reject>` is a middleware.
///
/// # Examples
///
/// ```
/// use realtime_core::{Accepted, Context, Next, Reject};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// async fn require_login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
///     let Some(token) = context.bearer() else { return Err(Reject::unauthorized()) };
///     let user = User(token.into_owned());
///     context.set(user);
///     next.run(context).await
/// }
/// # let _ = realtime_core::Realtime::builder().middleware(require_login);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a realtime middleware",
    label = "expected `async fn(Context, Next) -> Result<Accepted, Reject>`",
    note = "its future must be `Send`: nothing like `Rc` may be held across an `.await`"
)]
pub trait Middleware: Send + Sync + 'static {
    /// Handles one request; [`Next::run`] passes it on.
    fn handle(&self, context: Context, next: Next) -> impl Future<Output = Result<Accepted, Reject>> + Send;
}

impl<F, R> Middleware for F
where
    F: Fn(Context, Next) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Accepted, Reject>> + Send,
{
    fn handle(&self, context: Context, next: Next) -> impl Future<Output = Result<Accepted, Reject>> + Send {
        self(context, next)
    }
}

/// The rest of a request's path: the later middleware and the handler's input.
#[must_use = "a request that is neither let through nor refused cannot be answered"]
pub struct Next {
    pub(crate) rest: std::vec::IntoIter<Arc<dyn ErasedMiddleware>>,
    pub(crate) service: Arc<Service>,
    /// The protocol of the session that follows, if one does.
    pub(crate) opens: Option<Arc<dyn Protocol>>,
}

impl Next {
    /// Passes the request on.
    ///
    /// # Errors
    ///
    /// The refusal of a later middleware, or 400 if the input does not fit the handler's type.
    pub async fn run(mut self, context: Context) -> Result<Accepted, Reject> {
        if let Some(middleware) = self.rest.next() {
            return middleware.handle_boxed(context, self).await;
        }
        let Some(protocol) = self.opens else {
            return Ok(Accepted { context, typed: Box::new(()), headers: HeaderMap::new() });
        };
        // The input's own `Deserialize` may panic.
        let typed = catch(|| self.service.hooks.open(&context, &*protocol))
            .map_err(|panic| Error::internal(panic.0))??;
        Ok(Accepted { context, typed, headers: HeaderMap::new() })
    }
}

/// Runs the whole chain. A panic in it refuses the request, and does not affect others on the same connection.
pub(crate) async fn run_caught(next: Next, context: Context) -> Result<Accepted, Reject> {
    let mut run = Box::pin(next.run(context));
    let panicked = |text| Error::internal(format!("middleware panicked: {text}"));
    poll_fn(|cx| match catch(|| run.as_mut().poll(cx)) {
        Ok(polled) => polled,
        Err(panic) => Poll::Ready(Err(panicked(panic.0).into())),
    })
    .await
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("middleware", &self.rest.len()).finish_non_exhaustive()
    }
}

/// A request that all middleware has accepted. It becomes a connection when the middleware chain returns it.
pub struct Accepted {
    pub(crate) context: Context,
    pub(crate) typed: Box<dyn Any + Send + Sync>,
    pub(crate) headers: HeaderMap,
}

impl Accepted {
    /// Returns the request, with its variables.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns the request, to set variables after the later middleware has run.
    pub fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// Returns the headers to add to the response that accepts the upgrade, for example a cookie.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("context", &self.context).finish_non_exhaustive()
    }
}

/// A [`Middleware`] without its type.
pub(crate) trait ErasedMiddleware: Send + Sync {
    fn handle_boxed(&self, context: Context, next: Next) -> BoxFuture<'_, Result<Accepted, Reject>>;
}

impl<M: Middleware> ErasedMiddleware for M {
    fn handle_boxed(&self, context: Context, next: Next) -> BoxFuture<'_, Result<Accepted, Reject>> {
        Box::pin(self.handle(context, next))
    }
}
