// SPDX-License-Identifier: BSD-2-Clause
//! The edge: entry points and device objects. Runs in images and, over the fake kernel, in host tests.
#![expect(unsafe_code, reason = "the C ABI: entry points and IRPs")]

mod machine;

pub use machine::{counter, routine};

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use kexec::nt::SpinLock;
use kexec::nt::sys::{DEVICE_OBJECT, DRIVER_OBJECT, IRP};
use kexec::nt::wdm::{Device, DevicePtr, Driver, Irp, RemoveGuard, RemoveLock, mj, mn};
use kexec::{Passive, Status, error, info};

use crate::Child;

/// FILE_DEVICE_UNKNOWN.
const FILE_DEVICE_UNKNOWN: u32 = 0x22;

/// The device extension. Whole before the device is in a stack: a request may come as soon as it is.
struct Extension<C> {
    /// The device below; null until attached.
    lower: AtomicPtr<DEVICE_OBJECT>,
    remove: RemoveLock,
    /// Between START_DEVICE and STOP_DEVICE or REMOVE_DEVICE.
    child: SpinLock<Option<C>>,
}

/// Sets the driver object up.
///
/// # Safety
/// `driver` is the I/O manager's, in its DriverEntry.
pub unsafe fn driver_entry<C: Child>(driver: *mut DRIVER_OBJECT) -> i32 {
    // SAFETY: by the contract.
    let Some(object) = (unsafe { Driver::from_raw(driver) }) else {
        return Status::INVALID_PARAMETER.raw();
    };
    object.set_unload(unload);
    object.set_add_device(add_device::<C>);
    object.set_dispatch(dispatch::<C>);
    0
}

/// Nothing is left when the last device is gone.
///
/// # Safety
/// Called by the I/O manager.
pub unsafe extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {}

unsafe extern "C" fn add_device<C: Child>(
    driver: *mut DRIVER_OBJECT,
    pdo: *mut DEVICE_OBJECT,
) -> i32 {
    let passive = Passive::assert();
    // SAFETY: the PnP manager keeps the PDO alive until our device has been removed.
    let pdo = unsafe { DevicePtr::from_raw(pdo) };
    // SAFETY: the driver that the PnP manager adds a device to.
    let driver = unsafe { Driver::from_raw(driver) };
    let (Some(pdo), Some(driver)) = (pdo, driver) else {
        return Status::INVALID_PARAMETER.raw();
    };
    match add::<C>(driver, pdo, passive) {
        Ok(()) => 0,
        Err(status) => status.raw(),
    }
}

fn add<C: Child>(driver: Driver, pdo: DevicePtr, passive: Passive) -> kexec::Result {
    let device = Device::try_new(driver, FILE_DEVICE_UNKNOWN, false, passive, |_| {
        Ok(Extension::<C> {
            lower: AtomicPtr::new(ptr::null_mut()),
            remove: RemoveLock::new(),
            child: SpinLock::new(None),
        })
    })?;
    let extension = device.state();
    // SAFETY: in the extension, its final place; nothing has used it.
    unsafe { extension.remove.init(*b"XChi", passive) };
    let lower = match device.attach(pdo, passive) {
        Ok(lower) => lower,
        Err(status) => {
            device.delete(passive);
            return Err(status);
        }
    };
    extension.lower.store(lower.as_raw(), Ordering::Release);
    device.ready();
    Ok(())
}

unsafe extern "C" fn dispatch<C: Child>(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: requests come only for devices of this driver, all of which have this extension.
    let device = unsafe { Device::<Extension<C>>::from_raw(device) };
    // SAFETY: the I/O manager hands the request over.
    let irp = unsafe { Irp::from_raw(irp) };
    let (Some(device), Some(irp)) = (device, irp) else {
        return Status::INVALID_PARAMETER.raw();
    };
    let extension = device.state();
    // SAFETY: what attaching returned; it stays while a request is inside us.
    let lower = unsafe { DevicePtr::from_raw(extension.lower.load(Ordering::Acquire)) };
    let Some(lower) = lower else {
        // Attached, but AddDevice has not returned.
        return irp.complete_with(Status::DEVICE_NOT_READY.raw());
    };
    let Ok(guard) = extension.remove.acquire() else {
        let removal = irp.major() == mj::PNP
            && matches!(irp.minor(), mn::REMOVE_DEVICE | mn::SURPRISE_REMOVAL);
        let refused = Status::NO_SUCH_DEVICE.raw();
        return irp.complete_with(if removal { 0 } else { refused });
    };
    match irp.major() {
        mj::PNP if irp.minor() == mn::REMOVE_DEVICE => remove(device, irp, lower, guard),
        mj::PNP => {
            let status = extension.pnp(irp, lower);
            drop(guard);
            status
        }
        // Nothing of ours opens.
        mj::CREATE => irp.complete_with(Status::ACCESS_DENIED.raw()),
        _ => {
            let status = irp.skip_to(lower);
            drop(guard);
            status
        }
    }
}

fn remove<C: Child>(
    device: Device<Extension<C>>,
    mut irp: Irp,
    lower: DevicePtr,
    guard: RemoveGuard<'_>,
) -> i32 {
    let passive = Passive::assert();
    let extension = device.state();
    extension.stop(passive);
    extension.remove.release_and_wait(guard, passive);
    irp.set(0, 0);
    let status = irp.skip_to(lower);
    device.detach(lower, passive);
    device.delete(passive);
    status
}

impl<C: Child> Extension<C> {
    fn pnp(&self, mut irp: Irp, lower: DevicePtr) -> i32 {
        match irp.minor() {
            mn::START_DEVICE => {
                let passive = Passive::assert();
                let mut irp = irp.forward_and_wait(lower, passive);
                if Status::check(irp.status()).is_ok() {
                    match C::start(lower, passive) {
                        Ok(child) => {
                            *self.child.lock() = Some(child);
                            info!("{}: started", C::NAME);
                        }
                        Err(status) => {
                            error!("{}: not started, {status}", C::NAME);
                            irp.set(status.raw(), 0);
                        }
                    }
                }
                irp.complete()
            }
            mn::STOP_DEVICE => {
                self.stop(Passive::assert());
                irp.set(0, 0);
                irp.skip_to(lower)
            }
            mn::QUERY_STOP_DEVICE
            | mn::CANCEL_STOP_DEVICE
            | mn::QUERY_REMOVE_DEVICE
            | mn::CANCEL_REMOVE_DEVICE
            | mn::SURPRISE_REMOVAL => {
                irp.set(0, 0);
                irp.skip_to(lower)
            }
            _ => irp.skip_to(lower),
        }
    }

    fn stop(&self, passive: Passive) {
        let child = self.child.lock().take();
        if let Some(child) = child {
            child.stop(passive);
            info!("{}: stopped", C::NAME);
        }
    }
}
