//! Warnings that an operator reads in the log, and how often.

use adapter_testing::{TestClient, TestServer, block_on};
use realtime_core::{Config, Endpoint, Realtime};
use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
    time::Duration,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

#[test]
fn a_foreign_origin_is_warned_of_once_a_minute() {
    logged(|log| {
        block_on(async {
            let server = server(Config::default());
            let ask = |origin: &'static str| server.request("api").header("origin", origin).open();
            for _ in 0..3 {
                assert_eq!(ask("http://localhost:5173").await.unwrap_err().status(), 403);
            }
            let first = log.take();
            assert_eq!(first.len(), 1, "{first:?}");
            for part in ["http://localhost:5173", "\"localhost\"", "Config::origins"] {
                assert!(first[0].contains(part), "{first:?}");
            }
            ask("http://localhost:5174").await.unwrap_err();
            assert_eq!(log.take().len(), 1);
            server.advance(Duration::from_secs(61)).await;
            ask("http://localhost:5173").await.unwrap_err();
            assert_eq!(log.take().len(), 1);
        });
    });
}

#[test]
fn a_proxy_that_is_not_trusted_is_warned_of_once() {
    logged(|log| {
        block_on(async {
            let mut config = Config::default();
            config.connections_per_peer = 4;
            let direct = server(config.clone());
            let _clients = [open(&direct, None).await, open(&direct, None).await, open(&direct, None).await];
            assert_eq!(log.take(), [""; 0]);

            let server = server(config.clone());
            let _first = open(&server, Some("203.0.113.1")).await;
            assert_eq!(log.take(), [""; 0]);
            let _second = open(&server, Some("203.0.113.2")).await;
            let warned = log.take();
            assert!(warned.len() == 1 && warned[0].contains("Config::trusted_proxies"), "{warned:?}");
            let _third = open(&server, Some("203.0.113.3")).await;
            assert_eq!(log.take(), [""; 0]);

            config.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
            let trusting = self::server(config);
            for _ in 0..3 {
                std::mem::forget(open(&trusting, Some("203.0.113.1")).await);
            }
            assert_eq!(log.take(), [""; 0]);
        });
    });
}

#[test]
fn a_token_is_in_no_line_of_the_log() {
    let log = Log::of(Level::TRACE);
    tracing::subscriber::with_default(log.clone(), || {
        block_on(async {
            let server = server(Config::default());
            let ask = |id: &str| {
                let request = server.request(id).header("authorization", "Bearer secret");
                request.header("sec-websocket-protocol", "realtime.v1.json, bearer.secret, bearer64.c2VjcmV0")
            };
            drop(ask("api").open().await.unwrap());
            ask("nobody").open().await.unwrap_err();
            ask("api").header("origin", "http://evil.example").open().await.unwrap_err();
            let unknown = server.request("api").header("sec-websocket-protocol", "bearer.secret, realtime.v9");
            unknown.open().await.unwrap_err();
            server.advance(Duration::from_secs(61)).await;
        });
    });
    let lines = log.take();
    assert!(lines.iter().any(|line| line.contains("request refused")), "{lines:?}");
    for token in ["secret", "c2VjcmV0"] {
        assert!(!lines.iter().any(|line| line.contains(token)), "{lines:?}");
    }
}

fn server(config: Config) -> TestServer {
    TestServer::new(Realtime::builder().config(config).endpoint("api", Endpoint::new(())).build())
}

/// Connects from a proxy's address, for a client whose address the proxy tells.
async fn open(server: &TestServer, client: Option<&str>) -> TestClient {
    let request = server.request("api").peer(([10, 0, 0, 1], 80).into());
    let request = client.into_iter().fold(request, |request, client| request.header("x-forwarded-for", client));
    request.open().await.unwrap()
}

/// Runs a test with a log of its own.
fn logged(test: impl FnOnce(&Log)) {
    let log = Log::of(Level::WARN);
    tracing::subscriber::with_default(log.clone(), || test(&log));
}

/// The log of this thread, down to a level.
#[derive(Clone)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    level: Level,
}

impl Log {
    fn of(level: Level) -> Self {
        Self { lines: Arc::default(), level }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn event(&self, event: &Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                let _ = write!(self.0, "{field}={value:?} ");
            }
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        self.lines.lock().unwrap().push(text.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
