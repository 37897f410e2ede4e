//! Users: what counts for a principal, over all its connections.

use crate::conformance::{RawClient, Server, Subject};
use realtime_core::{
    Accepted, Call, Config, Context, Endpoint, Event, FnConnection, Function, Next, Presence, Principal,
    Procedure, RateLimit, Realtime, Reject, Result,
};
use serde_json::{Value, json};
use std::time::Duration;

const ONLINE: Presence<Value> = Presence::fixed("online").by_principal();
const ONLINE_BY_CONNECTION: Presence<Value> = Presence::fixed("online");
const MAIL: Event<String> = Event::new("mail");

const ENTER: Procedure<Value, ()> = Procedure::new("enter");
const ENTER_BY_CONNECTION: Procedure<Value, ()> = Procedure::new("enter_by_connection");
const LEAVE: Procedure<(), ()> = Procedure::new("leave");
const LIMITED: Procedure<(), ()> = Procedure::query("pay.limited");

type Inbox = Function<String, String, ()>;

fn start(subject: &Subject, change: impl FnOnce(&mut Config)) -> Server {
    let limited = Endpoint::new(())
        .procedure(Procedure::query("limited"), |_, ()| async move { Ok(()) })
        .guard(RateLimit::new(2, Duration::from_secs(10)).by_principal());
    let api = Endpoint::new(())
        .procedure(ENTER, |call: Call<()>, data| async move { call.connection()?.enter(&ONLINE, &data) })
        .procedure(ENTER_BY_CONNECTION, |call: Call<()>, data| async move {
            call.connection()?.enter(&ONLINE_BY_CONNECTION, &data)
        })
        .procedure(LEAVE, |call: Call<()>, ()| async move {
            call.connection()?.leave(&ONLINE);
            Ok(())
        })
        .nest("pay", limited);
    let mut config = Config::default();
    change(&mut config);
    let inbox = |connection: FnConnection<String, String>| async move {
        connection.closed().await;
        Ok(())
    };
    let builder = Realtime::builder().config(config).node(0xc0_ffee).manual_time().middleware(login);
    subject.start(builder.endpoint("api", api).handler_fn("inbox", inbox).build())
}

/// Sets the principal from the header `x-user`.
async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    if let Some(user) = context.header("x-user").map(str::to_owned) {
        context.set(Principal(user));
    }
    next.run(context).await
}

/// Connects, and returns the id of the connection too.
fn connect(server: &Server, user: &str) -> (RawClient, Value) {
    let request = server.request("api").header("x-user", user).subprotocol("realtime.v1.json");
    let mut client = request.connect();
    let id = client.recv_packet()["connection"].take();
    (client, id)
}

#[track_caller]
fn call(client: &mut RawClient, path: &str, input: impl serde::Serialize) {
    client.call("1", path, input);
    client.expect_result("1", Value::Null);
}

/// Checks that the next packet is a notice of the place.
#[track_caller]
fn expect_notice(client: &mut RawClient, mut notice: Value) {
    notice["name"] = "online".into();
    client.expect_packet(json!({ "type": "event", "name": "presence", "data": notice }));
}

/// Enters as the first connection of its user.
#[track_caller]
fn enter(client: &mut RawClient, id: &Value, data: &str, here: Value) {
    client.call("1", "enter", data);
    expect_notice(client, json!({ "here": here }));
    expect_notice(client, json!({ "joined": [{ "connection": id, "data": data }] }));
    client.expect_result("1", Value::Null);
}

/// Leaves, and is told so: the list of the place has ended for this connection.
#[track_caller]
fn leave(client: &mut RawClient, id: &Value) {
    client.call("1", "leave", Value::Null);
    expect_notice(client, json!({ "left": [id] }));
    client.expect_result("1", Value::Null);
}

pub fn a_user_with_two_pages_is_present_once(subject: &Subject) {
    let server = start(subject, |_| {});
    let ((mut bob, b), (mut ann, a)) = (connect(&server, "bob"), connect(&server, "ann"));
    enter(&mut bob, &b, "Bob", json!([]));
    enter(&mut ann, &a, "Ann", json!([{ "connection": b, "data": "Bob" }]));
    expect_notice(&mut bob, json!({ "joined": [{ "connection": a, "data": "Ann" }] }));

    // The other page finds the user here, and nobody is told of it.
    let (mut page, _) = connect(&server, "ann");
    page.call("1", "enter", "Ann");
    let both = json!([{ "connection": b, "data": "Bob" }, { "connection": a, "data": "Ann" }]);
    expect_notice(&mut page, json!({ "here": both }));
    page.expect_result("1", Value::Null);
    bob.settle();
    assert_eq!(server.realtime().present(&ONLINE).len(), 2);

    // News of the user come from any page, under one id.
    page.call("1", "enter", "Anna");
    for client in [&mut bob, &mut ann, &mut page] {
        expect_notice(client, json!({ "changed": [{ "connection": a, "data": "Anna" }] }));
    }
    page.expect_result("1", Value::Null);

    // It stays until the last page has left.
    ann.close(1000, "");
    page.settle();
    bob.settle();
    drop(page);
    expect_notice(&mut bob, json!({ "left": [a] }));
    assert_eq!(server.realtime().present(&ONLINE).len(), 1);
}

