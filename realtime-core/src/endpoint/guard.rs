use super::Call;
use crate::{
    calls::{CallCore, ErasedGuard},
    config::{Key, RateLimit},
    seams::BoxFuture,
};
use realtime_protocol::Result;
use std::sync::Arc;

/// Decides whether a call, a subscription or an event is served: any `async fn(Call<S>) -> Result`, or a
/// [`RateLimit`](crate::RateLimit).
///
/// Middleware decides on connections and runs once for each; a guard decides on what is asked over them, before the
/// input is read.
///
/// # Examples
///
/// ```
/// use realtime_core::{Call, Endpoint, Error, Result};
///
/// #[derive(Clone)]
/// struct Admin;
///
/// async fn admins_only(call: Call<()>) -> Result {
///     call.context().var::<Admin>().map(|_| ()).ok_or_else(|| Error::permission_denied("for admins"))
/// }
///
/// let endpoint = Endpoint::new(()).guard(admins_only);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a guard of an `Endpoint<{S}>`",
    label = "expected `async fn(Call<{S}>) -> Result` or a `RateLimit`",
    note = "its future must be `Send`: nothing like `Rc` may be held across an `.await`"
)]
pub trait Guard<S>: Send + Sync + 'static {
    /// Lets a call through, or not.
    ///
    /// # Errors
    ///
    /// The answer to the call.
    fn check(&self, call: Call<S>) -> impl Future<Output = Result> + Send;
}

impl<S, F, R> Guard<S> for F
where
    F: Fn(Call<S>) -> R + Send + Sync + 'static,
    R: Future<Output = Result> + Send,
{
    fn check(&self, call: Call<S>) -> impl Future<Output = Result> + Send {
        self(call)
    }
}

impl<S: Send + Sync + 'static> Guard<S> for RateLimit {
    async fn check(&self, call: Call<S>) -> Result {
        let core = call.core();
        let connection = core.client().map(|client| client.id);
        let context = core.context();
        let key = Key { connection, peer: context.client_peer(), context: Some(context), name: &core.name };
        self.take(core.hub().clock.now(), key, self.cost_of(&core.name))
    }
}

pub(super) struct Guarded<S, G> {
    pub(super) state: Arc<S>,
    pub(super) guard: G,
}

impl<S: Send + Sync + 'static, G: Guard<S>> ErasedGuard for Guarded<S, G> {
    fn check(&self, call: &Arc<CallCore>) -> BoxFuture<'_, Result> {
        Box::pin(self.guard.check(Call::new(call, &self.state)))
    }
}
