use super::lab::{Gate, Sight};
use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use realtime_core::{
    Call, Close, Connected, ConnectionId, Context, Endpoint, Error, Event, Gap, Item, Next, Overflow, Position,
    Procedure, Reject, Result, Subscription, Topic,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    task::{Poll, Waker},
    time::Duration,
};

/// The state of an endpoint that does as its clients command, and reports it.
#[derive(Debug)]
pub(crate) struct Api {
    sights: Sender<Sight>,
    /// The gate at which `on_open` waits.
    gate: Gate,
    /// The gates at which calls wait, by name.
    gates: Mutex<HashMap<String, Gate>>,
    feed: Feed,
    kept: Mutex<Option<Call<Api>>>,
}

/// A call from the server to a client.
pub(crate) const CONFIRM: Procedure<String, bool> = Procedure::new("confirm").with_timeout(Duration::from_secs(5));
/// The event that is published to the topics of the lab.
pub(crate) const SAID: Event<Said> = Event::new("SAID");

const ECHO: Procedure<String, String> = Procedure::new("echo").with_check(|text| short(text));
const TEXT: Procedure<usize, String> = Procedure::query("text");
const ADD: Procedure<Pair, i64> = Procedure::query("add");
const FAIL: Procedure<Failure, ()> = Procedure::new("fail");
const FAIL_INSIDE: Procedure<(), ()> = Procedure::new("fail_inside");
const PANIC: Procedure<When, ()> = Procedure::new("panic");
const UNSERIALISABLE: Procedure<(), Unserialisable> = Procedure::new("unserialisable");
const WAIT: Procedure<String, String> = Procedure::new("wait").with_timeout(Duration::from_secs(8));
const LET_GO: Procedure<String, ()> = Procedure::new("let_go");
const PROGRESS: Procedure<u32, u32> = Procedure::new("progress");
const KEEP: Procedure<(), ()> = Procedure::new("keep");
const REPORT_LATE: Procedure<(), String> = Procedure::new("report_late");
const ASK: Procedure<String, bool> = Procedure::new("ask").with_timeout(Duration::from_secs(60));
const PUSH: Procedure<Vec<Tick>, ()> = Procedure::new("push");
const JOIN: Procedure<String, ()> = Procedure::new("join");
const SAY: Procedure<Say, ()> = Procedure::new("say");

const COUNT: Subscription<u32, u32> = Subscription::new("count");
const NUMBERED: Subscription<(), u64> = Subscription::new("numbered");
const FAILING: Subscription<When, u32> = Subscription::new("failing");
const BROKEN: Subscription<(), Unserialisable> = Subscription::new("broken");
const IDLE: Subscription<String, ()> = Subscription::new("idle");
const SLOW_START: Subscription<String, u32> = Subscription::new("slow_start");
const ENDLESS: Subscription<(), u64> = Subscription::new("endless");
const FLOOD: Subscription<Flood, String> = Subscription::new("flood");
const FEED: Subscription<(), Tick> = Subscription::new("feed");
const NEWEST: Subscription<(), Tick> = Subscription::new("newest").with_overflow(Overflow::drop_oldest(2));
const NEWEST_OF_EACH: Subscription<(), Tick> =
    Subscription::new("newest_of_each").with_overflow(Overflow::conflate(|tick| tick.key.clone()));
const OR_END: Subscription<(), Tick> = Subscription::new("or_end").with_overflow(Overflow::close());

const SAY_TO_ROOM: Event<Said> = Event::new("SAY");
const NOTE: Event<Note> = Event::new("NOTE");

/// Returns the topic of the lab with this name.
pub(crate) fn room(name: &str) -> Topic<super::Reply> {
    Topic::new(name.to_owned())
}

#[derive(Debug, Deserialize)]
struct Pair {
    a: i64,
    b: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    code: String,
    message: String,
    details: Option<Value>,
    #[serde(default)]
    retryable: bool,
    retry_after_ms: Option<u64>,
}

/// The moment of a failure.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum When {
    /// Before a future or stream is returned.
    AtOnce,
    /// In the future or stream.
    Later,
    /// By a panic in the future or stream.
    Panicking,
    /// When the future or stream is dropped.
    Dropped,
}

/// A value that fails to serialise after its first part.
#[derive(Debug)]
struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeSeq};
        let mut begun = serializer.serialize_seq(Some(2))?;
        begun.serialize_element("secret")?;
        Err(S::Error::custom("a type does not serialise as it was told"))
    }
}

#[derive(Debug, Deserialize)]
struct Flood {
    count: usize,
    bytes: usize,
}

