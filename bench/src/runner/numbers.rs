//! The measured values of all rounds.

use super::{cases::Case, servers::Server};
use std::collections::BTreeMap;

/// One run of the load: values by name.
pub(crate) type Sample = BTreeMap<String, f64>;

/// Returns the cases that share a table.
pub(crate) fn groups(report: &[Measured]) -> impl Iterator<Item = &[Measured]> {
    report.chunk_by(|a, b| a.case.is_beside(&b.case))
}

pub(crate) struct Measured {
    pub(crate) case: Case,
    /// The servers with their rounds.
    pub(crate) servers: Vec<(Server, Rounds)>,
}

#[derive(Default)]
pub(crate) struct Rounds {
    samples: Vec<Sample>,
    pub(crate) failures: Vec<String>,
}

impl Measured {
    pub(crate) fn new(case: Case) -> Self {
        Self { case, servers: Vec::new() }
    }

    pub(crate) fn add(&mut self, server: Server, sample: Result<Sample, String>) {
        let known = self.servers.iter().position(|(known, _)| *known == server);
        let index = known.unwrap_or(self.servers.len());
        if known.is_none() {
            self.servers.push((server, Rounds::default()));
        }
        let rounds = &mut self.servers[index].1;
        match sample {
            Ok(sample) => rounds.samples.push(sample),
            Err(error) => rounds.failures.push(error),
        }
    }

    pub(crate) fn of(&self, name: &str) -> Option<&Rounds> {
        self.servers.iter().find(|(server, _)| server.name == name).map(|(_, rounds)| rounds)
    }
}

impl Rounds {
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        let values = self.sorted(name);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(values[middle]),
            _ => Some((values[middle - 1] + values[middle]) / 2.0),
        }
    }

    /// Returns the difference of maximum and minimum, as a share of the median.
    pub(crate) fn spread(&self, name: &str) -> Option<f64> {
        let values = self.sorted(name);
        let median = self.median(name).filter(|median| *median != 0.0)?;
        Some((values.last()? - values.first()?) / median)
    }

    fn sorted(&self, name: &str) -> Vec<f64> {
        let mut values: Vec<f64> = self.samples.iter().filter_map(|sample| sample.get(name).copied()).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads() {
        let samples = |values: &[f64]| {
            let samples = values.iter().map(|value| Sample::from([("rate".to_owned(), *value)]));
            Rounds { samples: samples.collect(), failures: Vec::new() }
        };
        assert_eq!(samples(&[3.0, 1.0, 2.0]).median("rate"), Some(2.0));
        assert_eq!(samples(&[3.0, 1.0]).median("rate"), Some(2.0));
        assert_eq!(samples(&[3.0, 1.0, 2.0]).spread("rate"), Some(1.0));
        assert_eq!(samples(&[]).median("rate"), None);
        assert_eq!(samples(&[0.0]).spread("rate"), None);
    }
}
