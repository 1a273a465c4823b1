// SPDX-License-Identifier: BSD-2-Clause
//! UNSAFETY: a correction of the running QEMU, at one function whose code is checked first.
//!
//! When Xen enters a guest with an interrupt to inject, QEMU 7.2 delivers it and goes on, but leaves its vector behind as an
//! exception that is still to come (`helper_vmrun`, `SVM_EVTINJ_TYPE_INTR`). If another thread asks the emulated processor to leave
//! its loop before the guest's next exit, that exception is delivered: the guest gets the interrupt a second time, whatever its
//! interrupt flag and its IRQL say, and ends another one with it. `do_interrupt_x86_hardirq`, which delivers the interrupts of
//! both Xen and its guests, now first takes the leftover back; there is just room for it.

use std::ffi::{c_int, c_void};

use crate::patch;

// SAFETY: The names and signatures are those of QEMU 7.2, which exports them for its modules.
unsafe extern "C" {
    fn do_interrupt_x86_hardirq(env: *mut c_void, vector: c_int, hardware: c_int);
    fn cpu_vmexit(env: *mut c_void, code: u32, information: u64, caller: usize);
}

/// `mov r9d, edx; sub rdi, x; xor r8d, r8d; xor ecx, ecx; xor edx, edx; jmp y`, and what fills up to the next function.
const LENGTH: usize = 32;
const MOVE: [u8; 3] = [0x41, 0x89, 0xd1];
const SUBTRACT: [u8; 3] = [0x48, 0x81, 0xef];
const CLEAR: [u8; 8] = [0x45, 0x31, 0xc0, 0x31, 0xc9, 0x31, 0xd2, 0xe9];
const FILL: [u8; 10] = [0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0];
/// Offsets of the operands, and of the filling.
const BASE: usize = 6;
const JUMP: usize = 18;
const END: usize = 22;

/// `mov dword ptr [rbx + x], 0x100`: `cpu_vmexit` makes "exit to Xen" the exception, `rbx` being its first argument.
const EXIT: [u8; 2] = [0xc7, 0x83];
const EXIT_VALUE: [u8; 4] = [0, 1, 0, 0];
/// Bytes of `cpu_vmexit` that are searched.
const SEARCHED: usize = 96;

fn part<const N: usize>(code: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| code[at + i])
}

/// Where the exception's number is, from the processor's state on.
fn exception(vmexit: &[u8; SEARCHED]) -> Option<[u8; 4]> {
    let found = (0..SEARCHED - 10)
        .find(|&at| part(vmexit, at) == EXIT && part(vmexit, at + 6) == EXIT_VALUE)?;
    Some(part(vmexit, found + 2))
}

/// The corrected function.
fn corrected(old: &[u8; LENGTH], exception: [u8; 4]) -> Option<[u8; LENGTH]> {
    let known = part(old, 0) == MOVE
        && part(old, 3) == SUBTRACT
        && part(old, 10) == CLEAR
        && part(old, END) == FILL;
    if !known {
        return None;
    }
    let jump = i32::from_le_bytes(part(old, JUMP));
    // The jump is as far behind as the filling was long.
    let jump = jump.checked_sub(i32::try_from(LENGTH - END).ok()?)?;
    let mut new = Vec::with_capacity(LENGTH);
    new.extend(MOVE);
    // mov dword ptr [rdi + exception], -1
    new.extend([0xc7, 0x87]);
    new.extend(exception);
    new.extend([0xff; 4]);
    new.extend(SUBTRACT);
    new.extend(part::<4>(old, BASE));
    new.extend(CLEAR);
    new.extend(jump.to_le_bytes());
    new.try_into().ok()
}

/// Corrects the function. Called before any emulation begins.
///
/// # Errors
/// QEMU's code is not the one that this was written for.
pub(crate) fn correct() -> Result<(), String> {
    let entry = do_interrupt_x86_hardirq as unsafe extern "C" fn(_, _, _) as usize;
    // SAFETY: Other functions follow.
    let old = unsafe { patch::read(entry) };
    let vmexit = cpu_vmexit as unsafe extern "C" fn(_, _, _, _) as usize;
    // SAFETY: As above.
    let vmexit = unsafe { patch::read(vmexit) };
    let new = exception(&vmexit).and_then(|exception| corrected(&old, exception));
    let new =
        new.ok_or_else(|| format!("this QEMU delivers interrupts in another way: {old:02x?}"))?;
    // SAFETY: As long as the function with its filling; it does the same, and takes the leftover back.
    unsafe { patch::write(entry, &new) }
}
