//! The cost of silent connections to the server, after one message on each.
//!
//! Connections that are opened over a time have sent nothing: their heartbeats are spread, as on a server that runs for
//! long.

use crate::{Report, clients::Clients, frames::Template, options::Options};
use bench::{
    Outcome,
    process::{CpuTime, resident_bytes},
};
use std::time::{Duration, Instant};

/// The number of messages under way, so that no buffer is larger than one message needs.
const AT_ONCE: usize = 64;
/// The time for the server to release memory after the last message.
const SETTLING: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(options: &Options) -> Outcome<Report> {
    let resident = || resident_bytes(options.pid).ok_or("--pid is required, of a readable process");
    let mut clients = Clients::new(options)?;
    let before = resident()?;
    clients.open_all()?;
    if options.spread.is_zero() {
        use_each(&mut clients, options)?;
    }
    rest(&mut clients, SETTLING)?;
    let after = resident()?;

    let (start, used, pinged) = (Instant::now(), CpuTime::of(options.pid), clients.pings());
    rest(&mut clients, options.time)?;
    let (seconds, used) = (start.elapsed().as_secs_f64(), CpuTime::of(options.pid).since(&used));
    let pings = (clients.pings() - pinged) as f64;
    let closed = clients.closed();
    Ok(Report::from([
        ("bytes_per_connection", (after as f64 - before as f64) / options.connections as f64),
        ("resident_before", before as f64),
        ("resident_after", after as f64),
        ("server_share", used / seconds),
        ("pings", pings),
        ("ping_us", used * 1e6 / pings.max(1.0)),
        ("closed", closed as f64),
    ]))
}

/// Sends a message on each connection, so that the server has allocated everything that a first message needs.
fn use_each(clients: &mut Clients<'_>, options: &Options) -> Outcome {
    let template = Template::new(&options.message, options.size);
    let (mut sent, mut replies) = (0, 0);
    let mut last = Instant::now();
    while replies < options.connections {
        while sent < options.connections.min(replies + AT_ONCE) {
            clients.send_message(sent, &template, 0);
            sent += 1;
        }
        for index in clients.wait()? {
            clients.receive(index, |_| replies += 1)?;
            last = Instant::now();
        }
        if last.elapsed() > SILENCE {
            return Err(format!("{replies} of {sent} messages were answered").into());
        }
    }
    Ok(())
}

/// Answers heartbeats, and does nothing else.
pub(crate) fn rest(clients: &mut Clients<'_>, time: Duration) -> Outcome {
    let start = Instant::now();
    while start.elapsed() < time {
        for index in clients.wait()? {
            clients.receive(index, |_| ())?;
        }
    }
    Ok(())
}
