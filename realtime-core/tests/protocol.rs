//! A protocol of a third party's, written with what the crate makes public: frames are maps in CBOR (RFC 8949).

use adapter_testing::{TestClient, TestFrame, TestServer, block_on};
use cbor4ii::core::utils::SliceReader;
use ciborium::{Value as Cbor, cbor};
use futures_util::stream;
use realtime_core::{
    Accepted, Call, CloseCode, Code, Connection, Context, Endpoint, Error, Event, Handler, IntoMount, Next,
    Procedure, Realtime, Reject, Result, Subscription, Topic,
    protocol::{Encode, Outgoing, Packet, Protocol, ReadWith, Value, ValueFormat},
    websocket::{Data, Kind, Opcode},
};
use std::borrow::Cow;

#[derive(Debug)]
struct CborFrames;

impl Protocol for CborFrames {
    fn subprotocol(&self) -> Option<&'static str> {
        Some("cbor.example")
    }

    fn decode<'a>(&self, data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
        let Data::Binary(bytes) = data else { return Err(parse_error("text is no CBOR")) };
        let frame: Cbor = ciborium::from_reader(&bytes[..]).map_err(|error| parse_error(&error.to_string()))?;
        let text = |name: &str| {
            let text = field(&frame, name).and_then(Cbor::as_text);
            text.map(|text| Cow::Owned(text.to_owned())).ok_or_else(|| parse_error(&format!("no {name}")))
        };
        let value = |name: &str| {
            let mut bytes = Vec::new();
            ciborium::into_writer(field(&frame, name).unwrap_or(&Cbor::Null), &mut bytes)?;
            Ok::<_, Error>(Value::Other { bytes: bytes.into(), format: &CborValues })
        };
        Ok(match &*text("type")? {
            "message" => Packet::Message(value("value")?),
            "event" => Packet::Event { name: text("name")?, data: value("data")? },
            "call" => Packet::Call {
                id: text("id")?,
                path: text("path")?,
                input: value("input")?,
                timeout: None,
                key: None,
            },
            "subscribe" => Packet::Subscribe {
                id: text("id")?,
                path: text("path")?,
                input: value("input")?,
                after: None,
                credit: None,
                shared: false,
            },
            other => return Err(parse_error(&format!("an unknown type: {other}"))),
        })
    }

    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
        let data = match packet {
            Outgoing::Message(data) | Outgoing::Event { data, .. } => written(*data)?,
            Outgoing::Reply { data, .. } | Outgoing::Data { data, .. } => written(*data)?,
            _ => Cbor::Null,
        };
        let frame = match packet {
            Outgoing::Message(_) => cbor!({ "type" => "message", "value" => data }),
            Outgoing::Event { name, .. } => cbor!({ "type" => "event", "name" => *name, "data" => data }),
            Outgoing::Reply { id, .. } => cbor!({ "type" => "result", "id" => *id, "data" => data }),
            Outgoing::Data { id, .. } => cbor!({ "type" => "data", "id" => *id, "data" => data }),
            Outgoing::Complete { id } => cbor!({ "type" => "complete", "id" => *id }),
            Outgoing::Error { id, error } => {
                cbor!({ "type" => "error", "id" => id.unwrap_or_default(), "code" => error.code().as_str() })
            }
            _ => return Ok(None),
        };
        ciborium::into_writer(&frame?, out)?;
        Ok(Some(Kind::Binary))
    }
}

#[derive(Debug)]
struct CborValues;

impl ValueFormat for CborValues {
    fn read(&self, bytes: &[u8], with: ReadWith<'_>) -> Result<(), Error> {
        let mut deserializer = cbor4ii::serde::Deserializer::new(SliceReader::new(bytes));
        with(&mut <dyn erased_serde::Deserializer<'_>>::erase(&mut deserializer))
    }
}

fn written(value: &dyn Encode) -> Result<Cbor, Error> {
    let mut written = Cbor::Null;
    value.encode_with(&mut |value| {
        written = Cbor::serialized(value)?;
        Ok(())
    })?;
    Ok(written)
}

fn field<'a>(frame: &'a Cbor, name: &str) -> Option<&'a Cbor> {
    frame.as_map()?.iter().find_map(|(key, value)| (key.as_text() == Some(name)).then_some(value))
}

fn parse_error(what: &str) -> Error {
    Error::new(Code::PARSE_ERROR, what.to_owned())
}

const ADD: Procedure<(u32, u32), u32> = Procedure::new("add");
const SAVE: Procedure<String, Vec<u8>> = Procedure::new("save");
const COUNT: Subscription<u32, u32> = Subscription::new("count");
const SAID: Event<String> = Event::new("said");
const TALK: Topic<String> = Topic::fixed("talk");

/// Sends back what it is sent, to all.
struct Echo;

impl Handler for Echo {
    type Input = ();
    type ClientMessage = Vec<String>;
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&TALK)
    }

    async fn on_message(&self, connection: &Connection<Self>, words: Vec<String>) -> Result {
        Ok(connection.send(words.join(" "))?)
    }
}

async fn said(call: Call<()>, text: String) -> Result {
    call.connection()?.emit(SAID, &text)
}

