//! The handshake, from the request to the session.

use super::{builder, start, start_with, works};
use crate::{
    TestFrame,
    conformance::{Command, Gate, Reply, Subject, lab::Explosive},
};
use http::{HeaderValue, Method, StatusCode, Version};
use realtime_core::{Accepted, Context, Error, Handler, Next, Origins, PrivatePeers, Reject};
use std::time::Duration;

pub fn an_upgrade_is_accepted(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.connect("lab");
    assert_eq!(client.header("sec-websocket-protocol"), None);
    works(&mut client);
    let id = seen.opened();
    assert_eq!(server.realtime().find(id).map(|connection| connection.id()), Some(id));
    assert_eq!(server.realtime().stats().accepted, 1);
}

pub fn an_unknown_id_is_404(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut refused = server.request("nobody").refused(404);
    assert_eq!(refused.header("content-type").as_deref(), Some("application/json"));
    let body = refused.body();
    assert_eq!((&body["ok"], &body["error"]["code"]), (&false.into(), &"NOT_FOUND".into()));
}

/// A mount with paths of its own is served there and under its id, and at no other path, although the root is one.
pub fn a_path_of_its_own_is_served(subject: &Subject) {
    let (server, ..) = start(subject);
    for mut echo in [server.request_at("/").query("cid=1").connect(), server.connect("echo")] {
        echo.text("hello");
        echo.expect_text("hello");
    }
    for mut api in [server.request_at("/own/path").connect(), server.connect("api")] {
        api.call("1", "echo", "hello");
        api.expect_result("1", "hello");
    }
    for path in ["/own", "/own/path/below", "/path"] {
        server.request_at(path).refused(404);
    }
}

/// A plain GET, as from a browser's address bar.
pub fn a_request_without_upgrade_is_426(subject: &Subject) {
    let (server, ..) = start(subject);
    let request = server.request("lab").without("upgrade").without("connection");
    let refused = request.without("sec-websocket-key").without("sec-websocket-version").refused(426);
    assert_eq!(refused.header("upgrade").as_deref(), Some("websocket"));
}

/// A proxy without support for WebSockets removes `Upgrade` and keeps the rest.
pub fn a_stripped_upgrade_header_is_426(subject: &Subject) {
    let (server, ..) = start(subject);
    server.request("lab").without("upgrade").refused(426);
    server.request("lab").header("connection", "keep-alive").refused(426);
    works(&mut server.connect("lab"));
}

pub fn http_1_0_is_400(subject: &Subject) {
    let (server, ..) = start(subject);
    server.request("lab").change(|request| *request.version_mut() = Version::HTTP_10).refused(400);
}

pub fn another_version_is_426_and_told_13(subject: &Subject) {
    let (server, ..) = start(subject);
    let refused = server.request("lab").header("sec-websocket-version", "8").refused(426);
    assert_eq!(refused.header("sec-websocket-version").as_deref(), Some("13"));
    server.request("lab").without("sec-websocket-version").refused(426);
}

pub fn a_bad_key_is_400(subject: &Subject) {
    let (server, ..) = start(subject);
    server.request("lab").header("sec-websocket-key", "dG9vIHNob3J0").refused(400);
    server.request("lab").header("sec-websocket-key", "not base64 at all!!!!!!!").refused(400);
    server.request("lab").without("sec-websocket-key").refused(400);
}

/// The bits after the last byte are ignored, as in the example of RFC 6455, section 4.1.
pub fn the_key_of_the_rfc_is_taken(subject: &Subject) {
    let (server, ..) = start(subject);
    works(&mut server.request("lab").header("sec-websocket-key", "AQIDBAUGBwgJCgsMDQ4PEC==").connect());
}

