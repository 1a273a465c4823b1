// SPDX-License-Identifier: BSD-2-Clause
//! The end of a run that hangs: a deadline that the clock interrupt of every CPU looks at, so a CPU that spins at
//! DISPATCH_LEVEL for ever is found too. It says where every CPU is and what every thread waits for.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::ke::fault::Place;
use crate::ke::{bugcheck, sched};
use crate::{arch, kprint};

static DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Gives the run `seconds` from now.
pub(crate) fn arm(seconds: u64) {
    DEADLINE.store(
        arch::interrupt_time() + seconds * 10_000_000,
        Ordering::Relaxed,
    );
}

/// The clock's part: `rip` and `irql` are what it interrupted.
pub(crate) fn clock(now: u64, rip: u64, irql: u8) {
    if now < DEADLINE.load(Ordering::Relaxed) {
        return;
    }
    bugcheck::freeze_others();
    crate::log::seize();
    let here = arch::cpu_number();
    kprint!("cpu {here} at {} irql {irql}", Place(rip));
    for cpu in (0..arch::cpu_count()).filter(|cpu| *cpu != here) {
        kprint!("cpu {cpu} at {}", Place(bugcheck::frozen_at(cpu)));
    }
    sched::dump();
    kprint!("failed timeout: the run did not end in time");
    arch::shutdown(false)
}
