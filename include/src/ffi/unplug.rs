// SPDX-License-Identifier: BSD-2-Clause
//! Unplug requests over [`UnplugV3`].

use core::ffi::CStr;

use kexec::Passive;

use super::reference::Reference;
use crate::unplug::{DeviceType, UnplugV3};

/// A reference to the unplug service.
pub(crate) type Service = Reference<UnplugV3>;

impl Service {
    pub(crate) fn request(&self, kind: DeviceType, make: bool, _level: Passive) {
        // SAFETY: a reference is held, at PASSIVE_LEVEL (token).
        unsafe { (self.table().request)(self.this(), kind, u8::from(make)) };
    }

    pub(crate) fn is_requested(&self, kind: DeviceType, _level: Passive) -> bool {
        // SAFETY: a reference is held, at PASSIVE_LEVEL (token).
        unsafe { (self.table().is_requested)(self.this(), kind) != 0 }
    }

    pub(crate) fn boot_emulated(&self, _level: Passive) -> bool {
        // SAFETY: a reference is held, at PASSIVE_LEVEL (token).
        unsafe { (self.table().boot_emulated)(self.this()) != 0 }
    }

    pub(crate) fn reboot(&self, module: &CStr, _level: Passive) {
        // SAFETY: a reference is held, at PASSIVE_LEVEL (token); the name ends in NUL and is only read.
        unsafe { (self.table().reboot)(self.this(), module.as_ptr()) };
    }
}
