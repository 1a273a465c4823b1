// SPDX-License-Identifier: BSD-2-Clause
//! The fake kernel's I/O manager: device objects, stacks, IRPs and their completion.
#![expect(
    unsafe_code,
    reason = "arguments come as raw pointers, as in the real kernel"
)]
#![expect(non_snake_case, reason = "the names of the NT headers")]
#![expect(
    clippy::missing_safety_doc,
    reason = "raw NT functions; their contract is the platform's documentation"
)]

use core::ffi::c_char;
use std::boxed::Box;
use std::vec;

use super::{Kernel, Locations, at_most};
use crate::Status;
use crate::nt::sys::*;

const DEVICE_TAG: u32 = u32::from_le_bytes(*b"Devi");

/// Adds to the reference count of a device or thread object.
pub(super) fn reference(object: PVOID, by: i32) -> isize {
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    if let Some(thread) = state.threads.get(&(object as usize)) {
        let count = thread
            .references
            .fetch_add(by.cast_unsigned(), std::sync::atomic::Ordering::SeqCst);
        return count as isize + by as isize;
    }
    assert!(
        state.devices.contains(&(object as usize)),
        "Ob(De)ReferenceObject: unknown object"
    );
    let device = object.cast::<DEVICE_OBJECT>();
    // SAFETY: in the table of live devices.
    let count = unsafe { &mut (*device).ReferenceCount };
    *count += by;
    assert!(*count >= 0, "ObDereferenceObject: below zero");
    let now = *count;
    // SAFETY: as above.
    let deleted = unsafe { (*device).Reserved } as usize != 0;
    if now == 0 && deleted {
        state.devices.retain(|entry| *entry != object as usize);
        drop(state);
        // SAFETY: allocated by IoCreateDevice, and out of the table.
        unsafe { ExFreePoolWithTag(object, DEVICE_TAG) };
    }
    now as isize
}

pub unsafe fn IoCreateDevice(
    driver: *mut DRIVER_OBJECT,
    extension: u32,
    _name: *mut UNICODE_STRING,
    kind: u32,
    characteristics: u32,
    _exclusive: u8,
    device: *mut *mut DEVICE_OBJECT,
) -> NTSTATUS {
    at_most("IoCreateDevice", 1);
    let size = size_of::<DEVICE_OBJECT>() + extension as usize;
    // SAFETY: the size is not zero.
    let block = unsafe { ExAllocatePoolWithTag(NonPagedPoolNx, size, DEVICE_TAG) };
    if block.is_null() {
        return Status::INSUFFICIENT_RESOURCES.raw();
    }
    // SAFETY: `size` bytes were just allocated.
    unsafe { block.cast::<u8>().write_bytes(0, size) };
    let object = block.cast::<DEVICE_OBJECT>();
    // SAFETY: zeroed memory is a valid DEVICE_OBJECT.
    let view = unsafe { &mut *object };
    view.Type = 3;
    view.Size = size as u16;
    view.ReferenceCount = 1;
    view.DriverObject = driver;
    view.Flags = 0x80;
    view.Characteristics = characteristics;
    view.DeviceType = kind;
    view.StackSize = 1;
    view.DeviceExtension = block.wrapping_byte_add(size_of::<DEVICE_OBJECT>());
    if !driver.is_null() {
        // SAFETY: a live driver object by contract.
        view.NextDevice = unsafe { (*driver).DeviceObject };
        // SAFETY: as above.
        unsafe { (*driver).DeviceObject = object };
    }
    Kernel::current().lock().devices.push(block as usize);
    // SAFETY: a valid pointer by contract.
    unsafe { device.write(object) };
    0
}

pub unsafe fn IoDeleteDevice(device: *mut DEVICE_OBJECT) {
    at_most("IoDeleteDevice", 1);
    // SAFETY: a live device by contract.
    let view = unsafe { &mut *device };
    assert!(view.Reserved.is_null(), "IoDeleteDevice: deleted twice");
    view.Reserved = 1 as PVOID;
    if !view.DriverObject.is_null() {
        // SAFETY: a live driver object by contract.
        let mut link = unsafe { &raw mut (*view.DriverObject).DeviceObject };
        loop {
            // SAFETY: `link` is the head or the NextDevice of a live device.
            let here = unsafe { link.read() };
            if here.is_null() {
                break;
            }
            if here == device {
                // SAFETY: as above.
                unsafe { link.write(view.NextDevice) };
                break;
            }
            // SAFETY: a live device.
            link = unsafe { &raw mut (*here).NextDevice };
        }
    }
    reference(device.cast(), -1);
}

