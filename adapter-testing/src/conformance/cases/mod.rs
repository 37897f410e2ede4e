//! The cases, by subject.
#![expect(missing_docs, reason = "the names of the cases are statements")]

pub mod answers;
pub mod around;
pub mod calls;
pub mod closing;
pub mod cors;
pub mod credentials;
#[cfg(feature = "deflate")]
pub mod deflate;
pub mod events;
pub mod feeds;
pub mod frames;
pub mod handshake;
pub mod hostile;
pub mod http;
pub mod idempotency;
pub mod joining;
pub mod limits;
pub mod memory;
pub mod messages;
pub mod names;
pub mod posted_events;
pub mod presence;
pub mod probe;
pub mod protocols;
pub mod revoke;
pub mod server_sent_events;
pub mod subscriptions;
pub mod time;
pub mod timing;
pub mod topics;
pub mod transcript;
pub mod users;

use super::{Command, RawClient, Reply, Server, Subject, api_feeds, api_http, client::PATIENCE, lab};
use realtime_core::{Config, Realtime, RealtimeBuilder};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Returns the registry of most cases, with changed limits.
fn builder(change: impl FnOnce(&mut Config)) -> (RealtimeBuilder, super::Seen, super::Gate) {
    let (builder, seen, gate) = lab::builder();
    let mut config = Config::default();
    change(&mut config);
    (builder.config(config), seen, gate)
}

/// Starts the server of most cases.
fn start(subject: &Subject) -> (Server, super::Seen, super::Gate) {
    start_with(subject, |_| {})
}

fn start_with(subject: &Subject, change: impl FnOnce(&mut Config)) -> (Server, super::Seen, super::Gate) {
    let (builder, seen, gate) = builder(change);
    (subject.start(builder.build()), seen, gate)
}

/// Starts the server of the HTTP cases, with changed limits.
fn start_http(subject: &Subject, change: impl FnOnce(&mut Config)) -> (Server, api_http::Notes, super::Gate) {
    let (builder, notes, gate) = api_http::builder(change);
    (subject.start(builder.build()), notes, gate)
}

/// The server of the cases about feeds, with limits as the case wants them.
fn start_feeds(subject: &Subject, change: impl FnOnce(&mut Config)) -> Server {
    subject.start(api_feeds::builder(change).build())
}

/// Connects with MessagePack, and receives the welcome.
fn messagepack(server: &Server) -> RawClient {
    messagepack_of(server, "lab")
}

fn messagepack_of(server: &Server, id: &str) -> RawClient {
    messagepack_by(server.request(id))
}

fn messagepack_by(request: super::Request<'_>) -> RawClient {
    let mut client = request.subprotocol("realtime.v1.msgpack").connect();
    assert_eq!(client.recv_packet()["type"], "welcome");
    client
}

/// Connects to the endpoint in each format; the second client connects when the first is done.
fn each_form(server: &Server) -> impl Iterator<Item = RawClient> {
    let connect = [|server: &Server| server.connect("api"), |server: &Server| messagepack_of(server, "api")];
    connect.into_iter().map(|connect| connect(server))
}

/// Lets the server make progress: it answers another client many times.
#[track_caller]
fn give_turns(server: &Server) {
    let mut other = server.connect("api");
    for _ in 0..50 {
        other.echoes();
    }
}

/// Connects as soon as the server is below its limit.
#[track_caller]
fn connect_when_free(server: &Server) -> RawClient {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(client) = server.request("lab").try_connect() {
            return client;
        }
        assert!(Instant::now() < end, "all places are still taken");
        std::thread::yield_now();
    }
}

/// Waits until the server has closed a socket that is not read, so that sends to it fail.
#[track_caller]
fn expect_gone(server: &Server, mut send: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while send() {
        assert!(Instant::now() < end, "a place was given away, and its socket is still there");
        // So much time at least as a request takes.
        server.http("nobody").answered(404);
    }
}

/// Sends a text and receives it back.
#[track_caller]
fn works(client: &mut RawClient) {
    client.value(&Command::Echo("still here".into()));
    client.expect_value(&Reply::Text("still here".into()));
}

#[track_caller]
fn said(client: &mut RawClient, text: &str) {
    client.expect_value(&Reply::Text(text.into()));
}

/// Subscribes a client, and waits for the confirmation.
#[track_caller]
fn subscribe(client: &mut RawClient, topic: &str) {
    client.value(&Command::Subscribe(topic.into()));
    client.expect_value(&Reply::Answer(true));
}

/// Nothing is read from a client while more than this waits for it: half of an outbox of 64 KiB.
const HELD_BYTES: usize = 32 * 1024;

/// Sends these bytes without end and reads nothing, until the server stops reading; then advances the clock until the
/// client is closed as a slow consumer. Calls `look` repeatedly with the number of bytes that wait for the client.
#[track_caller]
fn flood_until_closed(server: &Server, client: RawClient, bytes: Vec<u8>, mut look: impl FnMut(usize)) {
    let realtime = server.realtime();
    let flood = Flood::begin(realtime.clone(), client, bytes);
    let begun = Instant::now();
    while most_queued(realtime) <= HELD_BYTES {
        assert!(begun.elapsed() < PATIENCE, "all is read of a client that reads nothing");
        look(most_queued(realtime));
    }
    // Buffers of sockets may still take some of what waits: a client whose connection moves is not slow. Time passes only
    // while the server holds the client up: one that has its turn and sends nothing would be closed for its silence.
    let (begun, mut seconds) = (Instant::now(), 0);
    while realtime.stats().slow_consumers == 0 {
        let queued = most_queued(realtime);
        assert!(
            seconds < 3600 || begun.elapsed() < PATIENCE,
            "a client that reads nothing was not slow after {seconds} s of its time and {:?}: {queued} bytes wait",
            begun.elapsed(),
        );
        if queued > HELD_BYTES {
            seconds += 1;
            server.advance(Duration::from_secs(1));
        }
        look(queued);
        let is_gone = realtime.connections() < 2 && realtime.stats().slow_consumers == 0;
        assert!(!is_gone, "a client that reads nothing was closed for another reason");
    }
    while realtime.connections() > 1 {
        server.advance(Duration::from_secs(1));
        look(most_queued(realtime));
    }
    drop(flood);
}

fn most_queued(realtime: &Realtime) -> usize {
    let queued = realtime.filter(|_| true).iter().map(|connection| connection.queued_bytes()).max();
    queued.unwrap_or_default()
}

/// A client that sends from its own thread whenever the server reads.
struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn begin(realtime: Realtime, mut client: RawClient, bytes: Vec<u8>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                match most_queued(&realtime) {
                    0..=HELD_BYTES if !client.try_raw(&bytes) => break,
                    0..=HELD_BYTES => {}
                    _ => std::thread::yield_now(),
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
