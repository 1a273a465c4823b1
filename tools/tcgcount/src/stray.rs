// SPDX-License-Identifier: BSD-2-Clause
//! UNSAFETY: a correction of the running QEMU, at one function whose code is checked first.
//!
//! Seldom, and only with several emulated processors, QEMU 7.2 still translates by Xen's nested page tables after a guest has left
//! to Xen (`HF2_NPT_MASK` stays although `do_vmexit` took it back; how is not known). The first instruction of Xen then "leaves the
//! guest" once more because of a nested page fault, and Xen's own registers are saved as those of the guest, which ends in a triple
//! fault with Xen's instruction pointer. `cpu_vmexit` now sees that no guest runs: it takes the flag back and lets the instruction
//! begin again.

use core::arch::global_asm;
use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::patch;

// SAFETY: The names and signatures are those of QEMU 7.2, which exports them for its modules.
unsafe extern "C" {
    fn cpu_vmexit(env: *mut c_void, code: u32, information: u64, caller: usize);
    fn do_vmexit(env: *mut c_void);
    fn tlb_flush(cpu: *mut c_void);
    fn cpu_loop_exit_restore(cpu: *mut c_void, caller: usize) -> !;
}

/// Begin of `cpu_vmexit`: `push r14; push r13; mov r13, rdx; push r12; lea r12, [rdi - 0x13b0]`.
const HEAD: [u8; 16] = [
    0x41, 0x56, 0x41, 0x55, 0x49, 0x89, 0xd5, 0x41, 0x54, 0x4c, 0x8d, 0xa7, 0x50, 0xec, 0xff, 0xff,
];
/// In `do_vmexit`: `and dword ptr [rbx + 0xb4], ~HF2_NPT_MASK`.
const FLAG: [u8; 7] = [0x83, 0xa3, 0xb4, 0, 0, 0, 0xbf];
/// Bytes of `do_vmexit` that are searched for it.
const SEARCHED: usize = 96;
/// Offset of `hflags2` in the processor's state, and `HF2_NPT_MASK`.
const FLAGS: usize = 0xb4;
const NESTED: u32 = 0x40;
/// The state is behind the processor's common part.
const COMMON: usize = 0x13b0;

/// Where `cpu_vmexit` goes on behind [`HEAD`].
static REST: AtomicUsize = AtomicUsize::new(0);

// 0x400: SVM_EXIT_NPF. At 0xb0: hflags, bit 21: HF_GUEST_MASK. No guest runs: to `again`. Else the replaced code, and on.
global_asm!(
    "tcgcount_vmexit:",
    "cmp esi, 0x400",
    "jne 2f",
    "test dword ptr [rdi + 0xb0], 0x200000",
    "je {again}",
    "2:",
    "push r14",
    "push r13",
    "mov r13, rdx",
    "push r12",
    "lea r12, [rdi - 0x13b0]",
    "jmp qword ptr [rip + {rest}]",
    again = sym again,
    rest = sym REST,
);

// SAFETY: The code above, which has the type of `cpu_vmexit`.
unsafe extern "C" {
    fn tcgcount_vmexit(env: *mut c_void, code: u32, information: u64, caller: usize);
}

/// No guest runs.
unsafe extern "C" fn again(env: *mut c_void, _code: u32, _information: u64, caller: usize) {
    // SAFETY: QEMU's own code has the flags at this offset of the state that it passes.
    let flags = unsafe { env.byte_add(FLAGS) }.cast::<u32>();
    // SAFETY: As above; only the processor's own thread uses them.
    let old = unsafe { flags.read() };
    // SAFETY: As above.
    unsafe { flags.write(old & !NESTED) };
    // SAFETY: The replaced code computes the same.
    let cpu = unsafe { env.byte_sub(COMMON) };
    // SAFETY: The processor whose thread this is.
    unsafe { tlb_flush(cpu) };
    // SAFETY: As above; leaves to QEMU's loop, which begins the instruction again. Nothing here waits to be dropped.
    unsafe { cpu_loop_exit_restore(cpu, caller) }
}

/// Replaces the begin of `cpu_vmexit`. Called before any emulation begins.
///
/// # Errors
/// QEMU's code is not the one that this was written for.
pub(crate) fn correct() -> Result<(), String> {
    let entry = cpu_vmexit as unsafe extern "C" fn(_, _, _, _) as usize;
    // SAFETY: Other functions follow.
    let head: [u8; HEAD.len()] = unsafe { patch::read(entry) };
    let end = do_vmexit as unsafe extern "C" fn(_) as usize;
    // SAFETY: As above.
    let end: [u8; SEARCHED] = unsafe { patch::read(end) };
    if head != HEAD || !end.windows(FLAG.len()).any(|code| code == FLAG) {
        return Err(format!(
            "this QEMU leaves guests in another way: {head:02x?}"
        ));
    }
    REST.store(entry + HEAD.len(), Ordering::Relaxed);
    let target = tcgcount_vmexit as unsafe extern "C" fn(_, _, _, _) as usize;
    // SAFETY: Within the code compared above; the new code does the same.
    unsafe { patch::write(entry, &patch::jump(target)) }
}
