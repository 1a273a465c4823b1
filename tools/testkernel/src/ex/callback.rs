// SPDX-License-Identifier: BSD-2-Clause
//! Callback objects (`\Callback\PowerState` and others by name).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::export::{A, D, P};
use crate::mem::Ptr;
use crate::ob;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::verifier;

struct Object {
    name: String,
    at: Ptr,
}

struct Registration {
    handle: usize,
    object: Ptr,
    routine: Ptr,
    context: usize,
    owner: String,
    running: u32,
}

static OBJECTS: Lock<Vec<Object>> = Lock::new(Vec::new());
static REGISTERED: Lock<Vec<Registration>> = Lock::new(Vec::new());
static NEXT: Lock<usize> = Lock::new(0x2000);

fn drop_object(at: Ptr) {
    OBJECTS.lock().retain(|o| o.at != at);
    // SAFETY: made by `Box::leak` in `create`; the last reference is gone.
    drop(unsafe { Box::from_raw(at.0 as *mut [u64; 8]) });
}

extern "win64" fn create(object: Ptr, attributes: Ptr, make: u8, _multiple: u8) -> NtStatus {
    let name = attributes.ptr(0x10).unicode_string();
    let mut objects = OBJECTS.lock();
    if let Some(found) = objects.iter().find(|o| o.name.eq_ignore_ascii_case(&name)) {
        let at = found.at;
        drop(objects);
        ob::reference(at);
        object.set(0, at);
        return status::SUCCESS;
    }
    let predefined = [
        r"\Callback\PowerState",
        r"\Callback\SetSystemTime",
        r"\Callback\ProcessorAdd",
    ];
    if make == 0 && !predefined.iter().any(|p| p.eq_ignore_ascii_case(&name)) {
        return status::OBJECT_NAME_NOT_FOUND;
    }
    let at = Ptr(Box::leak(Box::new([0u64; 8])).as_ptr() as usize);
    objects.push(Object { name, at });
    drop(objects);
    ob::insert(at, ob::Kind::Callback, drop_object);
    object.set(0, at);
    status::SUCCESS
}

extern "win64" fn register(object: Ptr, routine: Ptr, context: usize) -> usize {
    let owner = verifier::caller().driver;
    ob::reference(object);
    let handle = {
        let mut next = NEXT.lock();
        *next += 8;
        *next
    };
    REGISTERED.lock().push(Registration {
        handle,
        object,
        routine,
        context,
        owner,
        running: 0,
    });
    handle
}

extern "win64" fn unregister(handle: usize) {
    loop {
        let mut registered = REGISTERED.lock();
        let Some(i) = registered.iter().position(|r| r.handle == handle) else {
            drop(registered);
            verifier::fail(
                "bad_argument",
                format_args!("no callback registration {handle:#x}"),
            );
        };
        if registered[i].running == 0 {
            let gone = registered.swap_remove(i);
            drop(registered);
            return ob::dereference(gone.object);
        }
        drop(registered);
        crate::ke::wait::sleep(10_000);
    }
}

extern "win64" fn notify(object: Ptr, first: usize, second: usize) {
    let handles: Vec<usize> = REGISTERED
        .lock()
        .iter()
        .filter(|r| r.object == object)
        .map(|r| r.handle)
        .collect();
    for handle in handles {
        let call = {
            let mut registered = REGISTERED.lock();
            registered.iter_mut().find(|r| r.handle == handle).map(|r| {
                r.running += 1;
                (r.routine, r.context)
            })
        };
        if let Some((routine, context)) = call {
            verifier::call::driver("callback", routine, &[context, first, second]);
            if let Some(r) = REGISTERED.lock().iter_mut().find(|r| r.handle == handle) {
                r.running -= 1;
            }
        }
    }
}

/// Registrations that `driver` left.
pub(crate) fn left_by(driver: &str) -> usize {
    REGISTERED
        .lock()
        .iter()
        .filter(|r| r.owner == driver)
        .count()
}

crate::exports! {
    "ExCreateCallback", P => create;
    "ExRegisterCallback", A => register;
    "ExUnregisterCallback", A => unregister;
    "ExNotifyCallback", D => notify;
}
