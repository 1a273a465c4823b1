// SPDX-License-Identifier: BSD-2-Clause
//! STORE, version 2.

use core::ffi::{c_char, c_void};
use core::ptr;

use kexec::nt::Vec;
use kexec::nt::sys::{self, NonPagedPoolNx};
use kexec::{Result, Status};
use xenbus_interface::store::{
    Permission as RawPermission, StoreV2, Transaction as RawTransaction, Watch as RawWatch,
};
use xenbus_interface::{Interface, NtStatus, Table, store};

use super::{VaList, acquire, caller, handle, peek, release, take, text, variadic};
use crate::facade::store::{LegacyWatch, Store, Text};
use crate::store::Transaction;
use crate::store::request::Callback;
use crate::store::wire::Permission;

/// Tag of buffers that StoreFree gives back.
const BUFFER: u32 = u32::from_le_bytes(*b"XBbf");
/// Most entries of one StorePermissionsSet: more do not fit a request.
const PERMISSIONS_MAX: u32 = 512;

pub(super) fn table(context: *mut c_void) -> StoreV2 {
    // SAFETY: same ABI: on x64 variadic integer and pointer arguments travel like declared ones, and the thunk reads them itself.
    let printf =
        unsafe { core::mem::transmute::<unsafe extern "C" fn(), store::Printf>(printf_thunk) };
    StoreV2 {
        interface: Interface::of::<StoreV2>(context),
        acquire: store_acquire,
        release: store_release,
        free,
        read,
        printf,
        permissions_set,
        remove,
        directory,
        transaction_start,
        transaction_end,
        watch_add,
        watch_remove,
        poll,
    }
}

