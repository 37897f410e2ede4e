//! Every connection is a member, the first publishes at a fixed rate, and some stop reading. The load measures the
//! effect on the others, the memory that the server keeps for stalled clients, and how they are closed.
//!
//! Latency counts from the scheduled time of a message, so that a late load hides nothing.

use crate::{
    Report,
    clients::{Clients, State},
    fanout::gather,
    frames::{Numbers, Template, ping_frame, text_frame},
    histogram::Histogram,
    idle::rest,
    meter::{LATENCY, Meter, Phase, add_latency},
    options::Options,
};
use bench::{
    Outcome,
    process::{peak_bytes, resident_bytes},
};
use std::time::{Duration, Instant};

/// The kernel's buffer of a stalled client, small so that most data waits at the server.
const RECEIVE_BUFFER: usize = 8 * 1024;
/// The number of members that send pings in turn, one every `PING_EVERY`.
const PINGERS: usize = 100;
const PING_EVERY: Duration = Duration::from_millis(20);
/// The interval for asking the server for the number of slow consumers.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// The time from the first close of a slow consumer until all stalled clients read again. The server waits 5 s for the
/// reply to its close frame; a later reader finds none.
const GRACE: Duration = Duration::from_secs(2);
/// The number of clients that start to read again in one turn, so that the others do not wait.
const RESUMED: usize = 64;
const SETTLING: Duration = Duration::from_secs(1);
/// The silence after which no more messages are expected.
const SILENCE: Duration = Duration::from_secs(3);

/// The server's memory for a connection, for each waiting frame, and once for its thread, in bytes.
const CONNECTION: usize = 2560;
const QUEUED_FRAME: usize = 32;
const THREAD: usize = 256 * 1024;

pub(crate) fn run(options: &Options) -> Outcome<Report> {
    warm_up(options)?;
    let before = resident(options)?;
    let mut clients = Clients::new(options)?;
    open(&mut clients, options)?;
    gather(&mut clients, options)?;
    rest(&mut clients, SETTLING)?;
    let open = resident(options)?;

    let mut crowd = Crowd::new(options);
    crowd.stall(&mut clients)?;
    let mut meter = Meter::new(options);
    loop {
        crowd.act(&mut clients)?;
        let ready = clients.wait_for(crowd.idle_time())?;
        match meter.phase() {
            Phase::Begin => crowd.begin(&clients),
            Phase::Going => {}
            Phase::End => break,
        }
        for index in ready {
            crowd.receive(&mut clients, index)?;
        }
    }
    let mut report = meter.report(crowd.deliveries);
    crowd.end(&mut clients)?;
    crowd.report(&clients, &mut report);
    rest(&mut clients, SETTLING)?;
    let peak = peak_bytes(options.pid).ok_or("the server has ended")?;
    report.extend([
        ("resident_before", before),
        ("resident_open", open),
        ("resident_max", peak as f64),
        ("resident_after", resident(options)?),
        ("bytes_per_connection", (open - before) / options.connections as f64),
        ("growth", peak as f64 - before),
        ("bound", bound(options)),
    ]);
    Ok(report)
}

/// Connects one member, publishes to it and closes it, so that the server's one-time allocations and the pages of its
/// code do not count as memory of the others.
fn warm_up(options: &Options) -> Outcome {
    let options = Options { connections: 1, stalled: 0, ..options.clone() };
    let mut clients = Clients::new(&options)?;
    clients.open_all()?;
    gather(&mut clients, &options)?;
    rest(&mut clients, SETTLING)
}

fn resident(options: &Options) -> Outcome<f64> {
    let bytes = resident_bytes(options.pid).ok_or("--pid is required, of a readable process")?;
    Ok(bytes as f64)
}

/// Opens the clients that read, then those that will stall, then the one that asks the server.
fn open(clients: &mut Clients<'_>, options: &Options) -> Outcome {
    clients.open(options.connections - options.stalled)?;
    clients.take_little(RECEIVE_BUFFER);
    clients.open(options.stalled)?;
    clients.ask_for(&options.control, 0);
    clients.open(1)
}

/// Returns the bound of the server's growth: the connections, a place in each queue for every frame that it holds, and
/// the shared frames once.
fn bound(options: &Options) -> f64 {
    // A queue doubles when it grows.
    let queued = (options.outbox / (options.size + 4)).next_power_of_two();
    let waiting = if options.stalled > 0 { options.outbox } else { 0 };
    let bytes = options.connections * CONNECTION + options.stalled * queued * QUEUED_FRAME + waiting + THREAD;
    bytes as f64
}

