//! Every connection is a member; the first publishes, and publishes again once all members have the message.

use crate::{
    Report,
    clients::{Clients, State},
    frames::{Numbers, Template},
    histogram::Histogram,
    meter::{LATENCY, Meter, Phase, add_latency},
    options::Options,
};
use bench::Outcome;
use std::time::{Duration, Instant};

/// The silence after which missing messages count as lost.
const SILENCE: Duration = Duration::from_secs(3);
/// The number of calls to the members before the load begins, and the time that they have to hear one.
const CALLS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &Options) -> Outcome<Report> {
    let mut clients = Clients::new(options)?;
    clients.open_all()?;
    gather(&mut clients, options)?;
    let mut room = Room::new(options);
    let mut meter = Meter::new(options);
    loop {
        room.publish(&mut clients);
        let ready = clients.wait()?;
        match meter.phase() {
            Phase::Begin => room.tally = Tally::new(),
            Phase::Going => {}
            Phase::End => break,
        }
        for index in ready {
            room.receive(&mut clients, index)?;
        }
        room.give_up();
    }
    let mut report = meter.report(room.tally.deliveries);
    add_latency(&mut report, &room.tally.each, LATENCY);
    add_latency(&mut report, &room.tally.last, [("last_p50_us", 0.5), ("last_p99_us", 0.99)]);
    report.insert("lost", room.tally.lost as f64);
    report.insert("late", room.tally.late as f64);
    Ok(report)
}

/// Publishes until each member has received something: membership may begin after the handshake.
pub(crate) fn gather(clients: &mut Clients<'_>, options: &Options) -> Outcome {
    let template = Template::new(&options.message, options.size);
    let mut heard = vec![false; options.connections];
    for _ in 0..CALLS {
        clients.send_message(0, &template, 0);
        let called = Instant::now();
        while heard.contains(&false) && called.elapsed() < PATIENCE {
            for index in clients.wait()? {
                clients.receive(index, |_| heard[index] = true)?;
            }
        }
        if !heard.contains(&false) {
            return Ok(());
        }
    }
    let deaf = heard.iter().filter(|heard| !**heard).count();
    Err(format!("{deaf} of {} members receive no publications", heard.len()).into())
}

struct Room {
    template: Template,
    members: usize,
    /// The number of the last message.
    number: u64,
    /// A slot for each message that may be under way.
    places: Vec<Published>,
    numbers: Numbers,
    progress: Instant,
    tally: Tally,
}

struct Published {
    number: u64,
    at: Instant,
    /// The number of members that do not have it yet. The slot is free at 0.
    left: usize,
}

struct Tally {
    deliveries: u64,
    lost: u64,
    /// The number of messages that arrived after they were given up.
    late: u64,
    /// The time until each member has a message.
    each: Histogram,
    /// The time until the last member has a message.
    last: Histogram,
}

impl Room {
    fn new(options: &Options) -> Self {
        let free = || Published { number: 0, at: Instant::now(), left: 0 };
        Self {
            template: Template::new(&options.message, options.size),
            members: options.connections,
            number: 0,
            places: (0..options.outstanding).map(|_| free()).collect(),
            numbers: Numbers::default(),
            progress: Instant::now(),
            tally: Tally::new(),
        }
    }

    /// Publishes a message for each free slot.
    fn publish(&mut self, clients: &mut Clients<'_>) {
        for place in self.places.iter_mut().filter(|place| place.left == 0) {
            self.number += 1;
            *place = Published { number: self.number, at: Instant::now(), left: self.members };
            clients.send_message(0, &self.template, self.number);
        }
    }

    fn receive(&mut self, clients: &mut Clients<'_>, index: usize) -> Outcome {
        let now = Instant::now();
        let mut right = true;
        clients.receive(index, |message| right &= self.deliver(message, now))?;
        if !right {
            return Err("a message does not contain the text published".into());
        }
        if clients.state(index) == State::Closed {
            return Err("the server closed the connection of a member".into());
        }
        Ok(())
    }

    /// Counts the message. Returns true if it is one of those published.
    fn deliver(&mut self, message: &[u8], now: Instant) -> bool {
        let Some(number) = self.numbers.read(message, &self.template) else {
            return false;
        };
        let Some(place) = self.places.iter_mut().find(|place| place.left > 0 && place.number == number) else {
            self.tally.late += 1;
            return true;
        };
        place.left -= 1;
        self.progress = now;
        self.tally.deliveries += 1;
        self.tally.each.record(now - place.at);
        if place.left == 0 {
            self.tally.last.record(now - place.at);
        }
        true
    }

    /// Frees the slots of lost messages.
    fn give_up(&mut self) {
        if self.progress.elapsed() < SILENCE {
            return;
        }
        for place in &mut self.places {
            self.tally.lost += place.left as u64;
            place.left = 0;
        }
        self.progress = Instant::now();
    }
}

impl Tally {
    fn new() -> Self {
        Self { deliveries: 0, lost: 0, late: 0, each: Histogram::new(), last: Histogram::new() }
    }
}
