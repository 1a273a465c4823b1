// SPDX-License-Identifier: BSD-2-Clause
//! The store of a bus that has no asynchronous table: the published methods, which wait, on a thread of our own.
//!
//! ```text
//!   task of the child                 executor "work", one thread          thread "watches"
//!   request: copies path and value --> calls the method, in order          waits for one KEVENT, which
//!     ^                                   |                                every watch sets
//!     +------------ JoinHandle <----------+                                   |
//!   watch: Cell ------------------------> registers it                        |
//!     ^                                                                       |
//!     +---------------------- Notify of every cell <--------------------------+
//! ```
//!
//! Who wakes the KEVENT is not known, so a change of one key is news of all watches; [`Watch`](super::Watch) says no more than that.
//! What must be given back (a transaction, a watch) is so by the drop of the last reference to it: on the thread, or, without
//! memory to send it there, where it is dropped. Both threads end with the store.
//!
//! Values of this table are text: a value with a NUL, or of more than [`LONGEST`] bytes, cannot be written.

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use core::task::{Context, Poll, ready};

use kexec::nt::{Arc, SpinLock, Tag, Thread, Vec};
use kexec::sync::Notify;
use kexec::{Passive, PassiveExecutor, Result, Status, error, task};

use crate::ffi::published::{Open, Published, Watching, Wired};
use crate::ffi::request::Reply;
use crate::store::Permission;
use crate::store_async as table;

/// Bytes that `StorePrintf` writes at most.
const LONGEST: usize = 1023;

/// The published store behind [`super::Store`].
#[derive(Debug)]
pub(super) struct Blocking {
    shared: Arc<Shared>,
    work: Arc<PassiveExecutor>,
    /// `None` at the end only.
    watcher: Option<Thread>,
    tag: Tag,
}

#[derive(Debug)]
struct Shared {
    wired: Arc<Wired>,
    cells: SpinLock<Vec<Arc<Cell>>>,
    ending: AtomicBool,
}

/// What a watch waits for.
#[derive(Debug)]
struct Cell {
    notify: Notify,
    /// The failure that ended the watch, or 0.
    failure: AtomicI32,
    watching: SpinLock<Option<Watching>>,
}

/// Bytes with a terminator.
fn text(tag: Tag, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::try_with_capacity(tag, bytes.len() + 1)?;
    text.try_extend_from_slice(bytes)?;
    text.try_push(0)?;
    c_str(&text)?;
    Ok(text)
}

fn c_str(text: &[u8]) -> Result<&CStr> {
    CStr::from_bytes_with_nul(text).map_err(|_| Status::INVALID_PARAMETER)
}

/// Entries of 8 bytes, as the asynchronous table has them.
fn permissions(tag: Tag, value: &[u8]) -> Result<Vec<Permission>> {
    let mut list = Vec::new(tag);
    for entry in value.chunks_exact(8) {
        if let [d0, d1, _, _, m0, m1, m2, m3] = *entry {
            list.try_push(Permission {
                domain: u16::from_le_bytes([d0, d1]),
                mask: u32::from_le_bytes([m0, m1, m2, m3]),
            })?;
        }
    }
    Ok(list)
}

impl Blocking {
    /// Starts both threads.
    pub(super) fn try_new(tag: Tag, store: Published, level: Passive) -> Result<Self> {
        let wired = Wired::with_event(tag, store)?;
        let shared = Shared {
            wired: Arc::try_new(tag, wired)?,
            cells: SpinLock::new(Vec::new(tag)),
            ending: AtomicBool::new(false),
        };
        let shared = Arc::try_new(tag, shared)?;
        let work = PassiveExecutor::try_new_thread(tag, level)?;
        let woken = shared.clone();
        let watcher = Thread::spawn(tag, level, move |level| woken.watch(level));
        let watcher = watcher.inspect_err(|_| work.stop(level))?;
        Ok(Self {
            shared,
            work,
            watcher: Some(watcher),
            tag,
        })
    }

