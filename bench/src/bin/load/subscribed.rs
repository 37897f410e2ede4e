//! One connection with many subscriptions, one of which may be saturated, makes one call after the other.

use crate::{
    Report,
    clients::{Clients, State},
    frames::{Template, number_of_reply, text_frame},
    histogram::Histogram,
    meter::{LATENCY, Meter, Phase, add_latency},
    options::Options,
};
use bench::Outcome;
use std::time::{Duration, Instant};

/// A server that sends nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(options: &Options) -> Outcome<Report> {
    // All messages are inspected here: results and items.
    let all = Options { prefix: String::new(), ..options.clone() };
    let mut clients = Clients::new(&all)?;
    clients.open_all()?;
    let mut subscriber = Subscriber::new(options);
    subscriber.subscribe(&mut clients);
    subscriber.call(&mut clients);

    let mut meter = Meter::new(options);
    loop {
        let ready = clients.wait()?;
        match meter.phase() {
            Phase::Begin => subscriber.tally = Tally::new(),
            Phase::Going => {}
            Phase::End => break,
        }
        if !ready.is_empty() {
            subscriber.receive(&mut clients)?;
        }
        if subscriber.called.elapsed() > SILENCE {
            return Err("the server does not answer".into());
        }
    }
    let tally = &subscriber.tally;
    if options.ticks && tally.items == 0 {
        return Err("the saturated subscription sends nothing".into());
    }
    let mut report = meter.report(tally.calls);
    let items = tally.items as f64 / tally.begin.elapsed().as_secs_f64();
    report.insert("items", items);
    add_latency(&mut report, &tally.histogram, LATENCY);
    Ok(report)
}

struct Subscriber<'a> {
    options: &'a Options,
    template: Template,
    /// The number of the current call.
    number: u64,
    called: Instant,
    /// The offset of the id in a result.
    hint: usize,
    /// The items received since the last grant.
    read: usize,
    tally: Tally,
}

struct Tally {
    begin: Instant,
    calls: u64,
    items: u64,
    histogram: Histogram,
}

impl<'a> Subscriber<'a> {
    fn new(options: &'a Options) -> Self {
        Self {
            options,
            template: Template::new(&options.message, options.size),
            number: 0,
            called: Instant::now(),
            hint: 0,
            read: 0,
            tally: Tally::new(),
        }
    }

    fn subscribe(&self, clients: &mut Clients<'_>) {
        let quiet = self.options.subscriptions - usize::from(self.options.ticks);
        for number in 0..quiet {
            let frame = format!(r#"{{"type":"subscribe","id":"q{number}","path":"quiet"}}"#);
            clients.send(0, &text_frame(&frame));
        }
        if self.options.ticks {
            let credit = self.options.credit.map_or_else(String::new, |credit| format!(r#","credit":{credit}"#));
            let frame = format!(r#"{{"type":"subscribe","id":"s1","path":"ticks"{credit}}}"#);
            clients.send(0, &text_frame(&frame));
        }
    }

    fn call(&mut self, clients: &mut Clients<'_>) {
        self.number += 1;
        self.called = Instant::now();
        clients.send_message(0, &self.template, self.number);
    }

    fn receive(&mut self, clients: &mut Clients<'_>) -> Outcome {
        let now = Instant::now();
        let (mut answered, mut items, mut wrong) = (false, 0, None);
        clients.receive(0, |frame| {
            if frame.starts_with(ITEM) {
                items += 1;
            } else if frame.starts_with(RESULT) {
                answered = number_of_reply(frame, &mut self.hint) == Some(self.number)
                    && (self.number > 1 || self.template.is_in(frame, self.number));
            } else {
                wrong = Some(String::from_utf8_lossy(frame).into_owned());
            }
        })?;
        if let Some(wrong) = wrong {
            return Err(format!("a request failed: {wrong}").into());
        }
        if clients.state(0) == State::Closed {
            return Err("the server closed the connection".into());
        }
        self.tally.items += items as u64;
        self.grant(clients, items);
        if answered {
            self.tally.calls += 1;
            self.tally.histogram.record(now - self.called);
            self.call(clients);
        }
        Ok(())
    }

    /// Grants half of the credit after this many items.
    fn grant(&mut self, clients: &mut Clients<'_>, items: usize) {
        let Some(credit) = self.options.credit else { return };
        let more = credit / 2;
        self.read += items;
        while self.read >= more {
            self.read -= more;
            clients.send(0, &text_frame(&format!(r#"{{"type":"credit","id":"s1","more":{more}}}"#)));
        }
    }
}

const ITEM: &[u8] = br#"{"type":"data""#;
const RESULT: &[u8] = br#"{"type":"result""#;

impl Tally {
    fn new() -> Self {
        Self { begin: Instant::now(), calls: 0, items: 0, histogram: Histogram::new() }
    }
}
