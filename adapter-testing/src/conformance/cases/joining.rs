//! Topics that clients join by subscriptions.

use crate::conformance::{RawClient, Server, Subject};
use realtime_core::{
    Accepted, Call, Config, Context, Endpoint, Error, Feed, Follow, Join, Log, Next, Overflow, Presence,
    Principal, Procedure, Realtime, Reject, Result, Subscription, Topic,
};
use serde_json::{Value, json};

const ROOM: Subscription<String, String> = Subscription::new("room");
const NEWEST: Subscription<(), String> = Subscription::new("newest");
const NEWEST_OF_EACH: Subscription<(), String> = Subscription::new("newest_of_each");
const NEWS: Subscription<(), String> = Subscription::new("news");
const SAY: Procedure<(String, String), ()> = Procedure::new("say");

const LAST_TWO: Topic<String> = Topic::fixed("newest").with_overflow(Overflow::drop_oldest(2));
const EACH: Topic<String> = Topic::fixed("each").with_overflow(Overflow::conflate(|text| text[..1].into()));
const LOG: Feed<String> = Topic::fixed("news").log(Log::last(10));
const HERE: Presence<String> = Presence::fixed("here");

fn room(name: &str) -> Topic<String> {
    Topic::new(format!("room:{name}"))
}

fn start(subject: &Subject, change: impl FnOnce(&mut Config)) -> Server {
    let api = Endpoint::new(())
        .topic(ROOM, join)
        .topic(NEWEST, |_, ()| async { Ok(LAST_TWO) })
        .topic(NEWEST_OF_EACH, |_, ()| async { Ok(EACH) })
        .feed(NEWS, follow)
        .procedure(SAY, say);
    let mut config = Config::default();
    change(&mut config);
    let builder = Realtime::builder().config(config).node(0xc0_ffee).manual_time().middleware(login);
    subject.start(builder.endpoint("api", api).build())
}

async fn join(call: Call<()>, name: String) -> Result<Join<String>> {
    let user = call.context().principal().ok_or_else(Error::unauthenticated)?;
    match &*name {
        "secret" => Err(Error::permission_denied("not for you")),
        "here" => Ok(room(&name).join().present(&HERE, &user.0)),
        _ => Ok(room(&name).into()),
    }
}

async fn follow(_: Call<()>, (): ()) -> Result<Follow<String>> {
    Ok(LOG.follow().present(&HERE, &"reads".into()))
}

async fn say(call: Call<()>, (name, text): (String, String)) -> Result {
    let room = room(&name);
    if !call.connection()?.has_joined(&room) {
        return Err(Error::failed_precondition("join the room first"));
    }
    call.to(&room).others().send(&text)
}

/// Sets the principal from the header `x-user`.
async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    if let Some(user) = context.header("x-user").map(str::to_owned) {
        context.set(Principal(user));
    }
    next.run(context).await
}

fn connect(server: &Server, user: &str) -> RawClient {
    server.request("api").header("x-user", user).connect()
}

/// Subscribes, and waits until the server has seen it.
#[track_caller]
fn subscribe(client: &mut RawClient, id: &str, path: &str, input: impl serde::Serialize) {
    client.subscribe(id, path, input);
    client.settle();
}

#[track_caller]
fn publish(server: &Server, topic: &Topic<String>, text: &str) {
    server.realtime().to(topic).send(&text.into()).unwrap();
}

pub fn a_client_joins_a_topic_if_it_may(subject: &Subject) {
    let server = start(subject, |_| {});
    let mut ann = connect(&server, "ann");
    ann.subscribe("1", "room", "secret");
    ann.expect_failed("1", "PERMISSION_DENIED");
    ann.subscribe("1", "room", "\0");
    ann.expect_failed("1", "INVALID_ARGUMENT");
    let mut nobody = server.connect("api");
    nobody.subscribe("1", "room", "a");
    nobody.expect_failed("1", "UNAUTHENTICATED");
    subscribe(&mut ann, "1", "room", "a");
    publish(&server, &room("a"), "hello");
    ann.expect_data("1", "hello");
    publish(&server, &room("b"), "elsewhere");
    server.realtime().to(&room("a")).emit(realtime_core::Event::new("event"), &1).unwrap();
    ann.settle();
    ann.unsubscribe("1");
    ann.expect_complete("1");
    publish(&server, &room("a"), "gone");
    ann.settle();
}

