// SPDX-License-Identifier: BSD-2-Clause
//! Suspends and time over scripted tables.

use core::ffi::c_void;
use core::future::Future;
use core::pin::pin;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::sync::Mutex;
use std::vec::Vec;

use kexec::nt::sys::fake;
use kexec::{Passive, Status};

use super::TAG;
use crate::client::{SharedInfo, Suspend};
use crate::interface::{Interface, NtStatus};
use crate::shared_info::SharedInfoV4;
use crate::suspend::{CALLBACK_LATE, Callback, Function, SuspendV1};

/// The suspend service of a scripted bus.
#[derive(Default)]
pub(super) struct Provider {
    references: AtomicU32,
    count: AtomicU32,
    refuse: AtomicU32,
    callbacks: Mutex<Vec<(usize, Function, usize)>>,
}

impl Provider {
    /// Its table. The provider must outlive what is made from it.
    pub(super) fn table(&self) -> SuspendV1 {
        SuspendV1 {
            interface: Interface::of::<SuspendV1>(ptr::from_ref(self).cast_mut().cast()),
            acquire,
            release,
            register,
            deregister,
            trigger,
            get_count,
        }
    }

    /// # Safety
    /// `this` is a copy of the provider's table.
    unsafe fn of<'a>(this: *mut Interface) -> &'a Self {
        // SAFETY: by the contract.
        let context = unsafe { (*this).context };
        // SAFETY: the provider outlives what is made from it.
        unsafe { &*context.cast::<Self>() }
    }

    /// A suspend was survived.
    pub(super) fn resume(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        let callbacks = self.callbacks.lock().expect("lock").clone();
        for (_, function, argument) in callbacks {
            // SAFETY: registered, so callable.
            unsafe { function(argument as *mut c_void) };
        }
    }
}

unsafe extern "C" fn acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    if provider.refuse.load(Ordering::SeqCst) == 1 {
        return Status::DEVICE_NOT_READY.raw();
    }
    provider.references.fetch_add(1, Ordering::SeqCst);
    0
}

unsafe extern "C" fn release(this: *mut Interface) {
    // SAFETY: called with the table.
    unsafe { Provider::of(this) }
        .references
        .fetch_sub(1, Ordering::SeqCst);
}

unsafe extern "C" fn register(
    this: *mut Interface,
    kind: u32,
    function: Option<Function>,
    argument: *mut c_void,
    callback: *mut *mut Callback,
) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    if provider.refuse.load(Ordering::SeqCst) == 2 {
        return Status::INSUFFICIENT_RESOURCES.raw();
    }
    assert_eq!(kind, CALLBACK_LATE);
    let mut callbacks = provider.callbacks.lock().expect("lock");
    let handle = 0x100 + callbacks.len();
    callbacks.push((handle, function.expect("a function"), argument as usize));
    // SAFETY: a valid pointer.
    unsafe { callback.write(handle as *mut Callback) };
    0
}

unsafe extern "C" fn deregister(this: *mut Interface, callback: *mut Callback) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    let mut callbacks = provider.callbacks.lock().expect("lock");
    callbacks.retain(|(handle, ..)| *handle != callback as usize);
}

unsafe extern "C" fn trigger(this: *mut Interface) -> NtStatus {
    // SAFETY: called with the table.
    unsafe { Provider::of(this) }.resume();
    0
}

unsafe extern "C" fn get_count(this: *mut Interface) -> u32 {
    // SAFETY: called with the table.
    unsafe { Provider::of(this) }.count.load(Ordering::SeqCst)
}

unsafe extern "C" fn supported(_this: *mut Interface, _index: u32) -> u8 {
    1
}
unsafe extern "C" fn poll(
    _this: *mut Interface,
    _index: u32,
    _event: Option<crate::shared_info::Event>,
    _argument: *mut c_void,
) -> u8 {
    0
}
unsafe extern "C" fn port(_this: *mut Interface, _port: u32) {}
unsafe extern "C" fn unmask(_this: *mut Interface, _port: u32) -> u8 {
    0
}
unsafe extern "C" fn get_time(_this: *mut Interface, time: *mut i64, local: *mut u8) {
    // SAFETY: valid pointers.
    unsafe { time.write(1_234_567) };
    // SAFETY: as above.
    unsafe { local.write(4) };
}

#[test]
fn a_stream_of_resumes_reports_each_once_and_gives_everything_back() {
    let _session = fake::boot();
    let provider = Box::<Provider>::default();
    // SAFETY: the provider outlives it.
    let suspend = unsafe { Suspend::from_table(TAG, provider.table()) }.expect("memory");
    assert_eq!(provider.references.load(Ordering::SeqCst), 1);
    let resumes = suspend.resumes().expect("memory");
    let mut cx = Context::from_waker(Waker::noop());
    {
        let mut next = pin!(resumes.next());
        assert_eq!(next.as_mut().poll(&mut cx), Poll::Pending);
        suspend.trigger(Passive::assert()).expect("scripted");
        assert_eq!(next.as_mut().poll(&mut cx), Poll::Ready(1));
    }
    // Two that nobody looked at are one.
    provider.resume();
    provider.resume();
    assert_eq!(pin!(resumes.next()).poll(&mut cx), Poll::Ready(3));
    assert_eq!(pin!(resumes.next()).poll(&mut cx), Poll::Pending);
    assert_eq!(suspend.count(), 3);
    drop(resumes);
    assert!(provider.callbacks.lock().expect("lock").is_empty());
    drop(suspend);
    assert_eq!(provider.references.load(Ordering::SeqCst), 0);
}

#[test]
fn a_refused_acquisition_or_registration_leaves_nothing() {
    let _session = fake::boot();
    let provider = Box::<Provider>::default();
    provider.refuse.store(1, Ordering::SeqCst);
    // SAFETY: the provider outlives it.
    let refused = unsafe { Suspend::from_table(TAG, provider.table()) };
    assert_eq!(refused.err(), Some(Status::DEVICE_NOT_READY));
    provider.refuse.store(2, Ordering::SeqCst);
    // SAFETY: as above.
    let suspend = unsafe { Suspend::from_table(TAG, provider.table()) }.expect("accepted");
    let refused = suspend.resumes().err();
    assert_eq!(refused, Some(Status::INSUFFICIENT_RESOURCES));
    drop(suspend);
    assert_eq!(provider.references.load(Ordering::SeqCst), 0);
}

#[test]
fn time_comes_with_its_kind() {
    let _session = fake::boot();
    let provider = Box::<Provider>::default();
    let table = SharedInfoV4 {
        interface: Interface::of::<SharedInfoV4>(ptr::from_ref(&*provider).cast_mut().cast()),
        acquire,
        release,
        upcall_supported: supported,
        upcall_pending: supported,
        evtchn_poll: poll,
        evtchn_ack: port,
        evtchn_mask: port,
        evtchn_unmask: unmask,
        get_time,
    };
    // SAFETY: the provider outlives it.
    let info = unsafe { SharedInfo::from_table(table) }.expect("accepted");
    let time = info.time();
    // A BOOLEAN is true when it is not zero.
    assert_eq!((time.ticks, time.local), (1_234_567, true));
    drop(info);
    assert_eq!(provider.references.load(Ordering::SeqCst), 0);
}
