// SPDX-License-Identifier: BSD-2-Clause
//! The image's entry point, and a channel whose callback looks at the clock, over the published table.
#![expect(
    unsafe_code,
    reason = "DriverEntry is called by the I/O manager; calls through a C table"
)]

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kexec::nt::wdm::DevicePtr;
use kexec::{Passive, Result, Status};
use xenbus_interface::evtchn::{Channel, EvtchnV9, TYPE_UNBOUND};
use xenbus_interface::{Interface, query};

use crate::bench::SELF;

#[cfg(windows)]
mod image {
    use xenbus_interface::xen;

    /// xen.sys.
    struct Xen;

    impl crate::run::Count for Xen {
        fn hypercalls() -> (u64, u64) {
            let counters = xen::counters();
            (counters.total(), counters.sends())
        }
    }

    xenchild::entry!(crate::run::Running<Xen>);
}

/// Calls of the callback, and the clock at the last one. Static: the published `close` does not wait for a callback.
static CALLS: AtomicU32 = AtomicU32::new(0);
static CALLED: AtomicU64 = AtomicU64::new(0);

/// Any IRQL.
///
/// # Safety
/// None is needed: the argument is not used.
unsafe extern "C" fn rung(_interrupt: *mut c_void, _argument: *mut c_void) -> u8 {
    // SAFETY: every x64 processor has the counter.
    CALLED.store(unsafe { core::arch::x86_64::_rdtsc() }, Ordering::Relaxed);
    CALLS.fetch_add(1, Ordering::Relaxed);
    1
}

/// A channel for the domain itself to bind to.
///
/// # Invariants
/// The table came from the bus driver, a reference is held, and the channel is open.
pub(crate) struct Bell {
    table: EvtchnV9,
    channel: NonNull<Channel>,
}

// SAFETY: the table's methods may be called on any processor.
unsafe impl Send for Bell {}
// SAFETY: as above; the table is never written.
unsafe impl Sync for Bell {}

impl Bell {
    /// Opens the channel and lets events through.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub(crate) fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<EvtchnV9>(below, passive)?;
        let this = this(&table);
        // SAFETY: the bus driver's method with a copy of its own table, as for every call below.
        Status::check(unsafe { (table.acquire)(this) })?;
        let argument = ptr::null_mut();
        let domain = u64::from(SELF);
        // SAFETY: the callback uses statics alone.
        let channel =
            unsafe { (table.open)(this, TYPE_UNBOUND, Some(rung), argument, domain, 0, 0) };
        let Some(channel) = NonNull::new(channel) else {
            // SAFETY: the reference taken above.
            unsafe { (table.release)(this) };
            return Err(Status::UNSUCCESSFUL);
        };
        // SAFETY: an open channel; the level is PASSIVE_LEVEL.
        unsafe { (table.unmask)(this, channel.as_ptr(), 0, 1) };
        Ok(Self { table, channel })
    }

    /// The port to bind to.
    pub(crate) fn port(&self) -> u32 {
        // SAFETY: by the invariant.
        unsafe { (self.table.get_port)(this(&self.table), self.channel.as_ptr()) }
    }

    /// Calls of the callback so far, and the clock at the last of them.
    pub(crate) fn called(&self) -> (u32, u64) {
        (
            CALLS.load(Ordering::Relaxed),
            CALLED.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let this = this(&self.table);
        // SAFETY: by the invariant; closed once.
        unsafe { (self.table.close)(this, self.channel.as_ptr()) };
        // SAFETY: the reference of the invariant, given back once.
        unsafe { (self.table.release)(this) };
    }
}

/// The first argument of every method. Providers only read what it points to.
fn this(table: &EvtchnV9) -> *mut Interface {
    ptr::from_ref(&table.interface).cast_mut()
}
