//! The dashboard without a socket: over a connection in memory, and by HTTP through axum's router.

use adapter_testing::{TestClient, TestServer, block_on};
use axum::{Router, body::Body};
use dashboard::{Alert, Current, Dashboard, Level, Raise, Sample, Shop};
use http_body_util::BodyExt;
use realtime_core::{Connection, Handler, Realtime, Result, Stats};
use realtime_schema::Schema;
use serde_json::{Value, json};
use tower_service::Service;

/// A handler for clients that only call.
struct Caller;

impl Handler for Caller {
    type Input = ();
    type ClientMessage = ();
    type ServerMessage = ();

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

/// A dashboard and the registry that serves it.
struct Served {
    dashboard: Dashboard,
    realtime: Realtime,
    server: TestServer,
}

impl Served {
    /// Values are compared with the schema.
    fn new() -> Self {
        let dashboard = Dashboard::default();
        let realtime = dashboard::realtime(&dashboard, &Shop::default());
        let server = TestServer::new(realtime.clone()).checked(&Schema::of(&realtime));
        Self { dashboard, realtime, server }
    }

    async fn connect(&self) -> TestClient<Caller> {
        self.server.connect("dashboard", ()).await.expect("the dashboard is open to all")
    }

    /// Adds one sample for each number of calls in the second before it.
    async fn sample(&self, calls: impl IntoIterator<Item = u64>) {
        let mut sum = 0;
        for (second, calls) in calls.into_iter().enumerate() {
            sum += calls;
            let (stats, at) = (Stats::default(), second as u64 * 1000);
            self.dashboard.sample(&self.realtime, &stats, sum, at).await.expect("it is appended");
        }
    }

    async fn raise(&self, text: &str) -> Alert {
        let raise = Raise { level: Level::Warning, text: text.into() };
        self.dashboard.raise(&self.realtime, raise, 7).await.expect("it is appended")
    }

