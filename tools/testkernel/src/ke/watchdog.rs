// SPDX-License-Identifier: BSD-2-Clause
//! The end of a run that hangs: a deadline that the clock interrupt of every CPU looks at, so a CPU that spins at
//! DISPATCH_LEVEL for ever is found too. It says where every CPU is and what every thread waits for.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::{self, Frame};
use crate::ke::fault::{self, Place};
use crate::ke::{bugcheck, sched};
use crate::kprint;
use crate::mem::Ptr;
use crate::verifier::locks;

static DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Gives the run `seconds` from now.
pub(crate) fn arm(seconds: u64) {
    DEADLINE.store(
        arch::interrupt_time() + seconds * 10_000_000,
        Ordering::Relaxed,
    );
}

/// The clock's part: `frame` and `irql` are what it interrupted.
pub(crate) fn clock(now: u64, frame: &Frame, irql: u8) {
    if now < DEADLINE.load(Ordering::Relaxed) {
        return;
    }
    look(frame, irql);
    kprint!("failed timeout: the run did not end in time");
    arch::shutdown(false)
}

/// Stops the other CPUs and says where each of them is, with its stack and its locks, and what every thread waits for.
pub(super) fn look(frame: &Frame, irql: u8) {
    bugcheck::freeze_others();
    crate::log::seize();
    let here = arch::cpu_number();
    for cpu in 0..arch::cpu_count() {
        let (rip, rsp) = if cpu == here {
            (frame.rip, frame.rsp)
        } else {
            bugcheck::frozen_at(cpu)
        };
        kprint!("cpu {cpu} at {}", Place(rip));
        if cpu == here {
            kprint!("  irql {irql}");
        }
        for lock in locks::of(cpu) {
            kprint!("  holds the lock {lock:#x}");
        }
        if rsp != 0 {
            fault::backtrace(Ptr(rsp as usize));
        }
    }
    sched::dump();
}
