//! Events: one-way messages, in order.

use super::{each_form, give_turns, messagepack_of, start, start_with};
use crate::conformance::{
    RawClient, Reply, Server, Sight, Subject,
    api::{SAID, Said, room},
};
use realtime_core::{AnyConnection, Config, Overflow, Topic};
use serde_json::{Value, json};

/// An event is done before the next begins; calls continue meanwhile.
pub fn events_are_handled_one_after_the_other(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for (mut client, name) in each_form(&server).zip(["json", "msgpack"]) {
        client.emit("NOTE", json!({ "at_gate": name }));
        seen.began(name);
        for number in 0..5 {
            client.emit("NOTE", json!({ "text": number.to_string() }));
        }
        client.echoes();
        seen.nothing_more();
        client.call("1", "let_go", name);
        client.expect_result("1", Value::Null);
        seen.gone(name);
        seen.event(name);
        for number in 0..5 {
            seen.event(&number.to_string());
        }
    }
}

/// Nothing is read until there is room, and no event is lost.
pub fn more_events_than_may_wait_are_read_later(subject: &Subject) {
    hold_up(subject, 200, 1, |config| config.queued_messages = 4);
}

/// The limit is the bytes of one largest message: these events exceed it by one.
pub fn larger_events_than_may_wait_are_read_later(subject: &Subject) {
    hold_up(subject, 40, 9_000, |config| config.message_bytes = 10_000);
}

/// Sends `count` events of `bytes` each, while the first one waits.
fn hold_up(subject: &Subject, count: usize, bytes: usize, change: impl FnOnce(&mut Config)) {
    let (server, seen, _) = start_with(subject, change);
    let (mut client, mut other) = (server.connect("api"), server.connect("api"));
    let text = |number: usize| format!("{number}{}", "x".repeat(bytes));
    client.emit("NOTE", json!({ "at_gate": "slow" }));
    seen.began("slow");
    for number in 0..count {
        client.emit("NOTE", json!({ "text": text(number) }));
    }
    // It is not held up by events, but is not read before most of them.
    client.call("1", "wait", "a");
    give_turns(&server);
    seen.nothing_more();
    other.call("1", "let_go", "slow");
    other.expect_result("1", Value::Null);
    seen.gone("slow");
    seen.event("slow");
    // The last of them are taken and wait no more when it is read.
    let mut sights: Vec<_> = (0..=count).map(|_| seen.next()).collect();
    let call = sights.iter().position(|sight| *sight == Sight::Began("a".into()));
    assert!(call.is_some_and(|at| at > count / 2), "a call behind them was read at {call:?}");
    sights.retain(|sight| matches!(sight, Sight::Event(_)));
    assert!(sights.into_iter().eq((0..count).map(|number| Sight::Event(text(number)))));
    client.cancel("1");
    client.expect_failed("1", "CANCELLED");
}

/// The client receives an error without an id, and the next event is handled.
pub fn an_event_that_fails_is_told_and_the_next_is_handled(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for mut client in each_form(&server) {
        let wrong = [
            ("NO_SUCH", json!(1), "NOT_FOUND"),
            ("NOTE", json!({ "text": 7 }), "INVALID_ARGUMENT"),
            ("NOTE", json!({ "fail": "not now" }), "FAILED_PRECONDITION"),
            ("NOTE", json!("panic"), "INTERNAL"),
        ];
        for (name, data, code) in wrong {
            client.emit(name, data);
            client.emit("NOTE", json!({ "text": "next" }));
            let packet = client.recv_packet();
            let found = (&packet["type"], &packet["error"]["code"], packet.get("id"));
            assert_eq!(found, (&"error".into(), &code.into(), None));
            seen.event("next");
        }
        client.echoes();
    }
}

/// The event being handled and those that wait are dropped.
pub fn events_of_a_client_that_is_gone_are_dropped(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("closing");
    client.emit("NOTE", json!({ "at_gate": "slow" }));
    client.emit("NOTE", json!({ "text": "waits" }));
    seen.began("slow");
    drop(client);
    seen.gone("slow");
    assert!(matches!(seen.next(), Sight::Closed(..)));
    seen.nothing_more();
}