/// An item of the feeds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tick {
    key: String,
    value: u32,
    #[serde(skip_serializing)]
    offset: Option<u64>,
    /// The number of items missing before it.
    #[serde(skip_serializing)]
    missing: Option<u64>,
}

/// A text to publish to a topic.
#[derive(Debug, Deserialize)]
struct Say {
    topic: String,
    text: String,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    everyone: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// The sender, as set by the server, whatever the client sent.
    #[serde(default)]
    pub(crate) from: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Note {
    Text(String),
    /// Noted once the gate of this name is open.
    AtGate(String),
    Fail(String),
    Panic,
}

fn short(text: &str) -> Result {
    match text.len() {
        ..=200_000 => Ok(()),
        len => Err(Error::invalid_argument(format!("an echo of {len} bytes, and it takes 200000"))),
    }
}

/// Returns the endpoint, including its nested and merged endpoints.
pub(crate) fn endpoint(sights: &Sender<Sight>, gate: &Gate) -> Endpoint<Api> {
    let api = Api {
        sights: sights.clone(),
        gate: gate.clone(),
        gates: Mutex::default(),
        feed: Feed::default(),
        kept: Mutex::default(),
    };
    let endpoint = Endpoint::new(api).on_open(open);
    let endpoint = with_calls(endpoint);
    let endpoint = with_subscriptions(endpoint);
    let endpoint = endpoint.on(NOTE, note).on(SAY_TO_ROOM, say_to_room);
    endpoint.nest("admin", admin()).nest("slow", slow(sights, gate)).merge(merged())
}

/// Reports the end of each connection.
pub(crate) async fn on_close(connected: Connected<Api>, close: Close) {
    connected.state().saw(Sight::Closed(connected.id(), close));
}

fn with_calls(endpoint: Endpoint<Api>) -> Endpoint<Api> {
    endpoint
        .procedure(ECHO, |_, text: String| async move { Ok(text) })
        .procedure(TEXT, |_, bytes: usize| async move { Ok("x".repeat(bytes.min(100_000))) })
        .procedure(ADD, |_, pair: Pair| async move { Ok(pair.a + pair.b) })
        .procedure(FAIL, |_, failure: Failure| async move { Err(failure.into()) })
        .procedure(FAIL_INSIDE, |_, ()| async move { Ok(std::fs::read("/no such file, secret").map(drop)?) })
        .procedure(PANIC, panic)
        .procedure(UNSERIALISABLE, |_, ()| async move { Ok(Unserialisable) })
        .procedure(WAIT, |call: Call<Api>, name: String| async move {
            let _gone = call.state().began(&name);
            call.state().gate(&name).wait().await;
            Ok(name)
        })
        .procedure(LET_GO, |call: Call<Api>, name: String| async move {
            call.state().gate(&name).open();
            Ok(())
        })
        .procedure(PROGRESS, |call: Call<Api>, steps: u32| async move {
            (1..=steps).try_for_each(|step| call.progress(&step))?;
            Ok(steps)
        })
        .procedure(KEEP, |call: Call<Api>, ()| async move {
            *lock(&call.state().kept) = Some(call.clone());
            Ok(())
        })
        .procedure(REPORT_LATE, |call: Call<Api>, ()| async move {
            let kept = lock(&call.state().kept).take().ok_or_else(|| Error::not_found("no call was kept"))?;
            kept.over().await;
            let refused = kept.progress(&"too late").err();
            Ok(refused.map_or_else(String::new, |error| error.code().to_string()))
        })
        .procedure(
            ASK,
            |call: Call<Api>, question| async move { call.connection()?.call(CONFIRM, question).await },
        )
        .procedure(PUSH, |call: Call<Api>, ticks: Vec<Tick>| async move {
            call.state().feed.push(&ticks);
            Ok(())
        })
        .procedure(JOIN, |call: Call<Api>, name: String| async move { call.connection()?.subscribe(&room(&name)) })
        .procedure(SAY, say)
}

fn with_subscriptions(endpoint: Endpoint<Api>) -> Endpoint<Api> {
    endpoint
        .subscription(COUNT, |_, to: u32| async move { Ok(stream::iter(0..to)) })
        .subscription(NUMBERED, |call, ()| async move { Ok(numbered(call.after())) })
        .subscription(FAILING, failing)
        .subscription(BROKEN, |_, ()| async move { Ok(stream::iter([Unserialisable])) })
        .subscription(IDLE, |call: Call<Api>, name: String| async move {
            let gone = call.state().began(&name);
            Ok(stream::pending::<()>().inspect(move |()| _ = &gone))
        })
        .subscription(SLOW_START, |call: Call<Api>, name: String| async move {
            let gone = call.state().began(&name);
            call.state().gate(&name).wait().await;
            call.state().saw(Sight::Began("stream".into()));
            Ok(stream::iter(0..3).inspect(move |_| _ = &gone))
        })
        .subscription(ENDLESS, |_, ()| async move { Ok(stream::iter(0..)) })
        .subscription(FLOOD, |call: Call<Api>, flood: Flood| async move {
            let gone = call.state().began("flood");
            let item = move |at: usize| format!("{at}:{}", "x".repeat(flood.bytes));
            Ok(stream::iter((0..flood.count).map(item)).inspect(move |_| _ = &gone))
        })
        .subscription(FEED, feed)
        .subscription(NEWEST, feed)
        .subscription(NEWEST_OF_EACH, feed)
        .subscription(OR_END, feed)
}

/// An endpoint for requests with `x-role: admin`; the order of its methods does not matter.
fn admin() -> Endpoint<&'static str> {
    Endpoint::new("the admins'")
        .procedure(Procedure::new("secret"), |call: Call<&'static str>, _: u32| async move { Ok(*call.state()) })
        .subscription(Subscription::new("count"), |_, to: u32| async move { Ok(stream::iter(0..to)) })
        .on(Event::new("ADMIN"), |call: Call<&'static str>, ()| async move {
            call.connection()?.emit(Event::new("DONE"), &call.name().to_owned())
        })
        .guard(|call: Call<&'static str>| async move {
            let allowed = call.context().header("x-role") == Some("admin");
            allowed.then_some(()).ok_or_else(|| Error::permission_denied("for admins"))
        })
        .middleware(|mut context: Context, next: Next| async move {
            if context.header("x-role") == Some("nobody") {
                return Err(Reject::forbidden("nobody enters"));
            }
            enter(&mut context, "admin");
            next.run(context).await
        })
}

