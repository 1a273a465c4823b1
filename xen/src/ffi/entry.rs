// SPDX-License-Identifier: BSD-2-Clause
//! Loading and unloading.
//!
//! The kernel calls `DllInitialize` once, at PASSIVE_LEVEL, before any importer's DriverEntry, and
//! drops its status on the boot path; so a failure would change nothing but a first installation. It
//! always succeeds: what could not be set up is logged and done without.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};

use kexec::nt::log::{self, Level};
use kexec::nt::sys::UNICODE_STRING;
use kexec::nt::{Key, Tag, Vec, WStr, cpu};
use kexec::{Passive, Status, wstr};
use xenbus_interface::NtStatus;
use xenbus_interface::xen::{Build, LogLevel};

use super::cpu::{Processor, kernel_mode};
use super::state::{self, Live, UNPLUG, VCPU_IDS};
use super::{crash, nt, watch};
use crate::detect::{self, Absent, Xen};
use crate::physical::Mapped;
use crate::registry::Settings;
use crate::vcpu_info::{self, VcpuInfos};
use crate::{acpi, unplug, vcpu, version};

/// The PE entry point, which build tools demand. Its arguments mean nothing: the kernel does not call
/// it for an image that is loaded as an import, and a loader that does so passes what it likes.
#[unsafe(no_mangle)]
extern "C" fn DriverEntry(_driver: *mut c_void, _registry_path: *mut c_void) -> NtStatus {
    kexec::status::STATUS_SUCCESS
}

/// Finds Xen and sets everything up.
///
/// # Safety
/// Called by the kernel as its contract says: once, at PASSIVE_LEVEL, with a valid string or NULL.
#[unsafe(no_mangle)]
unsafe extern "C" fn DllInitialize(registry_path: *const UNICODE_STRING) -> NtStatus {
    // Only CPUID so far, which may run anywhere.
    match find() {
        Ok(xen) => {
            let path = if registry_path.is_null() {
                WStr::new(&[])
            } else {
                // SAFETY: by the contract; used within this call only.
                unsafe { WStr::from_raw(registry_path) }
            };
            load(xen, path);
        }
        Err(Absent::NoSignature) => kexec::info!("xen: not running on Xen, staying inert"),
        Err(Absent::UnknownVendor) => {
            kexec::warn!("xen: unknown processor vendor, staying inert");
        }
    }
    kexec::status::STATUS_SUCCESS
}

/// Undoes `DllInitialize`. The kernel calls it when the last importer is gone.
///
/// In the reverse order: what calls into this image goes first, the log last.
#[unsafe(no_mangle)]
extern "C" fn DllUnload() -> NtStatus {
    if state::live().is_ok() {
        let calls = state::COUNTER.snapshot().total();
        kexec::info!("xen: unloading after {calls} hypercalls");
        crash::stop();
        watch::stop(Passive::assert());
        if let Ok(live) = state::live() {
            // A watchdog without anybody to pat it would end the domain.
            state::WATCHDOG.stop(&live);
        }
        log::set_sink(None);
        state::stop();
    }
    kexec::status::STATUS_SUCCESS
}

/// Xen under the kernel. A loader that runs drivers in user mode gets no Xen: it may not call it.
fn find() -> Result<Xen, Absent> {
    if !kernel_mode() {
        return Err(Absent::NoSignature);
    }
    detect::find(&Processor)
}

/// Sets up what the exports need. Each step that fails is logged and done without.
fn load(xen: Xen, registry_path: WStr<'_>) {
    let passive = Passive::assert();
    if state::live().is_ok() {
        return;
    }
    state::start(xen, registry_path);
    log::set_sink(Some(sink));
    let Ok(live) = state::live() else {
        return;
    };
    let settings = Settings::load(passive, registry_path);
    ports(live, &settings);
    banner(xen, live);
    if settings.capture_prints {
        watch::prints(passive);
    }
    memory();
    state::UNIVERSAL_TIME.store(settings.universal_time, Ordering::Relaxed);
    vcpu_infos(passive, &settings);
    XEN_LEAVES.store(
        u64::from(xen.base) << 32 | u64::from(xen.last),
        Ordering::Release,
    );
    watch::processors(passive);
    let (known, present) = (VCPU_IDS.count(), cpu::count());
    kexec::info!("xen: {known} of {present} processors have a vcpu id");
    crash::start(passive);
    watch::images(passive);
    watch::processes(passive);
    unplug(&settings);
}

