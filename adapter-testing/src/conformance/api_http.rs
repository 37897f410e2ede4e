use super::{Gate, client::PATIENCE};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderValue, header};
use realtime_core::{
    Accepted, Call, Close, Config, Connected, Connection, Context, Endpoint, Error, Event, Gap, Handler, Item,
    Message, Next, Position, Principal, Procedure, Realtime, RealtimeBuilder, Reject, Result, Subscription, Topic,
};
use serde::{Deserialize, Serialize};
use std::{
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc::{Receiver, Sender, channel},
    },
    task::{Poll, Waker},
    time::Duration,
};

const ECHO: Procedure<Echoed, Echoed> = Procedure::query("echo");
const SEVEN: Procedure<(), u32> = Procedure::query("seven");
const COOKIES: Procedure<(), [Option<String>; 2]> = Procedure::query("cookies");
const DESCRIBE: Procedure<(), Described> = Procedure::query("describe");
const FAIL: Procedure<Failing, ()> = Procedure::new("fail");
const FAIL_INSIDE: Procedure<(), ()> = Procedure::query("fail_inside");
const PANIC: Procedure<bool, ()> = Procedure::query("panic");
const BROKEN: Procedure<(), Broken> = Procedure::query("broken");
const PANIC_READING: Procedure<Panics, ()> = Procedure::query("panic_reading");
const PANIC_WRITING: Procedure<(), Panics> = Procedure::query("panic_writing");
const HANG: Procedure<(), ()> = Procedure::new("hang");
const SHORT: Procedure<(), ()> = Procedure::new("short").with_timeout(Duration::from_secs(2));
const COUNT: Procedure<Counting, usize> = Procedure::new("count");
const SECRET: Procedure<(), String> = Procedure::query("secret");
const SEND: Procedure<Sent, Said> = Procedure::new("messages.send");

const EVENTS: Subscription<Room, RoomEvent> = Subscription::new("events");
const TICKS: Subscription<u64, u64> = Subscription::new("ticks");
const MISSED: Subscription<(), u32> = Subscription::new("missed");
const BREAKS: Subscription<(), u32> = Subscription::new("breaks");
const REFUSED: Subscription<(), u32> = Subscription::new("refused");
const PANICS: Subscription<(), u32> = Subscription::new("panics");
const QUIET: Subscription<(), u32> = Subscription::new("quiet");
const FEED: Subscription<(), u32> = Subscription::new("feed");

/// The topic of the members of `http`.
pub(crate) const NEWS: Topic<String> = Topic::fixed("news");

const NOTIFICATION: Event<serde_json::Value> = Event::new("notification");
pub(crate) const CHAT: Event<String> = Event::new("chat");
const TYPING: Event<String> = Event::new("typing");
/// Needs a connection.
const WAVE: Event<()> = Event::new("wave");
/// For admins.
const REBOOT: Event<()> = Event::new("reboot");
const WATCHED: Event<bool> = Event::new("watched");
/// Named as what the library says itself.
const WARNING: Event<String> = Event::new("error");
const COMPLETE: Event<String> = Event::new("complete");

/// Returns the registry of the HTTP cases: `http`, with procedures, subscriptions and a handler, and `text`, without an
/// envelope. The header `x-user` identifies the caller.
pub(crate) fn builder(change: impl FnOnce(&mut Config)) -> (RealtimeBuilder, Notes, Gate) {
    let (notes, seen) = channel();
    let gate = Gate::default();
    let lab = Lab { notes: notes.clone(), gate: gate.clone(), runs: AtomicUsize::new(0), said: Arc::default() };
    let mut config = Config::default();
    change(&mut config);
    let builder = Realtime::builder().node(0xc0ffee).manual_time().config(config).middleware(login);
    let talks = Talks(notes, gate.clone());
    let builder = builder.endpoint("http", endpoint(lab)).handler("http", talks).handler("text", Text.plain());
    (builder, Notes(seen), gate)
}

