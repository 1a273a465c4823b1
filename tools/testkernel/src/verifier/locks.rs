// SPDX-License-Identifier: BSD-2-Clause
//! Which spin locks each CPU holds for drivers. The number of them is in the per-CPU block where the import gate sees
//! it: a call below DISPATCH_LEVEL with a lock held is a violation whatever the call is.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::arch::{self, MAX_CPUS};
use crate::mem::Ptr;
use crate::verifier;

/// Offset of the count in the per-CPU block, known to the gate.
pub(crate) const COUNT: usize = 0x1008;
const DEPTH: usize = 16;

static HELD: [[AtomicUsize; DEPTH]; MAX_CPUS] =
    [const { [const { AtomicUsize::new(0) }; DEPTH] }; MAX_CPUS];

/// Number of locks that this CPU holds.
pub(crate) fn held() -> usize {
    arch::gs_read(COUNT) as usize
}

fn position(lock: Ptr) -> Option<usize> {
    let held_here = &HELD[arch::cpu_number()];
    (0..held().min(DEPTH))
        .rev()
        .find(|i| held_here[*i].load(Ordering::Relaxed) == lock.0)
}

/// Before spinning: taking a lock that this CPU holds would never end.
pub(crate) fn about_to_acquire(lock: Ptr) {
    if position(lock).is_some() {
        verifier::fail(
            "lock_recursive",
            format_args!("spin lock {lock} is held by this CPU already"),
        );
    }
}

/// The lock is held now.
pub(crate) fn acquired(lock: Ptr) {
    let enabled = arch::disable_interrupts();
    let count = held();
    if count == DEPTH {
        verifier::failed(
            "verifier",
            format_args!("more than {DEPTH} spin locks are held on a CPU"),
        );
    }
    HELD[arch::cpu_number()][count].store(lock.0, Ordering::Relaxed);
    arch::gs_write(COUNT, count as u64 + 1);
    arch::restore_interrupts(enabled);
}

/// The lock is about to be released.
pub(crate) fn released(lock: Ptr) {
    let enabled = arch::disable_interrupts();
    let Some(i) = position(lock) else {
        verifier::fail(
            "lock_not_held",
            format_args!("spin lock {lock} is not held by this CPU"),
        );
    };
    let held_here = &HELD[arch::cpu_number()];
    let count = held();
    for j in i..count - 1 {
        let next = held_here[j + 1].load(Ordering::Relaxed);
        held_here[j].store(next, Ordering::Relaxed);
    }
    arch::gs_write(COUNT, count as u64 - 1);
    arch::restore_interrupts(enabled);
}

/// The locks that a CPU holds: this one, or one that stands still.
pub(crate) fn of(cpu: usize) -> impl Iterator<Item = usize> {
    let held: u64 = arch::cpu_of(cpu).block.get(COUNT);
    let held = (held as usize).min(DEPTH);
    HELD[cpu][..held].iter().map(|l| l.load(Ordering::Relaxed))
}

/// A lock of this CPU in the range, for the check of freed memory.
pub(crate) fn held_in(start: Ptr, len: usize) -> Option<Ptr> {
    of(arch::cpu_number())
        .map(Ptr)
        .find(|l| (start.0..start.0 + len).contains(&l.0))
}

/// No lock may be held at this point.
pub(crate) fn check_none_held(where_: &str) {
    if held() != 0 {
        let lock = HELD[arch::cpu_number()][0].load(Ordering::Relaxed);
        verifier::fail(
            "lock_held",
            format_args!("spin lock {lock:#x} is held at {where_}"),
        );
    }
}

/// Below DISPATCH_LEVEL no lock may be held.
pub(crate) fn check_none_held_below_dispatch() {
    if arch::irql() < crate::ke::irql::DISPATCH {
        check_none_held("a wait");
    }
}
