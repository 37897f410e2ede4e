//! A connection, those who publish to it, and those who wait for it, in random interleavings: nothing that was queued
//! stands still, and nobody waits for what has come. The scheduler (shuttle) decides at each lock and each atomic number
//! who runs next, and fails where all wait for each other.
//!
//! `cargo xtask interleavings` runs it, with `--cfg interleavings`; otherwise it is empty.
#![cfg(interleavings)]

use adapter_testing::TestFrame;
use bytes::Bytes;
use realtime_core::{
    Accepted, Call, CloseCode, Config, Connection, Context, Endpoint, Feed, FnConnection, Handler, Log, Message,
    Next, Overflow, Presence, Principal, Procedure, Realtime, Reject, Result, Subscription, Topic, handler_fn,
    raw::{BoxFuture, Runtime, SendQueue, Transport},
};
use serde_json::{Value, json};
use shuttle::{
    future::block_on,
    scheduler::RandomScheduler,
    sync::{Condvar, Mutex},
    thread::{self, JoinHandle},
};
use std::{
    future::{pending, poll_fn},
    io,
    sync::Arc,
    task::{self, Poll, Waker},
    time::Duration,
};

/// Each takes some seconds.
fn check(case: impl Fn() + Send + Sync + 'static) {
    let iterations = std::env::var("INTERLEAVINGS").ok().and_then(|count| count.parse().ok()).unwrap_or(3_000);
    let mut config = shuttle::Config::new();
    // The default of 32 KiB is less than a connection's read buffer.
    config.stack_size = 1 << 20;
    shuttle::Runner::new(RandomScheduler::new(iterations), config).run(case);
}

const NEWS: Topic<Message> = Topic::fixed("news").with_overflow(Overflow::drop_oldest(100));
const COUNT: usize = 6;

struct News;

impl Handler for News {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&NEWS)
    }

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        connection.send(message)?;
        Ok(())
    }
}

fn message() -> Message {
    Message::from("x".repeat(30))
}

/// A message that waits for a client that was behind is sent when it has caught up, and not with the next ping.
#[test]
fn publications_that_wait_are_sent() {
    check(|| {
        let realtime = realtime(100, |builder| builder.handler("news", News.plain()));
        let client = Client::connect(&realtime, "news", None);
        for _ in 0..COUNT {
            realtime.to(&NEWS).send(&message()).unwrap();
        }
        client.receive(COUNT);
        client.leave();
    });
}

async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    context.set(Principal("ann".into()));
    next.run(context).await
}

/// A follower of a feed that reads on by itself, while entries are appended and it is revoked.
#[test]
fn no_entry_begins_to_leave_after_a_revocation() {
    for shared in [true, false] {
        check(move || {
            let follow = Subscription::<(), Value>::new("follow");
            let endpoint = Endpoint::new(()).feed(follow, |_, ()| async { Ok(LOG.follow()) });
            let realtime = realtime(1000, |builder| builder.endpoint("feeds", endpoint).middleware(login));
            block_on(realtime.append(&LOG, &json!(0))).unwrap();
            let epoch = block_on(realtime.position(&LOG)).unwrap().epoch;
            let client = Client::connect(&realtime, "feeds", Some(250));
            let after = json!({ "epoch": epoch, "offset": 0 });
            client.wire.packet(
                &json!({ "type": "subscribe", "id": "s", "path": "follow", "shared": shared, "after": after }),
            );
            let begun: Value = serde_json::from_str(&client.wire.take().as_text()).unwrap();
            assert_eq!((&begun["type"], &begun["resumed"]), (&json!("subscribed"), &json!(true)));
            let appender = {
                let realtime = realtime.clone();
                thread::spawn(move || {
                    (1..=COUNT).for_each(|number| drop(block_on(realtime.append(&LOG, &json!(number))).unwrap()));
                })
            };
            let ann = Principal("ann".into());
            assert_eq!(realtime.revoke_from(&ann, &LOG), 1);
            let left = client.wire.state.lock().unwrap().output.len();
            appender.join().unwrap();
            client.wire.open(10_000);
            let mut begins = 0;
            loop {
                let frame = client.wire.take();
                if let Some((code, _)) = frame.as_close() {
                    // Something waited.
                    assert_eq!(code, 3000);
                    break;
                }
                let packet: Value = serde_json::from_str(&frame.as_text()).unwrap();
                if packet["type"] == "error" {
                    assert_eq!(packet["error"]["message"], "revoked");
                    break;
                }
                assert!(begins < left, "{packet} begins at {begins}, and {left} had left");
                begins += frame.payload.len() + if frame.payload.len() < 126 { 2 } else { 4 };
            }
            client.leave();
        });
    }
}

