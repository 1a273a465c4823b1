// SPDX-License-Identifier: BSD-2-Clause
//! Services of xen.sys, each as a safe function. See [`crate::xen`] for the common contract.

use core::ffi::c_void;
use core::ptr::null_mut;

use kexec::nt::log::Level;
use kexec::nt::{String, Tag, WStr, WString};
use kexec::{Passive, Result, Status};

use crate::xen::{DeviceNames, LogLevel, MODULE_NAME_MAX, Module, Units};

/// Tag of strings that come from here.
const TAG: Tag = Tag(*b"XCFG");

/// A sink's routine: its argument, a line without its end, the line's bytes.
pub type LogRoutine = unsafe extern "C" fn(*mut c_void, *const u8, u32);

/// The import table of the private ABI.
mod import {
    use super::{DeviceNames, LogRoutine, MODULE_NAME_MAX, Units, c_void};
    use crate::interface::NtStatus;

    // `+verbatim`: without it the import would name `xen.sys.dll`.
    #[link(name = "xen.sys", kind = "raw-dylib", modifiers = "+verbatim")]
    unsafe extern "C" {
        pub(super) safe fn SystemProcessorVcpuId(cpu: u32, vcpu_id: &mut u32) -> NtStatus;
        pub(super) safe fn SystemProcessorVcpuInfo(cpu: u32, state: &mut *mut u8) -> NtStatus;
        pub(super) safe fn SystemProcessorRegisterVcpuInfo(cpu: u32, force: u8) -> NtStatus;
        pub(super) safe fn SystemMaximumPhysicalAddress() -> u64;
        pub(super) safe fn SystemRealTimeIsUniversal() -> u8;
        pub(super) safe fn SystemSetWatchdog(seconds: u32) -> NtStatus;
        pub(super) safe fn SystemStopWatchdog();
        pub(super) fn LogWrite(level: u32, text: *const u8, length: u32);
        pub(super) fn LogAddDisposition(
            mask: u32,
            routine: LogRoutine,
            argument: *mut c_void,
            id: *mut u32,
        ) -> NtStatus;
        pub(super) safe fn LogRemoveDisposition(id: u32);
        pub(super) safe fn LogResume();
        pub(super) safe fn ModuleLookup(
            address: u64,
            name: &mut [u8; MODULE_NAME_MAX],
            offset: &mut u64,
        ) -> u32;
        pub(super) safe fn UnplugDevices() -> NtStatus;
        pub(super) safe fn UnplugDevicesAgain() -> NtStatus;
        pub(super) safe fn UnplugGetRequest(kind: u32) -> u8;
        pub(super) safe fn UnplugIncrementValue(kind: u32) -> NtStatus;
        pub(super) safe fn UnplugDecrementValue(kind: u32) -> NtStatus;
        pub(super) safe fn FiltersInstall();
        pub(super) safe fn FiltersUninstall();
        pub(super) fn ConfigGetActive(
            key: *const u8,
            length: u32,
            buffer: *mut u16,
            room: u32,
            used: *mut u32,
        ) -> NtStatus;
        pub(super) fn ConfigSetActive(names: *const DeviceNames) -> NtStatus;
        pub(super) fn ConfigUpdateActive(names: *const DeviceNames) -> NtStatus;
        pub(super) safe fn ConfigClearActive() -> NtStatus;
        pub(super) fn ConfigRequestReboot(
            parameters: *const Units,
            module: *const Units,
        ) -> NtStatus;
        pub(super) fn ConfigQuerySystemStartOption(
            key: *const u8,
            length: u32,
            buffer: *mut u8,
            room: u32,
            used: *mut u32,
        ) -> NtStatus;
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warning => Self::Warning,
            Level::Info => Self::Info,
            Level::Debug => Self::Trace,
        }
    }
}

/// Xen's number of a processor, which every hypercall takes. `STATUS_NOT_SUPPORTED`: not present, the
/// caller skips it. Never waits.
pub fn system_processor_vcpu_id(cpu: u32) -> Result<u32> {
    let mut vcpu_id = 0;
    Status::check(import::SystemProcessorVcpuId(cpu, &mut vcpu_id))?;
    Ok(vcpu_id)
}

