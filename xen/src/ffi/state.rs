// SPDX-License-Identifier: BSD-2-Clause
//! What the loaded image owns, all of it in statics that need no initialisation.
//!
//! `INSTRUCTION` is the "on Xen" flag: while it is 0, [`live`] fails, and with it every export.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use kexec::{Result, Status};
use xenbus_interface::xen::LogLevel;

use crate::detect::{Instruction, Xen};
use crate::hypercall::{Counter, Hypercall};
use crate::log::{Log, Sinks};
use crate::system::VcpuIds;
use crate::unplug::Unplug;

use super::cpu::{self, XenPorts};

/// 0: not on Xen, or not loaded yet; else the hypercall instruction.
static INSTRUCTION: AtomicU8 = AtomicU8::new(0);
/// Levels that go to Xen's console, port 0xE9.
static CONSOLE_LEVELS: AtomicU32 = AtomicU32::new(0);
/// Levels that go to the device model's log, port 0x12.
static MODEL_LEVELS: AtomicU32 = AtomicU32::new(0);

/// Hypercalls made.
pub(super) static COUNTER: Counter = Counter::new();
/// Lines on their way to the ports.
static LOG: Log = Log::new();
/// Requests to unplug emulated devices.
pub(super) static UNPLUG: Unplug = Unplug::new();
/// vCPU ids.
pub(super) static VCPU_IDS: VcpuIds = VcpuIds::new();

/// Xen, found: calls it and its ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live(Instruction);

impl Hypercall for Live {
    fn call(&self, number: u32, first: u64, second: u64, third: u64) -> i64 {
        COUNTER.record(number, first);
        // SAFETY: a `Live` exists only after Xen was found, in kernel mode; the arguments come from
        // this crate's wrappers, which pass the addresses of structures that they own or of frame
        // number arrays that they borrow.
        unsafe { cpu::hypercall(self.0, number, first, second, third) }
    }
}

impl Live {
    /// The ports.
    pub(super) fn ports(self) -> XenPorts {
        // SAFETY: a `Live` exists only after Xen was found, in kernel mode.
        unsafe { XenPorts::new() }
    }
}

impl Sinks for Live {
    fn write(&self, level: u32, line: &[u8]) {
        const CONSOLE: u16 = 0xE9;
        const MODEL: u16 = 0x12;
        for (levels, port) in [(&CONSOLE_LEVELS, CONSOLE), (&MODEL_LEVELS, MODEL)] {
            if levels.load(Ordering::Relaxed) & level != 0 {
                self.ports().write_bytes(port, line);
                self.ports().write_bytes(port, b"\n");
            }
        }
    }
}

/// Xen, if it was found.
pub(super) fn live() -> Result<Live> {
    const VMCALL: u8 = Instruction::Vmcall as u8;
    const VMMCALL: u8 = Instruction::Vmmcall as u8;
    match INSTRUCTION.load(Ordering::Acquire) {
        VMCALL => Ok(Live(Instruction::Vmcall)),
        VMMCALL => Ok(Live(Instruction::Vmmcall)),
        _ => Err(Status::NOT_IMPLEMENTED),
    }
}

/// Xen was found: from here on exports work.
pub(super) fn start(xen: Xen) {
    CONSOLE_LEVELS.store(LogLevel::Critical as u32, Ordering::Relaxed);
    INSTRUCTION.store(xen.instruction as u8, Ordering::Release);
}

/// Back to the state before [`start`].
pub(super) fn stop() {
    CONSOLE_LEVELS.store(0, Ordering::Relaxed);
    MODEL_LEVELS.store(0, Ordering::Relaxed);
    INSTRUCTION.store(0, Ordering::Release);
    UNPLUG.set(false, false, false);
    VCPU_IDS.clear();
}

/// Chooses what goes to Xen's console.
pub(super) fn set_console_levels(mask: u32) {
    CONSOLE_LEVELS.store(mask, Ordering::Relaxed);
}

/// Chooses what goes to the device model's log. Only once its magic was seen.
pub(super) fn set_model_levels(mask: u32) {
    MODEL_LEVELS.store(mask, Ordering::Relaxed);
}

/// Writes a line to the ports; off Xen it goes nowhere.
pub(super) fn write_line(level: u32, line: &[u8]) {
    if let Ok(live) = live() {
        LOG.write(level, line, &live);
    }
}
