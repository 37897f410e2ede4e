//! The documented frames of each system, byte by byte where they are binary.

use adapter_testing::{TestClient, TestFrame, TestServer, block_on};
use realtime_core::websocket::Opcode;
use serde_json::{Value, json};

fn server() -> TestServer {
    TestServer::new(dialects::realtime())
}

async fn send(client: &mut TestClient, bytes: &[u8]) {
    client.send_frame(&TestFrame::new(Opcode::Binary, bytes)).await;
}

async fn expect(client: &mut TestClient, bytes: &[u8]) {
    let frame = client.recv_frame().await.expect("the connection is open");
    assert_eq!((frame.opcode, &frame.payload[..]), (Opcode::Binary, bytes));
}

async fn send_json(client: &mut TestClient, frame: Value) {
    client.send_text(&frame.to_string()).await;
}

/// The next frame, without the times in it.
async fn recv_json(client: &mut TestClient) -> Value {
    let frame = client.recv_frame().await.expect("the connection is open");
    let mut frame: Value = serde_json::from_str(&frame.as_text()).expect("JSON");
    if let Some(meta) = frame.get_mut("meta").and_then(Value::as_object_mut) {
        meta.remove("timestamp");
    }
    frame
}

async fn chatter(server: &TestServer) -> TestClient {
    let request = server.request_at("/").pair("cid", "c1").pair("sid", "s1");
    let mut client = request.open().await.expect("the root is chatter's");
    expect(&mut client, &[0]).await; // ready
    client
}

#[test]
fn chatter_calls_and_hears_broadcasts() {
    block_on(async {
        let server = server();
        let (mut ann, mut bob) = (chatter(&server).await, chatter(&server).await);
        send(&mut ann, b"\x03\x011\x09get_count\x01\x01\xf6").await;
        expect(&mut ann, b"\x04\x011\x01\x01\x01\x00").await;
        send(&mut ann, b"\x03\x012\x0cupdate_count\x01\x01\x05").await;
        expect(&mut ann, b"\x04\x012\x01\x01\x01\x05").await;
        expect(&mut bob, b"\x05\x0cupdate_count\x01\x01\x05").await;
        send(&mut bob, b"\x01").await;
        expect(&mut bob, b"\x02").await;
    });
}

#[test]
fn chatter_answers_calls_of_the_server() {
    block_on(async {
        let server = server();
        let mut client = chatter(&server).await;
        for (answer, end) in [
            (&b"\x01\x01\x04\x63hey"[..], &b"\x01\x01\x04\x63hey"[..]),
            (b"\x00\x04busy", b"\x00\x04busy"),
            // Cut off.
            (b"\x01\x01\x04\x63", b"\x00\x14the frame is cut off"),
        ] {
            send(&mut client, b"\x03\x017\x08greet_me\x01\x04\x63Bob").await;
            let call = client.recv_frame().await.expect("the connection is open").payload;
            let (id, rest) = call[2..].split_at(usize::from(call[1]));
            assert_eq!((call[0], rest), (3, &b"\x0agreet_user\x01\x04\x63Bob"[..]));
            send(&mut client, &[&[4, call[1]], id, answer].concat()).await;
            expect(&mut client, &[b"\x04\x017", end].concat()).await;
        }
    });
}

#[test]
fn chatter_fails_a_call_and_ignores_what_it_does_not_know() {
    block_on(async {
        let server = server();
        let mut client = chatter(&server).await;
        client.send_text("hello").await;
        send(&mut client, b"\x63").await;
        send(&mut client, b"\x03\x011\x04nope\x00").await;
        expect(&mut client, b"\x04\x011\x00\x1cnothing is named \"nope\" here").await;
        for wrong in [
            &b"\x01\x05\x83\x01"[..],                    // fewer items than said
            b"\x01\x01\x5f",                             // no length
            b"\x01\x01\xe0",                             // a reference to nothing
            b"\x01\x08\xd9\xdf\xff\x82\x19\xe0\x00\x81", // a record that is cut off
            b"\x09",
        ] {
            send(&mut client, &[b"\x03\x012\x0cupdate_count", wrong].concat()).await;
            let payload = client.recv_frame().await.expect("the connection is open").payload;
            assert_eq!(payload[..4], *b"\x04\x012\x00", "{wrong:x?} gives {payload:x?}");
        }
    });
}

