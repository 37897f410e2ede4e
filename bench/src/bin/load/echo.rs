//! Every connection keeps a number of messages under way, and sends the next for each reply.

use crate::{
    Report,
    clients::{Clients, State},
    frames::{Template, number_of_reply},
    histogram::Histogram,
    meter::{LATENCY, Meter, Phase, add_latency},
    options::Options,
};
use bench::Outcome;
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A server that sends nothing for this long has failed.
const SILENCE: Duration = Duration::from_secs(5);

pub(crate) fn run(options: &Options) -> Outcome<Report> {
    let mut clients = Clients::new(options)?;
    clients.open_all()?;
    clients.ask_for(&options.beside_path, options.beside_replies);
    clients.open(options.beside)?;
    let mut senders = Senders::new(options);
    for _ in 0..options.connections {
        senders.begin(&mut clients, options.outstanding);
    }

    let mut meter = Meter::new(options);
    let mut histogram = Histogram::new();
    let mut replies = 0;
    let mut last = Instant::now();
    loop {
        let ready = clients.wait()?;
        match meter.phase() {
            Phase::Begin => (histogram, replies) = (Histogram::new(), 0),
            Phase::Going => {}
            Phase::End => break,
        }
        for index in ready {
            let now = Instant::now();
            if index >= options.connections {
                clients.receive(index, |_| ())?;
                continue;
            }
            let got = senders.receive(&mut clients, index, &mut histogram, now)?;
            if got > 0 {
                replies += got as u64;
                last = now;
                senders.send(&mut clients, index, got, now);
            }
        }
        if last.elapsed() > SILENCE {
            return Err("the server does not answer".into());
        }
    }
    let mut report = meter.report(replies);
    add_latency(&mut report, &histogram, LATENCY);
    report.insert("closed", clients.closed() as f64);
    Ok(report)
}

struct Senders {
    template: Template,
    /// The largest number of messages sent at once, as copies, if all messages are the same.
    copies: Option<Vec<u8>>,
    scratch: Vec<u8>,
    number: u64,
    /// For each connection, the number and the send time of each message under way.
    sent: Vec<VecDeque<(u64, Instant)>>,
    /// The offset of the id in a reply, if replies are matched by id.
    by_id: Option<usize>,
    /// For each connection, the number expected in its first reply.
    unverified: Vec<Option<u64>>,
}

impl Senders {
    fn new(options: &Options) -> Self {
        let template = Template::new(&options.message, options.size);
        Self {
            copies: template.constant().map(|frame| frame.repeat(options.outstanding)),
            template,
            scratch: Vec::new(),
            number: 0,
            sent: vec![VecDeque::with_capacity(options.outstanding); options.connections],
            by_id: options.by_id.then_some(0),
            unverified: Vec::with_capacity(options.connections),
        }
    }

    /// Sends the first messages of the next connection.
    fn begin(&mut self, clients: &mut Clients<'_>, messages: usize) {
        let first = if self.copies.is_some() { 0 } else { self.number + 1 };
        self.unverified.push(Some(first));
        self.send(clients, self.unverified.len() - 1, messages, Instant::now());
    }

    fn send(&mut self, clients: &mut Clients<'_>, index: usize, messages: usize, now: Instant) {
        let numbers = self.number + 1..=self.number + messages as u64;
        self.sent[index].extend(numbers.map(|number| (number, now)));
        if let (Some(copies), Some(frame)) = (&self.copies, self.template.constant()) {
            return clients.send(index, &copies[..frame.len() * messages]);
        }
        self.scratch.clear();
        for _ in 0..messages {
            self.number += 1;
            self.template.append(self.number, &mut self.scratch);
        }
        clients.send(index, &self.scratch);
    }

    /// Reads the available data, and returns the number of replies.
    fn receive(
        &mut self,
        clients: &mut Clients<'_>,
        index: usize,
        histogram: &mut Histogram,
        now: Instant,
    ) -> Outcome<usize> {
        let mut got = 0;
        let (mut wrong, mut unasked) = (false, false);
        clients.receive(index, |reply| {
            got += 1;
            if let Some(number) = self.unverified[index].take() {
                wrong = !self.template.is_in(reply, number);
            }
            let sent = &mut self.sent[index];
            let at = match &mut self.by_id {
                Some(hint) => number_of_reply(reply, hint)
                    .and_then(|answered| sent.iter().position(|(number, _)| *number == answered)),
                None => Some(0),
            };
            match at.and_then(|at| sent.remove(at)) {
                Some((_, sent)) => histogram.record(now - sent),
                None => unasked |= self.by_id.is_some(),
            }
        })?;
        if wrong {
            return Err("a reply does not contain the text sent".into());
        }
        if unasked {
            return Err("a reply matches no message under way".into());
        }
        if clients.state(index) == State::Closed {
            return Err("the server closed a connection".into());
        }
        Ok(got)
    }
}