pub fn an_event_goes_to_one_client(subject: &Subject) {
    let (server, ..) = start(subject);
    let said = Said { text: "é".into(), from: None };
    for mut client in each_form(&server) {
        client.echoes();
        assert!(newest(&server).emit(SAID, &said).is_ok());
        expect_said(&mut client, "é", None);
    }
    let mut client = server.connect("api");
    client.echoes();
    assert!(newest(&server).emit(SAID, &said).is_ok());
    client.expect_text(r#"{"type":"event","name":"SAID","data":{"text":"é","from":null}}"#);
}

/// Each member receives the event in its own format; the publisher does not receive it.
pub fn a_published_event_goes_to_the_others_of_a_topic(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut members = members(&server);
    let mut stranger = server.connect("api");
    stranger.echoes();
    for from in 0..members.len() {
        let id = members[from].1.id().to_string();
        members[from].0.call("1", "say", json!({ "topic": "room", "text": "hello" }));
        for (at, (client, _)) in members.iter_mut().enumerate() {
            if at != from {
                expect_said(client, "hello", Some(&id));
            }
        }
        members[from].0.expect_result("1", Value::Null);
        stranger.echoes();
    }
}

/// The members left out are in addition to the publisher.
pub fn an_audience_of_an_event_leaves_out_the_sender_and_others(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut members = members(&server);
    let except = vec![members[1].1.id().to_string()];
    for everyone in [false, true] {
        let say = json!({ "topic": "room", "text": "some", "except": except, "everyone": everyone });
        members[0].0.call("1", "say", say);
        let id = members[0].1.id().to_string();
        if everyone {
            expect_said(&mut members[0].0, "some", Some(&id));
        }
        members[0].0.expect_result("1", Value::Null);
        expect_said(&mut members[2].0, "some", Some(&id));
        members.iter_mut().for_each(|(client, _)| client.echoes());
    }
}

pub fn the_registry_publishes_events_to_all(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut members = members(&server);
    let said = Said { text: "news".into(), from: None };
    assert!(server.realtime().to(&room("room")).emit(SAID, &said).is_ok());
    members.iter_mut().for_each(|(client, _)| expect_said(client, "news", None));
    assert_eq!(server.realtime().stats().delivered, members.len() as u64);
}

/// Other clients receive the sender that the server sets, whatever the client writes into its frame.
pub fn a_client_cannot_say_that_it_is_another(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut members = members(&server);
    let (id, other) = (members[0].1.id().to_string(), members[1].1.id().to_string());
    let data = json!({ "text": "hello", "from": other });
    let forged =
        json!({ "type": "event", "name": "SAY", "data": data, "connection": other, "from": other, "id": "x" });
    members[0].0.packet(forged);
    for (client, _) in &mut members[1..] {
        expect_said(client, "hello", Some(&id));
    }
    // Nor can it send what only the server says.
    for kind in ["welcome", "data", "complete", "progress", "gap", "pong"] {
        members[0].0.packet(json!({ "type": kind, "id": "s", "connection": other, "data": 1 }));
        members[0].0.expect_error("PARSE_ERROR");
    }
    members.iter_mut().for_each(|(client, _)| client.echoes());
}

pub fn messages_and_events_of_a_publisher_stay_in_order(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut members = members(&server);
    for number in 0..50 {
        let text = number.to_string();
        assert!(server.realtime().to(&room("room")).send(&Reply::Text(text.clone())).is_ok());
        assert!(server.realtime().to(&room("room")).emit(SAID, &Said { text, from: None }).is_ok());
    }
    for (client, _) in &mut members {
        for number in 0..50 {
            client.expect_value(&Reply::Text(number.to_string()));
            expect_said(client, &number.to_string(), None);
        }
    }
}

/// The newest messages are kept, a gap before them counts the dropped ones, and the member stays.
pub fn a_topic_may_drop_what_a_member_does_not_take(subject: &Subject) {
    let newest = room("prices").with_overflow(Overflow::drop_oldest(3));
    let published = overflow(subject, &newest, |_| "x");
    let (kept, gaps) = (published.received.len() as u64, published.missing());
    assert_eq!(kept + gaps, published.count);
    let last: Vec<_> = published.received.iter().rev().take(3).copied().collect();
    let expected: Vec<_> = (0..3).map(|at| published.count - 1 - at).collect();
    assert_eq!(last, expected, "the newest are among those that it got");
    assert!(published.causes.iter().all(|cause| cause == "overflow"), "{:?}", published.causes);
    published.gaps_are_where_something_is_missing();
}

/// The newest message of each key is kept.
pub fn a_topic_may_conflate_what_a_member_does_not_take(subject: &Subject) {
    let of_each = room("prices").with_overflow(Overflow::conflate(|reply| match reply {
        Reply::Text(text) => text.split(':').nth(1).unwrap_or_default().to_owned(),
        _ => String::new(),
    }));
    let published = overflow(subject, &of_each, |number| if number % 2 == 0 { "even" } else { "odd" });
    assert_eq!(published.received.len() as u64 + published.missing(), published.count);
    let last: Vec<_> = published.received.iter().rev().take(2).copied().collect();
    assert_eq!(last, [published.count - 1, published.count - 2]);
    assert!(published.causes.iter().all(|cause| cause == "conflated"), "{:?}", published.causes);
    published.gaps_are_where_something_is_missing();
}

/// The messages and gaps received by a member that did not read for a while.
struct Published {
    count: u64,
    /// The numbers of the messages, in order.
    received: Vec<u64>,
    /// The counts of the gaps, each with the index of the message after it.
    gaps: Vec<(usize, u64)>,
    causes: Vec<String>,
}

impl Published {
    fn missing(&self) -> u64 {
        self.gaps.iter().map(|(_, count)| count).sum()
    }

    #[track_caller]
    fn gaps_are_where_something_is_missing(&self) {
        assert!(self.missing() > 0, "the member took everything");
        assert!(self.received.is_sorted(), "{:?}", self.received);
        let before: Vec<u64> = (0..=self.received.len())
            .map(|at| self.gaps.iter().filter(|gap| gap.0 < at).map(|gap| gap.1).sum())
            .collect();
        for (at, number) in self.received.iter().enumerate() {
            let told = before[at + 1] + at as u64;
            assert!(told >= *number, "{number} came before it was told what is missing: {:?}", self.gaps);
        }
    }
}

/// Publishes until something must have been dropped, then lets the member read to the end.
fn overflow(subject: &Subject, topic: &Topic<Reply>, key: fn(u64) -> &'static str) -> Published {
    let (server, ..) = start_with(subject, |config| config.outbox_bytes = 200_000);
    let mut client = server.connect("api");
    client.echoes();
    let connection = newest(&server);
    assert!(connection.subscribe(topic).is_ok());
    let filler = "x".repeat(20_000);
    let text = |number: u64| format!("{number}:{}:{filler}", key(number));
    let mut count = 0;
    let mut publish = || {
        assert!(server.realtime().to(topic).send(&Reply::Text(text(count))).is_ok());
        count += 1;
    };
    // Until the buffers between the two are full: then half of the outbox stays in use.
    let mut full = 0;
    let mut other = server.connect("api");
    while full < 20 {
        publish();
        other.echoes();
        full = if connection.queued_bytes() > 60_000 { full + 1 } else { 0 };
    }
    (0..20).for_each(|_| publish());
    let mut published = Published { count, received: Vec::new(), gaps: Vec::new(), causes: Vec::new() };
    while published.received.last() != Some(&(count - 1)) {
        let packet = client.recv_packet();
        if packet["type"] == "gap" {
            assert_eq!((&packet["topic"], packet.get("id")), (&"prices".into(), None));
            published.gaps.push((published.received.len(), packet["count"].as_u64().unwrap_or_default()));
            published.causes.push(packet["cause"].as_str().unwrap_or_default().to_owned());
            continue;
        }
        let text = packet["value"]["text"].as_str().unwrap_or_default();
        let number = text.split(':').next().and_then(|number| number.parse().ok());
        published.received.push(number.unwrap_or_else(|| panic!("no publication: {packet}")));
    }
    client.echoes();
    assert!(!connection.is_closed());
    published
}

/// Connects three clients in the room, one with MessagePack. Returns each with its connection.
fn members(server: &Server) -> Vec<(RawClient, AnyConnection)> {
    let connect = [
        |server: &Server| server.connect("api"),
        |server: &Server| messagepack_of(server, "api"),
        |server: &Server| server.connect("api"),
    ];
    let join = |connect: fn(&Server) -> RawClient| {
        let mut client = connect(server);
        client.call("join", "join", "room");
        client.expect_result("join", Value::Null);
        let connection = newest(server);
        (client, connection)
    };
    connect.map(join).into()
}

/// Returns the newest connection.
fn newest(server: &Server) -> AnyConnection {
    let all = server.realtime().filter(|_| true);
    all.into_iter().max_by_key(AnyConnection::id).expect("a client is connected")
}

#[track_caller]
fn expect_said(client: &mut RawClient, text: &str, from: Option<&str>) {
    let data = json!({ "text": text, "from": from });
    client.expect_packet(json!({ "type": "event", "name": "SAID", "data": data }));
}