/// The address of a processor's own `vcpu_info`, 64 bytes that live as long as the domain.
///
/// `STATUS_NOT_SUPPORTED`: it has none and uses that of the shared page, if its vCPU id is below 32.
pub fn system_processor_vcpu_info(cpu: u32) -> Result<*mut u8> {
    let mut state = null_mut();
    Status::check(import::SystemProcessorVcpuInfo(cpu, &mut state))?;
    Ok(state)
}

/// Gives processor `cpu` its own event state; to be called there. With `force` also if it has one: after
/// every resume in a new domain, migration and hibernation alike. Nothing while registration is off.
pub fn system_register_vcpu_info(cpu: u32, force: bool) -> Result {
    Status::check(import::SystemProcessorRegisterVcpuInfo(
        cpu,
        u8::from(force),
    ))
}

/// The last byte of memory; 0 if unknown.
#[must_use]
pub fn system_maximum_physical_address() -> u64 {
    import::SystemMaximumPhysicalAddress()
}

/// Did the machine's clock show universal time at load?
#[must_use]
pub fn system_real_time_is_universal() -> bool {
    import::SystemRealTimeIsUniversal() != 0
}

/// Starts or pats the domain's watchdog: Xen ends the domain after `seconds` without another call. One
/// caller at a time.
pub fn system_set_watchdog(seconds: u32) -> Result {
    Status::check(import::SystemSetWatchdog(seconds))
}

/// Ends the watchdog.
pub fn system_stop_watchdog() {
    import::SystemStopWatchdog();
}

/// Writes one line, without its newline, to the debugger and to xen.sys's sinks.
pub fn log_write(level: LogLevel, text: &str) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    // SAFETY: `text` has at least `length` bytes and outlives the call; xen.sys copies them.
    unsafe { import::LogWrite(level as u32, text.as_ptr(), length) };
}

/// The sink that an image hands to kexec's log once [`touch`](crate::xen::touch) has succeeded.
pub fn log_sink(level: Level, line: &str) {
    log_write(level.into(), line);
}

/// A sink of the log, removed on drop: at `<= DISPATCH_LEVEL`, waiting for calls that run.
#[derive(Debug)]
pub struct LogDisposition(u32);

impl LogDisposition {
    /// Sends lines of the levels in `mask` to `routine`, at the IRQL of whoever logs, up to HIGH_LEVEL.
    /// It may not wait, and is called by one processor at a time but in a crash.
    ///
    /// An empty mask adds nothing; `STATUS_UNSUCCESSFUL` when all places are taken.
    ///
    /// # Safety
    /// Routine and argument stay valid until this is dropped.
    pub unsafe fn add(mask: u32, routine: LogRoutine, argument: *mut c_void) -> Result<Self> {
        let mut id = 0;
        // SAFETY: by the contract; the id is a local.
        Status::check(unsafe { import::LogAddDisposition(mask, routine, argument, &raw mut id) })?;
        Ok(Self(id))
    }
}

impl Drop for LogDisposition {
    fn drop(&mut self) {
        import::LogRemoveDisposition(self.0);
    }
}

/// Captures other drivers' prints again, which Windows forgets over hibernation. `<= DISPATCH_LEVEL`.
pub fn log_resume() {
    import::LogResume();
}

/// The image at an address.
#[must_use]
pub fn module_lookup(address: u64) -> Option<Module> {
    let (mut name, mut offset) = ([0; MODULE_NAME_MAX], 0);
    match import::ModuleLookup(address, &mut name, &mut offset) {
        0 => None,
        length => Some(Module::new(name, length, offset)),
    }
}

/// Unplugs the emulated devices whose removal was requested for this boot.
pub fn unplug_devices() -> Result {
    Status::check(import::UnplugDevices())
}

/// After a resume with a new device model: unplugs again what this boot has unplugged, if anything.
pub fn unplug_devices_again() -> Result {
    Status::check(import::UnplugDevicesAgain())
}

/// Was the removal of emulated devices of this kind requested for this boot?
#[must_use]
pub fn unplug_get_request(kind: u32) -> bool {
    import::UnplugGetRequest(kind) != 0
}

/// Asks for the removal of emulated devices of this kind at the next boot. One caller at a time.
pub fn unplug_increment_value(_level: Passive, kind: u32) -> Result {
    Status::check(import::UnplugIncrementValue(kind))
}

