//! The commands of the chat, in memory.

use adapter_testing::{TestClient, TestServer, block_on};
use chat::{Chat, Join};
use realtime_schema::Schema;
use serde_json::{Value, json};

/// A server whose values are compared with its schema.
fn server() -> TestServer {
    let realtime = chat::realtime();
    let schema = Schema::of(&realtime);
    TestServer::new(realtime).checked(&schema)
}

/// Connects a client, and receives the messages that it is sent first.
async fn join(server: &TestServer, name: &str) -> TestClient<Chat> {
    let join = Join { room: "general".into(), name: name.into(), after: None };
    let mut client = server.connect("chat", join).await.expect("the chat is open to all");
    frames(&mut client).await;
    client
}

/// Returns all frames that have arrived, as JSON.
async fn frames(client: &mut TestClient<Chat>) -> Vec<Value> {
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = client.try_frame().await {
        frames.push(serde_json::from_slice(&frame.payload).expect("frames are JSON"));
    }
    frames
}

/// Calls a procedure. Returns its result once everybody has received the events.
async fn call(client: &mut TestClient<Chat>, path: &str, input: Value) -> Value {
    let frame = json!({ "type": "call", "id": "1", "path": path, "input": input });
    client.send_text(&frame.to_string()).await;
    let answer = frames(client).await.into_iter().find(|frame| frame["id"] == "1");
    answer.expect("each call has an answer")
}

/// Returns the events that a client received, by name and data, without those of who is there.
async fn events(client: &mut TestClient<Chat>) -> Vec<(Value, Value)> {
    let is_meant = |frame: &Value| frame["type"] == "event" && frame["name"] != "presence";
    let frames = frames(client).await.into_iter().filter(is_meant);
    frames.map(|frame| (frame["name"].clone(), frame["data"].clone())).collect()
}

#[test]
fn members_are_those_in_the_room() {
    block_on(async {
        let server = server();
        let (mut ann, _bob) = (join(&server, "Ann").await, join(&server, "Bob").await);
        let elsewhere = Join { room: "random".into(), name: "Cleo".into(), after: None };
        let _cleo = server.connect::<Chat>("chat", elsewhere).await.expect("the chat is open to all");
        let members = call(&mut ann, "members", Value::Null).await;
        let names: Vec<_> =
            members["data"].as_array().into_iter().flatten().map(|person| &person["name"]).collect();
        assert_eq!(names, ["Ann", "Bob"]);
    });
}

#[test]
fn a_new_name_is_told_to_all_and_stands_by_what_is_said_then() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "Ann").await, join(&server, "Bob").await);
        let renamed = call(&mut ann, "rename", json!(" Anna ")).await;
        assert_eq!(renamed["data"]["name"], "Anna");
        let expected = json!({ "person": renamed["data"], "before": "Ann" });
        assert_eq!(events(&mut bob).await, [(json!("renamed"), expected)]);
        ann.send_text(r#"{"type":"message","value":{"type":"say","text":"hello"}}"#).await;
        assert_eq!(frames(&mut bob).await[0]["value"]["message"]["person"], renamed["data"]);
        let members = call(&mut bob, "members", Value::Null).await;
        assert_eq!(members["data"][0], renamed["data"]);
        assert_eq!(call(&mut ann, "rename", json!("Anna")).await["data"], renamed["data"]);
        assert_eq!(events(&mut bob).await, [], "the same name is no news");
    });
}

#[test]
fn the_topic_is_told_to_all_and_to_newcomers() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "Ann").await, join(&server, "Bob").await);
        assert_eq!(call(&mut ann, "set_topic", json!("Release on Friday")).await["data"], "Release on Friday");
        let [(name, data)] = &*events(&mut bob).await else { panic!("Bob is told once") };
        assert_eq!(
            (name, &data["topic"], &data["person"]["name"]),
            (&json!("topic_changed"), &json!("Release on Friday"), &json!("Ann"))
        );

        let cleo = Join { room: "general".into(), name: "Cleo".into(), after: None };
        let mut cleo = server.connect::<Chat>("chat", cleo).await.expect("the chat is open to all");
        assert_eq!(frames(&mut cleo).await[0]["value"]["topic"], "Release on Friday");
    });
}

#[test]
fn a_die_shows_one_of_its_sides_and_all_see_the_same() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "Ann").await, join(&server, "Bob").await);
        let rolled = call(&mut ann, "roll", json!(2)).await["data"].clone();
        assert!([json!(1), json!(2)].contains(&rolled["result"]), "{rolled}");
        assert_eq!(events(&mut bob).await, [(json!("rolled"), rolled)]);
    });
}

#[test]
fn a_command_with_a_wrong_input_changes_nothing() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (join(&server, "Ann").await, join(&server, "Bob").await);
        for (path, input, said) in [
            ("rename", json!("  "), "the name is empty"),
            ("rename", json!("é".repeat(33)), "the name has 33 characters, and 32 are allowed"),
            ("set_topic", json!("x".repeat(121)), "the topic has 121 characters, and 120 are allowed"),
            ("roll", json!(1), "a die has 2 to 1000 sides, and not 1"),
        ] {
            let answer = call(&mut ann, path, input).await;
            assert_eq!(
                (&answer["error"]["code"], &answer["error"]["message"]),
                (&json!("INVALID_ARGUMENT"), &json!(said))
            );
        }
        assert_eq!(events(&mut bob).await, []);
    });
}

#[test]
fn too_many_commands_at_once_are_held_back() {
    block_on(async {
        let server = server();
        let mut ann = join(&server, "Ann").await;
        let mut codes = Vec::new();
        for _ in 0..11 {
            codes.push(call(&mut ann, "roll", json!(6)).await["error"]["code"].clone());
        }
        assert_eq!(codes.pop(), Some(json!("RESOURCE_EXHAUSTED")));
        assert!(codes.iter().all(Value::is_null), "{codes:?}");
    });
}
