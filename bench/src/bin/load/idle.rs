//! Connections that have sent one message each, and then are silent: what they cost the server.
//!
//! Those that were opened over a time have sent nothing: each one's heartbeats come at its own moment,
//! as they do on a server that runs for long, and not all at once.

use crate::{Report, clients::Clients, frames::Template, options::Options};
use bench::{
    Outcome,
    process::{CpuTime, resident_bytes},
};
use std::time::{Duration, Instant};

/// Messages under way at once, so that no buffer is larger than one message needs.
const AT_ONCE: usize = 64;
/// Time for the server to put away what it needed for the last message.
const SETTLING: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(options: &Options) -> Outcome<Report> {
    let resident = || resident_bytes(options.pid).ok_or("--pid is needed, of a process that can be read");
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

/// Sends a message on each connection, so that what a server makes at the first one is there.
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

/// Answers heartbeats, and nothing else.
pub(crate) fn rest(clients: &mut Clients<'_>, time: Duration) -> Outcome {
    let start = Instant::now();
    while start.elapsed() < time {
        for index in clients.wait()? {
            clients.receive(index, |_| ())?;
        }
    }
    Ok(())
}
