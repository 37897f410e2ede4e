//! The order in which memory is freed: logs, then what may be dropped, then refusals, then whole clients, the largest
//! first; and each of them is told what it has lost.

use adapter_testing::{TestClient, TestFrame, TestServer, TestSubscribeOptions, block_on};
use futures_util::{StreamExt, stream};
use realtime_core::{
    Call, Config, Connection, Endpoint, Feed, Handler, Log, Memory, Overflow, Procedure, Realtime, Result,
    Subscription, Topic, websocket::Opcode,
};
use serde_json::{Value, json};
use std::{future::poll_fn, mem, sync::mpsc, task::Poll, time::Duration};

const BUDGET: usize = 1 << 20;
const OUTBOX: usize = 256 * 1024;
const KIB: usize = 1000;
/// Clients of topics that close those who do not keep up.
const READERS: usize = 4;
const ENTRIES: usize = 150;

const STORIES: Feed<String> = Topic::fixed("stories").log(Log::last(1000).within(Duration::from_secs(3600)));
const FOLLOW: Subscription<(), String> = Subscription::new("follow");

/// The input is the name of the topic.
struct Member;

impl Handler for Member {
    type Input = String;
    type ClientMessage = ();
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&topic(connection.input()))
    }

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

fn topic(name: &str) -> Topic<String> {
    match name {
        "drops" => Topic::new("drops").with_overflow(Overflow::drop_oldest(1000)),
        name => Topic::new(name.to_owned()),
    }
}

struct Scene {
    server: TestServer,
    drops: TestClient<Member>,
    readers: Vec<TestClient<Member>>,
    /// Publications to the topic that drops, and to each of the others.
    dropping: u64,
    sent: [u64; READERS],
}

impl Scene {
    async fn new() -> Self {
        let mut config = Config::default();
        (config.memory, config.outbox_bytes) = (BUDGET, OUTBOX);
        let api = Endpoint::new(()).feed(FOLLOW, |_, ()| async { Ok(STORIES.follow()) });
        let builder = Realtime::builder().config(config).endpoint("api", api).handler("member", Member);
        let server = TestServer::new(builder.manual_time().build());
        let mut drops = server.connect("member", "drops".to_owned()).await.unwrap();
        drops.stall();
        let mut readers = Vec::new();
        for number in 0..READERS {
            let mut reader = server.connect("member", number.to_string()).await.unwrap();
            reader.stall();
            readers.push(reader);
        }
        Self { server, drops, readers, dropping: 0, sent: [0; READERS] }
    }

    fn memory(&self) -> Memory {
        self.server.realtime().stats().memory
    }

    async fn publish(&mut self, name: &str) {
        self.server.realtime().to(&topic(name)).send(&"x".repeat(KIB)).unwrap();
        self.server.settle().await;
    }

    /// A kilobyte more for one of the readers; the first gets the most.
    async fn publish_more(&mut self) {
        let total = self.sent.iter().sum::<u64>() as usize;
        let reader = if total % 33 < 9 { 0 } else { total % (READERS - 1) + 1 };
        self.sent[reader] += 1;
        self.publish(&reader.to_string()).await;
    }

    /// Publishes until `acted` is true of the memory, and returns it.
    async fn until(&mut self, acted: impl Fn(&Memory) -> bool) -> Memory {
        for _ in 0..4000 {
            self.publish_more().await;
            let memory = self.memory();
            assert!(memory.used < BUDGET, "{memory:?}");
            if acted(&memory) {
                return memory;
            }
        }
        panic!("nothing happened: {:?}", self.memory());
    }
}

