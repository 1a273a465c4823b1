// SPDX-License-Identifier: BSD-2-Clause
//! The interface tables that children call: thunks between C arguments and [`crate::facade`].
//!
//! The context of every table is the address of the parent's [`Fdo`], of the store's tables that of the child's [`Caller`]. A thunk looks up what exists since the last start, turns
//! pointers into slices and handles into objects, and calls the facade; it decides nothing. Handles are pool boxes that the call
//! which ends them takes back, whatever its result. A child that passes a bad pointer breaks the kernel like any other driver;
//! what can be checked (NULL, lengths, kinds, versions) is.

mod cache;
mod console;
mod debug;
mod evtchn;
mod gnttab;
mod range_set;
mod shared_info;
mod store;
mod store_async;
mod suspend;
mod unplug;

pub(super) use cache::Child;
use core::ffi::c_char;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};

use kexec::nt::wdm::{Device, QueryInterface};
use kexec::nt::{Arc, Box, sys};
use kexec::{Passive, Result, Status, warn};
use xenbus_interface::{Guid, Interface};

use super::TAG;
use super::bus::Bus;
use super::driver::Extension;
use super::fdo::{Fdo, parameters};
use crate::facade::printf::Arguments;
use crate::interfaces;
use crate::store::Client;
use crate::store::queue::LANES;

/// References that children hold, by interface.
#[derive(Default)]
pub(super) struct References {
    store: AtomicU32,
    store_async: AtomicU32,
    evtchn: AtomicU32,
    shared_info: AtomicU32,
    gnttab: AtomicU32,
    cache: AtomicU32,
    range_set: AtomicU32,
    console: AtomicU32,
    debug: AtomicU32,
    unplug: AtomicU32,
    suspend: AtomicU32,
}

impl References {
    /// Says who still holds references at a stop.
    pub(super) fn report(&self) {
        for (name, count) in [
            ("STORE", &self.store),
            ("STORE_ASYNC", &self.store_async),
            ("EVTCHN", &self.evtchn),
            ("SHARED_INFO", &self.shared_info),
            ("GNTTAB", &self.gnttab),
            ("CACHE", &self.cache),
            ("RANGE_SET", &self.range_set),
            ("CONSOLE", &self.console),
            ("DEBUG", &self.debug),
            ("SUSPEND", &self.suspend),
        ] {
            let count = count.load(Ordering::Acquire);
            if count != 0 {
                warn!("xenbus: {count} references to {name} outstanding");
            }
        }
    }
}

/// Answers QUERY_INTERFACE for everything but the bus interface.
///
/// # Errors
/// As [`interfaces::query`].
pub(super) fn answer(fdo: &Fdo, caller: &Caller, query: &QueryInterface) -> Result {
    let answer = interfaces::query(Guid::from_bytes(query.guid()), query.version, query.size)?;
    let context = core::ptr::from_ref(fdo).cast_mut().cast();
    let caller = core::ptr::from_ref(caller).cast_mut().cast();
    match (answer.name, answer.version) {
        ("STORE", 2) => query.answer(store::table(caller)),
        ("STORE_ASYNC", 1) if offers_async_store() => query.answer(store_async::table(caller)),
        ("CONSOLE", 1) => query.answer(console::table(context)),
        ("DEBUG", 1) => query.answer(debug::table(context)),
        ("UNPLUG", 1) => query.answer(unplug::v1(context)),
        ("UNPLUG", 2) => query.answer(unplug::v2(context)),
        ("UNPLUG", 3) => query.answer(unplug::v3(context)),
        ("SUSPEND", 1) => query.answer(suspend::v1(context)),
        ("SHARED_INFO", 2) => query.answer(shared_info::v2(context)),
        ("SHARED_INFO", 3) => query.answer(shared_info::v3(context)),
        ("SHARED_INFO", 4) => query.answer(shared_info::v4(context)),
        ("RANGE_SET", 1) => query.answer(range_set::v1(context)),
        ("CACHE", 1) => query.answer(cache::v1(context)),
        ("CACHE", 2) => query.answer(cache::v2(context)),
        ("GNTTAB", 2) => query.answer(gnttab::v2(context)),
        ("GNTTAB", 3) => query.answer(gnttab::v3(context)),
        ("GNTTAB", 4) => query.answer(gnttab::v4(context)),
        ("EVTCHN", 5) => query.answer(evtchn::v5(context)),
        ("EVTCHN", 6) => query.answer(evtchn::v6(context)),
        ("EVTCHN", 7) => query.answer(evtchn::v7(context)),
        ("EVTCHN", 8) => query.answer(evtchn::v8(context)),
        ("EVTCHN", 9) => query.answer(evtchn::v9(context)),
        _ => Err(Status::NOT_SUPPORTED),
    }
}

/// Whether children find the asynchronous store. `AsyncStore` = 0 in the bus's parameters hides it, so that they meet a bus like
/// the C package's.
fn offers_async_store() -> bool {
    let value = Passive::here().ok_or(Status::INVALID_DEVICE_STATE);
    let value = value.and_then(parameters);
    let value = value.and_then(|key| key.query_dword(kexec::wstr!("AsyncStore")));
    value.map_or(true, |value| value != 0)
}

/// Who calls: a child, as the store tells them apart. Its address is the context of the store tables.
pub(super) struct Caller {
    fdo: Device<Extension>,
    lane: u8,
}

impl Caller {
    /// The next child of `fdo`. The bus driver's own requests have lane 0.
    pub(super) fn new(fdo: Device<Extension>) -> Self {
        static CHILDREN: AtomicU32 = AtomicU32::new(0);
        let lane = 1 + CHILDREN.fetch_add(1, Ordering::Relaxed) % (LANES as u32 - 1);
        Self {
            fdo,
            lane: lane as u8,
        }
    }