    /// Runs `call` on the thread.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Wired) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let wired = self.shared.wired.clone();
        let called = async move { call(&wired) };
        self.work.spawn(task!("store request"), called)?.await?
    }

    /// One request of the asynchronous table's operations.
    pub(super) async fn request<T: Reply + Send + 'static>(
        &self,
        operation: u32,
        transaction: Option<&Arc<Open>>,
        path: &[u8],
        value: &[u8],
    ) -> Result<T> {
        let open = transaction.cloned();
        let path = text(self.tag, path)?;
        match operation {
            table::OP_READ => {
                let read = move |wired: &Wired| {
                    let path = c_str(&path)?;
                    T::from_reply(wired.store.read(open.as_deref(), path)?.bytes())
                };
                self.call(read).await
            }
            table::OP_DIRECTORY => {
                let list = move |wired: &Wired| {
                    let path = c_str(&path)?;
                    match wired.store.directory(open.as_deref(), path) {
                        Ok(names) => T::from_reply(names.bytes()),
                        // No children.
                        Err(Status::OBJECT_PATH_NOT_FOUND) => T::from_reply(&[]),
                        Err(status) => Err(status),
                    }
                };
                self.call(list).await
            }
            table::OP_WRITE => {
                if value.len() > LONGEST {
                    return Err(Status::INVALID_BUFFER_SIZE);
                }
                let value = text(self.tag, value)?;
                let write = move |wired: &Wired| {
                    let (path, value) = (c_str(&path)?, c_str(&value)?);
                    wired.store.write(open.as_deref(), path, value)?;
                    T::from_reply(&[])
                };
                self.call(write).await
            }
            table::OP_REMOVE => {
                let remove = move |wired: &Wired| {
                    wired.store.remove(open.as_deref(), c_str(&path)?)?;
                    T::from_reply(&[])
                };
                self.call(remove).await
            }
            table::OP_PERMISSIONS_SET => {
                let permissions = permissions(self.tag, value)?;
                let set = move |wired: &Wired| {
                    wired.store.set_permissions(c_str(&path)?, &permissions)?;
                    T::from_reply(&[])
                };
                self.call(set).await
            }
            _ => Err(Status::NOT_SUPPORTED),
        }
    }

    /// Starts a transaction.
    pub(super) async fn start(&self) -> Result<Arc<Open>> {
        let (wired, tag) = (self.shared.wired.clone(), self.tag);
        let start = move |_: &Wired| Arc::try_new(tag, Open::start(wired)?);
        self.call(start).await
    }

    /// Ends a transaction.
    pub(super) async fn end(&self, open: Arc<Open>, commit: bool) -> Result {
        self.call(move |_| open.end(commit)).await
    }

    /// Drops what takes a call of the store to give back.
    pub(super) fn give_back<T: Send + 'static>(&self, owned: T) {
        // Without memory the error has it, and drops it here.
        if let Ok(task) = self
            .work
            .spawn(task!("store release"), async move { drop(owned) })
        {
            task.detach();
        }
    }

    /// Watches a node.
    pub(super) fn watch(&self, path: &[u8]) -> Result<Registration<'_>> {
        let path = text(self.tag, path)?;
        let cell = Cell {
            notify: Notify::new(),
            failure: AtomicI32::new(0),
            watching: SpinLock::new(None),
        };
        let cell = Arc::try_new(self.tag, cell)?;
        self.shared.cells.lock().try_push(cell.clone())?;
        let registration = Registration {
            blocking: self,
            cell: Some(cell.clone()),
        };
        let wired = self.shared.wired.clone();
        let add = async move {
            match c_str(&path).and_then(|path| Watching::add(wired, path)) {
                Ok(watching) => *cell.watching.lock() = Some(watching),
                Err(status) => cell.failure.store(status.raw(), Ordering::Release),
            }
            cell.notify.notify();
        };
        self.work.spawn(task!("store watch"), add)?.detach();
        Ok(registration)
    }
}

impl Shared {
    /// Body of the thread for watches.
    fn watch(&self, level: Passive) {
        loop {
            let _ = self.wired.changed.wait(level, None);
            if self.ending.load(Ordering::Acquire) {
                return;
            }
            for cell in self.cells.lock().iter() {
                cell.notify.notify();
            }
        }
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        let Some(level) = Passive::here() else {
            error!("store: released above PASSIVE_LEVEL, its threads are leaked");
            core::mem::forget((self.watcher.take(), self.work.clone()));
            return;
        };
        self.work.stop(level);
        self.shared.ending.store(true, Ordering::Release);
        self.shared.wired.changed.set();
        if let Some(watcher) = self.watcher.take() {
            watcher.join(level);
        }
    }
}

/// A watch.
pub(super) struct Registration<'a> {
    blocking: &'a Blocking,
    /// `None` at the end only.
    cell: Option<Arc<Cell>>,
}

impl core::fmt::Debug for Registration<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Registration").field(&self.cell).finish()
    }
}

impl Registration<'_> {
    fn cell(&self) -> &Cell {
        let cell = self.cell.as_ref();
        cell.unwrap_or_else(|| unreachable!("taken by the drop only"))
    }

    fn failure(&self) -> Option<Status> {
        Status::check(self.cell().failure.load(Ordering::Acquire)).err()
    }

    /// Ready when something may have changed since the last time; the failure when the watch is dead.
    pub(super) fn poll_changed(&self, cx: &mut Context<'_>) -> Poll<Result> {
        if let Some(failure) = self.failure() {
            return Poll::Ready(Err(failure));
        }
        ready!(self.cell().notify.poll_notified(cx));
        Poll::Ready(self.failure().map_or(Ok(()), Err))
    }

    /// Waits for what [`Self::poll_changed`] says.
    pub(super) async fn changed(&self) -> Result {
        let notify = &self.cell().notify;
        notify.wait_until(|cx| self.poll_changed(cx)).await
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let Some(cell) = self.cell.take() else {
            return;
        };
        let blocking = self.blocking;
        let listed = |other: &Arc<Cell>| !core::ptr::eq(&**other, &*cell);
        blocking.shared.cells.lock().retain(listed);
        // The last reference removes the watch.
        blocking.give_back(cell);
    }
}
