//! Values against their schemas: what fits passes, and a test fails at the first that does not.

use adapter_testing::{TestServer, block_on};
use futures_util::stream;
use realtime_core::{
    Call, Connection, Described, Endpoint, Event, Handler, Presence, Procedure, Realtime, Result, Subscription,
};
use realtime_schema::Schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A type of which schemars knows only half: a wrong one writes its count as a text, which is what `serialize_with` does
/// without anybody noticing.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
struct Note {
    #[serde(serialize_with = "text_if_odd")]
    count: u32,
}

fn text_if_odd<S: Serializer>(count: &u32, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match count % 2 {
        0 => serializer.serialize_u32(*count),
        _ => serializer.serialize_str(&count.to_string()),
    }
}

const ECHO: Procedure<u32, Note> = Procedure::query("echo");
const WORK: Procedure<u32, ()> = Procedure::new("work").progress::<Note>();
const QUIET: Procedure<u32, ()> = Procedure::new("quiet");
const ITEMS: Subscription<u32, Vec<Note>> = Subscription::new("items");
const TOLD: Event<Note> = Event::new("told");
const CONFIRM: Procedure<Note, bool> = Procedure::new("confirm");

/// The declared things by name, and `undeclared` beside each: what they do is said by the number that is sent.
fn endpoint() -> Endpoint<(), Described> {
    Endpoint::described(())
        .procedure(ECHO, |_, count| async move { Ok(Note { count }) })
        .procedure(WORK, report)
        .procedure(QUIET, report)
        .subscription(ITEMS, |_, count| async move { Ok(stream::iter([vec![Note::default(), Note { count }]])) })
        .procedure(Procedure::<(String, u32), ()>::new("tell"), tell)
        .procedure(Procedure::<(String, u32), ()>::new("enter"), enter)
        .procedure(Procedure::<(String, u32), bool>::new("ask"), ask)
        .on(Event::<u32>::new("heard"), |_, _| async { Ok(()) })
        .emits(TOLD)
        .asks(CONFIRM)
        .presence::<Note>("room")
}

async fn report(call: Call<()>, count: u32) -> Result {
    call.progress(&Note { count })
}

async fn tell(call: Call<()>, (name, count): (String, u32)) -> Result {
    call.connection()?.emit(Event::<Note>::new(leaked(name)), &Note { count })
}

async fn enter(call: Call<()>, (place, count): (String, u32)) -> Result {
    call.connection()?.enter(&Presence::<Note>::new(place), &Note { count })
}

async fn ask(call: Call<()>, (name, count): (String, u32)) -> Result<bool> {
    call.connection()?.call(Procedure::<Note, bool>::new(leaked(name)), Note { count }).await
}

/// Names of constants are static.
fn leaked(name: String) -> &'static str {
    name.leak()
}

struct Talk;

impl Handler for Talk {
    type Input = Option<Note>;
    type ClientMessage = u32;
    type ServerMessage = Note;

    async fn on_message(&self, connection: &Connection<Self>, count: u32) -> Result {
        connection.send(Note { count })?;
        Ok(())
    }
}

fn server() -> TestServer {
    let realtime = Realtime::builder().endpoint("api", endpoint()).handler("talk", Talk.described()).build();
    let schema = Schema::of(&realtime);
    TestServer::new(realtime).checked(&schema)
}

/// Sends frames to an id, and lets everything happen.
async fn exchange(id: &str, frames: &[Value]) {
    let server = server();
    let mut client = server.open(id).await.expect("it is open to all");
    for frame in frames {
        client.send_text(&frame.to_string()).await;
    }
}

/// Says with what the test would fail.
fn failure(id: &str, frames: &[Value]) -> Option<String> {
    let failed = catch_unwind(AssertUnwindSafe(|| block_on(exchange(id, frames)))).err()?;
    Some(*failed.downcast::<String>().expect("panics have messages"))
}

fn call(path: &str, input: impl Serialize) -> Value {
    json!({ "type": "call", "id": "1", "path": path, "input": input })
}

/// Frames with a number that makes the value right or wrong, and how the wrong one is told.
fn cases(count: u32) -> Vec<(&'static str, Vec<Value>, &'static str)> {
    vec![
        ("api", vec![call("echo", count)], "the output of api/echo, which the server sent, does not fit"),
        ("api", vec![call("work", count)], "the progress of api/work, which the server sent, does not fit"),
        (
            "api",
            vec![json!({ "type": "subscribe", "id": "1", "path": "items", "input": count })],
            "an item of api/items, which the server sent, does not fit its schema:\n  /1/count: \"1\" is not of type",
        ),
        ("api", vec![call("tell", ("told", count))], "the event api/told, which the server sent, does not fit"),
        ("api", vec![call("ask", ("confirm", count))], "the server's call of api/confirm does not fit"),
        (
            "api",
            vec![call("enter", ("room:a", count))],
            "the presence in \"room:a\" of api, which the server sent, in joined",
        ),
        (
            "talk",
            vec![json!({ "type": "message", "value": count })],
            "a message of talk, which the server sent, does",
        ),
        (
            "api",
            vec![
                json!({ "type": "event", "name": "heard", "data": if count == 0 { json!(0) } else { json!("0") } }),
            ],
            "the event api/heard, which the client sent, does not fit",
        ),
        (
            "api",
            vec![call("echo", if count == 0 { json!(0) } else { json!(-2) })],
            "the input of api/echo, which the client sent, does not fit its schema:\n  at its top: -2 is less than",
        ),
        (
            "talk",
            vec![json!({ "type": "message", "value": if count == 0 { json!(0) } else { json!(null) } })],
            "a message to talk, which the client sent, does not fit",
        ),
    ]
}

