// SPDX-License-Identifier: BSD-2-Clause
//! The image's entry point, and the counters of a xen.sys that has some.
#![expect(
    unsafe_code,
    reason = "DriverEntry is called by the I/O manager; calls what another image exports"
)]

use core::ffi::{CStr, c_char, c_void};
use core::ptr::NonNull;

use kexec::{Passive, wstr};
use xenbus_interface::xen::Counters;

#[cfg(windows)]
xenchild::entry!(crate::run::Running);

/// `TestKernelFindExport`.
type FindExport =
    unsafe extern "C" fn(image: *const c_char, name: *const c_char) -> Option<NonNull<c_void>>;

/// `XenCounters` of xen.sys.
#[derive(Clone, Copy)]
pub(crate) struct Hypercalls(unsafe extern "C" fn(*mut Counters));

impl Hypercalls {
    /// That of the loaded xen.sys; `None` if it has none, or if nobody can say so. It stays loaded while its importers are, the
    /// bus driver among them.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub(crate) fn find(passive: Passive) -> Option<Self> {
        let find = xenchild::routine(wstr!("TestKernelFindExport"), passive)?;
        // SAFETY: only the test kernel exports the name, and there it has this type.
        let find = unsafe { core::mem::transmute::<NonNull<c_void>, FindExport>(find) };
        let (image, name): (&CStr, &CStr) = (c"xen.sys", c"XenCounters");
        // SAFETY: two strings, at PASSIVE_LEVEL.
        let found = unsafe { find(image.as_ptr(), name.as_ptr()) }?;
        // SAFETY: the only export of that name is ours, and has this type.
        Some(Self(unsafe {
            core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn(*mut Counters)>(found)
        }))
    }

    /// Hypercalls so far, and event sends among them. Any IRQL.
    pub(crate) fn count(self) -> (u64, u64) {
        let mut counters = Counters::ZERO;
        // SAFETY: writes one value.
        unsafe { (self.0)(&raw mut counters) };
        (counters.total(), counters.sends())
    }
}
