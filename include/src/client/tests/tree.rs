// SPDX-License-Identifier: BSD-2-Clause
//! A store with nodes, transactions and watches behind [`AsyncStoreV1`]: answers at once, or one request at a time when the test
//! says so.

use core::ffi::c_void;
use core::ptr;
use std::borrow::ToOwned;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::format;
use std::string::String;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::vec::Vec;

use kexec::{Result, Status};

use crate::interface::{Interface, NtStatus};
use crate::store_async::{
    AsyncStoreV1, Completion, OP_DIRECTORY, OP_READ, OP_REMOVE, OP_TRANSACTION_ABORT,
    OP_TRANSACTION_COMMIT, OP_TRANSACTION_START, OP_WRITE, Request, RequestHandle, WatchCallback,
    WatchHandle,
};

/// What a committed transaction, or a request outside any, has changed.
type Change = Vec<(String, Option<String>)>;

#[derive(Default)]
struct Transaction {
    started: u64,
    view: BTreeMap<String, String>,
    touched: BTreeSet<String>,
    changes: Change,
}

#[derive(Clone)]
struct Asked {
    operation: u32,
    transaction: u64,
    path: String,
    value: String,
}

struct Live {
    completion: Completion,
    context: usize,
}

#[derive(Default)]
struct State {
    references: usize,
    nodes: BTreeMap<String, String>,
    /// When each node was last changed, and the time.
    changed: BTreeMap<String, u64>,
    now: u64,
    transactions: BTreeMap<u64, Transaction>,
    next: u64,
    live: BTreeMap<u64, Live>,
    waiting: VecDeque<(u64, Asked)>,
    watches: BTreeMap<u64, (String, WatchCallback, usize)>,
    history: Vec<Change>,
    hold: bool,
    callers: usize,
    requests: usize,
    fail: Option<(usize, Status)>,
    conflicts: usize,
}

/// The store.
#[derive(Default)]
pub(super) struct Tree {
    state: Mutex<State>,
    /// [`State::hold`] has ended.
    released: Condvar,
}

impl State {
    fn put(&mut self, change: &Change) {
        self.now += 1;
        for (path, value) in change {
            match value {
                Some(value) => {
                    self.nodes.insert(path.clone(), value.clone());
                    self.changed.insert(path.clone(), self.now);
                }
                None => {
                    let below = format!("{path}/");
                    let now = self.now;
                    for node in self.nodes.keys() {
                        if node == path || node.starts_with(&below) {
                            self.changed.insert(node.clone(), now);
                        }
                    }
                    self.nodes
                        .retain(|node, _| node != path && !node.starts_with(&below));
                }
            }
        }
        self.history.push(change.clone());
    }

    /// Carries a request out: its answer and what it has changed.
    fn carry_out(&mut self, asked: &Asked) -> (Result<Vec<u8>>, Change) {
        let number = self.requests;
        self.requests += 1;
        if let Some((at, status)) = self.fail
            && at == number
        {
            if let OP_TRANSACTION_COMMIT | OP_TRANSACTION_ABORT = asked.operation {
                // The identity is void whatever the status.
                self.transactions.remove(&asked.transaction);
            }
            return (Err(status), Change::new());
        }
        let Asked {
            operation,
            transaction: id,
            path,
            value,
        } = asked;
        let missing = (Err(Status::OBJECT_NAME_NOT_FOUND), Change::new());
        let done = |data: &[u8]| Ok(data.to_vec());
        if !matches!(*operation, OP_TRANSACTION_START)
            && *id != 0
            && !self.transactions.contains_key(id)
        {
            return (Err(Status::INVALID_PARAMETER), Change::new());
        }
        match *operation {
            OP_TRANSACTION_START => {
                self.next += 1;
                let transaction = Transaction {
                    started: self.now,
                    view: self.nodes.clone(),
                    ..Transaction::default()
                };
                self.transactions.insert(self.next, transaction);
                (done(&self.next.to_le_bytes()), Change::new())
            }
            OP_TRANSACTION_ABORT => {
                self.transactions.remove(id);
                (done(b""), Change::new())
            }
            OP_TRANSACTION_COMMIT => {
                let ended = self.transactions.remove(id).expect("looked for above");
                let conflict = ended.touched.iter().any(|path| {
                    let changed = self.changed.get(path).copied().unwrap_or(0);
                    changed > ended.started
                });
                if conflict || self.conflicts > 0 {
                    self.conflicts = self.conflicts.saturating_sub(1);
                    return (Err(Status::RETRY), Change::new());
                }
                self.put(&ended.changes);
                (done(b""), ended.changes)
            }
            OP_READ | OP_DIRECTORY => {
                let transaction = self.transactions.get_mut(id);
                let nodes = match transaction {
                    Some(transaction) => {
                        transaction.touched.insert(path.clone());
                        &transaction.view
                    }
                    None => &self.nodes,
                };
                if *operation == OP_READ {
                    return nodes
                        .get(path)
                        .map_or(missing, |value| (done(value.as_bytes()), Change::new()));
                }
                let below = format!("{path}/");
                let mut names = BTreeSet::new();
                for node in nodes.keys() {
                    if let Some(name) = node.strip_prefix(&below) {
                        names.insert(name.split('/').next().unwrap_or_default().to_owned());
                    }
                }
                let names: Vec<u8> = names
                    .iter()
                    .flat_map(|name| name.bytes().chain([0]))
                    .collect();
                (Ok(names), Change::new())
            }
            OP_WRITE | OP_REMOVE => {
                let value = (*operation == OP_WRITE).then(|| value.clone());
                let change: Change = [(path.clone(), value)].into();
                if let Some(transaction) = self.transactions.get_mut(id) {
                    transaction.touched.insert(path.clone());
                    let [(path, value)] = &change[..] else {
                        unreachable!("one change");
                    };
                    match value {
                        Some(value) => transaction.view.insert(path.clone(), value.clone()),
                        None => transaction.view.remove(path),
                    };
                    transaction.changes.extend(change);
                    return (done(b""), Change::new());
                }
                self.put(&change);
                (done(b""), change)
            }
            other => panic!("no such operation here: {other}"),
        }
    }

