// SPDX-License-Identifier: BSD-2-Clause
//! The part of the plugin that needs no QEMU: what it takes for an event, and what it says of it. The plugin itself can't be linked
//! into a test program, so the module is compiled into this one.

use std::sync::atomic::Ordering;

#[path = "../src/trace.rs"]
mod trace;

use trace::{Kind, Trace};

/// As the assembler makes it.
fn probe(point: u8) -> [u8; 7] {
    let mut code = [0x0f, 0x1f, 0x80, 0, 0, 0, 0];
    code[3..].copy_from_slice(&(kexec::probe::MAGIC | u32::from(point)).to_le_bytes());
    code
}

const VMRUN: [u8; 3] = [0x0f, 0x01, 0xd8];
const XEN: u64 = 0xffff_82d0_4020_0000;
const GUEST: u64 = 0xffff_f800_0001_1000;

#[test]
fn kexecs_probes_are_found_and_other_nops_are_not() {
    let mut trace = Trace::new();
    for point in kexec::probe::Point::ALL {
        assert!(trace.site(GUEST, &probe(point as u8)).is_some());
    }
    let mut other = probe(1);
    other[6] = 0;
    assert!(trace.site(GUEST, &other).is_none());
    // Another register, a shorter and a longer one.
    assert!(
        trace
            .site(GUEST, &[0x0f, 0x1f, 0x81, 1, b'k', b'e', b'x'])
            .is_none()
    );
    assert!(trace.site(GUEST, &[0x0f, 0x1f, 0x00]).is_none());
    assert!(
        trace
            .site(GUEST, &[0x66, 0x0f, 0x1f, 0x80, 1, b'k', b'e', b'x'])
            .is_none()
    );
    assert!(trace.site(GUEST, &[]).is_none());
}

#[test]
fn the_guest_is_entered_at_vmrun_and_left_behind_it() {
    let mut trace = Trace::new();
    assert!(
        trace.site(XEN + 3, &[0x90]).is_none(),
        "no VMRUN was seen yet"
    );
    let enter = trace.site(XEN, &VMRUN).expect("enter");
    let leave = trace.site(XEN + 3, &[0x90]).expect("leave");
    assert!(std::ptr::eq(trace.site(XEN, &VMRUN).expect("again"), enter));
    trace.happened(enter);
    trace.happened(leave);
    assert_eq!(
        trace.text(),
        "trace 1 lost=0\nenter ffff82d040200000 0 0 0\nleave ffff82d040200003 0 0 0\n"
    );
    assert!(Kind::Enter < Kind::Leave && Kind::Probe(1) < Kind::Enter);
}

#[test]
fn instructions_are_counted_for_whom_they_belong_to() {
    let mut trace = Trace::new();
    let site = trace.site(GUEST, &probe(8)).expect("probe");
    for (address, count) in [
        (XEN, 5),
        (0xffff_82d0_7fff_ffff, 1),
        (0xffff_ffff_8100_0000, 20),
        (GUEST, 2),
        (0x7fff_ffff_ffff, 300),
        (0x40_0000, 4),
    ] {
        trace.counter(address).fetch_add(count, Ordering::Relaxed);
    }
    trace.happened(site);
    assert!(trace.text().ends_with("\n8 fffff80000011000 6 22 304\n"));
}

#[test]
fn the_newest_events_are_kept_and_lost_ones_are_counted() {
    let mut trace = Trace::keeping(2);
    for point in 1..=5 {
        let site = trace.site(GUEST, &probe(point)).expect("probe");
        trace.happened(site);
    }
    assert_eq!(
        trace.text(),
        "trace 1 lost=3\n4 fffff80000011000 0 0 0\n5 fffff80000011000 0 0 0\n"
    );
}
