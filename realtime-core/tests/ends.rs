//! The order of answers, and how streams of events end, where the handler is slow.
#![cfg(feature = "deflate")]

use adapter_testing::{TestClient, TestFrame, TestServer, block_on};
use realtime_core::{
    CloseCode, Config, Connection, Deflate, Error, FnConnection, Handler, Message, Rate, Realtime, Result,
    websocket::Opcode,
};
use std::{
    future::{pending, poll_fn},
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::Duration,
};

/// Answers each message with as much as a turn compresses.
struct Talker;

impl Handler for Talker {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_message(&self, connection: &Connection<Self>, _: Message) -> Result {
        Ok(connection.send("x".repeat(20_000).into())?)
    }
}

/// The opcodes that are answered to three messages and `last`, which arrive together.
fn answers(extension: Option<&str>, last: &TestFrame) -> Vec<Opcode> {
    block_on(async {
        let mut config = Config::default();
        config.deflate = Some(Deflate::default());
        let realtime = Realtime::builder().config(config).handler("talk", Talker.plain());
        let server = TestServer::new(realtime.manual_time().build());
        let mut request = server.request("talk");
        if let Some(extension) = extension {
            request = request.header("sec-websocket-extensions", extension);
        }
        let mut client: TestClient = request.open().await.unwrap();
        let mut bytes = TestFrame::text("a").to_bytes().repeat(3);
        bytes.extend(last.to_bytes());
        client.send_bytes(&bytes).await;
        let mut seen = Vec::new();
        while let Ok(Some(frame)) = client.try_frame().await {
            seen.push(frame.opcode);
        }
        seen
    })
}

#[test]
fn compressing_does_not_change_the_order_of_answers() {
    let text = Opcode::Text;
    for (last, answer) in [(Opcode::Ping, Opcode::Pong), (Opcode::Continuation, Opcode::Close)] {
        for extension in [None, Some("permessage-deflate")] {
            let seen = answers(extension, &TestFrame::new(last, "p"));
            assert_eq!(seen, [text, text, text, answer], "{extension:?}");
        }
    }
}

#[test]
fn a_stream_ends_though_its_handler_still_runs() {
    block_on(async {
        let realtime = Realtime::builder().handler_fn("slow", |_: FnConnection<(), String>| async move {
            pending::<()>().await;
            Ok(())
        });
        let server = TestServer::new(realtime.manual_time().build());
        let events = server.events("slow").open().await.unwrap();
        server.realtime().filter(|_| true)[0].close(CloseCode::NORMAL, "");
        server.settle().await;
        assert!(events.is_ended());
    });
}

#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        let waker = gate.1.take();
        drop(gate);
        waker.unwrap().wake();
    }
}

/// Refuses its clients once it is allowed to.
struct Refuses(Gate);

impl Handler for Refuses {
    type Input = ();
    type ClientMessage = ();
    type ServerMessage = String;

    async fn on_open(&self, _: &Connection<Self>) -> Result {
        poll_fn(|cx| {
            let mut gate = self.0.0.lock().unwrap();
            gate.1 = Some(cx.waker().clone());
            if gate.0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Err(Error::permission_denied("not today"))
    }

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

#[test]
fn a_comment_does_not_open_a_stream() {
    block_on(async {
        let mut config = Config::default();
        config.comment_interval = Duration::from_secs(2);
        let gate = Gate::default();
        let realtime = Realtime::builder().config(config).handler("refuses", Refuses(gate.clone()));
        let server = TestServer::new(realtime.manual_time().build());
        let mut opening = Box::pin(server.events("refuses").open());
        for _ in 0..2 {
            let opened = poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx).is_ready())).await;
            assert!(!opened, "nobody has decided yet");
            server.advance(Duration::from_secs(3)).await;
        }
        gate.open();
        assert_eq!(opening.await.unwrap_err().status(), 403);
    });
}

/// Cuts its clients off before they are served.
struct Cuts;

impl Handler for Cuts {
    type Input = ();
    type ClientMessage = ();
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.close(CloseCode::ABNORMAL, "");
        connection.closed().await;
        Ok(())
    }

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

#[test]
fn a_stream_that_is_cut_before_it_opens_says_when_to_come_back() {
    block_on(async {
        let server = TestServer::new(Realtime::builder().handler("cuts", Cuts).manual_time().build());
        let mut events = server.events("cuts").open().await.unwrap();
        let told = format!("{:?}", events.try_next().await);
        assert!(told.contains("UNAVAILABLE"), "{told}");
        assert!(events.retry().is_some());
    });
}

#[test]
fn a_subprotocol_that_is_not_spoken_costs_nothing() {
    block_on(async {
        let mut config = Config::default();
        config.rates.requests_per_peer = Some(Rate::new(1, Duration::from_secs(1000)));
        let server =
            TestServer::new(Realtime::builder().config(config).handler("cuts", Cuts).manual_time().build());
        for _ in 0..2 {
            let request = server.request("cuts").subprotocol("realtime.nonsense");
            let refused = request.peer("203.0.113.7:1".parse().unwrap()).open().await.unwrap_err();
            assert_eq!(refused.status(), 400);
        }
    });
}
