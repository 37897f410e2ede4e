//! The client and this library's server, on loopback.

use adapter_hyper::{routes, serve};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use realtime_client::{CallOptions, Cause, Client, Format, Reconnect, State, Update};
use realtime_core::{
    Call, Endpoint, Error, Event, Gap, Item, Position, Procedure, Realtime, Result, Subscription, Topic,
};
use std::{
    collections::BTreeMap,
    future::pending,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{runtime::Runtime, sync::mpsc};

const ECHO: Procedure<(Bytes, f64), (Bytes, f64)> = Procedure::new("echo");
const ADD: Procedure<u64, u64> = Procedure::new("add");
const HANG: Procedure<(), ()> = Procedure::new("hang");
const FAIL: Procedure<(), ()> = Procedure::new("fail");
const COUNT_TO: Procedure<u32, u32> = Procedure::new("count_to");
const ASK_BACK: Procedure<String, bool> = Procedure::new("ask_back");
const CONFIRM: Procedure<String, bool> = Procedure::new("confirm");
const TELL: Procedure<String, ()> = Procedure::new("tell");
const TOLD: Event<String> = Event::new("told");
const NOTE: Event<String> = Event::new("note");
const NUMBERS: Subscription<u64, u64> = Subscription::new("numbers");
const ALL: Topic<String> = Topic::fixed("all");

/// The state that outlives a server: how often each number was added, what hangs, what was noted.
#[derive(Default)]
struct Seen {
    added: Mutex<BTreeMap<u64, u32>>,
    hanging: AtomicU64,
    notes: Mutex<Vec<String>>,
}

struct Hanging(Arc<Seen>);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.hanging.fetch_sub(1, Relaxed);
    }
}

fn endpoint(seen: Arc<Seen>) -> Endpoint<Arc<Seen>> {
    Endpoint::new(seen)
        .on_open(|connected| async move { connected.subscribe(&ALL) })
        .procedure(ADD, |call: Call<Arc<Seen>>, number| async move {
            *call.state().added.lock().unwrap().entry(number).or_default() += 1;
            Ok(number + 1)
        })
        .procedure(ECHO, |_, values| async move { Ok(values) })
        .procedure(HANG, |call: Call<Arc<Seen>>, ()| async move {
            call.state().hanging.fetch_add(1, Relaxed);
            let _hanging = Hanging(Arc::clone(call.state()));
            pending().await
        })
        .procedure(FAIL, |_, ()| async {
            Err(Error::new("MINE", "so")
                .with_details(serde_json::json!({ "why": 7 }))
                .with_retry_after(Duration::from_secs(3)))
        })
        .procedure(COUNT_TO, |call: Call<Arc<Seen>>, end| async move {
            for number in 1..=end {
                call.progress(&number)?;
            }
            Ok(end)
        })
        .procedure(ASK_BACK, |call: Call<Arc<Seen>>, question| async move {
            call.connection()?.call(CONFIRM, question).await
        })
        .procedure(TELL, |call: Call<Arc<Seen>>, text| async move { call.to(&ALL).others().emit(TOLD, &text) })
        .on(NOTE, |call: Call<Arc<Seen>>, text| async move {
            call.state().notes.lock().unwrap().push(text);
            Ok(())
        })
        .subscription(NUMBERS, numbers)
}

/// Yields all numbers after the position, without end.
async fn numbers(call: Call<Arc<Seen>>, first: u64) -> Result<impl futures_util::Stream<Item = Item<u64>>> {
    let first = call.after().map_or(first, |position| position.offset + 1);
    Ok(stream::iter(first..).map(|number| {
        let item = Item::new(number).with_position(Position::new("e", number));
        if number == 5 { item.with_gap(Gap::new(0, "five")) } else { item }
    }))
}

/// One life of a server. Dropping it ends its sockets without close frames.
struct Server(Option<Runtime>);

impl Server {
    fn start(listener: &TcpListener, seen: &Arc<Seen>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let realtime = Realtime::builder().endpoint("api", endpoint(Arc::clone(seen))).build();
        let listener = listener.try_clone().unwrap();
        runtime.spawn(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            serve(listener, routes(&realtime), &realtime).shutdown(pending()).await.unwrap();
        });
        Self(Some(runtime))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/__realtime/api")
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes")
}

#[tokio::test]
async fn everything_named_works_both_ways_in_json() {
    everything_named_works_both_ways(Format::Json).await;
}

#[tokio::test]
async fn everything_named_works_both_ways_in_messagepack() {
    everything_named_works_both_ways(Format::MessagePack).await;
}

