//! The server in memory, in every kind of test.

use adapter_testing::{Ended, TestFrame, TestServer, block_on, conformance::Gate};
use bytes::Bytes;
use realtime_core::{
    Close, Config, Connection, Endpoint, FnConnection, Function, Handler, Procedure, Realtime, Reject, Result,
    websocket::Opcode,
};
use serde::{Deserialize, Serialize};
use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

#[derive(Serialize, Deserialize)]
struct Greeting {
    name: String,
}

/// A handler that sends a greeting, and returns each message in capitals.
struct Shout {
    closed: Sender<Close>,
}

impl Handler for Shout {
    type Input = Greeting;
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.send(format!("hello {}", connection.input().name))?;
        Ok(())
    }

    async fn on_message(&self, connection: &Connection<Self>, text: String) -> Result {
        connection.send(text.to_uppercase())?;
        Ok(())
    }

    async fn on_close(&self, _: &Connection<Self>, close: Close) {
        let _ = self.closed.send(close);
    }
}

fn server() -> (TestServer, Receiver<Close>) {
    let (closed, seen) = channel();
    (TestServer::new(Realtime::builder().handler("shout", Shout { closed }).build()), seen)
}

fn ann() -> Greeting {
    Greeting { name: "Ann & co".into() }
}

async fn talks(server: &TestServer) {
    let mut client = server.connect::<Shout>("shout", ann()).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), "hello Ann & co");
    client.send("hi".into()).await;
    assert_eq!(client.recv().await.unwrap(), "HI");
    assert_eq!(client.close(1000, "bye").await, Some((1000, String::new())));
}

#[test]
fn works_in_a_plain_test() {
    let (server, seen) = server();
    block_on(talks(&server));
    assert_eq!(seen.try_recv().unwrap().reason, "bye");
}

