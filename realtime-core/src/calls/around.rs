use super::CallCore;
use crate::seams::BoxFuture;
use realtime_protocol::{Error, Result};
use std::{any::Any, fmt, sync::Arc};

/// The rest of a call's way: the later middleware, and the procedure, subscription or event.
#[must_use = "a call that is neither passed on nor refused cannot be answered"]
pub struct NextCall {
    call: Arc<CallCore>,
    rest: std::vec::IntoIter<Arc<dyn ErasedAround>>,
    last: Last,
}

/// Begins the function that is called.
type Last = Box<dyn FnOnce() -> Result<BoxFuture<'static, Result<Answered>>> + Send>;

impl NextCall {
    /// Passes the call on, and waits until it is answered: with the output of a procedure, the stream of a subscription,
    /// which has only begun then, or nothing for an event.
    ///
    /// # Errors
    ///
    /// The error of the call, or of a later middleware.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the call's.
    pub async fn run(mut self) -> Result<Answered> {
        match self.rest.next() {
            None => (self.last)()?.await,
            Some(next) => {
                let call = Arc::clone(&self.call);
                next.handle(&call, self).await
            }
        }
    }
}

impl fmt::Debug for NextCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextCall").field("middleware", &self.rest.len()).finish_non_exhaustive()
    }
}

/// The answer to a call, on its way to the caller. Returned by [`NextCall::run`].
pub struct Answered(Box<dyn Any + Send>);

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answered")
    }
}

/// An [`Around`](crate::Around) without its type.
pub(crate) trait ErasedAround: Send + Sync {
    fn handle(&self, call: &Arc<CallCore>, next: NextCall) -> BoxFuture<'_, Result<Answered>>;
}

/// Runs `start` behind middleware.
pub(super) fn run<T: Send + 'static>(
    around: Vec<Arc<dyn ErasedAround>>,
    call: &Arc<CallCore>,
    start: impl FnOnce() -> Result<BoxFuture<'static, Result<T>>> + Send + 'static,
) -> BoxFuture<'static, Result<T>> {
    let last = move || -> Result<BoxFuture<'static, Result<Answered>>> {
        let running = start()?;
        Ok(Box::pin(async move { Ok(Answered(Box::new(running.await?))) }))
    };
    let next = NextCall { call: Arc::clone(call), rest: around.into_iter(), last: Box::new(last) };
    Box::pin(async move {
        let Answered(answer) = next.run().await?;
        // A middleware may have kept the answer of another call.
        let other = |_| Error::internal("a middleware answered a call with the answer to one of another kind");
        answer.downcast().map(|answer| *answer).map_err(other)
    })
}
