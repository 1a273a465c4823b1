// SPDX-License-Identifier: BSD-2-Clause
//! [`Irp`]: an I/O request that this driver owns until it completes it or passes it on.

use core::ptr::{self, NonNull};

use super::device::DevicePtr;
use crate::irql::Passive;
use crate::nt::sys::{
    self, DEVICE_OBJECT, IO_STACK_LOCATION, IRP, KEVENT, NotificationEvent, PVOID,
};
use crate::status::{Result, STATUS_PENDING, Status};

/// Major function codes (`wdm.h`).
pub mod mj {
    /// IRP_MJ_CREATE.
    pub const CREATE: u8 = 0x00;
    /// IRP_MJ_CLOSE.
    pub const CLOSE: u8 = 0x02;
    /// IRP_MJ_CLEANUP.
    pub const CLEANUP: u8 = 0x12;
    /// IRP_MJ_POWER.
    pub const POWER: u8 = 0x16;
    /// IRP_MJ_SYSTEM_CONTROL.
    pub const SYSTEM_CONTROL: u8 = 0x17;
    /// IRP_MJ_PNP.
    pub const PNP: u8 = 0x1b;
}

/// Minor function codes of IRP_MJ_PNP and IRP_MJ_POWER (`wdm.h`).
pub mod mn {
    /// IRP_MN_START_DEVICE.
    pub const START_DEVICE: u8 = 0x00;
    /// IRP_MN_QUERY_REMOVE_DEVICE.
    pub const QUERY_REMOVE_DEVICE: u8 = 0x01;
    /// IRP_MN_REMOVE_DEVICE.
    pub const REMOVE_DEVICE: u8 = 0x02;
    /// IRP_MN_CANCEL_REMOVE_DEVICE.
    pub const CANCEL_REMOVE_DEVICE: u8 = 0x03;
    /// IRP_MN_STOP_DEVICE.
    pub const STOP_DEVICE: u8 = 0x04;
    /// IRP_MN_QUERY_STOP_DEVICE.
    pub const QUERY_STOP_DEVICE: u8 = 0x05;
    /// IRP_MN_CANCEL_STOP_DEVICE.
    pub const CANCEL_STOP_DEVICE: u8 = 0x06;
    /// IRP_MN_QUERY_DEVICE_RELATIONS.
    pub const QUERY_DEVICE_RELATIONS: u8 = 0x07;
    /// IRP_MN_QUERY_INTERFACE.
    pub const QUERY_INTERFACE: u8 = 0x08;
    /// IRP_MN_QUERY_CAPABILITIES.
    pub const QUERY_CAPABILITIES: u8 = 0x09;
    /// IRP_MN_QUERY_RESOURCES.
    pub const QUERY_RESOURCES: u8 = 0x0a;
    /// IRP_MN_QUERY_RESOURCE_REQUIREMENTS.
    pub const QUERY_RESOURCE_REQUIREMENTS: u8 = 0x0b;
    /// IRP_MN_QUERY_DEVICE_TEXT.
    pub const QUERY_DEVICE_TEXT: u8 = 0x0c;
    /// IRP_MN_FILTER_RESOURCE_REQUIREMENTS.
    pub const FILTER_RESOURCE_REQUIREMENTS: u8 = 0x0d;
    /// IRP_MN_EJECT.
    pub const EJECT: u8 = 0x11;
    /// IRP_MN_QUERY_ID.
    pub const QUERY_ID: u8 = 0x13;
    /// IRP_MN_QUERY_PNP_DEVICE_STATE.
    pub const QUERY_PNP_DEVICE_STATE: u8 = 0x14;
    /// IRP_MN_QUERY_BUS_INFORMATION.
    pub const QUERY_BUS_INFORMATION: u8 = 0x15;
    /// IRP_MN_DEVICE_USAGE_NOTIFICATION.
    pub const DEVICE_USAGE_NOTIFICATION: u8 = 0x16;
    /// IRP_MN_SURPRISE_REMOVAL.
    pub const SURPRISE_REMOVAL: u8 = 0x17;
    /// IRP_MN_SET_POWER (IRP_MJ_POWER).
    pub const SET_POWER: u8 = 0x02;
    /// IRP_MN_QUERY_POWER (IRP_MJ_POWER).
    pub const QUERY_POWER: u8 = 0x03;
}

const MORE_PROCESSING_REQUIRED: i32 = 0xC000_0016_u32 as i32;
const NOT_SUPPORTED: i32 = 0xC000_00BB_u32 as i32;
/// SL_PENDING_RETURNED.
const SL_PENDING: u8 = 0x01;
/// SL_INVOKE_ON_CANCEL, _SUCCESS and _ERROR.
const SL_INVOKE_ALWAYS: u8 = 0xe0;

