// SPDX-License-Identifier: BSD-2-Clause
//! Exceptions: each ends the run and says which driver, where, and how it got there.

use crate::arch::{self, Frame};
use crate::ex::pool::POISON;
use crate::ke::bugcheck;
use crate::ldr;
use crate::mem::Ptr;
use crate::verifier::{self, Caller};
use crate::{kprint, mm};

fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        3 => "breakpoint",
        6 => "invalid opcode",
        8 => "double fault",
        13 => "general protection",
        14 => "page fault",
        0x29 => "fast fail",
        0x2c => "assertion",
        _ => "exception",
    }
}

fn poisoned(frame: &Frame) -> bool {
    let registers = [
        frame.rax, frame.rbx, frame.rcx, frame.rdx, frame.rsi, frame.rdi, frame.rbp, frame.r8,
        frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15, frame.rip,
    ];
    let pattern = u64::from_le_bytes([POISON; 8]);
    registers.iter().any(|r| *r & !0xffff == pattern & !0xffff)
}

/// An exception on this CPU.
pub(crate) fn exception(frame: &Frame) -> ! {
    let vector = frame.vector;
    let address = if vector == 14 {
        arch::fault_address()
    } else {
        0
    };
    bugcheck::freeze_others();
    crate::log::seize();
    kprint!(
        "exception vector={vector} ({}) error={:#x} address={address:#x} rip={} irql={} cpu={}",
        name(vector),
        frame.error,
        Place(frame.rip),
        arch::irql(),
        arch::cpu_number()
    );
    kprint!(
        "rax={:#x} rcx={:#x} rdx={:#x} rbx={:#x} rsp={:#x} rbp={:#x} rsi={:#x} rdi={:#x}",
        frame.rax,
        frame.rcx,
        frame.rdx,
        frame.rbx,
        frame.rsp,
        frame.rbp,
        frame.rsi,
        frame.rdi
    );
    kprint!(
        "r8={:#x} r9={:#x} r10={:#x} r11={:#x} r12={:#x} r13={:#x} r14={:#x} r15={:#x}",
        frame.r8,
        frame.r9,
        frame.r10,
        frame.r11,
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15
    );
    backtrace(Ptr(frame.rsp as usize));
    let noted = verifier::caller();
    let who = match ldr::find(Ptr(frame.rip as usize)) {
        Some((driver, _)) => Caller {
            driver: ldr::service_of(&driver),
            export: "-",
        },
        None => noted,
    };
    let rule = match vector {
        0x29 => "fast_fail",
        0x2c | 3 => "assertion",
        13 | 14 if poisoned(frame) => "freed_use",
        _ => "fault",
    };
    verifier::fail_as(
        &who,
        rule,
        format_args!(
            "{} at {} address {address:#x}",
            name(vector),
            Place(frame.rip)
        ),
    )
}

/// An address as `image+offset`.
pub(crate) struct Place(pub(crate) u64);

impl core::fmt::Display for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match ldr::find(Ptr(self.0 as usize)) {
            Some((image, offset)) => write!(f, "{image}+{offset:#x}"),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

/// Prints the words on the stack that point into driver images or the kernel's code: an over-full back trace.
pub(super) fn backtrace(stack: Ptr) {
    let mut shown = 0;
    for i in 0..512 {
        let at = stack.add(i * 8);
        if i % 512 == 0 || at.0.is_multiple_of(mm::PAGE) {
            let mapped = mm::map::try_translate(at);
            if mapped.is_none() {
                return;
            }
        }
        let word: u64 = at.get(0);
        if ldr::find(Ptr(word as usize)).is_some() || arch::in_kernel_text(word as usize) {
            kprint!("  stack {}", Place(word));
            shown += 1;
            if shown == 16 {
                return;
            }
        }
    }
}

/// Prints the back trace of the caller.
#[inline(never)]
pub(crate) fn backtrace_here() {
    let here = 0u64;
    backtrace(Ptr((&raw const here) as usize & !7));
}