#[test]
fn the_gentlest_is_done_first_and_all_of_it_is_told() {
    block_on(async {
        let mut scene = Scene::new().await;
        let mut follower = scene.server.open("api").await.unwrap();
        let mut stories = follower.subscribe_with(FOLLOW, (), TestSubscribeOptions::default().credit(0)).await;
        stories.begun().await.unwrap();
        for _ in 0..ENTRIES {
            scene.server.realtime().append(&STORIES, &"x".repeat(KIB)).await.unwrap();
        }
        // Half an outbox is queued, and the rest held back.
        while scene.memory().used - scene.memory().logs < OUTBOX - 32 * KIB {
            scene.dropping += 1;
            scene.publish("drops").await;
        }
        let memory = scene.memory();
        assert!(memory.logs > ENTRIES * KIB, "{memory:?}");
        assert_eq!(acts(&memory), [0; 4]);

        let memory = scene.until(|memory| memory.trimmed_entries > 0).await;
        assert_eq!(acts(&memory)[1..], [0; 3]);
        let memory = scene.until(|memory| memory.dropped_publications > 0).await;
        assert_eq!(acts(&memory)[2..], [0; 2]);
        assert!(memory.logs > 0, "the newest entries stay");
        scene.until(|memory| memory.used > BUDGET * 15 / 16 / 100 * 95).await;
        assert_eq!(scene.server.open("api").await.unwrap_err().status(), 503);
        assert_eq!(acts(&scene.memory())[2..], [1, 0]);
        let memory = scene.until(|memory| memory.closed > 0).await;
        assert_eq!(memory.closed, 1, "{memory:?}");
        assert!(memory.used < BUDGET * 15 / 16 / 100 * 90, "{memory:?}");

        // The follower has credit again: it is told how many it has missed.
        stories.grant(1000).await;
        let (mut received, mut missed) = (0, 0);
        while stories.try_next().await.unwrap().is_some() {
            received += 1;
            missed += stories.gap().map_or(0, |gap| gap.count);
        }
        assert_eq!((missed, received + missed), (memory.trimmed_entries, ENTRIES as u64));

        let read = read(&mut scene.drops).await;
        assert_eq!((read.missed, read.end), (memory.dropped_publications, None));
        assert_eq!(read.received + read.missed, scene.dropping);
        for (number, reader) in scene.readers.iter_mut().enumerate() {
            let read = self::read(reader).await;
            match number {
                0 => assert_eq!(read.end, Some((1013, "slow consumer: the server is short of memory".into()))),
                _ => assert_eq!((read.received, read.end), (scene.sent[number], None)),
            }
        }
        let memory = scene.memory();
        assert_eq!(memory.used, memory.logs, "{memory:?}");
    });
}

/// An application sends to many clients in one go, and no driver has a turn meanwhile.
#[test]
fn messages_to_single_clients_keep_within_the_budget_too() {
    block_on(async {
        let mut config = Config::default();
        (config.memory, config.outbox_bytes) = (BUDGET, OUTBOX);
        let server =
            TestServer::new(Realtime::builder().config(config).handler("member", Member).manual_time().build());
        let mut clients = Vec::new();
        for number in 0..60 {
            let mut client: TestClient<Member> = server.connect("member", number.to_string()).await.unwrap();
            client.stall();
            clients.push(client);
        }
        let realtime = server.realtime();
        let send_to_all = |bytes| {
            for connection in realtime.filter(|_| true) {
                // Some are closed meanwhile.
                let _ = connection.downcast::<Member>().unwrap().send("x".repeat(bytes));
                let memory = realtime.stats().memory;
                assert!(memory.used <= BUDGET, "{memory:?}");
            }
        };
        // Until something waits for each of them.
        while !realtime.filter(|connection| connection.queued_bytes() == 0).is_empty() {
            send_to_all(2 * KIB);
            server.settle().await;
        }
        assert_eq!(acts(&realtime.stats().memory), [0; 4]);
        send_to_all(30 * KIB);
        let memory = realtime.stats().memory;
        assert!(memory.closed > 0, "{memory:?}");
    });
}

/// Items of as many keys, of which the newest is kept for a client that does not keep up.
const VALUES: Subscription<usize, (usize, String)> = Subscription::new("values");
const LARGE: Procedure<usize, String> = Procedure::new("large");

fn of_values() -> TestServer {
    let mut config = Config::default();
    (config.memory, config.outbox_bytes) = (BUDGET, OUTBOX);
    let values = VALUES.with_overflow(Overflow::conflate(|(key, _): &(usize, String)| key.to_string()));
    let api = Endpoint::new(())
        .subscription(values, |_: Call<()>, count: usize| async move {
            let values = (0..count).map(|key| Ok((key, "x".repeat(KIB))));
            Ok(stream::iter(values).chain(stream::pending()))
        })
        .procedure(LARGE, |_: Call<()>, bytes: usize| async move {
            // All that were sent with it have begun when it is answered.
            yield_once().await;
            Ok("x".repeat(bytes))
        });
    TestServer::new(Realtime::builder().config(config).endpoint("api", api).manual_time().build())
}

