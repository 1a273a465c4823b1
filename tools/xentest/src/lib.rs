// SPDX-License-Identifier: BSD-2-Clause
//! A plain driver that calls every export of xen.sys on the Xen underneath and prints
//! `TEST <name> ok` or `TEST <name> FAIL <where> <what>`.
//!
//! It owns the whole domain: it opens, resets and leaves event channels, exchanges memory, and runs
//! where no bus driver does. A start option `XENTEST:CRASH=...` makes it end in a bug check instead.
#![no_std]
#![deny(unsafe_code)]

#[cfg(windows)]
mod entry;
#[cfg(windows)]
mod hypercalls;
#[cfg(windows)]
mod memory;
#[cfg(windows)]
mod services;

/// The outcome of one test: what was wrong, and where.
#[cfg(windows)]
type Outcome = Result<(), Wrong>;

/// A check that failed.
#[cfg(windows)]
struct Wrong {
    file: &'static str,
    line: u32,
    /// What was seen.
    seen: kexec::nt::log::Line<160>,
}

#[cfg(windows)]
impl Wrong {
    #[track_caller]
    fn new(seen: core::fmt::Arguments<'_>) -> Self {
        use core::fmt::Write;
        let mut line = kexec::nt::log::Line::new();
        // What does not fit is cut.
        let _ = line.write_fmt(seen);
        let at = core::panic::Location::caller();
        Self {
            file: at.file(),
            line: at.line(),
            seen: line,
        }
    }
}

/// Fails unless both are equal.
#[cfg(windows)]
#[track_caller]
fn same<T: PartialEq + core::fmt::Debug>(seen: T, wanted: T) -> Outcome {
    if seen == wanted {
        Ok(())
    } else {
        Err(Wrong::new(format_args!("{seen:?}, not {wanted:?}")))
    }
}

/// Fails unless the condition holds; says what was seen.
#[cfg(windows)]
#[track_caller]
fn check(holds: bool, seen: impl core::fmt::Debug) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Wrong::new(format_args!("{seen:?}")))
    }
}

/// The value of a success.
#[cfg(windows)]
#[track_caller]
fn good<T>(result: kexec::Result<T>) -> Result<T, Wrong> {
    match result {
        Ok(value) => Ok(value),
        Err(status) => Err(Wrong::new(format_args!("{status}"))),
    }
}

/// Fails unless the result is this error.
#[cfg(windows)]
#[track_caller]
fn bad<T: core::fmt::Debug>(result: kexec::Result<T>, wanted: kexec::Status) -> Outcome {
    match result {
        Err(status) if status == wanted => Ok(()),
        Err(status) => Err(Wrong::new(format_args!("{status}, not {wanted}"))),
        Ok(value) => Err(Wrong::new(format_args!("success {value:?}, not {wanted}"))),
    }
}