/// Few bytes that stand for many: a text of 2000 bytes, referred to by each item of an array of 2000.
#[test]
fn a_bomb_of_references_is_refused() {
    block_on(async {
        let server = server();
        let mut client = chatter(&server).await;
        let text = [&b"\x79\x07\xd0"[..], &[b'x'; 2000]].concat();
        let array = [&b"\x99\x07\xd0"[..], &[0xe0; 2000]].concat();
        let value = [&b"\xd8\x33\x84\x81"[..], &text, b"\x80\x80", &array].concat();
        let length = [0x80 | (value.len() & 0x7f) as u8, (value.len() >> 7) as u8];
        send(&mut client, &[&b"\x03\x011\x0cupdate_count\x01"[..], &length, &value].concat()).await;
        expect(&mut client, b"\x04\x011\x00\x15the value is too long").await;
    });
}

#[test]
fn ws_kit_exchanges_messages() {
    block_on(async {
        let server = server();
        let mut ann = server.request_at("/ws").open().await.unwrap();
        let mut bob = server.request_at("/ws").open().await.unwrap();
        send_json(&mut ann, json!({ "type": "ECHO", "meta": {}, "payload": { "text": "Hello" } })).await;
        let echo = json!({ "type": "ECHO", "meta": {}, "payload": { "text": "Hello" } });
        assert_eq!(recv_json(&mut ann).await, echo);
        let payload = json!({ "channelId": "general", "text": "Hi", "sentAt": 1_700_000_000_000_u64 });
        let message = json!({ "type": "CHAT_MESSAGE", "meta": {}, "payload": payload });
        send_json(&mut ann, message.clone()).await;
        for client in [&mut ann, &mut bob] {
            assert_eq!(recv_json(client).await, message);
        }
        send_json(&mut ann, json!({ "type": "__heartbeat" })).await;
        assert_eq!(recv_json(&mut ann).await["type"], "__heartbeat_ack");
    });
}

#[test]
fn ws_kit_answers_requests_by_their_correlation_id() {
    block_on(async {
        let server = server();
        let mut client = server.request_at("/ws").open().await.unwrap();
        let ask = |channel: &str| {
            let payload = json!({ "channelId": channel });
            json!({ "type": "GET_MESSAGES", "meta": { "correlationId": "c\n1", "timestamp": 1 }, "payload": payload })
        };
        send_json(&mut client, ask("general")).await;
        let meta = json!({ "correlationId": "c\n1" });
        let answer = json!({ "type": "MESSAGES", "meta": meta, "payload": { "messages": [] } });
        assert_eq!(recv_json(&mut client).await, answer);
        send_json(&mut client, ask("elsewhere")).await;
        let failure =
            json!({ "code": "NOT_FOUND", "message": "there is no channel \"elsewhere\"", "retryable": false });
        assert_eq!(recv_json(&mut client).await, json!({ "type": "RPC_ERROR", "meta": meta, "payload": failure }));
        for (frame, code) in [
            (json!({ "type": "WHAT", "meta": {} }), "NOT_FOUND"),
            (json!({ "meta": {} }), "PARSE_ERROR"),
            (json!({ "type": "CHAT_MESSAGE", "meta": {}, "payload": { "text": 1 } }), "INVALID_ARGUMENT"),
        ] {
            send_json(&mut client, frame).await;
            let error = recv_json(&mut client).await;
            assert_eq!((&error["type"], &error["payload"]["code"]), (&json!("ERROR"), &json!(code)));
        }
    });
}

fn object(entries: Value) -> Value {
    json!({ "__eclipsa_type": "object", "entries": entries })
}

fn said(from: &str, text: &str) -> Value {
    json!({ "type": "message", "value": object(json!([["from", from], ["text", text]])) })
}

