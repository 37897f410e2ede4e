//! Spans of sessions and calls, for those who want to know.

use adapter_testing::{TestServer, block_on};
use realtime_core::{Call, Connected, Endpoint, Error, Procedure, Realtime, Result};
use std::{
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::with_default,
};

const SLOW: Procedure<bool, ()> = Procedure::new("slow");
const BOTHERED: Procedure<(), ()> = Procedure::new("bothered");

fn server() -> TestServer {
    let api = Endpoint::new(())
        .on_open(|connected: Connected<()>| async move {
            tracing::info!("opens");
            connected.sleep(Duration::ZERO).await;
            Ok(())
        })
        .procedure(SLOW, slow)
        .procedure(BOTHERED, |_: Call<()>, ()| async { Ok(()) })
        .guard(|call: Call<()>| async move {
            if call.name() == "bothered" { Err(Error::permission_denied("no")) } else { Ok(()) }
        });
    TestServer::new(Realtime::builder().node(7).endpoint("api", api).build())
}

async fn slow(call: Call<()>, fails: bool) -> Result {
    call.sleep(Duration::from_secs(2)).await;
    tracing::info!("says something");
    if fails { Err(Error::not_found("it")) } else { Ok(()) }
}

#[test]
fn a_call_has_a_span_in_that_of_its_session() {
    let log = Log::up_to(Level::DEBUG);
    with_default(log.clone(), || {
        block_on(async {
            let server = server();
            let mut ann = server.open("api").await.unwrap();
            assert_eq!(log.take("opens"), ["session{connection=0000000000000007-1 endpoint=api}: opens"]);
            let both = [ann.begin(SLOW, false).await, ann.begin(SLOW, true).await];
            server.advance(Duration::from_secs(2)).await;
            for call in both {
                let _ = call.result().await;
            }
            let session = "session{connection=0000000000000007-1 endpoint=api}:";
            let call = format!("{session}call{{path=slow endpoint=api connection=0000000000000007-1}}:");
            assert_eq!(log.take("something"), [(); 2].map(|()| format!("{call} says something")));
            let answered = ["OK", "NOT_FOUND"].map(|code| format!("{call} answered code={code} elapsed=2s"));
            assert_eq!(log.take("answered"), answered);
            // A refusal by a guard is an answer too.
            ann.call(BOTHERED, ()).await.unwrap_err();
            assert!(log.take("answered")[0].contains("path=bothered"), "it is told");
        });
    });
}

#[test]
fn a_call_by_http_is_in_the_span_of_its_request() {
    let log = Log::up_to(Level::DEBUG);
    with_default(log.clone(), || {
        block_on(async {
            let http = server().http("api");
            let request = tracing::info_span!("request");
            let answer = tracing::Instrument::instrument(http.mutate(BOTHERED, ()), request);
            answer.await.unwrap_err();
            assert_eq!(
                log.take("answered"),
                ["request{}:call{path=bothered endpoint=api}: answered code=PERMISSION_DENIED elapsed=0ns"]
            );
        });
    });
}

#[test]
fn nobody_pays_for_spans_that_nobody_wants() {
    let log = Log::up_to(Level::INFO);
    with_default(log.clone(), || {
        block_on(async {
            let server = server();
            let mut ann = server.open("api").await.unwrap();
            let call = ann.begin(SLOW, false).await;
            server.advance(Duration::from_secs(2)).await;
            assert_eq!(call.result().await, Ok(()));
            assert_eq!(log.0.last.load(Relaxed), 0);
        });
    });
}

/// A subscriber that notes events with the spans that they are in.
#[derive(Clone)]
struct Log(Arc<Inner>);

struct Inner {
    level: Level,
    last: AtomicU64,
    spans: Mutex<Vec<Known>>,
    entered: Mutex<Vec<u64>>,
    lines: Mutex<Vec<String>>,
}

struct Known {
    text: String,
    parent: Option<u64>,
}

impl Log {
    fn up_to(level: Level) -> Self {
        Self(Arc::new(Inner {
            level,
            last: AtomicU64::new(0),
            spans: Mutex::default(),
            entered: Mutex::default(),
            lines: Mutex::default(),
        }))
    }

    /// Takes the lines with this text.
    fn take(&self, text: &str) -> Vec<String> {
        let mut lines = self.0.lines.lock().unwrap();
        let (found, rest) = lines.drain(..).partition(|line| line.contains(text));
        *lines = rest;
        found
    }

    fn current(&self) -> Option<u64> {
        self.0.entered.lock().unwrap().last().copied()
    }

    fn path(&self, span: Option<u64>) -> String {
        let Some(id) = span else { return String::new() };
        let spans = self.0.spans.lock().unwrap();
        let known = &spans[id as usize - 1];
        let (text, parent) = (known.text.clone(), known.parent);
        drop(spans);
        format!("{}{text}:", self.path(parent))
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.0.level
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent =
            if attributes.is_contextual() { self.current() } else { attributes.parent().map(|id| id.into_u64()) };
        let text = format!("{}{{{}}}", attributes.metadata().name(), fields.0.trim_start());
        self.0.spans.lock().unwrap().push(Known { text, parent });
        span::Id::from_u64(self.0.last.fetch_add(1, Relaxed) + 1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let path = self.path(self.current());
        self.0.lines.lock().unwrap().push(format!("{path}{}", fields.0));
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, span: &span::Id) {
        self.0.entered.lock().unwrap().push(span.into_u64());
    }

    fn exit(&self, span: &span::Id) {
        let left = self.0.entered.lock().unwrap().pop();
        assert_eq!(left, Some(span.into_u64()));
    }
}

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {}={value}", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