/// The log of the application's events, for the case.
#[derive(Debug)]
pub(crate) struct Notes(Receiver<String>);

impl Notes {
    #[track_caller]
    pub(crate) fn expect(&self, note: &str) {
        assert_eq!(self.0.recv_timeout(PATIENCE).as_deref(), Ok(note));
    }

    #[track_caller]
    pub(crate) fn next(&self) -> String {
        self.0.recv_timeout(PATIENCE).expect("a note")
    }

    #[track_caller]
    pub(crate) fn nothing_more(&self) {
        assert_eq!(self.0.try_recv().ok(), None);
    }
}

struct Lab {
    notes: Sender<String>,
    gate: Gate,
    runs: AtomicUsize,
    said: Arc<Mutex<History>>,
}

impl Lab {
    fn note(&self, note: impl Into<String>) {
        // The case may be over.
        let _ = self.notes.send(note.into());
    }

    /// Returns a value that logs its drop.
    fn held(&self, what: &'static str) -> Held {
        Held(self.notes.clone(), what)
    }
}

struct Held(Sender<String>, &'static str);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.send(format!("dropped {}", self.1));
    }
}

#[derive(Clone)]
struct User(String);

async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    match context.header("x-user") {
        Some("nobody") => {
            let challenge = HeaderValue::from_static("Bearer");
            return Err(Reject::unauthorized().with_header(header::WWW_AUTHENTICATE, challenge));
        }
        Some("early") => {
            return Err(Error::resource_exhausted("too early").with_retry_after(Duration::from_secs(9)).into());
        }
        Some("stuck") => pending::<()>().await,
        Some("panics") => panic!("a secret in a panic"),
        Some(user) => {
            let user = user.to_owned();
            context.set(Principal(user.clone()));
            context.set(User(user));
        }
        None => {}
    }
    let varies = context.header("x-user") == Some("varies");
    let mut accepted = next.run(context).await?;
    accepted.headers_mut().insert("x-lab", HeaderValue::from_static("seen"));
    if varies {
        accepted.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Language"));
        accepted.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    }
    Ok(accepted)
}

async fn admins_only(call: Call<()>) -> Result {
    match call.context().var::<User>() {
        None => Err(Error::unauthenticated()),
        Some(User(name)) if name == "admin" => Ok(()),
        Some(_) => Err(Error::permission_denied("for admins")),
    }
}

