//! Presence: the members of a topic and their changes.

use crate::conformance::{RawClient, Server, Subject};
use realtime_core::{Call, Config, Endpoint, Presence, Procedure, Realtime, Result, Topic};
use serde_json::{Value, json};

const HERE: Presence<Value> = Presence::fixed("room");
const ENTER: Procedure<Value, ()> = Procedure::new("enter");
const OBSERVE: Procedure<(), ()> = Procedure::new("observe");
const LEAVE: Procedure<(), ()> = Procedure::new("leave");
const SUBSCRIBE: Procedure<String, ()> = Procedure::new("subscribe");
const WHO: Procedure<(), Vec<Value>> = Procedure::query("who");

fn start(subject: &Subject) -> Server {
    start_with(subject, |_| {})
}

fn start_with(subject: &Subject, change: impl FnOnce(&mut Config)) -> Server {
    let place = Endpoint::new(())
        .procedure(ENTER, |call: Call<()>, data: Value| async move { call.connection()?.enter(&HERE, &data) })
        .procedure(OBSERVE, |call: Call<()>, ()| async move { call.connection()?.observe(&HERE) })
        .procedure(LEAVE, |call: Call<()>, ()| async move {
            call.connection()?.leave(&HERE);
            Ok(())
        })
        .procedure(SUBSCRIBE, |call: Call<()>, name| async move {
            call.connection()?.subscribe(&Topic::<Value>::new(name))
        })
        .procedure(WHO, who);
    let mut config = Config::default();
    change(&mut config);
    let realtime =
        Realtime::builder().config(config).endpoint("place", place).node(0xc0_ffee).manual_time().build();
    subject.start(realtime)
}

async fn who(call: Call<()>, (): ()) -> Result<Vec<Value>> {
    Ok(call.realtime().present(&HERE).into_iter().map(|present| present.data).collect())
}

/// Checks that the next packet is a notice. Returns it without the name of the place.
#[track_caller]
fn notice(client: &mut RawClient) -> Value {
    let mut packet = client.recv_packet();
    assert_eq!((&packet["type"], &packet["name"]), (&"event".into(), &"presence".into()), "{packet}");
    let mut notice = packet["data"].take();
    let name = notice.as_object_mut().and_then(|notice| notice.remove("name"));
    assert_eq!(name, Some("room".into()));
    notice
}

/// Enters, and checks the notices of the clients here and of the entry.
#[track_caller]
fn enter(client: &mut RawClient, data: &str, here: &[&str]) -> Value {
    client.call("enter", "enter", data);
    let list = notice(client);
    let names: Vec<_> = list["here"].as_array().expect("a list").iter().map(|one| one["data"].clone()).collect();
    assert_eq!(names, here);
    let joined = notice(client)["joined"][0].take();
    assert_eq!(joined["data"], data);
    client.expect_result("enter", Value::Null);
    joined["connection"].clone()
}

#[track_caller]
fn expect_who(client: &mut RawClient, expected: &[&str]) {
    client.call("who", "who", Value::Null);
    let mut packet = client.recv_packet();
    let mut who: Vec<String> = serde_json::from_value(packet["data"].take()).expect("names");
    // They stand in the order in which they have connected, which a case does not see.
    who.sort_unstable();
    assert_eq!(who, expected);
}

pub fn who_enters_is_told_who_is_here_and_the_others_are_told(subject: &Subject) {
    let server = start(subject);
    let (mut ann, mut bob) = (server.connect("place"), server.connect("place"));
    enter(&mut ann, "Ann", &[]);
    let id = enter(&mut bob, "Bob", &["Ann"]);
    assert_eq!(notice(&mut ann)["joined"], json!([{ "connection": id, "data": "Bob" }]));
    expect_who(&mut ann, &["Ann", "Bob"]);
}

pub fn who_enters_again_changes_its_data(subject: &Subject) {
    let server = start(subject);
    let (mut ann, mut bob) = (server.connect("place"), server.connect("place"));
    let id = enter(&mut ann, "Ann", &[]);
    enter(&mut bob, "Bob", &["Ann"]);
    notice(&mut ann);
    ann.call("1", "enter", "Anna");
    for client in [&mut ann, &mut bob] {
        assert_eq!(notice(client)["changed"], json!([{ "connection": id, "data": "Anna" }]));
    }
    ann.expect_result("1", Value::Null);
    expect_who(&mut bob, &["Anna", "Bob"]);
}

/// Clients leave by a call, a close, a lost connection or a protocol error.
pub fn who_goes_in_whatever_way_has_left(subject: &Subject) {
    let server = start(subject);
    let mut ann = server.connect("place");
    enter(&mut ann, "Ann", &[]);
    for way in 0..4 {
        let mut bob = server.connect("place");
        let id = enter(&mut bob, "Bob", &["Ann"]);
        notice(&mut ann);
        match way {
            0 => {
                bob.call("1", "leave", Value::Null);
                assert_eq!(notice(&mut bob), json!({ "left": [id] }));
                bob.expect_result("1", Value::Null);
                bob.close(1000, "");
            }
            1 => bob.close(1000, ""),
            2 => drop(bob),
            _ => bob.expect_failure(b"\x83\x80\0\0\0\0", 1002, "reserved opcode"),
        }
        assert_eq!(notice(&mut ann), json!({ "left": [id] }), "{way}");
        expect_who(&mut ann, &["Ann"]);
    }
}

