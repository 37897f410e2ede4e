//! The end of a connection: `on_close` runs once, and no other client is affected.

use super::{said, start, start_with, works};
use crate::{
    TestFrame,
    conformance::{Command, Seen, Sight, Subject, lab::Explosive},
};
use realtime_core::{CloseCode, FnConnection, Initiator, handler_fn};
use std::time::Duration;

/// Longer than the closing timeout.
const LONG: Duration = Duration::from_secs(6);

#[track_caller]
fn closed_once(seen: &Seen, code: u16, initiator: Initiator) -> String {
    let close = seen.closed();
    assert_eq!((close.code.get(), close.initiator), (code, initiator), "{close:?}");
    seen.nothing_more();
    close.reason
}

pub fn the_close_code_reaches_the_handler(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for code in [1000, 1001, 1011, 3000, 4999] {
        server.connect("lab").close(code, "bye");
        assert_eq!(closed_once(&seen, code, Initiator::Peer), "bye");
    }
    while server.realtime().connections() > 0 {
        std::thread::yield_now();
    }
}

pub fn a_close_without_a_code_is_answered_without_one(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("lab");
    client.raw(&[0x88, 0x80, 1, 2, 3, 4]);
    assert_eq!(client.rest(), [0x88, 0]);
    closed_once(&seen, 1005, Initiator::Peer);
}

pub fn messages_before_a_close_are_answered_first(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    let mut client = server.connect("lab");
    client.value(&Command::EchoAtGate("late".into()));
    client.frame(&TestFrame::close(1000, ""));
    seen.opened();
    assert_eq!(seen.next(), Sight::Message);
    gate.open();
    said(&mut client, "late");
    assert_eq!(client.recv().as_close(), Some((1000, String::new())));
    closed_once(&seen, 1000, Initiator::Peer);
}

pub fn the_server_closes_with_code_and_reason_after_its_data(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("lab");
    client.value(&Command::Close { code: 4321, reason: "because".into() });
    // Comes after the close has begun, and is not handled.
    client.value(&Command::Echo("ignored".into()));
    said(&mut client, "last words");
    assert_eq!(client.expect_close(4321), "because");
    assert_eq!(closed_once(&seen, 4321, Initiator::Server), "because");
}

pub fn on_close_runs_once_after_a_lost_connection(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("lab");
    works(&mut client);
    drop(client);
    closed_once(&seen, 1006, Initiator::Peer);

    let mut client = server.connect("lab");
    works(&mut client);
    client.finish();
    client.expect_end();
    closed_once(&seen, 1006, Initiator::Peer);
}

pub fn on_close_runs_once_when_a_client_leaves_during_on_open(subject: &Subject) {
    let (server, seen, gate) = start(subject);
    let client = server.request("lab").query("open=wait").connect();
    seen.opened();
    drop(client);
    // `on_open` is let finish; the other methods are not called for nothing.
    gate.open();
    closed_once(&seen, 1006, Initiator::Peer);
}

pub fn on_close_runs_once_when_on_open_panics(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut other = server.connect("lab");
    works(&mut other);
    let mut client = server.request("lab").query("open=panic").connect();
    assert_eq!(client.expect_close(1011), "handler failed");
    assert_eq!(closed_once(&seen, 1011, Initiator::Server), "handler failed");
    works(&mut other);
}

pub fn on_close_runs_once_when_on_message_panics(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let (mut client, mut other) = (server.connect("lab"), server.connect("lab"));
    works(&mut client);
    works(&mut other);
    client.value(&Command::Panic);
    client.expect_close(1011);
    closed_once(&seen, 1011, Initiator::Server);
    works(&mut other);
}

pub fn a_panic_in_on_close_harms_nobody(subject: &Subject) {
    let (server, seen, _) = start(subject);
    server.request("lab").query("close=panic").connect().close(1000, "");
    closed_once(&seen, 1000, Initiator::Peer);
    works(&mut server.connect("lab"));
    while server.realtime().connections() > 1 {
        std::thread::yield_now();
    }
}

pub fn on_open_may_refuse(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.request("lab").query("open=fail").connect();
    assert_eq!(client.expect_error("PERMISSION_DENIED")["message"], "not today");
    assert_eq!(client.expect_close(1008), "not today");
    closed_once(&seen, 1008, Initiator::Server);
}

pub fn a_client_that_never_answers_a_close_is_cut(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("lab");
    client.value(&Command::Close { code: 4000, reason: String::new() });
    said(&mut client, "last words");
    assert_eq!(client.recv().as_close(), Some((4000, String::new())));
    let (_, _) = (seen.opened(), seen.next());
    seen.nothing_more();
    server.advance(LONG);
    client.expect_end();
    closed_once(&seen, 4000, Initiator::Server);
}

