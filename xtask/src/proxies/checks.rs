//! The checks through a proxy.

use std::{
    io::{self, BufRead, BufReader},
    thread,
    time::{Duration, Instant},
};

use super::{
    http::{Body, CLIENT, ORIGIN, Request, Way, fetch, read, whole},
    proxy::{Notice, Proxy},
    websocket::{WebSocket, headers},
};
use crate::command::Outcome;

/// The ways through a proxy, and directly to the server behind it.
#[derive(Clone, Copy)]
pub(super) struct Ways {
    pub(super) proxy: Way,
    pub(super) server: Way,
}

pub(super) struct Check {
    pub(super) name: &'static str,
    /// Returns the text for the table.
    pub(super) run: fn(Ways, &Proxy) -> Outcome<String>,
    /// True if `--short` skips the check.
    pub(super) is_long: bool,
}

pub(super) const CHECKS: [Check; 15] = [
    quick("the page, and the files that it names", |ways, _| page(ways.proxy)),
    quick("WebSocket: subprotocol, 64 B and 200 KB echoed", |ways, _| echo(ways)),
    quick("WebSocket: close codes, both ways", |ways, _| close_codes(ways)),
    quick("WebSocket: refused by 403, with its body", |ways, _| refused_upgrade(ways)),
    quick("WebSocket: a client has gone, noticed after", |ways, _| websocket_left(ways)),
    quick("events: the first comes after", |ways, _| first_event(ways)),
    quick(EVENTS, |ways, _| later_events(ways)),
    quick("call: POST of 4 KB and of 240 KB", |ways, _| calls(ways)),
    quick("call: 240 KB refused by 403, with its body", |ways, _| refused_call(ways)),
    quick("call: 300 KB and 900 KB refused by 413", |ways, _| too_large(ways)),
    quick("the client's address, whatever it claims", |ways, _| address(ways)),
    quick("the same, in a connection's second request", |ways, _| address_in_second_request(ways)),
    quick(EVENTS_LEFT, |ways, proxy| events_left(ways, proxy.events_left)),
    quick(CALL_LEFT, |ways, proxy| call_left(ways, proxy.call_left)),
    Check { name: "2 minutes at rest: WebSocket, events", run: |ways, _| rest(ways), is_long: true },
];

/// The measurements with other settings, whose results are not checked.
pub(super) const MEASURES: [Measure; 3] = [
    (EVENTS, |ways| slowest_event(ways).map(shown)),
    (EVENTS_LEFT, |ways| events_left(ways, Notice::ByTimeout)),
    (CALL_LEFT, |ways| call_left(ways, Notice::ByTimeout)),
];

