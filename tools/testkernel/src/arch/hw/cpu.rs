// SPDX-License-Identifier: BSD-2-Clause
//! The per-CPU block that GS points at (the processor control region drivers read inline) and the
//! segment tables.
//!
//! Offsets that drivers use: 0x18 self, 0x20 PRCB (at 0x180), 0x184 and 0x1A4 CPU number, 0x188 current thread.
//! Our own data hangs off 0x1000. The gate in front of every import uses 0x1008 (held spin locks).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::{MAX_CPUS, asm as insn, trap};
use crate::mem::Ptr;

/// Offset of the pointer to [`Cpu`].
const OWN: usize = 0x1000;
const BLOCK: usize = 0x2000;

/// The kernel's own data of one CPU.
#[derive(Debug)]
pub struct Cpu {
    /// Index, as drivers see it.
    pub number: usize,
    /// Local APIC id.
    pub apic_id: u32,
    /// The GS block.
    pub block: Ptr,
    /// A dispatch interrupt was requested and has not begun.
    pub dispatch_pending: AtomicBool,
    /// The scheduler wants this CPU to choose again.
    pub reschedule: AtomicBool,
    /// Depth of nested interrupts (device, clock, IPI).
    pub interrupt_depth: AtomicU32,
    /// Whether a DPC runs.
    pub in_dpc: AtomicBool,
    /// Ticks seen.
    pub ticks: AtomicU64,
    /// Set when the CPU is up.
    pub online: AtomicBool,
    /// Stack pointer of the boot context, where the first swap stores it.
    pub boot_sp: AtomicUsize,
}

static CPUS: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// This CPU.
pub fn cpu() -> &'static Cpu {
    let own = insn::gs_read(OWN) as *const Cpu;
    // SAFETY: GS offset OWN holds the leaked `Cpu` of this processor since `install`.
    unsafe { &*own }
}

/// For how long all CPUs together have run, in nanoseconds: Xen's word, so neither halts nor the time of other domains
/// are in it. Without Xen the time stamp counter.
pub fn busy_ticks() -> u64 {
    super::xen::running(0..cpu_count()).unwrap_or_else(insn::rdtsc)
}

/// For how long this CPU has run; as [`busy_ticks`].
pub fn own_ticks() -> u64 {
    let this = cpu_number();
    super::xen::running(this..this + 1).unwrap_or_else(insn::rdtsc)
}

/// The CPU with that index.
pub fn cpu_of(number: usize) -> &'static Cpu {
    let own = CPUS[number].load(Ordering::Acquire) as *const Cpu;
    assert!(!own.is_null(), "no cpu {number}");
    // SAFETY: non-null entries are leaked `Cpu`s.
    unsafe { &*own }
}

/// Number of CPUs that are up.
pub fn cpu_count() -> usize {
    COUNT.load(Ordering::Acquire)
}

/// Index of this CPU.
pub fn cpu_number() -> usize {
    insn::gs_read(0x1a4) as u32 as usize
}

/// The thread object that runs on this CPU.
pub fn current_thread() -> usize {
    insn::gs_read(0x188) as usize
}

/// Makes `thread` current on this CPU.
pub fn set_current_thread(thread: usize) {
    insn::gs_write(0x188, thread as u64);
}

#[repr(C, align(16))]
struct Segments {
    gdt: [u64; 16],
    tss: [u8; 0x70],
}

/// Makes and installs the block and the tables of CPU `number` on the CPU that runs this.
pub(super) fn install(number: usize, apic_id: u32) {
    let block = Vec::leak(alloc::vec![0u64; BLOCK / 8 + 512]);
    let block = Ptr((block.as_ptr() as usize).next_multiple_of(0x1000));
    let own = Box::leak(Box::new(Cpu {
        number,
        apic_id,
        block,
        dispatch_pending: AtomicBool::new(false),
        reschedule: AtomicBool::new(false),
        interrupt_depth: AtomicU32::new(0),
        in_dpc: AtomicBool::new(false),
        ticks: AtomicU64::new(0),
        online: AtomicBool::new(false),
        boot_sp: AtomicUsize::new(0),
    }));
    let segments = Box::leak(Box::new(Segments {
        gdt: [0; 16],
        tss: [0; 0x70],
    }));
    block.set(0x00, Ptr((&raw const segments.gdt) as usize));
    block.set(0x08, Ptr((&raw const segments.tss) as usize));
    block.set(0x18, block);
    block.set(0x20, block.add(0x180));
    block.set(0x184, number as u8);
    block.set(0x1a4, number as u32);
    block.set(OWN, Ptr((&raw const *own) as usize));
    load_segments(segments);
    insn::wrmsr(0xc000_0101, block.0 as u64);
    insn::wrmsr(0xc000_0102, block.0 as u64);
    trap::load_idt();
    CPUS[number].store((&raw const *own) as usize, Ordering::Release);
}

/// Counts this CPU as up.
pub(super) fn set_online() {
    cpu().online.store(true, Ordering::Release);
    COUNT.fetch_add(1, Ordering::AcqRel);
}

fn fault_stack() -> u64 {
    let stack = Vec::leak(alloc::vec![0u128; 2048]);
    (stack.as_ptr() as usize + 2048 * 16) as u64
}

fn load_segments(s: &'static mut Segments) {
    let tss = Ptr((&raw mut s.tss) as usize);
    tss.set(0x24, fault_stack());
    tss.set(0x2c, fault_stack());
    tss.set(0x66, 0x70u16);
    let base = tss.0 as u64;
    s.gdt[2] = 0x00af_9b00_0000_ffff;
    s.gdt[3] = 0x00cf_9300_0000_ffff;
    s.gdt[8] = 0x6f | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
    s.gdt[9] = base >> 32;
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let pointer = Pointer {
        limit: 127,
        base: s.gdt.as_ptr() as u64,
    };
    // SAFETY: the table is leaked and has valid code (0x10), data (0x18) and TSS (0x40) descriptors.
    unsafe {
        asm!(
            "lgdt [{p}]",
            "push 0x10",
            "lea {t}, [rip + 2f]",
            "push {t}",
            "retfq",
            "2:",
            "mov {t:e}, 0x18",
            "mov ds, {t:x}",
            "mov es, {t:x}",
            "mov ss, {t:x}",
            "xor {t:e}, {t:e}",
            "mov fs, {t:x}",
            "mov gs, {t:x}",
            "mov {t:e}, 0x40",
            "ltr {t:x}",
            p = in(reg) &pointer,
            t = out(reg) _,
        );
    }
}
