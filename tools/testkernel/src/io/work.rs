// SPDX-License-Identifier: BSD-2-Clause
//! Work items of drivers: a routine run once in a worker thread, with its device kept alive meanwhile.
//!
//! The item's memory is the driver's or pool; what the kernel knows about it is kept in a table here. An item is
//! free to be queued again or freed from its own routine on.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::mem::Ptr;
use crate::ob;
use crate::sync::Lock;
use crate::verifier;

const TAG: u32 = u32::from_le_bytes(*b"IoWI");
const SIZE: u32 = 0x58;

struct Item {
    owner: String,
    object: Ptr,
    queued: bool,
    /// From `IoAllocateWorkItem`, so its memory is the kernel's.
    allocated: bool,
}

static ITEMS: Lock<BTreeMap<Ptr, Item>> = Lock::new(BTreeMap::new());

fn enter(item: Ptr, object: Ptr, allocated: bool) {
    if !matches!(ob::kind(object), Some(ob::Kind::Device | ob::Kind::Driver)) {
        verifier::fail(
            "bad_device",
            format_args!("{object} is no device or driver object"),
        );
    }
    let owner = verifier::caller().driver;
    let previous = ITEMS.lock().insert(
        item,
        Item {
            owner,
            object,
            queued: false,
            allocated,
        },
    );
    if previous.is_some_and(|item| item.queued) {
        verifier::fail(
            "work_item_reinitialized",
            format_args!("work item {item} is queued"),
        );
    }
}

fn leave(item: Ptr, allocated: bool) {
    let entry = ITEMS.lock().remove(&item);
    match entry {
        Some(entry) if entry.queued => verifier::fail(
            "work_item_freed_queued",
            format_args!("work item {item} is queued"),
        ),
        Some(entry) if entry.allocated == allocated => {}
        _ => verifier::fail("bad_work_item", format_args!("{item} is no such work item")),
    }
}

fn queue(item: Ptr, routine: Ptr, context: Ptr, extended: bool) {
    let object = {
        let mut items = ITEMS.lock();
        match items.get_mut(&item) {
            Some(entry) if entry.queued => None,
            Some(entry) => {
                entry.queued = true;
                Some(entry.object)
            }
            None => Some(Ptr::NULL),
        }
    };
    let object = match object {
        Some(object) if !object.is_null() => object,
        Some(_) => verifier::fail("bad_work_item", format_args!("{item} is no work item")),
        None => verifier::fail("work_item_queued_twice", format_args!("work item {item}")),
    };
    ob::reference(object);
    crate::ex::work::queue(Box::new(move || {
        if let Some(entry) = ITEMS.lock().get_mut(&item) {
            entry.queued = false;
        }
        let args = [object.0, context.0, item.0];
        let args = if extended { &args[..] } else { &args[..2] };
        verifier::call::driver("WorkItemRoutine", routine, args);
        ob::dereference(object);
    }));
}

/// Work items that a driver allocated or initialised and never gave back.
pub fn left_by(driver: &str) -> Vec<Ptr> {
    let left = |(at, item): (&Ptr, &Item)| {
        (item.owner == driver && (item.allocated || item.queued)).then_some(*at)
    };
    ITEMS.lock().iter().filter_map(left).collect()
}

pub(super) extern "win64" fn io_allocate(object: Ptr) -> Ptr {
    if crate::ex::pool::shall_fail() {
        return Ptr::NULL;
    }
    let item = crate::ex::pool::allocate(SIZE as usize, TAG);
    if !item.is_null() {
        item.fill(0, SIZE as usize);
        enter(item, object, true);
    }
    item
}

pub(super) extern "win64" fn io_free(item: Ptr) {
    leave(item, true);
    crate::ex::pool::free(item);
}

pub(super) extern "win64" fn io_size() -> u32 {
    SIZE
}

pub(super) extern "win64" fn io_initialize(object: Ptr, item: Ptr) {
    enter(item, object, false);
}

pub(super) extern "win64" fn io_uninitialize(item: Ptr) {
    leave(item, false);
}

pub(super) extern "win64" fn io_queue(item: Ptr, routine: Ptr, _queue: u32, context: Ptr) {
    queue(item, routine, context, false);
}

pub(super) extern "win64" fn io_queue_ex(item: Ptr, routine: Ptr, _queue: u32, context: Ptr) {
    queue(item, routine, context, true);
}
