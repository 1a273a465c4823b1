// SPDX-License-Identifier: BSD-2-Clause
//! Loading and unloading.
//!
//! The kernel calls `DllInitialize` once, at PASSIVE_LEVEL, before any importer's DriverEntry, and
//! drops its status on the boot path; so a failure would change nothing but a first installation. It
//! always succeeds: what could not be set up is logged and done without.

use core::ffi::c_void;

use kexec::nt::log::{self, Level};
use kexec::nt::sys::UNICODE_STRING;
use kexec::nt::{Tag, Vec, WStr, cpu};
use kexec::{Passive, Status};
use xenbus_interface::NtStatus;
use xenbus_interface::xen::{Build, LogLevel};

use super::cpu::{Processor, kernel_mode};
use super::state::{self, Live, UNPLUG, VCPU_IDS};
use crate::detect::{self, Absent, Xen};
use crate::physical::Mapped;
use crate::registry::Settings;
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
#[unsafe(no_mangle)]
extern "C" fn DllUnload() -> NtStatus {
    if state::live().is_ok() {
        let calls = state::COUNTER.snapshot().total();
        kexec::info!("xen: unloading after {calls} hypercalls");
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

/// Sets up what the exports need.
fn load(xen: Xen, registry_path: WStr<'_>) {
    let passive = Passive::assert();
    state::start(xen);
    log::set_sink(Some(sink));
    let Ok(live) = state::live() else {
        return;
    };
    let settings = Settings::load(passive, registry_path);
    state::set_console_levels(settings.console_levels);
    if unplug::present(&live.ports()) {
        // The protocol of these ports begins with the magic: not before it was seen.
        state::set_model_levels(settings.model_levels);
    }
    let Settings {
        unplug_disks,
        unplug_nics,
        boot_emulated,
        ..
    } = settings;
    UNPLUG.set(unplug_disks, unplug_nics, boot_emulated);
    banner(xen, live);
    processors(xen, passive);
}

/// Lines of this image: to the debugger, and to the ports by level.
fn sink(level: Level, line: &str) {
    log::print(line);
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

/// Learns the vCPU id of every processor, on that processor.
///
/// Xen's own leaf is asked first; the MADT is read only if that has nothing to say.
fn processors(xen: Xen, passive: Passive) {
    let mut madt = None;
    let result = cpu::on_each(passive, |index| {
        let id = vcpu::id_from_xen(&Processor, xen).or_else(|| {
            let table = madt.get_or_insert_with(read_madt).as_ref()?;
            vcpu::id_from_madt(&Processor, table)
        });
        let entered = id
            .ok_or(Status::NOT_FOUND)
            .and_then(|id| VCPU_IDS.set(index, id));
        if let Err(status) = entered {
            kexec::warn!("xen: processor {index} has no vcpu id, {status}");
        }
        Ok(())
    });
    if let Err(status) = result {
        kexec::warn!("xen: not every processor was reached, {status}");
    }
    let (known, present) = (VCPU_IDS.count(), cpu::count());
    kexec::info!("xen: {known} of {present} processors have a vcpu id");
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
