// SPDX-License-Identifier: BSD-2-Clause
//! Guests made of bytes: 32-bit ELF files with a PVH note and a little machine code.
#![allow(dead_code, reason = "each test program uses a part of it")]

use rig::{Cache, RigConfig};

const BASE: u32 = 0x10_0000;
const CODE: u32 = 0x100;
/// Zero at the start; above the image's own bytes.
const DATA: u32 = BASE + 0x3000;
const SHARED_INFO: u32 = BASE + 0x5000;
const MEMORY: u32 = 0x6000;

/// Where the guests have their hypercall page.
pub(crate) const HYPERCALL_PAGE: u64 = BASE as u64 + 0x2000;

const MEMORY_OP: u32 = 12;
/// Number of `xen_version`.
pub(crate) const VERSION_OP: u32 = 17;
/// Number of `sched_op`.
pub(crate) const SCHED_OP: u32 = 29;
const EVTCHN_OP: u32 = 32;

const DOMID_SELF: u32 = 0x7ff0;

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

/// Code and the texts that it prints.
#[derive(Default)]
struct Program {
    code: Vec<u8>,
    /// Where the code names a text, and which.
    texts: Vec<(usize, String)>,
}

impl Program {
    /// Sets up a stack and the hypercall page.
    fn new() -> Self {
        let mut p = Self::default();
        p.op(&[0xbc], &[DATA + 0xff0]); // mov esp, imm
        p.op(&[0xb8], &[0x4000_0002]); // mov eax, imm
        p.op(&[0x0f, 0xa2, 0x89, 0xd9, 0xb8], &[HYPERCALL_PAGE as u32]); // cpuid; mov ecx, ebx; mov eax, imm
        p.op(&[0x31, 0xd2, 0x0f, 0x30], &[]); // xor edx, edx; wrmsr
        p
    }

    fn op(&mut self, code: &[u8], words: &[u32]) {
        self.code.extend(code);
        self.code.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    }

    /// `mov dword [address], value`
    fn store(&mut self, address: u32, value: u32) {
        self.op(&[0xc7, 0x05], &[address, value]);
    }

    /// A conditional jump back to `to`.
    fn jump_back(&mut self, condition: u8, to: usize) {
        let distance = to as isize - (self.code.len() as isize + 2);
        let distance = i8::try_from(distance).expect("a short jump");
        self.code.extend([condition, distance as u8]);
    }

    fn hypercall(&mut self, number: u32, first: u32, second: u32) {
        self.op(&[0xbb], &[first]); // mov ebx, imm
        self.op(&[0xb9], &[second]); // mov ecx, imm
        self.op(&[0xb8], &[HYPERCALL_PAGE as u32 + number * 32]); // mov eax, imm
        self.op(&[0xff, 0xd0], &[]); // call eax
    }

    fn print(&mut self, text: &str) {
        self.code.push(0xbe); // mov esi, imm
        self.texts.push((self.code.len(), text.to_owned()));
        self.op(&[], &[0]);
        self.op(&[0xb9], &[text.len() as u32]); // mov ecx, imm
        self.op(&[0x66, 0xba, 0xe9, 0x00, 0xf3, 0x6e], &[]); // mov dx, 0xe9; rep outsb
    }

    fn end(&mut self, then: Then) {
        match then {
            Then::Halt => {}
            Then::PowerOff => self.hypercall(SCHED_OP, 2, DATA), // SCHEDOP_shutdown, reason 0
            Then::Crash => self.op(&[0x0f, 0x0b], &[]),          // ud2
        }
        self.op(&[0xf4, 0xeb, 0xfd], &[]); // hlt; jmp to it
    }

