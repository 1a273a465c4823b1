// SPDX-License-Identifier: BSD-2-Clause
//! Crashed machines with just the memory that a bug check names.

extern crate std;

use super::*;
use crate::modules::Name;
use core::cell::RefCell;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

/// Memory of a few ranges; an image at 0x5000.
#[derive(Default)]
struct Machine {
    memory: Vec<(u64, Vec<u8>)>,
    lines: RefCell<Vec<String>>,
}

impl Machine {
    fn with(mut self, at: u64, bytes: &[u8]) -> Self {
        self.memory.push((at, bytes.to_vec()));
        self
    }

    fn report(self, code: u32, parameters: [u64; 4]) -> Vec<String> {
        report(code, parameters, &self);
        self.lines.into_inner()
    }
}

impl Crashed for Machine {
    fn line(&self, text: fmt::Arguments<'_>) {
        self.lines.borrow_mut().push(format!("{text}"));
    }

    fn byte(&self, address: u64) -> Option<u8> {
        self.memory.iter().find_map(|(base, bytes)| {
            let offset = usize::try_from(address.checked_sub(*base)?).ok()?;
            bytes.get(offset).copied()
        })
    }

    fn module(&self, address: u64) -> Option<Found> {
        (0x5000..0x6000).contains(&address).then(|| Found {
            name: Name::of_path(b"\\x\\bad.sys".iter().copied()),
            offset: address - 0x5000,
        })
    }

    fn context(&self, address: Option<u64>) {
        self.line(format_args!("context {address:#x?}"));
    }

    fn process_name(&self, process: u64) -> Option<[u8; 16]> {
        (process == 0x77).then_some(*b"csrss.exe\0\0\0\0\0\0\0")
    }
}

fn has(lines: &[String], text: &str) {
    assert!(
        lines.iter().any(|line| line == text),
        "{text:?} in {lines:#?}"
    );
}

#[test]
fn every_bug_check_shows_code_and_parameters_between_two_banners() {
    let lines = Machine::default().report(0xC0DE, [1, 2, 3, u64::MAX]);
    assert_eq!(
        lines,
        [
            "=== bug check 0xc0de ",
            "parameter 1: 0x0000000000000001",
            "parameter 2: 0x0000000000000002",
            "parameter 3: 0x0000000000000003",
            "parameter 4: 0xffffffffffffffff",
            "context None",
            "=== end of bug check 0xc0de",
        ]
    );
}

#[test]
fn an_access_at_a_high_level_names_the_driver() {
    for (access, word) in [(0, "read"), (1, "write"), (8, "execute"), (99, "access")] {
        let lines = Machine::default().report(0xD1, [0x10, 2, access, 0x5123]);
        has(&lines, "=== bug check 0xd1 DRIVER_IRQL_NOT_LESS_OR_EQUAL");
        let text = format!("{word} of 0x0000000000000010 at IRQL 2 by bad.sys+0x123");
        has(&lines, &text);
    }
}

