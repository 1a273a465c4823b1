// SPDX-License-Identifier: BSD-2-Clause
//! Which vCPU this processor is, as Xen numbers them.
//!
//! Three numbers name a processor: the Windows index, the APIC id, and Xen's vCPU id, which every
//! hypercall takes. Xen tells the last one itself in a CPUID leaf; on a host that does not, the MADT
//! has it. Both are read on the processor in question.
//!
//! # IRQL
//! Any, on the processor in question.

use crate::detect::Cpuid;
use crate::madt;

/// Bit of the HVM leaf that says that EBX has the vCPU id.
const VCPU_ID_PRESENT: u32 = 1 << 3;

/// The id that Xen's own leaf has for this processor.
///
/// `base` and `last` are the first and the last of Xen's leaves.
pub fn id_from_xen(cpuid: &impl Cpuid, base: u32, last: u32) -> Option<u32> {
    let leaf = base + 4;
    if last < leaf {
        return None;
    }
    let hvm = cpuid.read(leaf, 0);
    (hvm.eax & VCPU_ID_PRESENT != 0).then_some(hvm.ebx)
}

/// The id that the MADT has for this processor.
pub fn id_from_madt(cpuid: &impl Cpuid, table: &[u8]) -> Option<u32> {
    madt::processor_id(table, apic_id(cpuid))
}

/// The APIC id: 32 bits where leaf 0xB has them, else 8.
fn apic_id(cpuid: &impl Cpuid) -> u32 {
    const TOPOLOGY: u32 = 0xB;
    if cpuid.read(0, 0).eax >= TOPOLOGY {
        let topology = cpuid.read(TOPOLOGY, 0);
        if topology.ebx != 0 {
            return topology.edx;
        }
    }
    cpuid.read(1, 0).ebx >> 24
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Leaf;
    use crate::detect::tests::Script;
    use crate::madt::tests::{local, table};

    const BASE: u32 = 0x4000_0100;

    fn registers(eax: u32, ebx: u32, edx: u32) -> Leaf {
        Leaf {
            eax,
            ebx,
            ecx: 0,
            edx,
        }
    }

    #[test]
    fn xens_leaf_is_believed_only_when_it_is_there_and_says_so() {
        let present = [(0x4000_0104, 0, registers(8, 5, 0))];
        assert_eq!(id_from_xen(&Script(&present), BASE, 0x4000_0104), Some(5));
        assert_eq!(id_from_xen(&Script(&present), BASE, 0x4000_0103), None);
        let absent = [(0x4000_0104, 0, registers(7, 5, 0))];
        assert_eq!(id_from_xen(&Script(&absent), BASE, 0x4000_0104), None);
    }

    #[test]
    fn the_madt_is_searched_for_the_apic_id_of_this_processor() {
        let table = table(&[&local(0, 0), &local(1, 2), &local(2, 4)]);
        let narrow = [(0, 0, registers(4, 0, 0)), (1, 0, registers(0, 2 << 24, 0))];
        assert_eq!(id_from_madt(&Script(&narrow), &table), Some(1));
        let wide = [
            (0, 0, registers(0xB, 0, 0)),
            (1, 0, registers(0, 2 << 24, 0)),
            (0xB, 0, registers(0, 1, 4)),
        ];
        assert_eq!(id_from_madt(&Script(&wide), &table), Some(2));
        let empty_topology = [
            (0, 0, registers(0xB, 0, 0)),
            (1, 0, registers(0, 2 << 24, 0)),
        ];
        assert_eq!(id_from_madt(&Script(&empty_topology), &table), Some(1));
    }

    #[test]
    fn a_processor_that_is_not_listed_has_no_id() {
        let table = table(&[&local(0, 0)]);
        let script = [(1, 0, registers(0, 9 << 24, 0))];
        assert_eq!(id_from_madt(&Script(&script), &table), None);
    }
}