async fn everything_named_works_both_ways(format: Format) {
    let (listener, address) = listen();
    let seen = Arc::<Seen>::default();
    let _server = Server::start(&listener, &seen);
    let (told, mut tells) = mpsc::unbounded_channel();
    let client = Client::builder(url(address))
        .format(format)
        .on(TOLD, move |text| {
            told.send(text).unwrap();
            async {}
        })
        .on_call(CONFIRM, |question: String| async move { Ok(question.len() < 10) })
        .connect();
    let other = Client::builder(url(address)).format(format).connect();
    soon(client.opened()).await.unwrap();
    soon(other.opened()).await.unwrap();

    assert_eq!(soon(client.call(ADD, 2)).await.unwrap(), 3);
    let error = soon(client.call(FAIL, ())).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.message(), error.is_remote()), ("MINE", "so", true));
    assert_eq!(error.as_error().details(), Some(&serde_json::json!({ "why": 7 })));
    assert_eq!(error.as_error().retry_after(), Some(Duration::from_secs(3)));

    let (progress, mut reported) = mpsc::unbounded_channel();
    let options = CallOptions::new().on_progress(move |number: u32| progress.send(number).unwrap());
    assert_eq!(soon(client.call_with(COUNT_TO, 3, options)).await.unwrap(), 3);
    for number in 1..=3 {
        assert_eq!(soon(reported.recv()).await, Some(number));
    }

    assert!(soon(client.call(ASK_BACK, "short".into())).await.unwrap());
    assert!(!soon(client.call(ASK_BACK, "rather long".into())).await.unwrap());
    assert_eq!(soon(other.call(ASK_BACK, "nobody".into())).await.unwrap_err().code().as_str(), "NOT_FOUND");

    soon(other.call(TELL, "hello".into())).await.unwrap();
    assert_eq!(soon(tells.recv()).await.as_deref(), Some("hello"));
    client.emit(NOTE, "noted".into()).unwrap();
    soon(client.call(ADD, 0)).await.unwrap();
    assert_eq!(*seen.notes.lock().unwrap(), ["noted"]);

    let mut numbers = client.subscribe(NUMBERS, 4);
    let mut found = Vec::new();
    for _ in 0..200 {
        match soon(numbers.next()).await.unwrap().unwrap() {
            Update::Item { value, .. } => found.push(value),
            Update::Begun { .. } => panic!("it is no feed"),
            Update::Gap(gap) => assert_eq!((gap.cause.as_str(), &*found), ("five", &[4][..])),
        }
    }
    assert_eq!(found, (4..203).collect::<Vec<_>>());
    // The stream goes on without end; that it is not read delays no other call.
    assert_eq!(soon(client.call(ADD, 9)).await.unwrap(), 10);
    drop(numbers);

    let hanging = client.call(HANG, ());
    while seen.hanging.load(Relaxed) == 0 {
        soon(client.call(ADD, 0)).await.unwrap();
    }
    drop(hanging);
    while seen.hanging.load(Relaxed) > 0 {
        soon(client.call(ADD, 0)).await.unwrap();
    }
    soon(client.close()).await;
    assert!(soon(client.call(ADD, 1)).await.unwrap_err().is_closed());
}

#[tokio::test]
async fn messagepack_carries_what_json_cannot() {
    let (listener, address) = listen();
    let _server = Server::start(&listener, &Arc::default());
    let bytes = Bytes::from_static(b"\xff\0\x80");
    let client = Client::builder(url(address)).format(Format::MessagePack).connect();
    let (echoed, number) = soon(client.call(ECHO, (bytes.clone(), f64::NAN))).await.unwrap();
    assert!(echoed == bytes && number.is_nan());
    let client = Client::builder(url(address)).connect();
    let (echoed, number) = soon(client.call(ECHO, (bytes.clone(), 0.5))).await.unwrap();
    assert_eq!((echoed, number), (bytes.clone(), 0.5));
    let error = soon(client.call(ECHO, (bytes, f64::NAN))).await.unwrap_err();
    assert_eq!(error.code().as_str(), "INVALID_ARGUMENT");
}

/// In each life, calls are answered, ignored and cut off; the subscription continues across all lives.
#[tokio::test]
async fn a_server_that_dies_twenty_times_is_followed_through_all_its_lives() {
    let (listener, address) = listen();
    let seen = Arc::<Seen>::default();
    let mut server = Server::start(&listener, &seen);
    let reconnect = Reconnect::default().between(Duration::from_millis(1), Duration::from_millis(20));
    let client = Client::builder(url(address)).reconnect(reconnect).connect();
    let states = tokio::spawn(client.states().collect::<Vec<_>>());
    let mut numbers = client.subscribe(NUMBERS, 0);
    let (mut expected, mut unsettled) = (0, Vec::new());
    for life in 0..20 {
        for _ in 0..70 {
            match soon(numbers.next()).await.unwrap().unwrap() {
                Update::Item { value, .. } => {
                    assert_eq!(value, expected);
                    expected += 1;
                }
                Update::Gap(gap) => assert_eq!(gap.cause, "five"),
                Update::Begun { .. } => panic!("it is no feed"),
            }
        }
        assert_eq!(soon(client.call(ADD, life)).await.unwrap(), life + 1);
        let before = seen.hanging.load(Relaxed);
        let hanging = tokio::spawn(client.call(HANG, ()));
        while seen.hanging.load(Relaxed) == before {
            soon(client.call(ADD, 1_000 + life)).await.unwrap();
        }
        drop(server);
        // Some are cut off, some wait for the next server. None runs twice.
        for number in 0..5 {
            unsettled
                .push((2_000 + 10 * life + number, tokio::spawn(client.call(ADD, 2_000 + 10 * life + number))));
        }
        let error = soon(hanging).await.unwrap().unwrap_err();
        assert!(error.is_retryable() && !error.is_remote(), "{error}");
        server = Server::start(&listener, &seen);
    }
    for (number, call) in unsettled {
        let outcome = soon(call).await.unwrap();
        let runs = seen.added.lock().unwrap().get(&number).copied().unwrap_or_default();
        match outcome {
            Ok(sum) => assert_eq!((sum, runs), (number + 1, 1)),
            Err(error) => assert!(error.is_retryable() && runs <= 1, "{number}: {error}, run {runs} times"),
        }
    }
    soon(client.close()).await;
    let states = soon(states).await.unwrap();
    let mut connected = false;
    for state in &states {
        match state {
            State::Open { .. } => assert!(!std::mem::replace(&mut connected, true), "opened twice: {states:?}"),
            State::Connecting { .. } => assert!(!connected, "{states:?}"),
            _ => connected = false,
        }
    }
    let opened = states.iter().filter(|state| matches!(state, State::Open { .. })).count();
    assert!(opened >= 20, "opened {opened} times");
    assert!(matches!(states.last(), Some(State::Closed { why: Cause::Local, .. })), "{states:?}");
}
