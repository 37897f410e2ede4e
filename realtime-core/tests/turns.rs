//! The turn of a connection: the work between two points at which other tasks run is bounded, whatever the client sends
//! and however its bytes are split; nothing that it asked for is lost, and a client that reads is not closed.

use adapter_testing::TestFrame;
use bytes::Bytes;
use futures_core::Stream;
use proptest::{collection::vec, prelude::*};
use realtime_core::{
    Call, Config, Connection, Context, Endpoint, Handler, Message, Procedure, Realtime, Result, Subscription,
    raw::{BoxFuture, Runtime, SendQueue, Transport},
};
use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{self, Poll, Wake, Waker},
    time::Duration,
};

/// The work of one turn in bytes; a message, an answer or an item may pass it.
const TURN: usize = 64 * 1024;
const OUTBOX: usize = 256 * 1024;
const MESSAGE: usize = 30_000;
const ANSWER: usize = 60_000;

const TEXT: Procedure<usize, String> = Procedure::query("text");
const LATE: Procedure<(), ()> = Procedure::new("late");
const ENDLESS: Subscription<usize, String> = Subscription::new("endless");

struct Echo;

impl Handler for Echo {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        connection.send(message)?;
        Ok(())
    }
}

fn realtime() -> Realtime {
    let mut config = Config::default();
    config.outbox_bytes = OUTBOX;
    let endpoint = Endpoint::new(())
        .procedure(TEXT, |_: Call<()>, bytes: usize| async move { Ok("x".repeat(bytes)) })
        .procedure(LATE, late)
        .subscription(ENDLESS, |_: Call<()>, bytes: usize| async move { Ok(Endless("x".repeat(bytes))) });
    let builder = Realtime::builder().manual_time().config(config);
    builder.handler("echo", Echo.plain()).endpoint("api", endpoint).build()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// Messages of any sizes at once, taken by the client in any portions.
    #[test]
    fn echoes_come_in_bounded_turns(
        lens in vec(prop_oneof![0..200_usize, 1000..MESSAGE], 1..400),
        windows in vec(1..300_000_usize, 1..20),
    ) {
        let sent = lens.iter().flat_map(|len| TestFrame::text(&"x".repeat(*len)).to_bytes()).collect();
        let expected = lens.iter().map(|len| framed(*len)).sum();
        exchange("echo", sent, expected, &windows, MESSAGE)?;
    }

    /// Calls with small questions and large answers.
    #[test]
    fn answers_come_in_bounded_turns(
        lens in vec(prop_oneof![0..200_usize, 1000..ANSWER], 1..400),
        windows in vec(1..300_000_usize, 1..20),
    ) {
        let frame = |len: &usize| format!(r#"{{"type":"call","id":"1","path":"text","input":{len}}}"#);
        let sent = lens.iter().flat_map(|len| TestFrame::text(&frame(len)).to_bytes()).collect();
        let around = r#"{"type":"result","id":"1","data":""}"#.len();
        let expected = lens.iter().map(|len| framed(around + len)).sum();
        exchange("api", sent, expected, &windows, ANSWER)?;
    }
}

/// Endless streams, whose client reads all that it is sent: a turn sends some items, and then it is that of others.
#[test]
fn endless_streams_have_bounded_turns() {
    for (streams, bytes) in [(1, 10), (1000, 10), (100, 5_000)] {
        let mut client = Client::connect("api");
        let frame = |id: usize| format!(r#"{{"type":"subscribe","id":"{id}","path":"endless","input":{bytes}}}"#);
        client.send((0..streams).flat_map(|id| TestFrame::text(&frame(id)).to_bytes()).collect());
        for _ in 0..1000 {
            let sent = client.turn();
            assert!(sent <= 2 * TURN + bytes, "{sent} bytes in one turn");
            assert!(client.is_woken(), "it has more");
        }
    }
}

/// A flood of input leaves a part of each turn to what runs already.
#[test]
fn a_call_that_is_woken_goes_on_within_a_flood() {
    let mut client = Client::connect("api");
    let late = TestFrame::text(r#"{"type":"call","id":"late","path":"late"}"#).to_bytes();
    let flood = TestFrame::text(r#"{"type":"call","id":"1","path":"text","input":10}"#).to_bytes().repeat(50_000);
    client.send([late, flood].concat());
    client.turn();
    client.turn();
    assert!(client.is_woken(), "the flood is not over");
    assert!(WENT_ON.load(Relaxed));
}

static WENT_ON: AtomicBool = AtomicBool::new(false);

/// Wakes itself once.
async fn late(_: Call<()>, (): ()) -> Result {
    let mut woken = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    WENT_ON.store(true, Relaxed);
    Ok(())
}

/// Messages of a megabyte in a kilobyte, and longer ones.
#[cfg(feature = "deflate")]
mod compressed {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};
    use realtime_core::{CloseCode, Deflate, Topic, websocket::Opcode};

    const LONG: usize = 4 << 20;
    /// The ticks of `Config::ping_interval`.
    const PING_TICKS: usize = 100;
    const NEWS: Topic<Message> = Topic::fixed("news");

    /// Takes messages of `LONG` bytes, so many of which are inflated at a time.
    fn realtime(places: usize) -> Realtime {
        let mut config = Config::default();
        config.message_bytes = LONG;
        config.outbox_bytes = 4 * LONG;
        let mut deflate = Deflate::default();
        // What is sent is not compressed, so that its length tells what it was.
        deflate.threshold = usize::MAX;
        deflate.inflating_bytes = places * (LONG + 64 * 1024);
        config.deflate = Some(deflate);
        Realtime::builder().manual_time().config(config).handler("echo", Reader.plain()).build()
    }

    /// As `Echo`, and is sent what others publish.
    struct Reader;

    impl Handler for Reader {
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

    /// Says much, and always the same.
    struct Talker;

    impl Handler for Talker {
        type Input = ();
        type ClientMessage = Message;
        type ServerMessage = Message;

        async fn on_message(&self, connection: &Connection<Self>, _: Message) -> Result {
            connection.send("x".repeat(TURN).into())?;
            Ok(())
        }
    }

    fn compressed(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() / 100 + 1000);
        Compress::new(Compression::best(), false).compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        TestFrame::new(opcode, out).compressed().to_bytes()
    }

    fn long() -> Vec<u8> {
        compressed(Opcode::Text, &[b'x'; LONG])
    }

    impl Client {
        /// As `send`, behind what was sent before.
        fn add(&self, mut bytes: Vec<u8>) {
            let mut wire = self.wire.lock().unwrap();
            wire.input.append(&mut bytes);
            wire.reader.take().into_iter().for_each(Waker::wake);
        }

        fn is_done(&self) -> bool {
            self.done
        }
    }

    /// Inflating is work: a turn does as much of it as of any other, and others have theirs in between.
    #[test]
    fn a_long_message_is_inflated_in_bounded_turns() {
        let realtime = realtime(1);
        let (mut greedy, mut quiet) =
            (Client::connect_to(&realtime, "echo"), Client::connect_to(&realtime, "echo"));
        let ping = TestFrame::new(Opcode::Ping, "behind").to_bytes();
        greedy.send([long(), ping].concat());
        for turn in 1.. {
            match greedy.turn() {
                0 => assert!(greedy.is_woken(), "it has more"),
                bytes => {
                    assert!(turn >= LONG / TURN, "it is inflated in {turn} turns");
                    assert_eq!(bytes, framed(LONG));
                    break;
                }
            }
            quiet.send(TestFrame::text("hello").to_bytes());
            assert_eq!(quiet.turn(), framed(5));
        }
        assert_eq!(greedy.turn(), framed(6));
    }

    /// Blocks that inflate to nothing are work too.
    #[test]
    fn a_message_of_empty_blocks_is_inflated_in_bounded_turns() {
        let mut client = Client::connect_to(&realtime(1), "echo");
        let blocks = [3, 0].repeat(500_000);
        client.send(TestFrame::new(Opcode::Binary, blocks).compressed().to_bytes());
        let turns = (1..).find(|_| client.turn() > 0).unwrap();
        assert!(turns >= 1_000_000 / TURN * 4, "it is inflated in {turns} turns");
    }

    /// Compressing for the client is the work of a turn, however short the result.
    #[test]
    fn what_is_compressed_counts() {
        let mut config = Config::default();
        config.deflate = Some(Deflate::default());
        let builder = Realtime::builder().manual_time().config(config);
        let mut client = Client::connect_to(&builder.handler("talker", Talker.plain()).build(), "talker");
        // The handler gets them all at once, and answers with a hundred times as much.
        client.send(TestFrame::text("hello").to_bytes().repeat(20));
        let mut turns = 0;
        while client.is_woken() {
            turns += usize::from(client.turn() > 0);
        }
        assert!(turns == 20, "all are echoed in {turns} turns");
    }

    /// Where there is no place for more of them, they wait as they came, and in order.
    #[test]
    fn long_messages_wait_for_a_place() {
        let realtime = realtime(2);
        let mut clients: Vec<Client> = (0..5).map(|_| Client::connect_to(&realtime, "echo")).collect();
        for client in &mut clients {
            client.send(long());
            assert_eq!(client.turn(), 0);
        }
        let woken = |clients: &[Client]| clients.iter().map(Client::is_woken).collect::<Vec<bool>>();
        assert_eq!(woken(&clients), [true, true, false, false, false]);
        assert_eq!((1..).map(|_| clients[0].turn()).find(|bytes| *bytes > 0), Some(framed(LONG)));
        assert_eq!(woken(&clients)[1..], [true, true, false, false]);
        // One is lost in the middle, and one while it waits.
        drop(clients.remove(1));
        drop(clients.remove(2));
        assert_eq!(woken(&clients)[1..], [true, true]);
        for client in &mut clients[1..] {
            assert_eq!((1..).map(|_| client.turn()).find(|bytes| *bytes > 0), Some(framed(LONG)));
        }
    }

    /// Neither who waits for a place nor who has it is silent.
    #[test]
    fn who_waits_for_a_place_is_not_closed_for_its_silence() {
        let realtime = realtime(1);
        let mut clients = [(); 2].map(|()| Client::connect_to(&realtime, "echo"));
        for client in &mut clients {
            client.send(long());
            client.turn();
        }
        for _ in 0..20 {
            (0..PING_TICKS / 2).for_each(|_| realtime.tick());
            clients.iter_mut().for_each(|client| _ = client.turn());
        }
        for client in &mut clients {
            assert!(!client.is_closed());
            assert!((1..).map(|_| client.turn()).any(|bytes| bytes == framed(LONG)));
        }
    }

    /// A message that is being inflated when so much comes to wait for the client is handled when the client has taken it.
    #[test]
    fn a_client_that_is_held_up_meanwhile_loses_nothing() {
        let realtime = realtime(1);
        let mut client = Client::connect_to(&realtime, "echo");
        client.set_window(0);
        client.send(long());
        client.turn();
        let news = Message::from("x".repeat(LONG * 3 / 4));
        for _ in 0..3 {
            realtime.to(&NEWS).send(&news).unwrap();
        }
        while client.is_woken() {
            client.turn();
        }
        assert_eq!(client.queued(), 3 * framed(LONG * 3 / 4));
        // Its place is free again.
        let mut other = Client::connect_to(&realtime, "echo");
        other.send(long());
        assert_eq!((1..).map(|_| other.turn()).find(|bytes| *bytes > 0), Some(framed(LONG)));
        client.set_window(usize::MAX);
        let mut received = 0;
        while client.is_woken() {
            received += client.turn();
        }
        assert_eq!(received, 3 * framed(LONG * 3 / 4) + framed(LONG));
    }

    /// The rest of its frames is read up to its close, though its message never had a place.
    #[test]
    fn one_that_is_closed_while_it_waits_is_answered() {
        let realtime = realtime(1);
        let mut clients = [(); 2].map(|()| Client::connect_to(&realtime, "echo"));
        for client in &mut clients {
            client.send(long());
            client.turn();
        }
        let [_, client] = &mut clients;
        let close = TestFrame::new(Opcode::Close, [3, 232]).to_bytes();
        client.add(close);
        realtime.filter(|_| true).iter().for_each(|connection| connection.close(CloseCode::NORMAL, ""));
        while !client.is_done() {
            assert!(client.is_woken(), "it is not read any more");
            client.turn();
        }
    }
}

/// Sends all at once, and reads in portions. What one turn sends is bounded, and so is what waits; and in the end all
/// has come.
fn exchange(
    id: &str,
    sent: Vec<u8>,
    expected: usize,
    windows: &[usize],
    largest: usize,
) -> std::result::Result<(), TestCaseError> {
    let mut client = Client::connect(id);
    client.set_window(0);
    client.send(sent);
    let mut received = 0;
    for window in windows.iter().cycle() {
        client.set_window(*window);
        while client.is_woken() {
            let bytes = client.turn();
            received += bytes;
            // What the client did not take before goes out at once.
            prop_assert!(bytes <= TURN + OUTBOX / 2 + 2 * largest, "{} bytes in one turn", bytes);
            prop_assert!(client.queued() <= OUTBOX, "{} bytes wait", client.queued());
        }
        prop_assert!(!client.is_closed());
        if received >= expected {
            break;
        }
    }
    prop_assert_eq!(received, expected);
    Ok(())
}

/// The length of a frame of the server's.
fn framed(payload: usize) -> usize {
    match payload {
        0..126 => 2 + payload,
        126..65_536 => 4 + payload,
        _ => 10 + payload,
    }
}

struct Endless(String);

impl Stream for Endless {
    type Item = String;

    fn poll_next(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Option<String>> {
        Poll::Ready(Some(self.0.clone()))
    }
}

/// A client, and its connection, which is polled once for each turn.
struct Client {
    realtime: Realtime,
    connection: BoxFuture<'static>,
    done: bool,
    wire: Arc<Mutex<Wire>>,
    woken: Arc<Woken>,
}

impl Client {
    fn connect(id: &str) -> Self {
        Self::connect_to(&realtime(), id)
    }

    fn connect_to(realtime: &Realtime, id: &str) -> Self {
        let realtime = realtime.clone();
        let request = http::Request::get(format!("/__realtime/{id}"))
            .header("sec-websocket-extensions", "permessage-deflate")
            .header("host", "localhost")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let context = Context::from_parts(request.body(()).unwrap().into_parts().0, None, false);
        let upgrade = {
            let mut upgrade = pin!(realtime.upgrade(context, Idle));
            let mut cx = task::Context::from_waker(Waker::noop());
            let Poll::Ready(Ok(upgrade)) = upgrade.as_mut().poll(&mut cx) else { panic!("not upgraded") };
            upgrade
        };
        let wire = Arc::<Mutex<Wire>>::default();
        let connection = Box::pin(upgrade.serve(End(Arc::clone(&wire)), Bytes::new()));
        let mut client = Self { realtime, connection, done: false, wire, woken: Arc::default() };
        client.set_window(usize::MAX);
        client.turn();
        client
    }

    fn send(&self, bytes: Vec<u8>) {
        let mut wire = self.wire.lock().unwrap();
        wire.input = bytes;
        wire.read = 0;
        wire.reader.take().into_iter().for_each(Waker::wake);
    }

    /// Takes so many bytes more.
    fn set_window(&self, bytes: usize) {
        let mut wire = self.wire.lock().unwrap();
        wire.window = bytes;
        wire.writer.take().into_iter().for_each(Waker::wake);
    }

    /// Polls the connection once; returns how many bytes it sent.
    fn turn(&mut self) -> usize {
        self.woken.0.store(false, Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        assert!(!self.done);
        self.done = self.connection.as_mut().poll(&mut task::Context::from_waker(&waker)).is_ready();
        std::mem::take(&mut self.wire.lock().unwrap().sent)
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Relaxed)
    }

    fn queued(&self) -> usize {
        self.realtime.filter(|_| true)[0].queued_bytes()
    }

    fn is_closed(&self) -> bool {
        self.realtime.filter(|_| true)[0].is_closed()
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

#[derive(Default)]
struct Wire {
    input: Vec<u8>,
    read: usize,
    window: usize,
    sent: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct End(Arc<Mutex<Wire>>);

impl Transport for End {
    fn poll_read(&mut self, cx: &mut task::Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        let rest = &wire.input[wire.read..];
        if rest.is_empty() {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        wire.read += count;
        Poll::Ready(Ok(count))
    }

    fn poll_send(&mut self, cx: &mut task::Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock().unwrap();
        queue.poll_write(true, |buffers| {
            let bytes = buffers.iter().map(|buffer| buffer.len()).sum::<usize>().min(wire.window);
            if bytes == 0 {
                wire.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            wire.window -= bytes;
            wire.sent += bytes;
            Poll::Ready(Ok(bytes))
        })
    }

    fn poll_close(&mut self, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Time stands still, and nothing runs beside the connection.
struct Idle;

impl Runtime for Idle {
    fn sleep(&self, _: Duration) -> BoxFuture<'static> {
        Box::pin(std::future::pending())
    }

    fn spawn(&self, _: BoxFuture<'static>) {}
}
