// SPDX-License-Identifier: BSD-2-Clause
//! What happened when, in executed instructions: probes that a guest passed, and where the processor went into the guest and out.
//!
//! A probe is a NOP that carries a number (kexec's `probe` module). A processor enters a guest by Xen's `VMRUN`, and leaves it to the
//! instruction behind that. Every instruction is counted by itself, before it runs, so a count is exact wherever a block of
//! translated code ends; those of Xen, of kernels and of programs are counted apart, by their address.
//!
//! The table: `trace 1 lost=N`, then a line `KIND ADDRESS XEN KERNEL USER` for each event, the oldest first: `KIND` is a probe's number,
//! `enter` or `leave`; `ADDRESS` is hexadecimal; the rest are instructions so far. The addresses of a guest mean nothing in that:
//! between `enter` and `leave` the sum of the three is the guest's. The newest events are kept; `N` older ones are not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// `nop dword ptr [rax + displacement]`
const NOP: [u8; 3] = [0x0f, 0x1f, 0x80];
/// The displacement's upper three bytes.
const MAGIC: [u8; 3] = *b"kex";
const VMRUN: [u8; 3] = [0x0f, 0x01, 0xd8];

/// Events that are kept.
const KEPT: usize = 1 << 18;

/// Xen's own code and data: where every Xen of this architecture is.
const XEN: std::ops::Range<u64> = 0xffff_82d0_4000_0000..0xffff_82d0_8000_0000;
/// End of the addresses that programs have.
const USER_END: u64 = 1 << 47;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A probe with its number.
    Probe(u8),
    /// The processor enters a guest.
    Enter,
    /// It has left it.
    Leave,
}

/// An instruction whose execution is an event.
#[derive(Debug)]
pub(crate) struct Site {
    kind: Kind,
    address: u64,
}

struct Event {
    site: &'static Site,
    counts: [u64; 3],
}

/// The events, and the instructions that make them.
pub(crate) struct Trace {
    /// Instructions so far: of Xen, kernels, programs. Translated code adds to them.
    counters: [&'static AtomicU64; 3],
    sites: BTreeMap<(u64, Kind), &'static Site>,
    /// Behind a `VMRUN`.
    exits: BTreeSet<u64>,
    events: VecDeque<Event>,
    kept: usize,
    lost: u64,
}

impl Trace {
    /// Without events, and with all counters at zero.
    pub(crate) fn new() -> Self {
        Self::keeping(KEPT)
    }

    pub(crate) fn keeping(kept: usize) -> Self {
        Self {
            counters: std::array::from_fn(|_| &*Box::leak(Box::default())),
            sites: BTreeMap::new(),
            exits: BTreeSet::new(),
            events: VecDeque::new(),
            kept,
            lost: 0,
        }
    }

    /// The counter of the instruction at `address`.
    pub(crate) fn counter(&self, address: u64) -> &'static AtomicU64 {
        let [xen, kernel, user] = self.counters;
        match address {
            _ if XEN.contains(&address) => xen,
            ..USER_END => user,
            _ => kernel,
        }
    }

    /// The event that the instruction makes, if it makes one. Called when it is translated, as often as that may be.
    pub(crate) fn site(&mut self, address: u64, code: &[u8]) -> Option<&'static Site> {
        let kind = match *code {
            [n0, n1, n2, point, m0, m1, m2] if [n0, n1, n2] == NOP && [m0, m1, m2] == MAGIC => {
                Kind::Probe(point)
            }
            _ if code == VMRUN => {
                self.exits.insert(address.wrapping_add(VMRUN.len() as u64));
                Kind::Enter
            }
            _ if self.exits.contains(&address) => Kind::Leave,
            _ => return None,
        };
        // Translated code holds the site's address for as long as QEMU lives, so it is never freed.
        let site = self
            .sites
            .entry((address, kind))
            .or_insert_with(|| Box::leak(Box::new(Site { kind, address })));
        Some(site)
    }

    /// The instruction of `site` is about to run.
    pub(crate) fn happened(&mut self, site: &'static Site) {
        if self.events.len() == self.kept {
            self.events.pop_front();
            self.lost += 1;
        }
        let counts = self.counters.map(|counter| counter.load(Ordering::Relaxed));
        self.events.push_back(Event { site, counts });
    }

    /// The table.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("trace 1 lost={}\n", self.lost);
        for Event { site, counts } in &self.events {
            let kind = match site.kind {
                Kind::Probe(number) => number.to_string(),
                Kind::Enter => "enter".to_owned(),
                Kind::Leave => "leave".to_owned(),
            };
            let [xen, kernel, user] = counts;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{kind} {:x} {xen} {kernel} {user}", site.address);
        }
        text
    }
}