    /// The parent's device.
    fn fdo(&self) -> Result<&Fdo> {
        match self.fdo.state() {
            Extension::Fdo(fdo) => Ok(fdo),
            Extension::Pdo(_) => Err(Status::INVALID_DEVICE_STATE),
        }
    }

    /// What exists since the last start.
    fn bus(&self) -> Result<Arc<Bus>> {
        self.fdo()?.bus()
    }

    /// The store, on the child's lane.
    fn client(&self, bus: &Bus) -> Client {
        bus.client().on_lane(self.lane)
    }
}

/// The child behind a store table.
///
/// # Safety
/// `this` is a requester's copy of a store table, and the requester's device is still attached.
unsafe fn caller<'a>(this: *mut Interface) -> &'a Caller {
    // SAFETY: by the contract.
    let context = unsafe { (*this).context };
    // SAFETY: the context that `answer` stored; the child's device object lives while something is attached to it.
    unsafe { &*context.cast::<Caller>() }
}

/// The parent's device behind a table.
///
/// # Safety
/// `this` is a requester's copy of one of our tables, and the requester's device is still attached.
unsafe fn fdo<'a>(this: *mut Interface) -> &'a Fdo {
    // SAFETY: by the contract.
    let context = unsafe { (*this).context };
    // SAFETY: the context that `answer` stored; the device object lives while a child does.
    unsafe { &*context.cast::<Fdo>() }
}

/// What exists since the last start.
///
/// # Safety
/// As [`fdo`].
unsafe fn bus(this: *mut Interface) -> Result<Arc<Bus>> {
    // SAFETY: passed on.
    unsafe { fdo(this) }.bus()
}

fn acquire(count: &AtomicU32, bus: Result<Arc<Bus>>) -> i32 {
    match bus {
        Ok(_) => {
            self::count(count);
            0
        }
        Err(status) => status.raw(),
    }
}

fn count(count: &AtomicU32) {
    count.fetch_add(1, Ordering::AcqRel);
}

fn release(count: &AtomicU32) {
    // A child that releases too often is wrong, and harms only itself.
    let _ = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
}

/// A NUL-terminated string; `None` for NULL.
///
/// # Safety
/// `text` is NULL or terminated and stays unchanged for `'a`.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by the contract.
    Some(unsafe { core::ffi::CStr::from_ptr(text) }.to_bytes())
}

/// Bytes with a length; empty for NULL.
///
/// # Safety
/// `data` is NULL or has `length` bytes that stay unchanged for `'a`.
unsafe fn bytes<'a>(data: *const u8, length: u32) -> &'a [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: by the contract.
    unsafe { core::slice::from_raw_parts(data, length as usize) }
}

/// A handle for `value`.
fn handle<T, H>(value: T) -> Result<*mut H> {
    Ok(Box::try_new(TAG, value)?.into_raw().as_ptr().cast())
}

/// The object of a handle, which is ended by this.
///
/// # Safety
/// The handle came from [`handle`] with the same type, and was not taken before.
unsafe fn take<T, H>(handle: *mut H) -> Option<T> {
    let pointer = NonNull::new(handle.cast::<T>())?;
    // SAFETY: by the contract.
    Some(unsafe { Box::from_raw(pointer, TAG) }.into_inner())
}

/// The object of a handle.
///
/// # Safety
/// The handle came from [`handle`] with the same type, and is not taken during `'a`.
unsafe fn peek<'a, T, H>(handle: *mut H) -> Option<&'a T> {
    // SAFETY: by the contract.
    unsafe { handle.cast::<T>().as_ref() }
}

/// Defines `$thunk`, a method with variable arguments: it homes the register arguments, so that all arguments are consecutive
/// slots, and passes their address to `$print`.
///
/// A leaf: it changes no stack pointer, so it needs no unwind data.
macro_rules! variadic {
    ($thunk:ident => $print:ident) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $thunk() {
            core::arch::naked_asm!(
                "mov [rsp + 0x08], rcx",
                "mov [rsp + 0x10], rdx",
                "mov [rsp + 0x18], r8",
                "mov [rsp + 0x20], r9",
                "lea rcx, [rsp + 0x08]",
                "jmp {print}",
                print = sym $print,
            )
        }
    };
}
use variadic;

/// The slots of a call with variable arguments.
struct VaList(*const u64);

impl Arguments for VaList {
    fn slot(&mut self) -> u64 {
        // SAFETY: the formatter asks for no more arguments than the format names; the caller passed those.
        let value = unsafe { self.0.read() };
        // SAFETY: as above.
        self.0 = unsafe { self.0.add(1) };
        value
    }

    fn narrow(&self, address: u64, index: usize) -> u8 {
        // SAFETY: the caller's string, read up to its terminator or precision.
        let at = unsafe { (address as *const u8).add(index) };
        // SAFETY: as above.
        unsafe { at.read() }
    }

    fn wide(&self, address: u64, index: usize) -> u16 {
        // SAFETY: the caller's string, read up to its terminator or precision.
        let at = unsafe { (address as *const u16).add(index) };
        // SAFETY: as above.
        unsafe { at.read() }
    }

    fn counted(&self, address: u64) -> (u16, u64) {
        // SAFETY: the caller's ANSI_STRING or UNICODE_STRING, which have one layout.
        let string = unsafe { (address as *const sys::UNICODE_STRING).read() };
        (string.Length, string.Buffer as u64)
    }
}
