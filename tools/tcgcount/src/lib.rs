// SPDX-License-Identifier: BSD-2-Clause
//! A plugin for QEMU's emulator that counts executed `VMMCALL` instructions by their virtual address, and records when probes are passed.
//!
//! A guest's hypercall page has one of them per hypercall, so the table tells how often the guest made each, seen from
//! outside the guest. Xen and a PV dom0 execute none. Loaded with `-plugin FILE,out=TABLE`; at QEMU's end `TABLE` gets a
//! line `ADDRESS COUNT` (hex, decimal) per address. Counters are added to by translated code without a lock: exact with
//! one emulation thread (`-icount`, `thread=single`), else only as long as one CPU at a time makes hypercalls.
//!
//! With `trace=FILE` it writes to `FILE` what happened when, see `trace.rs`. Without any of the two nothing is counted. In every case the
//! plugin corrects four faults of QEMU 7.2 that guests of Xen run into, those with an IRQL in CR8 at once and those with several
//! processors sometimes; see `event.rs`, `ignne.rs`, `lock.rs`, `priority.rs`.
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "replaces a function of the running QEMU")]
mod event;
#[expect(unsafe_code, reason = "QEMU's plugin interface")]
mod ffi;
#[expect(unsafe_code, reason = "replaces a function of the running QEMU")]
mod ignne;
#[expect(unsafe_code, reason = "replaces a function of the running QEMU")]
mod lock;
#[expect(unsafe_code, reason = "reads and writes QEMU's code")]
mod patch;
#[expect(unsafe_code, reason = "replaces two instructions of the running QEMU")]
mod priority;
mod trace;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use trace::{Site, Trace};

/// The instruction's bytes.
const VMMCALL: [u8; 3] = [0x0f, 0x01, 0xd9];

/// What was asked for, each with the file that it goes to.
struct State {
    /// Hypercalls, by the address of their instruction.
    calls: Option<(String, BTreeMap<u64, &'static AtomicU64>)>,
    trace: Option<(String, Trace)>,
}

static STATE: Mutex<State> = Mutex::new(State {
    calls: None,
    trace: None,
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the plugin's arguments: whether to count anything, or `None` if they are wrong.
fn configure<'a>(args: impl Iterator<Item = &'a str>) -> Option<bool> {
    let mut state = state();
    for arg in args {
        match arg.split_once('=')? {
            ("out", file) => state.calls = Some((file.to_owned(), BTreeMap::new())),
            ("trace", file) => state.trace = Some((file.to_owned(), Trace::new())),
            _ => return None,
        }
    }
    Some(state.calls.is_some() || state.trace.is_some())
}

/// What is to be done when an instruction is executed.
struct Counters {
    /// One is added to each.
    executed: [Option<&'static AtomicU64>; 2],
    /// It is an event of the trace.
    site: Option<&'static Site>,
}

/// An instruction was translated.
fn seen(address: u64, code: &[u8]) -> Counters {
    let state = &mut *state();
    let calls = state.calls.as_mut().filter(|_| code == VMMCALL);
    // Translated code holds the counter's address for as long as QEMU lives, so it is never freed.
    let call = calls.map(|(_, counters)| {
        &**counters
            .entry(address)
            .or_insert_with(|| Box::leak(Box::default()))
    });
    let trace = state.trace.as_mut().map(|(_, trace)| trace);
    let (counter, site) = trace.map_or((None, None), |trace| {
        (Some(trace.counter(address)), trace.site(address, code))
    });
    Counters {
        executed: [call, counter],
        site,
    }
}

/// An event of the trace.
fn happened(site: &'static Site) {
    if let Some((_, trace)) = &mut state().trace {
        trace.happened(site);
    }
}

/// Writes what was asked for.
fn finish() {
    let state = state();
    // The reader notices a missing file; QEMU is ending.
    if let Some((out, counters)) = &state.calls {
        let mut text = String::new();
        for (address, count) in counters {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{address:x} {}", count.load(Ordering::Relaxed));
        }
        let _ = std::fs::write(out, text);
    }
    if let Some((out, trace)) = &state.trace {
        let _ = std::fs::write(out, trace.text());
    }
}
