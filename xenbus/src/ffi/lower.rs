// SPDX-License-Identifier: BSD-2-Clause
//! BUS_INTERFACE_STANDARD of the PCI driver below: the platform function's configuration space.

use core::ffi::c_void;

use kexec::nt::wdm::{DevicePtr, QueryInterface};
use kexec::{Passive, Result, Status};

/// GUID_BUS_INTERFACE_STANDARD {496B8280-6F25-11D0-BEAF-08002BE2092F}.
pub(super) const GUID: [u8; 16] =
    xenbus_interface::Guid::from_u128(0x496B_8280_6F25_11D0_BEAF_0800_2BE2_092F).to_bytes();
/// PCI_WHICHSPACE_CONFIG.
const CONFIG: u32 = 0;

/// BUS_INTERFACE_STANDARD (`wdm.h`).
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct BusInterface {
    size: u16,
    version: u16,
    context: *mut c_void,
    reference: Option<unsafe extern "C" fn(*mut c_void)>,
    dereference: Option<unsafe extern "C" fn(*mut c_void)>,
    translate: Option<unsafe extern "C" fn(*mut c_void, i64, u32, *mut u32, *mut i64) -> u8>,
    get_dma_adapter:
        Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut u32) -> *mut c_void>,
    set_data: Option<unsafe extern "C" fn(*mut c_void, u32, *mut c_void, u32, u32) -> u32>,
    get_data: Option<unsafe extern "C" fn(*mut c_void, u32, *mut c_void, u32, u32) -> u32>,
}
const _: () = assert!(size_of::<BusInterface>() == 0x40);

// SAFETY: the routines of the table may be called from any thread at <= DISPATCH_LEVEL (its documentation).
unsafe impl Send for BusInterface {}
// SAFETY: as above.
unsafe impl Sync for BusInterface {}

/// The interface, referenced; dropping it gives the reference back.
pub(super) struct Lower(BusInterface);

impl Lower {
    /// Asks the device below.
    ///
    /// # Errors
    /// The answer's status; `STATUS_INVALID_PARAMETER` for another version.
    pub(super) fn ask(lower: DevicePtr, passive: Passive) -> Result<Self> {
        // SAFETY: the table of this GUID and version, all pointers, so valid when zeroed.
        let table: BusInterface = unsafe { QueryInterface::ask(lower, &GUID, 1, passive)? };
        if table.version != 1 {
            return Err(Status::INVALID_PARAMETER);
        }
        Ok(Self(table))
    }

    /// Vendor and device id.
    ///
    /// # Errors
    /// `STATUS_NOT_SUPPORTED` when configuration space cannot be read.
    pub(super) fn ids(&self) -> Result<(u16, u16)> {
        let mut ids = [0_u8; 4];
        let get = self.0.get_data.ok_or(Status::NOT_SUPPORTED)?;
        // SAFETY: the provider's routine with its context; the buffer has the stated length.
        let read = unsafe {
            get(
                self.0.context,
                CONFIG,
                ids.as_mut_ptr().cast(),
                0,
                ids.len() as u32,
            )
        };
        if read != ids.len() as u32 {
            return Err(Status::NOT_SUPPORTED);
        }
        Ok((
            u16::from_le_bytes([ids[0], ids[1]]),
            u16::from_le_bytes([ids[2], ids[3]]),
        ))
    }

    /// The table for a child, with a reference of the child's own.
    pub(super) fn share(&self) -> BusInterface {
        if let Some(reference) = self.0.reference {
            // SAFETY: the provider's routine with its context.
            unsafe { reference(self.0.context) };
        }
        self.0
    }
}

impl Drop for Lower {
    fn drop(&mut self) {
        if let Some(dereference) = self.0.dereference {
            // SAFETY: the provider's routine with its context; gives back the reference that the query returned.
            unsafe { dereference(self.0.context) };
        }
    }
}
