// SPDX-License-Identifier: BSD-2-Clause
//! Notifications from the kernel: prints, images, processors, processes.
//!
//! [`start`] registers, [`stop`] takes all of it back; both at PASSIVE_LEVEL, once. What could not be
//! registered is logged and done without. After [`stop`] no routine of this image is called or runs.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::slice;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use kexec::nt::sys::UNICODE_STRING;
use kexec::nt::{Box, Dpc, Tag, Vec, WStr};
use kexec::{Passive, Result, Status};

use super::entry;
use super::nt::{self, AnsiString, ImageInfo, ModuleInfo, ProcessorChange};
use super::state::{self, MODULES};
use crate::modules::Name;
use crate::{capture, hvm};

const TAG: Tag = Tag(*b"MODU");

/// Which registrations stand.
static PRINTS: AtomicBool = AtomicBool::new(false);
static IMAGES: AtomicBool = AtomicBool::new(false);
static PROCESSES: AtomicBool = AtomicBool::new(false);
/// The handle of the processors' callback.
static PROCESSORS: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
/// Writes captured prints; from before the capture begins until after it has ended.
static WRITER: AtomicPtr<Dpc> = AtomicPtr::new(null_mut());
const WRITER_TAG: Tag = Tag(*b"XLOG");

/// Learns the images that are there, and hears of new ones.
pub(super) fn images(_passive: Passive) {
    // First the notification: an image that is loaded meanwhile is entered twice rather than never.
    // SAFETY: PASSIVE_LEVEL; removed before the image goes.
    let status = unsafe { nt::PsSetLoadImageNotifyRoutine(image_loaded) };
    IMAGES.store(status >= 0, Ordering::Release);
    if let Err(status) = Status::check(status).and_then(|()| list_images()) {
        kexec::warn!("xen: images are not all known, {status}");
    }
}

/// Enters the kernel's list of images.
fn list_images() -> Result {
    /// Tries for a list that grows between asking for its size and for itself.
    const TRIES: usize = 8;
    const UNIT: u32 = size_of::<ModuleInfo>() as u32;
    for _ in 0..TRIES {
        let mut bytes = 0;
        // SAFETY: without a buffer only the size is asked for.
        Status::check(unsafe { nt::RtlQueryModuleInformation(&mut bytes, UNIT, null_mut()) })?;
        let count = bytes.div_ceil(UNIT) as usize;
        let mut list = Vec::try_with_capacity(TAG, count)?;
        list.try_resize(
            count,
            ModuleInfo {
                base: 0,
                size: 0,
                name_offset: 0,
                path: [0; 256],
            },
        )?;
        let mut bytes = count as u32 * UNIT;
        // SAFETY: the list has room for `bytes`; PASSIVE_LEVEL.
        let status = unsafe { nt::RtlQueryModuleInformation(&mut bytes, UNIT, list.as_mut_ptr()) };
        match Status::check(status) {
            Err(Status::BUFFER_TOO_SMALL) => continue,
            other => other?,
        }
        for module in list.iter().take(bytes as usize / UNIT as usize) {
            let path = module.path.iter().copied().take_while(|byte| *byte != 0);
            MODULES.insert(module.base, module.size, Name::of_path(path));
        }
        return Ok(());
    }
    Err(Status::RETRY)
}

/// Called at PASSIVE_LEVEL for every image that is loaded.
unsafe extern "C" fn image_loaded(
    path: *const UNICODE_STRING,
    _process: *mut c_void,
    info: *const ImageInfo,
) {
    /// `SystemModeImage`.
    const SYSTEM: u32 = 0x100;
    // SAFETY: the kernel's, for the call.
    let info = unsafe { &*info };
    if info.properties & SYSTEM == 0 || path.is_null() {
        return;
    }
    // SAFETY: as above.
    let path = unsafe { WStr::from_raw(path) };
    let bytes = path
        .units()
        .iter()
        .map(|unit| u8::try_from(*unit).unwrap_or(b'?'));
    let size = u32::try_from(info.size).unwrap_or(u32::MAX);
    MODULES.insert(info.base.addr() as u64, size, Name::of_path(bytes));
}

/// Begins to capture other drivers' prints.
pub(super) fn prints(_passive: Passive) {
    for level in 0..4 {
        // SAFETY: no precondition; without the filter's consent prints do not come, that is all.
        unsafe { nt::DbgSetDebugFilterState(capture::COMPONENT, level, 1) };
    }
    let writer = Dpc::try_new(WRITER_TAG, None, state::flush)
        .and_then(|writer| Box::try_new(WRITER_TAG, writer));
    let writer = match writer {
        Ok(writer) => writer.into_raw().as_ptr(),
        Err(status) => return kexec::warn!("xen: prints are not captured, {status}"),
    };
    WRITER.store(writer, Ordering::Release);
    capture_prints(true);
}