/// A proxy may interpret the head differently from the server, as may two parts of the server.
pub fn a_head_that_can_be_read_in_two_ways_is_400(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for (name, value) in [
        ("host", "evil.example"),
        ("origin", "http://localhost"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("authorization", "Bearer b"),
    ] {
        let request =
            server.request("lab").header("origin", "http://localhost").header("authorization", "Bearer a");
        request.and_header(name, value).refused(400);
    }
    server.request("lab").without("host").refused(400);
    server.request("lab").header("host", "a, b").refused(400);
    seen.nothing_more();
    works(&mut server.request("lab").header("origin", "http://localhost").connect());
}

/// If the target has an authority, that is the host (RFC 9112, section 3.2.2).
pub fn the_authority_of_the_target_is_the_host(subject: &Subject) {
    let (server, ..) = start(subject);
    let request = |origin| {
        let request = server.request("lab").header("host", "other.test").header("origin", origin);
        request.change(|request| *request.uri_mut() = "http://app.test/__realtime/lab".parse().expect("a URI"))
    };
    works(&mut request("http://app.test").connect());
    request("http://other.test").refused(403);
}

/// Further bytes are frames of a client or proxy that did not wait for the response, and a page may choose them.
pub fn nothing_behind_a_refused_upgrade_is_served(subject: &Subject) {
    let (server, ..) = start(subject);
    let next = b"GET /__realtime/nobody HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (header, value, status) in [
        ("origin", "https://evil.example", 403),
        ("sec-websocket-version", "8", 426),
        ("sec-websocket-key", "short", 400),
        ("connection", "keep-alive", 426),
    ] {
        let mut refused = server.request("lab").header(header, value).early(next).refused(status);
        assert!(refused.headers("connection").iter().any(|value| value.contains("close")), "{refused:?}");
        let rest = refused.rest();
        let responses = rest.windows(7).filter(|bytes| *bytes == b"HTTP/1.").count();
        assert_eq!(responses, 0, "{}", rest.escape_ascii());
    }
}

pub fn an_id_may_be_percent_encoded(subject: &Subject) {
    let (builder, ..) = builder(|_| {});
    let server = subject.start(builder.handler("til~de", crate::conformance::Lab::new().0).build());
    for id in ["til~de", "til%7Ede", "til%7ede", "%74il~de"] {
        works(&mut server.connect(id));
    }
    server.request("til%7E").refused(404);
}

/// Adapters would treat the body differently: some would take it for the first frames.
pub fn an_upgrade_with_a_body_is_400(subject: &Subject) {
    let (server, ..) = start(subject);
    let bodies = [
        ("content-length", "6", &b"\x81\x80\0\0\0\0"[..]),
        ("transfer-encoding", "chunked", b"1\r\na\r\n0\r\n\r\n"),
    ];
    for (name, value, body) in bodies {
        let mut refused = server.request("lab").header(name, value).early(body).refused(400);
        assert_eq!(refused.body()["error"]["code"], "INVALID_ARGUMENT", "{name}");
    }
    works(&mut server.request("lab").header("content-length", "0").connect());
}

pub fn a_post_is_405(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut refused = server.request("lab").change(|request| *request.method_mut() = Method::POST).refused(405);
    assert_eq!(refused.header("allow").as_deref(), Some("GET, HEAD"));
    // It may have asked for events, as clients that are no `EventSource` do.
    let message = refused.body()["error"]["message"].to_string();
    assert!(message.contains("by GET with Accept: text/event-stream"), "{message}");
}

pub fn a_foreign_origin_is_403(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for origin in ["https://evil.example", "null", "http://localhost.evil.example", "http://localhost:1"] {
        let mut refused = server.request("lab").header("origin", origin).refused(403);
        let error = refused.body()["error"].clone();
        assert_eq!(error["code"], "PERMISSION_DENIED");
        let message = error["message"].as_str().unwrap_or_default();
        for part in [origin, "\"localhost\"", "Config::origins"] {
            assert!(message.contains(part), "{message}");
        }
    }
    seen.nothing_more();
    assert_eq!(server.realtime().stats().refused, 4);
}

pub fn the_origin_of_the_same_host_is_let_in(subject: &Subject) {
    let (server, ..) = start(subject);
    let request = server.request("lab").header("host", "chat.example:8443");
    works(&mut request.header("origin", "https://chat.example:8443").connect());
}

/// Some clients send the port and browsers do not, and some proxies add it to `Host`.
pub fn a_default_port_may_be_left_out_of_origin_and_host(subject: &Subject) {
    let (server, ..) = start(subject);
    for (host, origin) in [
        ("app.test", "https://app.test:443"),
        ("app.test:443", "https://app.test"),
        ("app.test:80", "http://App.test/"),
    ] {
        works(&mut server.request("lab").header("host", host).header("origin", origin).connect());
    }
    server.request("lab").header("host", "app.test:80").header("origin", "https://app.test").refused(403);
}

pub fn a_listed_origin_is_let_in(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| {
        config.origins = Origins::List(vec!["https://App.example:443/".into()]);
    });
    works(&mut server.request("lab").header("origin", "https://app.example").connect());
    server.request("lab").header("origin", "http://app.example").refused(403);
    let (server, ..) = start_with(subject, |config| config.origins = Origins::Any);
    works(&mut server.request("lab").header("origin", "https://anybody.example").connect());
}

