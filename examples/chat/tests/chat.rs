//! The chat, in memory: no socket, no port, no sleep.

use adapter_testing::{Ended, TestClient, TestServer, block_on};
use chat::{Chat, Event, Join, Say};
use realtime_core::{MemoryBroker, PRESENCE, Position};
use realtime_schema::Schema;
use serde_json::Value;
use std::time::Duration;

/// A server whose values are compared with its schema.
fn server() -> TestServer {
    let realtime = chat::realtime();
    let schema = Schema::of(&realtime);
    TestServer::new(realtime).checked(&schema)
}

async fn join(server: &TestServer, room: &str, name: &str) -> TestClient<Chat> {
    rejoin(server, room, name, None).await
}

/// Joins as one who was in the room before.
async fn rejoin(server: &TestServer, room: &str, name: &str, after: Option<Position>) -> TestClient<Chat> {
    let join = Join { room: room.into(), name: name.into(), after };
    server.connect("chat", join).await.expect("the chat is open to all")
}

/// Receives the first message of a client. Returns the people, and the positions of the history.
async fn welcome(client: &mut TestClient<Chat>) -> (Vec<String>, Position, Position) {
    let Ok(Event::Present { after, newest, .. }) = client.recv().await else {
        panic!("first comes where the history begins")
    };
    let here = client.expect_event(PRESENCE).await.here.expect("the list comes first");
    let joined = client.expect_event(PRESENCE).await.joined;
    (here.into_iter().chain(joined).map(|present| name(&present.data)).collect(), after, newest)
}

fn name(data: &Value) -> String {
    data.as_str().expect("people have a name").to_owned()
}

async fn comes(client: &mut TestClient<Chat>) -> String {
    name(&client.expect_event(PRESENCE).await.joined[0].data)
}

/// Returns the texts that a client has received, and the counts of what it misses.
async fn heard(client: &mut TestClient<Chat>) -> Vec<String> {
    let mut heard = Vec::new();
    while let Ok(Some(frame)) = client.try_frame().await {
        let frame: Value = serde_json::from_slice(&frame.payload).expect("frames are JSON");
        match &frame["value"]["message"]["text"] {
            Value::String(text) => heard.push(text.clone()),
            _ if frame["type"] == "event" => {}
            _ => heard.push(format!("{} ({})", frame["cause"].as_str().unwrap_or_default(), frame["count"])),
        }
    }
    heard
}

async fn say(client: &mut TestClient<Chat>, text: &str) {
    client.send(Say::Say { text: text.into() }).await;
}

async fn hears(client: &mut TestClient<Chat>, name: &str, text: &str) {
    let Ok(Event::Said { message }) = client.recv().await else { panic!("nothing is said") };
    assert_eq!((&*message.person.name, &*message.text), (name, text));
}

#[test]
fn everybody_in_the_room_hears_what_is_said() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "general", "Ann").await, join(&server, "general", "Bob").await);
        let mut cleo = join(&server, "random", "Cleo").await;
        assert_eq!(welcome(&mut ann).await.0, ["Ann"]);
        assert_eq!(welcome(&mut bob).await.0, ["Ann", "Bob"]);
        welcome(&mut cleo).await;
        assert_eq!(comes(&mut ann).await, "Bob");

        say(&mut ann, "hello").await;
        hears(&mut ann, "Ann", "hello").await;
        hears(&mut bob, "Ann", "hello").await;
        assert_eq!(cleo.try_recv().await, Ok(None), "another room hears nothing");
    });
}

#[test]
fn a_newcomer_is_told_the_last_fifty_messages() {
    block_on(async {
        let server = server();
        let mut ann = join(&server, "general", "Ann").await;
        welcome(&mut ann).await;
        for number in 0..60 {
            say(&mut ann, &number.to_string()).await;
        }
        let mut bob = join(&server, "general", "Bob").await;
        let (_, after, newest) = welcome(&mut bob).await;
        assert_eq!((after.offset, newest.offset), (10, 60));
        let said = heard(&mut bob).await;
        assert_eq!(said.len(), 50);
        assert_eq!((said.first().map(|text| &**text), said.last().map(|text| &**text)), (Some("10"), Some("59")));
    });
}

#[test]
fn who_comes_back_hears_what_was_said_meanwhile_and_nothing_twice() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "general", "Ann").await, join(&server, "general", "Bob").await);
        welcome(&mut ann).await;
        let (_, before, _) = welcome(&mut bob).await;
        for number in 1..=60 {
            say(&mut ann, &number.to_string()).await;
        }
        bob.close(1000, "bye").await;

        let has = Position::new(before.epoch, 57);
        let mut bob = rejoin(&server, "general", "Bob", Some(has.clone())).await;
        let (_, after, newest) = welcome(&mut bob).await;
        assert_eq!((after, newest.offset), (has, 60));
        assert_eq!(heard(&mut bob).await, ["58", "59", "60"]);
    });
}

#[test]
fn who_was_away_for_too_long_is_told_how_much_is_missing() {
    block_on(async {
        let server = server();
        let mut ann = join(&server, "general", "Ann").await;
        let (_, before, _) = welcome(&mut ann).await;
        for number in 1..=1004 {
            say(&mut ann, &number.to_string()).await;
            heard(&mut ann).await;
        }
        let mut bob = rejoin(&server, "general", "Bob", Some(Position::new(before.epoch, 1))).await;
        welcome(&mut bob).await;
        let heard = heard(&mut bob).await;
        assert_eq!((&*heard[0], &*heard[1], heard.len()), ("retention (3)", "5", 1001));
    });
}

