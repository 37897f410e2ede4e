//! The server of the TypeScript client's tests in browsers: one endpoint with a procedure, feeds, a stream, an event,
//! presence and a question, and a middleware that refuses on request. `client-ts/test` has the tests.

use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use realtime_core::{
    Accepted, Call, Code, Config, Cors, Endpoint, Error, Event, Feed, Log, Next, Origins, Presence, Procedure,
    Realtime, Reject, Result, Subscription, Topic,
};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Returns twice the number.
pub const DOUBLE: Procedure<i64, i64> = Procedure::query("double");

/// Appends a number to all feeds, and tells the other clients.
pub const APPEND: Procedure<u64, ()> = Procedure::new("append");

/// Asks the client [`CONFIRM`] and returns its answer.
pub const ASK: Procedure<String, bool> = Procedure::new("ask");

/// The server's question to the client.
pub const CONFIRM: Procedure<String, bool> = Procedure::new("confirm");

/// Counts down to 1.
pub const COUNTDOWN: Subscription<u32, u32> = Subscription::new("countdown");

/// Follows the appended numbers.
pub const NUMBERS: Subscription<(), Change> = Subscription::new("numbers");

/// Follows the appended numbers, beginning with their sum.
pub const SUM: Subscription<(), Change> = Subscription::new("sum");

/// Follows the appended numbers, of which only the last [`SHORT`] are kept.
pub const NEWEST: Subscription<(), Change> = Subscription::new("newest");

/// The number of entries kept for [`NEWEST`].
pub const SHORT: usize = 3;

/// Another client appended a number.
pub const APPENDED: Event<u64> = Event::new("appended");

/// The place of all clients.
pub const HERE: Presence<String> = Presence::fixed("here");

/// An appended number, or the sum of all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The sum so far.
    Sum(u64),
    /// A number.
    Appended(u64),
}

const ALL: Feed<Change> = Topic::fixed("all").log(Log::last(10_000));
const LAST: Feed<Change> = Topic::fixed("last").log(Log::last(SHORT));
const CLIENTS: Topic<()> = Topic::fixed("clients");

/// Builds the registry: the endpoint `browsers`.
///
/// Only 127.0.0.1 is a trusted proxy: the proxy runs on this machine. Pages of the given origins may connect, and use
/// HTTP.
pub fn realtime(origins: Vec<String>) -> Realtime {
    let mut config = Config::default();
    config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("it is a network")];
    if !origins.is_empty() {
        config.origins = Origins::List(origins);
        // The client sends cookies, as browsers do with every WebSocket.
        let mut cors = Cors::default();
        cors.credentials = true;
        config.cors = Some(cors);
    }
    Realtime::builder().config(config).middleware(refuse).endpoint("browsers", endpoint()).build()
}

fn endpoint() -> Endpoint<Sum> {
    Endpoint::new(Sum::default())
        .on_open(|connected| async move {
            connected.subscribe(&CLIENTS)?;
            connected.enter(&HERE, &connected.id().to_string())
        })
        .procedure(DOUBLE, |_, number| async move {
            number.checked_mul(2).ok_or_else(|| Error::invalid_argument(format!("{number} is too large")))
        })
        .procedure(APPEND, append)
        .procedure(ASK, |call, question| async move { call.connection()?.call(CONFIRM, question).await })
        .subscription(COUNTDOWN, |_, from| async move { Ok(stream::iter((1..=from).rev())) })
        .feed(NUMBERS, |_, ()| async { Ok(ALL.follow()) })
        .feed(NEWEST, |_, ()| async { Ok(LAST.follow()) })
        .feed(SUM, |call: Call<Sum>, ()| async move {
            Ok(ALL.follow().or_begin_with(move || async move { Ok(Change::Sum(*call.state().lock())) }))
        })
}

/// The sum of the appended numbers.
#[derive(Debug, Default)]
struct Sum(Mutex<u64>);

impl Sum {
    fn lock(&self) -> MutexGuard<'_, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn append(call: Call<Sum>, number: u64) -> Result {
    *call.state().lock() += number;
    call.append(&LAST, &Change::Appended(number)).await?;
    call.append(&ALL, &Change::Appended(number)).await?;
    call.to(&CLIENTS).others().emit(APPENDED, &number)
}

/// Refuses as the URL asks: `?refuse=401` clients without a token, `?refuse=429` all, `?refuse=websocket` WebSockets.
async fn refuse(context: realtime_core::Context, next: Next) -> Result<Accepted, Reject> {
    let asked = context.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("refuse=")));
    match asked {
        Some("401") if context.bearer().is_none() => Err(Reject::unauthorized()),
        Some("429") => {
            let busy = Error::new(Code::RESOURCE_EXHAUSTED, "too many requests");
            let refusal = Reject::new(StatusCode::TOO_MANY_REQUESTS, busy);
            Err(refusal.with_header(header::RETRY_AFTER, HeaderValue::from_static("2")))
        }
        // In HTTP/2 a request for a WebSocket has no `Upgrade`.
        Some("websocket") if context.header("sec-websocket-version").is_some() => {
            Err(Reject::forbidden("no WebSockets here"))
        }
        _ => next.run(context).await,
    }
}