    /// The ELF file: header, two program headers, note at 0xc0, code, texts.
    fn image(mut self) -> Vec<u8> {
        for (at, text) in &self.texts {
            let address = BASE + CODE + self.code.len() as u32;
            self.code[*at..*at + 4].copy_from_slice(&address.to_le_bytes());
            self.code.extend(text.as_bytes());
        }
        let mut image = Vec::new();
        image.extend(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
        image.extend([2, 0, 3, 0, 1, 0, 0, 0]); // executable, i386
        for word in [BASE + CODE, 0x34, 0, 0] {
            image.extend(word.to_le_bytes());
        }
        for half in [0x34u16, 0x20, 2, 0, 0, 0] {
            image.extend(half.to_le_bytes());
        }
        let size = CODE + self.code.len() as u32;
        assert!(
            size <= 0x2000,
            "the program reaches into the hypercall page"
        );
        for word in [1, 0, BASE, BASE, size, MEMORY, 7, 0x1000] {
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
        image.extend(self.code);
        image
    }
}

/// A guest that makes `rounds` hypercalls, prints `text` and then does `then`.
pub(crate) fn hello(text: &str, rounds: u32, then: Then) -> Vec<u8> {
    let mut p = Program::new();
    if rounds > 0 {
        p.op(&[0xbf], &[rounds]); // mov edi, imm
        let top = p.code.len();
        p.hypercall(VERSION_OP, 0, 0);
        p.op(&[0x4f], &[]); // dec edi
        p.jump_back(0x75, top);
    }
    p.print(text);
    p.end(then);
    p.image()
}

/// A guest that opens an event channel for dom0, prints `RESULT port P`, waits until dom0 has bound to it, lets about
/// half a second pass, then `count` times notifies and waits for the event that comes back, and prints `RESULT bounced`.
pub(crate) fn bounce(count: u32) -> Vec<u8> {
    let [atp, alloc, send, status] = [DATA + 0x10, DATA + 0x20, DATA + 0x30, DATA + 0x40];
    let mut p = Program::new();
    p.store(atp, DOMID_SELF); // space 0: shared info; index 0
    p.store(atp + 12, SHARED_INFO >> 12);
    p.hypercall(MEMORY_OP, 7, atp);
    p.store(alloc, DOMID_SELF); // for domain 0
    p.hypercall(EVTCHN_OP, 6, alloc);
    p.store(status, DOMID_SELF);
    p.op(&[0xa1], &[alloc + 4]); // mov eax, [port]
    p.op(&[0xa3], &[send]); // mov [send], eax
    p.op(&[0xa3], &[status + 4]);
    p.op(&[0x04, b'0', 0xa2], &[DATA + 0x60]); // add al, '0'; mov [digit], al
    p.op(&[0xc6, 0x05], &[DATA + 0x61]); // mov byte [digit + 1], newline
    p.op(b"\n", &[]);
    p.print("RESULT port ");
    p.op(&[0xbe], &[DATA + 0x60]); // mov esi, digit
    p.op(&[0xb9], &[2]); // mov ecx, 2
    p.op(&[0xf3, 0x6e], &[]); // rep outsb
    let wait = p.code.len();
    p.hypercall(EVTCHN_OP, 5, status);
    p.op(&[0x83, 0x3d], &[status + 8]); // cmp dword [status], 2: bound to another domain
    p.op(&[2], &[]);
    p.jump_back(0x75, wait);
    p.op(&[0xb8], &[100_000_000]); // mov eax, imm
    let delay = p.code.len();
    p.op(&[0x48], &[]); // dec eax
    p.jump_back(0x75, delay);
    p.op(&[0xbf], &[count]); // mov edi, imm
    let again = p.code.len();
    p.hypercall(EVTCHN_OP, 4, send);
    let look = p.code.len();
    p.op(&[0xa1], &[send]); // mov eax, [port]
    p.op(&[0xf0, 0x0f, 0xb3, 0x05], &[SHARED_INFO + 2048]); // lock btr [pending], eax
    p.jump_back(0x73, look);
    p.op(&[0x4f], &[]); // dec edi
    p.jump_back(0x75, again);
    p.print(&format!("RESULT bounced {count}\n"));
    p.end(Then::Halt);
    p.image()
}

/// A configuration that tells of long steps on standard error.
pub(crate) fn config() -> RigConfig {
    let cache = Cache::new().with_progress(|line| eprintln!("rig: {line}"));
    RigConfig {
        cache,
        ..RigConfig::default()
    }
}
