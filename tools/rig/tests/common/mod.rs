// SPDX-License-Identifier: BSD-2-Clause
//! A guest made of bytes: a 32-bit ELF file with a PVH note whose code prints a text to port 0xE9.

use rig::{Cache, RigConfig};

const BASE: u32 = 0x10_0000;
const CODE: u32 = 0x100;

/// Where [`hello`] has its hypercall page.
pub(crate) const HYPERCALL_PAGE: u64 = BASE as u64 + 0x2000;

/// Number of `xen_version`.
pub(crate) const VERSION_OP: u32 = 17;

/// Number of `sched_op`.
pub(crate) const SCHED_OP: u32 = 29;

/// What the guest does after printing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Executes `hlt` for ever.
    Halt,
    /// Makes the hypercall that shuts the domain down as powered off.
    PowerOff,
    /// Executes an invalid instruction without an interrupt table: a triple fault.
    Crash,
}

/// An ELF file that prints `text`, which ends where its bytes end, and then does `then`.
///
/// `rounds`: hypercalls made before, for tests that count them.
pub(crate) fn hello(text: &str, rounds: u32, then: Then) -> Vec<u8> {
    let mut code = Vec::new();
    // Hypercall page: MSR number from CPUID 0x40000002, written with the address of a free page.
    let page = BASE + 0x2000;
    code.extend([0xb8]); // mov eax, 0x40000002
    code.extend(0x4000_0002u32.to_le_bytes());
    code.extend([0x0f, 0xa2, 0x89, 0xd9, 0xb8]); // cpuid; mov ecx, ebx; mov eax, page
    code.extend(page.to_le_bytes());
    code.extend([0x31, 0xd2, 0x0f, 0x30]); // xor edx, edx; wrmsr
    // xen_version(0), rounds times
    if rounds > 0 {
        code.extend([0xbf]); // mov edi, rounds
        code.extend(rounds.to_le_bytes());
        let top = code.len();
        code.extend([0x31, 0xdb, 0x31, 0xc9, 0xb8]); // xor ebx, ebx; xor ecx, ecx; mov eax, entry 17
        code.extend((page + 17 * 32).to_le_bytes());
        code.extend([0xff, 0xd0, 0x4f]); // call eax; dec edi
        let back = i8::try_from(top as isize - (code.len() as isize + 2)).expect("short jump");
        code.extend([0x75, back as u8]); // jnz top
    }
    code.extend([0xbe]); // mov esi, text
    let text_at = code.len();
    code.extend([0; 4]);
    code.extend([0xb9]); // mov ecx, length
    code.extend((text.len() as u32).to_le_bytes());
    code.extend([0x66, 0xba, 0xe9, 0x00, 0xf3, 0x6e]); // mov dx, 0xe9; rep outsb
    match then {
        Then::Halt => {}
        Then::PowerOff => {
            // sched_op(SCHEDOP_shutdown, &reason 0): the reason is the zero word behind the hypercall page.
            code.extend([0xbb, 2, 0, 0, 0, 0xb9]); // mov ebx, 2; mov ecx, &reason
            code.extend((page + 0x1000).to_le_bytes());
            code.extend([0xb8]); // mov eax, entry 29
            code.extend((page + 29 * 32).to_le_bytes());
            code.extend([0xff, 0xd0]); // call eax
        }
        Then::Crash => code.extend([0x0f, 0x0b]), // ud2
    }
    code.extend([0xf4, 0xeb, 0xfd]); // hlt; jmp to it
    // Stack for `call`: the note's entry has none, so set esp first.
    let mut start = vec![0xbc]; // mov esp, page end
    start.extend((BASE + 0x4000 - 16).to_le_bytes());
    let shift = start.len();
    start.extend(&code);
    code = start;
    let address = BASE + CODE + code.len() as u32;
    code[text_at + shift..text_at + shift + 4].copy_from_slice(&address.to_le_bytes());
    code.extend(text.as_bytes());

    // ELF header, two program headers, note at 0xc0, code at 0x100.
    let mut image = Vec::new();
    image.extend(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    image.extend([2, 0, 3, 0, 1, 0, 0, 0]); // executable, i386
    for word in [BASE + CODE, 0x34, 0, 0] {
        image.extend(word.to_le_bytes());
    }
    for half in [0x34u16, 0x20, 2, 0, 0, 0] {
        image.extend(half.to_le_bytes());
    }
    let size = CODE + code.len() as u32;
    for word in [1, 0, BASE, BASE, size, 0x4000, 7, 0x1000] {
        image.extend(word.to_le_bytes()); // PT_LOAD
    }
    for word in [4, 0xc0, BASE + 0xc0, BASE + 0xc0, 20, 20, 4, 4] {
        image.extend(word.to_le_bytes()); // PT_NOTE
    }
    image.resize(0xc0, 0);
    for word in [4, 4, 18] {
        image.extend(u32::to_le_bytes(word));
    }
    image.extend(b"Xen\0");
    image.extend((BASE + CODE).to_le_bytes());
    image.resize(CODE as usize, 0);
    image.extend(code);
    image
}

/// A configuration that tells of long steps on standard error.
pub(crate) fn config() -> RigConfig {
    let cache = Cache::new().with_progress(|line| eprintln!("rig: {line}"));
    RigConfig {
        cache,
        ..RigConfig::default()
    }
}
