// SPDX-License-Identifier: BSD-2-Clause
//! The exported services: processors, watchdog, log, images, unplug, registry.
//!
//! As [`super::exports`], with the same common contract. What reads or writes the registry is for
//! PASSIVE_LEVEL.

use core::ffi::c_void;
use core::slice;
use core::sync::atomic::Ordering;

use kexec::nt::WStr;
use kexec::{Passive, Result, Status, wstr};
use xenbus_interface::NtStatus;
use xenbus_interface::xen::{Build, DeviceNames, LOG_LINE_MAX, MODULE_NAME_MAX, Units};

use super::exports::store;
use super::state::{
    self, HIGHEST_ADDRESS, MODULES, Routine, SINKS, UNIVERSAL_TIME, UNPLUG, VCPU_IDS, WATCHDOG,
    live,
};
use super::watch;
use crate::active::{self, Device};
use crate::{filters, reboot, unplug_count};

/// Xen's number of a processor.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn SystemProcessorVcpuId(cpu: u32, vcpu_id: *mut u32) -> NtStatus {
    let result = live().and_then(|_| VCPU_IDS.get(cpu));
    // SAFETY: by the contract.
    unsafe { store(vcpu_id, result) }
}

/// The event state of a processor that has its own.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn SystemProcessorVcpuInfo(cpu: u32, state: *mut *mut u8) -> NtStatus {
    let result = live().and_then(|_| {
        VCPU_IDS.get(cpu)?;
        let infos = state::vcpu_infos().ok_or(Status::NOT_SUPPORTED)?;
        infos.state(cpu)
    });
    // SAFETY: by the contract.
    unsafe { store(state, result) }
}

/// Gives this processor its own event state; nothing while registration is off.
#[unsafe(no_mangle)]
extern "C" fn SystemProcessorRegisterVcpuInfo(cpu: u32, force: u8) -> NtStatus {
    let result = live().and_then(|xen| match state::vcpu_infos() {
        Some(infos) => infos.register(&xen, cpu, VCPU_IDS.get(cpu)?, force != 0),
        None => Ok(()),
    });
    Status::of(&result)
}

/// The last byte of memory; 0 if unknown.
#[unsafe(no_mangle)]
extern "C" fn SystemMaximumPhysicalAddress() -> u64 {
    HIGHEST_ADDRESS.load(Ordering::Relaxed)
}

/// Does the machine's clock show universal time?
#[unsafe(no_mangle)]
extern "C" fn SystemRealTimeIsUniversal() -> u8 {
    u8::from(UNIVERSAL_TIME.load(Ordering::Relaxed))
}

/// Starts or pats the watchdog.
#[unsafe(no_mangle)]
extern "C" fn SystemSetWatchdog(seconds: u32) -> NtStatus {
    let result = live().and_then(|xen| WATCHDOG.set(&xen, seconds));
    if result == Ok(true) {
        kexec::info!("xen: watchdog, {seconds} s");
    }
    Status::of(&result.map(drop))
}

/// Ends the watchdog.
#[unsafe(no_mangle)]
extern "C" fn SystemStopWatchdog() {
    if let Ok(xen) = live() {
        WATCHDOG.stop(&xen);
    }
}

/// Takes a line for the debugger and the log.
///
/// # Safety
/// As the module says; `text` has `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn LogWrite(level: u32, text: *const u8, length: u32) {
    let length = (length as usize).min(LOG_LINE_MAX);
    // SAFETY: by the contract.
    let line = unsafe { slice::from_raw_parts(text, length) };
    state::write_line(level, line);
}

/// Adds a sink to the log.
///
/// # Safety
/// As the module says; routine and argument stay valid until the sink is removed.
#[unsafe(no_mangle)]
unsafe extern "C" fn LogAddDisposition(
    mask: u32,
    routine: Routine,
    argument: *mut c_void,
    id: *mut u32,
) -> NtStatus {
    let result = live().and_then(|_| state::add_sink(mask, routine, argument));
    // SAFETY: by the contract.
    unsafe { store(id, result) }
}

/// Removes a sink.
#[unsafe(no_mangle)]
extern "C" fn LogRemoveDisposition(id: u32) {
    SINKS.remove(id);
}

/// Captures prints again after hibernation.
#[unsafe(no_mangle)]
extern "C" fn LogResume() {
    watch::resume_prints();
}

/// The image at an address; 0 when unknown.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn ModuleLookup(
    address: u64,
    name: *mut [u8; MODULE_NAME_MAX],
    offset: *mut u64,
) -> u32 {
    let Some(found) = MODULES.find(address) else {
        return 0;
    };
    let mut bytes = [0; MODULE_NAME_MAX];
    let text = found.name.as_str().as_bytes();
    bytes[..text.len()].copy_from_slice(text);
    // SAFETY: by the contract.
    unsafe { name.write(bytes) };
    // SAFETY: by the contract.
    unsafe { offset.write(found.offset) };
    text.len() as u32
}

/// Unplugs emulated devices.
#[unsafe(no_mangle)]
extern "C" fn UnplugDevices() -> NtStatus {
    unplugged(live().and_then(|xen| UNPLUG.devices(&xen.ports(), Build::CURRENT)))
}

/// Unplugs in a new device model what this boot has unplugged; nothing if that was nothing.
#[unsafe(no_mangle)]
extern "C" fn UnplugDevicesAgain() -> NtStatus {
    match live() {
        Ok(xen) if UNPLUG.done() => unplugged(UNPLUG.devices(&xen.ports(), Build::CURRENT)),
        other => Status::of(&other.map(drop)),
    }
}

