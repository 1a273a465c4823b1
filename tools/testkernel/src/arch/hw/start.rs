// SPDX-License-Identifier: BSD-2-Clause
//! Start-up: from the boot code's environment to a running kernel with all its CPUs.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use alloc::vec::Vec;

use super::acpi::Topology;
use super::memmap::Range;
use super::{DIRECT_MAP, KERNEL_BASE, acpi, apic, asm as insn, cpu, memmap, time, xen};
use crate::config::Config;
use crate::mem::Ptr;
use crate::{ke, kprint, mm};

/// What the boot code hands over.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "addresses by name")]
pub struct BootInfo {
    pub start_info: usize,
    pub payload_address: usize,
    pub payload_len: usize,
    pub ap_start: usize,
    pub ap_len: usize,
    pub ap_stack: usize,
    pub ap_index: usize,
    pub text: usize,
    pub rodata: usize,
    pub data: usize,
    pub end: usize,
    pub stack: usize,
    pub stack_len: usize,
}

static BOOT: spin::Once<BootInfo> = spin::Once::new();
static RAM: spin::Once<Vec<Range>> = spin::Once::new();
static TOPOLOGY: spin::Once<Topology> = spin::Once::new();
static CONFIG: spin::Once<Config> = spin::Once::new();
static HVM: AtomicBool = AtomicBool::new(false);
static AP_READY: AtomicUsize = AtomicUsize::new(0);

/// RAM as the environment described it.
pub fn memory_ranges() -> &'static [Range] {
    RAM.get().map_or(&[], |r| r)
}

/// The first address above RAM.
pub fn memory_ranges_top() -> u64 {
    memory_ranges()
        .iter()
        .map(|r| r.base + r.len)
        .max()
        .unwrap_or(0)
}

/// CPUs and I/O APIC.
pub fn topology() -> Option<&'static Topology> {
    TOPOLOGY.get()
}

/// Whether this is an HVM guest (a PCI bus, an I/O APIC, no firmware).
pub fn is_hvm() -> bool {
    HVM.load(Ordering::Relaxed)
}

/// Whether `address` lies in the kernel's code.
pub fn in_kernel_text(address: usize) -> bool {
    BOOT.get()
        .is_some_and(|b| (b.text..b.rodata).contains(&address))
}

/// Where the kernel lies.
pub fn kernel_range() -> (usize, usize) {
    BOOT.get()
        .map_or((KERNEL_BASE, KERNEL_BASE), |b| (b.text, b.end))
}

/// The payload archive.
pub fn payload() -> &'static [u8] {
    let Some(boot) = BOOT.get() else { return &[] };
    if boot.payload_address == 0 {
        return &[];
    }
    let at = (DIRECT_MAP + boot.payload_address) as *const u8;
    // SAFETY: the packer placed that many bytes there; the page allocator leaves them alone.
    unsafe { core::slice::from_raw_parts(at, boot.payload_len) }
}

/// boot.cfg of this run.
pub fn boot_config() -> &'static Config {
    CONFIG.call_once(|| {
        let text = crate::ldr::payload::file("boot.cfg").unwrap_or(&[]);
        Config::parse(&alloc::string::String::from_utf8_lossy(text))
    })
}

/// Runs on the boot CPU in long mode with the boot page tables.
pub fn start(boot: BootInfo) -> ! {
    BOOT.call_once(|| boot);
    mm::heap::init();
    let Some(environment) = memmap::read(boot.start_info) else {
        kprint!("failed boot: neither PVH start info nor HVM information page");
        super::shutdown(false);
    };
    HVM.store(environment.hvm, Ordering::Relaxed);
    time::init();
    let topology = acpi::prepare(environment.rsdp, environment.cpus);
    let kernel_end = boot.end - KERNEL_BASE;
    let reserved = [
        Range {
            base: 0,
            len: kernel_end as u64,
        },
        Range {
            base: boot.payload_address as u64,
            len: boot.payload_len as u64,
        },
    ];
    mm::phys::init(&environment.ram, &reserved);
    RAM.call_once(|| environment.ram);
    // The first CPU's block must exist before anything asks which CPU runs.
    cpu::install(0, topology.apic_ids[0]);
    mm::map::init(mm::map::KernelLayout {
        text: boot.text,
        rodata: boot.rodata,
        data: boot.data,
        end: boot.end,
    });
    apic::map(if environment_has_io_apic(environment.hvm) {
        topology.io_apic
    } else {
        0
    });
    apic::enable();
    TOPOLOGY.call_once(|| topology);
    let shared =
        mm::phys::allocate_zeroed().unwrap_or_else(|| panic!("no page for the shared user data"));
    mm::map::map_page(0xffff_f780_0000_0000, shared, mm::map::Protection::ReadOnly);
    time::set_shared_page(Ptr(DIRECT_MAP + shared as usize));
    apic::calibrate_timer(time::TICK);
    let config = boot_config();
    if let Some(epoch) = config.number("epoch") {
        time::set_epoch(epoch);
    }
    let ids = &topology_ids()[..];
    let wanted = config.number("cpus").unwrap_or(ids.len() as u64) as usize;
    kprint!(
        "boot {} xen={} cpus={} ram={} KiB tsc={} kHz payload={} bytes",
        if is_hvm() { "hvm" } else { "pvh" },
        xen::on_xen(),
        ids.len().min(wanted),
        mm::phys::free_pages() * 4,
        time::tsc_frequency() / 1000,
        boot.payload_len
    );
    ke::sched::init_cpu();
    cpu::set_online();
    insn::set_irql(ke::irql::PASSIVE);
    for (number, id) in ids.iter().enumerate().take(wanted.max(1)).skip(1) {
        start_other(&boot, number, *id);
    }
    apic::start_clock();
    ke::init::run()
}

fn environment_has_io_apic(hvm: bool) -> bool {
    hvm || !xen::on_xen()
}

fn topology_ids() -> Vec<u32> {
    TOPOLOGY
        .get()
        .map(|t| t.apic_ids.clone())
        .unwrap_or_default()
}

fn start_other(boot: &BootInfo, number: usize, apic_id: u32) {
    let stack = Vec::leak(alloc::vec![0u128; boot.stack_len / 16]);
    Ptr(DIRECT_MAP + 0x8000).copy_within(Ptr(DIRECT_MAP + boot.ap_start), boot.ap_len);
    let low = |address: usize| Ptr(DIRECT_MAP + address);
    low(boot.ap_stack).set(0, stack.as_ptr() as usize + boot.stack_len);
    low(boot.ap_index).set(0, number);
    AP_READY.store(0, Ordering::Release);
    apic::start(apic_id);
    for _ in 0..1000 {
        if AP_READY.load(Ordering::Acquire) == number {
            return;
        }
        time::stall(1000);
    }
    kprint!("failed boot: cpu {number} (apic id {apic_id}) did not start");
    super::shutdown(false);
}

/// Runs on another CPU in long mode with the boot page tables.
pub fn start_ap(number: usize) -> ! {
    mm::map::activate();
    cpu::install(number, topology_ids()[number]);
    apic::enable();
    ke::sched::init_cpu();
    cpu::set_online();
    insn::set_irql(ke::irql::PASSIVE);
    AP_READY.store(number, Ordering::Release);
    apic::start_clock();
    ke::sched::idle()
}

/// A Rust panic in the kernel: a bug of the kernel itself.
pub fn panicked(message: core::fmt::Arguments<'_>) -> ! {
    insn::disable_interrupts();
    crate::log::seize();
    kprint!("failed panic: {message}");
    super::shutdown(false)
}
