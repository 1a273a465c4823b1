// SPDX-License-Identifier: BSD-2-Clause
//! DriverEntry, AddDevice and unload.

use core::sync::atomic::Ordering;

use kexec::nt::sys::{DEVICE_OBJECT, DRIVER_OBJECT, UNICODE_STRING};
use kexec::nt::wdm::{DevicePtr, Driver};
use kexec::nt::{SpinLock, WStr, log};
use kexec::status::STATUS_SUCCESS;
use kexec::{Passive, Status};
use xenbus_interface::xen;

use super::device;
use crate::params::KeyPath;

/// Where the parameters are; empty while the driver is inert.
static PARAMETERS: SpinLock<KeyPath> = SpinLock::new(KeyPath::EMPTY);

/// What the I/O manager calls after loading the image. Succeeds even when the driver stays inert: a class filter that
/// fails to load takes every device of its class with it.
///
/// # Safety
/// Called once, by the I/O manager, with the driver object and the path of the service's key.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn DriverEntry(
    driver: *mut DRIVER_OBJECT,
    path: *const UNICODE_STRING,
) -> i32 {
    // SAFETY: DriverEntry's own argument.
    let Some(driver) = (unsafe { Driver::from_raw(driver) }) else {
        return Status::INVALID_PARAMETER.raw();
    };
    driver.set_unload(unload);
    driver.set_add_device(add_device);
    // SAFETY: the I/O manager's string, unchanged while DriverEntry runs.
    let service = unsafe { WStr::from_raw(path) };
    match xen::touch(c"xenfilt") {
        Ok(()) => start(driver, service),
        Err(Status::NOT_IMPLEMENTED) => kexec::info!("xenfilt: not on Xen, staying inert"),
        Err(status) => kexec::error!(
            "xenfilt: {} does not go with xen.sys ({status}), staying inert",
            xen::Build::CURRENT
        ),
    }
    STATUS_SUCCESS
}

fn start(driver: Driver, service: WStr<'_>) {
    let Some(path) = KeyPath::parameters_of(service.units()) else {
        kexec::error!("xenfilt: service key {service} too long, staying inert");
        return;
    };
    log::set_sink(Some(xen::log_sink));
    *PARAMETERS.lock() = path;
    driver.set_dispatch(device::dispatch);
    kexec::info!("xenfilt: {} ready", xen::Build::CURRENT);
}

unsafe extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {
    let attached = device::ATTACHED.load(Ordering::Acquire);
    assert!(attached == 0, "unloaded with {attached} filter objects");
}

unsafe extern "C" fn add_device(driver: *mut DRIVER_OBJECT, pdo: *mut DEVICE_OBJECT) -> i32 {
    let parameters = *PARAMETERS.lock();
    if parameters.units().is_empty() {
        return STATUS_SUCCESS;
    }
    // SAFETY: the driver object of this driver, alive while its routines are called.
    let driver = unsafe { Driver::from_raw(driver) };
    // SAFETY: the I/O manager keeps the PDO while this runs, and beyond that while we are attached to its stack.
    let pdo = unsafe { DevicePtr::from_raw(pdo) };
    let (Some(driver), Some(pdo)) = (driver, pdo) else {
        return Status::INVALID_PARAMETER.raw();
    };
    device::add(
        driver,
        pdo,
        WStr::new(parameters.units()),
        Passive::assert(),
    );
    STATUS_SUCCESS
}
