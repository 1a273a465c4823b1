// SPDX-License-Identifier: BSD-2-Clause
//! UNPLUG, versions 1 to 3: counts in xen.sys's part of the registry.

use core::ffi::{c_char, c_void};

use kexec::nt::WString;
use kexec::{Passive, Status, warn};
use xenbus_interface::unplug::{
    DEVICE_TYPE_DISKS, DEVICE_TYPE_NICS, DeviceType, UnplugV1, UnplugV2, UnplugV3,
};
use xenbus_interface::{Interface, NtStatus, xen};

use super::super::TAG;
use super::super::fdo::parameters_path;
use super::{fdo, release, text};

pub(super) fn v1(context: *mut c_void) -> UnplugV1 {
    UnplugV1 {
        interface: Interface::of::<UnplugV1>(context),
        acquire: table_acquire,
        release: table_release,
        request,
    }
}

pub(super) fn v2(context: *mut c_void) -> UnplugV2 {
    UnplugV2 {
        interface: Interface::of::<UnplugV2>(context),
        acquire: table_acquire,
        release: table_release,
        request,
        is_requested,
    }
}

pub(super) fn v3(context: *mut c_void) -> UnplugV3 {
    UnplugV3 {
        interface: Interface::of::<UnplugV3>(context),
        acquire: table_acquire,
        release: table_release,
        request,
        is_requested,
        boot_emulated,
        reboot,
    }
}

/// Always succeeds: nothing here belongs to a start.
unsafe extern "C" fn table_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let fdo = unsafe { fdo(this) };
    super::count(&fdo.references().unplug);
    0
}

unsafe extern "C" fn table_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    release(&unsafe { fdo(this) }.references().unplug);
}

/// The kind as xen.sys numbers it, which is another way.
fn kind(device: DeviceType) -> Option<u32> {
    match device {
        DEVICE_TYPE_DISKS => Some(xen::UNPLUG_DISKS),
        DEVICE_TYPE_NICS => Some(xen::UNPLUG_NICS),
        _ => None,
    }
}

unsafe extern "C" fn request(this: *mut Interface, device: DeviceType, make: u8) {
    let Some(kind) = kind(device) else { return };
    let passive = Passive::assert();
    // SAFETY: the table's contract.
    let fdo = unsafe { fdo(this) };
    // One at a time: xen.sys reads, changes and writes a value.
    let Ok(_one) = kexec::block_on(passive, fdo.unplug().lock()) else {
        warn!("unplug: request not counted, no memory");
        return;
    };
    let done = if make != 0 {
        xen::unplug_increment_value(passive, kind)
    } else {
        xen::unplug_decrement_value(passive, kind)
    };
    match done {
        // Below zero there is nothing to take back.
        Ok(()) | Err(Status::INVALID_PARAMETER | Status::OBJECT_NAME_NOT_FOUND) => {}
        Err(status) => warn!("unplug: request not counted, {status}"),
    }
}

unsafe extern "C" fn is_requested(_this: *mut Interface, device: DeviceType) -> u8 {
    u8::from(kind(device).is_some_and(xen::unplug_get_request))
}

unsafe extern "C" fn boot_emulated(_this: *mut Interface) -> u8 {
    let option = xen::config_query_start_option(Passive::assert(), "XEN:BOOT_EMULATED=");
    u8::from(option.is_ok_and(|option| option.as_str() == "XEN:BOOT_EMULATED=TRUE"))
}

unsafe extern "C" fn reboot(_this: *mut Interface, module: *const c_char) {
    let passive = Passive::assert();
    // SAFETY: the table's contract.
    let module = unsafe { text(module) }.unwrap_or_default();
    let done = core::str::from_utf8(module)
        .map_err(|_| Status::INVALID_PARAMETER)
        .and_then(|module| WString::try_from_str(TAG, module))
        .and_then(|module| {
            let path = parameters_path()?;
            xen::config_request_reboot(passive, path.as_wstr(), module.as_wstr())
        });
    if let Err(status) = done {
        warn!("unplug: reboot not requested, {status}");
    }
}
