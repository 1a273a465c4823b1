// SPDX-License-Identifier: BSD-2-Clause
//! Counters of the processor, and those that only the test kernel has.

use core::ffi::c_void;
use core::ptr::NonNull;

use kexec::nt::WStr;
use kexec::nt::sys::{self, UNICODE_STRING};
use kexec::{Passive, wstr};

use crate::measure::{Counter, Probe};

/// Time stamp counter.
extern "C" fn clock() -> u64 {
    // SAFETY: every x64 processor has the counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// A routine of the kernel, by its export; `None` if it has none of that name.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn routine(name: WStr<'_>, _passive: Passive) -> Option<NonNull<c_void>> {
    let bytes = u16::try_from(name.units().len() * 2).ok()?;
    let mut string = UNICODE_STRING {
        Length: bytes,
        MaximumLength: bytes,
        Buffer: name.units().as_ptr().cast_mut(),
    };
    // SAFETY: a valid string, at PASSIVE_LEVEL.
    NonNull::new(unsafe { sys::MmGetSystemRoutineAddress(&mut string) })
}

/// A counter of the test kernel, by its export; `None` elsewhere.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[must_use]
pub fn counter(name: WStr<'_>, passive: Passive) -> Option<Counter> {
    let found = routine(name, passive)?;
    // SAFETY: no system but the test kernel exports these names, and there each is a function without arguments that returns
    // 64 bits.
    Some(unsafe { core::mem::transmute::<NonNull<c_void>, Counter>(found) })
}

impl Probe {
    /// Everything that can be counted here. `hypercalls` says how many there were so far, and event sends among them.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    #[must_use]
    pub fn find(hypercalls: fn() -> (u64, u64), passive: Passive) -> Self {
        Self {
            clock,
            busy: counter(wstr!("TestKernelBusyTicks"), passive),
            allocations: counter(wstr!("TestKernelPoolAllocations"), passive),
            hypercalls,
        }
    }
}
