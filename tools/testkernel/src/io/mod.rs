// SPDX-License-Identifier: BSD-2-Clause
//! `io`: the I/O manager: driver objects, device objects, requests, work items, remove locks, names.

mod build;
pub mod device;
pub mod driver;
pub mod file;
pub mod irp;
#[expect(missing_docs, reason = "offsets named as in the DDK's headers")]
pub mod layout;
pub mod names;
mod remove;
pub mod send;
pub mod track;
pub mod work;

use crate::export::{A, D, P};
use crate::status::NtStatus;

/// Loads the service `name` (`drivers/NAME.sys` of the payload) as a plain driver: image, driver object,
/// `DriverEntry`. Runs at PASSIVE_LEVEL in a system thread.
pub fn load_driver(name: &str) -> NtStatus {
    driver::load(name)
}

/// Calls `DriverUnload` of a plain driver and unloads its image (through `ldr::unload`).
pub fn unload_driver(name: &str) -> NtStatus {
    driver::unload(name)
}

crate::exports! {
    "IoCreateDevice", A => device::io_create;
    "IoDeleteDevice", A => device::io_delete;
    "IoAttachDeviceToDeviceStack", D => device::io_attach;
    "IoAttachDeviceToDeviceStackSafe", D => device::io_attach_safe;
    "IoDetachDevice", P => device::io_detach;
    "IoGetAttachedDevice", D => device::io_top;
    "IoGetAttachedDeviceReference", D => device::io_top_referenced;
    "IoGetLowerDeviceObject", D => device::io_lower;
    "IoGetDeviceAttachmentBaseRef", D => device::io_base;
    "IofCallDriver", D => irp::io_call;
    "IofCompleteRequest", D => irp::io_complete;
    "IoAllocateIrp", D => irp::io_allocate;
    "IoFreeIrp", D => irp::io_free;
    "IoInitializeIrp", D => irp::io_initialize;
    "IoReuseIrp", D => irp::io_reuse;
    "IoCancelIrp", D => irp::io_cancel;
    "IoAcquireCancelSpinLock", D => irp::io_acquire_cancel;
    "IoReleaseCancelSpinLock", D => irp::io_release_cancel;
    "IoForwardIrpSynchronously", P => irp::io_forward_synchronously;
    "IoSetCompletionRoutineEx", D => irp::io_set_completion_ex;
    "IoBuildSynchronousFsdRequest", A => build::io_build_synchronous;
    "IoBuildAsynchronousFsdRequest", D => build::io_build_asynchronous;
    "IoBuildDeviceIoControlRequest", P => build::io_build_control;
    "IoAllocateWorkItem", D => work::io_allocate;
    "IoFreeWorkItem", D => work::io_free;
    "IoSizeofWorkItem", D => work::io_size;
    "IoInitializeWorkItem", D => work::io_initialize;
    "IoUninitializeWorkItem", D => work::io_uninitialize;
    "IoQueueWorkItem", D => work::io_queue;
    "IoQueueWorkItemEx", D => work::io_queue_ex;
    "IoInitializeRemoveLockEx", P => remove::io_initialize;
    "IoAcquireRemoveLockEx", D => remove::io_acquire;
    "IoReleaseRemoveLockEx", D => remove::io_release;
    "IoReleaseRemoveLockAndWaitEx", P => remove::io_release_and_wait;
    "IoCreateSymbolicLink", P => names::create_link;
    "IoDeleteSymbolicLink", P => names::delete_link;
    "IoGetDeviceObjectPointer", P => names::device_pointer;
    "IoRegisterDeviceInterface", P => names::register_interface;
    "IoSetDeviceInterfaceState", P => names::set_interface_state;
    "ObQueryNameString", P => names::query_name;
}