    /// The callbacks that a change calls.
    fn fired(&self, change: &Change) -> Vec<(WatchCallback, usize)> {
        let concerns = |watched: &str| {
            change.iter().any(|(path, value)| {
                path == watched
                    || path.starts_with(&format!("{watched}/"))
                    || value.is_none() && watched.starts_with(&format!("{path}/"))
            })
        };
        let watches = self.watches.values();
        watches
            .filter(|(path, ..)| concerns(path))
            .map(|(_, callback, context)| (*callback, *context))
            .collect()
    }
}

fn call(callbacks: Vec<(WatchCallback, usize)>) {
    for (callback, context) in callbacks {
        // SAFETY: the watch is registered; tests remove none while this runs.
        unsafe { callback(context as *mut c_void, 0) };
    }
}

impl Tree {
    pub(super) fn new() -> Box<Self> {
        Box::default()
    }

    /// Its table. The tree must outlive what is made from it.
    pub(super) fn table(&self) -> AsyncStoreV1 {
        AsyncStoreV1 {
            interface: Interface::of::<AsyncStoreV1>(ptr::from_ref(self).cast_mut().cast()),
            acquire,
            release,
            submit,
            close,
            watch_add,
            watch_remove,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("lock")
    }

    /// Somebody else writes.
    pub(super) fn write(&self, path: &str, value: &str) {
        self.change([(path.to_owned(), Some(value.to_owned()))].into());
    }

    /// Somebody else removes.
    pub(super) fn remove(&self, path: &str) {
        self.change([(path.to_owned(), None)].into());
    }

    fn change(&self, change: Change) {
        let mut state = self.lock();
        state.put(&change);
        let fired = state.fired(&change);
        drop(state);
        call(fired);
    }

    pub(super) fn get(&self, path: &str) -> Option<String> {
        self.lock().nodes.get(path).cloned()
    }

    /// The values that were written to a node since the last look, in order.
    pub(super) fn written(&self, path: &str) -> String {
        let history = core::mem::take(&mut self.lock().history);
        let changes = history.into_iter().flatten();
        changes
            .filter_map(|(changed, value)| (changed == path).then_some(value?))
            .collect()
    }

    /// Requests wait for [`Self::step`] from now on, or do not.
    pub(super) fn hold(&self, hold: bool) {
        self.lock().hold = hold;
        self.released.notify_all();
    }

    /// A request of somebody who waits for its answer.
    pub(super) fn wait_for(
        &self,
        operation: u32,
        transaction: u64,
        path: String,
        value: String,
    ) -> Result<Vec<u8>> {
        let asked = Asked {
            operation,
            transaction,
            path,
            value,
        };
        let mut state = self.lock();
        state.callers += 1;
        while state.hold {
            state = self.released.wait(state).expect("lock");
        }
        state.callers -= 1;
        let (answer, change) = state.carry_out(&asked);
        let fired = state.fired(&change);
        drop(state);
        call(fired);
        answer
    }

    /// Those who wait while requests are held.
    pub(super) fn callers(&self) -> usize {
        self.lock().callers
    }

    /// Registers a watch; its number.
    pub(super) fn watch(&self, path: String, callback: WatchCallback, context: usize) -> u64 {
        let mut state = self.lock();
        state.next += 1;
        let id = state.next;
        state.watches.insert(id, (path, callback, context));
        drop(state);
        call([(callback, context)].into());
        id
    }

    /// Removes a watch.
    pub(super) fn unwatch(&self, id: u64) {
        let removed = self.lock().watches.remove(&id);
        assert!(removed.is_some(), "removed twice");
    }

    /// References, after `more` were added.
    pub(super) fn references(&self, more: isize) -> usize {
        let mut state = self.lock();
        state.references = state.references.checked_add_signed(more).expect("a count");
        state.references
    }

    /// Answers the oldest request that waits; false when there is none.
    pub(super) fn step(&self) -> bool {
        let mut state = self.lock();
        let Some((id, asked)) = state.waiting.pop_front() else {
            return false;
        };
        let (answer, change) = state.carry_out(&asked);
        let fired = state.fired(&change);
        let live = state
            .live
            .get(&id)
            .map(|live| (live.completion, live.context));
        drop(state);
        call(fired);
        if let Some((completion, context)) = live {
            let (status, data) = match &answer {
                Ok(data) => (0, &data[..]),
                Err(status) => (status.raw(), &[][..]),
            };
            // SAFETY: the handle is live, so the context is.
            unsafe {
                completion(
                    context as *mut c_void,
                    status,
                    data.as_ptr(),
                    data.len() as u32,
                );
            }
        }
        true
    }

    /// Fails request number `at`, counted from 0.
    pub(super) fn fail(&self, at: usize, status: Status) {
        self.lock().fail = Some((at, status));
    }

    /// Refuses that many commits.
    pub(super) fn conflict(&self, commits: usize) {
        self.lock().conflicts = commits;
    }

    /// Requests carried out.
    pub(super) fn requests(&self) -> usize {
        self.lock().requests
    }

    /// Handles, watches and transactions that are left; detached requests are carried out first.
    pub(super) fn left(&self) -> usize {
        while self.step() {}
        let state = self.lock();
        state.live.len() + state.watches.len() + state.transactions.len()
    }
}

/// The tree behind an interface.
///
/// # Safety
/// `this` is a copy of a table of [`Tree::table`] whose tree lives.
unsafe fn tree<'a>(this: *mut Interface) -> &'a Tree {
    // SAFETY: by the contract.
    let context = unsafe { (*this).context };
    // SAFETY: by the contract.
    unsafe { &*context.cast_const().cast::<Tree>() }
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
    unsafe { tree(this) }.references(1);
    0
}

unsafe extern "C" fn release(this: *mut Interface) {
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    assert_eq!(tree.left(), 0, "released with something left");
    tree.references(-1);
}

unsafe extern "C" fn submit(
    this: *mut Interface,
    request: *const Request,
    completion: Option<Completion>,
    context: *mut c_void,
    handle: *mut *mut RequestHandle,
) -> NtStatus {
    // SAFETY: called through the table.
    let tree = unsafe { tree(this) };
    // SAFETY: a valid request, copied.
    let request = unsafe { *request };
    // SAFETY: the request's buffers.
    let path = unsafe { text(request.path, request.path_length) };
    // SAFETY: as above.
    let value = unsafe { text(request.value, request.value_length) };
    let asked = Asked {
        operation: request.operation,
        transaction: request.transaction,
        path,
        value,
    };
    let mut state = tree.lock();
    state.next += 1;
    let id = state.next;
    state.waiting.push_back((id, asked));
    if let Some(completion) = completion {
        let context = context as usize;
        let live = Live {
            completion,
            context,
        };
        state.live.insert(id, live);
        // SAFETY: the caller's place for the handle.
        unsafe { handle.write(id as *mut RequestHandle) };
    }
    let hold = state.hold;
    drop(state);
    while !hold && tree.step() {}
    0
}

unsafe extern "C" fn close(this: *mut Interface, handle: *mut RequestHandle) {
    // SAFETY: called through the table.
    let mut state = unsafe { tree(this) }.lock();
    let id = handle as u64;
    assert!(state.live.remove(&id).is_some(), "closed twice");
    // Cancelled: what it would have started is undone.
    let waits = |asked: &Asked| asked.operation == OP_TRANSACTION_START;
    state
        .waiting
        .retain(|(waiting, asked)| *waiting != id || !waits(asked));
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
    let tree = unsafe { tree(this) };
    // SAFETY: the path's bytes.
    let path = unsafe { text(path, path_length) };
    let id = tree.watch(path, callback, context as usize);
    // SAFETY: the caller's place for the handle.
    unsafe { handle.write(id as *mut WatchHandle) };
    0
}

unsafe extern "C" fn watch_remove(this: *mut Interface, handle: *mut WatchHandle) {
    // SAFETY: called through the table.
    unsafe { tree(this) }.unwatch(handle as u64);
}
