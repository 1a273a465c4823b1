// SPDX-License-Identifier: BSD-2-Clause
//! I/O request packets: allocation, the way down, the way up, cancellation.
//!
//! `IofCallDriver` moves one stack location down and calls the dispatch routine; `IofCompleteRequest` walks up,
//! calling completion routines until one takes the IRP back. No lock is held over a driver's routine.
//! What drivers must not do is checked through [`super::track`].

use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use super::layout::{device, driver, irp, major, stack};
use super::track::{self, Finish, Wrong};
use crate::ke::irql;
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::verifier;

const TAG: u32 = u32::from_le_bytes(*b"Irp ");

/// Reports the use of something that is not a live IRP.
fn check(request: Ptr, gone: &'static str) {
    match track::check(request) {
        Ok(()) => {}
        Err(Wrong::Gone) => verifier::fail(gone, format_args!("IRP {request}")),
        Err(Wrong::Unknown) => verifier::fail("bad_irp", format_args!("{request} is not an IRP")),
    }
}

fn initialize(request: Ptr, size: usize, stack_size: u8) {
    request.fill(0, size);
    request.set(0, irp::TYPE);
    request.set(2, size as u16);
    request.set(irp::STACK_COUNT, stack_size);
    request.set(irp::CURRENT_LOCATION, stack_size + 1);
    request.set(
        irp::CURRENT_STACK,
        request.add(irp::SIZE + stack::SIZE * usize::from(stack_size)),
    );
    let list = request.add(irp::THREAD_LIST);
    list.set(0, list);
    list.set(8, list);
}

fn allocate(stack_size: u8, finish: Option<Finish>) -> Ptr {
    let size = irp::SIZE + stack::SIZE * usize::from(stack_size);
    let request = crate::ex::pool::allocate(size, TAG);
    if !request.is_null() {
        initialize(request, size, stack_size);
        track::add(request, finish);
    }
    request
}

fn free(request: Ptr) {
    if track::remove(request) {
        verifier::fail(
            "irp_freed_in_flight",
            format_args!("a driver still has IRP {request}"),
        );
    }
    crate::ex::pool::free(request);
}

/// Makes an IRP of the kernel's own; `finish` runs when all drivers are done with it, and then it is freed.
pub fn build(stack_size: u8, finish: Finish) -> Ptr {
    allocate(stack_size, Some(finish))
}

/// The current stack location.
pub fn current(request: Ptr) -> Ptr {
    request.ptr(irp::CURRENT_STACK)
}

/// The location that the next driver will get.
pub fn next(request: Ptr) -> Ptr {
    current(request).sub(stack::SIZE)
}

fn location(request: Ptr) -> u8 {
    request.get(irp::CURRENT_LOCATION)
}

/// Hands an IRP to a device; the status is what its driver's dispatch routine returned.
pub fn call(object: Ptr, request: Ptr) -> NtStatus {
    check(request, "irp_forwarded_after_completion");
    super::device::check(object);
    let at = location(request);
    if at <= 1 {
        verifier::fail(
            "irp_no_more_stack",
            format_args!("IRP {request} has no location for {object}"),
        );
    }
    let at = at - 1;
    request.set(irp::CURRENT_LOCATION, at);
    let here = next(request);
    request.set(irp::CURRENT_STACK, here);
    here.set(stack::DEVICE, object);
    let function: u8 = here.get(stack::MAJOR);
    let minor: u8 = here.get(stack::MINOR);
    if usize::from(function) >= driver::MAJORS {
        verifier::fail(
            "irp_bad_major",
            format_args!("major function {function:#x}"),
        );
    }
    if function == major::PNP && irql::current() != irql::PASSIVE {
        verifier::fail(
            "pnp_irp_irql",
            format_args!("PnP IRP {minor:#x} at IRQL {}", irql::current()),
        );
    }
    let routine = object
        .ptr(device::DRIVER)
        .ptr(driver::MAJOR + 8 * usize::from(function));
    let who = super::driver::name_of(object.ptr(device::DRIVER));
    let marked = || here.get::<u8>(stack::CONTROL) & stack::PENDING != 0;
    let record = track::open_call(request, at, &who, marked());
    let result =
        verifier::call::driver("Dispatch", routine, &[object.0, request.0]) as u32 as NtStatus;
    if let Some(wrong) = track::close_call(request, record, result == status::PENDING, marked) {
        let who = verifier::Caller {
            driver: who,
            export: "Dispatch",
        };
        let detail =
            format_args!("{wrong}: major {function:#x} minor {minor:#x} status {result:#x}");
        verifier::fail_as(&who, "irp_pending_mismatch", detail);
    }
    result
}