pub fn who_has_joined_hears_the_topic_and_may_speak(subject: &Subject) {
    let server = start(subject, |_| {});
    let mut ann = connect(&server, "ann");
    let mut bob = super::messagepack_by(server.request("api").header("x-user", "bob"));
    let say = |text: &str| json!(["a", text]);
    ann.call("say", "say", say("too soon"));
    ann.expect_failed("say", "FAILED_PRECONDITION");
    for client in [&mut ann, &mut bob] {
        subscribe(client, "1", "room", "a");
    }
    ann.call("say", "say", say("hello"));
    bob.expect_data("1", "hello");
    ann.expect_result("say", Value::Null);
    bob.call("say", "say", say("hi"));
    ann.expect_data("1", "hi");
    bob.expect_result("say", Value::Null);
    ann.unsubscribe("1");
    ann.expect_complete("1");
    ann.call("say", "say", say("too late"));
    ann.expect_failed("say", "FAILED_PRECONDITION");
    bob.settle();
}

pub fn a_topic_is_a_stream_of_events_too(subject: &Subject) {
    let server = start(subject, |_| {});
    let http = || server.http("api").header("accept", "text/event-stream").header("x-user", "ann");
    http().path("room", &json!("secret")).fails(403, "PERMISSION_DENIED");
    let mut events = http().path("room", &json!("a")).events();
    publish(&server, &room("a"), "hello");
    events.expect("message", r#""hello""#);
}

#[track_caller]
fn expect_presence(client: &mut RawClient) -> Value {
    let mut packet = client.recv_packet();
    assert_eq!((&packet["name"], &packet["data"]["name"]), (&"presence".into(), &"here".into()), "{packet}");
    packet["data"].take()
}

pub fn who_joins_is_present_until_its_last_subscription_ends(subject: &Subject) {
    let server = start(subject, |_| {});
    let (mut ann, mut bob) = (connect(&server, "ann"), connect(&server, "bob"));
    ann.subscribe("1", "room", "here");
    assert_eq!(expect_presence(&mut ann)["here"], json!([]));
    assert_eq!(expect_presence(&mut ann)["joined"][0]["data"], "ann");
    bob.subscribe("1", "room", "here");
    assert_eq!(expect_presence(&mut bob)["here"][0]["data"], "ann");
    let joined = expect_presence(&mut bob)["joined"][0].take();
    assert_eq!(expect_presence(&mut ann)["joined"][0], joined);
    bob.subscribe("2", "room", "here");
    for client in [&mut ann, &mut bob] {
        assert_eq!(expect_presence(client)["changed"][0], joined);
    }
    bob.unsubscribe("1");
    bob.expect_complete("1");
    ann.settle();
    bob.unsubscribe("2");
    // Its list of the place ends with it.
    assert_eq!(expect_presence(&mut bob)["left"], json!([joined["connection"]]));
    bob.expect_complete("2");
    assert_eq!(expect_presence(&mut ann)["left"], json!([joined["connection"]]));
    bob.settle();
    drop(ann);
    bob.subscribe("3", "room", "here");
    // That the other is gone may be seen before or after.
    let present = |presence: &Value| presence["here"].as_array().map_or(0, Vec::len);
    assert!(present(&expect_presence(&mut bob)) < 2);
}

pub fn messages_wait_for_who_has_joined_and_grants_no_credit(subject: &Subject) {
    let server = start(subject, |_| {});
    let mut ann = connect(&server, "ann");
    ann.subscribe_with_credit("1", "room", "a", 1);
    ann.settle();
    for text in ["1", "2", "3"] {
        publish(&server, &room("a"), text);
    }
    ann.expect_data("1", "1");
    ann.settle();
    ann.grant("1", 5);
    ann.expect_data("1", "2");
    ann.expect_data("1", "3");
}

#[track_caller]
fn expect_gap(client: &mut RawClient, count: u64, cause: &str) {
    client.expect_packet(json!({ "type": "gap", "id": "1", "count": count, "cause": cause }));
}

pub fn a_topic_that_misses_things_out_says_so_to_who_has_joined(subject: &Subject) {
    let server = start(subject, |_| {});
    let mut ann = connect(&server, "ann");
    ann.subscribe_with_credit("1", "newest", Value::Null, 0);
    ann.settle();
    for text in ["1", "2", "3", "4"] {
        publish(&server, &LAST_TWO, text);
    }
    ann.grant("1", 5);
    expect_gap(&mut ann, 2, "overflow");
    ann.expect_data("1", "3");
    ann.expect_data("1", "4");
    ann.unsubscribe("1");
    ann.expect_complete("1");
    ann.subscribe_with_credit("1", "newest_of_each", Value::Null, 0);
    ann.settle();
    for text in ["a1", "b1", "a2", "a3"] {
        publish(&server, &EACH, text);
    }
    ann.grant("1", 5);
    expect_gap(&mut ann, 2, "conflated");
    ann.expect_data("1", "b1");
    ann.expect_data("1", "a3");
}

pub fn who_has_joined_and_does_not_keep_up_is_told(subject: &Subject) {
    let server = start(subject, |config| config.outbox_bytes = 64 * 1024);
    let mut ann = connect(&server, "ann");
    ann.subscribe_with_credit("1", "room", "a", 0);
    ann.settle();
    let text = "x".repeat(16 * 1024);
    for _ in 0..4 {
        publish(&server, &room("a"), &text);
    }
    let error = ann.expect_failed("1", "RESOURCE_EXHAUSTED");
    assert_eq!(error["retryable"], true);
    // The connection goes on, and may join again.
    subscribe(&mut ann, "1", "room", "a");
    publish(&server, &room("a"), "again");
    ann.expect_data("1", "again");
    assert!(server.realtime().to(&room("a")).send(&"x".repeat(64 * 1024)).is_err(), "no outbox holds it");
}

/// The budget is kept, whatever the topics are: what waits is dropped, in place of clients.
pub fn what_waits_for_who_has_joined_is_within_the_budget(subject: &Subject) {
    let server = start(subject, |config| config.memory = 256 * 1024);
    let mut ann = connect(&server, "ann");
    ann.subscribe_with_credit("1", "newest", Value::Null, 0);
    let rooms = ["2", "3", "4", "5"];
    for id in rooms {
        ann.subscribe_with_credit(id, "room", id, 0);
    }
    ann.settle();
    let text = "x".repeat(10 * 1024);
    for _ in 0..12 {
        publish(&server, &LAST_TWO, &text);
        rooms.iter().for_each(|id| publish(&server, &room(id), &text));
        let memory = server.realtime().stats().memory;
        assert!(memory.used <= 256 * 1024 && memory.closed == 0, "{memory:?}");
    }
    assert!(server.realtime().stats().memory.dropped_publications > 0);
    let mut failed = rooms.map(|_| ann.recv_packet()["id"].take());
    failed.sort_unstable_by_key(Value::to_string);
    assert_eq!(failed.map(|id| id.as_str().map(str::to_owned)), rooms.map(|id| Some(id.to_owned())));
    ann.grant("1", 9);
    assert_eq!(ann.recv_packet()["type"], "gap");
    ann.expect_data("1", &*text);
}

pub fn who_is_revoked_from_a_topic_hears_it_no_more(subject: &Subject) {
    let server = start(subject, |_| {});
    let [mut ann, mut slow, mut bob] = ["ann", "ann", "bob"].map(|user| connect(&server, user));
    for client in [&mut ann, &mut bob] {
        subscribe(client, "1", "room", "a");
    }
    slow.subscribe_with_credit("1", "room", "a", 0);
    slow.settle();
    publish(&server, &room("a"), "before");
    for client in [&mut ann, &mut bob] {
        client.expect_data("1", "before");
        client.settle();
    }
    server.realtime().revoke_from(&Principal("ann".into()), &room("a"));
    publish(&server, &room("a"), "after");
    for client in [&mut ann, &mut slow] {
        client.expect_failed("1", "UNAUTHENTICATED");
        client.grant("1", 9);
        client.settle();
    }
    bob.expect_data("1", "after");
    // The application has not refused it: it may join again.
    subscribe(&mut ann, "1", "room", "a");
    publish(&server, &room("a"), "again");
    ann.expect_data("1", "again");
}

pub fn a_feed_may_be_joined_with_presence(subject: &Subject) {
    let server = start(subject, |_| {});
    let mut ann = connect(&server, "ann");
    ann.subscribe("1", "news", Value::Null);
    assert_eq!(ann.recv_packet()["type"], "subscribed");
    assert_eq!(expect_presence(&mut ann)["here"], json!([]));
    let joined = expect_presence(&mut ann)["joined"][0].take();
    assert_eq!(joined["data"], "reads");
    assert_eq!(server.realtime().present(&HERE).len(), 1);
    ann.unsubscribe("1");
    assert_eq!(expect_presence(&mut ann)["left"], json!([joined["connection"]]));
    ann.expect_complete("1");
    assert!(server.realtime().present(&HERE).is_empty());
}