#[tokio::test]
async fn works_in_a_test_of_tokio() {
    let (server, _seen) = server();
    talks(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn works_on_threads() {
    let (server, _seen) = server();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { talks(&server).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// A handler may use tokio's own clock. While paused, it advances whenever all tasks wait.
#[tokio::test(start_paused = true)]
async fn works_with_the_paused_time_of_tokio() {
    let realtime = Realtime::builder()
        .handler_fn("slow", |connection: FnConnection<String, String>| async move {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            connection.send("an hour later".into())?;
            Ok(())
        })
        .build();
    let server = TestServer::new(realtime);
    let mut client = server.connect::<Function<String, String, ()>>("slow", ()).await.unwrap();
    assert_eq!(client.recv().await.unwrap(), "an hour later");
    assert_eq!(client.recv().await, Err(Ended::Closed { code: 1000, reason: String::new() }));
}

/// Only MessagePack carries bytes as bytes.
#[test]
fn a_client_speaks_what_it_offers() {
    type Relay = Function<Bytes, Bytes, ()>;
    let realtime = Realtime::builder()
        .handler_fn("relay", |connection: FnConnection<Bytes, Bytes>| async move {
            while let Some(bytes) = connection.recv().await {
                if bytes.is_empty() {
                    return Err(realtime_core::Error::invalid_argument("nothing to relay"));
                }
                connection.send(bytes)?;
            }
            Ok(())
        })
        .build();
    block_on(async {
        let server = TestServer::new(realtime);
        let bytes = Bytes::from_static(b"\xff\0");
        for (name, opcode) in [("realtime.v1.msgpack", Opcode::Binary), ("realtime.v1.json", Opcode::Text)] {
            let mut ann = server.request("relay").subprotocol(name).connect::<Relay>().await.unwrap();
            assert_eq!(ann.response().headers()["sec-websocket-protocol"], name);
            ann.send(bytes.clone()).await;
            assert_eq!(ann.recv().await.as_ref(), Ok(&bytes), "the welcome is passed over");
            assert_eq!(ann.try_recv().await, Ok(None));
            ann.send(bytes.clone()).await;
            assert_eq!(ann.recv_frame().await.unwrap().opcode, opcode);
            ann.send(Bytes::new()).await;
            let Err(Ended::Error(error)) = ann.recv().await else { panic!("an error is told") };
            assert_eq!((&*error.code, &*error.message), ("INVALID_ARGUMENT", "nothing to relay"));
        }
        let mut ann = server.request("relay").connect::<Relay>().await.unwrap();
        ann.send_text(r#"{"type":"message","value":[255,0]}"#).await;
        assert_eq!(ann.recv().await, Ok(bytes));
    });
}

#[test]
fn time_goes_by_only_when_it_is_told_to() {
    block_on(async {
        let (server, seen) = server();
        let mut ann = server.connect::<Shout>("shout", ann()).await.unwrap();
        ann.silence();
        server.advance(Duration::from_secs(59)).await;
        assert!(!ann_is_gone(&server));
        server.advance(Duration::from_secs(2)).await;
        // A client that is gone does not reply to the close frame: then it is cut.
        server.advance(Duration::from_secs(6)).await;
        assert!(ann_is_gone(&server));
        assert_eq!(seen.try_recv().unwrap().code.get(), 1001);
    });
}

fn ann_is_gone(server: &TestServer) -> bool {
    server.realtime().connections() == 0
}

#[test]
fn a_client_answers_pings_by_itself() {
    block_on(async {
        let (server, _seen) = server();
        let mut ann = server.connect::<Shout>("shout", ann()).await.unwrap();
        server.advance(Duration::from_secs(3600)).await;
        ann.recv().await.unwrap();
        ann.send("still here".into()).await;
        assert_eq!(ann.recv().await.unwrap(), "STILL HERE");
    });
}

/// After a pause, as of a stopped process or a sleeping machine, waiting data is read before a client counts as silent.
#[test]
fn a_pause_of_the_server_is_no_silence_of_its_clients() {
    block_on(async {
        let (server, _seen) = server();
        let mut ann = server.connect::<Shout>("shout", ann()).await.unwrap();
        ann.recv().await.unwrap();
        ann.silence();
        for seconds in [36, 60, 3600] {
            // Nearly the longest silence allowed.
            server.advance(Duration::from_secs(54)).await;
            server.pause(Duration::from_secs(seconds));
            ann.send("meanwhile".into()).await;
            server.advance(Duration::from_secs(5)).await;
            while ann.recv_frame().await.unwrap().opcode != Opcode::Text {}
            assert!(!ann_is_gone(&server), "after a pause of {seconds} s");
        }
        server.advance(Duration::from_secs(70)).await;
        assert!(ann_is_gone(&server));
    });
}

/// Of a pause, at most one ping interval counts.
#[test]
fn a_client_that_was_quiet_before_a_pause_may_answer_a_ping() {
    block_on(async {
        let (server, _seen) = server();
        let mut ann = server.connect::<Shout>("shout", ann()).await.unwrap();
        ann.recv().await.unwrap();
        server.pause(Duration::from_secs(60));
        server.advance(Duration::from_secs(10)).await;
        assert!(!ann_is_gone(&server));
    });
}

/// A call whose answer is ready is not late.
#[test]
fn what_is_ready_after_a_pause_is_answered() {
    let gate = Gate::default();
    let held = gate.clone();
    let wait = Procedure::<(), u32>::new("wait").with_timeout(Duration::from_secs(5));
    let api = Endpoint::new(()).procedure(wait, move |_, ()| {
        let gate = held.clone();
        async move {
            gate.wait().await;
            Ok(7)
        }
    });
    block_on(async {
        let server = TestServer::new(Realtime::builder().endpoint("api", api).build());
        let mut client = server.open("api").await.unwrap();
        let ready = client.begin(wait, ()).await;
        server.settle().await;
        server.pause(Duration::from_secs(60));
        gate.open();
        assert_eq!(ready.result().await, Ok(7));
    });
}

/// Connections that were opened together are pinged one after the other, and each in time.
#[test]
fn pings_are_spread_over_time() {
    block_on(async {
        let (server, _seen) = server();
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(server.connect::<Shout>("shout", ann()).await.unwrap());
        }
        for client in &mut clients {
            client.recv().await.unwrap();
            client.silence();
        }
        let mut most = 0;
        for _ in 0..4 * 25 + 1 {
            server.advance(Duration::from_millis(250)).await;
            let mut pinged = 0;
            for client in &mut clients {
                pinged += usize::from(client.try_frame().await.unwrap().is_some());
            }
            most = most.max(pinged);
        }
        assert!((1..=25).contains(&most), "{most} of 200 in one tick");
    });
}

#[test]
fn a_dropped_client_is_gone() {
    block_on(async {
        let (server, seen) = server();
        drop(server.connect::<Shout>("shout", ann()).await.unwrap());
        server.settle().await;
        assert_eq!(seen.try_recv().unwrap().code.get(), 1006);
    });
}

#[test]
fn a_refusal_tells_its_status_and_why() {
    block_on(async {
        let (server, _seen) = server();
        let refused = server.request("shout").connect::<Shout>().await.unwrap_err();
        assert_eq!((refused.status().as_u16(), &*refused.code()), (400, "INVALID_ARGUMENT"));
        let refused = server.request("nobody").connect::<Shout>().await.unwrap_err();
        assert_eq!(refused.status().as_u16(), 404);
    });
}

#[test]
fn headers_variables_and_address_reach_the_middleware() {
    #[derive(Clone)]
    struct Layer(&'static str);

    let realtime = Realtime::builder()
        .middleware(|context: realtime_core::Context, next: realtime_core::Next| async move {
            let layer = context.var::<Layer>().map(|layer| layer.0);
            let seen = (context.header("authorization"), layer, context.peer());
            if seen == (Some("me"), Some("set"), Some(([10, 0, 0, 1], 7).into())) {
                return next.run(context).await;
            }
            Err(Reject::unauthorized())
        })
        .handler_fn("fn", |connection: FnConnection<(), ()>| async move {
            connection.closed().await;
            Ok(())
        })
        .build();
    block_on(async {
        let server = TestServer::new(realtime);
        let refused = server.request("fn").connect::<Function<(), (), ()>>().await.unwrap_err();
        assert_eq!(refused.status().as_u16(), 401);
        let request = server.request("fn").header("authorization", "me").var(Layer("set"));
        request.peer(([10, 0, 0, 1], 7).into()).connect::<Function<(), (), ()>>().await.unwrap();
    });
}

#[test]
fn raw_frames_go_both_ways() {
    block_on(async {
        let (server, _seen) = server();
        let mut ann = server.connect::<Shout>("shout", ann()).await.unwrap();
        ann.recv_frame().await.unwrap();
        ann.send_frame(&TestFrame::new(Opcode::Ping, "x")).await;
        assert_eq!(ann.recv_frame().await, Ok(TestFrame::new(Opcode::Pong, "x")));
        ann.send_bytes(b"\x81\x01unmasked").await;
        let close = ann.recv_frame().await.unwrap().as_close();
        assert_eq!(close, Some((1002, "client frame not masked".into())));
        assert_eq!(ann.recv_frame().await, Err(Ended::Lost));
    });
}

#[test]
fn a_stalled_client_is_closed_and_its_memory_comes_back() {
    block_on(async {
        let (server, seen) = server();
        let mut ann = server.connect::<Shout>("shout", ann()).await.unwrap();
        ann.stall();
        let connection = server.realtime().filter(|_| true).remove(0).downcast::<Shout>().unwrap();
        let mut sent = 0;
        while connection.send("x".repeat(10_000)).is_ok() {
            sent += 1;
            server.settle().await;
        }
        assert!(sent > 100, "{sent}");
        assert!(connection.queued_bytes() <= 1024 * 1024);
        server.advance(Duration::from_secs(70)).await;
        assert_eq!((seen.try_recv().unwrap().code.get(), connection.queued_bytes()), (1013, 0));
    });
}

/// Its silence is caused by the server: it is pinged at the usual times, and not closed.
#[test]
fn a_client_that_is_held_up_is_left_alone() {
    let gate = Gate::default();
    let held = gate.clone();
    let mut config = Config::default();
    config.queued_messages = 1;
    let realtime = Realtime::builder()
        .config(config)
        .handler_fn("slow", move |connection: FnConnection<String, String>| {
            let gate = held.clone();
            async move {
                gate.wait().await;
                while let Some(text) = connection.recv().await {
                    connection.send(text)?;
                }
                Ok(())
            }
        })
        .build();
    block_on(async {
        let server = TestServer::new(realtime);
        let mut ann = server.connect::<Function<String, String, ()>>("slow", ()).await.unwrap();
        ann.silence();
        for _ in 0..3 {
            ann.send("hello".into()).await;
        }
        server.advance(Duration::from_secs(600)).await;
        gate.open();
        server.settle().await;
        let mut pings = 0;
        let mut frame = ann.recv_frame().await.unwrap();
        while frame.opcode == Opcode::Ping {
            pings += 1;
            frame = ann.recv_frame().await.unwrap();
        }
        // One every 25 seconds.
        assert_eq!((pings, frame.opcode), (24, Opcode::Text));
    });
}

#[test]
#[should_panic(expected = "the test waits in vain")]
fn a_message_that_never_comes_fails_the_test() {
    let (server, _seen) = server();
    block_on(async {
        let mut ann = server.connect::<Shout>("shout", ann()).await.unwrap();
        ann.recv().await.unwrap();
        let _ = ann.recv().await;
    });
}