/// Clears a location that is done with, as NT does before it calls the completion routine.
fn retire(at: Ptr) {
    at.set(stack::MINOR, 0u8);
    at.set(stack::FLAGS, 0u8);
    at.set(stack::CONTROL, 0u8);
    at.add(stack::PARAMETERS).fill(0, 0x20);
    at.set(stack::FILE, Ptr::NULL);
}

/// Completes an IRP: walks up its stack.
pub fn complete(request: Ptr) {
    check(request, "irp_completed_twice");
    if location(request) > request.get::<u8>(irp::STACK_COUNT) + 1 {
        verifier::fail(
            "irp_completed_twice",
            format_args!("IRP {request} is past its stack"),
        );
    }
    if request.get::<i32>(irp::STATUS) == status::PENDING {
        verifier::fail(
            "irp_completed_pending",
            format_args!("IRP {request} has STATUS_PENDING"),
        );
    }
    if !request.ptr(irp::CANCEL_ROUTINE).is_null() {
        verifier::fail(
            "irp_cancel_routine_set",
            format_args!("IRP {request} is still cancelable"),
        );
    }
    let count: u8 = request.get(irp::STACK_COUNT);
    while location(request) <= count {
        let at = current(request);
        let control: u8 = at.get(stack::CONTROL);
        let pending = control & stack::PENDING;
        if let Some(driver) = track::pass(request, location(request), pending != 0) {
            let who = verifier::Caller {
                driver,
                export: "Dispatch",
            };
            let detail =
                format_args!("returned STATUS_PENDING, but IRP {request} is not marked pending");
            verifier::fail_as(&who, "irp_pending_mismatch", detail);
        }
        request.set(irp::PENDING_RETURNED, pending);
        request.set(irp::CURRENT_LOCATION, location(request) + 1);
        request.set(irp::CURRENT_STACK, at.add(stack::SIZE));
        let is_top = location(request) > count;
        let wanted = match status::success(request.get(irp::STATUS)) {
            true => stack::ON_SUCCESS,
            false => stack::ON_ERROR,
        };
        let cancelled = request.get::<u8>(irp::CANCEL) != 0 && control & stack::ON_CANCEL != 0;
        retire(at);
        if control & wanted != 0 || cancelled {
            let owner = if is_top {
                Ptr::NULL
            } else {
                current(request).ptr(stack::DEVICE)
            };
            let args = [owner.0, request.0, at.ptr(stack::CONTEXT).0];
            let result = verifier::call::driver("CompletionRoutine", at.ptr(stack::ROUTINE), &args);
            if result as u32 as NtStatus == status::MORE_PROCESSING_REQUIRED {
                return;
            }
        } else if pending != 0 && !is_top {
            let above = current(request);
            above.set(
                stack::CONTROL,
                above.get::<u8>(stack::CONTROL) | stack::PENDING,
            );
        }
    }
    match track::take_finish(request) {
        Some(finish) => {
            track::remove(request);
            finish(request);
            crate::ex::pool::free(request);
        }
        None => verifier::fail(
            "irp_completed_unowned",
            format_args!("nobody takes back IRP {request}, which a driver allocated"),
        ),
    }
}

pub(super) extern "win64" fn io_allocate(stack_size: u8, _quota: u8) -> Ptr {
    if crate::ex::pool::shall_fail() {
        return Ptr::NULL;
    }
    allocate(stack_size, None)
}

pub(super) extern "win64" fn io_free(request: Ptr) {
    check(request, "irp_freed_twice");
    free(request);
}

pub(super) extern "win64" fn io_initialize(request: Ptr, size: u16, stack_size: u8) {
    initialize(request, usize::from(size), stack_size);
    track::add(request, None);
}

pub(super) extern "win64" fn io_reuse(request: Ptr, initial: NtStatus) {
    check(request, "irp_freed_twice");
    let flags: u8 = request.get(irp::ALLOCATION_FLAGS);
    let size: u16 = request.get(2);
    initialize(request, usize::from(size), request.get(irp::STACK_COUNT));
    request.set(irp::ALLOCATION_FLAGS, flags);
    request.set(irp::STATUS, initial);
}

pub(super) extern "win64" fn io_call(object: Ptr, request: Ptr) -> NtStatus {
    call(object, request)
}

pub(super) extern "win64" fn io_complete(request: Ptr, _boost: u8) {
    complete(request);
}

