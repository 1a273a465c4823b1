// SPDX-License-Identifier: BSD-2-Clause
//! A plugin for QEMU's emulator that counts executed `VMMCALL` instructions by their virtual address.
//!
//! A guest's hypercall page has one of them per hypercall, so the table tells how often the guest made each, seen from
//! outside the guest. Xen and a PV dom0 execute none. Loaded with `-plugin FILE,out=TABLE`; at QEMU's end `TABLE` gets a
//! line `ADDRESS COUNT` (hex, decimal) per address. Counters are added to by translated code without a lock: exact with
//! one emulation thread (`-icount`, `thread=single`), else only as long as one CPU at a time makes hypercalls.
//!
//! Without `out=` nothing is counted. In every case the plugin corrects four faults of QEMU 7.2 that guests of Xen run into, those
//! with an IRQL in CR8 at once and those with several processors sometimes; see `event.rs`, `ignne.rs`, `lock.rs`, `priority.rs`.
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

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The instruction's bytes.
const VMMCALL: [u8; 3] = [0x0f, 0x01, 0xd9];

struct Table {
    out: String,
    counters: BTreeMap<u64, &'static AtomicU64>,
}

static TABLE: Mutex<Table> = Mutex::new(Table {
    out: String::new(),
    counters: BTreeMap::new(),
});

/// Takes the plugin's arguments: whether to count, or `None` if they are wrong.
fn configure<'a>(args: impl Iterator<Item = &'a str>) -> Option<bool> {
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    for arg in args {
        let out = arg.strip_prefix("out=")?;
        out.clone_into(&mut table.out);
    }
    Some(!table.out.is_empty())
}

/// The counter of an instruction, if it is one to be counted.
fn counter(address: u64, code: &[u8]) -> Option<&'static AtomicU64> {
    if code != VMMCALL {
        return None;
    }
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    // Translated code holds the counter's address for as long as QEMU lives, so it is never freed.
    Some(
        table
            .counters
            .entry(address)
            .or_insert_with(|| Box::leak(Box::default())),
    )
}

/// Writes the table.
fn finish() {
    let table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    for (address, count) in &table.counters {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address:x} {}", count.load(Ordering::Relaxed));
    }
    // The reader notices a missing file; QEMU is ending.
    let _ = std::fs::write(&table.out, text);
}
