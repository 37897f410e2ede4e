//! The server: a process of its own, whose memory is measured. It takes one command a line, and answers each with a line
//! of JSON.

use crate::Outcome;
use realtime_core::{Config, Connection, Handler, Overflow, Realtime, Result, SendError, Topic};
use rustix::net::sockopt::set_socket_send_buffer_size;
use serde::{Deserialize, Serialize};
use std::{
    io::{self, BufRead, Write},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::net::TcpListener;

/// All members get all of it.
const NEWS: Topic<Story> = Topic::fixed("news");
/// Some may be dropped.
const TICKS: Topic<Story> = Topic::fixed("ticks").with_overflow(Overflow::drop_oldest(100_000));

/// Bytes of a message beside its fields.
const PADDING: usize = 1024;
/// The kernel's buffer of each socket, small so that what waits does so in the server.
const SEND_BUFFER: usize = 16 * 1024;
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// A client that does not read is closed for the budget, and not before.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Serialize, Deserialize)]
struct Story {
    /// When it was published, in microseconds.
    at: u64,
    number: u64,
    text: String,
}

impl Story {
    fn new(number: u64) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
        Self { at, number, text: "x".repeat(PADDING) }
    }
}

/// Clients of one topic: the news for those whose latency is measured, the ticks for those that may stall.
struct Member(Topic<Story>);

impl Handler for Member {
    type Input = ();
    type ClientMessage = ();
    type ServerMessage = Story;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        connection.subscribe(&self.0)
    }

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

/// Clients that may stall, and get messages of their own.
struct Own;

impl Handler for Own {
    type Input = ();
    type ClientMessage = ();
    type ServerMessage = Story;

    async fn on_message(&self, _: &Connection<Self>, (): ()) -> Result {
        Ok(())
    }
}

/// The report of the server on itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) port: u16,
    /// Numbers of messages that were sent, and the connections that are open.
    pub(crate) news: u64,
    pub(crate) ticks: u64,
    pub(crate) own: u64,
    /// Messages of their own that were given back because an outbox was full.
    pub(crate) given_back: u64,
    pub(crate) connections: usize,
    pub(crate) most_used: usize,
    pub(crate) used: usize,
    pub(crate) closed: u64,
    pub(crate) dropped: u64,
}

/// Serves until standard input ends.
pub(crate) fn serve(budget: usize, outbox: usize) -> Outcome {
    let mut config = Config::default();
    (config.memory, config.outbox_bytes) = (budget, outbox);
    (config.idle_timeout, config.close_timeout, config.ping_interval) = (PATIENCE, PATIENCE, PING_INTERVAL);
    config.connections_per_peer = config.connections;
    let builder = Realtime::builder().config(config).handler("healthy", Member(NEWS));
    let realtime = builder.handler("ticking", Member(TICKS)).handler("own", Own).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    set_socket_send_buffer_size(&listener, SEND_BUFFER)?;
    let port = listener.local_addr()?.port();
    let controlled = realtime.clone();
    thread::spawn(move || {
        // The runner is gone, or has done.
        let _ = control(&controlled, port);
        std::process::exit(0);
    });
    let served = adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime);
    Ok(runtime.block_on(async { served.await })?)
}

fn control(realtime: &Realtime, port: u16) -> Outcome {
    let mut report = Report { port, ..Report::default() };
    answer(realtime, &mut report)?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        if let ["load", seconds, rate] = &*line.split(' ').collect::<Vec<_>>() {
            load(realtime, &mut report, seconds.parse()?, rate.parse()?);
        }
        answer(realtime, &mut report)?;
    }
    Ok(())
}

fn answer(realtime: &Realtime, report: &mut Report) -> Outcome {
    let memory = realtime.stats().memory;
    (report.used, report.closed) = (memory.used, memory.closed);
    (report.dropped, report.connections) = (memory.dropped_publications, realtime.connections());
    println!("{}", serde_json::to_string(report)?);
    Ok(io::stdout().flush()?)
}

/// Publishes so many news a second, twice as many ticks, and with each a message of its own to each of the others.
fn load(realtime: &Realtime, report: &mut Report, seconds: f64, rate: f64) {
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        let due = start + Duration::from_secs_f64(report.news as f64 / rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        report.news += 1;
        report.own += 1;
        // There is no broker, and a story serialises.
        let _ = realtime.to(&NEWS).send(&Story::new(report.news));
        for _ in 0..2 {
            report.ticks += 1;
            let _ = realtime.to(&TICKS).send(&Story::new(report.ticks));
        }
        report.given_back += send_own(realtime, report.own);
        report.most_used = report.most_used.max(realtime.stats().memory.used);
    }
}

/// Returns how many were given back.
fn send_own(realtime: &Realtime, number: u64) -> u64 {
    let all = realtime.filter(|connection| connection.endpoint() == "own");
    let own = all.iter().filter_map(|connection| connection.downcast::<Own>());
    own.filter(|connection| matches!(connection.send(Story::new(number)), Err(SendError::Full(_)))).count() as u64
}
