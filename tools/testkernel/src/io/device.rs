// SPDX-License-Identifier: BSD-2-Clause
//! Device objects: creation, stacks of them, deletion.
//!
//! A device object, its extension and the kernel's own extension are one block of pool. It lives until
//! `IoDeleteDevice` was called, nothing is attached above it and the last object reference is gone.
//! Attaching and detaching happen under one lock, so a walk up a stack sees whole links.

use alloc::vec::Vec;

use super::layout::{device, driver};
use crate::mem::Ptr;
use crate::ob;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::verifier;

/// Guards the links between devices.
static LINKS: Lock<()> = Lock::new(());

const TAG: u32 = u32::from_le_bytes(*b"Devi");

/// The kernel's own extension of a device object.
pub fn kernel_part(object: Ptr) -> Ptr {
    object.ptr(device::OBJECT_EXTENSION)
}

/// Checks that `object` is a live device object.
pub fn check(object: Ptr) {
    if ob::kind(object) != Some(ob::Kind::Device) {
        verifier::fail(
            "bad_device",
            format_args!("{object} is not a live device object"),
        );
    }
}

/// Creates a device object.
pub fn create(
    driver_object: Ptr,
    extension: usize,
    kind: u32,
    characteristics: u32,
    exclusive: bool,
) -> Option<Ptr> {
    let first = device::SIZE;
    let kernel = (first + extension).next_multiple_of(16);
    let object = crate::ex::pool::allocate(kernel + device::KERNEL_SIZE, TAG);
    if object.is_null() {
        return None;
    }
    object.fill(0, kernel + device::KERNEL_SIZE);
    object.set(0, device::TYPE);
    object.set(2, (first + extension) as u16);
    object.set(device::DRIVER, driver_object);
    object.set(
        device::FLAGS,
        device::DO_DEVICE_INITIALIZING | if exclusive { 8 } else { 0 },
    );
    object.set(device::CHARACTERISTICS, characteristics);
    object.set(device::DEVICE_TYPE, kind);
    object.set(device::STACK_SIZE, 1u8);
    object.set(
        device::EXTENSION,
        if extension == 0 {
            Ptr::NULL
        } else {
            object.add(first)
        },
    );
    object.set(device::OBJECT_EXTENSION, object.add(kernel));
    let part = object.add(kernel);
    part.set(0, 13u16);
    part.set(device::KERNEL_DEVICE, object);
    crate::ke::event::init(object.add(device::LOCK), true, true);
    ob::insert(object, ob::Kind::Device, destroy);
    ob::reference(driver_object);
    let _links = LINKS.lock();
    object.set(device::NEXT, driver_object.ptr(driver::DEVICE));
    driver_object.set(driver::DEVICE, object);
    Some(object)
}

fn destroy(object: Ptr) {
    let driver_object = object.ptr(device::DRIVER);
    crate::ex::pool::free(object);
    ob::dereference(driver_object);
}

fn kernel_flags(object: Ptr) -> u32 {
    kernel_part(object).get(device::KERNEL_FLAGS)
}

fn is_deleted(object: Ptr) -> bool {
    kernel_flags(object) & device::DOE_DELETE_PENDING != 0
}

/// Deletes a device object; it goes when nothing is attached above it and no reference is left.
pub fn delete(object: Ptr) {
    check(object);
    if is_deleted(object) {
        verifier::fail("device_deleted_twice", format_args!("device {object}"));
    }
    let lower = kernel_part(object).ptr(device::KERNEL_ATTACHED_TO);
    if !lower.is_null() {
        verifier::fail(
            "device_deleted_while_attached",
            format_args!("device {object} is still attached to {lower}"),
        );
    }
    let free = {
        let _links = LINKS.lock();
        unlink(object);
        let flags = kernel_flags(object) | device::DOE_DELETE_PENDING;
        kernel_part(object).set(device::KERNEL_FLAGS, flags);
        object.ptr(device::ATTACHED).is_null()
    };
    super::names::forget(object);
    if free {
        ob::dereference(object);
    }
}

fn unlink(object: Ptr) {
    let mut slot = object.ptr(device::DRIVER).add(driver::DEVICE);
    while !slot.ptr(0).is_null() {
        if slot.ptr(0) == object {
            slot.set(0, object.ptr(device::NEXT));
            return;
        }
        slot = slot.ptr(0).add(device::NEXT);
    }
}

/// The devices of a driver object that are not deleted.
pub fn of_driver(driver_object: Ptr) -> Vec<Ptr> {
    let _links = LINKS.lock();
    let mut devices = Vec::new();
    let mut at = driver_object.ptr(driver::DEVICE);
    while !at.is_null() {
        devices.push(at);
        at = at.ptr(device::NEXT);
    }
    devices
}

fn top_unlocked(object: Ptr) -> Ptr {
    let mut top = object;
    while !top.ptr(device::ATTACHED).is_null() {
        top = top.ptr(device::ATTACHED);
    }
    top
}

/// The top of the stack that holds `object`.
pub fn top(object: Ptr) -> Ptr {
    check(object);
    let _links = LINKS.lock();
    top_unlocked(object)
}

/// The top of the stack, referenced while it cannot be detached.
pub fn top_referenced(object: Ptr) -> Ptr {
    check(object);
    let _links = LINKS.lock();
    let top = top_unlocked(object);
    ob::reference(top);
    top
}

