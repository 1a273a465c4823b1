// SPDX-License-Identifier: BSD-2-Clause
//! Resources: from a requirements list to the raw and translated lists of a start request.
//!
//! There is one alternative list and no conflict to solve: memory and ports get the base that they ask for, a line
//! interrupt is routed to one vector on CPU 0, and each message interrupt gets a vector of its own on the
//! CPU that it is targeted at.

use alloc::vec::Vec;

use crate::mem::Ptr;
use crate::sync::Lock;

const PORT: u8 = 1;
const INTERRUPT: u8 = 2;
const MEMORY: u8 = 3;
const PRIVATE: u8 = 0x81;
const LATCHED: u16 = 1;
const MESSAGE: u16 = 2;
const ALTERNATIVE: u8 = 8;
const POLICY_SPECIFIED: u16 = 4;
const PCI: u32 = 5;
/// One entry of a resource list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    kind: u8,
    share: u8,
    flags: u16,
    body: [u32; 4],
}

/// Line interrupts that have a vector: the global interrupt, the vector and its level.
static LINES: Lock<Vec<(u32, u32, u32)>> = Lock::new(Vec::new());

#[cfg(target_os = "none")]
fn new_vector(line: Option<u32>) -> (u32, u32) {
    let (vector, level) = match line {
        Some(gsi) => crate::ke::interrupt::allocate_line(gsi),
        None => crate::ke::interrupt::allocate_message(),
    };
    (u32::from(vector), u32::from(level))
}

#[cfg(not(target_os = "none"))]
fn new_vector(_line: Option<u32>) -> (u32, u32) {
    static NEXT: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0x51);
    let vector = NEXT.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
    (vector, vector >> 4)
}

/// The vector and level of a line, the same ones for everybody who shares it.
fn line_vector(gsi: u32) -> (u32, u32) {
    let known = LINES
        .lock()
        .iter()
        .find(|(line, ..)| *line == gsi)
        .map(|(_, vector, level)| (*vector, *level));
    known.unwrap_or_else(|| {
        let (vector, level) = new_vector(Some(gsi));
        LINES.lock().push((gsi, vector, level));
        (vector, level)
    })
}

