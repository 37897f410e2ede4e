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

fn registry(dashboard: &Dashboard) -> Realtime {
    dashboard::realtime(dashboard, &Shop::default())
}

/// A server whose values are compared with its schema.
fn server(dashboard: &Dashboard) -> TestServer {
    let realtime = registry(dashboard);
    let schema = Schema::of(&realtime);
    TestServer::new(realtime).checked(&schema)
}

/// Adds one sample for each number of calls in the second before it.
fn sample(dashboard: &Dashboard, calls: impl IntoIterator<Item = u64>) {
    let mut sum = 0;
    for (second, calls) in calls.into_iter().enumerate() {
        sum += calls;
        dashboard.sample(&Stats::default(), sum, second as u64 * 1000);
    }
}

fn raise(dashboard: &Dashboard, text: &str) -> Alert {
    dashboard.raise(Raise { level: Level::Warning, text: text.into() }, 7)
}

async fn connect(server: &TestServer) -> TestClient<Caller> {
    server.connect("dashboard", ()).await.expect("the dashboard is open to all")
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

/// Returns the offsets of items and the causes of gaps, in order.
fn outline(frames: &[Value]) -> Vec<String> {
    let outline = |frame: &Value| match frame["type"].as_str() {
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
    let dashboard = Dashboard::new("e");
    let stats = |connections, delivered| {
        let mut stats = Stats::default();
        (stats.connections, stats.delivered) = (connections, delivered);
        stats
    };
    dashboard.sample(&stats(3, 100), 10, 5_000);
    dashboard.sample(&stats(4, 150), 20, 7_000);
    let [first, second] = &*dashboard.current().samples else { panic!("there are two samples") };
    assert_eq!(*first, Sample { at: 5_000, connections: 3, ..Sample::default() });
    let expected = Sample { at: 7_000, connections: 4, calls_per_second: 5.0, messages_per_second: 25.0 };
    assert_eq!(*second, expected);
}

#[test]
fn a_page_is_first_shown_the_last_two_minutes() {
    block_on(async {
        let dashboard = Dashboard::new("e");
        sample(&dashboard, 0..130);
        raise(&dashboard, "too hot");
        let server = server(&dashboard);
        let answer = call(&mut connect(&server).await, "stats.current", Value::Null).await;
        let current: Current = serde_json::from_value(answer["data"].clone()).expect("an answer");
        assert_eq!(current, dashboard.current());
        assert_eq!((current.samples.len(), current.samples[0].at), (120, 10_000));
        assert_eq!((&*current.alerts[0].text, current.position.offset), ("too hot", 131));
    });
}

#[test]
fn live_updates_go_on_where_the_first_view_ends() {
    block_on(async {
        let dashboard = Dashboard::new("e");
        sample(&dashboard, [0, 5]);
        let position = dashboard.current().position;
        sample(&dashboard, [7]);
        let server = server(&dashboard);
        let mut client = connect(&server).await;
        let live = json!({ "type": "subscribe", "id": "s", "path": "stats.live", "input": position });
        send(&mut client, live).await;
        raise(&dashboard, "too hot");
        let frames = frames(&mut client).await;
        assert_eq!(outline(&frames), ["3", "4"]);
        assert_eq!((&frames[0]["data"]["type"], &frames[0]["epoch"]), (&json!("sample"), &json!("e")));
        assert_eq!(frames[1]["data"]["text"], "too hot");
    });
}

#[test]
fn who_resumes_gets_what_was_missed_and_is_told_what_is_gone() {
    block_on(async {
        let dashboard = Dashboard::new("e");
        sample(&dashboard, 0..310);
        let server = server(&dashboard);
        for (epoch, offset, first) in [("e", 308, "309"), ("e", 3, "expired (7)"), ("before", 308, "restart (0)")]
        {
            let after = json!({ "epoch": epoch, "offset": offset });
            let live = json!({ "type": "subscribe", "id": "s", "path": "stats.live", "after": after });
            let mut client = connect(&server).await;
            send(&mut client, live).await;
            let outline = outline(&frames(&mut client).await);
            assert_eq!(
                (&*outline[0], outline.last().map(|last| &**last)),
                (first, Some("310")),
                "{epoch}:{offset}"
            );
        }
    });
}

#[test]
fn a_slow_client_gets_the_newest_sample_and_all_alerts() {
    block_on(async {
        let dashboard = Dashboard::new("e");
        let server = server(&dashboard);
        let mut client = connect(&server).await;
        send(&mut client, json!({ "type": "subscribe", "id": "s", "path": "stats.live", "credit": 1 })).await;
        sample(&dashboard, [0, 1]);
        raise(&dashboard, "one");
        sample(&dashboard, [2]);
        raise(&dashboard, "two");
        sample(&dashboard, [3]);
        assert_eq!(outline(&frames(&mut client).await), ["1"]);
        send(&mut client, json!({ "type": "credit", "id": "s", "more": 9 })).await;
        assert_eq!(outline(&frames(&mut client).await), ["conflated (2)", "3", "5", "6"]);
    });
}

#[test]
fn an_alert_reaches_all_pages() {
    block_on(async {
        let dashboard = Dashboard::new("e");
        let server = server(&dashboard);
        let (mut ann, mut bob) = (connect(&server).await, connect(&server).await);
        for client in [&mut ann, &mut bob] {
            send(client, json!({ "type": "subscribe", "id": "s", "path": "stats.live" })).await;
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
        let server = server(&Dashboard::new("e"));
        let mut client = connect(&server).await;
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
        let server = server(&Dashboard::new("e"));
        let mut client = connect(&server).await;
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
async fn the_stream_names_its_events_and_resumes_after_the_last_id() {
    let dashboard = Dashboard::new("e");
    sample(&dashboard, [0, 5]);
    raise(&dashboard, "too hot");
    let mut app = adapter_axum::routes::<()>(&registry(&dashboard));
    let request = http_request("GET", "/__realtime/dashboard?path=stats.live")
        .header("accept", "text/event-stream")
        .header("last-event-id", "e:1");
    let response = app.call(request.body(Body::empty()).expect("a request")).await.expect("it never fails");
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut text = String::new();
    while !text.contains("too hot") {
        let frame = body.frame().await.expect("the stream goes on").expect("it never fails");
        text.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text"));
    }
    let names = text.lines().filter(|line| line.starts_with("id: ") || line.starts_with("event: "));
    assert_eq!(names.collect::<Vec<_>>(), ["id: e:2", "event: sample", "id: e:3", "event: alert"]);
}

#[tokio::test]
async fn an_alert_is_raised_by_post_and_figures_are_asked_for_by_get() {
    let mut app = adapter_axum::routes::<()>(&registry(&Dashboard::new("e")));
    let body =
        json!({ "path": "alerts.raise", "type": "mutation", "input": { "level": "info", "text": "hello" } });
    let request = http_request("POST", "/__realtime/dashboard").header("content-type", "application/json");
    let raised = answer(&mut app, request.body(Body::from(body.to_string())).expect("a request")).await;
    assert_eq!((&raised["ok"], &raised["data"]["text"]), (&json!(true), &json!("hello")));
    let request = http_request("GET", "/__realtime/dashboard?path=stats.current");
    let current = answer(&mut app, request.body(Body::empty()).expect("a request")).await;
    assert_eq!(current["data"]["alerts"], json!([raised["data"]]));
    assert_eq!(current["data"]["position"], json!({ "epoch": "e", "offset": 1 }));
}

fn http_request(method: &str, uri: &str) -> axum::http::request::Builder {
    axum::http::Request::builder().method(method).uri(uri).header("host", "localhost")
}

async fn answer(app: &mut Router, request: axum::http::Request<Body>) -> Value {
    let response = app.call(request).await.expect("it never fails");
    let body = response.into_body().collect().await.expect("it never fails");
    serde_json::from_slice(&body.to_bytes()).expect("answers are JSON")
}
