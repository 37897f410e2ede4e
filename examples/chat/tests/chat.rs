//! The chat, in memory: no socket, no port, no sleep.

use adapter_testing::{Ended, TestClient, TestServer, block_on};
use chat::{Chat, Event, Join, Person, Say};
use realtime_schema::Schema;
use std::time::Duration;

/// A server whose values are compared with its schema.
fn server() -> TestServer {
    let realtime = chat::realtime();
    let schema = Schema::of(&realtime);
    TestServer::new(realtime).checked(&schema)
}

async fn join(server: &TestServer, room: &str, name: &str) -> TestClient<Chat> {
    server.connect("chat", Join { room: room.into(), name: name.into() }).await.expect("the chat is open to all")
}

/// Receives the first two messages of a client. Returns the history and the people.
async fn welcome(client: &mut TestClient<Chat>) -> (Vec<String>, Vec<String>) {
    let Ok(Event::History { messages }) = client.recv().await else { panic!("first comes the history") };
    let Ok(Event::Present { people, .. }) = client.recv().await else { panic!("second comes who is here") };
    let said = messages.into_iter().map(|message| message.text).collect();
    (said, people.into_iter().map(|person| person.name).collect())
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
        assert_eq!(welcome(&mut ann).await.1, ["Ann"]);
        assert_eq!(welcome(&mut bob).await.1, ["Ann", "Bob"]);
        welcome(&mut cleo).await;
        assert!(matches!(ann.recv().await, Ok(Event::Joined { person: Person { name, .. } }) if name == "Bob"));

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
        let (said, _) = welcome(&mut bob).await;
        assert_eq!(said.len(), 50);
        assert_eq!((said.first().map(|text| &**text), said.last().map(|text| &**text)), (Some("10"), Some("59")));
    });
}

#[test]
fn typing_is_told_to_the_others_only() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "general", "Ann").await, join(&server, "general", "Bob").await);
        welcome(&mut ann).await;
        welcome(&mut bob).await;
        ann.recv().await.expect("Bob has joined");
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
        ann.recv().await.expect("Bob has joined");
        bob.close(1000, "bye").await;
        assert!(matches!(ann.recv().await, Ok(Event::Left { person }) if person.name == "Bob"));

        let mut cleo = join(&server, "general", "Cleo").await;
        assert_eq!(welcome(&mut cleo).await.1, ["Ann", "Cleo"]);
    });
}

/// A laptop that is shut sends no close frame.
#[test]
fn who_is_silent_for_a_minute_leaves() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "general", "Ann").await, join(&server, "general", "Bob").await);
        welcome(&mut ann).await;
        ann.recv().await.expect("Bob has joined");
        bob.silence();
        server.advance(Duration::from_secs(70)).await;
        assert!(matches!(ann.recv().await, Ok(Event::Left { person }) if person.name == "Bob"));
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