pub fn a_hook_that_hangs_is_dropped_after_the_end(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("lab");
    client.value(&Command::Hang);
    client.settle();
    drop(client);
    let id = seen.opened();
    assert_eq!(seen.next(), Sight::Message);
    // Until the loss is noticed, on another thread, there is no end to wait for.
    let connection = server.realtime().find(id).and_then(|found| found.downcast::<crate::conformance::Lab>());
    crate::block_on(async {
        if let Some(connection) = connection {
            connection.closed().await;
        }
    });
    seen.nothing_more();
    server.advance(LONG);
    assert_eq!(seen.next(), Sight::Dropped);
    closed_once(&seen, 1006, Initiator::Peer);
}

pub fn a_drain_closes_all_and_waits(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect("lab")).collect();
    clients.iter_mut().for_each(works);
    let drained = std::thread::scope(|scope| {
        let drain = scope.spawn(|| crate::block_on(server.realtime().drain(Duration::from_secs(10))));
        for client in &mut clients {
            assert_eq!(client.expect_close(1001), "the server is going away");
        }
        drain.join().expect("the drain ends")
    });
    assert_eq!((drained.open, drained.cut), (3, 0));
    for _ in 0..3 {
        let close = seen.closed();
        assert_eq!((close.code, close.initiator), (CloseCode::GOING_AWAY, Initiator::Server));
    }
    seen.nothing_more();
}

pub fn a_drain_cuts_those_who_do_not_leave(subject: &Subject) {
    // Longer than the drain has time, and than the clock may run on before the drain is scheduled.
    const LONG: Duration = Duration::from_secs(30 * 86_400);
    let (server, seen, _) =
        start_with(subject, |config| (config.close_timeout, config.idle_timeout) = (LONG, LONG));
    let mut client = server.connect("lab");
    client.value(&Command::Hang);
    client.settle();
    let drained = std::thread::scope(|scope| {
        let drain = scope.spawn(|| crate::block_on(server.realtime().drain(Duration::from_secs(2))));
        assert_eq!(client.recv().as_close().map(|(code, _)| code), Some(1001));
        while !drain.is_finished() {
            server.advance(Duration::from_millis(250));
            std::thread::yield_now();
        }
        drain.join().expect("the drain ends")
    });
    assert_eq!((drained.open, drained.cut), (1, 1));
    client.expect_end();
    assert_eq!(seen.closed().code, CloseCode::GOING_AWAY);
    seen.nothing_more();
}

pub fn a_connection_is_found_by_its_id_and_closed(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let (mut first, mut second) = (server.connect("lab"), server.connect("echo"));
    works(&mut first);
    second.text("here");
    second.expect_text("here");
    let realtime = server.realtime();
    let id = seen.opened();
    assert_eq!(realtime.find(id).map(|found| found.endpoint().to_owned()).as_deref(), Some("lab"));
    assert_eq!(realtime.filter(|connection| connection.endpoint() == "echo").len(), 1);
    assert_eq!(realtime.connections(), 2);
    if let Some(found) = realtime.find(id) {
        found.close(CloseCode::RESTART, "from outside");
    }
    assert_eq!(first.expect_close(1012), "from outside");
    assert_eq!(closed_once_after_message(&seen), 1012);
    second.text("still here");
    second.expect_text("still here");
}

fn closed_once_after_message(seen: &Seen) -> u16 {
    let close = seen.closed();
    seen.nothing_more();
    close.code.get()
}

pub fn a_cut_connection_gets_no_close_frame(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("lab");
    works(&mut client);
    if let Some(found) = server.realtime().find(seen.opened()) {
        found.close(CloseCode::ABNORMAL, "");
    }
    client.expect_end();
    assert_eq!(closed_once_after_message(&seen), 1006);
}

/// Reading a message may fail in any way, including a panic.
pub fn a_panic_over_a_message_closes_its_connection(subject: &Subject) {
    let (builder, ..) = super::builder(|_| {});
    let handler = handler_fn(|connection: FnConnection<Explosive, ()>| async move {
        connection.closed().await;
        Ok(())
    });
    let server = subject.start(builder.handler("explosive", handler).build());
    let (mut client, mut other) = (server.connect("explosive"), server.connect("lab"));
    works(&mut other);
    client.value(&1);
    assert_eq!(client.expect_close(1011), "handler failed");
    works(&mut other);
}