pub fn who_observes_is_told_and_is_not_here(subject: &Subject) {
    let server = start(subject);
    let (mut ann, mut eve) = (server.connect("place"), server.connect("place"));
    enter(&mut ann, "Ann", &[]);
    eve.call("1", "observe", Value::Null);
    assert_eq!(notice(&mut eve)["here"][0]["data"], "Ann");
    eve.expect_result("1", Value::Null);
    // Twice is as good as once.
    eve.call("2", "observe", Value::Null);
    eve.expect_result("2", Value::Null);
    let mut bob = server.connect("place");
    enter(&mut bob, "Bob", &["Ann"]);
    assert_eq!(notice(&mut eve)["joined"][0]["data"], "Bob");
    notice(&mut ann);
    eve.call("3", "enter", "Eve");
    for client in [&mut ann, &mut bob, &mut eve] {
        assert_eq!(notice(client)["joined"][0]["data"], "Eve");
    }
    eve.expect_result("3", Value::Null);
    expect_who(&mut eve, &["Ann", "Bob", "Eve"]);
}

/// Whoever keeps the list would not know otherwise that nothing more is told of it.
pub fn who_leaves_or_observes_no_longer_is_told_so_once(subject: &Subject) {
    let server = start(subject);
    let (mut ann, mut eve) = (server.connect("place"), server.connect("place"));
    let leave = |client: &mut RawClient| client.call("1", "leave", Value::Null);
    leave(&mut eve);
    eve.expect_result("1", Value::Null);
    eve.call("1", "observe", Value::Null);
    assert_eq!(notice(&mut eve)["here"], json!([]));
    eve.expect_result("1", Value::Null);
    leave(&mut eve);
    assert_eq!(notice(&mut eve)["left"].as_array().map(Vec::len), Some(1));
    eve.expect_result("1", Value::Null);
    let id = enter(&mut ann, "Ann", &[]);
    leave(&mut ann);
    assert_eq!(notice(&mut ann), json!({ "left": [id] }));
    ann.expect_result("1", Value::Null);
    leave(&mut ann);
    ann.expect_result("1", Value::Null);
    assert_eq!(enter(&mut ann, "Ann", &[]), id);
    expect_who(&mut eve, &["Ann"]);
}

/// No topic name lets a client receive the notices of a place that it has not entered.
pub fn a_topic_is_no_place(subject: &Subject) {
    let server = start(subject);
    let (mut spy, mut ann) = (server.connect("place"), server.connect("place"));
    spy.call("1", "subscribe", "room");
    spy.expect_result("1", Value::Null);
    spy.call("2", "subscribe", "\0presence:room");
    spy.expect_failed("2", "INVALID_ARGUMENT");
    enter(&mut ann, "ann", &[]);
    spy.settle();
    // And who is subscribed is still told of the place once it enters.
    enter(&mut spy, "spy", &["ann"]);
}

pub fn presence_data_is_bounded(subject: &Subject) {
    let server = start_with(subject, |config| {
        config.presence_bytes = 100;
        config.presence_bytes_per_place = 300;
    });
    let (mut ann, mut bob) = (server.connect("place"), server.connect("place"));
    // A text takes 32 bytes, and an entry 64.
    ann.call("1", "enter", "x".repeat(69));
    ann.expect_failed("1", "INVALID_ARGUMENT");
    ann.call("1", "enter", json!([1, 2, 3]));
    ann.expect_failed("1", "INVALID_ARGUMENT");
    enter(&mut ann, &"a".repeat(68), &[]);
    bob.call("1", "enter", "b".repeat(68));
    bob.expect_failed("1", "RESOURCE_EXHAUSTED");
    expect_who(&mut ann, &[&"a".repeat(68)]);
    // What is there may change, and who has gone takes nothing.
    ann.call("1", "enter", "a");
    notice(&mut ann);
    ann.expect_result("1", Value::Null);
    enter(&mut bob, &"b".repeat(68), &["a"]);
    bob.call("1", "leave", Value::Null);
    notice(&mut bob);
    bob.expect_result("1", Value::Null);
    enter(&mut bob, &"c".repeat(68), &["a"]);
}

pub fn the_id_of_who_is_here_is_the_connections(subject: &Subject) {
    let server = start(subject);
    let mut ann = server.request("place").subprotocol("realtime.v1.json").connect();
    let welcome = ann.recv_packet();
    let forged = json!({ "connection": "0000000000c0ffee-ff", "name": "Bob" });
    ann.call("1", "enter", forged.clone());
    notice(&mut ann);
    assert_eq!(notice(&mut ann)["joined"], json!([{ "connection": welcome["connection"], "data": forged }]));
}