/// The endpoints whose middleware a request has passed.
#[derive(Clone, Debug, Default)]
struct Entered(Vec<&'static str>);

fn enter(context: &mut Context, door: &'static str) {
    let mut entered = context.var::<Entered>().cloned().unwrap_or_default();
    entered.0.push(door);
    context.set(entered);
}

/// An endpoint whose guard waits at the gate of the case.
fn slow(sights: &Sender<Sight>, gate: &Gate) -> Endpoint<Sender<Sight>> {
    let began = |call: &Call<Sender<Sight>>| drop(call.state().send(Sight::Began(call.name().to_owned())));
    let gate = gate.clone();
    Endpoint::new(sights.clone())
        .guard(move |_| {
            let gate = gate.clone();
            async move {
                gate.wait().await;
                Ok(())
            }
        })
        .procedure(Procedure::new("call"), move |call, ()| async move {
            began(&call);
            Ok(())
        })
        .subscription(Subscription::new("stream"), move |call, ()| async move {
            began(&call);
            Ok(stream::iter([1]))
        })
}

/// An endpoint with a guard of its own.
fn merged() -> Endpoint<u32> {
    Endpoint::new(7)
        .guard(|call: Call<u32>| async move {
            let allowed = call.context().header("x-merged").is_some();
            allowed.then_some(()).ok_or_else(Error::unauthenticated)
        })
        .procedure(Procedure::new("merged"), |call: Call<u32>, ()| async move { Ok(*call.state()) })
        .procedure(Procedure::new("entered"), |call: Call<u32>, ()| async move {
            Ok(call.context().var::<Entered>().map(|entered| entered.0.clone()))
        })
        .middleware(|mut context: Context, next: Next| async move {
            enter(&mut context, "merged");
            next.run(context).await
        })
}

impl Api {
    fn saw(&self, sight: Sight) {
        let _ = self.sights.send(sight);
    }

    /// Reports a start; the returned value reports the end when it is dropped.
    fn began(&self, name: &str) -> TellGone {
        self.saw(Sight::Began(name.to_owned()));
        TellGone(self.sights.clone(), name.to_owned())
    }

    fn gate(&self, name: &str) -> Gate {
        lock(&self.gates).entry(name.to_owned()).or_default().clone()
    }
}

struct TellGone(Sender<Sight>, String);

impl Drop for TellGone {
    fn drop(&mut self) {
        let _ = self.0.send(Sight::Gone(std::mem::take(&mut self.1)));
    }
}

async fn open(connected: Connected<Api>) -> Result {
    match connected.context().header("x-open") {
        Some("wait") => connected.state().gate.wait().await,
        Some("ask") if !connected.call(CONFIRM, "may it come in?".into()).await? => {
            return Err(Error::permission_denied("it may not"));
        }
        Some("fail") => return Err(Error::permission_denied("not today")),
        _ => {}
    }
    Ok(())
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let mut error = Self::new(failure.code, failure.message);
        if let Some(details) = failure.details {
            error = error.with_details(details);
        }
        if failure.retryable {
            error = error.with_retry();
        }
        match failure.retry_after_ms {
            Some(after) => error.with_retry_after(Duration::from_millis(after)),
            None => error,
        }
    }
}

