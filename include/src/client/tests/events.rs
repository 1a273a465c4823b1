// SPDX-License-Identifier: BSD-2-Clause
//! An event channel provider behind [`EvtchnV9`].

use core::ffi::c_void;
use core::ptr;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::vec::Vec;

use kexec::Status;
use kexec::irql;

use crate::evtchn::{Channel, EvtchnV9, ServiceRoutine};
use crate::interface::{Interface, NtStatus};

/// Arguments of an open: type and slots.
pub(super) type Opened = (u32, [u64; 3]);

#[derive(Default)]
struct State {
    references: usize,
    next: usize,
    channels: BTreeMap<usize, (ServiceRoutine, usize)>,
    closed: Vec<(ServiceRoutine, usize)>,
    opened: Vec<Opened>,
    sent: usize,
    unmasked: usize,
    pending: bool,
    refuse: bool,
    dead: bool,
}

/// The provider.
#[derive(Default)]
pub(super) struct Events(Mutex<State>);

impl Events {
    pub(super) fn new() -> Box<Self> {
        Box::default()
    }

    pub(super) fn table(&self) -> EvtchnV9 {
        EvtchnV9 {
            interface: Interface::of::<EvtchnV9>(ptr::from_ref(self).cast_mut().cast()),
            acquire,
            release,
            open,
            bind,
            unmask,
            send,
            trigger,
            get_count,
            wait,
            get_port,
            close,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("lock")
    }

    pub(super) fn references(&self) -> usize {
        self.lock().references
    }

    pub(super) fn refuse(&self) {
        self.lock().refuse = true;
    }

    /// The next unmask without force finds an event.
    pub(super) fn pend(&self) {
        self.lock().pending = true;
    }

    /// Every channel went with a suspend.
    pub(super) fn kill(&self) {
        self.lock().dead = true;
    }

    pub(super) fn opened(&self) -> Vec<Opened> {
        self.lock().opened.clone()
    }

    pub(super) fn sent(&self) -> usize {
        self.lock().sent
    }

    pub(super) fn unmasked(&self) -> usize {
        self.lock().unmasked
    }

    /// Delivers an event to every open channel.
    pub(super) fn deliver(&self) {
        let channels: Vec<_> = self.lock().channels.values().copied().collect();
        run(&channels);
    }

    /// Finishes callbacks of closed channels that had already passed their check.
    pub(super) fn deliver_late(&self) {
        let closed = self.lock().closed.clone();
        run(&closed);
    }
}

fn run(channels: &[(ServiceRoutine, usize)]) {
    for (function, argument) in channels {
        // SAFETY: the wrapper keeps the argument until its reference is gone.
        let result = unsafe { function(ptr::null_mut(), *argument as *mut c_void) };
        assert_eq!(result, 1);
    }
}

/// The provider behind an interface.
///
/// # Safety
/// `this` is a copy of a table of [`Events::table`] whose provider lives.
unsafe fn events<'a>(this: *mut Interface) -> &'a Events {
    // SAFETY: by the contract.
    let context = unsafe { (*this).context };
    // SAFETY: by the contract.
    unsafe { &*context.cast_const().cast::<Events>() }
}

unsafe extern "C" fn acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: called through the table.
    unsafe { events(this) }.lock().references += 1;
    0
}

unsafe extern "C" fn release(this: *mut Interface) {
    // SAFETY: called through the table.
    let mut state = unsafe { events(this) }.lock();
    assert!(state.channels.is_empty(), "released with open channels");
    state.references -= 1;
}

unsafe extern "C" fn open(
    this: *mut Interface,
    kind: u32,
    function: Option<ServiceRoutine>,
    argument: *mut c_void,
    slot0: u64,
    slot1: u64,
    slot2: u64,
) -> *mut Channel {
    let Some(function) = function else {
        return ptr::null_mut();
    };
    // SAFETY: called through the table.
    let mut state = unsafe { events(this) }.lock();
    if core::mem::take(&mut state.refuse) {
        return ptr::null_mut();
    }
    state.opened.push((kind, [slot0, slot1, slot2]));
    state.next += 1;
    let id = state.next;
    state.channels.insert(id, (function, argument as usize));
    id as *mut Channel
}

unsafe extern "C" fn bind(_: *mut Interface, _: *mut Channel, group: u16, _: u8) -> NtStatus {
    if group == 0 {
        0
    } else {
        Status::NOT_SUPPORTED.raw()
    }
}

unsafe extern "C" fn unmask(
    this: *mut Interface,
    _: *mut Channel,
    in_callback: u8,
    force: u8,
) -> u8 {
    assert_eq!(in_callback, 0);
    // SAFETY: called through the table.
    let mut state = unsafe { events(this) }.lock();
    state.unmasked += 1;
    u8::from(core::mem::take(&mut state.pending) && force == 0)
}

unsafe extern "C" fn send(this: *mut Interface, _: *mut Channel) {
    assert!(
        irql::current() >= irql::DISPATCH_LEVEL,
        "send below DISPATCH"
    );
    // SAFETY: called through the table.
    unsafe { events(this) }.lock().sent += 1;
}

unsafe extern "C" fn trigger(this: *mut Interface, channel: *mut Channel) {
    // SAFETY: called through the table.
    let entry = unsafe { events(this) }.lock().channels[&(channel as usize)];
    run(&[entry]);
}

unsafe extern "C" fn get_count(_: *mut Interface, _: *mut Channel) -> u32 {
    0
}

unsafe extern "C" fn wait(_: *mut Interface, _: *mut Channel, _: u32, _: *const i64) -> NtStatus {
    panic!("the wrapper must not spin")
}

unsafe extern "C" fn get_port(this: *mut Interface, channel: *mut Channel) -> u32 {
    // SAFETY: called through the table.
    let dead = unsafe { events(this) }.lock().dead;
    if dead {
        0
    } else {
        40 + channel as usize as u32
    }
}

unsafe extern "C" fn close(this: *mut Interface, channel: *mut Channel) {
    // SAFETY: called through the table.
    let mut state = unsafe { events(this) }.lock();
    let entry = state.channels.remove(&(channel as usize));
    state.closed.push(entry.expect("closed twice"));
}
