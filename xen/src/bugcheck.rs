// SPDX-License-Identifier: BSD-2-Clause
//! What is logged when Windows stops: the code, its four parameters, and what they mean.
//!
//! Runs once, at HIGH_LEVEL on the processor that crashes, the others stopped for good. Nothing here is
//! trusted: any address may be anything, so memory is read through a seam that refuses what is not
//! resident, every walk has a bound, and nothing is waited for. Windows calls such callbacks after it has
//! written its crash dump.
//!
//! # IRQL
//! HIGH_LEVEL.

use core::fmt;

use crate::modules::Found;

/// The crashed machine.
pub trait Crashed {
    /// Logs one line.
    fn line(&self, text: fmt::Arguments<'_>);
    /// A byte of memory, if it is resident.
    fn byte(&self, address: u64) -> Option<u8>;
    /// The image at an address.
    fn module(&self, address: u64) -> Option<Found>;
    /// Logs registers and stack of the context at an address, or of this processor.
    fn context(&self, address: Option<u64>);
    /// The name of a process, up to 15 characters, if it can be told.
    fn process_name(&self, process: u64) -> Option<[u8; 16]>;
}

/// The code of a bug check that a driver of this package makes.
const OWN: u32 = 0xDEAD;
/// The code of a panic in one of the drivers.
const PANIC: u32 = kexec::nt::BUGCHECK_PANIC;

const NAMES: &[(u32, &str)] = &[
    (0x0A, "IRQL_NOT_LESS_OR_EQUAL"),
    (0x1A, "MEMORY_MANAGEMENT"),
    (0x1E, "KMODE_EXCEPTION_NOT_HANDLED"),
    (0x3B, "SYSTEM_SERVICE_EXCEPTION"),
    (0x50, "PAGE_FAULT_IN_NONPAGED_AREA"),
    (0x7B, "INACCESSIBLE_BOOT_DEVICE"),
    (0x7E, "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED"),
    (0x7F, "UNEXPECTED_KERNEL_MODE_TRAP"),
    (0x8E, "KERNEL_MODE_EXCEPTION_NOT_HANDLED"),
    (0x9F, "DRIVER_POWER_STATE_FAILURE"),
    (0xC2, "BAD_POOL_CALLER"),
    (0xC4, "DRIVER_VERIFIER_DETECTED_VIOLATION"),
    (0xD1, "DRIVER_IRQL_NOT_LESS_OR_EQUAL"),
    (0xE2, "MANUALLY_INITIATED_CRASH"),
    (0xEF, "CRITICAL_PROCESS_DIED"),
    (0xF4, "CRITICAL_OBJECT_TERMINATION"),
    (0x101, "CLOCK_WATCHDOG_TIMEOUT"),
    (0x133, "DPC_WATCHDOG_VIOLATION"),
    (OWN, "DRIVER_BUG"),
    (PANIC, "DRIVER_PANIC"),
];

/// The bit of the codes that came with a minidump of another kind.
const M: u32 = 0x1000_0000;

/// The name of a code.
fn name(code: u32) -> &'static str {
    NAMES
        .iter()
        .find(|(known, _)| *known == code || *known | M == code)
        .map_or("", |(_, name)| name)
}

/// Logs a bug check.
pub fn report(code: u32, parameters: [u64; 4], machine: &impl Crashed) {
    let [first, second, third, fourth] = parameters;
    let report = Report(machine);
    report.line(format_args!("=== bug check {code:#x} {}", name(code)));
    for (index, parameter) in parameters.iter().enumerate() {
        report.line(format_args!("parameter {}: {parameter:#018x}", index + 1));
    }
    match code {
        0x0A | 0xD1 => report.access(first, second, third, fourth),
        0x1E | 0x8E => report.exception(first, second, None, None),
        0x3B => report.exception(first, second, None, Some(third)),
        0x7E => report.exception(first, second, Some(third), Some(fourth)),
        _ if code == 0x8E | M => report.exception(first, second, None, None),
        _ if code == 0x7E | M => report.exception(first, second, Some(third), Some(fourth)),
        0x7B => report.boot_device(first),
        0x9F => report.power(first, second, fourth),
        0xEF => report.process(first, second),
        0xF4 => report.object(third, fourth),
        OWN => {
            report.text("what", first);
            report.text("file", second);
            report.line(format_args!("line {third}"));
            machine.context(None);
        }
        PANIC => {
            let length = usize::try_from(second).unwrap_or(0);
            let file = report.bytes(first, length);
            report.line(format_args!(
                "{} at {}:{third}",
                report.string(fourth),
                file
            ));
            machine.context(None);
        }
        _ => machine.context(None),
    }
    report.line(format_args!("=== end of bug check {code:#x}"));
}

