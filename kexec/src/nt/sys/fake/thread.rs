// SPDX-License-Identifier: BSD-2-Clause
//! The fake kernel's threads, handles, work items and output.
#![expect(
    unsafe_code,
    reason = "callbacks and objects given as raw pointers, as in the real kernel"
)]
#![expect(non_snake_case, reason = "the names of the NT headers")]
#![expect(
    clippy::missing_safety_doc,
    reason = "raw NT functions; their contract is the platform's documentation"
)]

use core::ffi::{CStr, c_char};
use std::string::ToString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::io::reference;
use super::{Handle, Kernel, ThreadObject, at_most, cpu, irql};
use crate::nt::sys::*;

pub fn thread_object_type() -> PVOID {
    core::ptr::null_mut()
}

struct SendPtr(PVOID);
// SAFETY: a thread's context is handed over as a whole; that it may be is the caller's contract with PsCreateSystemThread.
unsafe impl Send for SendPtr {}

pub unsafe fn PsCreateSystemThread(
    handle: *mut HANDLE,
    _access: u32,
    _attributes: *mut OBJECT_ATTRIBUTES,
    _process: HANDLE,
    _client: PVOID,
    start: Option<PKSTART_ROUTINE>,
    context: PVOID,
) -> NTSTATUS {
    at_most("PsCreateSystemThread", 0);
    let Some(start) = start else {
        return crate::Status::INVALID_PARAMETER.raw();
    };
    let kernel = Kernel::current();
    let object = Arc::new(ThreadObject {
        done: Mutex::new(false),
        references: AtomicU32::new(0),
    });
    let key = Arc::as_ptr(&object) as usize;
    let mut state = kernel.lock();
    state.threads.insert(key, object.clone());
    let value = state.next_handle;
    state.next_handle += 4;
    state.handles.insert(value, Handle::Thread(key));
    drop(state);
    let context = SendPtr(context);
    let here = cpu();
    std::thread::spawn(move || {
        let context = context;
        kernel.adopt(here);
        // SAFETY: what the real kernel does: the start routine with its context.
        unsafe { start(context.0) };
        assert!(irql() == 0, "a system thread ended at IRQL {}", irql());
        *object
            .done
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        drop(kernel.lock());
        kernel.changed.notify_all();
    });
    // SAFETY: a valid pointer by contract.
    unsafe { handle.write(value as HANDLE) };
    0
}

pub unsafe fn ObReferenceObjectByHandle(
    handle: HANDLE,
    _access: u32,
    _kind: PVOID,
    _mode: i8,
    object: *mut PVOID,
    _information: PVOID,
) -> NTSTATUS {
    at_most("ObReferenceObjectByHandle", 0);
    let kernel = Kernel::current();
    let state = kernel.lock();
    let Some(Handle::Thread(key)) = state.handles.get(&(handle as usize)) else {
        return crate::Status::INVALID_HANDLE.raw();
    };
    if let Some(thread) = state.threads.get(key) {
        thread.references.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: a valid pointer by contract.
    unsafe { object.write(*key as PVOID) };
    0
}

pub unsafe fn ObfReferenceObject(object: PVOID) -> isize {
    at_most("ObfReferenceObject", 2);
    reference(object, 1)
}

pub unsafe fn ObfDereferenceObject(object: PVOID) -> isize {
    at_most("ObfDereferenceObject", 2);
    reference(object, -1)
}

pub unsafe fn ZwClose(handle: HANDLE) -> NTSTATUS {
    at_most("ZwClose", 0);
    match Kernel::current().lock().handles.remove(&(handle as usize)) {
        Some(_) => 0,
        None => panic!("ZwClose: not an open handle"),
    }
}

pub unsafe fn IoSizeofWorkItem() -> u32 {
    0x58
}

pub unsafe fn IoInitializeWorkItem(_object: PVOID, item: PVOID) {
    at_most("IoInitializeWorkItem", 2);
    Kernel::current()
        .lock()
        .work_items
        .insert(item as usize, false);
}

pub unsafe fn IoUninitializeWorkItem(item: PVOID) {
    at_most("IoUninitializeWorkItem", 2);
    let queued = Kernel::current().lock().work_items.remove(&(item as usize));
    assert!(
        queued == Some(false),
        "IoUninitializeWorkItem: queued or unknown work item"
    );
}

pub unsafe fn IoQueueWorkItem(
    item: PVOID,
    routine: Option<PIO_WORKITEM_ROUTINE>,
    _queue: u32,
    context: PVOID,
) {
    at_most("IoQueueWorkItem", 2);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let before = state.work_items.insert(item as usize, true);
    state.items += 1;
    drop(state);
    assert!(
        before == Some(false),
        "IoQueueWorkItem: work item already queued or not initialised"
    );
    let pair = (SendPtr(item), SendPtr(context));
    let here = cpu();
    std::thread::spawn(move || {
        let (item, context) = pair;
        kernel.adopt(here);
        kernel.lock().work_items.insert(item.0 as usize, false);
        if let Some(routine) = routine {
            // SAFETY: what the real kernel does: the routine with its context, at PASSIVE_LEVEL.
            unsafe { routine(core::ptr::null_mut(), context.0) };
        }
        assert!(irql() == 0, "a work item returned at IRQL {}", irql());
        kernel.lock().items -= 1;
        kernel.changed.notify_all();
    });
}

pub unsafe fn DbgPrintLine(text: *const c_char) {
    // SAFETY: NUL-terminated by contract.
    let text = unsafe { CStr::from_ptr(text) };
    Kernel::current()
        .lock()
        .log
        .push(text.to_string_lossy().trim_end().to_string());
}

pub unsafe fn KeRegisterBugCheckCallback(
    record: PVOID,
    routine: Option<PKBUGCHECK_CALLBACK_ROUTINE>,
    buffer: PVOID,
    length: u32,
    _component: *mut u8,
) -> u8 {
    at_most("KeRegisterBugCheckCallback", 2);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let twice = state.crashes.iter().any(|crash| crash.0 == record as usize);
    let Some(routine) = routine.filter(|_| !twice) else {
        return 0;
    };
    let crash = (record as usize, routine, buffer as usize, length);
    state.crashes.push(crash);
    1
}

pub unsafe fn KeDeregisterBugCheckCallback(record: PVOID) -> u8 {
    at_most("KeDeregisterBugCheckCallback", 2);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let before = state.crashes.len();
    state.crashes.retain(|crash| crash.0 != record as usize);
    u8::from(state.crashes.len() != before)
}

pub fn KeBugCheckEx(code: u32, p1: usize, p2: usize, p3: usize, p4: usize) -> ! {
    panic!("bug check {code:#x} ({p1:#x}, {p2:#x}, {p3:#x}, {p4:#x})")
}

/// Whether this thread is unwinding from a panic: a broken rule in a test.
pub fn unwinding() -> bool {
    std::thread::panicking()
}
