// SPDX-License-Identifier: BSD-2-Clause
//! Instructions: CPUID, the hypercall, port I/O.
//!
//! CPUID is the only one of them that runs before Xen is found.

use core::arch::asm;
use core::arch::x86_64::__cpuid_count;

use crate::detect::{Cpuid, Instruction, Leaf};
use crate::unplug::Ports;

/// The processor that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Processor;

impl Cpuid for Processor {
    fn read(&self, leaf: u32, subleaf: u32) -> Leaf {
        #[allow(
            unused_unsafe,
            reason = "the intrinsic became safe in a later compiler"
        )]
        // SAFETY: every x86-64 processor has CPUID, and it changes nothing but its outputs.
        let result = unsafe { __cpuid_count(leaf, subleaf) };
        Leaf {
            eax: result.eax,
            ebx: result.ebx,
            ecx: result.ecx,
            edx: result.edx,
        }
    }
}

/// Calls Xen.
///
/// Xen preserves all registers but RAX; its debug builds fill the argument registers with rubbish.
/// Bit 31 of the number stays clear, else a Viridian domain would take it for a call to Hyper-V.
///
/// # Safety
/// Xen was found by [`crate::detect::find`] and wants this instruction; the processor is at privilege
/// level 0; addresses among the arguments are those of valid argument structures of the operation.
pub(super) unsafe fn hypercall(
    instruction: Instruction,
    number: u32,
    first: u64,
    second: u64,
    third: u64,
) -> i64 {
    let result;
    match instruction {
        // SAFETY: by the contract; memory is clobbered, the flags too.
        Instruction::Vmcall => unsafe {
            asm!("vmcall", inlateout("rax") u64::from(number) => result,
                inlateout("rdi") first => _, inlateout("rsi") second => _,
                inlateout("rdx") third => _, out("r8") _, out("r9") _, out("r10") _,
                options(nostack));
        },
        // SAFETY: as above.
        Instruction::Vmmcall => unsafe {
            asm!("vmmcall", inlateout("rax") u64::from(number) => result,
                inlateout("rdi") first => _, inlateout("rsi") second => _,
                inlateout("rdx") third => _, out("r8") _, out("r9") _, out("r10") _,
                options(nostack));
        },
    }
    result
}

/// Ports of the Xen platform device and of Xen's console. Made only after Xen was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct XenPorts(());

impl XenPorts {
    /// The ports.
    ///
    /// # Safety
    /// Xen was found, so ports 0x10 to 0x13 are the platform device's or nobody's and port 0xE9 is
    /// Xen's console; the processor is at privilege level 0.
    pub(super) unsafe fn new() -> Self {
        Self(())
    }

    /// Writes bytes to one port.
    pub(super) fn write_bytes(self, port: u16, bytes: &[u8]) {
        // SAFETY: the port is one of those of the type's contract; the bytes are only read. The
        // direction flag is clear by the calling convention.
        unsafe {
            asm!("rep outsb", inout("rsi") bytes.as_ptr() => _, inout("rcx") bytes.len() => _,
                in("dx") port, options(nostack, preserves_flags, readonly));
        }
    }
}

impl Ports for XenPorts {
    fn read8(&self, port: u16) -> u8 {
        let value;
        // SAFETY: reading these ports has no effect on memory.
        unsafe {
            asm!("in al, dx", out("al") value, in("dx") port,
                options(nomem, nostack, preserves_flags));
        }
        value
    }

    fn read16(&self, port: u16) -> u16 {
        let value;
        // SAFETY: as above.
        unsafe {
            asm!("in ax, dx", out("ax") value, in("dx") port,
                options(nomem, nostack, preserves_flags));
        }
        value
    }

    fn write16(&self, port: u16, value: u16) {
        // SAFETY: the device model takes devices away, which their users agreed to; no memory.
        unsafe {
            asm!("out dx, ax", in("dx") port, in("ax") value,
                options(nomem, nostack, preserves_flags));
        }
    }

    fn write32(&self, port: u16, value: u32) {
        // SAFETY: as above.
        unsafe {
            asm!("out dx, eax", in("dx") port, in("eax") value,
                options(nomem, nostack, preserves_flags));
        }
    }
}

/// The guest physical address of this process's page tables.
pub(super) fn page_tables() -> u64 {
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    let value: u64;
    // SAFETY: reads a register, at privilege level 0: only a notification of the kernel's calls it.
    unsafe {
        asm!("mov {}, cr3", out(reg) value, options(nomem, nostack, preserves_flags));
    }
    value & ADDRESS
}

/// Is this privilege level 0?
pub(super) fn kernel_mode() -> bool {
    let selector: u16;
    // SAFETY: reads a register, at any privilege.
    unsafe {
        asm!("mov {0:x}, cs", out(reg) selector, options(nomem, nostack, preserves_flags));
    }
    selector & 3 == 0
}
