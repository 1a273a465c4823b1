// SPDX-License-Identifier: BSD-2-Clause
//! Filter objects: choosing a stack, attaching, and devices and requests as the logic's traits.
//!
//! Runs in images and, over the fake kernel, in host tests.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use kexec::nt::sys::{DEVICE_OBJECT, IRP};
use kexec::nt::wdm::{
    BUS_QUERY_COMPATIBLE_IDS, BUS_QUERY_HARDWARE_IDS, Device, DevicePtr, Driver, Irp, RemoveGuard,
    RemoveLock, query_id,
};
use kexec::nt::{Key, SpinLock, Tag, WStr};
use kexec::{Passive, Result, Status};

use crate::filter::{self, Object, Request};
use crate::ids::{self, Bus, List};
use crate::pnp::Pnp;

const TAG: Tag = Tag(*b"XFLT");
/// FILE_DEVICE_UNKNOWN, until the stack's own type is known.
const DEVICE_UNKNOWN: u32 = 0x22;
/// DO_POWER_PAGABLE.
const POWER_PAGABLE: u32 = 0x2000;

/// Filter objects that are attached.
pub(super) static ATTACHED: AtomicU32 = AtomicU32::new(0);

/// Attaches a filter to the stack of `pdo` if `parameters`, the path of a key, name one of its ids.
///
/// Failure is logged and no more: a stack without its filter still works, one whose filter fails does not.
pub(super) fn add(driver: Driver, pdo: DevicePtr, parameters: WStr<'_>, passive: Passive) {
    let Some(bus) = bus_of(pdo, parameters, passive) else {
        return;
    };
    match attach(driver, pdo, passive) {
        Ok(()) => kexec::info!("xenfilt: attached, {bus:?}"),
        Err(status) => kexec::error!("xenfilt: not attached, {bus:?}, {status}"),
    }
}

fn bus_of(pdo: DevicePtr, parameters: WStr<'_>, passive: Passive) -> Option<Bus> {
    let key = Key::open(passive, parameters).ok()?;
    ids::find(
        |list, each| {
            let kind = match list {
                List::Hardware => BUS_QUERY_HARDWARE_IDS,
                List::Compatible => BUS_QUERY_COMPATIBLE_IDS,
            };
            if let Ok(text) = query_id(pdo, kind, passive) {
                text.strings().any(each);
            }
        },
        |id| parameter(&key, WStr::new(id)),
    )
}

/// The bus that the value `name` means: a string, or the first of a list.
fn parameter(key: &Key, name: WStr<'_>) -> Option<Bus> {
    if let Ok(text) = key.query_sz(TAG, name) {
        return Bus::parse(text.units());
    }
    let list = key.query_multi_sz(TAG, name).ok()?;
    Bus::parse(list.first()?.units())
}

fn attach(driver: Driver, pdo: DevicePtr, passive: Passive) -> Result {
    let device = Device::try_new(driver, DEVICE_UNKNOWN, false, passive, |_| {
        Ok(Extension {
            lower: AtomicPtr::new(ptr::null_mut()),
            lock: RemoveLock::new(),
            pnp: SpinLock::new(Pnp::new()),
        })
    })?;
    let extension = device.state();
    // SAFETY: in the extension, its final place; nothing has used it.
    unsafe { extension.lock.init(TAG.0, passive) };
    let lower = match device.attach(pdo, passive) {
        Ok(lower) => lower,
        Err(status) => {
            device.delete(passive);
            return Err(status);
        }
    };
    extension.lower.store(lower.as_raw(), Ordering::Release);
    ATTACHED.fetch_add(1, Ordering::AcqRel);
    device.imitate(lower);
    device.ready();
    Ok(())
}

/// The extension of a filter object.
struct Extension {
    /// The device below; null until attached.
    lower: AtomicPtr<DEVICE_OBJECT>,
    lock: RemoveLock,
    pnp: SpinLock<Pnp>,
}