fn endpoint() -> Endpoint<()> {
    Endpoint::new(())
        .procedure(ADD, |_, (a, b)| async move { Ok(a + b) })
        .procedure(SAVE, |_, text: String| async move { Ok(text.into_bytes()) })
        .subscription(COUNT, |_, end| async move { Ok(stream::iter(0..end)) })
        .on(SAID, said)
}

async fn send(client: &mut TestClient, frame: Result<Cbor, ciborium::value::Error>) {
    let mut payload = Vec::new();
    ciborium::into_writer(&frame.unwrap(), &mut payload).unwrap();
    client.send_frame(&TestFrame::new(Opcode::Binary, payload)).await;
}

async fn recv(client: &mut TestClient) -> Cbor {
    let frame = client.recv_frame().await.expect("the connection is open");
    assert_eq!(frame.opcode, Opcode::Binary);
    ciborium::from_reader(&frame.payload[..]).unwrap()
}

async fn check(mut client: TestClient) {
    send(&mut client, cbor!({ "type" => "message", "value" => ["a", "b"] })).await;
    assert_eq!(recv(&mut client).await, cbor!({ "type" => "message", "value" => "a b" }).unwrap());
    send(&mut client, cbor!({ "type" => "call", "id" => "1", "path" => "add", "input" => [2, 3] })).await;
    assert_eq!(recv(&mut client).await, cbor!({ "type" => "result", "id" => "1", "data" => 5 }).unwrap());
    send(&mut client, cbor!({ "type" => "subscribe", "id" => "2", "path" => "count", "input" => 2 })).await;
    for item in 0..2 {
        assert_eq!(recv(&mut client).await, cbor!({ "type" => "data", "id" => "2", "data" => item }).unwrap());
    }
    assert_eq!(recv(&mut client).await, cbor!({ "type" => "complete", "id" => "2" }).unwrap());
    send(&mut client, cbor!({ "type" => "event", "name" => "said", "data" => "hello" })).await;
    assert_eq!(
        recv(&mut client).await,
        cbor!({ "type" => "event", "name" => "said", "data" => "hello" }).unwrap()
    );
    // What does not fit says where, as with the formats that are built in.
    send(&mut client, cbor!({ "type" => "call", "id" => "3", "path" => "add", "input" => ["x", 3] })).await;
    let expected = cbor!({ "type" => "error", "id" => "3", "code" => "INVALID_ARGUMENT" });
    assert_eq!(recv(&mut client).await, expected.unwrap());
}

#[test]
fn a_client_asks_for_it_by_its_subprotocol() {
    block_on(async {
        let realtime = Realtime::builder().protocol(CborFrames).handler("api", Echo).endpoint("api", endpoint());
        let server = TestServer::new(realtime.manual_time().build());
        let client = server.request("api").subprotocol("cbor.example").open().await.unwrap();
        assert_eq!(client.response().headers()["sec-websocket-protocol"], "cbor.example");
        check(client).await;
        // Others on the same id speak what they like.
        let mut other = server.open("api").await.unwrap();
        other.send_text(r#"{"type":"message","value":["a"]}"#).await;
        assert_eq!(other.recv_frame().await.unwrap().payload, br#"{"type":"message","value":"a"}"#);
    });
}

#[test]
fn an_endpoint_prescribes_it() {
    block_on(async {
        let mounted = endpoint().into_mount().protocol(CborFrames);
        let realtime = Realtime::builder().handler("api", Echo).handler("api", mounted);
        let server = TestServer::new(realtime.manual_time().build());
        let client = server.open("api").await.unwrap();
        assert_eq!(client.response().headers().get("sec-websocket-protocol"), None);
        check(client).await;
        let named = server.request("api").subprotocol("cbor.example").open().await.unwrap();
        assert_eq!(named.response().headers()["sec-websocket-protocol"], "cbor.example");
        let refused = server.request("api").subprotocol("realtime.v1.json").open().await.unwrap_err();
        assert_eq!(refused.status(), 400);
    });
}

#[test]
fn what_is_shared_by_all_formats_reaches_it() {
    block_on(async {
        let realtime = Realtime::builder().protocol(CborFrames).handler("api", Echo).endpoint("api", endpoint());
        let server = TestServer::new(realtime.manual_time().build());
        let mut client = server.request("api").subprotocol("cbor.example").open().await.unwrap();
        server.settle().await;
        server.realtime().to(&TALK).send(&"to all".to_owned()).unwrap();
        assert_eq!(recv(&mut client).await, cbor!({ "type" => "message", "value" => "to all" }).unwrap());
        // A typed value of bytes that JSON has no form for stays one.
        send(&mut client, cbor!({ "type" => "call", "id" => "1", "path" => "save", "input" => "ab" })).await;
        assert_eq!(
            recv(&mut client).await,
            cbor!({ "type" => "result", "id" => "1", "data" => [97, 98] }).unwrap()
        );
    });
}

/// Lines of text, of which the first word says what the line is. It has no subprotocol, and more to say than most.
#[derive(Debug)]
struct Lines;

impl Protocol for Lines {
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    fn decode<'a>(&self, data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
        let Data::Text(text) = data else { return Err(parse_error("bytes are no line")) };
        match text.split_once(' ') {
            Some(("say", json)) => Ok(Packet::Message(Value::Json(json.into()))),
            Some(("note", _)) => Ok(Packet::Ignored),
            _ => Err(parse_error("what is this line?")),
        }
    }

    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
        match packet {
            Outgoing::Welcome { .. } => out.extend_from_slice(b"welcome"),
            Outgoing::Opened => out.extend_from_slice(b"ready"),
            Outgoing::Message(value) => {
                out.extend_from_slice(b"said ");
                value.encode_json(out)?;
            }
            _ => return Ok(None),
        }
        Ok(Some(Kind::Text))
    }

    /// The query is the name itself.
    fn input(&self, query: &str) -> Result<Value<'static>, Error> {
        match query {
            "" => Err(parse_error("nobody")),
            name => Ok(Value::Json(format!("{name:?}").into())),
        }
    }

    fn close<'a>(&self, error: &'a Error) -> (CloseCode, &'a str) {
        match error.code() {
            code if *code == Code::PARSE_ERROR => (CloseCode::new(4000).unwrap(), "learn to write"),
            code => (code.close_code(), error.message()),
        }
    }
}

