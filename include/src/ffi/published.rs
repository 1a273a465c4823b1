// SPDX-License-Identifier: BSD-2-Clause
//! The published, blocking store, [`StoreV2`], for callers that have a thread to wait in.
//!
//! Paths are absolute, or relative to the domain's own; values are text of at most 1023 bytes.
//!
//! # IRQL
//! `<= DISPATCH_LEVEL`, but every call waits for the daemon: at PASSIVE_LEVEL, where there is a choice.

use core::ffi::{CStr, c_char};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Event, EventKind, Tag};
use kexec::{Passive, Result, Status};

use super::query::query;
use super::reference::Reference;
use crate::interface::{NtStatus, PStr};
use crate::store::{Permission, StoreV2, Transaction, Watch};

/// A reference to the store.
pub type Published = Reference<StoreV2>;

/// `StoreRead` and `StoreDirectory`.
type Reading = unsafe extern "C" fn(
    *mut crate::interface::Interface,
    *mut Transaction,
    PStr,
    PStr,
    *mut *mut c_char,
) -> NtStatus;

impl Published {
    /// Reads a node: its value up to the first NUL.
    pub fn read(&self, transaction: Option<&Open>, path: &CStr) -> Result<Buffer<'_>> {
        self.fetch(self.table().read, transaction, path, |buffer| {
            // SAFETY: a value and two NULs, as the caller says.
            unsafe { CStr::from_ptr(buffer) }.count_bytes()
        })
    }

    /// Lists a node: the children's names, each with a NUL.
    pub fn directory(&self, transaction: Option<&Open>, path: &CStr) -> Result<Buffer<'_>> {
        self.fetch(self.table().directory, transaction, path, |buffer| {
            let mut length = 0;
            loop {
                // SAFETY: terminated names, and one more NUL, as the caller says; this is the next one's start.
                let at = unsafe { buffer.add(length) };
                // SAFETY: as above.
                let name = unsafe { CStr::from_ptr(at) }.count_bytes();
                if name == 0 {
                    return length;
                }
                length += name + 1;
            }
        })
    }

    /// `length` gets a buffer that a successful call has filled.
    fn fetch(
        &self,
        method: Reading,
        transaction: Option<&Open>,
        path: &CStr,
        length: impl FnOnce(*const c_char) -> usize,
    ) -> Result<Buffer<'_>> {
        let mut buffer = ptr::null_mut();
        let transaction = handle(transaction)?;
        // SAFETY: a reference is held, the transaction is open, the path is terminated, the result is a local.
        let status = unsafe {
            method(
                self.this(),
                transaction,
                ptr::null(),
                path.as_ptr(),
                &raw mut buffer,
            )
        };
        Status::check(status)?;
        let buffer = NonNull::new(buffer).ok_or(Status::UNSUCCESSFUL)?;
        Ok(Buffer {
            length: length(buffer.as_ptr()),
            buffer,
            owner: self,
        })
    }

    /// Writes a node.
    pub fn write(&self, transaction: Option<&Open>, path: &CStr, value: &CStr) -> Result {
        let transaction = handle(transaction)?;
        // SAFETY: as in `fetch`; the format names one narrow string, which follows.
        let status = unsafe {
            (self.table().printf)(
                self.this(),
                transaction,
                ptr::null(),
                path.as_ptr(),
                c"%s".as_ptr(),
                value.as_ptr(),
            )
        };
        Status::check(status)
    }

    /// Removes a node and all below it.
    pub fn remove(&self, transaction: Option<&Open>, path: &CStr) -> Result {
        let transaction = handle(transaction)?;
        // SAFETY: as in `fetch`.
        let status =
            unsafe { (self.table().remove)(self.this(), transaction, ptr::null(), path.as_ptr()) };
        Status::check(status)
    }

    /// Sets a node's permissions.
    pub fn set_permissions(&self, path: &CStr, permissions: &[Permission]) -> Result {
        let count = u32::try_from(permissions.len()).map_err(|_| Status::INVALID_PARAMETER)?;
        // SAFETY: as in `fetch`; there are `count` entries.
        let status = unsafe {
            (self.table().permissions_set)(
                self.this(),
                ptr::null_mut(),
                ptr::null(),
                path.as_ptr(),
                permissions.as_ptr(),
                count,
            )
        };
        Status::check(status)
    }

    /// Registers a watch that sets `event`, which lives longer than the watch.
    fn watch_add(&self, path: &CStr, event: &Event) -> Result<NonNull<Watch>> {
        let mut watch = ptr::null_mut();
        // SAFETY: as in `fetch`; the event is in pool and, by the caller's word, outlives the watch.
        let status = unsafe {
            (self.table().watch_add)(
                self.this(),
                ptr::null(),
                path.as_ptr(),
                event.as_raw().cast(),
                &raw mut watch,
            )
        };
        Status::check(status)?;
        NonNull::new(watch).ok_or(Status::UNSUCCESSFUL)
    }
}