/// Runs `f` on the store of the table.
///
/// # Safety
/// As [`caller`].
unsafe fn with<T>(this: *mut Interface, f: impl FnOnce(&Store<'_>) -> Result<T>) -> Result<T> {
    // SAFETY: passed on.
    let caller = unsafe { caller(this) };
    let bus = caller.bus()?;
    let client = caller.client(&bus);
    f(&Store::new(&client, bus.ring()))
}

/// Puts `text` into a buffer of the requester's.
///
/// # Safety
/// `out` is valid for a write.
unsafe fn give(text: Result<Text>, out: *mut *mut c_char) -> NtStatus {
    let text = match text {
        Ok(text) => text,
        Err(status) => return status.raw(),
    };
    let [data, end] = text.parts();
    if out.is_null() {
        return Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: callable at <= DISPATCH_LEVEL; two NULs at least, so not empty.
    let block =
        unsafe { sys::ExAllocatePoolWithTag(NonPagedPoolNx, data.len() + end.len(), BUFFER) }
            .cast::<u8>();
    if block.is_null() {
        return Status::NO_MEMORY.raw();
    }
    // SAFETY: just allocated, with room for both.
    unsafe { ptr::copy_nonoverlapping(data.as_ptr(), block, data.len()) };
    // SAFETY: as above.
    let rest = unsafe { block.add(data.len()) };
    // SAFETY: as above.
    unsafe { ptr::copy_nonoverlapping(end.as_ptr(), rest, end.len()) };
    // SAFETY: by the contract.
    unsafe { out.write(block.cast()) };
    0
}

unsafe extern "C" fn store_acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: the table's contract.
    let caller = unsafe { caller(this) };
    match caller.fdo() {
        Ok(fdo) => acquire(&fdo.references().store, fdo.bus()),
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn store_release(this: *mut Interface) {
    // SAFETY: the table's contract.
    if let Ok(fdo) = unsafe { caller(this) }.fdo() {
        release(&fdo.references().store);
    }
}

unsafe extern "C" fn free(_this: *mut Interface, buffer: *mut c_char) {
    if !buffer.is_null() {
        // SAFETY: a buffer of `give` (table's contract: given back once).
        unsafe { sys::ExFreePoolWithTag(buffer.cast(), BUFFER) };
    }
}

/// A request of the facade that has a buffer as its result.
type Fetch = fn(&Store<'_>, Option<&Transaction>, Option<&[u8]>, &[u8]) -> Result<Text>;

/// Makes a request and gives its result to the requester.
///
/// # Safety
/// The table's contract for these arguments.
unsafe fn fetch(
    this: *mut Interface,
    transaction: *mut RawTransaction,
    (prefix, node): (*const c_char, *const c_char),
    buffer: *mut *mut c_char,
    request: Fetch,
) -> NtStatus {
    // SAFETY: by the contract.
    let (tx, prefix, node) = unsafe { path(transaction, prefix, node) };
    // SAFETY: by the contract.
    let text = unsafe { with(this, |store| request(store, tx, prefix, node)) };
    // SAFETY: by the contract: `buffer` is valid.
    unsafe { give(text, buffer) }
}

unsafe extern "C" fn read(
    this: *mut Interface,
    transaction: *mut RawTransaction,
    prefix: *const c_char,
    node: *const c_char,
    buffer: *mut *mut c_char,
) -> NtStatus {
    let request: Fetch = |store, tx, prefix, node| store.read(tx, prefix, node);
    // SAFETY: the table's contract.
    unsafe { fetch(this, transaction, (prefix, node), buffer, request) }
}

unsafe extern "C" fn directory(
    this: *mut Interface,
    transaction: *mut RawTransaction,
    prefix: *const c_char,
    node: *const c_char,
    buffer: *mut *mut c_char,
) -> NtStatus {
    let request: Fetch = |store, tx, prefix, node| store.directory(tx, prefix, node);
    // SAFETY: the table's contract.
    unsafe { fetch(this, transaction, (prefix, node), buffer, request) }
}

/// The arguments that say where.
///
/// # Safety
/// The table's contract for these three.
unsafe fn path<'a>(
    transaction: *mut RawTransaction,
    prefix: *const c_char,
    node: *const c_char,
) -> (Option<&'a Transaction>, Option<&'a [u8]>, &'a [u8]) {
    // SAFETY: by the contract.
    let tx = unsafe { peek(transaction) };
    // SAFETY: by the contract.
    let prefix = unsafe { text(prefix) };
    // SAFETY: by the contract.
    let node = unsafe { text(node) };
    (tx, prefix, node.unwrap_or_default())
}

unsafe extern "C" fn permissions_set(
    this: *mut Interface,
    transaction: *mut RawTransaction,
    prefix: *const c_char,
    node: *const c_char,
    permissions: *const RawPermission,
    count: u32,
) -> NtStatus {
    if count > PERMISSIONS_MAX || (permissions.is_null() && count != 0) {
        return Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: the table's contract.
    let (tx, prefix, node) = unsafe { path(transaction, prefix, node) };
    let mut list = Vec::new(super::TAG);
    for index in 0..count as usize {
        // SAFETY: the table's contract: `count` entries.
        let entry = unsafe { permissions.add(index) };
        // SAFETY: as above.
        let RawPermission { domain, mask } = unsafe { entry.read() };
        if let Err(status) = list.try_push(Permission { domain, mask }) {
            return status.raw();
        }
    }
    // SAFETY: the table's contract.
    Status::of(&unsafe { with(this, |store| store.permissions_set(tx, prefix, node, &list)) })
}

unsafe extern "C" fn remove(
    this: *mut Interface,
    transaction: *mut RawTransaction,
    prefix: *const c_char,
    node: *const c_char,
) -> NtStatus {
    // SAFETY: the table's contract.
    let (tx, prefix, node) = unsafe { path(transaction, prefix, node) };
    // SAFETY: the table's contract.
    Status::of(&unsafe { with(this, |store| store.remove(tx, prefix, node)) })
}

unsafe extern "C" fn transaction_start(
    this: *mut Interface,
    out: *mut *mut RawTransaction,
) -> NtStatus {
    if out.is_null() {
        return Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: the table's contract.
    let started = unsafe { with(this, |store| handle(store.transaction_start()?)) };
    let (status, transaction) = started.map_or_else(
        |status| (status.raw(), ptr::null_mut()),
        |transaction| (0, transaction),
    );
    // SAFETY: the table's contract: `out` is valid.
    unsafe { out.write(transaction) };
    status
}

unsafe extern "C" fn transaction_end(
    this: *mut Interface,
    transaction: *mut RawTransaction,
    commit: u8,
) -> NtStatus {
    // SAFETY: the table's contract: ended once.
    let Some(tx) = (unsafe { take::<Transaction, _>(transaction) }) else {
        return Status::INVALID_PARAMETER.raw();
    };
    // SAFETY: the table's contract.
    Status::of(&unsafe { with(this, |store| store.transaction_end(tx, commit != 0)) })
}

/// Sets the KEVENT of a watch.
fn signal(callback: &Callback, _result: Result<&[u8]>) {
    // SAFETY: the requester's event, in non-paged memory until the watch is removed; no wait follows.
    unsafe { sys::KeSetEvent(callback.context as *mut sys::KEVENT, 0, 0) };
}

unsafe extern "C" fn watch_add(
    this: *mut Interface,
    prefix: *const c_char,
    node: *const c_char,
    event: *mut store::KEvent,
    out: *mut *mut RawWatch,
) -> NtStatus {
    if event.is_null() || out.is_null() {
        return Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: the table's contract.
    let (_, prefix, node) = unsafe { path(ptr::null_mut(), prefix, node) };
    let callback = Callback {
        call: signal,
        routine: 0,
        context: event as usize,
    };
    // SAFETY: the table's contract.
    match unsafe {
        with(this, |store| {
            handle(store.watch_add(prefix, node, callback)?)
        })
    } {
        Ok(watch) => {
            // SAFETY: the table's contract: `out` is valid.
            unsafe { out.write(watch) };
            0
        }
        Err(status) => status.raw(),
    }
}

unsafe extern "C" fn watch_remove(this: *mut Interface, watch: *mut RawWatch) -> NtStatus {
    // SAFETY: the table's contract: removed once.
    let Some(watch) = (unsafe { take::<LegacyWatch, _>(watch) }) else {
        return Status::INVALID_PARAMETER.raw();
    };
    // SAFETY: the table's contract.
    Status::of(&unsafe { with(this, |store| store.watch_remove(watch)) })
}

unsafe extern "C" fn poll(this: *mut Interface) {
    // SAFETY: the table's contract.
    let _ = unsafe { with(this, |store| Ok(store.poll())) };
}

variadic!(printf_thunk => print);

/// `slots`: Interface, Transaction, Prefix, Node, Format, then the variable arguments.
unsafe extern "C" fn print(slots: *const u64) -> NtStatus {
    // SAFETY: the five declared arguments.
    let [this, transaction, prefix, node, format] = unsafe { slots.cast::<[usize; 5]>().read() };
    // SAFETY: behind them.
    let mut arguments = VaList(unsafe { slots.add(5) });
    // SAFETY: the table's contract.
    let (tx, prefix, node) =
        unsafe { path(transaction as *mut _, prefix as *const _, node as *const _) };
    // SAFETY: the table's contract.
    let format = unsafe { text(format as *const c_char) }.unwrap_or_default();
    let this = this as *mut Interface;
    // SAFETY: the table's contract.
    Status::of(&unsafe {
        with(this, |store| {
            store.printf(tx, prefix, node, format.iter().copied(), &mut arguments)
        })
    })
}

const _: () = assert!(StoreV2::VERSION == 2);
