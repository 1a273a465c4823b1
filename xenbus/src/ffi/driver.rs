// SPDX-License-Identifier: BSD-2-Clause
//! DriverEntry, AddDevice, unload, and the dispatch routine that every request enters by.

use core::sync::atomic::{AtomicPtr, Ordering};

use kexec::nt::sys::{DEVICE_OBJECT, DRIVER_OBJECT, IRP, UNICODE_STRING};
use kexec::nt::wdm::{Device, DevicePtr, Driver, Irp};
use kexec::nt::{WStr, WString, log};
use kexec::{Passive, Result, Status, error, info};
use xenbus_interface::xen;

use super::TAG;
use super::fdo::Fdo;
use super::pdo::Pdo;

/// What a device object of this driver is.
pub(super) enum Extension {
    /// On top of the Xen platform function.
    Fdo(Fdo),
    /// A child.
    Pdo(Pdo),
}

/// The driver object, from DriverEntry to unload.
static DRIVER: AtomicPtr<DRIVER_OBJECT> = AtomicPtr::new(core::ptr::null_mut());

/// The driver object.
pub(super) fn driver() -> Result<Driver> {
    // SAFETY: set by DriverEntry; devices, and so callers, exist only until unload.
    unsafe { Driver::from_raw(DRIVER.load(Ordering::Acquire)) }.ok_or(Status::INVALID_DEVICE_STATE)
}

/// Entry point of the image. Succeeds in every case: a driver that cannot work here stays loaded and inert.
///
/// # Safety
/// Called once by the I/O manager, at PASSIVE_LEVEL, with the driver object and the path of the service key.
#[unsafe(no_mangle)]
unsafe extern "system" fn DriverEntry(
    driver: *mut DRIVER_OBJECT,
    path: *const UNICODE_STRING,
) -> i32 {
    if let Err(status) = xen::touch(c"xenbus") {
        match status {
            Status::NOT_IMPLEMENTED => info!("xenbus: not on Xen, staying inert"),
            // xen.sys has named both versions.
            status => error!("xenbus: staying inert, {status}"),
        }
        return 0;
    }
    // To the debugger as before, and to xen.sys's sinks.
    log::set_sink(Some(xen::log_sink));
    // SAFETY: the I/O manager's driver object.
    let Some(object) = (unsafe { Driver::from_raw(driver) }) else {
        return 0;
    };
    // SAFETY: the I/O manager's string, valid during the call.
    let path = unsafe { WStr::from_raw(path) };
    match WString::try_from_units(TAG, path.units()) {
        Ok(path) => super::fdo::remember_service_key(path),
        Err(status) => {
            error!("xenbus: no memory for the service key's path, inert, {status}");
            return 0;
        }
    }
    DRIVER.store(driver, Ordering::Release);
    object.set_unload(unload);
    object.set_add_device(add_device);
    object.set_dispatch(dispatch);
    info!("xenbus: version {}", xen::Build::CURRENT);
    0
}

unsafe extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {
    super::fdo::forget_service_key();
    DRIVER.store(core::ptr::null_mut(), Ordering::Release);
    info!("xenbus: unloaded");
}

unsafe extern "C" fn add_device(_driver: *mut DRIVER_OBJECT, pdo: *mut DEVICE_OBJECT) -> i32 {
    let passive = Passive::assert();
    // SAFETY: the PnP manager keeps the PDO alive until our device has been removed.
    let Some(pdo) = (unsafe { DevicePtr::from_raw(pdo) }) else {
        return Status::INVALID_PARAMETER.raw();
    };
    match driver().and_then(|driver| Fdo::add(driver, pdo, passive)) {
        Ok(()) => 0,
        Err(status) => {
            error!("xenbus: device not added, {status}");
            status.raw()
        }
    }
}

unsafe extern "C" fn dispatch(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: requests come only for devices of this driver, all of which have this extension.
    let device = unsafe { Device::<Extension>::from_raw(device) };
    // SAFETY: the I/O manager hands the request over.
    let irp = unsafe { Irp::from_raw(irp) };
    let (Some(device), Some(irp)) = (device, irp) else {
        return Status::INVALID_PARAMETER.raw();
    };
    match device.state() {
        Extension::Fdo(fdo) => fdo.dispatch(device, irp),
        Extension::Pdo(pdo) => pdo.dispatch(device, irp),
    }
}