/// Makes an IRP that copies its result to `iosb`, sets `event` and frees itself.
pub(super) fn build_for(object: Ptr, function: u8, event: Ptr, iosb: Ptr, done: Finish) -> Ptr {
    super::device::check(object);
    if crate::ex::pool::shall_fail() {
        return Ptr::NULL;
    }
    let finish = move |request: Ptr| {
        done(request);
        if !iosb.is_null() {
            iosb.set(8, request.get::<u64>(irp::INFORMATION));
            iosb.set(0, request.get::<i32>(irp::STATUS));
        }
        if !event.is_null() {
            crate::ke::event::set(event);
        }
    };
    let request = allocate(object.get(device::STACK_SIZE), Some(Box::new(finish)));
    if !request.is_null() {
        next(request).set(stack::MAJOR, function);
        request.set(irp::USER_IOSB, iosb);
        request.set(irp::USER_EVENT, event);
        request.set(irp::THREAD, Ptr(crate::arch::current_thread()));
    }
    request
}

struct Cancel {
    word: u64,
}

/// The cancel spin lock, in the form that the spin lock calls take.
static CANCEL: Lock<Cancel> = Lock::new(Cancel { word: 0 });

/// Takes the cancel spin lock; returns the IRQL before.
fn take_cancel_lock() -> u8 {
    let old = irql::raise(irql::DISPATCH);
    while core::mem::replace(&mut CANCEL.lock().word, 1) != 0 {
        crate::arch::pause();
    }
    old
}

fn drop_cancel_lock(old: u8) {
    if core::mem::replace(&mut CANCEL.lock().word, 0) == 0 {
        verifier::fail(
            "cancel_lock_not_held",
            format_args!("release of the cancel spin lock"),
        );
    }
    irql::lower(old);
}

pub(super) extern "win64" fn io_acquire_cancel(old: Ptr) {
    old.set(0, take_cancel_lock());
}

pub(super) extern "win64" fn io_release_cancel(old: u8) {
    drop_cancel_lock(old);
}

pub(super) extern "win64" fn io_cancel(request: Ptr) -> u8 {
    check(request, "irp_cancelled_after_completion");
    let old = take_cancel_lock();
    request.set(irp::CANCEL, 1u8);
    let routine = request
        .atomic64(irp::CANCEL_ROUTINE)
        .swap(0, Ordering::SeqCst);
    if routine == 0 {
        drop_cancel_lock(old);
        return 0;
    }
    request.set(irp::CANCEL_IRQL, old);
    let object = current(request).ptr(stack::DEVICE);
    let who = super::driver::name_of(object.ptr(device::DRIVER));
    type Routine = extern "win64" fn(Ptr, Ptr);
    // The routine releases the lock, so it returns at a lower IRQL than it was called at, which the usual way
    // into a driver would report.
    // SAFETY: the driver set this routine for this IRP.
    let run = unsafe { core::mem::transmute::<usize, Routine>(routine as usize) };
    run(object, request);
    if irql::current() != old {
        let who = verifier::Caller {
            driver: who,
            export: "CancelRoutine",
        };
        let detail = format_args!("returned at IRQL {} instead of {old}", irql::current());
        verifier::fail_as(&who, "cancel_lock_held", detail);
    }
    1
}

extern "win64" fn caught(_object: Ptr, _request: Ptr, event: Ptr) -> NtStatus {
    crate::ke::event::set(event);
    status::MORE_PROCESSING_REQUIRED
}

pub(super) extern "win64" fn io_forward_synchronously(object: Ptr, request: Ptr) -> u8 {
    check(request, "irp_forwarded_after_completion");
    if location(request) <= 1 {
        return 0;
    }
    let event = crate::ke::event::Event::new(false);
    let to = next(request);
    to.copy_within(current(request), stack::ROUTINE);
    to.set(stack::ROUTINE, Ptr(caught as *const () as usize));
    to.set(stack::CONTEXT, event.ptr());
    to.set(
        stack::CONTROL,
        stack::ON_CANCEL | stack::ON_SUCCESS | stack::ON_ERROR,
    );
    call(object, request);
    event.wait(crate::ke::wait::Timeout::Never);
    1
}

pub(super) extern "win64" fn io_set_completion_ex(
    _object: Ptr,
    request: Ptr,
    routine: Ptr,
    context: Ptr,
    on_success: u8,
    on_error: u8,
    on_cancel: u8,
) -> NtStatus {
    let to = next(request);
    let bit = |on: u8, bit: u8| if on != 0 { bit } else { 0 };
    to.set(stack::ROUTINE, routine);
    to.set(stack::CONTEXT, context);
    to.set(
        stack::CONTROL,
        bit(on_success, stack::ON_SUCCESS)
            | bit(on_error, stack::ON_ERROR)
            | bit(on_cancel, stack::ON_CANCEL),
    );
    status::SUCCESS
}