#[test]
fn a_test_fails_at_a_value_that_does_not_fit() {
    for (id, frames, said) in cases(1) {
        let failure = failure(id, &frames).unwrap_or_else(|| panic!("nothing fails at {frames:?}"));
        assert!(failure.contains(said), "{failure}\ninstead of\n{said}");
    }
}

#[test]
fn answers_of_the_client_are_compared_too() {
    async fn answer<O: Serialize + serde::de::DeserializeOwned + Send + 'static>(output: O) {
        let mut client = server().open("api").await.expect("it is open to all");
        client.send_text(&call("ask", ("confirm", 0)).to_string()).await;
        let (_, asked) = client.expect_call(Procedure::<Value, O>::new("confirm")).await;
        asked.answer(output).await;
    }
    block_on(answer(true));
    let failed = catch_unwind(|| block_on(answer("yes".to_owned()))).expect_err("a text is no flag");
    let failure = failed.downcast::<String>().expect("panics have messages");
    assert!(failure.starts_with("the client's answer to api/confirm does not fit its schema"), "{failure}");
}

#[test]
fn values_in_message_pack_are_compared_too() {
    async fn echo(count: u32) {
        let request = server().request("api").subprotocol("realtime.v1.msgpack");
        let mut client = request.open().await.expect("it is open to all");
        client.begin(ECHO, count).await;
    }
    block_on(echo(2));
    let failed = catch_unwind(|| block_on(echo(1))).expect_err("a text is no number");
    let failure = failed.downcast::<String>().expect("panics have messages");
    assert!(failure.starts_with("the output of api/echo, which the server sent, does not fit"), "{failure}");
}

#[test]
fn values_that_fit_pass() {
    for (id, frames, _) in cases(0) {
        assert_eq!(failure(id, &frames), None, "{frames:?}");
    }
}

#[test]
fn the_path_the_value_there_and_the_whole_value_are_told() {
    let failure =
        failure("api", &[json!({ "type": "subscribe", "id": "1", "path": "items", "input": 7 })]).unwrap();
    let expected = "an item of api/items, which the server sent, does not fit its schema:\n  \
                    /1/count: \"7\" is not of type \"integer\"\n    the value there: \"7\"\n\
                    the whole value: [{\"count\":0},{\"count\":\"7\"}]";
    assert_eq!(failure, expected);
}

#[test]
fn a_test_fails_at_what_was_not_declared() {
    for (frame, said) in [
        (call("tell", ("other", 0)), "the event api/other, which the server sent, was not declared: add it"),
        (call("ask", ("other", 0)), "the server's call of api/other was not declared: add it"),
        (call("quiet", 0), "the progress of api/quiet, which the server sent, was not declared: give its type"),
        (call("enter", ("roomy", 0)), "the presence in \"roomy\" of api was not declared"),
    ] {
        let failure = failure("api", &[frame]).expect("it was not declared");
        assert!(failure.contains(said), "{failure}");
    }
}

/// Values that the server refuses, and those that it was never asked for, have no schema to be compared with.
#[test]
fn what_is_refused_and_what_is_no_frame_is_passed_over() {
    let frames =
        [call("nothing", "x"), json!({ "type": "result", "id": "9", "data": 1 }), json!([1]), json!(null)];
    assert_eq!(failure("api", &frames), None);
}

#[test]
fn calls_and_streams_by_http_are_compared_too() {
    let fails = |act: fn(TestServer)| {
        let failed = catch_unwind(AssertUnwindSafe(|| act(server()))).err();
        failed.map(|failed| *failed.downcast::<String>().expect("panics have messages"))
    };
    let said = |act, said: &str| {
        let failure = fails(act).expect("it does not fit");
        assert!(failure.contains(said), "{failure}");
    };
    said(
        |server| drop(block_on(server.http("api").get().path("echo").input(&1).send())),
        "the output of api/echo",
    );
    said(
        |server| drop(block_on(server.http("api").get().path("echo").input(&"x").send())),
        "the input of api/echo",
    );
    said(
        |server| drop(block_on(server.http("api").post().json(&json!({ "path": "echo", "input": 1 })).send())),
        "the output of api/echo",
    );
    said(
        |server| drop(block_on(server.http("api").post().json(&json!({ "path": "echo", "input": "x" })).send())),
        "the input of api/echo",
    );
    said(|server| drop(block_on(server.events("api").path("items").input(&1).open())), "an item of api/items");
    said(|server| drop(block_on(server.events("talk").input(&1).open())), "the input of talk");
    said(|server| drop(block_on(server.request("talk").input(&1).open())), "the input of talk");

    let fine = |server: TestServer| {
        block_on(async {
            let call = server.http("api").get().path("echo").input(&2).send().await;
            assert_eq!(call.status().as_u16(), 200);
            let mut events = server.events("api").path("items").input(&2).open().await.unwrap();
            assert_eq!(events.next().await.unwrap().data, r#"[{"count":0},{"count":2}]"#);
            server.events("talk").input(&json!({ "count": 1 })).open().await.unwrap();
        });
    };
    assert_eq!(fails(fine), None);
}

#[test]
#[should_panic(expected = "checked already")]
fn a_server_is_checked_once() {
    let schema = Schema::of(server().realtime());
    let _ = server().checked(&schema);
}
