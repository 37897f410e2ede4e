//! The counter of chatter's README: two procedures, and a broadcast to all others.

mod cbor;
mod protocol;

pub use protocol::Chatter;

use realtime_core::{Call, Endpoint, Event, IntoMount, Mount, Procedure, Result, Topic};
use std::sync::{Mutex, MutexGuard, PoisonError};

const GET_COUNT: Procedure<(), i64> = Procedure::query("get_count");
const UPDATE_COUNT: Procedure<i64, i64> = Procedure::new("update_count");
/// The same name on the client: a broadcast calls a procedure of all, and waits for no answer.
const COUNT_UPDATED: Event<i64> = Event::new("update_count");
/// The client's own procedure, which the server calls.
const GREET_USER: Procedure<String, String> = Procedure::new("greet_user");
const GREET_ME: Procedure<String, String> = Procedure::new("greet_me");
const COUNTER: Topic<()> = Topic::fixed("counter");

/// Mounts the counter at the root, where the README's client connects.
pub fn mount() -> Mount {
    let counter = Endpoint::new(Mutex::new(0))
        .on_open(|connected| async move { connected.subscribe(&COUNTER) })
        .procedure(GET_COUNT, |call, ()| async move { Ok(*lock(&call)) })
        .procedure(UPDATE_COUNT, |call, amount| async move { update(&call, amount) })
        .procedure(GREET_ME, |call, name| async move { call.connection()?.call(GREET_USER, name).await });
    counter.into_mount().protocol(Chatter).at("/")
}

/// Adds to the count and tells the others under one lock, so that they hear of changes in order.
fn update(call: &Call<Mutex<i64>>, amount: i64) -> Result<i64> {
    let mut count = lock(call);
    *count = count.saturating_add(amount);
    call.to(&COUNTER).others().emit(COUNT_UPDATED, &amount)?;
    Ok(*count)
}

fn lock(call: &Call<Mutex<i64>>) -> MutexGuard<'_, i64> {
    call.state().lock().unwrap_or_else(PoisonError::into_inner)
}
