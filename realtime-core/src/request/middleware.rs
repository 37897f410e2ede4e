use super::Reject;
use crate::{context::Context, seams::BoxFuture, session::Service, util::panics::catch};
use http::HeaderMap;
use realtime_protocol::Error;
use std::{any::Any, fmt, future::poll_fn, sync::Arc, task::Poll};

/// Looks at a request before it becomes a connection: sets variables, refuses, or lets it through.
///
/// Runs before the 101, so a refusal is a real HTTP response. Any `async fn(Context, Next) ->
/// Result<Accepted, Reject>` is one.
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
///     let Some(token) = context.header("authorization") else { return Err(Reject::unauthorized()) };
///     let user = User(token.to_owned());
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
    /// Handles one request; [`Next::run`] goes on with it.
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

/// The rest of the way of a request: the middleware after this one, and the handler's input.
#[must_use = "a request that is neither let through nor refused cannot be answered"]
pub struct Next {
    pub(crate) rest: std::vec::IntoIter<Arc<dyn ErasedMiddleware>>,
    pub(crate) service: Arc<Service>,
    /// A session follows.
    pub(crate) opens: bool,
}

impl Next {
    /// Goes on with the request.
    ///
    /// # Errors
    ///
    /// The refusal of a later middleware, or 400 if the input does not fit the handler's type.
    pub async fn run(mut self, context: Context) -> Result<Accepted, Reject> {
        if let Some(middleware) = self.rest.next() {
            return middleware.handle_boxed(context, self).await;
        }
        if !self.opens {
            return Ok(Accepted { context, typed: Box::new(()), headers: HeaderMap::new() });
        }
        // The input's own `Deserialize` may panic.
        let typed = catch(|| self.service.hooks.open(&context)).map_err(|panic| Error::internal(panic.0))??;
        Ok(Accepted { context, typed, headers: HeaderMap::new() })
    }
}

/// Runs the whole chain; a panic in it is a refusal, and harms no other request of the connection.
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

/// A request that all have let through. It becomes a connection when the middleware returns it.
pub struct Accepted {
    pub(crate) context: Context,
    pub(crate) typed: Box<dyn Any + Send + Sync>,
    pub(crate) headers: HeaderMap,
}

impl Accepted {
    /// The request, with its variables.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The request, to set variables after the others have run.
    pub fn context_mut(&mut self) -> &mut Context {
        &mut self.context
    }

    /// Headers to add to the response that accepts the upgrade, a cookie for example.
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
