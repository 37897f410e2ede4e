//! The end of all that a principal has, when it is revoked.

use super::{
    Server, Subject, api_feeds, api_http,
    credentials::{bearer, patient, start, with_token},
    said, start_feeds, start_http, subscribe, works,
};
use crate::conformance::{Command, Gate, RawClient};
use realtime_core::{Accepted, Context, Error, Next, Principal, Realtime, Reject, Topic};
use serde_json::{Value, json};

fn principal(name: &str) -> Principal {
    Principal(name.into())
}

fn room() -> Topic<crate::conformance::Reply> {
    Topic::fixed("room")
}

#[track_caller]
fn publish(realtime: &Realtime, text: &str) {
    realtime.to(&room()).send(&crate::conformance::Reply::Text(text.into())).unwrap();
}

fn connect(server: &Server, name: &str) -> RawClient {
    with_token(server, "lab", &format!("{name}:3600")).connect()
}

pub fn a_revoked_principal_is_closed_and_hears_nothing_more(subject: &Subject) {
    let (server, seen) = start(subject);
    let mut clients = [connect(&server, "ann"), connect(&server, "ann")];
    let mut bob = connect(&server, "bob");
    clients.iter_mut().chain([&mut bob]).for_each(|client| subscribe(client, "room"));
    assert_eq!(server.realtime().revoke(&principal("ann")), 2);
    publish(server.realtime(), "after");
    for client in &mut clients {
        assert_eq!(client.expect_close(3000), "revoked");
    }
    for _ in &clients {
        assert_eq!(seen.closed().code.get(), 3000);
    }
    said(&mut bob, "after");
    assert_eq!(server.realtime().revoke(&principal("ann")), 0);
    works(&mut bob);
}

/// More than sockets hold waits for a client that reads only then.
pub fn nothing_that_waits_for_a_revoked_client_is_sent(subject: &Subject) {
    const MESSAGES: usize = 90;
    let (builder, ..) = super::builder(|config| {
        patient(config);
        config.outbox_bytes = 32 << 20;
    });
    let server = subject.start(builder.middleware(bearer).build());
    let mut client = connect(&server, "ann");
    subscribe(&mut client, "room");
    let text = "x".repeat(256 * 1024);
    for _ in 0..MESSAGES {
        publish(server.realtime(), &text);
    }
    server.realtime().revoke(&principal("ann"));
    let mut came = 0;
    while client.recv().as_close().is_none_or(|(code, reason)| {
        assert_eq!((code, &*reason), (3000, "revoked"));
        false
    }) {
        came += 1;
    }
    assert!(came < MESSAGES, "all of them came");
}

pub fn a_principal_revoked_from_a_topic_stays_connected(subject: &Subject) {
    let (server, ..) = start(subject);
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| connect(&server, name));
    for client in [&mut ann, &mut bob] {
        subscribe(client, "room");
    }
    publish(server.realtime(), "before");
    for client in [&mut ann, &mut bob] {
        said(client, "before");
    }
    assert_eq!(server.realtime().revoke_from(&principal("ann"), &room()), 1);
    publish(server.realtime(), "after");
    works(&mut ann);
    said(&mut bob, "after");
    ann.value(&Command::IsSubscribed("room".into()));
    ann.expect_value(&crate::conformance::Reply::Answer(false));
}

