// SPDX-License-Identifier: BSD-2-Clause
//! What the loaded image owns, all of it in statics that need no initialisation.
//!
//! `INSTRUCTION` is the "on Xen" flag: while it is 0, [`live`] fails, and with it every export.

use core::ffi::c_void;
use core::ptr::{null_mut, without_provenance_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU64, Ordering};

use kexec::nt::{Box, Tag, WStr};
use kexec::{Result, Status};
use xenbus_interface::xen::LogLevel;

use crate::capture;
use crate::detect::{Instruction, Xen};
use crate::hypercall::{Counter, Hypercall};
use crate::log::{Log, Output};
use crate::modules::Modules;
use crate::sinks::Sinks;
use crate::system::VcpuIds;
use crate::unplug::Unplug;
use crate::vcpu_info::VcpuInfos;
use crate::watchdog::Watchdog;

use super::cpu::{self, XenPorts};
use super::nt;

/// 0: not on Xen, or not loaded yet; else the hypercall instruction.
static INSTRUCTION: AtomicU8 = AtomicU8::new(0);

/// Hypercalls made.
pub(super) static COUNTER: Counter = Counter::new();
/// Lines on their way to the sinks.
static LOG: Log = Log::new();
/// Who gets them.
pub(super) static SINKS: Sinks = Sinks::new();
/// Images in the kernel.
pub(super) static MODULES: Modules = Modules::new();
/// Requests to unplug emulated devices.
pub(super) static UNPLUG: Unplug = Unplug::new();
/// vCPU ids.
pub(super) static VCPU_IDS: VcpuIds = VcpuIds::new();
/// The domain's watchdog.
pub(super) static WATCHDOG: Watchdog = Watchdog::new();
/// The last byte of memory at load.
pub(super) static HIGHEST_ADDRESS: AtomicU64 = AtomicU64::new(0);
/// Does the machine's clock show universal time?
pub(super) static UNIVERSAL_TIME: AtomicBool = AtomicBool::new(false);

/// The vCPUs' own event state, if it is registered; from start to stop.
static VCPU_INFOS: AtomicPtr<VcpuInfos> = AtomicPtr::new(null_mut());
const VCPU_INFOS_TAG: Tag = Tag(*b"SYST");

/// The service key's path, ended by 0.
static SERVICE: [AtomicU16; PATH] = [const { AtomicU16::new(0) }; PATH];
/// Units of a path that is kept.
pub(super) const PATH: usize = 128;

/// Xen, found: calls it and its ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live(Instruction);

