//! Clients of a feed, and servers that are killed: a log in memory dies with its server.

use adapter_hyper::{routes, serve};
use futures_util::future::join_all;
use realtime_client::{Client, Format, Position, Reconnect, Update, Updates};
use realtime_core::{Call, Endpoint, Feed, Log, Procedure, Realtime, Result, Subscription, Topic};
use serde::{Deserialize, Serialize};
use std::{
    future::pending,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::runtime::Runtime;

/// A number, or all numbers so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Change {
    Whole(u64),
    Next(u64),
}

const NUMBERS: Feed<Change> = Topic::fixed("numbers").log(Log::last(100));
const CHANGES: Subscription<(), Change> = Subscription::new("changes");
const STATE: Subscription<(), Change> = Subscription::new("state");
const ADD: Procedure<u64, ()> = Procedure::new("add");

/// The last number, which outlives the servers.
type Last = Arc<AtomicU64>;

fn endpoint(last: &Last) -> Endpoint<Last> {
    Endpoint::new(Arc::clone(last))
        .feed(CHANGES, |_, ()| async { Ok(NUMBERS.follow()) })
        .feed(STATE, |call: Call<Last>, ()| async move {
            let load = move || async move { Ok(Change::Whole(call.state().load(Relaxed))) };
            Ok(NUMBERS.follow().or_begin_with(load))
        })
        .procedure(ADD, |call: Call<Last>, count| async move {
            for _ in 0..count {
                append(&call).await?;
            }
            Ok(())
        })
}

async fn append(call: &Call<Last>) -> Result {
    let number = call.state().fetch_add(1, Relaxed) + 1;
    call.append(&NUMBERS, &Change::Next(number)).await?;
    Ok(())
}

/// One life of a server. Dropping it ends its sockets without close frames.
struct Server(Option<Runtime>);

impl Server {
    fn start(listener: &TcpListener, last: &Last) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let realtime = Realtime::builder().endpoint("api", endpoint(last)).build();
        let listener = listener.try_clone().unwrap();
        runtime.spawn(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            serve(listener, routes(&realtime), &realtime).shutdown(pending()).await.unwrap();
        });
        Self(Some(runtime))
    }
}

