// SPDX-License-Identifier: BSD-2-Clause
//! What both NT back ends share: the budget's clock, and waiting for a core to empty.

use super::{Core, Platform};
use crate::Passive;

/// Microseconds from the performance counter.
pub(super) fn micros() -> u64 {
    let (now, frequency) = crate::nt::time::performance_counter();
    if frequency == 10_000_000 {
        return now / 10;
    }
    // Frequencies are below 2^33 and counters below 2^55 for years of uptime: split so that nothing overflows.
    let frequency = frequency.max(1);
    (now / frequency) * 1_000_000 + (now % frequency) * 1_000_000 / frequency
}

/// Waits, driving with `drive`, until `core` is empty: bounded by 5,000 pauses of about a millisecond.
pub(super) fn drain<P: Platform>(level: Passive, core: &Core<P>, drive: impl Fn()) {
    for _ in 0..5_000 {
        drive();
        if core.is_empty() {
            return;
        }
        crate::nt::pause(level);
    }
    core.for_each_task(|task| {
        crate::error!("kexec: leak, {task}");
    });
    panic!(
        "executor stopped with {} task blocks referenced",
        core.blocks()
    );
}
