// SPDX-License-Identifier: BSD-2-Clause
//! A store provider behind [`AsyncStoreV1`]: keeps requests until the test answers them, or answers at
//! once from a script.

use core::ffi::c_void;
use core::ptr;
use std::boxed::Box;
use std::collections::{BTreeMap, VecDeque};
use std::string::String;
use std::sync::{Condvar, Mutex};
use std::vec::Vec;

use kexec::{Result, Status};

use crate::interface::{Interface, NtStatus};
use crate::store_async::{
    AsyncStoreV1, Completion, OP_TRANSACTION_START, Request, RequestHandle, WatchCallback,
    WatchHandle,
};

/// A reply: a status and data.
pub(super) type Answer = Result<Vec<u8>>;

/// A request as the bus saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) operation: u32,
    pub(super) transaction: u64,
    pub(super) path: String,
    pub(super) value: String,
    pub(super) detached: bool,
}

struct Pending {
    completion: Option<Completion>,
    context: usize,
    /// Its completion runs.
    running: bool,
}

#[derive(Default)]
struct State {
    references: usize,
    next: usize,
    live: BTreeMap<usize, Pending>,
    watches: BTreeMap<usize, (WatchCallback, usize)>,
    seen: Vec<Seen>,
    closed: usize,
    script: VecDeque<Answer>,
    refuse: Option<Status>,
}

/// The provider.
#[derive(Default)]
pub(super) struct Bus {
    state: Mutex<State>,
    changed: Condvar,
}

impl Bus {
    pub(super) fn new() -> Box<Self> {
        Box::default()
    }

    /// Its table. The bus must outlive what is made from it.
    pub(super) fn table(&self) -> AsyncStoreV1 {
        let context = ptr::from_ref(self).cast_mut().cast();
        AsyncStoreV1 {
            interface: Interface::of::<AsyncStoreV1>(context),
            acquire,
            release,
            submit,
            close,
            watch_add,
            watch_remove,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("lock")
    }

    /// Answers the next requests at once, inside `submit`.
    pub(super) fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.lock().script.extend(answers);
    }

    /// Refuses the next call.
    pub(super) fn refuse(&self, status: Status) {
        self.lock().refuse = Some(status);
    }

    pub(super) fn references(&self) -> usize {
        self.lock().references
    }

    /// Requests seen so far; forgets them.
    pub(super) fn seen(&self) -> Vec<Seen> {
        core::mem::take(&mut self.lock().seen)
    }

    /// Handles that were not given back.
    pub(super) fn live(&self) -> usize {
        let state = self.lock();
        state.live.len() + state.watches.len()
    }

    pub(super) fn closed(&self) -> usize {
        self.lock().closed
    }

    /// Completes the oldest live request; false when there is none.
    pub(super) fn complete(&self, answer: &Answer) -> bool {
        let mut state = self.lock();
        let next = state.live.iter_mut().find(|(_, p)| p.completion.is_some());
        let Some((handle, pending)) = next.map(|(handle, pending)| (*handle, pending)) else {
            return false;
        };
        let completion = pending.completion.take().expect("found");
        let context = pending.context;
        pending.running = true;
        drop(state);
        call(completion, context, answer);
        if let Some(pending) = self.lock().live.get_mut(&handle) {
            pending.running = false;
        }
        self.changed.notify_all();
        true
    }

    /// Fires all watches.
    pub(super) fn fire(&self, status: NtStatus) {
        let watches: Vec<_> = self.lock().watches.values().copied().collect();
        for (callback, context) in watches {
            // SAFETY: the watch is registered; tests remove none while this runs.
            unsafe { callback(context as *mut c_void, status) };
        }
    }
}

fn call(completion: Completion, context: usize, answer: &Answer) {
    let (status, data) = match answer {
        Ok(data) => (0, data.as_slice()),
        Err(status) => (status.raw(), &[][..]),
    };
    let data_pointer = if data.is_empty() {
        ptr::null()
    } else {
        data.as_ptr()
    };
    // SAFETY: the context is that of a request whose handle is live until this has returned.
    unsafe {
        completion(
            context as *mut c_void,
            status,
            data_pointer,
            data.len() as u32,
        );
    }
}

/// The bus behind an interface.
///
/// # Safety
/// `this` is a copy of a table of [`Bus::table`] whose bus lives.
unsafe fn bus<'a>(this: *mut Interface) -> &'a Bus {
    // SAFETY: by the contract.
    let context = unsafe { (*this).context };
    // SAFETY: by the contract.
    unsafe { &*context.cast_const().cast::<Bus>() }
}