impl Server {
    /// Ends it, and waits until nothing of it runs.
    fn kill(mut self) {
        let runtime = self.0.take().unwrap();
        tokio::task::block_in_place(|| runtime.shutdown_timeout(Duration::from_secs(20)));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn client(address: SocketAddr, format: Format) -> Client {
    let reconnect = Reconnect::default().between(Duration::from_millis(1), Duration::from_millis(20));
    Client::builder(format!("ws://{address}/__realtime/api")).format(format).reconnect(reconnect).connect()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes")
}

/// One who reads a feed, and keeps books of it.
struct Reader {
    updates: Updates<Change>,
    number: u64,
    position: Option<Position>,
    begun: u32,
    diverged: u32,
}

impl Reader {
    fn new(updates: Updates<Change>) -> Self {
        Self { updates, number: 0, position: None, begun: 0, diverged: 0 }
    }

    async fn read(&mut self) {
        match soon(self.updates.next()).await.unwrap().unwrap() {
            Update::Begun { position, resumed } => self.begin(position, resumed),
            Update::Gap(gap) => {
                assert_eq!((gap.count, &*gap.cause), (0, "diverged"));
                self.diverged += 1;
                // What is missing is not known: anything may follow.
                self.number = 0;
            }
            Update::Item { value, position } => self.take(value, position.expect("it is of a feed")),
        }
    }

    fn begin(&mut self, position: Position, resumed: Option<bool>) {
        // A server that is dying may take a connection once more.
        self.begun += u32::from(resumed != Some(true));
        match resumed {
            Some(true) => assert_eq!(Some(&position), self.position.as_ref()),
            Some(false) => assert_ne!(Some(&position.epoch), self.position.as_ref().map(|last| &last.epoch)),
            None => assert_eq!(self.position, None),
        }
        self.position = Some(position);
    }

    fn take(&mut self, change: Change, position: Position) {
        let last = self.position.replace(position.clone()).expect("it has begun");
        assert_eq!(last.epoch, position.epoch);
        match change {
            Change::Whole(number) => {
                assert_eq!(last.offset, position.offset);
                assert!(number >= self.number);
                self.number = number;
            }
            Change::Next(number) => {
                assert_eq!(last.offset + 1, position.offset, "twice, or out of order");
                assert!(self.number == 0 || number <= self.number + 1, "{number} behind {}", self.number);
                self.number = number.max(self.number);
            }
        }
    }

    async fn read_to(&mut self, number: u64) {
        while self.number < number {
            self.read().await;
        }
    }
}

/// In each life some entries are read; some are on their way, or lost, when it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_feed_lose_nothing_unsaid_over_twenty_lives_of_its_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let last = Last::default();
    let mut server = Server::start(&listener, &last);
    let formats = [Format::Json, Format::MessagePack];
    let clients: Vec<_> = (0..12).map(|number| client(address, formats[number % 2])).collect();
    let mut changes: Vec<_> = clients.iter().map(|client| Reader::new(client.subscribe(CHANGES, ()))).collect();
    let mut states: Vec<_> = clients.iter().map(|client| Reader::new(client.subscribe(STATE, ()))).collect();
    for life in 0..=20 {
        // Both are followed before anything is appended.
        for reader in changes.iter_mut().chain(&mut states) {
            while reader.begun <= life {
                reader.read().await;
            }
        }
        soon(clients[0].call(ADD, 10)).await.unwrap();
        let number = last.load(Relaxed);
        join_all(changes.iter_mut().chain(&mut states).map(|reader| reader.read_to(number))).await;
        if life == 20 {
            break;
        }
        let cut_off = tokio::spawn(clients[1].call(ADD, 10));
        changes[0].read_to(number + 1).await;
        server.kill();
        // It may have its answer or not.
        let _ = soon(cut_off).await.unwrap();
        server = Server::start(&listener, &last);
    }
    for reader in &changes {
        assert_eq!((reader.begun, reader.diverged), (21, 20), "each loss is told once");
    }
    for reader in &states {
        assert_eq!((reader.begun, reader.diverged), (21, 0), "a state takes the place of a gap");
    }
}

#[tokio::test]
async fn what_a_call_wrote_is_seen_in_json() {
    what_a_call_wrote_is_seen(Format::Json).await;
}

#[tokio::test]
async fn what_a_call_wrote_is_seen_in_messagepack() {
    what_a_call_wrote_is_seen(Format::MessagePack).await;
}

async fn what_a_call_wrote_is_seen(format: Format) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let last = Last::default();
    let _server = Server::start(&listener, &last);
    let client = client(listener.local_addr().unwrap(), format);
    // The second has frames of its own.
    let mut readers = [client.subscribe(CHANGES, ()), client.subscribe(CHANGES, ())].map(Reader::new);
    let nothing = soon(client.call(ADD, 0).written()).await.unwrap();
    assert_eq!(nothing.at, []);
    let written = soon(client.call(ADD, 3).written()).await.unwrap();
    assert_eq!((&*written.at[0].topic, written.at[0].position.offset), ("numbers", 3));
    for reader in &mut readers {
        assert!(reader.updates.has(&nothing));
        while !reader.updates.has(&written) {
            reader.read().await;
        }
        assert_eq!(reader.number, 3);
    }
    let text = readers[0].updates.position().unwrap().to_string();
    soon(client.call(ADD, 2)).await.unwrap();
    let mut later = client.subscribe_after(CHANGES, (), text.parse().unwrap());
    let begun = Update::Begun { position: text.parse().unwrap(), resumed: Some(true) };
    assert_eq!(soon(later.next()).await.unwrap().unwrap(), begun);
    for number in 4..=5 {
        let Update::Item { value, .. } = soon(later.next()).await.unwrap().unwrap() else {
            panic!("it is no item")
        };
        assert_eq!(value, Change::Next(number));
    }
}
