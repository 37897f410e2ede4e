//! Durations, counted in buckets, each a sixty-fourth wide.

use std::time::Duration;

const BITS: u32 = 6;
const STEPS: u64 = 1 << BITS;

pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        let buckets = bucket(u64::MAX) + 1;
        Self { counts: vec![0; buckets], total: 0 }
    }

    pub(crate) fn record(&mut self, duration: Duration) {
        self.counts[bucket(duration.as_nanos() as u64)] += 1;
        self.total += 1;
    }

    /// Returns this quantile in microseconds, if there are any values.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Some(middle(bucket) as f64 / 1e3);
            }
        }
        None
    }
}

/// Returns the bucket of a value: values below 64 have one each; above, each doubling is divided into 64.
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - BITS;
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((STEPS + bucket % STEPS) << shift) + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_at_most_a_sixty_fourth_off() {
        for value in [0, 1, 63, 64, 65, 127, 128, 1000, 123_456_789, u64::MAX / 3] {
            let off = middle(bucket(value)).abs_diff(value);
            assert!(off <= value / STEPS, "{value} is off by {off}");
        }
    }

    #[test]
    fn quantiles_are_of_what_was_recorded() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=100).for_each(|number| histogram.record(Duration::from_micros(number)));
        assert!((histogram.quantile(0.5).unwrap() - 50.0).abs() < 1.0);
        assert!((histogram.quantile(0.99).unwrap() - 99.0).abs() < 1.6);
    }
}
