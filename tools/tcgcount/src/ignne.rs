// SPDX-License-Identifier: BSD-2-Clause
//! UNSAFETY: a correction of the running QEMU, at one function whose code is checked first.
//!
//! Whoever loads the FPU's state (FXRSTOR, as the test kernel does at the end of every interrupt) makes QEMU 7.2 clear the signal
//! IGNNE#, a flag of the first emulated processor: `cpu_clear_ignne` reads that processor's `hflags2`, takes the bit out, and writes
//! it back, from any other processor's thread. What the first processor changes meanwhile is lost, above all whether nested page
//! tables are in use: Xen then runs by those of a guest that has left, or a guest by none, and ends in a triple fault. The signal is
//! only ever set by a write to port F0, which nobody here does, so the function returns at once.

use crate::patch;

// SAFETY: The name and signature are those of QEMU 7.2, which exports it for its modules.
unsafe extern "C" {
    fn cpu_clear_ignne();
}

/// `sub rsp, 8; mov rdi, [rip + x]`.
const HEAD: [u8; 7] = [0x48, 0x83, 0xec, 8, 0x48, 0x8b, 0x3d];
/// `and dword ptr [rax + hflags2], ~HF2_IGNNE_MASK`.
const CLEAR: [u8; 10] = [0x81, 0xa0, 0x64, 0x14, 0, 0, 0x7f, 0xff, 0xff, 0xff];
/// Bytes of the function that are looked at.
const LENGTH: usize = 58;
/// `ret`
const RETURN: [u8; 1] = [0xc3];

/// Makes the function return at once. Called before any emulation begins.
///
/// # Errors
/// QEMU's code is not the one that this was written for.
pub(crate) fn correct() -> Result<(), String> {
    let entry = cpu_clear_ignne as unsafe extern "C" fn() as usize;
    // SAFETY: Other functions follow.
    let code: [u8; LENGTH] = unsafe { patch::read(entry) };
    if !code.starts_with(&HEAD) || !code.windows(CLEAR.len()).any(|code| code == CLEAR) {
        return Err(format!(
            "this QEMU clears IGNNE# in another way: {code:02x?}"
        ));
    }
    // SAFETY: The function has no result, and its one effect is not wanted.
    unsafe { patch::write(entry, &RETURN) }
}
