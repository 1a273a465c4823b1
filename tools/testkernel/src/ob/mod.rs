// SPDX-License-Identifier: BSD-2-Clause
//! `ob`: reference counts of objects, handles to them, and the named events.
//!
//! Threads count their own references (`ps`). Everything else that has an object pointer is entered
//! here with [`insert`] and a routine that frees it at zero. A pointer that is no object, or one that is
//! dereferenced more often than referenced, ends the run. The table's lock is never held over a
//! destroy routine.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::sync::atomic::AtomicUsize;

use crate::export::{D, P};
use crate::ke::event::Event;
use crate::mem::Ptr;
use crate::ps::handles::{self, Object};
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::{ps, verifier};

/// What kind of object a pointer names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A device object.
    Device,
    /// A driver object.
    Driver,
    /// A named event.
    Event,
    /// A file object.
    File,
    /// A callback object.
    Callback,
}

struct Entry {
    kind: Kind,
    count: usize,
    destroy: fn(Ptr),
}

static OBJECTS: Lock<BTreeMap<Ptr, Entry>> = Lock::new(BTreeMap::new());
/// Named events by upper-case name; the namespace holds no reference.
static EVENTS: Lock<Vec<(String, Ptr, Event)>> = Lock::new(Vec::new());

/// Enters an object with one reference; `destroy` frees it when the last one goes.
pub fn insert(object: Ptr, kind: Kind, destroy: fn(Ptr)) {
    OBJECTS.lock().insert(
        object,
        Entry {
            kind,
            count: 1,
            destroy,
        },
    );
}

/// The kind of an object, unless the pointer is not one.
pub fn kind(object: Ptr) -> Option<Kind> {
    OBJECTS.lock().get(&object).map(|entry| entry.kind)
}

/// The references that an object has.
pub fn references(object: Ptr) -> usize {
    OBJECTS.lock().get(&object).map_or(0, |entry| entry.count)
}

/// Adds a reference.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`.
pub fn reference(object: Ptr) {
    if let Some(entry) = OBJECTS.lock().get_mut(&object) {
        entry.count += 1;
        return;
    }
    if ps::thread::is_thread(object) {
        return ps::thread::reference(object);
    }
    verifier::fail("bad_object", format_args!("{object} is not a live object"))
}

/// Drops a reference and frees the object with the last one.
///
/// # IRQL
///
/// `<= DISPATCH_LEVEL`; the last reference of a thread or driver at `PASSIVE_LEVEL`.
pub fn dereference(object: Ptr) {
    let gone = {
        let mut objects = OBJECTS.lock();
        match objects.get_mut(&object) {
            Some(entry) if entry.count > 1 => {
                entry.count -= 1;
                return;
            }
            Some(_) => objects.remove(&object),
            None => None,
        }
    };
    if let Some(entry) = gone {
        return (entry.destroy)(object);
    }
    if ps::thread::is_thread(object) {
        return ps::thread::dereference(object);
    }
    verifier::fail("bad_object", format_args!("{object} is not a live object"))
}

extern "win64" fn reference_object(object: Ptr) -> usize {
    reference(object);
    1
}

extern "win64" fn dereference_object(object: Ptr) -> usize {
    dereference(object);
    0
}

/// The type objects: only their addresses matter.
static TYPES: [u8; 5] = [0; 5];

/// A variable that holds a type object's address, which is what the kernel exports.
#[repr(transparent)]
struct Type(AtomicUsize);

static THREAD_TYPE: Type = Type(AtomicUsize::new(0));
static EVENT_TYPE: Type = Type(AtomicUsize::new(0));
static FILE_TYPE: Type = Type(AtomicUsize::new(0));
static DRIVER_TYPE: Type = Type(AtomicUsize::new(0));
static DEVICE_TYPE: Type = Type(AtomicUsize::new(0));

/// Gives the type variables their values. Called once, before any driver.
pub fn init() {
    for (index, variable) in [
        &EVENT_TYPE,
        &FILE_TYPE,
        &DRIVER_TYPE,
        &DEVICE_TYPE,
        &THREAD_TYPE,
    ]
    .into_iter()
    .enumerate()
    {
        let address = (&raw const TYPES).cast::<u8>().wrapping_add(index) as usize;
        variable
            .0
            .store(address, core::sync::atomic::Ordering::Relaxed);
    }
}

