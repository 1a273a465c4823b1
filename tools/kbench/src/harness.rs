// SPDX-License-Identifier: BSD-2-Clause
//! Paired measuring: every round times one batch of each contender, one right after the other and starting with another one each
//! time, so that what slows the machine down slows them all. What is reported are medians over the rounds, of times and of the
//! ratios within a round, with the 10th and 90th percentile as the spread.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Rounds of each case.
    pub(crate) rounds: usize,
    /// Aimed-at time of one batch.
    pub(crate) batch: Duration,
}

impl Effort {
    /// What the figures in the documentation were measured with.
    pub(crate) const FULL: Self = Self {
        rounds: 401,
        batch: Duration::from_micros(100),
    };
    /// Only shows that everything runs.
    pub(crate) const SMOKE: Self = Self {
        rounds: 2,
        batch: Duration::from_micros(1),
    };
}

/// One workload on one executor.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Makes at least `n` operations; how many.
    pub(crate) run: Box<dyn FnMut(usize) -> usize>,
}

impl Contender {
    pub(crate) fn new(name: &'static str, run: impl FnMut(usize) -> usize + 'static) -> Self {
        let run = Box::new(run);
        Self { name, run }
    }

    /// Nanoseconds of one of `n` operations.
    fn time(&mut self, n: usize) -> f64 {
        let begin = Instant::now();
        let done = (self.run)(n);
        begin.elapsed().as_nanos() as f64 / done as f64
    }
}

/// The value below which `percent` of `samples` lie.
fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Measures `contenders`, of which the first is the one that the others' ratios are for; one row each.
pub(crate) fn measure(case: &str, effort: Effort, mut contenders: Vec<Contender>) -> Vec<Value> {
    // The batch is the same for all: as many operations as the first makes in the aimed-at time.
    let mut n = 16;
    while n < 1 << 24 {
        let nanos = (0..3)
            .map(|_| contenders[0].time(n) * n as f64)
            .fold(f64::MAX, f64::min);
        if nanos >= effort.batch.as_nanos() as f64 {
            break;
        }
        n *= 2;
    }
    let count = contenders.len();
    let mut times = vec![Vec::new(); count];
    for round in 0..effort.rounds {
        for turn in 0..count {
            let who = (round + turn) % count;
            // The last contender has emptied the caches.
            contenders[who].time(n / 8 + 1);
            times[who].push(contenders[who].time(n));
        }
    }
    let rows = contenders.iter().zip(&times).map(|(contender, samples)| {
        let ratios: Vec<_> = times[0].iter().zip(samples).map(|(a, b)| a / b).collect();
        json!({
            "case": case,
            "on": contender.name,
            "ns": percentile(samples, 50),
            "low": percentile(samples, 10),
            "high": percentile(samples, 90),
            "min": percentile(samples, 0),
            "ratio": percentile(&ratios, 50),
            "ratio_low": percentile(&ratios, 10),
            "ratio_high": percentile(&ratios, 90),
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_taken_from_sorted_samples() {
        let samples = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(
            [0, 50, 90, 100].map(|percent| percentile(&samples, percent)),
            [1.0, 3.0, 4.0, 5.0]
        );
    }

    #[test]
    fn every_contender_of_a_round_makes_the_same_number_of_operations() {
        use std::{cell::RefCell, rc::Rc};
        let made = Rc::new(RefCell::new([0; 2]));
        let contenders = [0, 1].map(|index| {
            let made = made.clone();
            Contender::new(["a", "b"][index], move |n| {
                made.borrow_mut()[index] += n;
                n
            })
        });
        let effort = Effort {
            rounds: 5,
            batch: Duration::ZERO,
        };
        let rows = measure("case", effort, contenders.into());
        assert_eq!(rows.len(), 2);
        let made = *made.borrow();
        assert_eq!(made[0] - made[1], 3 * 16, "but for the calibration");
    }
}
