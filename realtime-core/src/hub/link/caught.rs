use crate::{
    seams::{BoxFuture, Runtime},
    util::panics::catch,
};
use realtime_protocol::{Error, Result};
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// The time that a broker has to answer, where nothing else bounds it: a call that is never answered holds up all behind it. It
/// is longer than the failover of a broker, and than the limits that brokers have of their own.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Waits for the broker's answer to a call about some names, up to a limit.
///
/// # Errors
///
/// `UNAVAILABLE` if there is none in time; it says which call that was, about what and for how long.
pub(in crate::hub) async fn answered<'a, T>(
    runtime: &Arc<dyn Runtime>,
    limit: Duration,
    call: &str,
    names: impl ExactSizeIterator<Item = &'a str>,
    answer: impl Future<Output = T>,
) -> Result<T> {
    within(runtime, limit, answer).await.ok_or_else(|| unanswered(call, names, limit))
}

/// Returns the error of a call that the broker has not answered.
pub(in crate::hub) fn unanswered<'a>(
    call: &str,
    mut names: impl ExactSizeIterator<Item = &'a str>,
    waited: Duration,
) -> Error {
    let more = names.len().saturating_sub(1);
    let name = names.next().unwrap_or_default();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let waited = waited.as_secs_f32();
    let text = format!("the broker has not answered `{call}` about {name:?}{more} for {waited} s");
    Error::unavailable("the broker did not answer in time").with_source(text)
}

/// Runs a future with a timeout; `None` if it is over first.
pub(in crate::hub) async fn within<T>(
    runtime: &Arc<dyn Runtime>,
    timeout: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut late = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let late: &mut BoxFuture<'static> = late.get_or_insert_with(|| runtime.sleep(timeout));
        late.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Calls the broker; a panic in it, at any point, is an error, and the link goes on. What was asked for may have been
/// done: the conversion of the error has to say so.
pub(in crate::hub) fn caught<'a, T, E: From<Error>>(
    call: impl FnOnce() -> BoxFuture<'a, Result<T, E>>,
) -> Caught<'a, T, E> {
    Caught(catch(call).map_err(|panic| Some(Error::internal(panic.0))))
}

pub(in crate::hub) struct Caught<'a, T, E>(Result<BoxFuture<'a, Result<T, E>>, Option<Error>>);

impl<T, E: From<Error>> Future for Caught<'_, T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        match &mut self.0 {
            Ok(future) => catch(|| future.as_mut().poll(cx))
                .unwrap_or_else(|panic| Poll::Ready(Err(Error::internal(panic.0).into()))),
            Err(error) => error.take().map_or(Poll::Pending, |error| Poll::Ready(Err(error.into()))),
        }
    }
}

impl<T, E> Drop for Caught<'_, T, E> {
    fn drop(&mut self) {
        let future = std::mem::replace(&mut self.0, Err(None));
        if let Err(panic) = catch(|| drop(future)) {
            tracing::error!(panic = panic.0, "a broker panicked while its future was dropped");
        }
    }
}