/// A string of a request.
///
/// # Safety
/// `data` has `length` bytes.
unsafe fn text(data: *const u8, length: u32) -> String {
    // SAFETY: by the contract.
    let bytes = unsafe { core::slice::from_raw_parts(data, length as usize) };
    String::from_utf8_lossy(bytes).into_owned()
}

unsafe extern "C" fn acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: called through the table.
    let bus = unsafe { bus(this) };
    let mut state = bus.lock();
    if let Some(status) = state.refuse.take() {
        return status.raw();
    }
    state.references += 1;
    0
}

unsafe extern "C" fn release(this: *mut Interface) {
    // SAFETY: called through the table.
    let bus = unsafe { bus(this) };
    assert_eq!(bus.live(), 0, "released with handles out");
    bus.lock().references -= 1;
}

unsafe extern "C" fn submit(
    this: *mut Interface,
    request: *const Request,
    completion: Option<Completion>,
    context: *mut c_void,
    handle: *mut *mut RequestHandle,
) -> NtStatus {
    // SAFETY: called through the table.
    let bus = unsafe { bus(this) };
    // SAFETY: a valid request, copied.
    let request = unsafe { *request };
    assert_eq!(request.size, 40);
    // SAFETY: the request's buffers.
    let path = unsafe { text(request.path, request.path_length) };
    // SAFETY: as above.
    let value = unsafe { text(request.value, request.value_length) };
    let mut state = bus.lock();
    assert_ne!(state.references, 0, "submitted without a reference");
    if let Some(status) = state.refuse.take() {
        return status.raw();
    }
    state.seen.push(Seen {
        operation: request.operation,
        transaction: request.transaction,
        path,
        value,
        detached: completion.is_none(),
    });
    if completion.is_none() {
        return 0;
    }
    state.next += 1;
    let id = state.next;
    let pending = Pending {
        completion,
        context: context as usize,
        running: false,
    };
    state.live.insert(id, pending);
    // SAFETY: the caller's place for the handle.
    unsafe { handle.write(id as *mut RequestHandle) };
    let answer = state.script.pop_front();
    drop(state);
    if let Some(answer) = answer {
        bus.complete(&answer);
    }
    0
}

unsafe extern "C" fn close(this: *mut Interface, handle: *mut RequestHandle) {
    // SAFETY: called through the table.
    let bus = unsafe { bus(this) };
    let id = handle as usize;
    let mut state = bus.lock();
    while state.live.get(&id).expect("closed twice").running {
        state = bus.changed.wait(state).expect("lock");
    }
    state.live.remove(&id);
    state.closed += 1;
}

unsafe extern "C" fn watch_add(
    this: *mut Interface,
    path: *const u8,
    path_length: u32,
    callback: Option<WatchCallback>,
    context: *mut c_void,
    handle: *mut *mut WatchHandle,
) -> NtStatus {
    let Some(callback) = callback else {
        return Status::INVALID_PARAMETER.raw();
    };
    // SAFETY: called through the table.
    let bus = unsafe { bus(this) };
    // SAFETY: the path's bytes.
    let path = unsafe { text(path, path_length) };
    let mut state = bus.lock();
    if let Some(status) = state.refuse.take() {
        return status.raw();
    }
    state.next += 1;
    let id = state.next;
    state.watches.insert(id, (callback, context as usize));
    state.seen.push(Seen {
        operation: 0,
        transaction: 0,
        path,
        value: String::new(),
        detached: false,
    });
    // SAFETY: the caller's place for the handle.
    unsafe { handle.write(id as *mut WatchHandle) };
    0
}

unsafe extern "C" fn watch_remove(this: *mut Interface, handle: *mut WatchHandle) {
    // SAFETY: called through the table.
    let bus = unsafe { bus(this) };
    let removed = bus.lock().watches.remove(&(handle as usize));
    assert!(removed.is_some(), "removed twice");
}

/// A value as an answer.
pub(super) fn value(text: &str) -> Answer {
    Ok(text.as_bytes().to_vec())
}

/// A transaction's identity as an answer.
pub(super) fn identity(identity: u64) -> Answer {
    Ok(identity.to_le_bytes().to_vec())
}

/// Is this the start of a transaction?
pub(super) fn starts(seen: &[Seen]) -> usize {
    seen.iter()
        .filter(|seen| seen.operation == OP_TRANSACTION_START)
        .count()
}
