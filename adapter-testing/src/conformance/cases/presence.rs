//! Who is here.

use crate::conformance::{Client, Server, Subject};
use realtime_core::{Call, Endpoint, Presence, Procedure, Realtime, Result};
use serde_json::{Value, json};

const HERE: Presence<Value> = Presence::fixed("room");
const ENTER: Procedure<Value, ()> = Procedure::new("enter");
const OBSERVE: Procedure<(), ()> = Procedure::new("observe");
const LEAVE: Procedure<(), ()> = Procedure::new("leave");
const WHO: Procedure<(), Vec<Value>> = Procedure::query("who");

fn start(subject: &Subject) -> Server {
    let place = Endpoint::new(())
        .call(ENTER, |call: Call<()>, data: Value| async move { call.connection()?.enter(&HERE, &data) })
        .call(OBSERVE, |call: Call<()>, ()| async move { call.connection()?.observe(&HERE) })
        .call(LEAVE, |call: Call<()>, ()| async move {
            call.connection()?.leave(&HERE);
            Ok(())
        })
        .call(WHO, who);
    let realtime = Realtime::builder().endpoint("place", place).node(0xc0_ffee).manual_time().build();
    subject.start(realtime)
}

async fn who(call: Call<()>, (): ()) -> Result<Vec<Value>> {
    Ok(call.realtime().present(&HERE).into_iter().map(|present| present.data).collect())
}

/// The next packet is a notice; gives it without the name of the place.
#[track_caller]
fn notice(client: &mut Client) -> Value {
    let mut packet = client.recv_packet();
    assert_eq!((&packet["type"], &packet["name"]), (&"event".into(), &"presence".into()), "{packet}");
    let mut notice = packet["data"].take();
    let name = notice.as_object_mut().and_then(|notice| notice.remove("name"));
    assert_eq!(name, Some("room".into()));
    notice
}

/// Enters; the client is told who is here, and that it came.
#[track_caller]
fn enter(client: &mut Client, data: &str, here: &[&str]) -> Value {
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
fn expect_who(client: &mut Client, expected: &[&str]) {
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

/// By leaving, by closing, by a lost connection and by a protocol error.
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

/// Nobody can say that it is another, or be told of itself as one.
pub fn the_id_of_who_is_here_is_the_connections(subject: &Subject) {
    let server = start(subject);
    let mut ann = server.request("place").subprotocol("realtime.v1.json").connect();
    let welcome = ann.recv_packet();
    let forged = json!({ "connection": "0000000000c0ffee-ff", "name": "Bob" });
    ann.call("1", "enter", forged.clone());
    notice(&mut ann);
    assert_eq!(notice(&mut ann)["joined"], json!([{ "connection": welcome["connection"], "data": forged }]));
}
