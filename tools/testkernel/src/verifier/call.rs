// SPDX-License-Identifier: BSD-2-Clause
//! Calls from the kernel into drivers.
//!
//! A driver's routine must return at the IRQL at which it was called, with the same spin locks held. Every call of
//! a driver goes through [`driver`], which checks that and keeps the caller note of the interrupted call intact.

use crate::mem::Ptr;

/// Calls the driver routine `f` with up to five integer arguments; `what` names it in messages (`DPC routine`).
#[cfg(target_os = "none")]
pub fn driver(what: &'static str, f: Ptr, args: &[usize]) -> usize {
    use core::sync::atomic::Ordering;

    use crate::{arch, ke, ldr, ps, verifier};

    let level = arch::irql();
    let locks = if level >= ke::irql::DISPATCH {
        verifier::locks::held()
    } else {
        0
    };
    let note = ps::thread::current().last_call.load(Ordering::Relaxed);
    let result = plain(f, args);
    let level_after = arch::irql();
    let locks_after = verifier::locks::held();
    if level != level_after || locks != locks_after {
        let driver = ldr::find(f).map_or_else(|| "?".into(), |(image, _)| ldr::service_of(&image));
        let who = verifier::Caller {
            driver,
            export: what,
        };
        if locks != locks_after {
            verifier::fail_as(
                &who,
                "lock_left",
                format_args!("held {locks} spin locks before, {locks_after} after"),
            );
        }
        verifier::fail_as(
            &who,
            "irql_changed",
            format_args!("called at IRQL {level}, returned at {level_after}"),
        );
    }
    ps::thread::current()
        .last_call
        .store(note, Ordering::Relaxed);
    result
}

/// Calls the driver routine `f` with up to five integer arguments; `what` names it in messages (`DPC routine`).
#[cfg(not(target_os = "none"))]
pub fn driver(_what: &'static str, f: Ptr, args: &[usize]) -> usize {
    plain(f, args)
}

/// Calls a routine without any check.
pub(crate) fn plain(f: Ptr, args: &[usize]) -> usize {
    type Routine = extern "win64" fn(usize, usize, usize, usize, usize) -> usize;
    // SAFETY: `f` is a routine that a driver handed us; surplus arguments are harmless in this ABI.
    let f: Routine = unsafe { core::mem::transmute::<usize, Routine>(f.0) };
    let a = |i: usize| args.get(i).copied().unwrap_or(0);
    f(a(0), a(1), a(2), a(3), a(4))
}