/// Takes back one [`unplug_increment_value`]. `STATUS_INVALID_PARAMETER` below zero.
pub fn unplug_decrement_value(_level: Passive, kind: u32) -> Result {
    Status::check(import::UnplugDecrementValue(kind))
}

/// Puts xenfilt among the upper filters of its classes, from the next boot on. Failures are logged.
pub fn filters_install(_level: Passive) {
    import::FiltersInstall();
}

/// Takes xenfilt out of them.
pub fn filters_uninstall(_level: Passive) {
    import::FiltersUninstall();
}

/// What identifies a platform device.
#[derive(Clone, Copy, Debug)]
pub struct ActiveDevice<'a> {
    /// Its device id.
    pub device: WStr<'a>,
    /// Its instance id.
    pub instance: WStr<'a>,
    /// Its location text.
    pub location: WStr<'a>,
}

fn units(text: WStr<'_>) -> Result<Units> {
    let length = u32::try_from(text.units().len()).map_err(|_| Status::NAME_TOO_LONG)?;
    Ok(Units {
        start: text.units().as_ptr(),
        length,
    })
}

impl ActiveDevice<'_> {
    fn names(&self) -> Result<DeviceNames> {
        Ok(DeviceNames {
            device: units(self.device)?,
            instance: units(self.instance)?,
            location: units(self.location)?,
        })
    }
}

/// A recorded value of the active device: `DeviceID`, `InstanceID` or `LocationInformation`.
/// `STATUS_OBJECT_NAME_NOT_FOUND` when there is none.
pub fn config_get_active(_level: Passive, key: &str) -> Result<WString> {
    let mut buffer = [0; 260];
    let mut used = 0;
    // SAFETY: the key's bytes, and a buffer with its room; all outlive the call.
    Status::check(unsafe {
        import::ConfigGetActive(
            key.as_ptr(),
            key.len() as u32,
            buffer.as_mut_ptr(),
            buffer.len() as u32,
            &raw mut used,
        )
    })?;
    WString::try_from_units(TAG, buffer.get(..used as usize).unwrap_or_default())
}

/// Records a device as the active one. `STATUS_UNSUCCESSFUL`: a vendor device comes first.
pub fn config_set_active(_level: Passive, device: ActiveDevice<'_>) -> Result {
    // SAFETY: the names are borrowed from texts that outlive the call.
    Status::check(unsafe { import::ConfigSetActive(&device.names()?) })
}

/// Fills in what an older installation did not record.
pub fn config_update_active(_level: Passive, device: ActiveDevice<'_>) -> Result {
    // SAFETY: as above.
    Status::check(unsafe { import::ConfigUpdateActive(&device.names()?) })
}

/// Forgets the active device, but not where it is.
pub fn config_clear_active(_level: Passive) -> Result {
    Status::check(import::ConfigClearActive())
}

/// Asks the monitor service for a reboot in the name of `module`; `parameters` is the path of the
/// caller's parameters key, which has the `RequestKey`.
pub fn config_request_reboot(_level: Passive, parameters: WStr<'_>, module: WStr<'_>) -> Result {
    let (parameters, module) = (units(parameters)?, units(module)?);
    // SAFETY: texts that outlive the call.
    Status::check(unsafe { import::ConfigRequestReboot(&parameters, &module) })
}

/// The first of the system's start options that begins with `key` (its `=` included), whole.
/// `STATUS_OBJECT_NAME_NOT_FOUND`: there is none.
pub fn config_query_start_option(_level: Passive, key: &str) -> Result<String> {
    let mut buffer = [0; 128];
    let mut used = 0;
    // SAFETY: the key's bytes, and a buffer with its room; all outlive the call.
    Status::check(unsafe {
        import::ConfigQuerySystemStartOption(
            key.as_ptr(),
            key.len() as u32,
            buffer.as_mut_ptr(),
            buffer.len() as u32,
            &raw mut used,
        )
    })?;
    let text = buffer.get(..used as usize).unwrap_or_default();
    let text = core::str::from_utf8(text).map_err(|_| Status::OBJECT_TYPE_MISMATCH)?;
    String::try_from_str(TAG, text)
}