/// The page is told by the epoch, and gets all that the new server has.
#[test]
fn who_comes_back_after_a_restart_is_a_newcomer() {
    block_on(async {
        let server = server();
        let mut ann = join(&server, "general", "Ann").await;
        welcome(&mut ann).await;
        say(&mut ann, "first").await;
        let mut bob = rejoin(&server, "general", "Bob", Some(Position::new("before", 7))).await;
        let (_, after, newest) = welcome(&mut bob).await;
        assert_eq!((after.offset, newest.offset, &after.epoch), (0, 1, &newest.epoch));
        assert_eq!(heard(&mut bob).await, ["first"]);
    });
}

#[test]
fn an_event_source_comes_back_by_the_id_of_its_last_event() {
    block_on(async {
        let server = server();
        let mut ann = join(&server, "general", "Ann").await;
        let (_, before, _) = welcome(&mut ann).await;
        for text in ["one", "two", "three"] {
            say(&mut ann, text).await;
        }
        let id = Position::new(before.epoch, 2).to_string();
        let request = server.request("chat").query("room=general&name=Eve").header("last-event-id", &id);
        let mut eve = request.connect::<Chat>().await.expect("the chat is open to all");
        welcome(&mut eve).await;
        assert_eq!(heard(&mut eve).await, ["three"]);
    });
}

#[test]
fn typing_is_told_to_the_others_only() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "general", "Ann").await, join(&server, "general", "Bob").await);
        welcome(&mut ann).await;
        welcome(&mut bob).await;
        ann.send(Say::Typing { active: true }).await;
        let typing = bob.recv().await;
        assert!(
            matches!(&typing, Ok(Event::Typing { person, active: true }) if person.name == "Ann"),
            "{typing:?}"
        );
        assert_eq!(ann.try_recv().await, Ok(None));
    });
}

#[test]
fn who_leaves_is_no_longer_here() {
    block_on(async {
        let server = server();
        let (mut ann, bob) = (join(&server, "general", "Ann").await, join(&server, "general", "Bob").await);
        welcome(&mut ann).await;
        assert_eq!(comes(&mut ann).await, "Bob");
        bob.close(1000, "bye").await;
        assert_eq!(ann.expect_event(PRESENCE).await.left.len(), 1);

        let mut cleo = join(&server, "general", "Cleo").await;
        assert_eq!(welcome(&mut cleo).await.0, ["Ann", "Cleo"]);
    });
}

/// A laptop that is shut sends no close frame.
#[test]
fn who_is_silent_for_a_minute_leaves() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "general", "Ann").await, join(&server, "general", "Bob").await);
        welcome(&mut ann).await;
        assert_eq!(comes(&mut ann).await, "Bob");
        bob.silence();
        server.advance(Duration::from_secs(70)).await;
        assert_eq!(ann.expect_event(PRESENCE).await.left.len(), 1);
    });
}

#[test]
fn the_people_are_those_of_all_nodes() {
    block_on(async {
        let broker = MemoryBroker::new();
        let node = |number, broker| TestServer::new(chat::builder().node(number).broker(broker).build());
        let (one, two) = (node(1, broker.join()), node(2, broker));
        let advance = async |seconds: u64| {
            for _ in 0..10 * seconds {
                one.advance(Duration::from_millis(100)).await;
                two.advance(Duration::from_millis(100)).await;
                one.settle().await;
            }
        };
        let mut ann = join(&one, "general", "Ann").await;
        advance(1).await;
        welcome(&mut ann).await;
        let bob = join(&two, "general", "Bob").await;
        advance(1).await;
        assert_eq!(comes(&mut ann).await, "Bob");
        let mut cleo = join(&two, "general", "Cleo").await;
        assert_eq!(welcome(&mut cleo).await.0, ["Ann", "Bob", "Cleo"]);
        assert_eq!(ann.call(chat::MEMBERS, ()).await.unwrap().len(), 2);
        drop((bob, cleo));
    });
}

#[test]
fn a_name_is_needed() {
    block_on(async {
        let server = server();
        let refused = server.request("chat").query("room=general").connect::<Chat>().await.unwrap_err();
        assert_eq!((refused.status().as_u16(), &*refused.message()), (400, "missing field `name`"));

        let mut nobody = join(&server, "general", "  ").await;
        assert!(matches!(nobody.recv().await, Err(Ended::Error(error)) if error.message == "the name is empty"));
        let closed = nobody.recv().await;
        assert_eq!(closed, Err(Ended::Closed { code: 1008, reason: "the name is empty".into() }));
    });
}

#[test]
fn a_text_that_is_too_long_is_refused_and_the_session_goes_on() {
    block_on(async {
        let server = server();
        let mut ann = join(&server, "general", "Ann").await;
        welcome(&mut ann).await;
        say(&mut ann, &"é".repeat(2001)).await;
        assert!(matches!(ann.recv().await, Err(Ended::Error(error)) if error.code == "INVALID_ARGUMENT"));
        say(&mut ann, &"é".repeat(2000)).await;
        assert!(matches!(ann.recv().await, Ok(Event::Said { .. })));
    });
}
