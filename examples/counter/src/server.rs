//! The server: the count, and the permission to change it.

use crate::api::{CONFIRM, COUNT_CHANGED, Changed, ENDPOINT, GET_COUNT, RESET, UPDATE_COUNT};
use adapter_axum::{App, Serve};
use axum::Router;
use realtime_core::{
    Accepted, Call, Code, Context, Endpoint, Error, Next, Principal, Realtime, Reject, Result, Topic,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;

/// Builds the registry.
pub fn realtime() -> Realtime {
    let counter = Endpoint::described(Counter::default())
        .on_open(|connected| async move { connected.subscribe(&COUNTING) })
        .procedure(GET_COUNT, |call, ()| async move { Ok(*call.state().count()) })
        .procedure(UPDATE_COUNT, |call, by| async move { change(&call, |count| count.checked_add(by)) })
        .procedure(RESET, reset)
        .emits(COUNT_CHANGED)
        .asks(CONFIRM);
    Realtime::builder().middleware(name).endpoint(ENDPOINT, counter).build()
}

/// Sets the client's token as its [`Principal`], without checking it. That is enough to recognize the client, and its
/// idempotency keys, after a lost connection; an application with permissions needs a login.
async fn name(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    if let Some(token) = context.header("authorization").map(str::to_owned) {
        context.set(Principal(token));
    }
    next.run(context).await
}

/// Serves the counter until SIGINT or SIGTERM, or until the future of [`Serve::shutdown`] completes.
pub fn serve(listener: TcpListener, realtime: &Realtime) -> Serve<TcpListener, App<Router>> {
    adapter_axum::serve(listener, adapter_axum::routes(realtime), realtime)
}

#[derive(Debug, Default)]
struct Counter {
    count: Mutex<i64>,
}

/// The topic of all clients.
const COUNTING: Topic<()> = Topic::fixed("counting");

async fn reset(call: Call<Counter>, (): ()) -> Result<i64> {
    let question = format!("The count is {}. Reset it for all?", call.state().count());
    if !call.connection()?.call(CONFIRM, question).await? {
        return Err(Error::new(Code::ABORTED, "the reset was not confirmed"));
    }
    change(&call, |_| Some(0))
}

/// Changes the count and tells all other clients, under one lock, so that they receive changes in order.
fn change(call: &Call<Counter>, change: impl FnOnce(i64) -> Option<i64>) -> Result<i64> {
    let mut count = call.state().count();
    let too_far = || Error::failed_precondition(format!("the count is {count}, and cannot go so far"));
    let changed = change(*count).ok_or_else(too_far)?;
    let by = changed.saturating_sub(*count);
    *count = changed;
    call.to(&COUNTING).others().emit(COUNT_CHANGED, &Changed { by, count: changed })?;
    Ok(changed)
}

impl Counter {
    fn count(&self) -> MutexGuard<'_, i64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