/// What the store has read.
pub struct Buffer<'a> {
    buffer: NonNull<c_char>,
    length: usize,
    owner: &'a Published,
}

// SAFETY: memory of the provider, which may be read and given back on any processor.
unsafe impl Send for Buffer<'_> {}

impl Buffer<'_> {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: that many bytes were found in the buffer, which is ours until `drop`.
        unsafe { core::slice::from_raw_parts(self.buffer.as_ptr().cast(), self.length) }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let Self { buffer, owner, .. } = self;
        // SAFETY: a reference is held; the buffer is given back once.
        unsafe { (owner.table().free)(owner.this(), buffer.as_ptr()) };
    }
}

/// The store and the event that its watches set.
#[derive(Debug)]
pub struct Wired {
    pub(crate) store: Published,
    pub(crate) changed: Event,
}

impl Wired {
    /// Asks the device below for the store, takes a reference, and makes an event.
    ///
    /// # Errors
    /// `STATUS_NOT_SUPPORTED`, `STATUS_REVISION_MISMATCH`: the bus driver has no STORE 2; out of memory.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(tag: Tag, below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<StoreV2>(below, passive)?;
        // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while its child is attached,
        // which outlives this reference.
        let store = unsafe { Published::acquire(table)? };
        Self::with_event(tag, store)
    }

    /// Another reference to the same store, with an event of its own.
    ///
    /// # Errors
    /// The provider's status; out of memory.
    pub fn another(&self, tag: Tag) -> Result<Self> {
        // SAFETY: the table came from its provider, whose image stays while our own reference is held, and then while the new one
        // is.
        let store = unsafe { Published::acquire(*self.store.table())? };
        Self::with_event(tag, store)
    }

    pub(crate) fn with_event(tag: Tag, store: Published) -> Result<Self> {
        let changed = Event::try_new(tag, EventKind::Synchronization)?;
        Ok(Self { store, changed })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Published {
        &self.store
    }

    /// The event that its watches set; each wait takes it back.
    #[must_use]
    pub fn changed(&self) -> &Event {
        &self.changed
    }
}

/// A transaction. Aborted by its last reference's drop, so never while a request of it runs.
#[derive(Debug)]
pub struct Open {
    wired: Arc<Wired>,
    /// NULL once it has ended.
    transaction: AtomicPtr<Transaction>,
}

fn handle(transaction: Option<&Open>) -> Result<*mut Transaction> {
    let Some(open) = transaction else {
        return Ok(ptr::null_mut());
    };
    match open.transaction.load(Ordering::Acquire) {
        ended if ended.is_null() => Err(Status::INVALID_DEVICE_STATE),
        transaction => Ok(transaction),
    }
}

impl Open {
    /// Starts one.
    pub fn start(wired: Arc<Wired>) -> Result<Self> {
        let mut transaction = ptr::null_mut();
        let store = &wired.store;
        // SAFETY: a reference is held; the result is a local.
        let status =
            unsafe { (store.table().transaction_start)(store.this(), &raw mut transaction) };
        Status::check(status)?;
        let transaction = NonNull::new(transaction).ok_or(Status::UNSUCCESSFUL)?;
        Ok(Self {
            wired,
            transaction: AtomicPtr::new(transaction.as_ptr()),
        })
    }

    /// Ends it; whatever the status, it is void then.
    pub fn end(&self, commit: bool) -> Result {
        let transaction = self.transaction.swap(ptr::null_mut(), Ordering::AcqRel);
        if transaction.is_null() {
            return Err(Status::INVALID_DEVICE_STATE);
        }
        let store = &self.wired.store;
        // SAFETY: a reference is held; the transaction is open and ended once, by whoever took it out.
        let status =
            unsafe { (store.table().transaction_end)(store.this(), transaction, u8::from(commit)) };
        Status::check(status)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.transaction.get_mut().is_null() {
            // An abort's status says nothing that could be acted on.
            let _ = self.end(false);
        }
    }
}

/// A watch that sets [`Wired::changed`]; removed when dropped.
#[derive(Debug)]
pub struct Watching {
    wired: Arc<Wired>,
    watch: NonNull<Watch>,
}

// SAFETY: a handle; the methods may be called on any processor.
unsafe impl Send for Watching {}
// SAFETY: as above.
unsafe impl Sync for Watching {}

impl Watching {
    /// Registers it.
    pub fn add(wired: Arc<Wired>, path: &CStr) -> Result<Self> {
        // Its event is kept by `wired`.
        let watch = wired.store.watch_add(path, &wired.changed)?;
        Ok(Self { wired, watch })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let store = &self.wired.store;
        // SAFETY: a reference is held; the watch is removed once.
        let status = unsafe { (store.table().watch_remove)(store.this(), self.watch.as_ptr()) };
        if let Err(status) = Status::check(status) {
            kexec::warn!("store: a watch was not removed, {status}");
        }
    }
}