type Measure = (&'static str, fn(Ways) -> Outcome<String>);

const EVENTS: &str = "events: another comes after";
pub(super) const EVENTS_LEFT: &str = "events: a client has gone, noticed after";
pub(super) const CALL_LEFT: &str = "call: a client has gone, noticed after";

const fn quick(name: &'static str, run: fn(Ways, &Proxy) -> Outcome<String>) -> Check {
    Check { name, run, is_long: false }
}

/// Loads the page like a browser. There is none if the proxy passes on only the library's paths.
fn page(way: Way) -> Outcome<String> {
    if way.prefix.is_empty() {
        return Ok("–".into());
    }
    let (status, page) = fetch(way.port, &format!("{}/", way.prefix))?;
    let links = || page.split('"').filter(|link| [".css", ".js"].iter().any(|kind| link.ends_with(kind)));
    if status != 200 || links().count() < 2 {
        return Err(format!("{status} {:.80} instead of the page", page.trim()));
    }
    for link in links() {
        let path = if link.starts_with('/') { link.to_owned() } else { format!("{}/{link}", way.prefix) };
        let (status, _) = fetch(way.port, &path)?;
        if status != 200 {
            return Err(format!("{path} was answered by {status}"));
        }
    }
    yes()
}

fn echo(ways: Ways) -> Outcome<String> {
    let mut socket = WebSocket::open(ways.proxy)?;
    for length in [64, 200_000] {
        let text = "x".repeat(length);
        socket.say(&format!(r#"{{"type":"message","value":{{"echo":"{text}"}}}}"#))?;
        socket.expect_text(&text)?;
    }
    yes()
}

fn close_codes(ways: Ways) -> Outcome<String> {
    let mut socket = WebSocket::open(ways.proxy)?;
    socket.say(r#"{"type":"message","value":{"close":4000}}"#)?;
    socket.expect_close(4000)?;
    socket.close(4000)?;
    let mut socket = WebSocket::open(ways.proxy)?;
    socket.close(4001)?;
    socket.expect_close(4001)?;
    match until(AT_ONCE, || Ok(seen(ways)?.contains(r#""4001":"#)))? {
        Some(_) => yes(),
        None => Err(format!("the server saw {}", seen(ways)?)),
    }
}

fn refused_upgrade(ways: Ways) -> Outcome<String> {
    let request = Request { method: "GET", query: "", headers: &headers(FOREIGN), body: b"" };
    expect(request.answer(ways.proxy)?, 403, "PERMISSION_DENIED")
}

const FOREIGN: &str = "https://foreign.example.com";

fn websocket_left(ways: Ways) -> Outcome<String> {
    noticed(ways, Notice::AtOnce, || WebSocket::open(ways.proxy))
}

fn first_event(ways: Ways) -> Outcome<String> {
    let started = Instant::now();
    Events::open(ways.proxy)?.expect("hello")?;
    at_once(started.elapsed())
}

fn later_events(ways: Ways) -> Outcome<String> {
    at_once(slowest_event(ways)?)
}

/// Measures the time of the slowest of some events.
fn slowest_event(ways: Ways) -> Outcome<Duration> {
    let mut events = Events::open(ways.proxy)?;
    events.expect("hello")?;
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let started = Instant::now();
        expect(post(ways.server, r#"{"path":"tell","input":"news"}"#)?, 200, "")?;
        events.expect("news")?;
        slowest = slowest.max(started.elapsed());
    }
    Ok(slowest)
}

fn calls(ways: Ways) -> Outcome<String> {
    for length in [4_000, 240_000] {
        expect(post(ways.proxy, &length_of(length))?, 200, &format!(r#""data":{length}"#))?;
    }
    yes()
}

fn refused_call(ways: Ways) -> Outcome<String> {
    let headers = [("Content-Type", "application/json"), ("Origin", FOREIGN)];
    let body = length_of(240_000);
    let request = Request { method: "POST", query: "", headers: &headers, body: body.as_bytes() };
    expect(request.answer(ways.proxy)?, 403, "PERMISSION_DENIED")
}

fn too_large(ways: Ways) -> Outcome<String> {
    for length in [300_000, 900_000] {
        expect(post(ways.proxy, &length_of(length))?, 413, "INVALID_ARGUMENT")
            .map_err(|problem| format!("{length} bytes: {problem}"))?;
    }
    yes()
}

fn length_of(length: usize) -> String {
    format!(r#"{{"path":"length","input":"{}"}}"#, "x".repeat(length))
}

/// Checks the address of a client without headers, and of one that claims another in either header or in both.
fn address(ways: Ways) -> Outcome<String> {
    let (x, forwarded) = (("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=203.0.113.7"));
    for headers in [&[] as &[_], &[x], &[forwarded], &[x, forwarded]] {
        let request = Request { method: "GET", query: "?path=address", headers, body: b"" };
        let claimed = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        expect(request.answer(ways.proxy)?, 200, &format!(r#""{CLIENT}""#))
            .map_err(|problem| format!("with [{claimed}]: {problem}"))?;
    }
    yes()
}

/// A proxy may check only the first request of a connection and pass on further ones unchanged: the server must not
/// accept the address that they claim.
fn address_in_second_request(ways: Ways) -> Outcome<String> {
    let refused = Request { method: "GET", query: "", headers: &headers(FOREIGN), body: b"" };
    let answered = Request { method: "GET", query: "?path=address", headers: &[], body: b"" };
    let claims = [("X-Forwarded-For", "203.0.113.7")];
    let second = Request { headers: &claims, ..answered };
    for first in [&refused, &answered] {
        let (_, mut body) = read(first.send(ways.proxy)?)?;
        io::copy(&mut body, &mut io::sink()).map_err(|error| format!("the first answer: {error}"))?;
        // A closed connection or a refusal is fine.
        if let Ok((200, said)) = second.send_over(body.into_inner().into_socket(), ways.proxy).and_then(whole) {
            expect((200, said), 200, &format!(r#""{CLIENT}""#))?;
        }
    }
    yes()
}

/// Measures the time from a disconnection until the server ends the stream.
fn events_left(ways: Ways, expected: Notice) -> Outcome<String> {
    noticed(ways, expected, || {
        let mut events = Events::open(ways.proxy)?;
        events.expect("hello")?;
        Ok(events)
    })
}

/// Measures the time from a disconnection until the server ends the call.
fn call_left(ways: Ways, expected: Notice) -> Outcome<String> {
    let headers = [("Content-Type", "application/json"), ("Origin", ORIGIN)];
    let request = Request { method: "POST", query: "", headers: &headers, body: br#"{"path":"wait"}"# };
    noticed(ways, expected, || request.send(ways.proxy))
}

/// Measures the time from a disconnection until the server has no client.
fn noticed<C>(ways: Ways, expected: Notice, come: impl FnOnce() -> Outcome<C>) -> Outcome<String> {
    // Clients of earlier checks may have left unnoticed.
    until(Notice::ByComments.patience(), || has_nobody(ways))?.ok_or("the server has clients from before")?;
    let client = come()?;
    until(AT_ONCE, || has_nobody(ways).map(|nobody| !nobody))?.ok_or("the server saw nobody come")?;
    drop(client);
    let after = until(expected.patience(), || has_nobody(ways))?;
    let late = || format!("not within {} s", expected.patience().as_secs());
    after.map(shown).ok_or_else(late)
}

fn has_nobody(ways: Ways) -> Outcome<bool> {
    Ok(seen(ways)?.contains(r#""open":0,"waiting":0"#))
}

fn seen(ways: Ways) -> Outcome<String> {
    let (_, seen) = Request { method: "GET", query: "?path=seen", headers: &[], body: b"" }.answer(ways.server)?;
    Ok(seen)
}

impl Notice {
    fn patience(self) -> Duration {
        match self {
            Self::AtOnce => AT_ONCE,
            Self::ByComments => Duration::from_secs(50),
            Self::ByTimeout => Duration::from_secs(120),
        }
    }
}

/// Includes the delays of a loaded machine.
const AT_ONCE: Duration = Duration::from_secs(2);

fn rest(ways: Ways) -> Outcome<String> {
    let mut socket = WebSocket::open(ways.proxy)?;
    let mut events = Events::open(ways.proxy)?;
    events.expect("hello")?;
    socket.rest(Duration::from_secs(120))?;
    expect(post(ways.server, r#"{"path":"tell","input":"news"}"#)?, 200, "")?;
    socket.expect_text("news")?;
    events.expect("news")?;
    yes()
}

/// A stream of server-sent events.
struct Events(BufReader<Body>);

impl Events {
    fn open(way: Way) -> Outcome<Self> {
        let headers = [("Accept", "text/event-stream"), ("Origin", ORIGIN)];
        let stream = Request { method: "GET", query: "", headers: &headers, body: b"" }.send(way)?;
        let (head, body) = read(stream)?;
        match (head.status, head.header("content-type")) {
            (200, Some("text/event-stream")) => Ok(Self(body)),
            (status, kind) => Err(format!("the stream was answered by {status} {kind:?}")),
        }
    }

    /// Reads the next event and checks its data.
    fn expect(&mut self, data: &str) -> Outcome {
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).map_err(|error| format!("waiting for an event: {error}"))?;
            match line.strip_prefix("data: ") {
                _ if read == 0 => return Err("the stream ended".into()),
                Some(said) if said.contains(data) => return Ok(()),
                Some(said) => return Err(format!("expected {data}, got {said}")),
                None => {}
            }
        }
    }
}

fn post(way: Way, body: &str) -> Outcome<(u16, String)> {
    let headers = [("Content-Type", "application/json"), ("Origin", ORIGIN)];
    Request { method: "POST", query: "", headers: &headers, body: body.as_bytes() }.answer(way)
}

fn expect((status, body): (u16, String), expected: u16, part: &str) -> Outcome<String> {
    match status == expected && body.contains(part) {
        true => yes(),
        false => Err(format!("{status} {:.80} instead of {expected} {part}", body.trim())),
    }
}

fn yes() -> Outcome<String> {
    Ok("yes".into())
}

fn at_once(took: Duration) -> Outcome<String> {
    match took < AT_ONCE {
        true => Ok(shown(took)),
        false => Err(format!("only after {}", shown(took))),
    }
}

fn shown(took: Duration) -> String {
    match took.as_millis() {
        millis @ ..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}

/// Polls a condition. Returns the time until it was true, or `None`.
fn until(patience: Duration, mut is_so: impl FnMut() -> Outcome<bool>) -> Outcome<Option<Duration>> {
    let started = Instant::now();
    while started.elapsed() < patience {
        if is_so()? {
            return Ok(Some(started.elapsed()));
        }
        // Each request occupies a port for a minute.
        thread::sleep((started.elapsed() / 50).max(Duration::from_millis(10)));
    }
    Ok(None)
}