pub fn input_comes_as_json_or_as_pairs(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for query in ["input=%7B%22open%22%3A%22fail%22%2C%22number%22%3A7%7D", "open=fail&number=7&more=x"] {
        let mut client = server.request("lab").query(query).connect();
        client.expect_error("PERMISSION_DENIED");
        client.expect_close(1008);
        seen.closed();
    }
}

pub fn bad_input_is_400_and_names_the_field(subject: &Subject) {
    let (server, seen, _) = start(subject);
    for query in ["number=seven", "input=%7B%22number%22%3A%22seven%22%7D", "input=%7B%22number%22%3A-1%7D"] {
        let mut refused = server.request("lab").query(query).refused(400);
        let body = refused.body();
        assert_eq!(body["error"]["code"], "INVALID_ARGUMENT");
        assert!(body["error"]["message"].as_str().is_some_and(|message| message.contains("number")), "{body}");
    }
    for query in ["input=%7B", "input=", "input=%7B%7D%20x", "input=%FF"] {
        server.request("lab").query(query).refused(400);
    }
    seen.nothing_more();
}

/// Reading an input may fail in any way, including a panic.
pub fn a_panic_over_the_input_is_500(subject: &Subject) {
    let (builder, ..) = builder(|_| {});
    let handler = realtime_core::handler_fn(|_: realtime_core::FnConnection<(), (), Explosive>| async { Ok(()) });
    let server = subject.start(builder.handler("explosive", handler).build());
    let mut refused = server.request("explosive").query("input=1").refused(500);
    assert_eq!(refused.body()["error"]["message"], "internal error");
    works(&mut server.connect("lab"));
}

pub fn middleware_runs_in_order_before_the_upgrade(subject: &Subject) {
    async fn first(mut context: Context, next: Next) -> Result<Accepted, Reject> {
        assert_eq!(context.set(1_u32), None);
        next.run(context).await
    }
    async fn second(mut context: Context, next: Next) -> Result<Accepted, Reject> {
        let Some(&before) = context.var::<u32>() else { return Err(Reject::bad_request("nobody came first")) };
        context.set(before * 10 + 2);
        next.run(context).await
    }
    let (builder, ..) = builder(|_| {});
    // A handler's own come after those of all, whatever was said first.
    let own = crate::conformance::Lab::new().0.middleware(second).middleware(second);
    let server = subject.start(builder.handler("own", own).middleware(first).build());
    let mut client = server.connect("own");
    client.value(&Command::Describe);
    client.expect_value(&Reply::Described {
        method: "GET".into(),
        uri: "/__realtime/own".into(),
        endpoint: "own".into(),
        header: None,
        variable: Some(122),
        peer: subject.capabilities().peer_address,
    });
}