/// The dispatch routine for every major function.
///
/// # Safety
/// Called by the I/O manager for a device object that [`add`] made, with a request for it.
pub(super) unsafe extern "C" fn dispatch(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> i32 {
    // SAFETY: this driver makes no other kind of device object.
    let device = unsafe { Device::<Extension>::from_raw(device) };
    // SAFETY: the argument of a dispatch routine; it is owned by this value from here on.
    let irp = unsafe { Irp::from_raw(irp) };
    let (Some(device), Some(irp)) = (device, irp) else {
        return Status::INVALID_PARAMETER.raw();
    };
    let filter = Filter(device);
    match filter.lower() {
        Some(lower) => filter::dispatch(filter, Io { irp, lower }),
        None => irp.complete_with(Status::DEVICE_NOT_READY.raw()),
    }
}

#[derive(Clone, Copy)]
struct Filter(Device<Extension>);

impl Filter {
    fn lower(self) -> Option<DevicePtr> {
        let lower = self.0.state().lower.load(Ordering::Acquire);
        // SAFETY: what attaching returned; it cannot go away while we are above it, and afterwards the PnP state refuses
        // every request before the pointer is used.
        unsafe { DevicePtr::from_raw(lower) }
    }

    fn set_pagable(self, pagable: bool) {
        let raw = self.0.as_ptr().as_raw();
        // SAFETY: our own object; PnP sends usage notifications one at a time.
        let flags = unsafe { (*raw).Flags };
        let flags = if pagable {
            flags | POWER_PAGABLE
        } else {
            flags & !POWER_PAGABLE
        };
        // SAFETY: as above.
        unsafe { (*raw).Flags = flags };
    }
}

impl Object for Filter {
    type Guard = RemoveGuard<'static>;

    fn enter(self) -> core::result::Result<Self::Guard, i32> {
        self.0.state().lock.acquire().map_err(Status::raw)
    }

    fn drain(self, guard: Self::Guard) {
        self.0
            .state()
            .lock
            .release_and_wait(guard, Passive::assert());
    }

    fn pnp<R>(self, with: impl FnOnce(&mut Pnp) -> R) -> R {
        with(&mut self.0.state().pnp.lock())
    }

    fn usage_down(self) {
        // SAFETY: our own object.
        let above = unsafe { (*self.0.as_ptr().as_raw()).AttachedDevice };
        // SAFETY: a device above us stays while this request, which came through it, is inside us.
        let pagable =
            unsafe { above.as_ref() }.is_none_or(|above| above.Flags & POWER_PAGABLE != 0);
        if pagable {
            self.set_pagable(true);
        }
    }

    fn usage_up(self) {
        let Some(lower) = self.lower() else { return };
        // SAFETY: the device below us stays while we are attached.
        let flags = unsafe { (*lower.as_raw()).Flags };
        if flags & POWER_PAGABLE == 0 {
            self.set_pagable(false);
        }
    }

    fn leave(self) {
        let passive = Passive::assert();
        if let Some(lower) = self.lower() {
            self.0.detach(lower, passive);
        }
        self.0.delete(passive);
        ATTACHED.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A request with the device that it would go to.
struct Io {
    irp: Irp,
    lower: DevicePtr,
}

impl Request for Io {
    fn major(&self) -> u8 {
        self.irp.major()
    }

    fn minor(&self) -> u8 {
        self.irp.minor()
    }

    fn status(&self) -> i32 {
        self.irp.status()
    }

    fn set_status(&mut self, status: i32) {
        self.irp.set(status, self.irp.information());
    }

    fn pass(self) -> i32 {
        self.irp.skip_to(self.lower)
    }

    fn forward_and_wait(self) -> Self {
        let irp = self.irp.forward_and_wait(self.lower, Passive::assert());
        Self { irp, ..self }
    }

    fn complete(self) -> i32 {
        self.irp.complete()
    }
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
