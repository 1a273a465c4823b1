// SPDX-License-Identifier: BSD-2-Clause
//! What the storms ask of the kernel under test.

use kexec::nt::wdm::DevicePtr;

/// The test kernel's functions, and a device to connect interrupts for.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Raises the test interrupt on a processor. Any IRQL.
    pub raise: fn(u32),
    /// Vector of the test interrupt.
    pub vector: u32,
    /// Time stamp counter.
    pub clock: fn() -> u64,
    /// Measures DPC routines from here on.
    pub measure: fn(),
    /// A figure about DPC routines.
    pub figure: fn(u32) -> u64,
    /// The device whose interrupt it is.
    pub device: DevicePtr,
}
