//! Several messages of a session at once, and a topic with many members.

#[path = "support/wire.rs"]
mod wire;

use realtime_core::{
    CloseCode, Config, Connection, Handler, Message, Overflow, Presence, Realtime, Result, Topic,
};
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::channel,
    },
    task::{Poll, Wake},
    thread,
    time::Duration,
};
use wire::{Client, frame};

#[test]
fn messages_behind_the_one_that_closes_are_not_handled() {
    let handled = Arc::new(AtomicUsize::new(0));
    let realtime = Realtime::builder().manual_time().handler("once", Once(Arc::clone(&handled)).plain()).build();
    for messages in [1, 2, 16] {
        handled.store(0, Relaxed);
        let mut client = Client::connect(&realtime, "once", None);
        client.send(&frame(1, b"hello").repeat(messages));
        assert_eq!(handled.load(Relaxed), 1, "of {messages}");
    }
}

struct Once(Arc<AtomicUsize>);

impl Handler for Once {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_message(&self, connection: &Connection<Self>, _: Message) -> Result {
        self.0.fetch_add(1, Relaxed);
        connection.close(CloseCode::NORMAL, "once is enough");
        Ok(())
    }
}

#[test]
fn who_leaves_a_large_topic_hears_nothing_more_of_it() {
    let realtime = Realtime::builder().manual_time().handler("room", Room.plain()).build();
    let mut members: Vec<_> = (0..2000).map(|_| Client::connect(&realtime, "room", None)).collect();
    for leaving in members.iter_mut().step_by(3) {
        leaving.send(&frame(1, b"leave"));
    }
    realtime.to(&room()).send(&Message::from("to all who are left")).unwrap();
    for (at, member) in members.iter_mut().enumerate() {
        assert_eq!(member.is_woken(), at % 3 != 0, "{at}");
        member.poll();
        let (bytes, _) = member.take_sent();
        assert_eq!(bytes > 0, at % 3 != 0, "{at}");
    }
    for member in &mut members {
        member.send(&frame(1, b"leave"));
    }
    assert_eq!(realtime.stats().topics, 0);
}

/// Also one that is larger than what a client that is behind may have waiting.
#[test]
fn a_publication_to_an_idle_member_is_sent_at_once() {
    let mut config = Config::default();
    config.outbox_bytes = 10_000;
    let realtime = Realtime::builder().manual_time().config(config).handler("news", News.plain()).build();
    let mut member = Client::connect(&realtime, "news", None);
    for bytes in [10, 4_000, 6_000, 9_000] {
        realtime.to(&NEWS).send(&Message::from("x".repeat(bytes))).unwrap();
        assert!(member.is_woken(), "{bytes}");
        member.poll();
        assert!(member.take_sent().0 > bytes, "{bytes}");
    }
}

const NEWS: Topic<Message> = Topic::fixed("news").with_overflow(Overflow::drop_oldest(10));

struct News;

impl Handler for News {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&NEWS)
    }

    async fn on_message(&self, _: &Connection<Self>, _: Message) -> Result {
        Ok(())
    }
}

/// Also where the last of those that were taken at once is handled without a word.
#[test]
fn reading_goes_on_when_the_handler_has_caught_up() {
    let handled = Arc::new(AtomicUsize::new(0));
    let mut config = Config::default();
    config.queued_messages = 4;
    let builder = Realtime::builder().manual_time().config(config);
    let realtime = builder.handler("slow", Slow(Arc::clone(&handled)).plain()).build();
    let mut client = Client::connect(&realtime, "slow", None);
    client.send(&frame(1, b"hello").repeat(20));
    while client.is_woken() {
        client.poll();
    }
    assert_eq!(handled.load(Relaxed), 20);
}

/// Takes two polls for each message, and answers none.
struct Slow(Arc<AtomicUsize>);

impl Handler for Slow {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_message(&self, _: &Connection<Self>, _: Message) -> Result {
        let mut polled = false;
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.0.fetch_add(1, Relaxed);
        Ok(())
    }
}

fn room() -> Topic<Message> {
    Topic::new("room")
}

struct Room;

impl Handler for Room {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&room())
    }

    async fn on_message(&self, connection: &Connection<Self>, _: Message) -> Result {
        connection.unsubscribe(&room());
        Ok(())
    }
}

/// A task that is woken may be run at once, and ask who is here.
#[test]
fn nobody_is_woken_under_the_lock_of_a_place() {
    let realtime = Realtime::builder().manual_time().handler("lobby", Lobby).build();
    let mut watcher = Client::connect(&realtime, "lobby", None);
    let asks = Arc::new(Asks(realtime.clone(), AtomicUsize::new(0)));
    watcher.waker = Arc::clone(&asks).into();
    watcher.poll();
    let other = Client::connect(&realtime, "lobby", None);
    assert_eq!(asks.1.load(Relaxed), 1);
    watcher.poll();
    drop(other);
    assert_eq!(asks.1.load(Relaxed), 2);
}

const LOBBY: Presence<()> = Presence::fixed("lobby");

struct Lobby;

impl Handler for Lobby {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.enter(&LOBBY, &())
    }

    async fn on_message(&self, _: &Connection<Self>, _: Message) -> Result {
        Ok(())
    }
}

/// Counts how often it was woken and could ask: on a thread of its own, since one that has the lock may not ask for it again.
struct Asks(Realtime, AtomicUsize);

impl Wake for Asks {
    fn wake(self: Arc<Self>) {
        let realtime = self.0.clone();
        let (answer, answered) = channel();
        thread::spawn(move || answer.send(realtime.present(&LOBBY).len()));
        let could = answered.recv_timeout(Duration::from_secs(10)).is_ok();
        self.1.fetch_add(could.into(), Relaxed);
    }
}
