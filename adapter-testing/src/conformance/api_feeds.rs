use realtime_core::{
    Call, Config, Connection, Endpoint, Error, Feed, Handler, Log, Overflow, Position, Principal, Procedure,
    Realtime, RealtimeBuilder, Result, Subscription, Topic,
};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// An entry of the feeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// A change of the sum, or all of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Whole(i64),
    Added(i64),
}

/// The sum that the changes of a feed add up to, and what a case wants to happen in it.
#[derive(Debug, Default)]
struct State {
    sum: Mutex<i64>,
}

#[derive(Debug, Deserialize)]
struct Append {
    feed: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Followed {
    feed: String,
    after: Option<Position>,
}

const LOG: Subscription<String, Entry> = Subscription::new("log");
const SUM: Subscription<Begins, Change> = Subscription::new("sum");
const APPEND: Procedure<Append, ()> = Procedure::new("append");
const ADD: Procedure<i64, i64> = Procedure::new("add");
const LAST: Procedure<String, serde_json::Value> = Procedure::query("last");

/// The feed of the changes of the sum.
const CHANGES: Feed<Change> = Topic::fixed("changes").log(Log::last(3));

/// The way in which the state is loaded.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Begins {
    AtOnce,
    /// Something is appended while the state is loaded.
    WhileAnotherAdds,
    Fails,
}

/// A feed that keeps five entries for a minute. Its name says what happens to one who does not keep up.
pub(crate) fn feed(name: &str) -> Feed<Entry> {
    let feed = Topic::new(name.to_owned()).log(Log::last(5).within(Duration::from_secs(60)));
    match name.split(':').next() {
        Some("newest") => feed.with_overflow(Overflow::drop_oldest(2)),
        Some("each") => feed.with_overflow(Overflow::conflate(|entry| entry.key.clone())),
        Some("close") => feed.with_overflow(Overflow::close()),
        _ => feed,
    }
}

/// `feeds`, an endpoint; `follower`, a handler that follows feeds; `plain`, the same without an envelope; and `stateful`,
/// which begins with a state.
pub(crate) fn builder(change: impl FnOnce(&mut Config)) -> RealtimeBuilder {
    let mut config = Config::default();
    change(&mut config);
    let endpoint = Endpoint::new(State::default())
        .middleware(|mut context: realtime_core::Context, next: realtime_core::Next| async move {
            let user = context.header("x-user").unwrap_or("ann").to_owned();
            context.set(Principal(user));
            next.run(context).await
        })
        .feed(LOG, |_, name: String| async move { Ok(feed(&name).follow()) })
        .feed(SUM, sum)
        .procedure(APPEND, |call, append: Append| async move {
            for entry in &append.entries {
                call.append(&feed(&append.feed), entry).await?;
            }
            Ok(())
        })
        .procedure(ADD, add)
        .procedure(LAST, |call, name: String| async move {
            let feed = feed(&name);
            let history = call.history(&feed).last(2).await?;
            assert_eq!(call.position(&feed).await?, history.end);
            let values: Vec<_> = history.items.iter().map(|item| item.value.value.clone()).collect();
            Ok(serde_json::json!({ "values": values, "begin": history.begin.offset, "whole": history.whole }))
        });
    let builder = Realtime::builder().node(0xfeed).manual_time().config(config);
    builder
        .endpoint("feeds", endpoint)
        .handler("follower", Follower)
        .handler("plain", Follower.plain())
        .handler("stateful", Stateful)
}

async fn add(call: Call<State>, amount: i64) -> Result<i64> {
    let sum = {
        let mut sum = lock(&call.state().sum);
        *sum += amount;
        *sum
    };
    call.append(&CHANGES, &Change::Added(amount)).await?;
    Ok(sum)
}

async fn sum(call: Call<State>, begins: Begins) -> Result<realtime_core::Follow<Change>> {
    Ok(CHANGES.follow().or_begin_with(move || async move {
        match begins {
            Begins::AtOnce => {}
            Begins::WhileAnotherAdds => {
                add(call.clone(), 100).await?;
            }
            Begins::Fails => return Err(Error::unavailable("the state is away")),
        }
        let sum = *lock(&call.state().sum);
        Ok(Change::Whole(sum))
    }))
}

/// Follows what it is told to.
#[derive(Clone, Copy, Debug)]
struct Follower;

impl Handler for Follower {
    type Input = ();
    type ClientMessage = Followed;
    type ServerMessage = Entry;

    async fn on_message(&self, connection: &Connection<Self>, followed: Followed) -> Result {
        let begun = connection.follow(&feed(&followed.feed), followed.after.as_ref()).await?;
        let value = format!("{:?} at {}", begun.resumed, begun.position.offset);
        connection.send(Entry { key: "begun".into(), value })?;
        Ok(())
    }
}

/// Follows what it is told to, behind a state if the client cannot go on. Something is appended while that is made.
#[derive(Clone, Copy, Debug)]
struct Stateful;

impl Handler for Stateful {
    type Input = ();
    type ClientMessage = Followed;
    type ServerMessage = Entry;

    async fn on_message(&self, connection: &Connection<Self>, followed: Followed) -> Result {
        let feed = feed(&followed.feed);
        let state = || async {
            if followed.feed == "fails" {
                return Err(Error::unavailable("the state is away"));
            }
            connection.append(&feed, &Entry { key: "k".into(), value: "meanwhile".into() }).await?;
            Ok(Entry { key: "k".into(), value: "state".into() })
        };
        connection.follow_or_begin_with(&feed, followed.after.as_ref(), state).await?;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
