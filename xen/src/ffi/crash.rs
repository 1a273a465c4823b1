// SPDX-License-Identifier: BSD-2-Clause
//! The bug check callback: tells Xen, then logs.
//!
//! Windows calls it at HIGH_LEVEL on the processor that crashed, after its dump has been written. The
//! reason is latched first: whatever stops the machine next, the toolstack sees a crash.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::fmt::{self, Write};
use core::ptr::{null_mut, with_exposed_provenance};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kexec::nt::log::Line;
use kexec::nt::sys::{self, UNICODE_STRING};
use kexec::{Passive, wstr};
use xenbus_interface::xen::SHUTDOWN_CRASH;

use super::nt::{self, BugcheckRecord, Context};
use super::state::{self, MODULES};
use crate::bugcheck::{self, Crashed};
use crate::modules::Found;
use crate::sched;

/// The kernel's while it is registered.
struct Record(UnsafeCell<BugcheckRecord>);
// SAFETY: only its address is used, and the kernel synchronises what is behind it.
unsafe impl Sync for Record {}
static RECORD: Record = Record(UnsafeCell::new(BugcheckRecord([0; 0x40])));
static REGISTERED: AtomicBool = AtomicBool::new(false);
/// `PsGetProcessImageFileName`, if the kernel has it.
static PROCESS_NAME: AtomicUsize = AtomicUsize::new(0);

/// Registers the callback.
pub(super) fn start(_passive: Passive) {
    PROCESS_NAME.store(process_name_routine(), Ordering::Relaxed);
    // SAFETY: the record is static; taken back before the image goes.
    let registered = unsafe {
        nt::KeRegisterBugCheckCallback(
            RECORD.0.get(),
            crashed,
            null_mut(),
            0,
            c"xen".as_ptr().cast(),
        )
    };
    REGISTERED.store(registered != 0, Ordering::Release);
    if registered == 0 {
        kexec::warn!("xen: a crash will not be reported");
    }
}

/// Takes it back.
pub(super) fn stop() {
    if REGISTERED.swap(false, Ordering::AcqRel) {
        // SAFETY: registered.
        unsafe { nt::KeDeregisterBugCheckCallback(RECORD.0.get()) };
    }
}

/// Not documented, so it is looked up: its absence costs a name.
fn process_name_routine() -> usize {
    let name = wstr!("PsGetProcessImageFileName");
    let bytes = (name.units().len() * 2) as u16;
    let mut string = UNICODE_STRING {
        Length: bytes,
        MaximumLength: bytes,
        Buffer: name.units().as_ptr().cast_mut(),
    };
    // SAFETY: a valid string; PASSIVE_LEVEL by the caller's token.
    unsafe { sys::MmGetSystemRoutineAddress(&mut string) }.expose_provenance()
}

/// HIGH_LEVEL, on the processor that crashed.
unsafe extern "C" fn crashed(_buffer: *mut c_void, _length: u32) {
    let Ok(live) = state::live() else {
        return;
    };
    // Whoever latched a reason before knew better; nothing else can be done about a failure.
    let _ = sched::shutdown_code(&live, SHUTDOWN_CRASH);
    state::seize_log();
    // SAFETY: the kernel wrote it before it called; it is not written again.
    let [code, parameters @ ..] = unsafe { (&raw const nt::KiBugCheckData).read() };
    bugcheck::report(code as u32, parameters.map(|value| value as u64), &Machine);
}

/// This machine.
struct Machine;

/// Frames of a stack that are shown.
const FRAMES: usize = 20;
/// Offsets in a context: RSP, RIP.
const RSP: usize = 0x98;
const RIP: usize = 0xF8;
/// The general registers from RAX on, at 0x78, in their order; RIP follows R15.
const REGISTERS: [&str; 17] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15", "rip",
];

