//! Topics: messages from one client to many.

use super::{builder, messagepack, said, start, start_with, subscribe, works};
use crate::{
    TestFrame,
    conformance::{Command, RawClient, Reply, Server, Subject},
};
use realtime_core::{Initiator, Topic, websocket::Opcode};

fn members(server: &Server, count: usize) -> Vec<RawClient> {
    let mut clients: Vec<_> = (0..count).map(|_| server.connect("lab")).collect();
    for client in &mut clients {
        subscribe(client, "t");
    }
    clients
}

fn publish(text: &str) -> Command {
    Command::Publish { topic: "t".into(), text: text.into() }
}

pub fn publish_goes_to_the_others(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut clients = members(&server, 3);
    let mut stranger = server.connect("lab");
    works(&mut stranger);
    clients[0].value(&publish("hello"));
    said(&mut clients[1], "hello");
    said(&mut clients[2], "hello");
    // The next thing that comes is something else.
    works(&mut clients[0]);
    works(&mut stranger);
    let stats = server.realtime().stats();
    assert_eq!((stats.topics, stats.published, stats.delivered), (1, 1, 2));
}

pub fn an_audience_is_everyone_or_leaves_some_out(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut clients = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect("lab");
        ids.push(seen.opened().to_string());
        subscribe(&mut client, "t");
        seen.next();
        clients.push(client);
    }
    clients[0].value(&Command::PublishToAll { topic: "t".into(), text: "all".into() });
    clients.iter_mut().for_each(|client| said(client, "all"));

    let except = |everyone| Command::PublishExcept {
        topic: "t".into(),
        text: "some".into(),
        except: vec![ids[1].clone()],
        everyone,
    };
    clients[0].value(&except(true));
    said(&mut clients[0], "some");
    said(&mut clients[2], "some");
    // Those left out are added to the one who publishes, not put in its place.
    clients[0].value(&except(false));
    said(&mut clients[2], "some");
    clients.iter_mut().for_each(works);
}

pub fn an_unsubscribed_client_gets_nothing(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut clients = members(&server, 2);
    let asked = |client: &mut RawClient, answer| {
        client.value(&Command::IsSubscribed("t".into()));
        client.expect_value(&Reply::Answer(answer));
    };
    asked(&mut clients[1], true);
    // Twice is as good as once.
    subscribe(&mut clients[1], "t");
    clients[1].value(&Command::Unsubscribe("t".into()));
    clients[1].expect_value(&Reply::Answer(true));
    asked(&mut clients[1], false);
    clients[0].value(&publish("hello"));
    works(&mut clients[0]);
    works(&mut clients[1]);
}

pub fn membership_ends_with_the_connection(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let clients = members(&server, 20);
    assert_eq!(server.realtime().stats().topics, 1);
    drop(clients);
    for _ in 0..20 {
        seen.closed();
    }
    assert_eq!(server.realtime().stats().topics, 0);
    assert_eq!(server.realtime().to(&Topic::new("t")).send(&1).ok(), Some(()));
    assert_eq!(server.realtime().stats().delivered, 0);
}

