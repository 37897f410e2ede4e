use futures_util::stream;
use realtime_core::{Call, Endpoint, Event, Procedure, RateLimit, Realtime, Result, Subscription, Topic};
use std::{
    sync::atomic::{AtomicI64, Ordering::SeqCst},
    time::Duration,
};

pub const COUNT: Procedure<(), i64> = Procedure::query("count"); // changes nothing: GET is enough
pub const ADD: Procedure<i64, i64> = Procedure::new("add");
pub const COUNTDOWN: Subscription<u32, u32> = Subscription::new("countdown");
pub const ADDED: Event<i64> = Event::new("added");
pub const CONFIRM: Procedure<String, bool> = Procedure::new("confirm"); // the server asks the client
const WATCHERS: Topic<i64> = Topic::fixed("watchers");

async fn add(call: Call<AtomicI64>, amount: i64) -> Result<i64> {
    if amount > 100 && !call.connection()?.call(CONFIRM, format!("Add {amount}?")).await? {
        return Ok(call.state().load(SeqCst));
    }
    let count = call.state().fetch_add(amount, SeqCst) + amount;
    call.to(&WATCHERS).others().emit(ADDED, &amount)?;
    Ok(count)
}

pub fn realtime() -> Realtime {
    let api = Endpoint::new(AtomicI64::new(0))
        .on_open(|connected| async move { connected.subscribe(&WATCHERS) })
        .procedure(COUNT, |call, ()| async move { Ok(call.state().load(SeqCst)) })
        .procedure(ADD, add)
        .subscription(COUNTDOWN, |_, from| async move { Ok(stream::iter((0..from).rev())) }) // any `Stream`
        .guard(RateLimit::new(10, Duration::from_secs(1)).with_burst(50).by_peer());
    Realtime::builder().endpoint("api", api).build()
}