/// Who is let in again while a revocation runs has the entries from then on, or is closed because something waited.
#[test]
fn who_follows_again_during_a_revocation_has_the_entries() {
    check(|| {
        let realtime = realtime(1000, |builder| builder.handler("follower", Follower).middleware(login));
        let client = Client::connect(&realtime, "follower", None);
        let connection = realtime.filter(|_| true).pop().unwrap();
        let again = {
            let realtime = realtime.clone();
            thread::spawn(move || {
                block_on(realtime.append(&LOG, &json!("first"))).unwrap();
                let followed = block_on(connection.follow(&LOG, None));
                block_on(realtime.append(&LOG, &json!("second"))).unwrap();
                followed.is_ok()
            })
        };
        assert_eq!(realtime.revoke_from(&Principal("ann".into()), &LOG), 1);
        let followed = again.join().unwrap();
        client.wire.send(&TestFrame::close(1000, ""));
        let mut told = Vec::new();
        let code = loop {
            let frame = client.wire.take();
            if let Some((code, _)) = frame.as_close() {
                break code;
            }
            told.push(serde_json::from_str::<Value>(&frame.as_text()).unwrap()["value"].clone());
        };
        // Without the first, it followed again after the revocation had begun.
        if code != 3000 && followed && !told.contains(&json!("first")) {
            assert_eq!(told, [json!("second")]);
        }
        client.leave();
    });
}

/// Frames that are queued, taken or being written at a revocation: one that was not begun then is not sent.
#[test]
fn nothing_begins_to_leave_after_a_revocation() {
    for from_topic in [true, false] {
        check(move || {
            let realtime = realtime(1000, |builder| builder.handler("news", News.plain()).middleware(login));
            let client = Client::connect(&realtime, "news", Some(45));
            let publisher = {
                let realtime = realtime.clone();
                thread::spawn(move || (0..COUNT).for_each(|_| realtime.to(&NEWS).send(&message()).unwrap()))
            };
            let ann = Principal("ann".into());
            let revoked = match from_topic {
                true => realtime.revoke_from(&ann, &NEWS),
                false => realtime.revoke(&ann),
            };
            assert_eq!(revoked, 1);
            let left = client.wire.state.lock().unwrap().output.len();
            publisher.join().unwrap();
            client.wire.open(10_000);
            realtime.revoke(&ann);
            let mut begins = 0;
            loop {
                let frame = client.wire.take();
                if frame.as_close().is_some() {
                    break;
                }
                assert!(begins < left, "it begins at {begins}, and {left} had left");
                begins += frame.payload.len() + 2;
            }
            client.leave();
        });
    }
}

/// The same where the client reads in steps, and two publish.
#[test]
fn publications_that_wait_for_a_slow_reader_are_sent() {
    check(|| {
        let realtime = realtime(100, |builder| builder.handler("news", News.plain()));
        let client = Client::connect(&realtime, "news", Some(10));
        let publishers: Vec<_> = (0..2)
            .map(|_| {
                let realtime = realtime.clone();
                thread::spawn(move || (0..COUNT / 2).for_each(|_| realtime.to(&NEWS).send(&message()).unwrap()))
            })
            .collect();
        for _ in 0..12 {
            client.wire.open(20);
        }
        client.receive(COUNT);
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        client.leave();
    });
}

/// A sender that waits for room on another thread is told when there is some.
#[test]
fn who_waits_for_room_is_woken() {
    check(|| {
        let realtime = realtime(100, |builder| builder.handler("news", News.plain()));
        let client = Client::connect(&realtime, "news", Some(10));
        let connection = realtime.filter(|_| true)[0].downcast::<News>().unwrap();
        let sender = thread::spawn(move || {
            for _ in 0..COUNT {
                block_on(connection.ready());
                connection.send(message()).unwrap();
            }
        });
        for _ in 0..12 {
            client.wire.open(20);
        }
        client.receive(COUNT);
        sender.join().unwrap();
        client.leave();
    });
}