/// Greets by name in `on_open`.
struct Greeter;

impl Handler for Greeter {
    type Input = String;
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        if connection.input() == "nobody" {
            return Err(Error::new(Code::PARSE_ERROR, "a name, please"));
        }
        Ok(connection.send(format!("hello {}", connection.input()))?)
    }

    async fn on_message(&self, connection: &Connection<Self>, message: String) -> Result {
        Ok(connection.send(message)?)
    }
}

fn lines() -> TestServer {
    let mount = Greeter.into_mount().protocol(Lines).at("/").at("/lines/of.text");
    TestServer::new(Realtime::builder().handler("lines", mount).manual_time().build())
}

async fn recv_line(client: &mut TestClient) -> String {
    client.recv_frame().await.expect("the connection is open").as_text()
}

#[test]
fn a_protocol_without_a_name_welcomes_and_says_when_on_open_is_over() {
    block_on(async {
        let mut client = lines().request("lines").query("ann").open().await.unwrap();
        for line in ["welcome", r#"said "hello ann""#, "ready"] {
            assert_eq!(recv_line(&mut client).await, line);
        }
        client.send_text("note me").await;
        client.send_text(r#"say "hi""#).await;
        assert_eq!(recv_line(&mut client).await, r#"said "hi""#);
    });
}

#[test]
fn a_protocol_reads_the_input_of_the_url() {
    block_on(async {
        assert_eq!(lines().request("lines").open().await.unwrap_err().status(), 400);
        let probe = |query: &'static str| async move {
            let server = lines();
            let request = server.http("lines").request(http::Method::HEAD).query(query);
            request.send().await.status().as_u16()
        };
        assert_eq!(probe("ann").await, 204);
        assert_eq!(probe("").await, 400);
    });
}

#[test]
fn a_protocol_chooses_how_an_error_closes() {
    block_on(async {
        let mut client = lines().request("lines").query("ann").open().await.unwrap();
        client.send_text("gibberish").await;
        for _ in 0..3 {
            recv_line(&mut client).await;
        }
        assert_eq!(client.recv_frame().await.unwrap().as_close(), learn_to_write());
        // A refusal has no `ready` before it.
        let mut refused = lines().request("lines").query("nobody").open().await.unwrap();
        assert_eq!(recv_line(&mut refused).await, "welcome");
        assert_eq!(refused.recv_frame().await.unwrap().as_close(), learn_to_write());
    });
}

fn learn_to_write() -> Option<(u16, String)> {
    Some((4000, "learn to write".into()))
}

/// Refuses requests for other ids than this one.
async fn only_lines(context: Context, next: Next) -> Result<Accepted, Reject> {
    match &*context.endpoint() {
        "lines" => next.run(context).await,
        _ => Err(Reject::forbidden("not an id that is known")),
    }
}

#[test]
fn a_mount_has_paths_of_its_own() {
    block_on(async {
        let mount = Greeter.into_mount().protocol(Lines).at("/").at("/lines/of.text").middleware(only_lines);
        let server = TestServer::new(Realtime::builder().handler("lines", mount).manual_time().build());
        for path in ["/", "/lines/of.text", "/__realtime/lines"] {
            let mut client = server.request_at(path).query("ann").open().await.unwrap();
            assert_eq!(recv_line(&mut client).await, "welcome");
        }
        assert_eq!(server.request_at("/of.text").open().await.unwrap_err().status(), 404);
    });
}

#[test]
#[should_panic(expected = "two handlers have the path \"/\"")]
fn two_mounts_with_one_path_are_refused() {
    let _ =
        Realtime::builder().handler("a", Greeter.plain().at("/")).handler("b", Greeter.plain().at("/")).build();
}

#[test]
#[should_panic(expected = "the path \"rooms/{id}\"")]
fn a_path_has_no_patterns() {
    let _ = Greeter.plain().at("rooms/{id}");
}