fn unplugged(result: Result<crate::unplug::Unplugged>) -> NtStatus {
    match &result {
        Ok(done) => kexec::warn!(
            "xen: unplug, protocol {}, disks {:#x}, nics {:#x}",
            done.version,
            done.disks,
            done.nics
        ),
        Err(status) => kexec::warn!("xen: unplug, {status}"),
    }
    Status::of(&result.map(drop))
}

/// Was the removal of this kind requested?
#[unsafe(no_mangle)]
extern "C" fn UnplugGetRequest(kind: u32) -> u8 {
    u8::from(live().is_ok() && UNPLUG.requested(kind))
}

/// Asks for the removal of this kind at the next boot.
#[unsafe(no_mangle)]
extern "C" fn UnplugIncrementValue(kind: u32) -> NtStatus {
    Status::of(&unplug_value(kind, true))
}

/// Takes that back.
#[unsafe(no_mangle)]
extern "C" fn UnplugDecrementValue(kind: u32) -> NtStatus {
    Status::of(&unplug_value(kind, false))
}

fn unplug_value(kind: u32, up: bool) -> Result {
    live()?;
    let passive = Passive::assert();
    state::with_service(wstr!("\\Unplug"), |path| {
        let key = kexec::nt::Key::open_rw(passive, path)?;
        unplug_count::change(&key, kind, up).map(drop)
    })
}

/// Puts xenfilt among the upper filters.
#[unsafe(no_mangle)]
extern "C" fn FiltersInstall() {
    filters::install(Passive::assert());
}

/// Takes xenfilt out of them.
#[unsafe(no_mangle)]
extern "C" fn FiltersUninstall() {
    filters::uninstall(Passive::assert());
}

/// Copies `from` into a caller's buffer of `room` elements, whole or not at all.
///
/// # Safety
/// `buffer` has `room` elements; `used` is valid for a write.
unsafe fn copy_out<T: Copy>(from: &[T], buffer: *mut T, room: u32, used: *mut u32) -> Result {
    if from.len() > room as usize {
        return Err(Status::BUFFER_TOO_SMALL);
    }
    // SAFETY: room for it by the check, and by the contract; the source is another object.
    unsafe { buffer.copy_from_nonoverlapping(from.as_ptr(), from.len()) };
    // SAFETY: by the contract.
    unsafe { used.write(from.len() as u32) };
    Ok(())
}

/// A recorded value of the active device.
///
/// # Safety
/// As the module says; `key` has `length` bytes, `buffer` has `room` units.
#[unsafe(no_mangle)]
unsafe extern "C" fn ConfigGetActive(
    key: *const u8,
    length: u32,
    buffer: *mut u16,
    room: u32,
    used: *mut u32,
) -> NtStatus {
    // SAFETY: by the contract.
    let key = unsafe { slice::from_raw_parts(key, length as usize) };
    let result = active::get(Passive::assert(), key)
        // SAFETY: by the contract.
        .and_then(|value| unsafe { copy_out(value.units(), buffer, room, used) });
    Status::of(&result)
}

/// # Safety
/// The text is valid for the call.
unsafe fn text<'a>(units: &'a Units) -> WStr<'a> {
    // SAFETY: by the contract.
    WStr::new(unsafe { slice::from_raw_parts(units.start, units.length as usize) })
}

/// # Safety
/// The names are valid for the call.
unsafe fn device(names: &DeviceNames) -> Device<'_> {
    Device {
        // SAFETY: by the contract.
        device: unsafe { text(&names.device) },
        // SAFETY: by the contract.
        instance: unsafe { text(&names.instance) },
        // SAFETY: by the contract.
        location: unsafe { text(&names.location) },
    }
}

/// Records the active device.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn ConfigSetActive(names: *const DeviceNames) -> NtStatus {
    // SAFETY: by the contract.
    let names = unsafe { &*names };
    // SAFETY: by the contract.
    let device = unsafe { device(names) };
    Status::of(&active::set(Passive::assert(), device))
}

/// Completes the record of the active device.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn ConfigUpdateActive(names: *const DeviceNames) -> NtStatus {
    // SAFETY: by the contract.
    let names = unsafe { &*names };
    // SAFETY: by the contract.
    let device = unsafe { device(names) };
    Status::of(&active::update(Passive::assert(), device))
}

/// Forgets the active device.
#[unsafe(no_mangle)]
extern "C" fn ConfigClearActive() -> NtStatus {
    Status::of(&active::clear(Passive::assert()))
}

/// Asks for a reboot.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn ConfigRequestReboot(
    parameters: *const Units,
    module: *const Units,
) -> NtStatus {
    // SAFETY: by the contract.
    let (parameters, module) = unsafe { (&*parameters, &*module) };
    // SAFETY: by the contract.
    let (parameters, module) = unsafe { (text(parameters), text(module)) };
    Status::of(&reboot::request(Passive::assert(), parameters, module))
}

/// A start option of the system.
///
/// # Safety
/// As the module says; `key` has `length` bytes, `buffer` has `room` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn ConfigQuerySystemStartOption(
    key: *const u8,
    length: u32,
    buffer: *mut u8,
    room: u32,
    used: *mut u32,
) -> NtStatus {
    // SAFETY: by the contract.
    let key = unsafe { slice::from_raw_parts(key, length as usize) };
    let result = core::str::from_utf8(key)
        .map_err(|_| Status::INVALID_PARAMETER)
        .and_then(|key| reboot::start_option_of_system(Passive::assert(), key))
        // SAFETY: by the contract.
        .and_then(|option| unsafe { copy_out(option.as_str().as_bytes(), buffer, room, used) });
    Status::of(&result)
}