/// A client that asks for more than the outbox holds is read on when it has taken its answers.
#[test]
fn a_client_that_is_held_up_is_read_on() {
    check(|| {
        let realtime = realtime(100, |builder| builder.handler("news", News.plain()));
        let client = Client::connect(&realtime, "news", Some(10));
        for _ in 0..COUNT {
            client.wire.send(&TestFrame::text(&"x".repeat(30)));
        }
        for _ in 0..12 {
            client.wire.open(20);
        }
        client.receive(COUNT);
        client.leave();
    });
}

/// Also a message that was read just before others filled the outbox.
#[test]
fn a_message_beside_what_others_send_is_answered() {
    check(|| {
        let realtime = realtime(100, |builder| builder.handler("news", News.plain()));
        let client = Client::connect(&realtime, "news", Some(10));
        let connection = realtime.filter(|_| true)[0].downcast::<News>().unwrap();
        let sender = thread::spawn(move || (0..2).for_each(|_| connection.send(message()).unwrap()));
        client.wire.send(&TestFrame::text("hello"));
        for _ in 0..5 {
            client.wire.open(20);
        }
        client.receive(3);
        sender.join().unwrap();
        client.leave();
    });
}

/// Messages that another task takes make room for those that were not read.
#[test]
fn a_client_whose_messages_another_task_takes_is_read_on() {
    check(|| {
        let function = handler_fn(|connection: FnConnection<Message, Message>| async move {
            let (tasks, own) = (connection.clone(), connection);
            let task = shuttle::future::spawn(async move {
                for _ in 0..COUNT / 2 {
                    let message = tasks.recv().await.unwrap();
                    tasks.send(message).unwrap();
                }
            });
            for _ in 0..COUNT / 2 {
                let message = own.recv().await.unwrap();
                own.send(message)?;
            }
            task.await.unwrap();
            own.closed().await;
            Ok(())
        });
        let realtime = realtime_with(|config| config.queued_messages = 1, |b| b.handler("echo", function.plain()));
        let client = Client::connect(&realtime, "echo", None);
        for _ in 0..COUNT {
            client.wire.send(&TestFrame::text("hello"));
        }
        client.receive(COUNT);
        client.leave();
    });
}

const WAIT: Procedure<(), u32> = Procedure::new("wait");
const CONFIRM: Procedure<u32, bool> = Procedure::new("confirm");

/// Calls that other threads wake are answered.
#[test]
fn calls_that_are_woken_elsewhere_are_answered() {
    check(|| {
        let gate = Arc::new(Gate::default());
        let opened = Arc::clone(&gate);
        let endpoint = Endpoint::new(()).procedure(WAIT, move |_: Call<()>, ()| {
            let gate = Arc::clone(&gate);
            async move {
                poll_fn(|cx| gate.poll(cx)).await;
                Ok(7)
            }
        });
        let realtime = realtime(10_000, |builder| builder.endpoint("api", endpoint));
        let client = Client::connect(&realtime, "api", None);
        for id in 0..3 {
            client.wire.packet(&json!({ "type": "call", "id": id.to_string(), "path": "wait" }));
        }
        let opener = thread::spawn(move || opened.open());
        client.receive(3);
        opener.join().unwrap();
        client.leave();
    });
}

/// A caller of a client on another thread gets its answer, or is told that it has gone.
#[test]
fn who_calls_a_client_is_answered_or_told() {
    check(|| {
        let realtime = realtime(10_000, |builder| builder.endpoint("api", Endpoint::new(())));
        let client = Client::connect(&realtime, "api", None);
        let connection = realtime.filter(|_| true).remove(0);
        let asking = thread::spawn(move || block_on(connection.call(CONFIRM, 1)));
        client.receive(1);
        client.wire.packet(&json!({ "type": "result", "id": "c1", "data": true }));
        client.leave();
        let answer = asking.join().unwrap();
        assert!(answer.as_ref().map_or(true, |said| *said), "{answer:?}");
    });
}

/// Whatever a connection joins while it ends, it leaves.
#[test]
fn nothing_is_left_of_a_connection_that_ends_while_it_joins() {
    const ROOM: Presence<u32> = Presence::fixed("room");
    check(|| {
        let realtime =
            realtime(10_000, |builder| builder.handler("news", News.plain()).endpoint("api", Endpoint::new(())));
        let client = Client::connect(&realtime, "api", None);
        let observer = Client::connect(&realtime, "api", None);
        let connections = realtime.filter(|_| true);
        let joining = connections
            .iter()
            .find(|connection| Some(connection.id()) == connections.iter().map(|c| c.id()).min());
        let joining = joining.unwrap().clone();
        let joins = thread::spawn(move || {
            let _ = joining.enter(&ROOM, &1);
            let _ = joining.subscribe(&NEWS);
        });
        let publisher = realtime.clone();
        let publishes = thread::spawn(move || publisher.to(&NEWS).send(&message()).unwrap());
        client.leave();
        joins.join().unwrap();
        publishes.join().unwrap();
        assert_eq!(realtime.present(&ROOM).len(), 0);
        observer.leave();
        assert_eq!(realtime.stats().topics, 0);
        assert_eq!(realtime.connections(), 0);
    });
}

