// SPDX-License-Identifier: BSD-2-Clause
//! ACPI: finds the CPUs in the MADT and puts an RSDP where drivers look for it (0xE0000 to 0xFFFFF); an HVM guest
//! that was started without firmware gets its RSDP, XSDT and MADT from here.

use alloc::vec::Vec;

use super::{DIRECT_MAP, MAX_CPUS, apic, asm as insn};
use crate::mem::Ptr;

/// What the MADT says.
#[derive(Debug, Default, Clone)]
pub struct Topology {
    /// APIC ids of the usable CPUs; the boot CPU first.
    pub apic_ids: Vec<u32>,
    /// Physical address of the I/O APIC, or 0.
    pub io_apic: u64,
}

const RSDP: usize = 0xe_fff0 & !0xf;
const TABLES: usize = 0xe_8000;

fn at(physical: usize) -> Ptr {
    Ptr(DIRECT_MAP + physical)
}

fn readable(physical: u64) -> bool {
    (0x1000..0x1_0000_0000).contains(&physical)
}

fn is_rsdp(p: Ptr) -> bool {
    p.get::<u64>(0) == u64::from_le_bytes(*b"RSD PTR ")
}

fn checksum(p: Ptr, len: usize) -> u8 {
    0u8.wrapping_sub(p.to_vec(len).iter().fold(0, |sum, b| sum.wrapping_add(*b)))
}

/// Puts an RSDP into the BIOS area unless there is one and reads the CPUs. Runs with the boot page tables.
pub(super) fn prepare(rsdp: u64, hvm_cpus: Option<u32>) -> Topology {
    let existing = (0xe_0000..0x10_0000).step_by(16).find(|a| is_rsdp(at(*a)));
    let found = match (existing, hvm_cpus) {
        (Some(address), _) => Some(address as u64),
        (None, Some(cpus)) => Some(build(cpus)),
        (None, None) if readable(rsdp) && is_rsdp(at(rsdp as usize)) => {
            at(RSDP).copy_within(at(rsdp as usize), 36);
            Some(RSDP as u64)
        }
        _ => None,
    };
    let mut topology = found.and_then(read).unwrap_or_default();
    let boot = apic::initial_id();
    topology.apic_ids.retain(|id| *id != boot);
    topology.apic_ids.insert(0, boot);
    topology.apic_ids.truncate(MAX_CPUS);
    topology
}

fn read(rsdp: u64) -> Option<Topology> {
    let rsdp = at(rsdp as usize);
    let xsdt = if rsdp.get::<u8>(15) >= 2 {
        rsdp.get::<u64>(24)
    } else {
        0
    };
    let (root, width) = if xsdt != 0 {
        (xsdt, 8)
    } else {
        (u64::from(rsdp.get::<u32>(16)), 4)
    };
    if !readable(root) {
        return None;
    }
    let root = at(root as usize);
    let count = (root.get::<u32>(4) as usize).saturating_sub(36) / width;
    for i in 0..count {
        let table = if width == 8 {
            root.get::<u64>(36 + i * 8)
        } else {
            u64::from(root.get::<u32>(36 + i * 4))
        };
        if readable(table) && at(table as usize).get::<u32>(0) == u32::from_le_bytes(*b"APIC") {
            return Some(madt(at(table as usize)));
        }
    }
    None
}

fn madt(table: Ptr) -> Topology {
    let mut topology = Topology::default();
    let end = table.get::<u32>(4) as usize;
    let mut offset = 44;
    while offset + 2 <= end {
        let entry = table.add(offset);
        let len = usize::from(entry.get::<u8>(1));
        match entry.get::<u8>(0) {
            0 if entry.get::<u32>(4) & 1 != 0 => {
                topology.apic_ids.push(u32::from(entry.get::<u8>(3)))
            }
            1 if topology.io_apic == 0 => topology.io_apic = u64::from(entry.get::<u32>(4)),
            9 if entry.get::<u32>(8) & 1 != 0 => topology.apic_ids.push(entry.get::<u32>(4)),
            _ => {}
        }
        if len < 2 {
            break;
        }
        offset += len;
    }
    topology
}

fn header(table: Ptr, signature: &[u8; 4], len: usize, revision: u8) {
    table.set(0, u32::from_le_bytes(*signature));
    table.set(4, len as u32);
    table.set(8, revision);
    table.add(10).copy_from(b"TSTKRNTSTKERNL");
    table.set(24, 1u32);
    table.set(28, 0x4b54_5354u32);
    table.set(32, 1u32);
    table.set(9, 0u8);
    table.set(9, checksum(table, len));
}

/// Writes the three tables; a virtual CPU `n` has the APIC id `2 n`, which CPUID confirms for the boot CPU.
fn build(cpus: u32) -> u64 {
    at(TABLES).fill(0, 0x1000);
    let step = 2;
    let xsdt = at(TABLES);
    let madt = at(TABLES + 0x100);
    madt.set(36, 0xfee0_0000u32);
    madt.set(40, 0u32);
    let mut offset = 44;
    for cpu in 0..cpus.min(MAX_CPUS as u32) {
        let entry = madt.add(offset);
        entry.set(0, 0u8);
        entry.set(1, 8u8);
        entry.set(2, cpu as u8);
        entry.set(3, (cpu * step) as u8);
        entry.set(4, 1u32);
        offset += 8;
    }
    let io = madt.add(offset);
    io.set(0, 1u8);
    io.set(1, 12u8);
    io.set(2, 1u8);
    io.set(4, 0xfec0_0000u32);
    offset += 12;
    header(madt, b"APIC", offset, 4);
    xsdt.set(36, (TABLES + 0x100) as u64);
    header(xsdt, b"XSDT", 44, 1);
    let rsdp = at(RSDP);
    rsdp.fill(0, 36);
    rsdp.copy_from(b"RSD PTR ");
    rsdp.add(9).copy_from(b"TSTKRN");
    rsdp.set(15, 2u8);
    rsdp.set(20, 36u32);
    rsdp.set(24, TABLES as u64);
    rsdp.set(8, checksum(rsdp, 20));
    rsdp.set(32, checksum(rsdp, 36));
    debug_assert_eq!(insn::cpuid(1, 0)[1] >> 24, 0);
    RSDP as u64
}
