// SPDX-License-Identifier: BSD-2-Clause
//! The little that the kernel itself needs of the hypervisor: detection and the end of the run. Without Xen (plain
//! QEMU) the run ends through the debug exit port.

use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use super::asm as insn;

const UNKNOWN: u32 = 0;
const ABSENT: u32 = 1;
static BASE: AtomicU32 = AtomicU32::new(UNKNOWN);

/// The base of Xen's CPUID leaves.
pub(super) fn leaves() -> Option<u32> {
    if BASE.load(Ordering::Relaxed) == UNKNOWN {
        let found = (0x4000_0000u32..0x4001_0000)
            .step_by(0x100)
            .find(|base| insn::cpuid(*base, 0)[1..] == [0x566e_6558, 0x6558_4d4d, 0x4d4d_566e]);
        BASE.store(found.unwrap_or(ABSENT), Ordering::Relaxed);
    }
    Some(BASE.load(Ordering::Relaxed)).filter(|b| *b != ABSENT)
}

/// Whether this is a Xen guest.
pub fn on_xen() -> bool {
    leaves().is_some()
}

/// Whether hypercalls are made with VMMCALL; asked of the processor once, because the answer traps.
fn amd() -> bool {
    static VENDOR: AtomicU32 = AtomicU32::new(0);
    if VENDOR.load(Ordering::Relaxed) == 0 {
        VENDOR.store(insn::cpuid(0, 0)[2], Ordering::Relaxed);
    }
    VENDOR.load(Ordering::Relaxed) == 0x444d_4163
}

fn hypercall(op: u64, a: u64, b: u64, c: u64) -> i64 {
    let result: i64;
    if amd() {
        // SAFETY: the hypervisor was detected; the arguments point at memory of the caller.
        unsafe {
            asm!("vmmcall", inlateout("rax") op => result, inlateout("rdi") a => _, inlateout("rsi") b => _, inlateout("rdx") c => _);
        }
    } else {
        // SAFETY: as above.
        unsafe {
            asm!("vmcall", inlateout("rax") op => result, inlateout("rdi") a => _, inlateout("rsi") b => _, inlateout("rdx") c => _);
        }
    }
    result
}

/// Nanoseconds that Xen has run these vCPUs for; `None` without Xen.
pub(super) fn running(vcpus: Range<usize>) -> Option<u64> {
    /// vcpu_op, VCPUOP_get_runstate_info.
    const VCPU_OP: u64 = 24;
    const GET_RUNSTATE_INFO: u64 = 4;
    on_xen().then_some(())?;
    let mut total = 0;
    for vcpu in vcpus.start as u64..vcpus.end as u64 {
        // State, entry time, then the time in each of four states, of which "running" is the first.
        let mut info = [0u64; 6];
        if hypercall(VCPU_OP, GET_RUNSTATE_INFO, vcpu, info.as_mut_ptr() as u64) != 0 {
            return None;
        }
        total += info[2];
    }
    Some(total)
}

/// Ends the run: powers the domain off, or reports a crash when it failed.
pub fn shutdown(success: bool) -> ! {
    insn::disable_interrupts();
    if on_xen() {
        let reason: u32 = if success { 0 } else { 3 };
        // SCHEDOP_shutdown
        hypercall(29, 2, &raw const reason as u64, 0);
    } else {
        insn::outl(0xf4, if success { 0x10 } else { 0x11 });
    }
    loop {
        insn::pause();
    }
}
