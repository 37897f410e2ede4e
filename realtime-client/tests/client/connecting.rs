use crate::support::{Network, next_states, soon};
use realtime_client::{Client, Reconnect, Refusal, State};
use realtime_core::Error;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_client_connects_in_the_background() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let _server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
    assert_eq!(next_states(&mut states, 2).await, ["connecting 1", "open c1"]);
    assert!(matches!(client.state(), State::Open { connection, .. } if connection == "c1"));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_token_of_its_own() {
    let (mut network, builder) = Network::new();
    let count = AtomicU32::new(0);
    let token = move || {
        let token = format!("t{}", count.fetch_add(1, Relaxed));
        async { Ok(token) }
    };
    let client = builder.token(token).connect();
    let server = network.accept("c1").await;
    assert_eq!(server.authorization.as_deref(), Some("Bearer t0"));
    soon(client.opened()).await.unwrap();
    drop(server);
    let server = network.accept("c2").await;
    assert_eq!(server.authorization.as_deref(), Some("Bearer t1"));
}

#[tokio::test(start_paused = true)]
async fn a_token_provider_that_fails_twice_does_not_end_it() {
    let (mut network, builder) = Network::new();
    let count = AtomicU32::new(0);
    let token = move || {
        let fails = count.fetch_add(1, Relaxed) < 2;
        async move { if fails { Err(Error::unavailable("not now")) } else { Ok("t".to_owned()) } }
    };
    let client = builder.token(token).connect();
    let mut states = client.states();
    let _server = network.accept("c1").await;
    let told = ["connecting 1", "reconnecting 2: token", "connecting 2", "reconnecting 3: token", "connecting 3"];
    assert_eq!(next_states(&mut states, 5).await, told);
    assert_eq!(next_states(&mut states, 1).await, ["open c1"]);
    assert_eq!(network.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_never_comes_is_an_attempt_that_takes_too_long() {
    let (_network, builder) = Network::new();
    let client = builder.token(std::future::pending).connect();
    let mut states = client.states();
    assert_eq!(next_states(&mut states, 2).await, ["connecting 1", "reconnecting 2: timeout"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_fetched_again() {
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let (mut network, builder) = Network::new();
        let count = Arc::new(AtomicU32::new(0));
        let fetched = Arc::clone(&count);
        let client = builder.token(move || std::future::ready(Ok(fetched.fetch_add(1, Relaxed).to_string())));
        let client = client.connect();
        network.respond(&format!("HTTP/1.1 {status}\r\n\r\n")).await;
        let server = network.accept("c1").await;
        assert_eq!(server.authorization.as_deref(), Some("Bearer 1"));
        soon(client.opened()).await.unwrap();
        assert_eq!(count.load(Relaxed), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn other_refusals_that_blame_the_request_are_final() {
    for status in ["400", "401", "404", "426"] {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let mut states = client.states();
        network.respond(&format!("HTTP/1.1 {status} No\r\n\r\n")).await;
        assert_eq!(next_states(&mut states, 2).await, ["connecting 1", &format!("closed: {status}")]);
        assert!(soon(states.next()).await.is_none());
        let error = soon(client.opened()).await.unwrap_err();
        assert!(error.is_closed() && error.message().contains(status), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_connection_refusals_are_a_deploy_that_passes() {
    for status in ["301", "404", "405", "502", "503"] {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let mut states = client.states();
        drop(network.accept("c1").await);
        for _ in 0..3 {
            network.respond(&format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")).await;
        }
        let _server = network.accept("c2").await;
        let told = next_states(&mut states, 11).await;
        assert_eq!(told[4..6], [format!("reconnecting 3: {status}"), "connecting 3".to_owned()]);
        assert_eq!(told[10], "open c2");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_stay_the_same_are_refused_for_good_also_after_a_connection() {
    for status in ["401", "403"] {
        let (mut network, builder) = Network::new();
        let client = builder.header("authorization", "Digest x").connect();
        let mut states = client.states();
        drop(network.accept("c1").await);
        network.respond(&format!("HTTP/1.1 {status} No\r\n\r\n")).await;
        assert_eq!(next_states(&mut states, 5).await[4], format!("closed: {status}"));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_connection_a_server_of_another_protocol_is_a_deploy_too() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    drop(network.accept("c1").await);
    let io = network.dialed().await;
    let _other = tokio_tungstenite::accept_async(io).await;
    let _server = network.accept("c2").await;
    let told = next_states(&mut states, 7).await;
    assert_eq!(told[4..], ["reconnecting 3: invalid", "connecting 3", "open c2"]);
}

#[tokio::test(start_paused = true)]
async fn the_application_may_say_which_refusals_are_final() {
    let (mut network, builder) = Network::new();
    let decide = |refusal: &Refusal| refusal.status == 404 || (refusal.status != 502 && refusal.is_temporary());
    let client = builder.reconnect_on_refusal(decide).connect();
    let mut states = client.states();
    network.respond("HTTP/1.1 404 No\r\n\r\n").await;
    network.respond("HTTP/1.1 503 No\r\n\r\n").await;
    drop(network.accept("c1").await);
    network.respond("HTTP/1.1 502 No\r\n\r\n").await;
    assert_eq!(next_states(&mut states, 9).await[8], "closed: 502");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_says_when_is_heeded() {
    let responses = [
        "HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\n",
        concat!(
            "HTTP/1.1 429 No\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\r\n",
            r#"{"ok":false,"error":{"code":"RESOURCE_EXHAUSTED","message":"full","retryAfterMs":7000}}"#
        ),
    ];
    for response in responses {
        let (mut network, builder) = Network::new();
        let client = builder.connect();
        let begin = Instant::now();
        network.respond(response).await;
        let _server = network.accept("c1").await;
        soon(client.opened()).await.unwrap();
        let waited = begin.elapsed();
        assert!(waited >= Duration::from_secs(7) && waited < Duration::from_secs(8), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_ports_are_tried_again_at_growing_distances() {
    let (mut network, builder) = Network::new();
    network.refuse(true);
    let client = builder.connect();
    let mut states = client.states();
    for attempt in 1..=20 {
        assert_eq!(next_states(&mut states, 1).await, [format!("connecting {attempt}")]);
        let Some(State::Reconnecting { attempt: next, after, .. }) = soon(states.next()).await else {
            panic!("no other attempt");
        };
        let limit = Duration::from_millis(300 << (attempt - 1).min(10)).min(Duration::from_secs(10));
        assert!(after <= limit, "{after:?} before attempt {next}");
        assert_eq!(next, attempt + 1);
    }
    network.refuse(false);
    let _server = network.accept("c1").await;
    soon(client.opened()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn attempts_end_where_that_is_wanted() {
    let (network, builder) = Network::new();
    network.refuse(true);
    let client = builder.reconnect(Reconnect::default().attempts(3)).connect();
    assert!(soon(client.opened()).await.unwrap_err().is_closed());
    assert_eq!(network.attempts(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let begin = Instant::now();
    let _silent = network.dialed().await;
    assert_eq!(next_states(&mut states, 2).await, ["connecting 1", "reconnecting 2: timeout"]);
    assert_eq!(begin.elapsed(), Duration::from_secs(10));

    // A server that upgrades but does not send a welcome is no better.
    let _silent = network.upgraded().await;
    assert_eq!(next_states(&mut states, 2).await, ["connecting 2", "reconnecting 3: timeout"]);
    let _server = network.accept("c1").await;
    assert_eq!(next_states(&mut states, 2).await, ["connecting 3", "open c1"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_protocol_is_given_up_for_good() {
    let (mut network, builder) = Network::new();
    let client = builder.connect();
    let mut states = client.states();
    let io = network.dialed().await;
    let _server = tokio_tungstenite::accept_async(io).await;
    assert_eq!(next_states(&mut states, 2).await, ["connecting 1", "closed: invalid"]);
}

#[tokio::test(start_paused = true)]
async fn a_url_of_no_websocket_is_told() {
    for url in ["", "http://localhost/", "no url"] {
        let error = Client::builder(url).connect().opened().await.unwrap_err();
        assert!(error.message().contains(&format!("{url:?}")), "{error}");
    }
}

/// Uses real sockets, and a port chosen by the system.
#[tokio::test]
async fn tcp_is_dialed_where_nothing_else_is_said() {
    let listener = tokio::net::TcpListener::bind("[::1]:0").await;
    let listener = match listener {
        Ok(listener) => listener,
        Err(_) => tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
    };
    let url = format!("ws://{}/__realtime/api", listener.local_addr().unwrap());
    let client = Client::builder(url).connect();
    let (_, peer) = listener.accept().await.unwrap();
    assert!(peer.ip().is_loopback());
    soon(client.close()).await;
}

#[cfg(feature = "rustls")]
#[tokio::test(start_paused = true)]
async fn tls_goes_over_what_was_dialed() {
    use tokio::io::AsyncReadExt;

    let (client_io, mut server_io) = tokio::io::duplex(4096);
    let client_io = std::sync::Mutex::new(Some(client_io));
    let dial = move || {
        let io = client_io.lock().unwrap().take();
        async { io.ok_or_else(|| std::io::ErrorKind::ConnectionRefused.into()) }
    };
    let client = Client::builder("wss://server/__realtime/api").dial(dial).connect();
    tokio::select! {
        first = server_io.read_u8() => assert_eq!(first.unwrap(), 22, "a record of a TLS handshake"),
        opened = client.opened() => {
            let error = opened.unwrap_err();
            assert!(error.message().contains("the system has no root certificates"), "{error}");
        }
    }
}