fn panic(_: Call<Api>, when: When) -> impl Future<Output = Result> + Send {
    assert!(!matches!(when, When::AtOnce), "a procedure panics as it was told");
    async move {
        yield_now().await;
        match when {
            When::Dropped => {
                let _panics = PanicsWhenDropped;
                std::future::pending().await
            }
            _ => panic!("a call panics as it was told"),
        }
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("a drop panics as it was told");
    }
}

async fn say(call: Call<Api>, say: Say) -> Result {
    let except: Vec<ConnectionId> = say.except.iter().map(|id| id.parse()).collect::<Result<_>>()?;
    let connection = call.connection()?;
    let said = Said { text: say.text, from: Some(connection.id().to_string()) };
    let topic = room(&say.topic);
    let members = connection.to(&topic);
    let audience = if say.everyone { members } else { members.others() };
    audience.except(&except).emit(SAID, &said)
}

async fn say_to_room(call: Call<Api>, said: Said) -> Result {
    let from = call.connection_id().map(|id| id.to_string());
    call.to(&room("room")).others().emit(SAID, &Said { from, ..said })
}

async fn note(call: Call<Api>, note: Note) -> Result {
    let text = match note {
        Note::Text(text) => text,
        Note::AtGate(name) => {
            let _gone = call.state().began(&name);
            call.state().gate(&name).wait().await;
            name
        }
        Note::Fail(message) => return Err(Error::failed_precondition(message)),
        Note::Panic => panic!("an event panics as it was told"),
    };
    call.state().saw(Sight::Event(text));
    Ok(())
}

/// Yields the offsets 0 to 4 of the epoch `now`, after the client's position; all of them for another epoch.
fn numbered(after: Option<&Position>) -> impl Stream<Item = Item<u64>> + use<> {
    let known = after.filter(|position| position.epoch == "now");
    let mut gap = after.filter(|_| known.is_none()).map(|_| Gap::new(0, "epoch"));
    let from = known.map_or(0, |position| position.offset + 1);
    stream::iter(from..5).map(move |offset| {
        let item = Item::new(offset * 10).with_position(Position::new("now", offset));
        match gap.take() {
            Some(gap) => item.with_gap(gap),
            None => item,
        }
    })
}

async fn failing(_: Call<Api>, when: When) -> Result<BoxStream<'static, Result<u32>>> {
    let failed = || Error::failed_precondition("fails as it was told");
    match when {
        When::AtOnce => Err(failed()),
        When::Later => Ok(stream::iter([Ok(0), Ok(1), Err(failed()), Ok(2)]).boxed()),
        When::Panicking | When::Dropped => {
            let panics = |at| if at < 2 { Ok(at) } else { panic!("a stream panics as it was told") };
            Ok(stream::iter((0..3).map(panics)).boxed())
        }
    }
}

async fn feed(call: Call<Api>, (): ()) -> Result<impl Stream<Item = Item<Tick>> + Send> {
    let gone = call.state().began("feed");
    let listener = call.state().feed.listen();
    let ticks = stream::poll_fn(move |cx| {
        let _ = &gone;
        let mut listener = lock(&listener);
        if let Some(tick) = listener.ticks.pop_front() {
            return Poll::Ready(Some(tick));
        }
        listener.waker = Some(cx.waker().clone());
        Poll::Pending
    });
    Ok(ticks.map(|tick: Tick| {
        let (offset, missing) = (tick.offset, tick.missing);
        let mut item = Item::new(tick);
        if let Some(offset) = offset {
            item = item.with_position(Position::new("now", offset));
        }
        if let Some(missing) = missing {
            item = item.with_gap(Gap::new(missing, "lost"));
        }
        item
    }))
}

/// A feed that passes each item to all listeners.
#[derive(Debug, Default)]
struct Feed(Mutex<Vec<Arc<Mutex<Listener>>>>);

#[derive(Debug, Default)]
struct Listener {
    ticks: VecDeque<Tick>,
    waker: Option<Waker>,
}

impl Feed {
    fn listen(&self) -> Arc<Mutex<Listener>> {
        let listener = Arc::default();
        lock(&self.0).push(Arc::clone(&listener));
        listener
    }

    fn push(&self, ticks: &[Tick]) {
        let listeners = lock(&self.0).clone();
        for listener in listeners {
            let mut listener = lock(&listener);
            listener.ticks.extend(ticks.iter().cloned());
            let waker = listener.waker.take();
            drop(listener);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
