use crate::support::{Network, Server, next_states, settle, soon};
use realtime_client::{Client, ClientBuilder, Format, State};
use realtime_core::{Error, websocket::accept_key};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::io::{AsyncWriteExt, DuplexStream};

/// Returns the value of a header in a request.
fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = request.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Writes a 101 with these headers, in addition to those for the agreed key and protocol.
async fn agree(io: &mut DuplexStream, request: &str, headers: &str) {
    let accept = accept_key(header(request, "sec-websocket-key").unwrap());
    let response = format!(
        "HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: realtime.v1.json\r\n{headers}\r\n"
    );
    io.write_all(response.as_bytes()).await.unwrap();
}

/// Returns the request of a client of `url`.
async fn request_of(url: &str, set: impl FnOnce(ClientBuilder) -> ClientBuilder) -> String {
    let (mut network, dial) = Network::behind();
    let _client = set(Client::builder(url).dial(dial)).connect();
    network.requested().await.1
}

#[tokio::test(start_paused = true)]
async fn the_headers_of_an_upgrade_are_lists_of_tokens() {
    for headers in [
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "upgrade: WebSocket\r\nconnection: upgrade\r\n",
        "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n",
        "Upgrade: websocket\r\nConnection: upgrade, close\r\n",
        "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n",
        "Upgrade: other/1, websocket\r\nConnection:keep-alive ,\tUPGRADE,\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Extensions:\r\n",
    ] {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let mut states = client.states();
        let (mut io, request) = network.requested().await;
        agree(&mut io, &request, headers).await;
        let mut server = Server::upgraded(io).await;
        server.send(json!({"type": "welcome", "connection": "c1", "heartbeatMs": 25_000})).await;
        assert_eq!(next_states(&mut states, 2).await, ["connecting 1", "open c1"], "{headers}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_format_is_offered_and_must_be_chosen() {
    let (mut network, builder) = Network::new();
    let client = builder.format(Format::MessagePack).connect();
    let (mut io, request) = network.requested().await;
    assert_eq!(header(&request, "sec-websocket-protocol"), Some("realtime.v1.msgpack"));
    agree(&mut io, &request, "Upgrade: websocket\r\nConnection: Upgrade\r\n").await;
    let error = soon(client.opened()).await.unwrap_err();
    let wrong = "the server does not speak realtime.v1.msgpack: it chose realtime.v1.json";
    assert!(error.message().ends_with(wrong), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_makes_no_websocket_is_told() {
    let both = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    for (headers, wrong) in [
        ("Connection: Upgrade\r\n", "Upgrade does not contain websocket"),
        ("Upgrade: websocket\r\nConnection: keep-alive\r\n", "Connection does not contain upgrade"),
        (&format!("{both}Sec-WebSocket-Extensions: x\r\n"), "it selects an extension that was not offered"),
    ] {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let (mut io, request) = network.requested().await;
        agree(&mut io, &request, headers).await;
        settle().await;
        let State::Reconnecting { cause, .. } = client.state() else { panic!("{:?}", client.state()) };
        assert!(cause.to_string().ends_with(wrong), "{cause}");
    }
    for (response, wrong) in [
        (
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "Sec-WebSocket-Accept does not match the key",
        ),
        ("HTTP/1.0 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "it is HTTP/1.0"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "not HTTP: invalid HTTP version"),
        (&format!("HTTP/1.1 101 S\r\nx: {}", "x".repeat(40_000)), "its head is too long"),
    ] {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let (mut io, _) = network.requested().await;
        io.write_all(response.as_bytes()).await.unwrap();
        settle().await;
        let State::Reconnecting { cause, .. } = client.state() else { panic!("{:?}", client.state()) };
        assert!(cause.to_string().ends_with(wrong), "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_come_in_pieces_and_behind_others() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let (mut io, request) = network.requested().await;
    for byte in b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" {
        io.write_all(&[*byte]).await.unwrap();
        settle().await;
    }
    agree(&mut io, &request, "Upgrade: websocket\r\nConnection: Upgrade\r\n").await;
    // The welcome arrives together with the head.
    let welcome = br#"{"type":"welcome","connection":"c1"}"#;
    io.write_all(&[0x81, welcome.len() as u8]).await.unwrap();
    io.write_all(welcome).await.unwrap();
    soon(client.opened()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_refusal_is_read_to_its_end_and_not_waited_for_without_end() {
    let body = r#"{"ok":false,"error":{"code":"NOT_FOUND","message":"no handler has this id"}}"#;
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let (mut io, _) = network.requested().await;
    let head = format!("HTTP/1.1 404 No\r\nContent-Length: {}\r\n\r\n", body.len());
    io.write_all(head.as_bytes()).await.unwrap();
    settle().await;
    io.write_all(body.as_bytes()).await.unwrap();
    let error = soon(client.opened()).await.unwrap_err();
    assert!(error.message().ends_with("refused with 404: NOT_FOUND: no handler has this id"), "{error}");

    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let (mut io, _) = network.requested().await;
    io.write_all(b"HTTP/1.0 404 No\r\nContent-Length: 100\r\n\r\nabc").await.unwrap();
    let begin = tokio::time::Instant::now();
    assert!(soon(client.opened()).await.unwrap_err().message().ends_with("refused with 404"));
    assert_eq!(begin.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_is_what_the_url_says() {
    for (url, line, host) in [
        ("ws://server/__realtime/api", "GET /__realtime/api HTTP/1.1", "server"),
        ("ws://server?x=1", "GET /?x=1 HTTP/1.1", "server"),
        ("ws://server", "GET / HTTP/1.1", "server"),
        ("WS://server:81/a?b#c", "GET /a?b HTTP/1.1", "server:81"),
        ("ws://name:secret@[::1]:81/", "GET / HTTP/1.1", "[::1]:81"),
    ] {
        let request = request_of(url, |builder| builder).await;
        assert_eq!(request.lines().next(), Some(line), "{url}");
        assert_eq!(header(&request, "host"), Some(host), "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_counts_before_a_header_and_that_before_the_url() {
    let url = "ws://name:pass%20word@server/";
    let request = request_of(url, |builder| builder).await;
    assert_eq!(header(&request, "authorization"), Some("Basic bmFtZTpwYXNzIHdvcmQ="));
    let request = request_of(url, |builder| builder.header("Authorization", "Digest x")).await;
    assert_eq!(header(&request, "authorization"), Some("Digest x"));
    let request = request_of(url, |builder| {
        builder.token(|| async { Ok("t".to_owned()) }).header("Authorization", "Digest x")
    });
    let request = request.await;
    assert_eq!(header(&request, "authorization"), Some("Bearer t"));
    assert_eq!(request.matches("uthorization").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn headers_are_sent_with_each_request_and_fetched_for_it() {
    let (mut network, builder) = Network::new();
    let count = Arc::new(AtomicU32::new(0));
    let fetched = Arc::clone(&count);
    let _client = builder
        .header("cookie", "a=1")
        .header("X-Many", "1")
        .header("x-many", "2")
        .header_with("x-count", move || std::future::ready(Ok(fetched.fetch_add(1, Relaxed).to_string())))
        .connect();
    for attempt in 0..3 {
        let request = network.respond("HTTP/1.1 503 No\r\n\r\n").await;
        assert_eq!(header(&request, "cookie"), Some("a=1"));
        assert_eq!(header(&request, "x-count"), Some(&*attempt.to_string()));
        assert!(request.contains("x-many: 1\r\nx-many: 2\r\n"), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_cannot_be_made_fails_the_attempt_and_not_the_client() {
    for bad in [Err(Error::unavailable("not now")), Ok("a\r\nb".to_owned())] {
        let (mut network, builder) = Network::new();
        let bad = std::sync::Mutex::new(Some(bad));
        let value = move || {
            let value = bad.lock().unwrap().take().unwrap_or(Ok("good".to_owned()));
            async { value }
        };
        let client = builder.header_with("x-key", value).connect();
        let mut states = client.states();
        let _server = network.accept("c1").await;
        let told = ["connecting 1", "reconnecting 2: header", "connecting 2", "open c1"];
        assert_eq!(next_states(&mut states, 4).await, told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_may_not_be_set_is_told() {
    for (name, value, wrong) in [
        ("sec-websocket-key", "x", "the header sec-websocket-key is reserved"),
        ("Host", "x", "the header host is reserved"),
        ("a b", "x", "invalid header name: \"a b\""),
        ("x-key", "a\r\nsecret", "the value of the header x-key has invalid characters"),
    ] {
        let (network, builder) = Network::new();
        let client = builder.header(name, value).connect();
        let error = soon(client.opened()).await.unwrap_err();
        assert!(error.is_closed() && error.message().ends_with(wrong), "{error}");
        assert_eq!(network.attempts(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn no_state_and_no_error_has_a_secret_in_it() {
    for (url, response) in [
        ("ws://name:secret@server/?key=secret", "HTTP/1.1 404 No\r\n\r\n"),
        ("ws://name:secret@server/?key=secret", "HTTP/1.1 101 S\r\n\r\n"),
        ("ws://name:secret@server/?key=secret", "nothing\r\n\r\n"),
        ("http://name:secret@server/?key=secret", ""),
        ("ws://name:sec ret@server/?key=secret", ""),
    ] {
        let (mut network, dial) = Network::behind();
        let builder = Client::builder(url).header("x-key", "secret").dial(dial);
        let mut told = format!("{builder:?}");
        let client = builder.connect();
        if !response.is_empty() {
            network.respond(response).await;
        }
        settle().await;
        told += &format!("{client:?} {:?}", client.state());
        if let State::Reconnecting { cause, .. } = client.state() {
            told += &cause.to_string();
        }
        drop(network);
        let closing = client.clone();
        soon(closing.close()).await;
        told += &format!("{:?}", client.opened().await);
        assert!(!told.contains("sec"), "{told}");
    }
}
