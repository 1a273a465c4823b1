// SPDX-License-Identifier: BSD-2-Clause
//! Finding Xen by CPUID and choosing the hypercall instruction.
//!
//! Reads CPUID and nothing else: it runs on every machine, under every hypervisor, and in user mode.
//! No hypercall page is set up: calling the instruction directly is what control-flow protection and
//! speculation mitigations expect.
//!
//! # IRQL
//! Any.

/// The four registers of one CPUID leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// The CPUID instruction of the current processor.
pub trait Cpuid {
    /// Reads a leaf.
    fn read(&self, leaf: u32, subleaf: u32) -> Leaf;
}

/// How a guest calls Xen on this processor.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Intel, Centaur, Shanghai.
    Vmcall = 1,
    /// AMD, Hygon.
    Vmmcall = 2,
}

/// Xen, found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xen {
    /// The first of Xen's CPUID leaves: 0x4000_0000, or 0x4000_0100 behind Viridian's.
    pub base: u32,
    /// The highest of Xen's leaves.
    pub last: u32,
    /// The hypercall instruction.
    pub instruction: Instruction,
}

/// Why there is no Xen to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// No leaf has Xen's signature.
    NoSignature,
    /// Xen on a processor whose hypercall instruction is unknown.
    UnknownVendor,
}

/// Where Xen's leaves may begin.
const BASES: [u32; 2] = [0x4000_0000, 0x4000_0100];

/// Looks for Xen.
pub fn find(cpuid: &impl Cpuid) -> Result<Xen, Absent> {
    let (base, last) = BASES
        .iter()
        .map(|base| (*base, cpuid.read(*base, 0)))
        .find(|(base, leaf)| leaf.eax >= base + 2 && signature(*leaf) == *b"XenVMMXenVMM")
        .map(|(base, leaf)| (base, leaf.eax))
        .ok_or(Absent::NoSignature)?;
    let instruction = match &vendor(cpuid.read(0, 0)) {
        b"GenuineIntel" | b"CentaurHauls" | b"  Shanghai  " => Instruction::Vmcall,
        b"AuthenticAMD" | b"HygonGenuine" => Instruction::Vmmcall,
        _ => return Err(Absent::UnknownVendor),
    };
    Ok(Xen {
        base,
        last,
        instruction,
    })
}

/// A hypervisor's signature: EBX, ECX, EDX.
fn signature(leaf: Leaf) -> [u8; 12] {
    text(leaf.ebx, leaf.ecx, leaf.edx)
}

/// A processor's vendor: EBX, EDX, ECX.
fn vendor(leaf: Leaf) -> [u8; 12] {
    text(leaf.ebx, leaf.edx, leaf.ecx)
}

/// Three registers as text.
fn text(first: u32, second: u32, third: u32) -> [u8; 12] {
    let mut text = [0; 12];
    for (part, value) in text.chunks_exact_mut(4).zip([first, second, third]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// CPUID from a list; what is not listed reads as zero.
    pub(crate) struct Script<'a>(pub(crate) &'a [(u32, u32, Leaf)]);

    impl Cpuid for Script<'_> {
        fn read(&self, leaf: u32, subleaf: u32) -> Leaf {
            self.0
                .iter()
                .find(|(l, s, _)| (*l, *s) == (leaf, subleaf))
                .map(|(.., registers)| *registers)
                .unwrap_or_default()
        }
    }

    const fn leaf(eax: u32, ebx: u32, ecx: u32, edx: u32) -> Leaf {
        Leaf { eax, ebx, ecx, edx }
    }

    const XEN: (u32, u32, u32) = (0x566e_6558, 0x6558_4d4d, 0x4d4d_566e);
    const INTEL: Leaf = leaf(0xd, 0x756E_6547, 0x6C65_746E, 0x4965_6E69);
    const AMD: Leaf = leaf(0xd, 0x6874_7541, 0x444D_4163, 0x6974_6E65);

    const fn xen_at(base: u32, last: u32) -> (u32, u32, Leaf) {
        (base, 0, leaf(last, XEN.0, XEN.1, XEN.2))
    }

    #[test]
    fn xen_at_the_first_leaf_on_amd_is_called_with_vmmcall() {
        let script = Script(&[(0, 0, AMD), xen_at(0x4000_0000, 0x4000_0005)]);
        let xen = find(&script).expect("found");
        assert_eq!(
            (xen.base, xen.last, xen.instruction),
            (0x4000_0000, 0x4000_0005, Instruction::Vmmcall)
        );
    }

    #[test]
    fn xen_behind_viridian_on_intel_is_called_with_vmcall() {
        let viridian = leaf(0x4000_0006, 0x7263_694D, 0x666F_736F, 0x7648_2074);
        let script = Script(&[
            (0, 0, INTEL),
            (0x4000_0000, 0, viridian),
            xen_at(0x4000_0100, 0x4000_0105),
        ]);
        let xen = find(&script).expect("found");
        assert_eq!(
            (xen.base, xen.instruction),
            (0x4000_0100, Instruction::Vmcall)
        );
    }

    #[test]
    fn every_known_vendor_has_its_instruction() {
        let vendors = [
            (0x756E_6547, 0x6C65_746E, 0x4965_6E69, Instruction::Vmcall),
            (0x746E_6543, 0x736C_7561, 0x4872_7561, Instruction::Vmcall),
            (0x6853_2020, 0x2020_6961, 0x6867_6E61, Instruction::Vmcall),
            (0x6874_7541, 0x444D_4163, 0x6974_6E65, Instruction::Vmmcall),
            (0x6F67_7948, 0x656E_6975, 0x6E65_476E, Instruction::Vmmcall),
        ];
        for (ebx, ecx, edx, instruction) in vendors {
            let leaves = [
                (0, 0, leaf(1, ebx, ecx, edx)),
                xen_at(0x4000_0000, 0x4000_0002),
            ];
            let xen = find(&Script(&leaves)).expect("found");
            assert_eq!(xen.instruction, instruction, "{ebx:#x}");
        }
    }

    #[test]
    fn another_hypervisor_or_none_or_too_few_leaves_is_not_xen() {
        let kvm = (
            0x4000_0000,
            0,
            leaf(0x4000_0001, 0x4b4d_564b, 0x564b_4d56, 0x4d),
        );
        for leaves in [
            &[(0, 0, INTEL)][..],
            &[(0, 0, INTEL), kvm],
            &[(0, 0, INTEL), xen_at(0x4000_0000, 0x4000_0001)],
            &[(0, 0, INTEL), xen_at(0x4000_0200, 0x4000_0205)],
        ] {
            assert_eq!(find(&Script(leaves)), Err(Absent::NoSignature));
        }
    }

    #[test]
    fn xen_on_an_unknown_processor_is_left_alone() {
        let leaves = [(0, 0, leaf(1, 1, 2, 3)), xen_at(0x4000_0000, 0x4000_0005)];
        assert_eq!(find(&Script(&leaves)), Err(Absent::UnknownVendor));
    }
}
