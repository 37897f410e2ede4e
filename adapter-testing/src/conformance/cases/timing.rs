//! Heartbeats and timeouts.

use super::{start, works};
use crate::{
    TestFrame,
    conformance::{RawClient, Subject},
};
use realtime_core::{Initiator, websocket::Opcode};
use std::time::Duration;

const PING: Duration = Duration::from_secs(26);

pub fn a_silent_client_is_pinged(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    works(&mut client);
    server.advance(PING);
    assert_eq!(client.recv(), TestFrame::new(Opcode::Ping, ""));
    client.frame(&TestFrame::new(Opcode::Pong, ""));
    works(&mut client);
}

pub fn a_client_that_answers_pings_stays(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    works(&mut client);
    for _ in 0..20 {
        server.advance(PING);
        assert_eq!(client.recv(), TestFrame::new(Opcode::Ping, ""));
        client.frame(&TestFrame::new(Opcode::Pong, ""));
        client.settle();
    }
    works(&mut client);
}

/// There is no FIN and no answer, as after a cable was pulled.
pub fn a_half_open_client_is_closed(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("lab");
    let mut other = server.connect("lab");
    works(&mut client);
    works(&mut other);
    server.advance(PING);
    other.recv();
    other.frame(&TestFrame::new(Opcode::Pong, ""));
    other.settle();
    server.advance(PING);
    other.recv();
    other.frame(&TestFrame::new(Opcode::Pong, ""));
    other.settle();
    server.advance(Duration::from_secs(10));
    // The server reads once more before it closes: it needs time for that, and a tick after.
    while server.realtime().filter(|connection| connection.is_closed()).is_empty() {
        lives(&mut other);
        server.advance(Duration::from_millis(250));
    }
    let mut frame = client.recv();
    while frame.opcode == Opcode::Ping {
        frame = client.recv();
    }
    assert_eq!(frame.as_close(), Some((1001, "idle timeout: nothing was received".into())));
    // It does not answer that either.
    server.advance(Duration::from_secs(6));
    client.expect_end();
    let close = seen.closed();
    assert_eq!((close.code.get(), close.initiator), (1001, Initiator::Server));
    lives(&mut other);
}

/// Checks that the client is connected, skipping pings.
#[track_caller]
fn lives(client: &mut RawClient) {
    client.frame(&TestFrame::new(Opcode::Ping, "alive"));
    let mut frame = client.recv();
    while frame.opcode == Opcode::Ping {
        frame = client.recv();
    }
    assert_eq!(frame, TestFrame::new(Opcode::Pong, "alive"));
}

pub fn a_client_that_talks_is_not_pinged(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    for _ in 0..10 {
        works(&mut client);
        server.advance(Duration::from_secs(18));
    }
    works(&mut client);
}