/// Bytes of a text that are looked at.
const TEXT: usize = 96;
/// Exceptions in a chain.
const CHAIN: usize = 4;
/// Parameters that an exception record can have.
const PARAMETERS: u32 = 15;
/// Stack locations that a request can have, and be printed.
const LOCATIONS: u8 = 32;

/// Text from somewhere, made printable.
struct Text {
    bytes: [u8; TEXT],
    length: usize,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == 0 {
            return f.write_str("(none)");
        }
        f.write_str(core::str::from_utf8(&self.bytes[..self.length]).unwrap_or("(none)"))
    }
}

/// An address with its image, if it has one.
struct Place(u64, Option<Found>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.1 {
            Some(found) => write!(f, "{}+{:#x}", found.name.as_str(), found.offset),
            None => write!(f, "{:#018x}", self.0),
        }
    }
}

struct Report<'a, M>(&'a M);

impl<M: Crashed> Report<'_, M> {
    fn line(&self, text: fmt::Arguments<'_>) {
        self.0.line(text);
    }

    fn place(&self, address: u64) -> Place {
        Place(address, self.0.module(address))
    }

    /// `N` bytes at an address, if all are resident.
    fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for (offset, byte) in (0..).zip(&mut bytes) {
            *byte = self.0.byte(address.checked_add(offset)?)?;
        }
        Some(bytes)
    }

    fn u16(&self, address: u64) -> Option<u16> {
        self.read(address).map(u16::from_le_bytes)
    }

    fn u32(&self, address: u64) -> Option<u32> {
        self.read(address).map(u32::from_le_bytes)
    }

    fn u64(&self, address: u64) -> Option<u64> {
        self.read(address).map(u64::from_le_bytes)
    }

    /// `length` bytes, as far as they are resident, not zero and fit.
    fn bytes(&self, address: u64, length: usize) -> Text {
        self.gather(address, length, 1)
    }

    /// As [`Report::bytes`], each `step`-th byte.
    fn gather(&self, address: u64, length: usize, step: u64) -> Text {
        let mut text = Text {
            bytes: [0; TEXT],
            length: 0,
        };
        for index in 0..length.min(TEXT) {
            let at = address.checked_add(index as u64 * step);
            match at.and_then(|at| self.0.byte(at)) {
                None | Some(0) => break,
                Some(byte) => {
                    let shown = byte.is_ascii_graphic() || byte == b' ';
                    text.bytes[index] = if shown { byte } else { b'?' };
                    text.length = index + 1;
                }
            }
        }
        text
    }

    /// A terminated string.
    fn string(&self, address: u64) -> Text {
        self.bytes(address, TEXT)
    }

    fn text(&self, what: &str, address: u64) {
        self.line(format_args!("{what}: {}", self.string(address)));
    }

    /// Memory was touched at too high a level.
    fn access(&self, memory: u64, irql: u64, access: u64, address: u64) {
        let access = match access {
            0 => "read",
            1 => "write",
            2 | 8 | 10 => "execute",
            _ => "access",
        };
        self.line(format_args!(
            "{access} of {memory:#018x} at IRQL {irql} by {}",
            self.place(address)
        ));
        self.0.context(None);
    }

    /// An exception that nobody handled.
    fn exception(&self, code: u64, address: u64, record: Option<u64>, context: Option<u64>) {
        self.line(format_args!(
            "exception {:#010x} at {}",
            code as u32,
            self.place(address)
        ));
        if let Some(record) = record {
            self.records(record);
        }
        self.0.context(context);
    }

    /// A chain of exception records: code 0, flags 4, next 8, address 0x10, number of parameters 0x18,
    /// parameters 0x20.
    fn records(&self, mut record: u64) {
        for _ in 0..CHAIN {
            let (Some(code), Some(flags), Some(next), Some(address), Some(count)) = (
                self.u32(record),
                self.u32(record.wrapping_add(4)),
                self.u64(record.wrapping_add(8)),
                self.u64(record.wrapping_add(0x10)),
                self.u32(record.wrapping_add(0x18)),
            ) else {
                return self.line(format_args!("record {record:#018x} is not resident"));
            };
            self.line(format_args!(
                "record: code {code:#010x} flags {flags:#x} at {}",
                self.place(address)
            ));
            for index in 0..u64::from(count.min(PARAMETERS)) {
                if let Some(value) = self.u64(record.wrapping_add(0x20 + 8 * index)) {
                    self.line(format_args!("record: parameter {index}: {value:#018x}"));
                }
            }
            if next == 0 {
                return;
            }
            record = next;
        }
    }

    /// The boot device: a UNICODE_STRING with its name, or a device object.
    fn boot_device(&self, address: u64) {
        let string = self.u16(address).zip(self.u16(address.wrapping_add(2)));
        let buffer = self.u64(address.wrapping_add(8));
        match (string, buffer) {
            // A device object has its type 3 and its size there, which make no string.
            (Some((length, room)), Some(buffer))
                if length <= room
                    && length % 2 == 0
                    && length > 0
                    && self.0.byte(buffer).is_some() =>
            {
                let name = self.gather(buffer, usize::from(length / 2), 2);
                self.line(format_args!("boot device {name}"));
            }
            _ => self.line(format_args!("boot device object {address:#018x}")),
        }
        self.0.context(None);
    }

    /// A device did not change its power state: sub-code 3 names the request that is stuck.
    fn power(&self, code: u64, device: u64, irp: u64) {
        self.line(format_args!(
            "sub-code {code}, device object {device:#018x}"
        ));
        if code == 3 {
            self.request(irp);
        }
        self.0.context(None);
    }

    /// The stack of a request: count 0x42, current 0x43; locations of 0x48 bytes from 0xD0, numbered from
    /// 1; in each: functions 0 and 1, flags 2, control 3, device 0x28, completion routine 0x38, its
    /// context 0x40.
    fn request(&self, irp: u64) {
        let (Some(0x06), Some(count), Some(current)) = (
            self.u16(irp),
            self.0.byte(irp.wrapping_add(0x42)),
            self.0.byte(irp.wrapping_add(0x43)),
        ) else {
            return self.line(format_args!("request {irp:#018x} is not resident"));
        };
        self.line(format_args!(
            "request {irp:#018x}, location {current} of {count}"
        ));
        for number in 1..=count.min(LOCATIONS) {
            let at = irp.wrapping_add(0xD0 + 0x48 * u64::from(number - 1));
            let (Some([major, minor, flags, control]), Some(device), Some(routine), Some(context)) = (
                self.read::<4>(at),
                self.u64(at.wrapping_add(0x28)),
                self.u64(at.wrapping_add(0x38)),
                self.u64(at.wrapping_add(0x40)),
            ) else {
                return;
            };
            let mark = if number == current { '>' } else { ' ' };
            self.line(format_args!(
                "{mark}[{number}] {major:#04x}/{minor:#04x} flags {flags:#x} control {control:#x} device {device:#x} completion {} context {context:#x}",
                self.place(routine)
            ));
        }
    }

    /// A process or thread that may not end has ended.
    fn process(&self, object: u64, kind: u64) {
        if kind == 0 {
            let name = self.0.process_name(object);
            let mut text = Text {
                bytes: [0; TEXT],
                length: 0,
            };
            for byte in name.iter().flatten().take_while(|byte| **byte != 0) {
                text.bytes[text.length] = if byte.is_ascii_graphic() { *byte } else { b'?' };
                text.length += 1;
            }
            self.line(format_args!("process {object:#018x} {text}"));
        } else {
            self.line(format_args!("thread {object:#018x}"));
        }
        self.0.context(None);
    }

    /// As [`Report::process`], with names.
    fn object(&self, name: u64, reason: u64) {
        self.text("name", name);
        self.text("reason", reason);
        self.0.context(None);
    }
}

#[cfg(test)]
mod tests;