impl Hypercall for Live {
    fn call(&self, number: u32, first: u64, second: u64, third: u64) -> i64 {
        COUNTER.record(number, first);
        // SAFETY: a `Live` exists only after Xen was found, in kernel mode; the arguments come from
        // this crate's wrappers, which pass the addresses of structures that they own or of arrays
        // that they borrow.
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

/// A sink's routine: argument, line without its end, length.
pub(super) type Routine = unsafe extern "C" fn(*mut c_void, *const u8, u32);

/// The sinks as the log's output.
struct Called;

impl Output for Called {
    fn write(&self, level: u32, line: &[u8]) {
        SINKS.each(level, |routine, argument| {
            // SAFETY: `add_sink` alone fills the table, with a `Routine`.
            let routine = unsafe { core::mem::transmute::<*mut (), Routine>(routine) };
            // SAFETY: who added the sink keeps routine and argument until it has removed it.
            unsafe { routine(argument.cast(), line.as_ptr(), line.len() as u32) };
        });
    }
}

/// Adds a sink; see [`Sinks::add`].
pub(super) fn add_sink(mask: u32, routine: Routine, argument: *mut c_void) -> Result<u32> {
    SINKS.add(mask, routine as *mut (), argument.cast())
}

/// Adds a sink that writes lines to a port of Xen's.
pub(super) fn add_port(mask: u32, port: u16) -> Result<u32> {
    add_sink(mask, write_port, without_provenance_mut(usize::from(port)))
}

/// The port is the argument.
unsafe extern "C" fn write_port(argument: *mut c_void, line: *const u8, length: u32) {
    if let Ok(live) = live() {
        // SAFETY: the log's line, for the call.
        let line = unsafe { core::slice::from_raw_parts(line, length as usize) };
        let port = argument.addr() as u16;
        live.ports().write_bytes(port, line);
        live.ports().write_bytes(port, b"\n");
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
pub(super) fn start(xen: Xen, service: WStr<'_>) {
    for (place, unit) in SERVICE[..PATH - 1].iter().zip(service.units()) {
        place.store(*unit, Ordering::Relaxed);
    }
    INSTRUCTION.store(xen.instruction as u8, Ordering::Release);
}

/// Back to the state before [`start`]. Nobody calls exports any more, and nothing of the kernel's.
pub(super) fn stop() {
    flush();
    for id in 1..=crate::sinks::SINKS as u32 {
        SINKS.remove(id);
    }
    INSTRUCTION.store(0, Ordering::Release);
    UNPLUG.set(false, false, false);
    set_vcpu_infos(None);
    VCPU_IDS.clear();
    MODULES.clear();
    HIGHEST_ADDRESS.store(0, Ordering::Relaxed);
    UNIVERSAL_TIME.store(false, Ordering::Relaxed);
    for unit in &SERVICE {
        unit.store(0, Ordering::Relaxed);
    }
}

/// Calls `f` with the path of `name` below the service key; `STATUS_NAME_TOO_LONG` when that does not fit.
pub(super) fn with_service<T>(name: WStr<'_>, f: impl FnOnce(WStr<'_>) -> Result<T>) -> Result<T> {
    let mut path = [0; 2 * PATH];
    let mut length = 0;
    for unit in &SERVICE {
        match unit.load(Ordering::Relaxed) {
            0 => break,
            unit => path[length] = unit,
        }
        length += 1;
    }
    let rest = path.get_mut(length..length + name.units().len());
    rest.ok_or(Status::NAME_TOO_LONG)?
        .copy_from_slice(name.units());
    f(WStr::new(&path[..length + name.units().len()]))
}

/// The vCPUs' own event state, if registration is on.
pub(super) fn vcpu_infos() -> Option<&'static VcpuInfos> {
    let infos = VCPU_INFOS.load(Ordering::Acquire);
    // SAFETY: `set_vcpu_infos` alone stores it, and frees it only when nobody calls in any more.
    unsafe { infos.as_ref() }
}

/// Turns registration on, or off.
pub(super) fn set_vcpu_infos(infos: Option<Box<VcpuInfos>>) {
    let new = infos.map_or(null_mut(), |infos| infos.into_raw().as_ptr());
    let old = VCPU_INFOS.swap(new, Ordering::AcqRel);
    if let Some(old) = core::ptr::NonNull::new(old) {
        // SAFETY: made by `into_raw` with this tag; called once at load and once at unload, when
        // nobody looks at it.
        drop(unsafe { Box::from_raw(old, VCPU_INFOS_TAG) });
    }
}

/// Memory for [`set_vcpu_infos`].
pub(super) fn box_vcpu_infos(infos: VcpuInfos) -> Result<Box<VcpuInfos>> {
    Box::try_new(VCPU_INFOS_TAG, infos)
}

/// Takes a line of ours or of an importer: to the debugger and to the sinks.
pub(super) fn write_line(level: u32, line: &[u8]) {
    print(line);
    if live().is_ok() {
        LOG.write(level, line, &Called);
    }
}

/// Takes a line that was printed by another driver; somebody must [`flush`].
pub(super) fn push_line(level: u32, line: &[u8]) {
    LOG.push(level, line);
}

/// Writes what was pushed.
pub(super) fn flush() {
    LOG.flush(&Called);
}

/// The machine crashes: writes what waits, and from here on lines go to the sinks directly.
pub(super) fn seize_log() {
    LOG.seize(&Called);
}

/// A line of the crash: to the sinks only, because the debugger has one of its own.
pub(super) fn write_crash_line(line: &[u8]) {
    LOG.write(LogLevel::Critical as u32, line, &Called);
}

/// Prints a line to the debugger, marked as one that is in the log already.
pub(super) fn print(line: &[u8]) {
    let arguments = [line.len() as u64, line.as_ptr().expose_provenance() as u64];
    // SAFETY: the format takes a length and an address, which stand for the line; printing is possible
    // at any level as long as nothing is wide.
    unsafe {
        nt::vDbgPrintEx(
            capture::COMPONENT,
            capture::OWN,
            c"%.*s\n".as_ptr(),
            arguments.as_ptr(),
        )
    };
}