/// Sets or takes back the print callback.
fn capture_prints(enable: bool) {
    if PRINTS.swap(enable, Ordering::AcqRel) == enable {
        return;
    }
    // SAFETY: the routine stays until it was taken back.
    let status = unsafe { nt::DbgSetDebugPrintCallback(printed, u8::from(enable)) };
    if let Err(status) = Status::check(status) {
        PRINTS.store(false, Ordering::Release);
        kexec::warn!("xen: print callback, {status}");
    }
}

/// Windows forgets the callback over hibernation: sets it again if it was set.
pub(super) fn resume_prints() {
    if PRINTS.load(Ordering::Acquire) {
        capture_prints(false);
        capture_prints(true);
    }
}

/// Called at any IRQL for every print of the system. Copies, and lets a DPC write.
unsafe extern "C" fn printed(string: *const AnsiString, _component: u32, level: u32) {
    // SAFETY: the kernel's, for the call.
    let string = unsafe { &*string };
    if string.buffer.is_null() {
        return;
    }
    // SAFETY: as above.
    let print = unsafe { slice::from_raw_parts(string.buffer, usize::from(string.length)) };
    let Some(text) = capture::text(print, level) else {
        return;
    };
    state::push_line(capture::level(level), text);
    // SAFETY: made before the callback was set, freed after it was taken back.
    if let Some(writer) = unsafe { WRITER.load(Ordering::Acquire).as_ref() } {
        writer.queue();
    }
}

/// Sets up every processor that runs, now, and those that are added later.
pub(super) fn processors(_passive: Passive) {
    /// `KE_PROCESSOR_CHANGE_ADD_EXISTING`.
    const ADD_EXISTING: u32 = 1;
    // SAFETY: PASSIVE_LEVEL; taken back before the image goes.
    let handle =
        unsafe { nt::KeRegisterProcessorChangeCallback(processor_added, null_mut(), ADD_EXISTING) };
    PROCESSORS.store(handle, Ordering::Release);
    if handle.is_null() {
        kexec::warn!("xen: processors that are added later stay unknown");
    }
}

/// Called at PASSIVE_LEVEL. Every state is accepted; only a processor that runs is of interest, and
/// nothing is ever refused.
unsafe extern "C" fn processor_added(
    _context: *mut c_void,
    change: *const ProcessorChange,
    _status: *mut i32,
) {
    /// `KeProcessorAddCompleteNotify`.
    const COMPLETE: u32 = 1;
    // SAFETY: the kernel's, for the call.
    let change = unsafe { &*change };
    if change.state == COMPLETE {
        entry::processor(change.index, Passive::assert());
    }
}

/// Tells Xen of dying page tables, as long as it wants to know.
pub(super) fn processes(_passive: Passive) {
    // SAFETY: PASSIVE_LEVEL; taken back before the image goes.
    let status = unsafe { nt::PsSetCreateProcessNotifyRoutine(process_changed, 0) };
    PROCESSES.store(status >= 0, Ordering::Release);
    WANTED.store(true, Ordering::Relaxed);
}

/// A host with shadow paging takes the hint; any other refuses, and is not asked again.
static WANTED: AtomicBool = AtomicBool::new(false);

/// Called in the process, at PASSIVE_LEVEL.
unsafe extern "C" fn process_changed(_parent: *mut c_void, _process: *mut c_void, create: u8) {
    if create != 0 || !WANTED.load(Ordering::Relaxed) {
        return;
    }
    if let Ok(live) = state::live() {
        if hvm::pagetable_dying(&live, super::cpu::page_tables()).is_err() {
            WANTED.store(false, Ordering::Relaxed);
        }
    }
}

/// Takes everything back.
pub(super) fn stop(passive: Passive) {
    if PROCESSES.swap(false, Ordering::AcqRel) {
        // SAFETY: PASSIVE_LEVEL; registered. It waits for calls that run.
        unsafe { nt::PsSetCreateProcessNotifyRoutine(process_changed, 1) };
    }
    let processors = PROCESSORS.swap(null_mut(), Ordering::AcqRel);
    if !processors.is_null() {
        // SAFETY: PASSIVE_LEVEL; registered.
        unsafe { nt::KeDeregisterProcessorChangeCallback(processors) };
    }
    if IMAGES.swap(false, Ordering::AcqRel) {
        // SAFETY: PASSIVE_LEVEL; registered. It waits for calls that run.
        unsafe { nt::PsRemoveLoadImageNotifyRoutine(image_loaded) };
    }
    capture_prints(false);
    let writer = WRITER.swap(null_mut(), Ordering::AcqRel);
    if let Some(writer) = core::ptr::NonNull::new(writer) {
        // A callback that another processor was in has queued the DPC by now.
        kexec::nt::flush_dpcs(passive);
        // SAFETY: made by `into_raw` with this tag; the callback is gone. Dropping it waits for the DPC.
        drop(unsafe { Box::from_raw(writer, WRITER_TAG) });
    }
}