fn type_value(variable: &Type) -> usize {
    variable.0.load(core::sync::atomic::Ordering::Relaxed)
}

extern "win64" fn reference_by_handle(
    handle: usize,
    _access: u32,
    kind: usize,
    _mode: u8,
    object: Ptr,
    _info: Ptr,
) -> NtStatus {
    let found = match handles::lookup(handle) {
        Some(Object::Thread(thread)) if kind == 0 || kind == type_value(&THREAD_TYPE) => thread,
        Some(Object::Event(event)) if kind == 0 || kind == type_value(&EVENT_TYPE) => event,
        Some(_) => return status::OBJECT_TYPE_MISMATCH,
        None => return status::INVALID_HANDLE,
    };
    reference(found);
    object.set(0, found);
    status::SUCCESS
}

extern "win64" fn reference_by_pointer(
    object: Ptr,
    _access: u32,
    _kind: usize,
    _mode: u8,
) -> NtStatus {
    reference(object);
    status::SUCCESS
}

extern "win64" fn close(handle: usize) -> NtStatus {
    match handles::remove(handle) {
        Some(Object::Thread(object) | Object::Event(object)) => dereference(object),
        Some(Object::Key(_)) => {}
        None => verifier::fail(
            "bad_handle",
            format_args!("close of {handle:#x}, which is not open"),
        ),
    }
    status::SUCCESS
}

fn destroy_event(event: Ptr) {
    EVENTS.lock().retain(|(_, object, _)| *object != event);
}

/// Opens or creates a named event and returns its `KEVENT` with a handle, which holds the reference.
fn named_event(name: &str, synchronization: bool) -> (Ptr, usize) {
    let name = name.to_ascii_uppercase();
    let found = EVENTS
        .lock()
        .iter()
        .find(|(n, ..)| *n == name)
        .map(|(_, object, _)| *object);
    let object = match found {
        Some(object) => {
            reference(object);
            object
        }
        None => {
            let event = Event::new(synchronization);
            let object = event.ptr();
            // A new notification event starts signalled; the system's condition events do not.
            if !name.starts_with("\\KERNELOBJECTS\\") {
                event.set();
            }
            insert(object, Kind::Event, destroy_event);
            EVENTS.lock().push((name, object, event));
            object
        }
    };
    (object, handles::insert(Object::Event(object)))
}

fn create_event(name: Ptr, handle: Ptr, synchronization: bool) -> Ptr {
    let name = if name.is_null() {
        "".to_string()
    } else {
        name.unicode_string()
    };
    let (object, value) = named_event(&name, synchronization);
    handle.set(0, value);
    object
}

extern "win64" fn notification_event(name: Ptr, handle: Ptr) -> Ptr {
    create_event(name, handle, false)
}

extern "win64" fn synchronization_event(name: Ptr, handle: Ptr) -> Ptr {
    create_event(name, handle, true)
}

crate::exports! {
    "ObfReferenceObject", D => reference_object;
    "ObfDereferenceObject", D => dereference_object;
    "ObReferenceObjectByHandle", P => reference_by_handle;
    "ObReferenceObjectByPointer", D => reference_by_pointer;
    "ZwClose", P => close;
    "IoCreateNotificationEvent", P => notification_event;
    "IoCreateSynchronizationEvent", P => synchronization_event;
    data "PsThreadType" => THREAD_TYPE;
    data "ExEventObjectType" => EVENT_TYPE;
    data "IoFileObjectType" => FILE_TYPE;
    data "IoDriverObjectType" => DRIVER_TYPE;
    data "IoDeviceObjectType" => DEVICE_TYPE;
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};

    static FREED: AtomicUsize = AtomicUsize::new(0);

    fn note(object: Ptr) {
        FREED.store(object.0, Ordering::Relaxed);
    }

    #[test]
    fn an_object_is_freed_with_its_last_reference() {
        let object = Ptr(0x1230);
        insert(object, Kind::Callback, note);
        reference(object);
        assert_eq!(references(object), 2);
        dereference(object);
        assert_eq!(FREED.load(Ordering::Relaxed), 0);
        dereference(object);
        assert_eq!(FREED.load(Ordering::Relaxed), 0x1230);
        assert_eq!(kind(object), None);
    }
}
