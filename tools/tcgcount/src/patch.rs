// SPDX-License-Identifier: BSD-2-Clause
//! UNSAFETY: reading and writing the running QEMU's code, before any emulation begins.

use std::ffi::{c_int, c_void};

// SAFETY: libc's, linked into every program.
unsafe extern "C" {
    fn mprotect(address: *mut c_void, length: usize, protection: c_int) -> c_int;
}

const READ_WRITE_EXECUTE: c_int = 7;
const READ_EXECUTE: c_int = 5;
const PAGE: usize = 4096;

/// The first `N` bytes at `entry`.
///
/// # Safety
/// Code of QEMU's, and at least as much of it follows.
pub(crate) unsafe fn read<const N: usize>(entry: usize) -> [u8; N] {
    // SAFETY: by the contract; code is readable, and bytes have no alignment.
    unsafe { (entry as *const [u8; N]).read() }
}

/// Replaces the code at `entry`.
///
/// # Safety
/// Code of QEMU's in which nothing runs yet, at least as long as `code`, which does what its callers expect.
///
/// # Errors
/// The system does not let it be written.
pub(crate) unsafe fn write(entry: usize, code: &[u8]) -> Result<(), String> {
    let first = entry & !(PAGE - 1);
    let length = entry + code.len() - first;
    // SAFETY: Pages of QEMU's code; nothing runs in them while QEMU loads its plugins.
    if unsafe { mprotect(first as *mut c_void, length, READ_WRITE_EXECUTE) } != 0 {
        return Err("QEMU's code cannot be made writable".to_owned());
    }
    // SAFETY: By the contract, and writable since the call above.
    unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), entry as *mut u8, code.len()) };
    // SAFETY: As the first.
    if unsafe { mprotect(first as *mut c_void, length, READ_EXECUTE) } != 0 {
        return Err("QEMU's code cannot be made read-only".to_owned());
    }
    Ok(())
}

/// `jmp [rip + 0]`, and the address.
pub(crate) fn jump(target: usize) -> [u8; 14] {
    let mut code = [0xff, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    code[6..].copy_from_slice(&target.to_le_bytes());
    code
}
