// SPDX-License-Identifier: BSD-2-Clause
//! Numbers that follow from a seed (Steele and others, "Fast splittable pseudorandom number generators": SplitMix64).

/// Scrambles a number: each bit of the result depends on all of it.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A sequence.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of a worker.
    pub(crate) fn new(seed: u64, worker: u32) -> Self {
        Self(mix(seed ^ mix(u64::from(worker))))
    }

    /// The next number, below `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(1);
        let high = (mix(self.0) >> 32) * u64::from(bound.max(1));
        (high >> 32) as u32
    }
}
