// SPDX-License-Identifier: BSD-2-Clause
//! Interrupts and exceptions.
//!
//! Every vector enters through one routine that saves the general registers and, because drivers use XMM at every
//! level, the FXSAVE area. An interrupt of class `n = vector >> 4` runs at IRQL `n` with interrupts on. Vector
//! 0x2F is the dispatch interrupt: DPCs and thread switches.

use core::arch::{asm, global_asm};
use core::sync::atomic::Ordering;

use super::{apic, asm as insn};
use crate::ke;
use crate::mem::Ptr;
use crate::sync::Lock;

/// What the entry saved, in memory order.
#[repr(C)]
#[derive(Debug)]
#[expect(missing_docs, reason = "registers by name")]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

global_asm!(
    r#"
    .globl tk_trap_stubs
    .balign 16
tk_trap_stubs:
    .set vec, 0
    .rept 256
    .balign 16
    .if (vec == 8) || (vec >= 10 && vec <= 14) || (vec == 17) || (vec == 21) || (vec == 29) || (vec == 30)
    nop
    nop
    .else
    push 0
    .endif
    .byte 0x68
    .long vec
    jmp tk_trap_common
    .set vec, vec + 1
    .endr
tk_trap_common:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rbx, rsp
    sub rsp, 512
    and rsp, -16
    fxsave64 [rsp]
    mov rdi, rbx
    call {trap}
    fxrstor64 [rsp]
    mov rsp, rbx
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq
    "#,
    trap = sym trap,
);

unsafe extern "C" {
    static tk_trap_stubs: u8;
}

#[repr(C, align(16))]
struct Idt([u128; 256]);

static IDT: Lock<Idt> = Lock::new(Idt([0; 256]));

/// Loads the interrupt table (made on first use) on this CPU.
pub(super) fn load_idt() {
    let stubs = (&raw const tk_trap_stubs) as usize;
    let mut idt = IDT.lock();
    for (vector, gate) in idt.0.iter_mut().enumerate() {
        let ist = match vector {
            8 => 1,
            2 | 18 => 2,
            _ => 0u128,
        };
        let at = (stubs + vector * 16) as u128;
        *gate = at & 0xffff
            | 0x10 << 16
            | ist << 32
            | 0x8e << 40
            | (at >> 16 & 0xffff) << 48
            | (at >> 32) << 64;
    }
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let pointer = Pointer {
        limit: 4095,
        base: idt.0.as_ptr() as u64,
    };
    // SAFETY: the table is a static with a valid gate for every vector.
    unsafe { asm!("lidt [{}]", in(reg) &pointer, options(nostack, preserves_flags)) }
}

/// The dispatch interrupt.
pub(super) const DISPATCH_VECTOR: u8 = 0x2f;
/// The clock.
pub(super) const CLOCK_VECTOR: u8 = 0xd1;
/// Interrupt between CPUs: freeze.
pub(super) const IPI_VECTOR: u8 = 0xe1;
/// The local APIC's spurious vector.
pub(super) const SPURIOUS_VECTOR: u8 = 0xff;

extern "C" fn trap(frame: &mut Frame) {
    let vector = frame.vector as u8;
    match vector {
        2 => ke::bugcheck::nmi(frame),
        0..32 | 0x2c => ke::fault::exception(frame),
        // RtlFailFast
        0x29 => ke::fault::exception(frame),
        DISPATCH_VECTOR => {
            let old = insn::irql();
            insn::set_irql(ke::irql::DISPATCH);
            apic::eoi();
            super::cpu()
                .dispatch_pending
                .store(false, Ordering::Release);
            insn::enable_interrupts();
            ke::dispatch::interrupt();
            insn::disable_interrupts();
            insn::set_irql(old);
        }
        SPURIOUS_VECTOR => {}
        _ => {
            let old = insn::irql();
            let level = vector >> 4;
            insn::set_irql(level);
            let this = super::cpu();
            let outer = this.interrupt_depth.fetch_add(1, Ordering::Relaxed) == 0;
            let stolen = (outer && this.in_dpc.load(Ordering::Relaxed))
                .then(ke::testing::dpc_begins)
                .flatten();
            if vector != IPI_VECTOR {
                insn::enable_interrupts();
            }
            match vector {
                CLOCK_VECTOR => super::time::clock_interrupt(frame, old),
                IPI_VECTOR => ke::bugcheck::ipi(),
                _ => ke::interrupt::deliver(vector, Ptr(core::ptr::from_mut(frame) as usize)),
            }
            insn::disable_interrupts();
            this.interrupt_depth.fetch_sub(1, Ordering::Relaxed);
            apic::eoi();
            ke::testing::interrupt_ends(stolen);
            insn::set_irql(old);
        }
    }
}