impl Context {
    fn get(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    fn set(&mut self, at: usize, value: u64) {
        self.0[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}

/// Is the byte at `address` resident? The kernel's answer is about this moment; nothing else runs.
fn resident(address: u64) -> bool {
    // SAFETY: any address may be asked about.
    unsafe { nt::MmIsAddressValid(with_exposed_provenance(address as usize)) != 0 }
}

impl Machine {
    fn registers(&self, context: &Context) {
        let flags = context.get(0x40) >> 32;
        self.line(format_args!("eflags {:#010x}", flags & 0xffff_ffff));
        for (index, names) in (0..).zip(REGISTERS.chunks(2)) {
            let at = 0x78 + 16 * index;
            let first = context.get(at);
            match names {
                [name, next] => {
                    let second = context.get(at + 8);
                    self.line(format_args!("{name} {first:#018x}  {next} {second:#018x}"));
                }
                _ => self.line(format_args!("{} {first:#018x}", names[0])),
            }
        }
    }

    /// Walks the stack as far as code, unwind data and stack are resident.
    fn stack(&self, context: &mut Context) {
        for number in 0..FRAMES {
            let (rip, rsp) = (context.get(RIP), context.get(RSP));
            if rip == 0 {
                return;
            }
            match self.module(rip) {
                Some(found) => self.line(format_args!(
                    "#{number} {rsp:#018x} {}+{:#x}",
                    found.name.as_str(),
                    found.offset
                )),
                None => self.line(format_args!("#{number} {rsp:#018x} {rip:#018x}")),
            }
            if !resident(rip) || !resident(rsp) || !rsp.is_multiple_of(8) || !resident(rsp | 7) {
                return;
            }
            let mut base = 0;
            // SAFETY: any address may be asked for; no history is kept.
            let function = unsafe { nt::RtlLookupFunctionEntry(rip, &mut base, null_mut()) };
            if function.is_null() {
                // A function without unwind data changes no stack: the return address is on top.
                // SAFETY: aligned and resident.
                let back = unsafe { with_exposed_provenance::<u64>(rsp as usize).read() };
                context.set(RIP, back);
                context.set(RSP, rsp + 8);
                continue;
            }
            if !resident(function.addr() as u64) {
                return;
            }
            let (mut data, mut frame) = (null_mut(), 0);
            // SAFETY: the entry of this address; the context is ours. The frame may reach to where the
            // stack is not resident: its pages are locked in while the thread runs.
            unsafe {
                nt::RtlVirtualUnwind(
                    0,
                    base,
                    rip,
                    function,
                    context,
                    &mut data,
                    &mut frame,
                    null_mut(),
                )
            };
            if context.get(RSP) <= rsp {
                // Not upwards: the unwind data or the stack is broken.
                return;
            }
        }
    }
}

impl Crashed for Machine {
    fn line(&self, text: fmt::Arguments<'_>) {
        let mut line = Line::<256>::new();
        // What does not fit is cut.
        let _ = write!(line, "xen|BUGCHECK: {text}");
        state::write_crash_line(line.as_str().as_bytes());
    }

    fn byte(&self, address: u64) -> Option<u8> {
        if !resident(address) {
            return None;
        }
        // SAFETY: resident, and nothing else runs that could change that.
        Some(unsafe { with_exposed_provenance::<u8>(address as usize).read_volatile() })
    }

    fn module(&self, address: u64) -> Option<Found> {
        MODULES.find(address)
    }

    fn context(&self, address: Option<u64>) {
        let mut context = Context([0; 0x4D0]);
        match address {
            Some(address) => {
                for (offset, byte) in (0..).zip(&mut context.0) {
                    let Some(value) = address.checked_add(offset).and_then(|at| self.byte(at))
                    else {
                        return self.line(format_args!("context {address:#x} is not resident"));
                    };
                    *byte = value;
                }
            }
            // SAFETY: room for a context.
            None => unsafe { nt::RtlCaptureContext(&mut context) },
        }
        self.registers(&context);
        self.stack(&mut context);
    }

    fn process_name(&self, process: u64) -> Option<[u8; 16]> {
        type Routine = unsafe extern "C" fn(*const c_void) -> *const u8;
        let routine = PROCESS_NAME.load(Ordering::Relaxed);
        if routine == 0 || !resident(process) {
            return None;
        }
        let routine = with_exposed_provenance::<()>(routine);
        // SAFETY: the kernel's routine of that name, which takes a process and returns a pointer.
        let routine = unsafe { core::mem::transmute::<*const (), Routine>(routine) };
        // SAFETY: the bug check named it as a process; it only adds an offset.
        let name = unsafe { routine(with_exposed_provenance(process as usize)) };
        let mut bytes = [0; 16];
        for (offset, byte) in (0..).zip(&mut bytes[..15]) {
            *byte = self.byte(name.addr() as u64 + offset)?;
        }
        Some(bytes)
    }
}