/// An I/O request owned by this driver. Dropping it completes it with the status that it carries.
///
/// # Invariants
/// Points to a valid IRP whose current stack location is ours, and which nobody else completes.
///
/// # IRQL
/// As said at each method.
#[derive(Debug)]
#[must_use = "an IRP must be completed or passed on"]
pub struct Irp(NonNull<IRP>);

// SAFETY: an IRP is used by one owner at a time, on any thread.
unsafe impl Send for Irp {}

impl Irp {
    /// Takes over the IRP that a dispatch routine was called with.
    ///
    /// # Safety
    /// `irp` is the argument of a dispatch routine that hands its ownership over here.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub unsafe fn from_raw(irp: *mut IRP) -> Option<Self> {
        NonNull::new(irp).map(Self)
    }

    fn raw(&self) -> *mut IRP {
        self.0.as_ptr()
    }

    fn location(&self) -> *mut IO_STACK_LOCATION {
        // SAFETY: valid by the type's invariant.
        unsafe { (*self.raw()).CurrentStackLocation }
    }

    /// IRP_MJ_ code, one of [`mj`].
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn major(&self) -> u8 {
        // SAFETY: our current location (type's invariant).
        unsafe { (*self.location()).MajorFunction }
    }

    /// IRP_MN_ code, one of [`mn`].
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn minor(&self) -> u8 {
        // SAFETY: our current location (type's invariant).
        unsafe { (*self.location()).MinorFunction }
    }

    /// The four pointer-sized parameters of our stack location.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn parameters(&self) -> [usize; 4] {
        // SAFETY: our current location (type's invariant).
        unsafe { (*self.location()).Parameters }
    }

    /// `IoStatus.Status`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn status(&self) -> i32 {
        // SAFETY: valid by the type's invariant.
        unsafe { (*self.raw()).IoStatus.Status }
    }

    /// `IoStatus.Information`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn information(&self) -> usize {
        // SAFETY: valid by the type's invariant.
        unsafe { (*self.raw()).IoStatus.Information }
    }

    /// Sets the status block.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn set(&mut self, status: i32, information: usize) {
        // SAFETY: valid and ours (type's invariant).
        unsafe {
            (*self.raw()).IoStatus = sys::IO_STATUS_BLOCK {
                Status: status,
                Information: information,
            }
        };
    }

    /// Sets `IoStatus.Status`, and `Information` when the result has one.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn set_result(&mut self, result: Result<usize>) {
        match result {
            Ok(information) => self.set(0, information),
            Err(status) => self.set(status.raw(), 0),
        }
    }

    /// Completes the request with the status block that it carries; returns the status for the dispatch routine.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn complete(self) -> i32 {
        let status = self.status();
        let raw = self.raw();
        core::mem::forget(self);
        // SAFETY: ours until this call, not used afterwards; IO_NO_INCREMENT.
        unsafe { sys::IofCompleteRequest(raw, 0) };
        status
    }

    /// Completes the request with `status` and no information.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn complete_with(mut self, status: i32) -> i32 {
        self.set(status, 0);
        self.complete()
    }

    /// Passes the request on without looking at it again (IoSkipCurrentIrpStackLocation, IoCallDriver).
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn skip_to(self, lower: DevicePtr) -> i32 {
        let raw = self.raw();
        core::mem::forget(self);
        // SAFETY: a valid IRP of ours; the next driver gets our location back.
        unsafe { (*raw).CurrentLocation += 1 };
        // SAFETY: as above.
        let location = unsafe { &mut (*raw).CurrentStackLocation };
        // There is a location above ours because we are in one.
        *location = location.wrapping_add(1);
        // SAFETY: a valid device below us and an IRP prepared for it; not used afterwards.
        unsafe { sys::IofCallDriver(lower.as_raw(), raw) }
    }

    /// Passes the request on and waits for it; then it is ours again, with the lower drivers' status in it.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn forward_and_wait(self, lower: DevicePtr, passive: Passive) -> Self {
        let raw = self.raw();
        let current = self.location();
        // SAFETY: StackSize of every device counts the ones below it, so there is a location below ours.
        let next = unsafe { current.sub(1) };
        // SAFETY: our location, valid for reads.
        let mut copy = unsafe { current.read() };
        copy.Control = 0;
        // SAFETY: the location below ours is ours to fill before the call.
        unsafe { next.write(copy) };
        // SAFETY: the request is ours (type's invariant), its next location is filled.
        unsafe { call_and_wait(raw, next, lower, passive) };
        self
    }

    /// Marks the request pending, so that the dispatch routine may return STATUS_PENDING and complete it later.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn mark_pending(&mut self) -> i32 {
        // SAFETY: our current location (type's invariant).
        unsafe { (*self.location()).Control |= SL_PENDING };
        STATUS_PENDING
    }
}

