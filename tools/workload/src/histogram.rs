// SPDX-License-Identifier: BSD-2-Clause
//! Durations of many operations in little room: 16 buckets for each power of two, so a percentile is at most 1/16 too large.

use core::sync::atomic::{AtomicU32, Ordering};

/// Buckets below a power of two.
const FINE: usize = 16;
const FINE_BITS: u32 = 4;
/// Largest power of two that is told apart: 2^47 ticks are days.
const POWERS: usize = 44;
/// Numbers that one histogram takes.
pub const BUCKETS: usize = FINE * POWERS;

fn bucket(value: u64) -> usize {
    if value < FINE as u64 {
        return value as usize;
    }
    let power = value.ilog2();
    let within = (value >> (power - FINE_BITS)) as usize - FINE;
    ((power - FINE_BITS + 1) as usize * FINE + within).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn ceiling(bucket: usize) -> u64 {
    let (power, within) = (bucket / FINE, (bucket % FINE) as u64);
    if power == 0 {
        return within;
    }
    ((FINE as u64 + within + 1) << (power - 1)) - 1
}

/// A histogram in somebody's memory, of [`BUCKETS`] numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Histogram<'a>(pub(crate) &'a [AtomicU32]);

impl Histogram<'_> {
    pub(crate) fn record(self, value: u64) {
        if let Some(bucket) = self.0.get(bucket(value)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count(self) -> u64 {
        self.counts().sum()
    }

    fn counts(self) -> impl Iterator<Item = u64> {
        self.0
            .iter()
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
    }

    /// The value that `percent` of all do not exceed, up to the width of a bucket.
    pub(crate) fn percentile(self, percent: u64) -> u64 {
        let wanted = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts().enumerate() {
            seen += count;
            if seen >= wanted {
                return ceiling(bucket);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn every_value_lies_in_the_bucket_whose_ceiling_is_next() {
        for value in (0..5000).chain([1 << 20, (1 << 20) + 77_777, (1 << 40) - 1]) {
            let at = bucket(value);
            assert!(ceiling(at) >= value, "{value}");
            assert!(at == 0 || ceiling(at - 1) < value, "{value}");
            assert!(ceiling(at) as f64 <= value as f64 * 1.0626 + 1.0, "{value}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let memory: Vec<AtomicU32> = (0..BUCKETS).map(|_| AtomicU32::new(0)).collect();
        let histogram = Histogram(&memory);
        assert_eq!(histogram.percentile(50), 0);
        for value in 1..=100 {
            histogram.record(value);
        }
        assert_eq!(histogram.count(), 100);
        assert_eq!(histogram.percentile(10), 10);
        assert_eq!(histogram.percentile(50), 51);
        assert_eq!(histogram.percentile(100), 103);
    }
}
