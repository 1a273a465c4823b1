// SPDX-License-Identifier: BSD-2-Clause
//! Wall clock time from the shared page.
//!
//! Xen writes the wall clock of the domain's start and, for each vCPU, a system time with the counter value that belongs to it. A
//! version on each side is odd while Xen writes and another one afterwards. Readers try a bounded number of times, so a page that
//! makes no sense ends in `None`, not in a loop.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use crate::evtchn::Hypervisor;

/// Reads until both versions agree: Xen writes for less than a microsecond.
const TRIES: usize = 1000;
/// Seconds from 1601 to 1970.
const EPOCH_1601: u64 = 11_644_473_600;

/// One consistent reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    seconds: u64,
    nanoseconds: u32,
    system_time: u64,
    timestamp: u64,
    mul: u32,
    shift: i8,
    tsc: u64,
}

impl Reading {
    /// Nanoseconds since the time stamp.
    fn delta(&self) -> u64 {
        // The counters of two processors may differ a little: never backwards.
        let ticks = self.tsc.saturating_sub(self.timestamp);
        let amount = u32::from(self.shift.unsigned_abs());
        let ticks = if self.shift < 0 {
            ticks.checked_shr(amount)
        } else {
            ticks.checked_shl(amount)
        };
        let product = u128::from(ticks.unwrap_or(0)) * u128::from(self.mul);
        (product >> 32) as u64
    }

    /// 100 ns units since 1601.
    fn time(&self) -> u64 {
        let seconds = u128::from(self.seconds) + u128::from(EPOCH_1601);
        let nanoseconds = seconds * 1_000_000_000
            + u128::from(self.nanoseconds)
            + u128::from(self.system_time)
            + u128::from(self.delta());
        u64::try_from(nanoseconds / 100).unwrap_or(u64::MAX)
    }
}

fn low(word: u64) -> u32 {
    (word & 0xFFFF_FFFF) as u32
}

/// 100 ns units since 1601, UTC or local as the emulated clock is; `None` when no consistent reading was to be had.
///
/// `cpu` is the processor that runs, whose record is used, `tsc` reads its counter behind all earlier loads.
///
/// # IRQL
/// Any; at DISPATCH_LEVEL at least no suspend comes in between.
pub fn now(host: &impl Hypervisor, cpu: u32, tsc: impl Fn() -> u64) -> Option<u64> {
    let vcpu = host.vcpu_info(cpu).or_else(|| host.vcpu_info(0))?;
    read(&host.shared_info().wallclock, &vcpu.time, tsc).map(|reading| reading.time())
}

fn read(
    wallclock: &[AtomicU32; 4],
    vcpu: &[AtomicU64; 4],
    tsc: impl Fn() -> u64,
) -> Option<Reading> {
    for _ in 0..TRIES {
        let versions = || {
            (
                wallclock[0].load(Ordering::Acquire),
                low(vcpu[0].load(Ordering::Acquire)),
            )
        };
        let before = versions();
        let seconds = u64::from(wallclock[1].load(Ordering::Acquire))
            | u64::from(wallclock[3].load(Ordering::Acquire)) << 32;
        let scale = vcpu[3].load(Ordering::Acquire);
        let reading = Reading {
            seconds,
            nanoseconds: wallclock[2].load(Ordering::Acquire),
            system_time: vcpu[2].load(Ordering::Acquire),
            timestamp: vcpu[1].load(Ordering::Acquire),
            mul: low(scale),
            shift: (scale >> 32).to_le_bytes()[0].cast_signed(),
            tsc: tsc(),
        };
        fence(Ordering::Acquire);
        if before == versions() && before.0 % 2 == 0 && before.1 % 2 == 0 {
            return Some(reading);
        }
        core::hint::spin_loop();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicUsize;

    fn page(
        seconds: u64,
        system_time: u64,
        timestamp: u64,
        mul: u32,
        shift: i8,
    ) -> ([AtomicU32; 4], [AtomicU64; 4]) {
        let scale = u64::from(mul) | u64::from(shift.cast_unsigned()) << 32;
        (
            [2, seconds as u32, 5, (seconds >> 32) as u32].map(AtomicU32::new),
            [4, timestamp, system_time, scale].map(AtomicU64::new),
        )
    }

    fn nanoseconds(page: &([AtomicU32; 4], [AtomicU64; 4]), tsc: u64) -> Option<u64> {
        read(&page.0, &page.1, || tsc).map(|reading| reading.delta())
    }

    #[test]
    fn the_counter_is_scaled_with_ninety_six_bits() {
        // 1 GHz: mul is 2^31 with a shift of 1.
        let clock = page(0, 0, 1000, 0x8000_0000, 1);
        assert_eq!(nanoseconds(&clock, 1500), Some(500));
        // A day: the product has more than 64 bits.
        let day = 86_400_000_000_000;
        assert_eq!(nanoseconds(&clock, 1000 + day), Some(day));
        // 4 GHz: mul 2^30, no shift; and the same with a negative one.
        assert_eq!(
            nanoseconds(&page(0, 0, 0, 0x4000_0000, 0), 4000),
            Some(1000)
        );
        assert_eq!(
            nanoseconds(&page(0, 0, 0, 0x8000_0000, -1), 4000),
            Some(1000)
        );
        // Behind the stamp, and shifts that no Xen gives.
        assert_eq!(nanoseconds(&clock, 999), Some(0));
        assert_eq!(nanoseconds(&page(0, 0, 0, 1, 127), 7), Some(0));
        assert_eq!(nanoseconds(&page(0, 0, 0, 1, -128), 7), Some(0));
    }

    #[test]
    fn time_counts_from_1601_and_knows_seconds_beyond_32_bits() {
        let clock = page(0, 7_000, 0, 0x8000_0000, 1);
        let read = |clock: &([AtomicU32; 4], [AtomicU64; 4])| {
            read(&clock.0, &clock.1, || 88).expect("even")
        };
        assert_eq!(
            read(&clock).time(),
            EPOCH_1601 * 10_000_000 + (5 + 7_000 + 88) / 100
        );
        let late = page(1 << 33, 0, 0, 0, 0);
        assert_eq!(read(&late).time(), (EPOCH_1601 + (1 << 33)) * 10_000_000);
    }

    #[test]
    fn a_version_that_stays_odd_gives_up_and_one_that_moves_is_read_again() {
        let clock = page(9, 0, 0, 0, 0);
        clock.0[0].store(3, Ordering::SeqCst);
        assert!(nanoseconds(&clock, 0).is_none());
        clock.0[0].store(2, Ordering::SeqCst);
        clock.1[0].store(5, Ordering::SeqCst);
        assert!(nanoseconds(&clock, 0).is_none());
        clock.1[0].store(4, Ordering::SeqCst);
        // Xen writes in the middle of the first two readings.
        let calls = AtomicUsize::new(0);
        let got = read(&clock.0, &clock.1, || {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            match call {
                0 => clock.0[0].store(4, Ordering::SeqCst),
                1 => clock.1[0].store(6, Ordering::SeqCst),
                _ => {}
            }
            clock.0[1].store(10 + call as u32, Ordering::SeqCst);
            0
        });
        // The third reading is whole: it sees what the second call left.
        assert_eq!(got.map(|reading| reading.seconds), Some(11));
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }
}
