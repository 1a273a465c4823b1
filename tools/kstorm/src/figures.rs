// SPDX-License-Identifier: BSD-2-Clause
//! The least and the middle of some measurements.

use kexec::Result;
use kexec::nt::{Tag, Vec};

/// Measurements as they come.
#[derive(Debug)]
pub struct Figures(Vec<u64>);

impl Figures {
    /// Room for `count`.
    ///
    /// # Errors
    /// No memory.
    pub fn try_new(tag: Tag, count: usize) -> Result<Self> {
        Vec::try_with_capacity(tag, count).map(Self)
    }

    /// One more.
    ///
    /// # Errors
    /// No memory.
    pub fn push(&mut self, value: u64) -> Result {
        self.0.try_push(value)
    }

    /// The least, the median and the most; zeros without any.
    pub fn summary(&mut self) -> (u64, u64, u64) {
        self.0.sort_unstable();
        let middle = self.0.get(self.0.len() / 2);
        let ends = (self.0.first(), self.0.last());
        let or_zero = |value: Option<&u64>| value.copied().unwrap_or(0);
        (or_zero(ends.0), or_zero(middle), or_zero(ends.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_of_all_values_whatever_their_order() {
        let _session = kexec::nt::sys::fake::boot();
        let mut figures = Figures::try_new(Tag(*b"Test"), 3).expect("memory");
        assert_eq!(figures.summary(), (0, 0, 0));
        for value in [9, 1, 5] {
            figures.push(value).expect("memory");
        }
        assert_eq!(figures.summary(), (1, 5, 9));
    }
}
