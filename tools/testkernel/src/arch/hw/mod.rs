// SPDX-License-Identifier: BSD-2-Clause
//! The guest's machine: CPUs, interrupts, time, hypervisor, start-up.

mod acpi;
pub mod apic;
mod asm;
mod cpu;
mod memmap;
mod start;
mod time;
mod trap;
mod xen;

pub use acpi::Topology;
pub use asm::*;
pub use cpu::{
    Cpu, busy_ticks, cpu, cpu_count, cpu_number, cpu_of, current_thread, own_ticks,
    set_current_thread,
};
pub use memmap::Range;
pub use start::{
    BootInfo, boot_config, in_kernel_text, is_hvm, kernel_range, memory_ranges, memory_ranges_top,
    panicked, payload, start, start_ap, topology,
};
pub(crate) use time::publish as publish_time;
pub use time::{
    interrupt_time, performance_counter, set_epoch, stall, system_time, tick, tsc_frequency,
};
pub use trap::Frame;
pub use xen::{on_xen, shutdown};

/// Where physical memory is mapped.
pub const DIRECT_MAP: usize = 0xffff_8000_0000_0000;
/// Where the kernel image is mapped.
pub const KERNEL_BASE: usize = 0xffff_ffff_8000_0000;
/// Most CPUs that this kernel starts.
pub const MAX_CPUS: usize = 48;