pub fn a_page_that_has_left_may_enter_again(subject: &Subject) {
    let server = start(subject, |_| {});
    let ((mut ann, a), (mut page, p)) = (connect(&server, "ann"), connect(&server, "ann"));
    enter(&mut ann, &a, "Ann", json!([]));
    page.call("1", "enter", "Ann");
    expect_notice(&mut page, json!({ "here": [{ "connection": a, "data": "Ann" }] }));
    page.expect_result("1", Value::Null);
    leave(&mut ann, &a);
    call(&mut ann, "leave", Value::Null);
    assert_eq!(server.realtime().present(&ONLINE).len(), 1);
    ann.call("1", "enter", "Ann");
    expect_notice(&mut ann, json!({ "here": [{ "connection": a, "data": "Ann" }] }));
    ann.expect_result("1", Value::Null);
    leave(&mut page, &p);
    ann.settle();
    leave(&mut ann, &a);
    assert!(server.realtime().present(&ONLINE).is_empty());
}

pub fn only_users_are_present_by_principal(subject: &Subject) {
    let server = start(subject, |_| {});
    let mut nobody = server.connect("api");
    nobody.call("1", "enter", "?");
    nobody.expect_failed("1", "FAILED_PRECONDITION");
    let (mut ann, a) = connect(&server, "ann");
    enter(&mut ann, &a, "Ann", json!([]));
    // A place is of one kind for as long as somebody is there.
    nobody.call("1", "enter_by_connection", "?");
    nobody.expect_failed("1", "FAILED_PRECONDITION");
    leave(&mut ann, &a);
    nobody.call("1", "enter_by_connection", "?");
    expect_notice(&mut nobody, json!({ "here": [] }));
}

/// Each connection of a user takes a place, so that their number is bounded, and so does the user's name.
pub fn presence_of_users_is_bounded(subject: &Subject) {
    let server = start(subject, |config| config.presence_bytes_per_place = 64 + 32 + 3 + 3 + 2 * 64);
    let (mut ann, a) = connect(&server, "ann");
    enter(&mut ann, &a, "Ann", json!([]));
    let (mut second, mut third) = (connect(&server, "ann").0, connect(&server, "ann").0);
    second.call("1", "enter", "Ann");
    expect_notice(&mut second, json!({ "here": [{ "connection": a, "data": "Ann" }] }));
    second.expect_result("1", Value::Null);
    third.call("1", "enter", "Ann");
    third.expect_failed("1", "RESOURCE_EXHAUSTED");
    leave(&mut ann, &a);
    third.call("1", "enter", "Ann");
    expect_notice(&mut third, json!({ "here": [{ "connection": a, "data": "Ann" }] }));
    third.expect_result("1", Value::Null);

    second.close(1000, "");
    third.close(1000, "");
    let mut long = connect(&server, &"a".repeat(200)).0;
    long.call("1", "enter", "Ann");
    long.expect_failed("1", "RESOURCE_EXHAUSTED");
}

pub fn all_connections_of_a_user_are_sent_to(subject: &Subject) {
    let server = start(subject, |_| {});
    let [(mut one, id), (mut two, _), (mut bob, _)] = ["ann", "ann", "bob"].map(|user| connect(&server, user));
    let mut inbox = server.request("inbox").header("x-user", "ann").connect();
    // It is connected once it answers.
    inbox.settle();
    let (ann, realtime) = (Principal("ann".into()), server.realtime());
    assert_eq!(realtime.connections_of(&ann).len(), 3);
    assert_eq!(realtime.to_principal(&ann).emit(MAIL, &"hello".into()).unwrap(), 3);
    let mail = |text: &str| json!({ "type": "event", "name": "mail", "data": text });
    for client in [&mut one, &mut two, &mut inbox] {
        client.expect_packet(mail("hello"));
    }
    let id = id.as_str().expect("an id").parse().expect("an id");
    assert_eq!(realtime.to_principal(&ann).except(&[id]).emit(MAIL, &"again".into()).unwrap(), 2);
    two.expect_packet(mail("again"));
    inbox.expect_packet(mail("again"));
    // A message goes to the handler that it is of.
    assert_eq!(realtime.to_principal(&ann).send::<Inbox>(&"typed".into()).unwrap(), 1);
    inbox.expect_packet(json!({ "type": "message", "value": "typed" }));
    for client in [&mut one, &mut two, &mut bob, &mut inbox] {
        client.settle();
    }
    inbox.close(1000, "");
    let nobody = Principal("eve".into());
    assert_eq!(realtime.to_principal(&nobody).emit(MAIL, &"?".into()).unwrap(), 0);
    assert!(realtime.connections_of(&nobody).is_empty());
}

pub fn a_user_has_one_bucket_for_all_its_connections_and_requests(subject: &Subject) {
    let server = start(subject, |_| {});
    let path = LIMITED.name();
    let [(mut one, _), (mut two, _), (mut bob, _)] = ["ann", "ann", "bob"].map(|user| connect(&server, user));
    call(&mut one, &path, Value::Null);
    server.http("api").path(&path, &Value::Null).header("x-user", "ann").gives(&Value::Null);
    two.call("1", &path, Value::Null);
    two.expect_failed("1", "RESOURCE_EXHAUSTED");
    server.http("api").path(&path, &Value::Null).header("x-user", "ann").fails(429, "RESOURCE_EXHAUSTED");
    call(&mut bob, &path, Value::Null);
    server.advance(Duration::from_secs(5));
    call(&mut two, &path, Value::Null);
}