/// A close from elsewhere is sent behind what was sent before, once.
#[test]
fn a_close_goes_behind_what_was_sent() {
    check(|| {
        let realtime = realtime(10_000, |builder| builder.handler("news", News.plain()));
        let client = Client::connect(&realtime, "news", None);
        let connection = realtime.filter(|_| true)[0].downcast::<News>().unwrap();
        let closer = thread::spawn(move || {
            connection.send(message()).unwrap();
            connection.close(CloseCode::NORMAL, "");
            assert!(connection.send(message()).is_err());
        });
        realtime.to(&NEWS).send(&message()).unwrap();
        client.receive_close();
        closer.join().unwrap();
        client.leave();
    });
}

/// Entries come once and in order to one who begins to follow while they are appended, with and without credit, and
/// whose window opens only in part.
#[test]
fn entries_come_once_to_one_who_joins_while_they_are_appended() {
    for (shared, credit) in [(true, None), (false, None), (true, Some(1))] {
        check(move || {
            let follow = Subscription::<(), Value>::new("follow");
            let endpoint = Endpoint::new(()).feed(follow, |_, ()| async { Ok(LOG.follow()) });
            let realtime = realtime(1 << 16, |builder| builder.endpoint("feeds", endpoint));
            let client = Client::connect(&realtime, "feeds", None);
            let appending = realtime.clone();
            let appender = thread::spawn(move || {
                for number in 1..=COUNT {
                    block_on(appending.append(&LOG, &json!(number))).unwrap();
                }
            });
            let subscribe =
                json!({ "type": "subscribe", "id": "s", "path": "follow", "shared": shared, "credit": credit });
            client.wire.packet(&subscribe);
            let begun: Value = serde_json::from_str(&client.wire.take().as_text()).unwrap();
            assert_eq!(begun["type"], "subscribed");
            for offset in begun["offset"].as_u64().unwrap() + 1..=COUNT as u64 {
                let entry: Value = serde_json::from_str(&client.wire.take().as_text()).unwrap();
                assert_eq!((&entry["offset"], &entry["data"]), (&json!(offset), &json!(offset)), "{entry}");
                if credit.is_some() {
                    client.wire.packet(&json!({ "type": "credit", "id": "s", "more": 1 }));
                }
            }
            appender.join().unwrap();
            client.leave();
        });
    }
}

/// The same for a handler's client, which reads slowly, and for another one that leaves.
#[test]
fn messages_of_a_feed_come_once_to_a_slow_reader() {
    check(|| {
        let realtime = realtime(300, |builder| builder.handler("follower", Follower));
        let client = Client::connect(&realtime, "follower", Some(0));
        let other = Client::connect(&realtime, "follower", None);
        let appending = realtime.clone();
        let appender = thread::spawn(move || {
            for number in 1..=COUNT {
                block_on(appending.append(&LOG, &json!(number))).unwrap();
            }
        });
        other.leave();
        for offset in 1..=COUNT {
            client.wire.open(100);
            let entry: Value = serde_json::from_str(&client.wire.take().as_text()).unwrap();
            assert_eq!((&entry["offset"], &entry["value"]), (&json!(offset), &json!(offset)), "{entry}");
        }
        appender.join().unwrap();
        client.leave();
    });
}

const LOG: Feed<Value> = Topic::fixed("log").log(Log::last(100));

struct Follower;

impl Handler for Follower {
    type Input = ();
    type ClientMessage = Value;
    type ServerMessage = Value;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.follow(&LOG, None).await.map(drop)
    }

    async fn on_message(&self, _: &Connection<Self>, _: Value) -> Result {
        Ok(())
    }
}

fn realtime(
    outbox: usize,
    mount: impl FnOnce(realtime_core::RealtimeBuilder) -> realtime_core::RealtimeBuilder,
) -> Realtime {
    realtime_with(|config| config.outbox_bytes = outbox, mount)
}