fn top(mut device: *mut DEVICE_OBJECT) -> *mut DEVICE_OBJECT {
    loop {
        // SAFETY: a live device, and so are those attached to it.
        let above = unsafe { (*device).AttachedDevice };
        if above.is_null() {
            return device;
        }
        device = above;
    }
}

pub unsafe fn IoAttachDeviceToDeviceStack(
    source: *mut DEVICE_OBJECT,
    target: *mut DEVICE_OBJECT,
) -> *mut DEVICE_OBJECT {
    at_most("IoAttachDeviceToDeviceStack", 2);
    let lower = top(target);
    // SAFETY: a live device.
    let size = unsafe { (*lower).StackSize };
    // SAFETY: a live device.
    unsafe { (*lower).AttachedDevice = source };
    // SAFETY: a live device by contract.
    unsafe { (*source).StackSize = size + 1 };
    lower
}

pub unsafe fn IoDetachDevice(target: *mut DEVICE_OBJECT) {
    at_most("IoDetachDevice", 0);
    // SAFETY: a live device by contract.
    unsafe { (*target).AttachedDevice = core::ptr::null_mut() };
}

pub unsafe fn IoGetAttachedDeviceReference(device: *mut DEVICE_OBJECT) -> *mut DEVICE_OBJECT {
    at_most("IoGetAttachedDeviceReference", 2);
    let found = top(device);
    reference(found.cast(), 1);
    found
}

pub unsafe fn IoAllocateIrp(stack: i8, _quota: u8) -> *mut IRP {
    at_most("IoAllocateIrp", 2);
    // SAFETY: the size is not zero.
    let block = unsafe {
        ExAllocatePoolWithTag(
            NonPagedPoolNx,
            size_of::<IRP>(),
            u32::from_le_bytes(*b"Irp "),
        )
    };
    if block.is_null() {
        return core::ptr::null_mut();
    }
    let irp = block.cast::<IRP>();
    // SAFETY: room for an IRP; all-zero is valid.
    unsafe { irp.write_bytes(0, 1) };
    // SAFETY: all-zero is a valid stack location.
    let zero: IO_STACK_LOCATION = unsafe { core::mem::zeroed() };
    let mut locations: Box<[IO_STACK_LOCATION]> = vec![zero; stack as usize + 1].into_boxed_slice();
    // SAFETY: just made.
    let view = unsafe { &mut *irp };
    view.Type = 6;
    view.StackCount = stack;
    view.CurrentLocation = stack + 1;
    view.CurrentStackLocation = locations.as_mut_ptr().wrapping_add(stack as usize);
    Kernel::current()
        .lock()
        .irps
        .insert(irp as usize, Locations(locations));
    irp
}

pub unsafe fn IoFreeIrp(irp: *mut IRP) {
    at_most("IoFreeIrp", 2);
    let known = Kernel::current()
        .lock()
        .irps
        .remove(&(irp as usize))
        .is_some();
    assert!(known, "IoFreeIrp: not an allocated IRP");
    // SAFETY: allocated by IoAllocateIrp with this tag.
    unsafe { ExFreePoolWithTag(irp.cast(), u32::from_le_bytes(*b"Irp ")) };
}

