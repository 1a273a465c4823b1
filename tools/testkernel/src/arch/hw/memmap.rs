// SPDX-License-Identifier: BSD-2-Clause
//! Where RAM is: from the start info (PVH) or from the information page that the toolstack leaves for HVM firmware.

use alloc::vec::Vec;

use crate::mem::Ptr;

/// A range of physical RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub len: u64,
}

/// What the boot environment told.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// RAM.
    pub ram: Vec<Range>,
    /// Address of the RSDP, or 0.
    pub rsdp: u64,
    /// Number of CPUs, when the environment says it.
    pub cpus: Option<u32>,
    /// Whether this is an HVM guest without firmware.
    pub hvm: bool,
}

const START_INFO_MAGIC: u32 = 0x336e_c578;
const HVM_INFO: usize = 0x9f800;

/// Reads the environment; `start_info` may be garbage. Uses the direct map of the boot code. An HVM guest has the
/// information page and, in newer toolstacks, a start info as well, which lacks the ACPI tables.
pub(super) fn read(start_info: usize) -> Option<Environment> {
    if let Some(environment) = hvm(Ptr(super::DIRECT_MAP + HVM_INFO)) {
        return Some(environment);
    }
    let info = Ptr(super::DIRECT_MAP + start_info);
    if start_info != 0 && start_info < 0xffff_f000 && info.get::<u32>(0) == START_INFO_MAGIC {
        return pvh(info);
    }
    None
}

fn pvh(info: Ptr) -> Option<Environment> {
    if info.get::<u32>(4) < 1 {
        return None;
    }
    let map = Ptr(super::DIRECT_MAP + info.get::<usize>(40));
    let ram = (0..info.get::<u32>(48) as usize)
        .map(|i| map.add(i * 24))
        .filter(|e| e.get::<u32>(16) == 1)
        .map(|e| Range {
            base: e.get(0),
            len: e.get(8),
        })
        .collect();
    Some(Environment {
        ram,
        rsdp: info.get(32),
        cpus: None,
        hvm: false,
    })
}

fn hvm(info: Ptr) -> Option<Environment> {
    if info.get::<u64>(0) != u64::from_le_bytes(*b"HVM INFO") {
        return None;
    }
    let low_end = u64::from(info.get::<u32>(20)) << 12;
    let high_end = u64::from(info.get::<u32>(24)) << 12;
    let mut ram = alloc::vec![
        Range {
            base: 0,
            len: 0x9f000
        },
        Range {
            base: 0x10_0000,
            len: low_end - 0x10_0000
        },
    ];
    if high_end > 1 << 32 {
        ram.push(Range {
            base: 1 << 32,
            len: high_end - (1 << 32),
        });
    }
    Some(Environment {
        ram,
        rsdp: 0,
        cpus: Some(info.get(16)),
        hvm: true,
    })
}