fn realtime_with(
    change: impl FnOnce(&mut Config),
    mount: impl FnOnce(realtime_core::RealtimeBuilder) -> realtime_core::RealtimeBuilder,
) -> Realtime {
    let mut config = Config::default();
    change(&mut config);
    mount(Realtime::builder().manual_time().config(config)).build()
}

/// A client, and the thread that runs its connection.
struct Client {
    wire: Arc<Wire>,
    serving: JoinHandle<()>,
}

impl Client {
    /// Takes so many bytes, and more as the window is opened; any number, if it is not said. Ready when it is open.
    fn connect(realtime: &Realtime, id: &str, window: Option<usize>) -> Self {
        let request = http::Request::get(format!("/__realtime/{id}"))
            .header("host", "localhost")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let context = Context::from_parts(request.body(()).unwrap().into_parts().0, None, false);
        let upgrade = block_on(realtime.upgrade(context, Threads)).unwrap();
        let wire = Arc::new(Wire { state: Mutex::default(), changed: Condvar::new() });
        wire.state.lock().unwrap().window = window.unwrap_or(usize::MAX);
        let serving = upgrade.serve(End(Arc::clone(&wire)), Bytes::new());
        let client = Self { serving: thread::spawn(move || block_on(serving)), wire };
        // Its `on_open` is done when it has answered a ping.
        client.wire.send(&TestFrame::new(realtime_core::websocket::Opcode::Ping, ""));
        client.wire.open(2);
        client.receive(1);
        client
    }

    /// Waits for so many frames.
    fn receive(&self, count: usize) {
        for _ in 0..count {
            let frame = self.wire.take();
            assert!(frame.as_close().is_none(), "{frame:?}");
        }
    }

    fn receive_close(&self) {
        while self.wire.take().as_close().is_none() {}
    }

    /// Leaves without a word, and waits for the end of the connection.
    fn leave(self) {
        let mut state = self.wire.state.lock().unwrap();
        state.gone = true;
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        self.serving.join().unwrap();
    }
}

struct Wire {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    input: Vec<u8>,
    output: Vec<u8>,
    window: usize,
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Wire {
    fn send(&self, frame: &TestFrame) {
        let mut state = self.state.lock().unwrap();
        state.input.extend(frame.to_bytes());
        let waker = state.reader.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn packet(&self, packet: &Value) {
        self.send(&TestFrame::text(&packet.to_string()));
    }

    /// Takes so many bytes more.
    fn open(&self, bytes: usize) {
        let mut state = self.state.lock().unwrap();
        state.window = state.window.saturating_add(bytes);
        let waker = state.writer.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Waits for the next frame.
    fn take(&self) -> TestFrame {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(frame) = TestFrame::take(&mut state.output) {
                return frame;
            }
            state = self.changed.wait(state).unwrap();
        }
    }
}

struct End(Arc<Wire>);

impl Transport for End {
    fn poll_read(&mut self, cx: &mut task::Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state.lock().unwrap();
        if state.gone {
            return Poll::Ready(Ok(0));
        }
        if state.input.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = state.input.len().min(buffer.len());
        buffer[..count].copy_from_slice(&state.input[..count]);
        state.input.drain(..count);
        Poll::Ready(Ok(count))
    }

    fn poll_send(&mut self, cx: &mut task::Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock().unwrap();
        if state.gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let sent = queue.poll_write(false, |buffers| {
            let count = buffers[0].len().min(state.window);
            if count == 0 {
                state.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            state.window -= count;
            state.output.extend_from_slice(&buffers[0][..count]);
            Poll::Ready(Ok(count))
        });
        drop(state);
        self.0.changed.notify_all();
        sent
    }

    fn poll_close(&mut self, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Opened once, by whichever thread.
#[derive(Default)]
struct Gate(Mutex<(bool, Vec<Waker>)>);

impl Gate {
    fn open(&self) {
        let wakers = {
            let mut state = self.0.lock().unwrap();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, cx: &task::Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1.push(cx.waker().clone());
        Poll::Pending
    }
}

/// Time stands still.
struct Threads;

impl Runtime for Threads {
    fn sleep(&self, _: Duration) -> BoxFuture<'static> {
        Box::pin(pending())
    }

    fn spawn(&self, task: BoxFuture<'static>) {
        drop(shuttle::future::spawn(task));
    }
}