impl Drop for Irp {
    fn drop(&mut self) {
        // SAFETY: still ours (every consuming method forgets the value first).
        unsafe { sys::IofCompleteRequest(self.raw(), 0) };
    }
}

/// Sets `context`, a KEVENT, and keeps the IRP.
unsafe extern "C" fn signal(_device: *mut DEVICE_OBJECT, _irp: *mut IRP, context: PVOID) -> i32 {
    // SAFETY: the event of `call_and_wait`, which waits for it before its frame goes away.
    unsafe { sys::KeSetEvent(context.cast(), 0, 0) };
    MORE_PROCESSING_REQUIRED
}

/// Calls `target` with `irp`, whose next location is `next`, and waits until its completion has come back here.
///
/// # Safety
/// `irp` is owned by the caller, `next` is its next stack location and filled; `target` is valid.
unsafe fn call_and_wait(
    irp: *mut IRP,
    next: *mut IO_STACK_LOCATION,
    target: DevicePtr,
    _passive: Passive,
) {
    let mut event = core::mem::MaybeUninit::<KEVENT>::uninit();
    // SAFETY: memory of the right size that stays in place until the wait below is over.
    unsafe { sys::KeInitializeEvent(event.as_mut_ptr(), NotificationEvent, 0) };
    // SAFETY: `next` is ours to fill before the call.
    unsafe { (*next).CompletionRoutine = Some(signal) };
    // SAFETY: as above.
    unsafe { (*next).Context = event.as_mut_ptr().cast() };
    // SAFETY: as above.
    unsafe { (*next).Control = SL_INVOKE_ALWAYS };
    // SAFETY: prepared for the device.
    unsafe { sys::IofCallDriver(target.as_raw(), irp) };
    // The routine runs in every case, so the event is waited for even when the call did not return STATUS_PENDING: nothing of this
    // frame is in use afterwards. Executive, KernelMode: the stack stays resident.
    // SAFETY: an initialised event; PASSIVE_LEVEL by the token.
    unsafe { sys::KeWaitForSingleObject(event.as_mut_ptr().cast(), 0, 0, 0, ptr::null_mut()) };
}

/// What a request of ours was answered with.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// `IoStatus.Status`.
    pub status: i32,
    /// `IoStatus.Information`.
    pub information: usize,
}

/// Sends a request of ours to `target` and waits for the answer; `initial` is the status that it starts with.
///
/// # Safety
/// `parameters` are what the minor function calls for; pointers among them are valid until this returns.
pub(super) unsafe fn send(
    target: DevicePtr,
    (major, minor): (u8, u8),
    parameters: [usize; 4],
    initial: Option<i32>,
    passive: Passive,
) -> Result<Reply> {
    // SAFETY: callable at <= DISPATCH_LEVEL with a positive stack size.
    let irp = unsafe { sys::IoAllocateIrp(target.stack_size(), 0) };
    let irp = NonNull::new(irp)
        .ok_or(Status::INSUFFICIENT_RESOURCES)?
        .as_ptr();
    // SAFETY: just allocated.
    unsafe { (*irp).IoStatus.Status = initial.unwrap_or(NOT_SUPPORTED) };
    // A new IRP's current location is one past its last; the one below exists (stack size >= 1).
    // SAFETY: just allocated.
    let next = unsafe { (*irp).CurrentStackLocation }.wrapping_sub(1);
    // SAFETY: zeroed by IoAllocateIrp and ours.
    unsafe { (*next).MajorFunction = major };
    // SAFETY: as above.
    unsafe { (*next).MinorFunction = minor };
    // SAFETY: as above.
    unsafe { (*next).Parameters = parameters };
    // SAFETY: ours, next location filled, target valid.
    unsafe { call_and_wait(irp, next, target, passive) };
    // SAFETY: our completion routine kept the IRP for us.
    let block = unsafe { (*irp).IoStatus };
    // SAFETY: allocated above, kept by the completion routine.
    unsafe { sys::IoFreeIrp(irp) };
    Ok(Reply {
        status: block.Status,
        information: block.Information,
    })
}