struct Crowd<'a> {
    options: &'a Options,
    template: Template,
    /// The number of clients that read.
    healthy: usize,
    /// The scheduled time of the message with number 0.
    start: Instant,
    /// The number of the last message.
    number: u64,
    received: u64,
    /// The deliveries in the measured time.
    deliveries: u64,
    latency: Histogram,
    /// The delay between a message's scheduled time and its sending.
    lateness: Histogram,
    numbers: Numbers,
    progress: Instant,
    pings: Pings,
    slow: Slow,
    /// The server's heartbeats before the measured time.
    pinged: u64,
}

impl<'a> Crowd<'a> {
    fn new(options: &'a Options) -> Self {
        let healthy = options.connections - options.stalled;
        Self {
            options,
            template: Template::new(&options.message, options.size),
            healthy,
            start: Instant::now(),
            number: 0,
            received: 0,
            deliveries: 0,
            latency: Histogram::new(),
            lateness: Histogram::new(),
            numbers: Numbers::default(),
            progress: Instant::now(),
            pings: Pings::new(healthy.min(PINGERS)),
            slow: Slow::new(healthy..options.connections),
            pinged: 0,
        }
    }

    fn stall(&self, clients: &mut Clients<'_>) -> Outcome {
        (self.healthy..self.options.connections).try_for_each(|index| clients.stall(index))
    }

    /// Starts the measured time.
    fn begin(&mut self, clients: &Clients<'_>) {
        self.deliveries = 0;
        self.latency = Histogram::new();
        self.lateness = Histogram::new();
        self.pings.latency = Histogram::new();
        self.pinged = clients.pings();
    }

    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.options.rate)
    }

    /// Returns the time until the next action.
    fn idle_time(&self) -> Duration {
        let next = self.due(self.number + 1).min(self.pings.next);
        next.saturating_duration_since(Instant::now())
    }

    /// Does everything that is due.
    fn act(&mut self, clients: &mut Clients<'_>) -> Outcome {
        let now = Instant::now();
        while self.due(self.number + 1) <= now {
            self.number += 1;
            self.lateness.record(now - self.due(self.number));
            clients.send_message(0, &self.template, self.number);
        }
        self.pings.send(clients, now);
        self.slow.look(clients, self.options.connections, now)
    }

    fn receive(&mut self, clients: &mut Clients<'_>, index: usize) -> Outcome {
        if index == self.options.connections {
            return clients.receive(index, |reply| self.slow.told(reply));
        }
        if index >= self.healthy {
            return clients.receive(index, |_| ());
        }
        let now = Instant::now();
        let mut right = true;
        clients.receive(index, |message| right &= self.deliver(message, now))?;
        if !right {
            return Err("a message does not contain the text published".into());
        }
        if clients.take_pongs(index) > 0 {
            self.pings.answered(index, now);
        }
        Ok(())
    }

    fn deliver(&mut self, message: &[u8], now: Instant) -> bool {
        let Some(number) = self.numbers.read(message, &self.template) else {
            return false;
        };
        if number == 0 {
            // A call to gather the members.
            return true;
        }
        self.progress = now;
        self.received += 1;
        self.deliveries += 1;
        self.latency.record(now.saturating_duration_since(self.due(number)));
        true
    }

    /// Waits for messages under way, starts reading on all clients, and lets the server close the remaining
    /// connections.
    fn end(&mut self, clients: &mut Clients<'_>) -> Outcome {
        let wanted = self.number * self.healthy as u64;
        self.progress = Instant::now();
        while (self.received < wanted || self.pings.are_under_way()) && self.progress.elapsed() < SILENCE {
            self.turn(clients)?;
        }
        self.slow.closed_before = (0..self.healthy).filter(|index| clients.state(*index) != State::Open).count();
        self.slow.finish(clients)?;
        clients.send(self.options.connections, &text_frame("close"));
        let asked = Instant::now();
        while clients.closed() < self.options.connections && asked.elapsed() < 3 * SILENCE {
            self.turn(clients)?;
        }
        Ok(())
    }

    fn turn(&mut self, clients: &mut Clients<'_>) -> Outcome {
        for index in clients.wait()? {
            self.receive(clients, index)?;
        }
        Ok(())
    }

    fn report(&self, clients: &Clients<'_>, report: &mut Report) {
        let (healthy, connections) = (self.healthy, self.options.connections);
        let closed_by = |code| (healthy..connections).filter(|index| clients.close_code(*index) == code).count();
        let goodbyes = (0..healthy).filter(|index| clients.close_code(*index) == Some(1000)).count();
        let lost = (self.number * healthy as u64).saturating_sub(self.received);
        add_latency(report, &self.latency, LATENCY);
        add_latency(report, &self.lateness, [("late_p99_us", 0.99)]);
        add_latency(
            report,
            &self.pings.latency,
            [("pong_p50_us", 0.5), ("pong_p99_us", 0.99), ("pong_max_us", 1.0)],
        );
        report.extend([
            ("connections", connections as f64),
            ("stalled", self.options.stalled as f64),
            ("outbox", self.options.outbox as f64),
            ("messages_per_second", self.options.rate),
            ("lost", lost as f64),
            ("pongs_missed", self.pings.missed as f64),
            ("heartbeats", (clients.pings() - self.pinged) as f64),
            ("closed", self.slow.closed_before as f64),
            ("goodbyes", goodbyes as f64),
            ("closed_1013", closed_by(Some(1013)) as f64),
            ("closed_1001", closed_by(Some(1001)) as f64),
            ("closed_1000", closed_by(Some(1000)) as f64),
            ("cut", closed_by(None) as f64),
            ("slow_consumers", self.slow.count as f64),
        ]);
        if let Some(first) = self.slow.first {
            report.insert("seconds_to_1013", (first - self.start).as_secs_f64());
        }
    }
}