pub unsafe fn IofCallDriver(device: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS {
    at_most("IofCallDriver", 2);
    // SAFETY: a live IRP by contract.
    let view = unsafe { &mut *irp };
    view.CurrentLocation -= 1;
    assert!(
        view.CurrentLocation > 0,
        "IofCallDriver: no more stack locations"
    );
    view.CurrentStackLocation = view.CurrentStackLocation.wrapping_sub(1);
    // SAFETY: inside the IRP's stack, checked above.
    let location = unsafe { &mut *view.CurrentStackLocation };
    location.DeviceObject = device;
    let major = usize::from(location.MajorFunction);
    // SAFETY: a live device by contract.
    let driver = unsafe { (*device).DriverObject };
    // SAFETY: a live driver by contract.
    let dispatch = unsafe { &(*driver).MajorFunction }[major];
    match dispatch {
        // SAFETY: what the real kernel does.
        Some(dispatch) => unsafe { dispatch(device, irp) },
        None => panic!("IofCallDriver: no dispatch routine for {major:#x}"),
    }
}

pub unsafe fn IofCompleteRequest(irp: *mut IRP, _boost: i8) {
    at_most("IofCompleteRequest", 2);
    // SAFETY: a live IRP by contract.
    let view = unsafe { &mut *irp };
    assert!(
        view.IoStatus.Status != crate::status::STATUS_PENDING,
        "IofCompleteRequest: with STATUS_PENDING"
    );
    assert!(
        view.CurrentLocation <= view.StackCount,
        "IofCompleteRequest: completed twice"
    );
    while view.CurrentLocation <= view.StackCount {
        // SAFETY: inside the IRP's stack.
        let location = unsafe { &mut *view.CurrentStackLocation };
        view.PendingReturned = location.Control & 1;
        view.CurrentLocation += 1;
        view.CurrentStackLocation = view.CurrentStackLocation.wrapping_add(1);
        let ok = view.IoStatus.Status >= 0;
        let wanted = (ok && location.Control & 0x40 != 0) || (!ok && location.Control & 0x80 != 0);
        let device = if view.CurrentLocation > view.StackCount {
            core::ptr::null_mut()
        } else {
            // SAFETY: inside the IRP's stack.
            unsafe { (*view.CurrentStackLocation).DeviceObject }
        };
        match location.CompletionRoutine.filter(|_| wanted) {
            Some(routine) => {
                location.Control = 0;
                // SAFETY: what the real kernel does.
                if unsafe { routine(device, irp, location.Context) }
                    == Status::MORE_PROCESSING_REQUIRED.raw()
                {
                    return;
                }
            }
            None if view.PendingReturned != 0 && view.CurrentLocation <= view.StackCount => {
                // SAFETY: inside the IRP's stack.
                unsafe { (*view.CurrentStackLocation).Control |= 1 };
            }
            None => {}
        }
    }
    if !view.UserIosb.is_null() {
        // SAFETY: set by the sender.
        unsafe { view.UserIosb.write(view.IoStatus) };
    }
    if !view.UserEvent.is_null() {
        // SAFETY: set by the sender.
        unsafe { KeSetEvent(view.UserEvent, 0, 0) };
    }
    // SAFETY: the I/O manager frees what completed.
    unsafe { IoFreeIrp(irp) };
}

pub unsafe fn IoInvalidateDeviceRelations(_device: *mut DEVICE_OBJECT, _kind: u32) {
    at_most("IoInvalidateDeviceRelations", 2);
    Kernel::current().lock().relations_invalidated += 1;
}

fn lock_word(lock: *mut IO_REMOVE_LOCK) -> &'static core::sync::atomic::AtomicU32 {
    // SAFETY: a live, 8-byte aligned remove lock by contract, used within one call.
    unsafe { core::sync::atomic::AtomicU32::from_ptr(lock.cast()) }
}
const REMOVED: u32 = 0x8000_0000;

pub unsafe fn IoInitializeRemoveLockEx(
    lock: *mut IO_REMOVE_LOCK,
    _tag: u32,
    _minutes: u32,
    _high: u32,
    size: u32,
) {
    at_most("IoInitializeRemoveLockEx", 0);
    assert!(size == 0x20, "IoInitializeRemoveLockEx: size {size:#x}");
    lock_word(lock).store(1, core::sync::atomic::Ordering::SeqCst);
}

pub unsafe fn IoAcquireRemoveLockEx(
    lock: *mut IO_REMOVE_LOCK,
    _tag: PVOID,
    _file: *const c_char,
    _line: u32,
    _size: u32,
) -> NTSTATUS {
    at_most("IoAcquireRemoveLockEx", 2);
    let kernel = Kernel::current();
    let _serial = kernel.lock();
    let word = lock_word(lock);
    let value = word.load(core::sync::atomic::Ordering::SeqCst);
    if value & REMOVED != 0 {
        return Status::DELETE_PENDING.raw();
    }
    word.store(value + 1, core::sync::atomic::Ordering::SeqCst);
    0
}

pub unsafe fn IoReleaseRemoveLockEx(lock: *mut IO_REMOVE_LOCK, _tag: PVOID, _size: u32) {
    at_most("IoReleaseRemoveLockEx", 2);
    let kernel = Kernel::current();
    let serial = kernel.lock();
    let before = lock_word(lock).fetch_sub(1, core::sync::atomic::Ordering::SeqCst);
    assert!(before & !REMOVED != 0, "IoReleaseRemoveLockEx: not held");
    drop(serial);
    kernel.changed.notify_all();
}

pub unsafe fn IoReleaseRemoveLockAndWaitEx(lock: *mut IO_REMOVE_LOCK, _tag: PVOID, _size: u32) {
    at_most("IoReleaseRemoveLockAndWaitEx", 0);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let word = lock_word(lock);
    word.fetch_or(REMOVED, core::sync::atomic::Ordering::SeqCst);
    let left = word.fetch_sub(2, core::sync::atomic::Ordering::SeqCst);
    assert!(
        left & !REMOVED >= 2,
        "IoReleaseRemoveLockAndWaitEx: not held"
    );
    while word.load(core::sync::atomic::Ordering::SeqCst) != REMOVED {
        state = kernel
            .changed
            .wait(state)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
    }
}
