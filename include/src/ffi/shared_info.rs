// SPDX-License-Identifier: BSD-2-Clause
//! Time over [`SharedInfoV4`] or [`SharedInfoV3`].

use kexec::Result;

use super::reference::Reference;
use crate::shared_info::{SharedInfoV3, SharedInfoV4};

/// A reference to the bus driver's shared info.
#[derive(Debug)]
pub(crate) enum Clock {
    /// By version 4 of the table.
    V4(Reference<SharedInfoV4>),
    /// By version 3.
    V3(Reference<SharedInfoV3>),
}

impl Clock {
    /// Takes a reference by version 4 of the table.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is held.
    pub(crate) unsafe fn acquire_v4(table: SharedInfoV4) -> Result<Self> {
        // SAFETY: passed on.
        unsafe { Reference::acquire(table) }.map(Self::V4)
    }

    /// Takes a reference by version 3 of the table.
    ///
    /// # Safety
    /// As [`Self::acquire_v4`].
    pub(crate) unsafe fn acquire_v3(table: SharedInfoV3) -> Result<Self> {
        // SAFETY: passed on.
        unsafe { Reference::acquire(table) }.map(Self::V3)
    }

    /// 100 ns units since 1601, and whether that is local time.
    pub(crate) fn time(&self) -> (i64, bool) {
        let (this, get_time) = match self {
            Self::V4(reference) => (reference.this(), reference.table().get_time),
            Self::V3(reference) => (reference.this(), reference.table().get_time),
        };
        let (mut time, mut local) = (0, 0);
        // SAFETY: a reference is held; both pointers are valid.
        unsafe { get_time(this, &raw mut time, &raw mut local) };
        (time, local != 0)
    }
}