/// A publication is framed once for each protocol.
pub fn a_client_of_each_protocol_gets_its_own_form(subject: &Subject) {
    let (lab, ..) = crate::conformance::Lab::new();
    let (builder, ..) = builder(|_| {});
    let server = subject.start(builder.handler("plain", realtime_core::Handler::plain(lab)).build());
    let (mut json, mut plain) = (server.connect("lab"), server.connect("plain"));
    let mut messagepack = [messagepack(&server), messagepack(&server)];
    subscribe(&mut json, "t");
    messagepack.iter_mut().for_each(|client| subscribe(client, "t"));
    plain.text(r#"{"subscribe":"t"}"#);
    plain.expect_text(r#"{"answer":true}"#);
    let publish = Command::PublishToAll { topic: "t".into(), text: "é".into() };
    for from_messagepack in [false, true] {
        match from_messagepack {
            true => messagepack[0].value(&publish),
            false => json.value(&publish),
        }
        json.expect_text(r#"{"type":"message","value":{"text":"é"}}"#);
        plain.expect_text(r#"{"text":"é"}"#);
        for client in &mut messagepack {
            client.expect_binary(b"\x82\xa4type\xa7message\xa5value\x81\xa4text\xa2\xc3\xa9");
        }
    }
}

pub fn the_registry_publishes_to_all(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut clients = members(&server, 2);
    assert_eq!(server.realtime().to(&Topic::new("t")).send(&Reply::Text("news".into())).ok(), Some(()));
    clients.iter_mut().for_each(|client| said(client, "news"));
}

pub fn more_topics_than_allowed_are_refused(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.topics_per_connection = 2);
    let mut client = server.connect("lab");
    subscribe(&mut client, "a");
    subscribe(&mut client, "b");
    subscribe(&mut client, "a");
    client.value(&Command::Subscribe("c".into()));
    client.expect_error("RESOURCE_EXHAUSTED");
    client.value(&Command::Unsubscribe("a".into()));
    client.expect_value(&Reply::Answer(true));
    subscribe(&mut client, "c");
}

pub fn a_topic_name_of_a_client_is_checked(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.connect("lab");
    for name in [String::new(), "x".repeat(257), "a\nb".into(), "\0".into(), "\u{7f}".into()] {
        client.value(&Command::Subscribe(name.clone()));
        client.expect_error("INVALID_ARGUMENT");
        client.value(&Command::Publish { topic: name, text: String::new() });
        client.expect_error("INVALID_ARGUMENT");
    }
    subscribe(&mut client, &"x".repeat(256));
}

/// One of a thousand members reads nothing: it is closed, its memory is freed, and all others receive everything.
pub fn a_slow_consumer_is_closed_and_the_others_get_everything(subject: &Subject) {
    const READERS: usize = 999;
    const MESSAGES: usize = 40;
    let (server, seen, _) = start_with(subject, |config| config.outbox_bytes = 256 * 1024);
    let mut stalled = server.connect("lab");
    let id = seen.opened();
    subscribe(&mut stalled, "t");
    let mut readers = members(&server, READERS);
    let realtime = server.realtime();
    let topic = Topic::new("t");
    let text = |number: usize| Reply::Text(format!("{number}:{}", "x".repeat(64 * 1024)));
    // Compared as it comes: to read it is most of what the case would take.
    let frame_of = |number: usize| {
        let value = serde_json::to_string(&text(number)).expect("the reply serialises");
        TestFrame::text(&format!(r#"{{"type":"message","value":{value}}}"#))
    };
    let mut published = 0;
    // Until the sockets' buffers and the outbox of the stalled one are full.
    while realtime.stats().slow_consumers == 0 {
        assert!(published < 10 * MESSAGES, "nobody was slow");
        assert!(realtime.to(&topic).send(&text(published)).is_ok());
        let expected = frame_of(published);
        assert!(readers.iter_mut().all(|reader| reader.recv() == expected), "message {published}");
        published += 1;
    }
    assert!(realtime.to(&topic).send(&text(published)).is_ok());
    let expected = frame_of(published);
    assert!(readers.iter_mut().all(|reader| reader.recv() == expected), "message {published}");
    assert_eq!(realtime.stats().slow_consumers, 1);
    // The data that waited is gone; the frame that was half written is finished, then the close
    // frame comes.
    let frame = loop {
        let frame = stalled.recv();
        if frame.opcode != Opcode::Text {
            break frame;
        }
    };
    assert_eq!(frame.as_close(), Some((1013, "slow consumer: the outbox is full".into())));
    stalled.frame(&TestFrame::close(1013, ""));
    stalled.expect_end();
    let close = seen.closed();
    assert_eq!((close.code.get(), close.initiator), (1013, Initiator::Server));
    while realtime.find(id).is_some() {
        std::thread::yield_now();
    }
    works(&mut readers[0]);
}

pub fn a_full_outbox_gives_the_message_back(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.outbox_bytes = 10_000);
    let mut client = server.connect("lab");
    // The handler checks that it gets the message back, and waits for room.
    client.value(&Command::Burst { count: 100, bytes: 1000 });
    for _ in 0..9 {
        said(&mut client, &"x".repeat(1000));
    }
    client.expect_value(&Reply::Taken(9));
    works(&mut client);
}

pub fn ready_waits_for_room(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.outbox_bytes = 1 << 20);
    let mut client = server.connect("lab");
    let text = "x".repeat(100_000);
    for _ in 0..40 {
        client.value(&Command::EchoWhenReady(text.clone()));
    }
    for _ in 0..40 {
        said(&mut client, &text);
    }
    works(&mut client);
}

/// The members of the topic are not affected.
pub fn a_message_larger_than_an_outbox_is_refused_to_who_sends_it(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.outbox_bytes = 10_000);
    let mut clients = members(&server, 2);
    let text = "x".repeat(10_000);
    clients[0].value(&publish(&text));
    clients[0].expect_error("RESOURCE_EXHAUSTED");
    clients[0].value(&Command::Echo(text.clone()));
    clients[0].expect_error("RESOURCE_EXHAUSTED");
    let refused = server.realtime().to(&Topic::new("t")).send(&Reply::Text(text));
    assert!(refused.is_err_and(|error| error.message().contains("an outbox holds 10000")));
    clients.iter_mut().for_each(works);
}