pub fn middleware_refuses_with_its_status_headers_and_body(subject: &Subject) {
    async fn teapot(_: Context, _: Next) -> Result<Accepted, Reject> {
        let error = Error::new("SHORT_AND_STOUT", "no coffee").with_retry_after(Duration::from_millis(2500));
        let reject = Reject::new(StatusCode::IM_A_TEAPOT, error);
        Err(reject.with_header(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Tea")))
    }
    let (builder, seen, _) = builder(|_| {});
    let server = subject.start(builder.middleware(teapot).build());
    let mut refused = server.request("lab").refused(418);
    assert_eq!(refused.header("www-authenticate").as_deref(), Some("Tea"));
    assert_eq!(refused.header("retry-after").as_deref(), Some("3"));
    let error = serde_json::json!({
        "code": "SHORT_AND_STOUT", "message": "no coffee", "retryable": true, "retryAfterMs": 2500,
    });
    assert_eq!(refused.body(), serde_json::json!({ "ok": false, "error": error }));
    seen.nothing_more();
}

pub fn middleware_adds_headers_to_the_upgrade(subject: &Subject) {
    async fn cookie(context: Context, next: Next) -> Result<Accepted, Reject> {
        let mut accepted = next.run(context).await?;
        accepted.headers_mut().insert(http::header::SET_COOKIE, HeaderValue::from_static("seen=1"));
        Ok(accepted)
    }
    let (builder, ..) = builder(|_| {});
    let server = subject.start(builder.middleware(cookie).build());
    assert_eq!(server.connect("lab").header("set-cookie").as_deref(), Some("seen=1"));
}

pub fn the_context_tells_of_the_request(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.request("lab").query("number=3&x=%20").header("x-lab", "a, b").connect();
    client.value(&Command::Describe);
    client.expect_value(&Reply::Described {
        method: "GET".into(),
        uri: "/__realtime/lab?number=3&x=%20".into(),
        endpoint: "lab".into(),
        header: Some("a, b".into()),
        variable: None,
        peer: subject.capabilities().peer_address,
    });
}

pub fn an_offered_subprotocol_is_chosen_and_welcomed(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let request = server.request("lab").header("sec-websocket-protocol", "bearer.secret, realtime.v1.json");
    let mut client = request.connect();
    assert_eq!(client.header("sec-websocket-protocol").as_deref(), Some("realtime.v1.json"));
    let welcome: serde_json::Value = serde_json::from_slice(&client.recv().payload).unwrap_or_default();
    let id = seen.opened().to_string();
    let expected =
        serde_json::json!({ "type": "welcome", "connection": id, "heartbeatMs": 25_000, "messageBytes": 262_144 });
    assert_eq!(welcome, expected);
    works(&mut client);
}

pub fn messagepack_is_chosen_and_welcomed(subject: &Subject) {
    let (server, seen, _) = start(subject);
    let mut client = server.request("lab").subprotocol("realtime.v1.msgpack").connect();
    assert_eq!(client.header("sec-websocket-protocol").as_deref(), Some("realtime.v1.msgpack"));
    let id = seen.opened().to_string();
    let welcome = [
        &b"\x84\xa4type\xa7welcome\xaaconnection"[..],
        &[0xa0 | id.len() as u8],
        id.as_bytes(),
        b"\xabheartbeatMs\xcd\x61\xa8\xacmessageBytes\xce\x00\x04\x00\x00",
    ];
    client.expect_binary(&welcome.concat());
    works(&mut client);
}

pub fn the_welcome_tells_the_limit_of_a_message_and_the_schema(subject: &Subject) {
    let (builder, ..) = super::builder(|config| config.message_bytes = 100);
    let server = subject.start(builder.with_schema("lab", "9f31c2").build());
    for subprotocol in ["realtime.v1.json", "realtime.v1.msgpack"] {
        let mut client = server.request("lab").subprotocol(subprotocol).connect();
        let welcome = client.recv_packet();
        assert_eq!((&welcome["messageBytes"], &welcome["schema"]), (&100.into(), &"9f31c2".into()));
        let mut client = server.request("api").subprotocol(subprotocol).connect();
        assert_eq!(client.recv_packet().get("schema"), None);
    }
}

/// A page can put its token nowhere else; the same line of middleware serves all clients.
pub fn a_token_is_offered_as_a_subprotocol(subject: &Subject) {
    async fn login(context: Context, next: Next) -> Result<Accepted, Reject> {
        match context.bearer().as_deref() {
            Some("a b/=") => next.run(context).await,
            _ => Err(Reject::unauthorized()),
        }
    }
    let (builder, ..) = builder(|_| {});
    let server = subject.start(builder.middleware(login).build());
    let mut client = server.request("lab").subprotocol("bearer64.YSBiLz0, realtime.v1.json").connect();
    assert_eq!(client.header("sec-websocket-protocol").as_deref(), Some("realtime.v1.json"));
    assert_eq!(client.recv_packet()["type"], "welcome");
    works(&mut client);
    // As who offers nothing: there is nothing to choose.
    let mut client = server.request("lab").subprotocol("bearer64.YSBiLz0").connect();
    assert_eq!(client.header("sec-websocket-protocol"), None);
    works(&mut client);
    works(&mut server.request("lab").header("authorization", "Bearer a b/=").connect());
    server.request("lab").subprotocol("bearer.other").refused(401);
    server.request("lab").refused(401);
}

pub fn a_token_is_never_told(subject: &Subject) {
    let (server, ..) = start(subject);
    for (offered, origin, id, status) in [
        ("bearer.secret, realtime.v9.json", "http://localhost", "lab", 400),
        ("bearer64.c2VjcmV0, realtime.v1.json", "http://evil.example", "lab", 403),
        ("bearer.secret", "http://localhost", "nothing", 404),
    ] {
        let request = server.request(id).subprotocol(offered).header("origin", origin);
        let mut refused = request.header("authorization", "Bearer secret").refused(status);
        let told = format!("{} {refused:?}", refused.body());
        assert_eq!(refused.header("sec-websocket-protocol"), None);
        assert!(!told.contains("secret") && !told.contains("c2VjcmV0"), "{told}");
    }
}

/// Of several forms the client's first is chosen.
pub fn the_first_known_subprotocol_is_chosen(subject: &Subject) {
    let (server, ..) = start(subject);
    for (offered, chosen) in [
        ("realtime.v1.msgpack, realtime.v1.json", "realtime.v1.msgpack"),
        ("realtime.v1.json, realtime.v1.msgpack", "realtime.v1.json"),
        ("realtime.v9.msgpack, mine, realtime.v1.msgpack", "realtime.v1.msgpack"),
    ] {
        let mut client = server.request("lab").subprotocol(offered).connect();
        assert_eq!(client.header("sec-websocket-protocol").as_deref(), Some(chosen));
        assert_eq!(client.recv_packet()["type"], "welcome");
        works(&mut client);
    }
}

pub fn a_foreign_subprotocol_is_ignored(subject: &Subject) {
    let (server, ..) = start(subject);
    let mut client = server.request("lab").header("sec-websocket-protocol", "soap, wamp").connect();
    assert_eq!(client.header("sec-websocket-protocol"), None);
    works(&mut client);
}

pub fn an_unknown_realtime_subprotocol_is_400(subject: &Subject) {
    let (server, ..) = start(subject);
    server.request("lab").header("sec-websocket-protocol", "realtime.v9.json").refused(400);
}

pub fn a_plain_handler_speaks_no_subprotocol(subject: &Subject) {
    let (server, ..) = start(subject);
    server.request("echo").header("sec-websocket-protocol", "realtime.v1.json").refused(400);
    server.request("echo").subprotocol("realtime.v1.msgpack").refused(400);
    let mut client = server.request("echo").header("sec-websocket-protocol", "mine").connect();
    assert_eq!(client.header("sec-websocket-protocol"), None);
    client.text("hi");
    client.expect_text("hi");
}

pub fn over_the_limit_of_connections_is_503(subject: &Subject) {
    let (server, seen, _) = start_with(subject, |config| config.connections = 2);
    let first = server.connect("lab");
    let _second = server.connect("lab");
    let refused = server.request("lab").refused(503);
    assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
    drop(first);
    seen.closed();
    // The place is given back with the socket.
    works(&mut super::connect_when_free(&server));
}

pub fn over_the_limit_of_a_peer_is_429(subject: &Subject) {
    if !subject.capabilities().peer_address {
        return;
    }
    let (server, ..) = start_with(subject, |config| {
        config.connections_per_peer = 1;
        config.private_peers = PrivatePeers::One;
    });
    let _first = server.connect("lab");
    let mut refused = server.request("lab").refused(429);
    assert_eq!(refused.body()["error"]["code"], "RESOURCE_EXHAUSTED");
}

/// The clients connect from the loopback interface, like those of a local proxy.
pub fn a_private_address_has_no_limit_of_its_own(subject: &Subject) {
    let (server, ..) = start_with(subject, |config| config.connections_per_peer = 1);
    let _clients = [server.connect("lab"), server.connect("lab")];
    works(&mut server.connect("lab"));
}

pub fn a_draining_server_refuses_with_503(subject: &Subject) {
    let (server, ..) = start(subject);
    crate::block_on(server.realtime().drain(Duration::from_secs(1)));
    let refused = server.request("lab").refused(503);
    assert_eq!(refused.header("retry-after").as_deref(), Some("1"));
}

pub fn a_stuck_middleware_is_timed_out(subject: &Subject) {
    let (builder, seen, _) = builder(|_| {});
    let (stuck, reached) = (Gate::default(), Gate::default());
    let tell = reached.clone();
    let builder = builder.middleware(move |context: Context, next: Next| {
        let (stuck, tell) = (stuck.clone(), tell.clone());
        async move {
            tell.open();
            stuck.wait().await;
            next.run(context).await
        }
    });
    let server = subject.start(builder.build());
    std::thread::scope(|scope| {
        let realtime = server.realtime().clone();
        scope.spawn(move || {
            crate::block_on(reached.wait());
            // Until the request is answered: its timer is set a moment after the gate was reached.
            while realtime.stats().refused == 0 {
                realtime.tick();
                std::thread::yield_now();
            }
        });
        let mut refused = server.request("lab").refused(503);
        assert_eq!(refused.body()["error"]["code"], "UNAVAILABLE");
    });
    seen.nothing_more();
}

pub fn frames_sent_with_the_request_are_handled(subject: &Subject) {
    let (server, ..) = start(subject);
    let early = [TestFrame::text("one").to_bytes(), TestFrame::text("two").to_bytes()].concat();
    // The last frame is cut: its end comes later.
    let (now, later) = early.split_at(early.len() - 2);
    let mut client = server.request("echo").early(now).connect();
    client.expect_text("one");
    client.raw(later);
    client.expect_text("two");
}