fn endpoint(lab: Lab) -> Endpoint<Lab> {
    let admin = Endpoint::new(())
        .guard(admins_only)
        .on(REBOOT, |_, ()| async { Ok(()) })
        .procedure(SECRET, |_, ()| async { Ok("the secret".to_owned()) })
        .subscription(FEED, |_, ()| async { Ok(stream::iter([1_u32])) });
    let endpoint = Endpoint::new(lab)
        .procedure(ECHO, |_, input| async { Ok(input) })
        .procedure(SEVEN, |_, ()| async { Ok(7) })
        .procedure(COOKIES, |call: Call<Lab>, ()| async move {
            let context = call.context();
            Ok([context.header("cookie"), context.cookie("session")].map(|text| text.map(str::to_owned)))
        })
        .procedure(DESCRIBE, |call: Call<Lab>, ()| async move { Ok(Described::of(&call)) })
        .procedure(FAIL, |_, input: Failing| async { Err(input.into()) })
        .procedure(FAIL_INSIDE, |_, ()| async { Ok(std::fs::read("/no such file, secret").map(drop)?) })
        .procedure(PANIC, |_, at_once: bool| {
            assert!(!at_once, "a secret in a panic");
            async { panic!("a secret in a panic") }
        })
        .procedure(BROKEN, |_, ()| async { Ok(Broken) })
        .procedure(PANIC_READING, |_, _| async { Ok(()) })
        .procedure(PANIC_WRITING, |_, ()| async { Ok(Panics) })
        .procedure(HANG, |call: Call<Lab>, ()| async move { hang(&call, "hang").await })
        .procedure(SHORT, |call: Call<Lab>, ()| async move { hang(&call, "short").await })
        .procedure(COUNT, count)
        .procedure(SEND, send);
    let endpoint = endpoint
        .subscription(EVENTS, |call: Call<Lab>, room: Room| async move { Ok(room_events(&call, room)) })
        .subscription(TICKS, ticks)
        .subscription(MISSED, |_, ()| async {
            Ok(stream::iter([Item::new(1), Item::new(2).with_gap(Gap::new(3, "expired"))]))
        })
        .subscription(BREAKS, |_, ()| async { Ok(stream::iter([Ok(1), Err(Error::not_found("no more"))])) })
        .subscription(REFUSED, |_, ()| async {
            Err::<stream::Empty<u32>, _>(
                Error::unavailable("not now").with_retry_after(Duration::from_millis(1001)),
            )
        })
        .subscription(PANICS, |_, ()| async {
            Ok(stream::poll_fn(|_| -> Poll<Option<u32>> { panic!("a secret in a panic") }))
        })
        .subscription(QUIET, |call: Call<Lab>, ()| async move {
            let held = call.state().held("quiet");
            Ok(stream::poll_fn(move |_| -> Poll<Option<u32>> {
                let _ = &held;
                Poll::Pending
            }))
        });
    let endpoint = endpoint
        .on(TYPING, |call: Call<Lab>, text| async move {
            let user = call.context().var::<User>().map_or("nobody", |User(name)| name);
            call.state().note(format!("{user} types {text}"));
            Ok(())
        })
        .on(WAVE, |call: Call<Lab>, ()| async move {
            call.connection()?.emit(CHAT, &"hi".to_owned())?;
            Ok(())
        })
        .on(WATCHED, |call: Call<Lab>, panics| async move {
            assert!(!panics, "a secret in a panic");
            hang(&call, "watched").await
        });
    endpoint.nest("admin", admin).on_close(|connected: Connected<Lab>, close: Close| async move {
        connected.state().note(format!("left {}", close.code.get()));
    })
}

async fn hang(call: &Call<Lab>, what: &'static str) -> Result {
    let _held = call.state().held(what);
    call.state().note(format!("began {what}"));
    pending().await
}

async fn count(call: Call<Lab>, input: Counting) -> Result<usize> {
    let run = call.state().runs.fetch_add(1, SeqCst) + 1;
    call.state().note(format!("ran {run}"));
    if input.wait {
        call.state().gate.wait().await;
    }
    match run <= input.fails {
        true => Err(Error::unavailable("try again")),
        false => Ok(run),
    }
}

async fn ticks(call: Call<Lab>, count: u64) -> Result<impl Stream<Item = Item<u64>>> {
    let first = call.after().map_or(1, |after| after.offset + 1);
    let item = |number| Item::new(number).with_position(Position::new("lab", number)).with_event("tick");
    Ok(stream::iter(first..=count).map(item))
}

async fn send(call: Call<Lab>, sent: Sent) -> Result<Said> {
    let said = call.state().said.lock().unwrap_or_else(PoisonError::into_inner).add(sent);
    Ok(said.message)
}

/// Yields the events of a room from now on.
fn room_events(call: &Call<Lab>, room: Room) -> impl Stream<Item = RoomEvent> + use<> {
    let said = Arc::clone(&call.state().said);
    let lock = |said: &Arc<Mutex<History>>| said.lock().unwrap_or_else(PoisonError::into_inner).events.len();
    let mut next = lock(&said);
    stream::poll_fn(move |cx| {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(event) = said.events.get(next) {
            next += 1;
            if event.room_id == room.room_id {
                return Poll::Ready(Some(event.clone()));
            }
        }
        said.waiting.push(cx.waker().clone());
        Poll::Pending
    })
}

#[derive(Default)]
struct History {
    events: Vec<RoomEvent>,
    waiting: Vec<Waker>,
}

