//! The work that is counted: each function makes a closure that does it once.

use super::wire::{Client, frame};
use realtime_core::{
    Connection, Endpoint, Feed, Handler, Log, Message, Procedure, Realtime, RealtimeBuilder, Result, Subscription,
    Topic,
    websocket::{Decoder, Frame, Limits, Opcode},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

const TEXT: &str = "sixty-four bytes of text, as a chat or a game sends them, or so.";

/// Client frames of 64 bytes through the decoder.
pub(crate) fn decode(frames: usize) -> impl FnMut() {
    let input = frame(1, TEXT.as_bytes()).repeat(frames);
    let mut decoder = Decoder::new(Limits { message_bytes: 1024, frames: 16 });
    let mut scratch = input.clone();
    move || {
        scratch.copy_from_slice(&input);
        let mut rest = &mut scratch[..];
        for _ in 0..frames {
            assert!(decoder.decode(&mut rest).unwrap().is_some());
        }
    }
}

/// A typed value into a frame.
pub(crate) fn encode() -> impl FnMut() {
    let said = Said { text: TEXT.into() };
    move || {
        let frame = Frame::build(|out| serde_json::to_writer(out, &said).map(|()| Some(Opcode::Text)));
        assert_eq!(frame.unwrap().unwrap().len(), 2 + 64 + 11);
    }
}

/// So many messages in one read, echoed as they are.
pub(crate) fn echo(opcode: Opcode, messages: usize) -> impl FnMut() {
    let mut client = Client::connect(&realtime(), "echo", None);
    let input = frame(opcode as u8, TEXT.as_bytes()).repeat(messages);
    move || {
        client.send(&input);
        assert_eq!(client.take_sent(), (messages * 66, 1));
    }
}

/// So many messages in one read, through their type and back, in an envelope.
pub(crate) fn typed(messages: usize, subprotocol: &'static str, message: &[u8]) -> impl FnMut() + use<> {
    let mut client = Client::connect(&realtime(), "typed", Some(subprotocol));
    client.take_sent();
    let input = frame(if subprotocol.ends_with("json") { 1 } else { 2 }, message).repeat(messages);
    move || {
        client.send(&input);
        let (bytes, writes) = client.take_sent();
        assert!(bytes > messages * 64 && writes == 1);
    }
}

pub(crate) fn json() -> Vec<u8> {
    format!(r#"{{"type":"message","value":{{"text":"{TEXT}"}}}}"#).into()
}

pub(crate) fn msgpack() -> Vec<u8> {
    rmp_serde::to_vec_named(&json!({ "type": "message", "value": { "text": TEXT } })).unwrap()
}

/// So many calls in one read, each answered with its input.
pub(crate) fn call(calls: usize, subprotocol: &'static str, frame_of: fn(usize) -> Vec<u8>) -> impl FnMut() {
    let mut client = Client::connect(&realtime(), "api", Some(subprotocol));
    client.take_sent();
    let opcode = if subprotocol.ends_with("json") { 1 } else { 2 };
    let input: Vec<u8> = (0..calls).flat_map(|number| frame(opcode, &frame_of(number))).collect();
    move || {
        client.send(&input);
        let (bytes, writes) = client.take_sent();
        assert!(bytes > calls * 64 && writes == 1);
    }
}

pub(crate) fn call_json(number: usize) -> Vec<u8> {
    format!(r#"{{"type":"call","id":"{number:010}","path":"echo","input":{{"text":"{TEXT}"}}}}"#).into()
}

pub(crate) fn call_msgpack(number: usize) -> Vec<u8> {
    let id = format!("{number:010}");
    let call = json!({ "type": "call", "id": id, "path": "echo", "input": { "text": TEXT } });
    rmp_serde::to_vec_named(&call).unwrap()
}

/// A compressed message of 2 KiB, inflated, echoed, and deflated again.
#[cfg(feature = "deflate")]
pub(crate) fn echo_deflate() -> impl FnMut() {
    use flate2::{Compress, Compression, FlushCompress};
    use realtime_core::{Config, Deflate};

    let mut config = Config::default();
    config.deflate = Some(Deflate::default());
    let extension = Some(("sec-websocket-extensions", "permessage-deflate"));
    let mut client = Client::connect_with(&builder().config(config).build(), "echo", extension);
    let lines: String = (0..32).map(|number| format!("{number:02} {}", &TEXT[..61])).collect();
    let mut deflated = Vec::with_capacity(4096);
    let mut stream = Compress::new(Compression::fast(), false);
    stream.compress_vec(lines.as_bytes(), &mut deflated, FlushCompress::Sync).unwrap();
    // The end of a block is left out of a message: RFC 7692, 7.2.1.
    let input = frame(0x40 | 1, deflated.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap());
    move || {
        client.send(&input);
        let (bytes, writes) = client.take_sent();
        assert!(bytes < lines.len() / 2 && writes == 1);
    }
}

/// A message to all of a topic, from the publisher's socket to those of the members.
pub(crate) fn publish(members: usize, messages: usize) -> impl FnMut() {
    let realtime = realtime();
    let mut publisher = Client::connect(&realtime, "publisher", None);
    let mut members: Vec<_> = (0..members).map(|_| Client::connect(&realtime, "chat", None)).collect();
    let input = frame(1, TEXT.as_bytes()).repeat(messages);
    move || {
        publisher.send(&input);
        for member in &mut members {
            assert!(member.is_woken());
            member.poll();
            assert_eq!(member.take_sent(), (messages * 66, 1));
        }
    }
}

/// An entry for the followers of a feed, of whom so many have no credit and have not got the entry before.
pub(crate) fn append(followers: usize, stalled: usize) -> impl FnMut() {
    let realtime = realtime();
    let mut appender = Client::connect(&realtime, "appender", None);
    let follow = |at: usize| {
        let mut follower = Client::connect(&realtime, "feeds", None);
        let credit = if at < stalled { 0 } else { u32::MAX };
        follower.send(&subscribe(json!({ "shared": true, "credit": credit })));
        follower.take_sent();
        follower
    };
    let mut followers: Vec<_> = (0..followers).map(follow).collect();
    let input = frame(1, TEXT.as_bytes());
    appender.send(&input);
    for follower in &mut followers {
        follower.poll();
        follower.take_sent();
    }
    move || {
        appender.send(&input);
        for follower in &mut followers[stalled..] {
            assert!(follower.is_woken());
            follower.poll();
            let (bytes, writes) = follower.take_sent();
            assert!(bytes > 66 && writes == 1);
        }
    }
}

/// A client that comes back to a feed, gets so many entries, and leaves it.
pub(crate) fn resume(entries: usize) -> impl FnMut() {
    let realtime = realtime();
    let mut appender = Client::connect(&realtime, "appender", None);
    for _ in 0..entries {
        appender.send(&frame(1, TEXT.as_bytes()));
    }
    let feed = FEED;
    let mut position = pin!(realtime.position(&feed));
    let Poll::Ready(Ok(end)) = position.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the log is here");
    };
    let mut client = Client::connect(&realtime, "feeds", None);
    let input = subscribe(json!({ "shared": true, "after": { "epoch": end.epoch, "offset": 0 } }));
    let leave = frame(1, br#"{"type":"unsubscribe","id":"s"}"#);
    move || {
        client.send(&input);
        while client.is_woken() {
            client.poll();
        }
        client.send(&leave);
        let (bytes, _) = client.take_sent();
        assert!(bytes > entries * (66 + TEXT.len()));
    }
}

fn subscribe(mut terms: Value) -> Vec<u8> {
    (terms["type"], terms["id"], terms["path"]) = ("subscribe".into(), "s".into(), "feed".into());
    frame(1, terms.to_string().as_bytes())
}

pub(crate) fn realtime() -> Realtime {
    builder().build()
}

fn builder() -> RealtimeBuilder {
    Realtime::builder()
        .manual_time()
        .handler("echo", Echo.plain())
        .handler("typed", Typed)
        .handler("chat", Chat.plain())
        .handler("publisher", Publisher.plain())
        .handler("appender", Appender.plain())
        .endpoint("feeds", Endpoint::new(()).feed(FOLLOW, |_, ()| async { Ok(FEED.follow()) }))
        .endpoint("api", Endpoint::new(()).procedure(ECHO, async |_, said| Ok(said)))
}

const FEED: Feed<String> = Topic::fixed("feed").log(Log::last(100));
const FOLLOW: Subscription<(), String> = Subscription::new("feed");

struct Appender;

impl Handler for Appender {
    type Input = ();
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_message(&self, connection: &Connection<Self>, message: String) -> Result {
        connection.append(&FEED, &message).await?;
        Ok(())
    }
}

fn room() -> Topic<Message> {
    Topic::new("room")
}

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

#[derive(Serialize, Deserialize)]
struct Said {
    text: String,
}

/// A procedure that answers with its input.
const ECHO: Procedure<Said, Said> = Procedure::new("echo");

struct Typed;

impl Handler for Typed {
    type Input = ();
    type ClientMessage = Said;
    type ServerMessage = Said;

    async fn on_message(&self, connection: &Connection<Self>, message: Said) -> Result {
        connection.send(message)?;
        Ok(())
    }
}

struct Chat;

impl Handler for Chat {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&room())
    }

    async fn on_message(&self, _: &Connection<Self>, _: Message) -> Result {
        Ok(())
    }
}

struct Publisher;

impl Handler for Publisher {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        connection.to(&room()).send(&message)
    }
}
