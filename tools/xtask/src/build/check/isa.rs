// SPDX-License-Identifier: BSD-2-Clause
//! Instructions: baseline x86-64 only. x87, MMX and everything encoded with VEX or EVEX is state that the kernel doesn't
//! save for a driver.

use anyhow::Result;
use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction, Register};
use object::pe::IMAGE_SCN_MEM_EXECUTE;

use super::Problems;

/// Only so many are named per image; one is enough to know where to look.
const MAX_REPORTED: usize = 8;

pub(super) fn check(problems: &mut Problems<'_>) -> Result<()> {
    let image = problems.image;
    let functions = image.functions()?;
    let starts: Vec<u32> = functions
        .iter()
        .flat_map(|function| [function.begin, function.end])
        .collect();
    let mut found = Vec::new();
    for section in image
        .sections()?
        .iter()
        .filter(|section| section.characteristics & IMAGE_SCN_MEM_EXECUTE != 0)
    {
        let end = section
            .rva
            .saturating_add(u32::try_from(section.data.len()).unwrap_or(u32::MAX));
        let mut cuts: Vec<u32> = starts
            .iter()
            .copied()
            .filter(|start| (section.rva..end).contains(start))
            .collect();
        cuts.extend([section.rva, end]);
        cuts.sort_unstable();
        cuts.dedup();
        for window in cuts.windows(2) {
            let [from, to] = *window else { continue };
            let code = section
                .data
                .get((from - section.rva) as usize..(to - section.rva) as usize)
                .unwrap_or_default();
            found.extend(disallowed(code, from));
        }
    }
    for (rva, text) in found.iter().take(MAX_REPORTED) {
        problems.add(
            "instruction",
            format!(
                "{}: {text}; only baseline x86-64 code may run in the kernel",
                image.symbols.describe(*rva)
            ),
        );
    }
    if found.len() > MAX_REPORTED {
        problems.add(
            "instruction",
            format!("and {} more such instructions", found.len() - MAX_REPORTED),
        );
    }
    Ok(())
}

/// Address and description of each instruction in `code` that isn't allowed.
fn disallowed(code: &[u8], rva: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let mut decoder = Decoder::with_ip(64, code, u64::from(rva), DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let at = u32::try_from(instruction.ip()).unwrap_or(rva);
        if let Some(why) = why_not(&instruction) {
            found.push((at, format!("{:?} ({why})", instruction.mnemonic())));
        }
    }
    found
}

fn why_not(instruction: &Instruction) -> Option<&'static str> {
    if instruction.code() == Code::INVALID {
        return Some("can't be decoded");
    }
    if instruction.encoding() != EncodingKind::Legacy {
        return Some("AVX");
    }
    if uses_mmx(instruction) {
        return Some("MMX");
    }
    for feature in instruction.cpuid_features() {
        match feature {
            CpuidFeature::FPU
            | CpuidFeature::FPU287
            | CpuidFeature::FPU387
            | CpuidFeature::FPU287XL_ONLY => return Some("x87"),
            CpuidFeature::MMX
            | CpuidFeature::CYRIX_EMMI
            | CpuidFeature::D3NOW
            | CpuidFeature::D3NOWEXT => return Some("MMX"),
            feature if !BASELINE.contains(feature) => return Some("not in baseline x86-64"),
            _ => {}
        }
    }
    None
}

/// What every 64-bit Windows 10 processor has, plus hints that older ones ignore and the hypervisor call.
const BASELINE: &[CpuidFeature] = &[
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::CMOV,
    CpuidFeature::CPUID,
    CpuidFeature::CX8,
    CpuidFeature::CMPXCHG16B,
    CpuidFeature::CLFSH,
    CpuidFeature::FXSR,
    CpuidFeature::MSR,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
    CpuidFeature::TSC,
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::CET_IBT,
    CpuidFeature::SVM,
    CpuidFeature::VMX,
];

fn uses_mmx(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| {
        let register = instruction.op_register(operand);
        register.is_mm() || (Register::ST0..=Register::ST7).contains(&register)
    })
}

#[cfg(test)]
mod tests {
    use super::disallowed;

    #[test]
    fn baseline_code_passes() {
        // sub rsp, 28h; movups xmm0, [rcx]; movaps [rdx], xmm0; fxsave [rcx]; ldmxcsr [rcx]; lock cmpxchg16b [rdx];
        // pause; mfence; cpuid; vmcall; int3; ret; nop word [rax+rax]
        let code = [
            0x48, 0x83, 0xEC, 0x28, 0x0F, 0x10, 0x01, 0x0F, 0x29, 0x02, 0x0F, 0xAE, 0x01, 0x0F,
            0xAE, 0x11, 0xF0, 0x48, 0x0F, 0xC7, 0x0A, 0xF3, 0x90, 0x0F, 0xAE, 0xF0, 0x0F, 0xA2,
            0x0F, 0x01, 0xC1, 0xCC, 0xC3, 0x66, 0x0F, 0x1F, 0x04, 0x00,
        ];
        assert_eq!(disallowed(&code, 0x1000), []);
    }

    #[test]
    fn avx_x87_mmx_and_newer_sse_are_named() {
        let cases: [(&[u8], &str); 6] = [
            (&[0xC5, 0xF8, 0x10, 0x01], "AVX"), // vmovups xmm0, [rcx]
            (&[0xD9, 0xE8], "x87"),             // fld1
            (&[0x0F, 0x6F, 0x01], "MMX"),       // movq mm0, [rcx]
            (&[0xF3, 0x0F, 0xB8, 0xC1], "not in baseline x86-64"), // popcnt eax, ecx
            (&[0x66, 0x0F, 0x38, 0x00, 0xC1], "not in baseline x86-64"), // pshufb
            (&[0x06], "can't be decoded"),
        ];
        for (code, why) in cases {
            let found = disallowed(code, 0x1000);
            assert!(
                found.len() == 1 && found[0].1.contains(why),
                "{code:x?}: {found:?}"
            );
        }
    }
}