/// The body of a call counts for as long as the call runs, which its input does.
#[test]
fn the_body_of_a_call_is_counted_until_the_call_has_ended() {
    block_on(async {
        let (seen, looks) = mpsc::channel();
        let measure = Procedure::<String, ()>::new("measure");
        let api = Endpoint::new(()).procedure(measure, move |call: Call<()>, _: String| {
            let seen = seen.clone();
            async move {
                yield_once().await;
                seen.send(call.realtime().stats().memory.inbound).unwrap();
                Ok(())
            }
        });
        let server = TestServer::new(Realtime::builder().endpoint("api", api).manual_time().build());
        server.http("api").mutate(measure, "x".repeat(10 * KIB)).await.unwrap();
        assert!((10 * KIB..40 * KIB).contains(&looks.recv().unwrap()));
        assert_eq!(server.realtime().stats().memory.used, 0);
    });
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        cx.waker().wake_by_ref();
        if mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// For want of credit, while the transport takes everything.
#[test]
fn items_that_a_subscription_holds_back_are_counted_until_they_are_queued() {
    block_on(async {
        let server = of_values();
        let mut client = server.open("api").await.unwrap();
        let mut values = client.subscribe_with(VALUES, 100, TestSubscribeOptions::default().credit(0)).await;
        server.settle().await;
        let memory = server.realtime().stats().memory;
        assert!((100 * KIB..110 * KIB).contains(&memory.own), "{memory:?}");
        assert_eq!(memory.places, 100 * 120);
        values.grant(40).await;
        server.settle().await;
        let memory = server.realtime().stats().memory;
        assert!((60 * KIB..66 * KIB).contains(&memory.own), "{memory:?}");
        drop(client);
        server.settle().await;
        assert_eq!(server.realtime().stats().memory.used, 0);
    });
}

#[test]
fn an_answer_that_waits_for_room_is_counted() {
    block_on(async {
        let server = of_values();
        let mut client = server.open("api").await.unwrap();
        client.stall();
        let calls = ["1", "2", "3"].map(|id| {
            let call = json!({ "type": "call", "id": id, "path": "large", "input": OUTBOX / 3 * 2 });
            TestFrame::new(Opcode::Text, call.to_string()).to_bytes()
        });
        client.send_bytes(&calls.concat()).await;
        server.settle().await;
        let memory = server.realtime().stats().memory;
        assert!(memory.own > OUTBOX / 3 * 2, "{memory:?}");
        client.resume();
        for _ in 0..3 {
            assert_eq!(client.recv_frame().await.unwrap().as_text().len() / 1000, OUTBOX / 3 * 2 / 1000);
        }
        server.settle().await;
        assert_eq!(server.realtime().stats().memory.used, 0);
    });
}

/// First each keeps the newest item, and then the one for which most waits is closed.
#[test]
fn what_subscriptions_hold_back_is_dropped_before_clients_are_closed() {
    block_on(async {
        let server = of_values();
        let mut clients = Vec::new();
        for count in [120; 10] {
            let mut client = server.open("api").await.unwrap();
            let subscribe =
                json!({ "type": "subscribe", "id": "1", "path": "values", "input": count, "credit": 0 });
            client.send_text(&subscribe.to_string()).await;
            server.settle().await;
            let memory = server.realtime().stats().memory;
            assert!(memory.used < BUDGET, "{memory:?}");
            clients.push(client);
        }
        let memory = server.realtime().stats().memory;
        assert!(memory.dropped_publications > 0, "{memory:?}");
        assert_eq!(memory.closed, 0);
        // The items of the last came when there was room again.
        let last = clients.last_mut().unwrap();
        last.send_text(&json!({ "type": "credit", "id": "1", "more": 1000 }).to_string()).await;
        let (mut received, mut missed) = (0, 0);
        while received + missed < 120 {
            let packet: Value = serde_json::from_str(&last.recv_frame().await.unwrap().as_text()).unwrap();
            match packet["type"].as_str().unwrap() {
                "data" => received += 1,
                "gap" => missed += packet["gap"]["count"].as_u64().or(packet["count"].as_u64()).unwrap(),
                _ => {}
            }
        }
        assert_eq!(received + missed, 120);
    });
}

fn acts(memory: &Memory) -> [u64; 4] {
    [memory.trimmed_entries, memory.dropped_publications, memory.refused, memory.closed]
}

/// The messages that a client has read since it reads again.
struct Read {
    received: u64,
    missed: u64,
    end: Option<(u16, String)>,
}

async fn read(client: &mut TestClient<Member>) -> Read {
    client.resume();
    let mut read = Read { received: 0, missed: 0, end: None };
    while let Ok(Some(frame)) = client.try_frame().await {
        if let Some(close) = frame.as_close() {
            read.end = Some(close);
            return read;
        }
        let packet: Value = serde_json::from_str(&frame.as_text()).unwrap();
        match packet["type"].as_str().unwrap() {
            "message" => read.received += 1,
            "gap" => read.missed += packet["gap"]["count"].as_u64().or(packet["count"].as_u64()).unwrap(),
            _ => {}
        }
    }
    read
}