#[test]
fn eclipsa_joins_with_its_input_and_talks() {
    block_on(async {
        let server = server();
        let room = || server.request_at("/__eclipsa/realtime/room").pair("__eclipsa_route_url", "http://a/");
        let input = object(json!([["roomId", "general"]])).to_string();
        let mut client = room().pair("input", &input).open().await.unwrap();
        assert_eq!(recv_json(&mut client).await, said("system", "Joined general"));
        let undefined = json!({ "__eclipsa_type": "undefined" });
        let nested = json!({ "__eclipsa_type": "set", "entries": [object(json!([])), undefined] });
        let message = object(json!([["text", "Hello"], ["more", undefined], ["set", nested]]));
        send_json(&mut client, json!({ "type": "message", "value": message })).await;
        assert_eq!(recv_json(&mut client).await, said("server", "Hello"));
        for (frame, message) in [
            (json!({ "type": "other" }), "Malformed realtime frame."),
            (json!({ "type": "message", "value": { "text": "a" } }), "Malformed serialized object."),
        ] {
            send_json(&mut client, frame).await;
            let error = object(json!([["code", "PARSE_ERROR"], ["message", message]]));
            assert_eq!(recv_json(&mut client).await, json!({ "type": "error", "error": error }));
        }
        for wrong in ["{", "{\"roomId\":\"general\"}", "null"] {
            assert_eq!(room().pair("input", wrong).open().await.unwrap_err().status(), 400);
        }
        assert_eq!(room().open().await.unwrap_err().status(), 400);
    });
}

#[test]
fn ereo_subscribes_and_hears_mutations() {
    block_on(async {
        let server = server();
        let mut client = server.request_at("/api/rpc").open().await.unwrap();
        let input = json!({ "roomId": "general" });
        let subscribe = json!({ "type": "subscribe", "id": "sub_1", "path": ["events"], "input": input });
        send_json(&mut client, subscribe).await;
        send_json(&mut client, json!({ "type": "ping" })).await;
        assert_eq!(recv_json(&mut client).await, json!({ "type": "pong" }));
        let input = json!({ "roomId": "general", "username": "alice", "content": "Hello WebSocket!" });
        let call = json!({ "path": ["messages", "send"], "type": "mutation", "input": input });
        let answer: Value = server.http("rpc").post().json(&call).send().await.json();
        assert_eq!((&answer["ok"], &answer["data"]["id"]), (&json!(true), &json!("msg_1")));
        let event = json!({ "type": "message", "roomId": "general", "message": answer["data"] });
        assert_eq!(recv_json(&mut client).await, json!({ "type": "data", "id": "sub_1", "data": event }));
        send_json(&mut client, json!({ "type": "unsubscribe", "id": "sub_1" })).await;
        // The client has forgotten the id.
        assert_eq!(recv_json(&mut client).await, json!({ "type": "complete", "id": "sub_1" }));
        send_json(&mut client, json!({ "type": "subscribe", "id": "sub_2", "path": ["nope"] })).await;
        let error = recv_json(&mut client).await;
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!("sub_2"), &json!("NOT_FOUND")));
        let rooms: Value = server.http("rpc").get().path("rooms.list").send().await.json();
        assert_eq!(rooms, json!({ "ok": true, "data": ["general"] }));
    });
}

#[test]
fn the_guide_s_socket_acknowledges_and_relays() {
    block_on(async {
        let server = server();
        let mut ann = server.request_at("/api/ws").open().await.unwrap();
        let joined = recv_json(&mut ann).await;
        assert_eq!(joined["type"], "user_joined");
        let mut bob = server.request_at("/api/ws").open().await.unwrap();
        for client in [&mut ann, &mut bob] {
            assert_eq!(recv_json(client).await["type"], "user_joined");
        }
        send_json(&mut ann, json!({ "id": 7, "text": "Hi", "userId": "somebody else" })).await;
        assert_eq!(recv_json(&mut ann).await, json!({ "type": "ack", "id": 7 }));
        let message = json!({ "type": "message", "userId": joined["userId"], "id": 7, "text": "Hi" });
        assert_eq!(recv_json(&mut bob).await, message);
        ann.close(1000, "bye").await;
        assert_eq!(recv_json(&mut bob).await, json!({ "type": "user_left", "userId": joined["userId"] }));
    });
}

#[test]
fn the_guide_s_stream_has_messages_and_named_events() {
    block_on(async {
        let server = server();
        let mut events = server.events("ticks").open().await.unwrap();
        dialects::guide::tick(server.realtime());
        let tick = events.next().await.expect("a message");
        let named = events.next().await.expect("an event");
        let data: Value = serde_json::from_str(&tick.data).expect("JSON");
        assert_eq!((&*tick.event, &data["message"]), ("message", &json!("Server tick")));
        assert_eq!((&*named.event, named.data), ("notification", tick.data));
    });
}
