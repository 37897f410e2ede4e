//! The measured time: its start and end, and the CPU time used in it.

use crate::{Report, histogram::Histogram, options::Options};
use bench::process::{CpuTime, ticks};
use std::time::{Duration, Instant};

pub(crate) struct Meter {
    server: u32,
    begin: Instant,
    time: Duration,
    readings: Option<Readings>,
}

#[derive(PartialEq, Eq)]
pub(crate) enum Phase {
    /// The end of the warm-up: earlier counts are dropped.
    Begin,
    Going,
    End,
}

impl Meter {
    pub(crate) fn new(options: &Options) -> Self {
        let begin = Instant::now() + options.warmup;
        Self { server: options.pid, begin, time: options.time, readings: None }
    }

    pub(crate) fn phase(&mut self) -> Phase {
        let now = Instant::now();
        match &self.readings {
            Some(readings) if now >= readings.at + self.time => Phase::End,
            None if now >= self.begin => {
                self.readings = Some(Readings::new(self.server));
                Phase::Begin
            }
            _ => Phase::Going,
        }
    }

    /// Returns the report of `operations` in the measured time.
    pub(crate) fn report(&self, operations: u64) -> Report {
        let now = Readings::new(self.server);
        let Some(then) = &self.readings else {
            return Report::new();
        };
        let seconds = (now.at - then.at).as_secs_f64();
        let server = now.server.since(&then.server);
        let operations = operations as f64;
        let kernel = then.ticks.zip(now.ticks).map(|(then, now)| {
            let (user, kernel) = (now.0 - then.0, now.1 - then.1);
            kernel as f64 / (user + kernel).max(1) as f64
        });
        Report::from([
            ("rate", operations / seconds),
            ("per_cpu_second", if server > 0.0 { operations / server } else { 0.0 }),
            ("cpu_us", if operations > 0.0 { server / operations * 1e6 } else { 0.0 }),
            ("server_share", server / seconds),
            ("kernel_share", kernel.unwrap_or(0.0)),
            ("load_share", now.load.since(&then.load) / seconds),
        ])
    }
}

struct Readings {
    at: Instant,
    server: CpuTime,
    load: CpuTime,
    ticks: Option<(u64, u64)>,
}

impl Readings {
    fn new(server: u32) -> Self {
        Self {
            at: Instant::now(),
            server: CpuTime::of(server),
            load: CpuTime::of(std::process::id()),
            ticks: ticks(server),
        }
    }
}

/// Adds these quantiles of the recorded values, if there are any.
pub(crate) fn add_latency<const N: usize>(
    report: &mut Report,
    histogram: &Histogram,
    shares: [(&'static str, f64); N],
) {
    let quantiles = shares.into_iter().filter_map(|(name, share)| Some((name, histogram.quantile(share)?)));
    report.extend(quantiles);
}

/// The names for round trips.
pub(crate) const LATENCY: [(&str, f64); 3] = [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)];