/// The pings of some members, each sent after the last one was answered.
struct Pings {
    /// The send time of each ping under way.
    sent: Vec<Option<Instant>>,
    turn: usize,
    next: Instant,
    latency: Histogram,
    /// The number of pings not answered by the sender's next turn.
    missed: u64,
}

impl Pings {
    fn new(pingers: usize) -> Self {
        let next = Instant::now() + PING_EVERY;
        Self { sent: vec![None; pingers], turn: 0, next, latency: Histogram::new(), missed: 0 }
    }

    fn send(&mut self, clients: &mut Clients<'_>, now: Instant) {
        while self.next <= now {
            self.next += PING_EVERY;
            let index = self.turn % self.sent.len();
            self.turn += 1;
            if self.turn > PINGERS && self.sent[index].is_some() {
                self.missed += 1;
            } else if self.sent[index].is_none() {
                self.sent[index] = Some(now);
                clients.send(index, &ping_frame());
            }
        }
    }

    fn answered(&mut self, index: usize, now: Instant) {
        if let Some(sent) = self.sent.get_mut(index).and_then(Option::take) {
            self.latency.record(now - sent);
        }
    }

    fn are_under_way(&self) -> bool {
        self.sent.iter().any(Option::is_some)
    }
}

/// The stalled clients, from the server's view.
struct Slow {
    /// The clients that do not read again yet.
    stalled: std::ops::Range<usize>,
    all: usize,
    asked: Instant,
    /// The number of clients closed as slow consumers, and the time of the first.
    count: usize,
    first: Option<Instant>,
    /// The number of members that read and were closed all the same.
    closed_before: usize,
}

impl Slow {
    fn new(stalled: std::ops::Range<usize>) -> Self {
        let all = stalled.len();
        Self { stalled, all, asked: Instant::now(), count: 0, first: None, closed_before: 0 }
    }

    /// Asks the server, and starts reading once it has closed the stalled clients.
    fn look(&mut self, clients: &mut Clients<'_>, control: usize, now: Instant) -> Outcome {
        if now - self.asked >= ASK_EVERY {
            self.asked = now;
            clients.send(control, &text_frame("slow"));
        }
        let due = self.first.is_some_and(|first| self.count >= self.all || now - first > GRACE);
        if due { self.resume(clients) } else { Ok(()) }
    }

    fn told(&mut self, reply: &[u8]) {
        let count = str::from_utf8(reply).ok().and_then(|text| text.parse().ok());
        self.count = count.unwrap_or(self.count);
        if self.count > 0 && self.first.is_none() {
            self.first = Some(Instant::now());
        }
    }

    fn resume(&mut self, clients: &mut Clients<'_>) -> Outcome {
        self.stalled.by_ref().take(RESUMED).try_for_each(|index| clients.resume(index))
    }

    /// Starts reading on all remaining clients.
    fn finish(&mut self, clients: &mut Clients<'_>) -> Outcome {
        self.stalled.by_ref().try_for_each(|index| clients.resume(index))
    }
}
