// SPDX-License-Identifier: BSD-2-Clause
//! Processors by system-wide index.
#![expect(unsafe_code, reason = "calls the kernel")]

use super::sys;
use crate::{Passive, Result, Status};

const ALL_GROUPS: u16 = 0xFFFF;

/// Processors running now, over all groups.
///
/// # IRQL
/// Any.
#[must_use]
pub fn count() -> u32 {
    // SAFETY: no preconditions.
    unsafe { sys::KeQueryActiveProcessorCountEx(ALL_GROUPS) }
}

/// Upper bound of [`count`] for the life of the system: the size of per-processor arrays.
///
/// # IRQL
/// Any.
#[must_use]
pub fn max_count() -> u32 {
    // SAFETY: no preconditions.
    unsafe { sys::KeQueryMaximumProcessorCountEx(ALL_GROUPS) }
}

/// Index of this processor. Stable only while it cannot change: DISPATCH_LEVEL and above.
///
/// # IRQL
/// Any.
#[must_use]
pub fn current() -> u32 {
    // SAFETY: NULL means that the number is not wanted.
    unsafe { sys::KeGetCurrentProcessorNumberEx(core::ptr::null_mut()) }
}

/// Tells the processor that it waits in a loop.
///
/// # IRQL
/// Any.
pub fn relax() {
    sys::cpu_relax();
}

/// Group and number in the group of processor `index`.
///
/// # IRQL
/// Any.
pub fn number(index: u32) -> Result<(u16, u8)> {
    let mut number = sys::PROCESSOR_NUMBER::default();
    // SAFETY: a valid pointer.
    Status::check(unsafe { sys::KeGetProcessorNumberFromIndex(index, &mut number) })?;
    Ok((number.Group, number.Number))
}

/// Runs `call` on processor `index` in this thread, at PASSIVE_LEVEL.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn run_on<T>(_level: Passive, index: u32, call: impl FnOnce() -> T) -> Result<T> {
    let (group, number) = number(index)?;
    let mut wanted = sys::GROUP_AFFINITY {
        Mask: 1 << number,
        Group: group,
        Reserved: [0; 3],
    };
    let mut previous = sys::GROUP_AFFINITY {
        Mask: 0,
        Group: 0,
        Reserved: [0; 3],
    };
    // SAFETY: valid pointers; at PASSIVE_LEVEL the thread runs on the wanted processor when this returns.
    unsafe { sys::KeSetSystemGroupAffinityThread(&mut wanted, &mut previous) };
    let value = call();
    // SAFETY: what the call above returned.
    unsafe { sys::KeRevertToUserGroupAffinityThread(&mut previous) };
    Ok(value)
}

/// Runs `call(index)` on every processor in turn, at PASSIVE_LEVEL.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn on_each(level: Passive, mut call: impl FnMut(u32) -> Result) -> Result {
    (0..count()).try_for_each(|index| run_on(level, index, || call(index))?)
}