#[test]
fn an_exception_shows_its_chain_and_the_context_it_happened_in() {
    let record = |code: u32, next: u64, count: u32| {
        let mut bytes = vec![];
        bytes.extend(code.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(next.to_le_bytes());
        bytes.extend(0x5010_u64.to_le_bytes());
        bytes.extend(u64::from(count).to_le_bytes());
        bytes.extend([0x11; 16 * 8]);
        bytes
    };
    let machine = Machine::default()
        .with(0x1000, &record(0xC000_0005, 0x2000, 2))
        .with(0x2000, &record(0x8000_0003, 0, 99));
    let lines = machine.report(0x1000_007E, [0xFFFF_FFFF_C000_0005, 0x9000, 0x1000, 0x3000]);
    has(&lines, "exception 0xc0000005 at 0x0000000000009000");
    has(&lines, "record: code 0xc0000005 flags 0x1 at bad.sys+0x10");
    has(&lines, "record: code 0x80000003 flags 0x1 at bad.sys+0x10");
    has(&lines, "context Some(\n    0x3000,\n)");
    let parameters = lines
        .iter()
        .filter(|line| line.starts_with("record: parameter"));
    assert_eq!(parameters.count(), 2 + 15, "the count is clamped");
}

#[test]
fn a_chain_that_goes_in_circles_or_nowhere_ends() {
    let mut bytes = vec![0; 0x98];
    bytes[8..16].copy_from_slice(&0x1000_u64.to_le_bytes());
    let lines = Machine::default()
        .with(0x1000, &bytes)
        .report(0x7E, [1, 2, 0x1000, 0]);
    let records = lines.iter().filter(|line| line.starts_with("record: code"));
    assert_eq!(records.count(), CHAIN);
    let lines = Machine::default().report(0x7E, [1, 2, u64::MAX - 3, 0]);
    has(&lines, "record 0xfffffffffffffffc is not resident");
}

#[test]
fn a_system_service_exception_takes_parameter_2_for_an_address() {
    let lines = Machine::default().report(0x3B, [0xC000_0005, 0x5004, 0x3000, 0]);
    has(&lines, "exception 0xc0000005 at bad.sys+0x4");
    has(&lines, "context Some(\n    0x3000,\n)");
    for code in [0x1E, 0x8E, 0x1000_008E] {
        let lines = Machine::default().report(code, [0xC000_0005, 0x5004, 0, 0]);
        has(&lines, "exception 0xc0000005 at bad.sys+0x4");
        has(&lines, "context None");
    }
}

#[test]
fn a_boot_device_is_a_name_or_an_object() {
    let name: Vec<u8> = "\\ArcName\\x".bytes().flat_map(|byte| [byte, 0]).collect();
    let mut string = vec![20, 0, 22, 0, 0, 0, 0, 0];
    string.extend(0x2000_u64.to_le_bytes());
    let lines = Machine::default()
        .with(0x1000, &string)
        .with(0x2000, &name)
        .report(0x7B, [0x1000, 0, 0, 0]);
    has(&lines, "boot device \\ArcName\\x");
    let object = [3, 0, 0x50, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let lines = Machine::default()
        .with(0x1000, &object)
        .report(0x7B, [0x1000, 0, 0, 0]);
    has(&lines, "boot device object 0x0000000000001000");
    let lines = Machine::default().report(0x7B, [0x1000, 0, 0, 0]);
    has(&lines, "boot device object 0x0000000000001000");
}

#[test]
fn a_stuck_power_request_shows_each_location_once() {
    let mut irp = vec![0; 0xD0 + 2 * 0x48];
    irp[0] = 6;
    (irp[0x42], irp[0x43]) = (2, 2);
    let second = 0xD0 + 0x48;
    irp[second..second + 4].copy_from_slice(&[0x16, 2, 0, 0xE1]);
    irp[second + 0x38..second + 0x40].copy_from_slice(&0x5abc_u64.to_le_bytes());
    let machine = Machine::default().with(0x1000, &irp);
    let lines = machine.report(0x9F, [3, 0xd0, 0, 0x1000]);
    has(&lines, "request 0x0000000000001000, location 2 of 2");
    has(
        &lines,
        ">[2] 0x16/0x02 flags 0x0 control 0xe1 device 0x0 completion bad.sys+0xabc context 0x0",
    );
    assert_eq!(lines.iter().filter(|line| line.contains("]")).count(), 2);
    let lines = Machine::default().report(0x9F, [3, 0xd0, 0, 0x1000]);
    has(&lines, "request 0x0000000000001000 is not resident");
    let lines = Machine::default().report(0x9F, [1, 0xd0, 0, 0x1000]);
    assert!(!lines.iter().any(|line| line.starts_with("request")));
}

#[test]
fn a_process_that_died_is_named_if_it_can_be() {
    let lines = Machine::default().report(0xEF, [0x77, 0, 0, 0]);
    has(&lines, "process 0x0000000000000077 csrss.exe");
    let lines = Machine::default().report(0xEF, [0x78, 0, 0, 0]);
    has(&lines, "process 0x0000000000000078 (none)");
    let lines = Machine::default().report(0xEF, [0x78, 1, 0, 0]);
    has(&lines, "thread 0x0000000000000078");
}

#[test]
fn texts_of_a_bug_check_are_shown_as_far_as_they_can_be_read() {
    let machine = || {
        Machine::default()
            .with(0x1000, b"a\x01b\0never")
            .with(0x2000, b"file.rs")
    };
    let lines = machine().report(0xDEAD, [0x1000, 0x2000, 17, 0]);
    has(&lines, "what: a?b");
    has(&lines, "file: file.rs");
    has(&lines, "line 17");
    let lines = machine().report(0xF4, [3, 0, 0x1000, 0x9999]);
    has(&lines, "name: a?b");
    has(&lines, "reason: (none)");
    let lines = machine().report(kexec::nt::BUGCHECK_PANIC, [0x2000, 4, 9, 0x1000]);
    has(&lines, "a?b at file:9");
}
