// SPDX-License-Identifier: BSD-2-Clause
//! UNSAFETY: a correction of the running QEMU, at one function whose code is checked first.
//!
//! A guest that writes CR8 while Xen waits to inject an interrupt makes QEMU 7.2 raise the nested guest's virtual interrupt with
//! `cpu_interrupt`, without the big lock which that function asserts: QEMU aborts. NT's IRQL is CR8, so every guest here does it
//! all the time. The entry of `cpu_interrupt` is replaced by a jump to a version that takes the lock when it is not held, as
//! `cpu_reset_interrupt` already does. Without VNMI and the like nothing else calls it unlocked.

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::patch;

// SAFETY: The names and signatures are those of QEMU 7.2, which exports them for its modules.
unsafe extern "C" {
    fn cpu_interrupt(cpu: *mut c_void, mask: c_int);
    fn qemu_mutex_iothread_locked() -> bool;
    fn qemu_mutex_lock_iothread_impl(file: *const c_char, line: c_int);
    fn qemu_mutex_unlock_iothread();
}

/// Start of `cpu_interrupt`: `mov rax, [rip + x]; push rbx; mov rbx, rdi; mov rax, [rax + 0xb0]; test rax, rax`.
const HEAD: [u8; 3] = [0x48, 0x8b, 0x05];
const TAIL: [u8; 14] = [
    0x53, 0x48, 0x89, 0xfb, 0x48, 0x8b, 0x80, 0xb0, 0x00, 0x00, 0x00, 0x48, 0x85, 0xc0,
];
/// Length of the first instruction.
const FIRST: usize = 7;
/// Offset of `handle_interrupt` in the accelerator's operations.
const HANDLE_INTERRUPT: usize = 0xb0;

/// Address of QEMU's pointer to the accelerator's operations.
static OPERATIONS: AtomicUsize = AtomicUsize::new(0);

/// What `cpu_interrupt` does, under the lock.
unsafe extern "C" fn locked(cpu: *mut c_void, mask: c_int) {
    let pointer = OPERATIONS.load(Ordering::Relaxed) as *const *const u8;
    // SAFETY: The address was taken from QEMU's own code, which reads the pointer there.
    let operations = unsafe { *pointer };
    // SAFETY: QEMU's code reads the function at this offset of the operations.
    let place = unsafe { operations.add(HANDLE_INTERRUPT) }
        .cast::<unsafe extern "C" fn(*mut c_void, c_int)>();
    // SAFETY: As above; the emulator's operations always have the function.
    let handle = unsafe { *place };
    // SAFETY: A plain query.
    let held = unsafe { qemu_mutex_iothread_locked() };
    if !held {
        // SAFETY: Not held by this thread, so it may be taken; the text is static.
        unsafe { qemu_mutex_lock_iothread_impl(c"cpu_interrupt".as_ptr(), 0) };
    }
    // SAFETY: The caller's arguments, with the lock held.
    unsafe { handle(cpu, mask) };
    if !held {
        // SAFETY: Taken above.
        unsafe { qemu_mutex_unlock_iothread() };
    }
}

/// Replaces `cpu_interrupt` and returns its address. Called before any emulation begins.
///
/// # Errors
/// QEMU's code is not the one that this was written for.
pub(crate) fn correct() -> Result<usize, String> {
    let entry = cpu_interrupt as unsafe extern "C" fn(_, _) as usize;
    // SAFETY: The function is at least as long as the code that is compared here, or lies in a page with other code.
    let code: [u8; FIRST + TAIL.len()] = unsafe { patch::read(entry) };
    if code[..3] != HEAD || code[FIRST..] != TAIL {
        return Err(format!(
            "this QEMU's cpu_interrupt is another one: {code:02x?}"
        ));
    }
    let displacement = i32::from_le_bytes([code[3], code[4], code[5], code[6]]);
    let operations = (entry + FIRST).wrapping_add_signed(displacement as isize);
    OPERATIONS.store(operations, Ordering::Relaxed);

    let target = locked as unsafe extern "C" fn(_, _) as usize;
    // SAFETY: Within the code compared above; the other version does the same under the lock.
    unsafe { patch::write(entry, &patch::jump(target)) }?;
    Ok(entry)
}