/// The devices of a stack from the bottom up, starting at `object`.
pub fn stack_of(object: Ptr) -> Vec<Ptr> {
    let _links = LINKS.lock();
    let mut devices = Vec::new();
    let mut at = object;
    while !at.is_null() {
        devices.push(at);
        at = at.ptr(device::ATTACHED);
    }
    devices
}

/// The device below, or null.
pub fn below(object: Ptr) -> Ptr {
    check(object);
    kernel_part(object).ptr(device::KERNEL_ATTACHED_TO)
}

/// Attaches `source` above the stack of `target`; null when that stack cannot be attached to.
pub fn attach(source: Ptr, target: Ptr) -> Ptr {
    check(source);
    check(target);
    if !kernel_part(source)
        .ptr(device::KERNEL_ATTACHED_TO)
        .is_null()
    {
        verifier::fail("device_attached_twice", format_args!("device {source}"));
    }
    let _links = LINKS.lock();
    let top = top_unlocked(target);
    let initializing = top.get::<u32>(device::FLAGS) & device::DO_DEVICE_INITIALIZING != 0;
    if initializing || is_deleted(top) {
        return Ptr::NULL;
    }
    source.set(device::STACK_SIZE, top.get::<u8>(device::STACK_SIZE) + 1);
    source.set(device::ALIGNMENT, top.get::<u32>(device::ALIGNMENT));
    kernel_part(source).set(device::KERNEL_ATTACHED_TO, top);
    top.set(device::ATTACHED, source);
    top
}

/// Detaches what is attached to `lower`.
pub fn detach(lower: Ptr) {
    check(lower);
    let free = {
        let _links = LINKS.lock();
        let upper = lower.ptr(device::ATTACHED);
        if upper.is_null() {
            verifier::fail(
                "detach_of_nothing",
                format_args!("nothing is attached to {lower}"),
            );
        }
        lower.set(device::ATTACHED, Ptr::NULL);
        kernel_part(upper).set(device::KERNEL_ATTACHED_TO, Ptr::NULL);
        is_deleted(lower)
    };
    if free {
        ob::dereference(lower);
    }
}

pub(super) extern "win64" fn io_create(
    driver_object: Ptr,
    extension: u32,
    name: Ptr,
    kind: u32,
    characteristics: u32,
    exclusive: u8,
    result: Ptr,
) -> NtStatus {
    if ob::kind(driver_object) != Some(ob::Kind::Driver) {
        verifier::fail(
            "bad_driver",
            format_args!("{driver_object} is not a driver object"),
        );
    }
    result.set(0, Ptr::NULL);
    let name = if name.is_null() {
        None
    } else {
        Some(name.unicode_string())
    };
    if name.as_deref().is_some_and(super::names::exists) {
        return status::OBJECT_NAME_COLLISION;
    }
    if crate::ex::pool::shall_fail() {
        return status::INSUFFICIENT_RESOURCES;
    }
    let Some(object) = create(
        driver_object,
        extension as usize,
        kind,
        characteristics,
        exclusive != 0,
    ) else {
        return status::INSUFFICIENT_RESOURCES;
    };
    const AUTOGENERATED: u32 = 0x80;
    let name = match name {
        None if characteristics & AUTOGENERATED != 0 => Some(super::names::generated()),
        name => name,
    };
    if let Some(name) = name {
        object.set(
            device::FLAGS,
            object.get::<u32>(device::FLAGS) | device::DO_DEVICE_HAS_NAME,
        );
        super::names::add_device(name, object);
    }
    result.set(0, object);
    status::SUCCESS
}

pub(super) extern "win64" fn io_delete(object: Ptr) {
    delete(object);
}

/// With `attach_probe=1`: a request reaches the device the moment that it is in the stack, as may happen on another processor.
#[cfg(target_os = "none")]
fn probe(attached: Ptr) {
    if crate::arch::boot_config().flag("attach_probe") {
        let outcome = super::send::pnp(attached, 0x14, 0, |_| {});
        crate::kprint!("pnp: a device in AddDevice answered {:#x}", outcome.status);
    }
}

#[cfg(not(target_os = "none"))]
fn probe(_attached: Ptr) {}

pub(super) extern "win64" fn io_attach(source: Ptr, target: Ptr) -> Ptr {
    let lower = attach(source, target);
    if !lower.is_null() {
        probe(source);
    }
    lower
}

pub(super) extern "win64" fn io_attach_safe(source: Ptr, target: Ptr, lower: Ptr) -> NtStatus {
    let top = attach(source, target);
    lower.set(0, top);
    if top.is_null() {
        status::NO_SUCH_DEVICE
    } else {
        status::SUCCESS
    }
}

pub(super) extern "win64" fn io_detach(lower: Ptr) {
    detach(lower);
}

pub(super) extern "win64" fn io_top(object: Ptr) -> Ptr {
    top(object)
}

pub(super) extern "win64" fn io_top_referenced(object: Ptr) -> Ptr {
    top_referenced(object)
}

pub(super) extern "win64" fn io_lower(object: Ptr) -> Ptr {
    let lower = below(object);
    if !lower.is_null() {
        ob::reference(lower);
    }
    lower
}

pub(super) extern "win64" fn io_base(object: Ptr) -> Ptr {
    let mut base = object;
    loop {
        let lower = below(base);
        if lower.is_null() {
            ob::reference(base);
            return base;
        }
        base = lower;
    }
}
