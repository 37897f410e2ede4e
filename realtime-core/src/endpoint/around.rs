use super::{Call, Endpoint};
use crate::{
    calls::{Answered, CallCore, ErasedAround, NextCall},
    seams::BoxFuture,
};
use realtime_protocol::Result;
use std::sync::Arc;

/// A middleware around calls, subscriptions and events: any `async fn(Call<S>, NextCall) -> Result<Answered>`.
///
/// It runs once for each call that the [guards](crate::Guard) have let through, over a WebSocket or by HTTP, before the input
/// is read, and sees how it ends. Of a subscription it sees the beginning, not the items. Of calls with one idempotency key it
/// sees the one that runs.
///
/// A call that is cancelled, late or left by its client is dropped, and so is the future of the middleware: what must happen
/// then too belongs in a `Drop`.
///
/// # Examples
///
/// ```
/// use realtime_core::{Answered, Call, Endpoint, Error, NextCall, Result};
///
/// async fn log<S>(call: Call<S>, next: NextCall) -> Result<Answered> {
///     let start = call.realtime().now();
///     let outcome = next.run().await;
///     let code = outcome.as_ref().err().map(|error| error.code().clone());
///     let user = call.context().principal();
///     println!("{} by {user:?}: {code:?} in {:?}", call.name(), call.realtime().now() - start);
///     outcome
/// }
///
/// struct Transaction(u64);
///
/// async fn in_a_transaction<S: Send + Sync>(call: Call<S>, next: NextCall) -> Result<Answered> {
///     call.set(Transaction(7)); // the procedure takes it with `call.var::<Transaction>()`
///     let outcome = next.run().await;
///     // Commit it if `outcome.is_ok()`.
///     outcome
/// }
///
/// let endpoint = Endpoint::new(()).around(log).around(in_a_transaction);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no middleware around the calls of an `Endpoint<{S}>`",
    label = "expected `async fn(Call<{S}>, NextCall) -> Result<Answered>`",
    note = "its future must be `Send`: nothing like `Rc` may be held across an `.await`"
)]
pub trait Around<S>: Send + Sync + 'static {
    /// Handles one call; [`NextCall::run`] passes it on.
    fn handle(&self, call: Call<S>, next: NextCall) -> impl Future<Output = Result<Answered>> + Send;
}

impl<S, F, R> Around<S> for F
where
    F: Fn(Call<S>, NextCall) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Answered>> + Send,
{
    fn handle(&self, call: Call<S>, next: NextCall) -> impl Future<Output = Result<Answered>> + Send {
        self(call, next)
    }
}

impl<S: Send + Sync + 'static, D> Endpoint<S, D> {
    /// Adds a middleware around each call, subscription and event of this endpoint and of those nested in it, inside of those
    /// that were added before. The order among the other methods does not matter.
    pub fn around(mut self, around: impl Around<S>) -> Self {
        self.layers.around.push(Arc::new(Layer { state: Arc::clone(&self.state), around }));
        self
    }
}

/// Variables of one call: those that a guard or a middleware sets are there for the function that is called.
impl<S> Call<S> {
    /// Returns the variable of type `T` of this call.
    pub fn var<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.core().variables.get()
    }

    /// Sets the variable of type `T` of this call, in place of a previous one.
    pub fn set<T: Send + Sync + 'static>(&self, value: T) {
        self.core().variables.set(value);
    }
}

struct Layer<S, A> {
    state: Arc<S>,
    around: A,
}

impl<S: Send + Sync + 'static, A: Around<S>> ErasedAround for Layer<S, A> {
    fn handle(&self, call: &Arc<CallCore>, next: NextCall) -> BoxFuture<'_, Result<Answered>> {
        Box::pin(self.around.handle(Call::new(call, &self.state), next))
    }
}