/// With frames of their own and shared ones; also one whose entries wait for credit.
pub fn subscriptions_of_a_principal_revoked_from_a_feed_end(subject: &Subject) {
    let server = start_feeds(subject, patient);
    let ann = || server.request("feeds").header("x-user", "ann");
    let mut clients = [ann().connect(), ann().subprotocol("realtime.v1.msgpack").connect()];
    assert_eq!(clients[1].recv_packet()["type"], "welcome");
    let mut bob = server.request("feeds").header("x-user", "bob").connect();
    for (id, more) in subscriptions() {
        for client in clients.iter_mut().chain([&mut bob]) {
            begin(client, id, &more);
        }
    }
    assert_eq!(server.realtime().revoke_from(&principal("ann"), &api_feeds::feed("a")), 2);
    append(&server, "a", "after");
    for client in &mut clients {
        let mut ended = Vec::new();
        for _ in subscriptions() {
            let error = client.recv_packet();
            assert_eq!((&error["type"], &error["error"]["code"]), (&json!("error"), &json!("UNAUTHENTICATED")));
            assert_eq!(error["error"]["message"], "revoked");
            ended.push(error["id"].as_str().expect("an id").to_owned());
        }
        ended.sort_unstable();
        assert_eq!(ended, ["limited", "own", "shared"]);
    }
    for _ in ["own", "shared"] {
        assert_eq!(bob.recv_packet()["data"]["value"], "after");
    }
    // Whoever the application lets in again is served.
    for client in &mut clients {
        begin(client, "own", &json!({}));
    }
    append(&server, "a", "again");
    for client in clients.iter_mut().chain([&mut bob]) {
        assert_eq!(client.recv_packet()["data"]["value"], "again");
    }
}

pub fn a_handler_of_a_principal_revoked_from_a_feed_hears_nothing_more(subject: &Subject) {
    let server = subject.start(api_feeds::builder(patient).middleware(bearer).build());
    let follower = |name: &str| with_token(&server, "follower", &format!("{name}:3600")).connect();
    let [mut ann, mut bob] = ["ann", "bob"].map(follower);
    let follow = |client: &mut RawClient, feed: &str| {
        client.packet(json!({ "type": "message", "value": { "feed": feed } }));
        assert_eq!(client.recv_packet()["value"]["key"], "begun");
    };
    for client in [&mut ann, &mut bob] {
        follow(client, "a");
        follow(client, "b");
    }
    assert_eq!(server.realtime().revoke_from(&principal("ann"), &api_feeds::feed("a")), 1);
    append(&server, "a", "of a");
    append(&server, "b", "of b");
    assert_eq!(ann.recv_packet()["value"]["value"], "of b");
    for value in ["of a", "of b"] {
        assert_eq!(bob.recv_packet()["value"]["value"], value);
    }
}

pub fn a_stream_of_a_principal_revoked_from_a_feed_ends(subject: &Subject) {
    let server = start_feeds(subject, patient);
    let position = crate::block_on(server.realtime().position(&api_feeds::feed("a")));
    let epoch = position.expect("a new feed").epoch;
    let begin = |user| {
        let at = server.http("feeds").header("x-user", user).path("log", &json!("a"));
        let mut events = at.header("accept", "text/event-stream").events();
        events.expect_last_id(&format!("{epoch}:0"));
        events
    };
    let [mut ann, mut bob] = ["ann", "bob"].map(begin);
    assert_eq!(server.realtime().revoke_from(&principal("ann"), &api_feeds::feed("a")), 1);
    append(&server, "a", "after");
    let told = ann.recv();
    assert_eq!((&*told.event, &told.json::<Value>()["code"]), ("error", &json!("UNAUTHENTICATED")));
    ann.expect_end();
    assert_eq!(bob.recv().json::<Value>()["value"], "after");
}