    async fn current(&self) -> Current {
        self.dashboard.current(&self.realtime).await.expect("the feed has a position")
    }
}

async fn send(client: &mut TestClient<Caller>, frame: Value) {
    client.send_text(&frame.to_string()).await;
}

/// Returns all frames that have arrived, as JSON.
async fn frames(client: &mut TestClient<Caller>) -> Vec<Value> {
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = client.try_frame().await {
        frames.push(serde_json::from_slice(&frame.payload).expect("frames are JSON"));
    }
    frames
}

/// Returns the offsets of items and the causes of gaps, in order, behind where they begin.
fn outline(frames: &[Value]) -> Vec<String> {
    let outline = |frame: &Value| match frame["type"].as_str() {
        Some("subscribed") => format!("from {}", frame["offset"]),
        Some("data") => frame["offset"].to_string(),
        Some("gap") => format!("{} ({})", frame["cause"].as_str().unwrap_or_default(), frame["count"]),
        _ => frame.to_string(),
    };
    frames.iter().map(outline).collect()
}

async fn call(client: &mut TestClient<Caller>, path: &str, input: Value) -> Value {
    send(client, json!({ "type": "call", "id": "c", "path": path, "input": input })).await;
    frames(client).await.pop().expect("each call has an answer")
}

#[test]
fn rates_are_those_of_the_time_that_has_passed() {
    block_on(async {
        let served = Served::new();
        for (connections, delivered, calls, at) in [(3, 100, 10, 5_000), (4, 150, 20, 7_000)] {
            let mut stats = Stats::default();
            (stats.connections, stats.delivered) = (connections, delivered);
            served.dashboard.sample(&served.realtime, &stats, calls, at).await.expect("it is appended");
        }
        let [first, second] = &*served.current().await.samples else { panic!("there are two samples") };
        assert_eq!(*first, Sample { at: 5_000, connections: 3, ..Sample::default() });
        let expected = Sample { at: 7_000, connections: 4, calls_per_second: 5.0, messages_per_second: 25.0 };
        assert_eq!(*second, expected);
    });
}

#[test]
fn a_page_is_first_shown_the_last_two_minutes() {
    block_on(async {
        let served = Served::new();
        served.sample(0..130).await;
        served.raise("too hot").await;
        let answer = call(&mut served.connect().await, "stats.current", Value::Null).await;
        let current: Current = serde_json::from_value(answer["data"].clone()).expect("an answer");
        assert_eq!(current, served.current().await);
        assert_eq!((current.samples.len(), current.samples[0].at), (120, 10_000));
        assert_eq!((&*current.alerts[0].text, current.position.offset), ("too hot", 131));
    });
}

#[test]
fn live_updates_go_on_where_the_first_view_ends() {
    block_on(async {
        let served = Served::new();
        served.sample([0, 5]).await;
        let position = served.current().await.position;
        served.sample([7]).await;
        let mut client = served.connect().await;
        let live = json!({ "type": "subscribe", "id": "s", "path": "stats.live", "input": position });
        send(&mut client, live).await;
        served.raise("too hot").await;
        let frames = frames(&mut client).await;
        assert_eq!(outline(&frames), ["from 2", "3", "4"]);
        assert_eq!((&frames[1]["data"]["type"], &frames[1]["epoch"]), (&json!("sample"), &json!(position.epoch)));
        assert_eq!(frames[2]["data"]["text"], "too hot");
    });
}

#[test]
fn who_resumes_gets_what_was_missed_and_is_told_what_is_gone() {
    block_on(async {
        let served = Served::new();
        served.sample(0..310).await;
        let epoch = &*served.current().await.position.epoch;
        for (epoch, offset, expected) in [
            (epoch, 308, ["from 308", "309", "310"].as_slice()),
            (epoch, 3, &["from 3", "retention (7)", "11"]),
            ("before", 308, &["from 310", "diverged (0)"]),
        ] {
            let after = json!({ "epoch": epoch, "offset": offset });
            let live = json!({ "type": "subscribe", "id": "s", "path": "stats.live", "after": after });
            let mut client = served.connect().await;
            send(&mut client, live).await;
            let outline = outline(&frames(&mut client).await);
            assert_eq!(outline[..expected.len()], *expected, "{epoch}:{offset}");
        }
    });
}

#[test]
fn a_slow_client_gets_the_updates_when_it_can_take_them() {
    block_on(async {
        let served = Served::new();
        let mut client = served.connect().await;
        send(&mut client, json!({ "type": "subscribe", "id": "s", "path": "stats.live", "credit": 1 })).await;
        served.sample([0, 1]).await;
        served.raise("one").await;
        served.sample([2]).await;
        served.raise("two").await;
        served.sample([3]).await;
        assert_eq!(outline(&frames(&mut client).await), ["from 0", "1"]);
        send(&mut client, json!({ "type": "credit", "id": "s", "more": 9 })).await;
        assert_eq!(outline(&frames(&mut client).await), ["2", "3", "4", "5", "6"]);
    });
}

#[test]
fn an_alert_reaches_all_pages() {
    block_on(async {
        let served = Served::new();
        let (mut ann, mut bob) = (served.connect().await, served.connect().await);
        for client in [&mut ann, &mut bob] {
            send(client, json!({ "type": "subscribe", "id": "s", "path": "stats.live" })).await;
            assert_eq!(outline(&frames(client).await), ["from 0"]);
        }
        send(
            &mut ann,
            json!({ "type": "call", "id": "c", "path": "alerts.raise", "input": { "level": "critical", "text": " fire " } }),
        )
        .await;
        let told = frames(&mut bob).await;
        assert_eq!((&told[0]["data"]["text"], &told[0]["data"]["level"]), (&json!("fire"), &json!("critical")));
        let mut kinds: Vec<_> = frames(&mut ann).await.iter().map(|frame| frame["type"].clone()).collect();
        kinds.sort_by_key(Value::to_string);
        assert_eq!(kinds, ["data", "result"], "who raises it is told as well");
    });
}

#[test]
fn an_alert_needs_a_text_of_up_to_200_characters() {
    block_on(async {
        let mut client = Served::new().connect().await;
        for (text, said) in [
            (" ".to_owned(), "text: is empty"),
            ("é".repeat(201), "text: has 201 characters, and 200 are allowed"),
        ] {
            let answer = call(&mut client, "alerts.raise", json!({ "level": "info", "text": text })).await;
            assert_eq!(
                (&answer["error"]["code"], &answer["error"]["message"]),
                (&json!("INVALID_ARGUMENT"), &json!(said))
            );
        }
        let answer = call(&mut client, "alerts.raise", json!({ "level": "info", "text": "é".repeat(200) })).await;
        assert_eq!(answer["type"], "result");
    });
}

#[test]
fn who_raises_too_many_alerts_is_held_back_and_still_sees_the_figures() {
    block_on(async {
        let mut client = Served::new().connect().await;
        let mut codes = Vec::new();
        for number in 0..11 {
            let alert = json!({ "level": "info", "text": number.to_string() });
            codes.push(call(&mut client, "alerts.raise", alert).await["error"]["code"].clone());
        }
        assert_eq!(codes.pop(), Some(json!("RESOURCE_EXHAUSTED")));
        assert!(codes.iter().all(Value::is_null), "{codes:?}");
        assert_eq!(call(&mut client, "stats.current", Value::Null).await["type"], "result");
    });
}

#[tokio::test]
async fn the_stream_resumes_after_the_last_id() {
    let served = Served::new();
    served.sample([0, 5]).await;
    served.raise("too hot").await;
    let epoch = served.current().await.position.epoch;
    let mut app = adapter_axum::routes::<()>(&served.realtime);
    let request = http_request("GET", "/__realtime/dashboard?path=stats.live")
        .header("accept", "text/event-stream")
        .header("last-event-id", format!("{epoch}:1"));
    let response = app.call(request.body(Body::empty()).expect("a request")).await.expect("it never fails");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    while !text.contains("too hot") {
        let frame = body.frame().await.expect("the stream goes on").expect("it never fails");
        text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text"));
    }
    let ids = text.lines().filter_map(|line| line.strip_prefix("id: "));
    assert_eq!(ids.collect::<Vec<_>>(), [1, 2, 3].map(|offset| format!("{epoch}:{offset}")));
}

#[tokio::test]
async fn an_alert_is_raised_by_post_and_figures_are_asked_for_by_get() {
    let mut app = adapter_axum::routes(&Served::new().realtime);
    let body =
        json!({ "path": "alerts.raise", "type": "mutation", "input": { "level": "info", "text": "hello" } });
    let request = http_request("POST", "/__realtime/dashboard").header("content-type", "application/json");
    let raised = answer(&mut app, request.body(Body::from(body.to_string())).expect("a request")).await;
    assert_eq!((&raised["ok"], &raised["data"]["text"]), (&json!(true), &json!("hello")));
    let request = http_request("GET", "/__realtime/dashboard?path=stats.current");
    let current = answer(&mut app, request.body(Body::empty()).expect("a request")).await;
    assert_eq!(current["data"]["alerts"], json!([raised["data"]]));
    assert_eq!(current["data"]["position"]["offset"], 1);
}

fn http_request(method: &str, uri: &str) -> axum::http::request::Builder {
    axum::http::Request::builder().method(method).uri(uri).header("host", "localhost")
}

async fn answer(app: &mut Router, request: axum::http::Request<Body>) -> Value {
    let response = app.call(request).await.expect("it never fails");
    let body = response.into_body().collect().await.expect("it never fails");
    serde_json::from_slice(&body.to_bytes()).expect("answers are JSON")
}
