//! Each client connects, sends one message, waits for the reply, closes, and starts over.

use crate::{
    Report,
    clients::{Clients, State},
    frames::{Template, close_frame},
    histogram::Histogram,
    meter::{LATENCY, Meter, Phase, add_latency},
    options::Options,
};
use bench::Outcome;
use std::time::Instant;

pub(crate) fn run(options: &Options) -> Outcome<Report> {
    let mut clients = Clients::new(options)?;
    let mut places = Vec::new();
    for index in 0..options.connections {
        places.push(Place::begin(&mut clients, index)?);
    }
    let template = Template::new(&options.message, options.size);
    let mut meter = Meter::new(options);
    let mut histogram = Histogram::new();
    let (mut done, mut failed) = (0, 0);
    loop {
        let ready = clients.wait()?;
        match meter.phase() {
            Phase::Begin => (histogram, done, failed) = (Histogram::new(), 0, 0),
            Phase::Going => {}
            Phase::End => break,
        }
        for index in ready {
            let place = &mut places[index];
            place.receive(&mut clients, index, &template)?;
            if clients.state(index) != State::Closed {
                continue;
            }
            match place.step {
                Step::Closing => {
                    histogram.record(place.began.elapsed());
                    done += 1;
                }
                _ => failed += 1,
            }
            *place = Place::begin(&mut clients, index)?;
        }
    }
    let mut report = meter.report(done);
    add_latency(&mut report, &histogram, LATENCY);
    report.insert("failed", f64::from(failed));
    Ok(report)
}

struct Place {
    began: Instant,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Connecting,
    Asking,
    Closing,
}

impl Place {
    fn begin(clients: &mut Clients<'_>, index: usize) -> Outcome<Self> {
        let began = Instant::now();
        clients.connect(index)?;
        Ok(Self { began, step: Step::Connecting })
    }

    fn receive(&mut self, clients: &mut Clients<'_>, index: usize, template: &Template) -> Outcome {
        let mut right = true;
        let mut replies = 0;
        clients.receive(index, |reply| {
            replies += 1;
            right &= template.is_in(reply, 0);
        })?;
        if !right {
            return Err("a reply does not contain the text sent".into());
        }
        match self.step {
            Step::Connecting if clients.state(index) == State::Open => {
                clients.send_message(index, template, 0);
                self.step = Step::Asking;
            }
            Step::Asking if replies > 0 => {
                clients.send(index, &close_frame());
                self.step = Step::Closing;
            }
            _ => {}
        }
        Ok(())
    }
}