/// The subscriptions of one connection to a feed.
fn subscriptions() -> [(&'static str, Value); 3] {
    [("own", json!({})), ("shared", json!({ "shared": true })), ("limited", json!({ "credit": 0 }))]
}

#[track_caller]
fn begin(client: &mut RawClient, id: &str, more: &Value) {
    let mut packet = json!({ "type": "subscribe", "id": id, "path": "log", "input": "a" });
    packet.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    client.packet(packet);
    assert_eq!(client.recv_packet()["type"], "subscribed");
}

fn append(server: &Server, feed: &str, value: &str) {
    let entry = api_feeds::Entry { key: "k".into(), value: value.into() };
    crate::block_on(server.realtime().append(&api_feeds::feed(feed), &entry)).expect("it is appended");
}

pub fn streams_of_a_revoked_principal_end(subject: &Subject) {
    let (server, notes, _) = start_http(subject, patient);
    let stream = |accept| server.http("http").header("x-user", "ann").header("accept", accept).query("path=quiet");
    let mut events = stream("text/event-stream").events();
    assert_eq!(server.realtime().revoke(&principal("ann")), 1);
    let error = json!({ "code": "UNAUTHENTICATED", "message": "revoked", "retryable": true });
    let told = events.recv();
    assert_eq!((&*told.event, told.json::<Value>()), ("error", error));
    events.expect_end();
    notes.expect("dropped quiet");
    notes.expect("left 3000");
}

pub fn calls_by_http_of_a_revoked_principal_are_refused(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let call = |user| server.http("http/hang").header("x-user", user).json(&Value::Null).begin();
    let (mut ann, mut bob) = (call("ann"), call("bob"));
    notes.expect("began hang");
    notes.expect("began hang");
    server.realtime().revoke(&principal("ann"));
    ann.expect_status(401);
    assert_eq!(ann.json()["error"]["message"], "revoked");
    notes.expect("dropped hang");
    bob.nothing_yet();
    // Whoever middleware lets in again is served.
    server.http("http").header("x-user", "ann").path("seven", &Value::Null).gives(&json!(7));
}

pub fn kept_outcomes_of_a_revoked_principal_are_forgotten(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let count = |user| {
        let request = server.http("http/count").header("x-user", user);
        request.header("idempotency-key", "k").json(&json!({}))
    };
    count("ann").gives(&json!(1));
    count("bob").gives(&json!(2));
    server.realtime().revoke(&principal("ann"));
    count("ann").gives(&json!(3));
    count("bob").gives(&json!(2));
    for run in 1..=3 {
        notes.expect(&format!("ran {run}"));
    }
    notes.nothing_more();
}

pub fn a_running_call_of_a_revoked_principal_ends(subject: &Subject) {
    let (server, notes, _) = start_http(subject, |_| {});
    let mut client = server.request("http").header("x-user", "ann").connect();
    for kind in ["message", "event", "event"] {
        assert_eq!(client.recv_packet()["type"], kind);
    }
    client.packet(json!({ "type": "call", "id": "1", "path": "hang" }));
    client.packet(json!({ "type": "call", "id": "2", "path": "hang", "idempotencyKey": "k" }));
    notes.expect("opened");
    notes.expect("began hang");
    notes.expect("began hang");
    server.realtime().revoke(&principal("ann"));
    assert_eq!(client.expect_close(3000), "revoked");
    // The one with a key would go on without its caller.
    let mut ends = 0;
    while ends < 2 {
        ends += usize::from(notes.next() == "dropped hang");
    }
}

/// Its middleware has let it in, and takes its time.
pub fn who_is_on_the_way_in_is_revoked_too(subject: &Subject) {
    #[derive(Clone)]
    struct Door(Gate, std::sync::mpsc::Sender<()>);

    async fn wait(door: Door, mut context: Context, next: Next) -> Result<Accepted, Reject> {
        let user = context.header("x-user").map(str::to_owned);
        context.set(Principal(user.ok_or_else(Error::unauthenticated)?));
        let _ = door.1.send(());
        door.0.wait().await;
        next.run(context).await
    }

    let (gate, (sender, waits)) = (Gate::default(), std::sync::mpsc::channel());
    let (builder, ..) = api_http::builder(patient);
    let door = Door(gate.clone(), sender);
    let server = subject.start(builder.middleware(move |context, next| wait(door.clone(), context, next)).build());
    let request = |path: &'static str| server.http("http").header("x-user", "ann").query(path).begin();
    let mut call = request("path=seven");
    let mut stream = server.http("http").header("x-user", "ann").header("accept", "text/event-stream").begin();
    for _ in 0..2 {
        waits.recv_timeout(crate::conformance::client::PATIENCE).unwrap();
    }
    assert_eq!(server.realtime().revoke(&principal("ann")), 0);
    gate.open();
    call.expect_status(401);
    stream.expect_status(401);
    let mut after = request("path=seven");
    after.expect_status(200);
}