/// Adds the ports to the log's sinks.
fn ports(live: Live, settings: &Settings) {
    const CONSOLE: u16 = 0xE9;
    const MODEL: u16 = 0x12;
    let added = state::add_port(settings.console_levels, CONSOLE).and_then(|_| {
        if unplug::present(&live.ports()) {
            // The protocol of these ports begins with the magic: not before it was seen.
            state::add_port(settings.model_levels, MODEL)?;
        }
        Ok(())
    });
    if let Err(status) = added {
        kexec::warn!("xen: no log port, {status}");
    }
}

/// Latches the requests to unplug. In safe mode they are void: the emulated devices are in use.
fn unplug(settings: &Settings) {
    // SAFETY: a variable of the kernel's that does not change any more.
    let safe_mode = unsafe { (&raw const nt::InitSafeBootMode).read() } > 0;
    if safe_mode {
        kexec::info!("xen: safe mode, nothing will be unplugged");
    }
    UNPLUG.set(
        settings.unplug_disks && !safe_mode,
        settings.unplug_nics && !safe_mode,
        settings.boot_emulated,
    );
}

/// Learns where memory ends.
fn memory() {
    // SAFETY: PASSIVE_LEVEL, as all of loading.
    let ranges = unsafe { nt::MmGetPhysicalMemoryRanges() };
    if ranges.is_null() {
        return kexec::warn!("xen: the memory's size is unknown");
    }
    let mut highest = 0;
    for index in 0.. {
        // SAFETY: pairs of base and length, ended by one of zeros, which ends this loop.
        let [base, length] = unsafe { ranges.add(index).read() };
        if base == 0 && length == 0 {
            break;
        }
        highest = highest.max(base.saturating_add(length).saturating_sub(1));
    }
    // SAFETY: the array is pool that the caller frees.
    unsafe { kexec::nt::sys::ExFreePool(ranges.cast()) };
    state::HIGHEST_ADDRESS.store(highest, Ordering::Relaxed);
    kexec::debug!("xen: memory ends at {highest:#x}");
}

/// Makes or finds the pages for processors' own event state, if they are to have it.
fn vcpu_infos(passive: Passive, settings: &Settings) {
    if !vcpu_info::wanted(settings.register_vcpu_info, cpu::max_count()) {
        return;
    }
    let opened = state::with_service(wstr!("\\Memory"), |path| {
        let memory = Key::open_rw(passive, path)?;
        state::box_vcpu_infos(VcpuInfos::open(&memory)?)
    });
    match opened {
        Ok(infos) => {
            kexec::info!("xen: {:?}", *infos);
            state::set_vcpu_infos(Some(infos));
        }
        Err(status) => kexec::warn!("xen: processors keep the shared event state, {status}"),
    }
}

/// Lines of this image.
fn sink(level: Level, line: &str) {
    state::write_line(LogLevel::from(level) as u32, line.as_bytes());
}

/// Says what was found.
fn banner(xen: Xen, live: Live) {
    let extra = version::extra(&live).unwrap_or_default();
    match version::version(&live) {
        Ok((major, minor)) => kexec::info!(
            "xen: xen.sys {} on Xen {major}.{minor}{}, cpuid {:#x}, {:?}",
            Build::CURRENT,
            version::text(&extra),
            xen.base,
            xen.instruction
        ),
        Err(status) => kexec::warn!("xen: no version, {status}"),
    }
}

/// Xen's leaves, first and last, for processors that come later.
static XEN_LEAVES: AtomicU64 = AtomicU64::new(0);

/// Sets one processor up, on that processor: its vCPU id, and its own event state if it is to have one.
pub(super) fn processor(index: u32, passive: Passive) {
    let leaves = XEN_LEAVES.load(Ordering::Acquire);
    let (base, last) = ((leaves >> 32) as u32, leaves as u32);
    let result = cpu::run_on(passive, index, || {
        let id = vcpu::id_from_xen(&Processor, base, last).or_else(|| {
            // Only on old hosts: the table is read again for each processor.
            vcpu::id_from_madt(&Processor, &read_madt()?)
        });
        VCPU_IDS.set(index, id.ok_or(Status::NOT_FOUND)?)?;
        let (Ok(live), Some(infos)) = (state::live(), state::vcpu_infos()) else {
            return Ok(());
        };
        infos.register(&live, index, VCPU_IDS.get(index)?, false)
    });
    if let Err(status) = result.and_then(|result| result) {
        kexec::warn!("xen: processor {index} is not complete, {status}");
    }
}

/// A copy of the MADT.
fn read_madt() -> Option<Vec<u8>> {
    const TAG: Tag = Tag(*b"ACPI");
    /// Room for more than a thousand processors.
    const LARGEST: usize = 16 * 1024;
    let mut table = Vec::new(TAG);
    table.try_resize(LARGEST, 0).ok()?;
    let length = acpi::find_table(&Mapped, *b"APIC", &mut table)?;
    table.truncate(length);
    Some(table)
}