fn split(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// Grants what one `IO_RESOURCE_DESCRIPTOR` asks for: the raw and the translated descriptor.
fn grant(wanted: Ptr) -> Option<(Descriptor, Descriptor)> {
    let (option, kind): (u8, u8) = (wanted.get(0), wanted.get(1));
    if option & ALTERNATIVE != 0 {
        return None;
    }
    let flags: u16 = wanted.get(4);
    let make = |flags: u16, body| Descriptor {
        kind,
        share: wanted.get(2),
        flags,
        body,
    };
    match kind {
        PORT | MEMORY => {
            let (low, high) = split(wanted.get(0x10));
            let both = make(flags, [low, high, wanted.get(8), 0]);
            Some((both, both))
        }
        INTERRUPT if flags & MESSAGE != 0 => {
            let flags = flags & (LATCHED | MESSAGE);
            let targeted = wanted.get::<u16>(0x10) == POLICY_SPECIFIED;
            let affinity = if targeted { wanted.get::<u64>(0x18) } else { 1 };
            let (low, high) = split(affinity);
            let (vector, level) = new_vector(None);
            // Raw: group and message count; translated: level and group.
            let raw = make(flags, [1 << 16, vector, low, high]);
            Some((raw, make(flags, [level, vector, low, high])))
        }
        INTERRUPT => {
            let line: u32 = wanted.get(8);
            let (vector, level) = line_vector(line);
            let raw = make(flags, [line, line, 1, 0]);
            Some((raw, make(flags, [level, vector, 1, 0])))
        }
        PRIVATE => {
            let both = make(flags, [wanted.get(8), wanted.get(0xC), wanted.get(0x10), 0]);
            Some((both, both))
        }
        _ => None,
    }
}

/// Serialises a `CM_RESOURCE_LIST` with one full descriptor.
fn list(bus: u32, descriptors: &[Descriptor]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [1u32, PCI, bus, 1 | 1 << 16, descriptors.len() as u32] {
        bytes.extend(word.to_le_bytes());
    }
    for descriptor in descriptors {
        bytes.extend([descriptor.kind, descriptor.share]);
        bytes.extend(descriptor.flags.to_le_bytes());
        for word in descriptor.body {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes
}

/// Assigns resources for a requirements list (null: none are asked for): the raw and the translated list.
pub fn assign(requirements: Ptr) -> Option<(Vec<u8>, Vec<u8>)> {
    if requirements.is_null() {
        return None;
    }
    let bus: u32 = requirements.get(8);
    let first = requirements.add(0x20);
    let count = first.get::<u32>(4) as usize;
    let granted = (0..count).filter_map(|index| grant(first.add(8 + 0x20 * index)));
    let (raw, translated): (Vec<_>, Vec<_>) = granted.unzip();
    Some((list(bus, &raw), list(bus, &translated)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A requirements list with a memory range, a line and two targeted messages.
    fn requirements() -> Vec<u32> {
        let mut words = alloc::vec![0u32; 8 + 2 + 4 * 8];
        words[1] = PCI;
        words[7] = 1;
        words[9] = 4;
        let mut put = |index: usize, head: [u32; 2], body: [u32; 6]| {
            let at = 10 + 8 * index;
            words[at..at + 2].copy_from_slice(&head);
            words[at + 2..at + 8].copy_from_slice(&body);
        };
        put(
            0,
            [3 << 8 | 1 << 16, 0],
            [0x1000, 0x1000, 0xF000_0000, 0, 0xF000_0FFF, 0],
        );
        put(1, [2 << 8 | 3 << 16, 0], [28, 28, 0, 0, 0, 0]);
        put(
            2,
            [2 << 8 | 1 << 16, 7],
            [0xFFFF_FFFE, 0xFFFF_FFFE, 4, 0, 1, 0],
        );
        put(
            3,
            [2 << 8 | 1 << 16, 7],
            [0xFFFF_FFFE, 0xFFFF_FFFE, 4, 0, 2, 0],
        );
        words
    }

    #[test]
    fn each_requirement_becomes_one_raw_and_one_translated_descriptor() {
        let words = requirements();
        let (raw, translated) = assign(Ptr(words.as_ptr() as usize)).unwrap();
        assert_eq!(raw.len(), 0x14 + 4 * 0x14);
        let raw = Ptr(raw.as_ptr() as usize);
        let translated = Ptr(translated.as_ptr() as usize);
        assert_eq!(
            (raw.get::<u32>(0), raw.get::<u32>(4), raw.get::<u32>(0x10)),
            (1, PCI, 4)
        );
        let memory = translated.add(0x14);
        assert_eq!(
            (
                memory.get::<u8>(0),
                memory.get::<u64>(4),
                memory.get::<u32>(0xC)
            ),
            (3, 0xF000_0000, 0x1000)
        );
        let line = translated.add(0x28);
        let vector: u32 = line.get(8);
        assert_eq!(
            (u32::from(line.get::<u16>(4)), line.get::<u64>(0xC)),
            (vector >> 4, 1)
        );
        assert_eq!(
            raw.add(0x28).get::<u32>(8),
            28,
            "the raw vector is the global interrupt"
        );
        assert_eq!(line_vector(28).0, vector, "a shared line keeps its vector");
        let (first, second) = (translated.add(0x3C), translated.add(0x50));
        assert_eq!((first.get::<u16>(2), second.get::<u16>(2)), (3, 3));
        assert_eq!((first.get::<u64>(0xC), second.get::<u64>(0xC)), (1, 2));
        assert_ne!(first.get::<u32>(8), second.get::<u32>(8));
    }
}