impl History {
    fn add(&mut self, sent: Sent) -> RoomEvent {
        let id = format!("m{}", self.events.len() + 1);
        let message = Said { id, username: sent.username, content: sent.content, timestamp: 1_700_000_000 };
        let event = RoomEvent { kind: "message".into(), room_id: sent.room_id, message };
        self.events.push(event.clone());
        self.waiting.drain(..).for_each(Waker::wake);
        event
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Echoed {
    name: String,
    number: u32,
}

#[derive(Serialize, Deserialize)]
struct Described {
    method: String,
    user: Option<String>,
    peer: bool,
    connection: bool,
}

impl Described {
    fn of(call: &Call<Lab>) -> Self {
        Self {
            method: call.context().method().to_string(),
            user: call.context().var::<User>().map(|User(name)| name.clone()),
            peer: call.context().peer().is_some(),
            connection: call.connection().is_ok(),
        }
    }
}

#[derive(Deserialize)]
struct Failing {
    code: String,
    #[serde(rename = "retryAfterMs")]
    retry_after: Option<u64>,
}

impl From<Failing> for Error {
    fn from(failing: Failing) -> Self {
        let error = Self::new(failing.code, "as it was told").with_details(serde_json::json!({ "why": 7 }));
        match failing.retry_after {
            Some(after) => error.with_retry_after(Duration::from_millis(after)),
            None => error,
        }
    }
}

/// A value that cannot be serialised.
struct Broken;

impl Serialize for Broken {
    fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a secret in a type"))
    }
}

/// A value that panics when it is read or written.
struct Panics;

impl Serialize for Panics {
    fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        panic!("a secret in a panic")
    }
}

impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
        panic!("a secret in a panic")
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counting {
    /// The number of runs that fail.
    fails: usize,
    /// True to wait at the gate.
    wait: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Room {
    room_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    room_id: String,
    username: String,
    content: String,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomEvent {
    #[serde(rename = "type")]
    kind: String,
    room_id: String,
    message: Said,
}

#[derive(Clone, Serialize)]
struct Said {
    id: String,
    username: String,
    content: String,
    timestamp: u64,
}

/// A handler that sends a greeting and the news.
struct Talks(Sender<String>, Gate);

#[derive(Default, Deserialize)]
#[serde(default)]
struct TalksInput {
    /// The action of `on_open`: a greeting by default, or `fail`, `panic`; `names` sends something before. With `wait`,
    /// `on_close` waits.
    open: String,
    number: u32,
}

impl Handler for Talks {
    type Input = TalksInput;
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        let _ = self.0.send("opened".into());
        match &*connection.input().open {
            "fail" => return Err(Error::permission_denied("not today")),
            "panic" => panic!("a secret in a panic"),
            "names" => {
                connection.emit(WARNING, &"a warning".to_owned())?;
                connection.emit(COMPLETE, &"no end".to_owned())?;
            }
            _ => {}
        }
        connection.subscribe(&NEWS)?;
        connection.send(format!("hello {}", connection.input().number))?;
        connection.emit(NOTIFICATION, &serde_json::json!({ "title": "New\nline" }))?;
        connection.emit(CHAT, &"hi".to_owned())?;
        Ok(())
    }

    async fn on_message(&self, connection: &Connection<Self>, text: String) -> Result {
        connection.to(&NEWS).others().send(&text)
    }

    async fn on_close(&self, connection: &Connection<Self>, close: Close) {
        if connection.input().open == "wait" {
            let _ = self.0.send("closing".into());
            self.1.wait().await;
        }
        let _ = self.0.send(format!("closed {}", close.code.get()));
    }
}

/// A handler that sends lines of text.
struct Text;

impl Handler for Text {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        for text in ["one\ntwo\n", "", "event: forged\n\ndata: too"] {
            connection.send(Message::Text(text.into()))?;
        }
        connection.close(realtime_core::CloseCode::NORMAL, "");
        Ok(())
    }

    async fn on_message(&self, _: &Connection<Self>, _: Message) -> Result {
        Ok(())
    }
}
