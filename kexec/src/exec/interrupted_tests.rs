// SPDX-License-Identifier: BSD-2-Clause
//! A thread is interrupted after each of its instructions while it signals what a task waits for: the interrupt wakes the task by
//! something else, and the task's DPC comes as soon as the thread's IRQL lets it. On one processor the thread stands still until
//! that DPC is done, so the DPC must end, whatever the thread was in the middle of; and nobody may be forgotten.
//!
//! The host's processor steps: with the trap flag set, each instruction ends in a signal.
#![expect(
    unsafe_code,
    reason = "the trap flag, a signal handler, and the core's spawn: these tests box their core"
)]

use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;
use std::boxed::Box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Core;
use crate::irql::{self, DISPATCH_LEVEL};
use crate::nt::sys::fake;
use crate::platform::Stepper;
use crate::sync::{BitEvents, Channel, Event, Notify, Reset, WatchValue, select2};
use crate::task;

/// The level of the interrupt.
const DEVICE_LEVEL: u8 = 5;
/// Polls that a DPC may need, and more; a task that wakes itself for ever needs more.
const POLLS: usize = 64;
/// The trap flag.
const TRAP: i64 = 1 << 8;

std::thread_local! {
    /// Called after each instruction; false: no more.
    static EACH: Cell<Option<*const dyn Fn() -> bool>> = const { Cell::new(None) };
}

extern "C" fn trapped(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: set by `stepped` in this thread, to what it keeps until it is done.
    let more = EACH.get().is_some_and(|each| unsafe { (*each)() });
    if !more {
        // SAFETY: what a handler of three arguments is given.
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP;
    }
}

/// Calls `f`, and `each` after each instruction of it until that says false.
fn stepped(f: impl FnOnce(), each: &dyn Fn() -> bool) {
    // SAFETY: all zeroes is a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = trapped as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: a valid action; all tests set the same.
    let set = unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, core::ptr::null_mut()) };
    assert_eq!(set, 0);
    // SAFETY: only the lifetime is changed, and it is taken back below.
    let each: &'static dyn Fn() -> bool = unsafe { core::mem::transmute(each) };
    EACH.set(Some(each));
    // SAFETY: the trap flag has the handler above called, nothing else; the stack is balanced.
    unsafe { core::arch::asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    f();
    // SAFETY: as above.
    unsafe { core::arch::asm!("pushfq", "and qword ptr [rsp], ~0x100", "popfq") };
    EACH.set(None);
}

type Wait<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A core with a task that waits for a `P` and for an interrupt, and counts.
struct Rig<P: 'static> {
    core: Box<Core<Stepper>>,
    signal: Arc<P>,
    line: Arc<Notify>,
    signals: Arc<AtomicUsize>,
    interrupts: Arc<AtomicUsize>,
}

impl<P: Send + Sync + 'static> Rig<P> {
    fn new(signal: P, wait: for<'a> fn(&'a P) -> Wait<'a>) -> Self {
        let rig = Self {
            core: Box::new(Core::new(Stepper::default())),
            signal: Arc::new(signal),
            line: Arc::default(),
            signals: Arc::default(),
            interrupts: Arc::default(),
        };
        let (signal, line) = (rig.signal.clone(), rig.line.clone());
        let (signals, interrupts) = (rig.signals.clone(), rig.interrupts.clone());
        let waiter = async move {
            loop {
                let seen = select2(wait(&signal), line.notified()).await;
                let count = match seen {
                    crate::sync::Either2::First(()) => &signals,
                    crate::sync::Either2::Second(()) => &interrupts,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        // SAFETY: boxed, and `finish` checks that it is empty.
        let spawned = unsafe { rig.core.spawn(task!("waiter"), None, waiter) };
        spawned.expect("spawn").detach();
        rig.settle();
        rig
    }

    /// Runs what is ready; false when there is no end of it.
    fn settle(&self) -> bool {
        Stepper::settle(&self.core, POLLS) < POLLS
    }

    /// Signals, with an interrupt after every `period`th instruction, and its DPC as soon as it can come; the interrupts.
    fn signal(&self, signal: fn(&P), period: usize) -> usize {
        let (left, came, due) = (Cell::new(period), Cell::new(0), Cell::new(false));
        // The instruction after which a DPC had no end.
        let endless = Cell::new(None);
        let each = || {
            left.set(left.get() - 1);
            if left.get() == 0 {
                left.set(period);
                came.set(came.get() + 1);
                fake::interrupt(DEVICE_LEVEL, || self.line.notify());
                due.set(true);
            }
            if due.get() && irql::current() < DISPATCH_LEVEL {
                due.set(false);
                if !fake::interrupt(DISPATCH_LEVEL, || self.settle()) {
                    endless.set(Some(came.get() * period));
                }
            }
            endless.get().is_none()
        };
        let before = self.seen();
        stepped(|| signal(&self.signal), &each);
        assert_eq!(endless.get(), None, "a DPC does not end, every {period}");
        assert!(!due.get(), "left raised");
        assert!(self.settle());
        let after = self.seen();
        assert!(after.0 > before.0, "the signal is lost, every {period}");
        assert!(after.1 > before.1, "interrupts are lost, every {period}");
        came.get()
    }

    fn seen(&self) -> (usize, usize) {
        let seen = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (seen(&self.signals), seen(&self.interrupts))
    }

    fn finish(self) {
        self.core.close();
        assert!(self.settle());
        assert!(self.core.is_empty());
    }
}

/// Interrupts `signal` after each of its instructions, after every second, and so on, so that the task is found in other states.
fn interrupted_everywhere<P: Send + Sync + 'static>(
    made: P,
    wait: for<'a> fn(&'a P) -> Wait<'a>,
    signal: fn(&P),
) {
    let _kernel = fake::boot();
    let rig = Rig::new(made, wait);
    for period in [1, 2, 3, 5, 7, 11, 13] {
        let interrupts = rig.signal(signal, period);
        // No signal is as short as the few instructions that clear the flag.
        assert!(interrupts > 5, "{interrupts} interrupts, every {period}");
    }
    rig.finish();
}

#[test]
fn a_notification_interrupted_anywhere_neither_stops_the_dpc_nor_is_lost() {
    interrupted_everywhere(
        Notify::new(),
        |notify| Box::pin(notify.notified()),
        Notify::notify,
    );
}

#[test]
fn a_bit_event_interrupted_anywhere_neither_stops_the_dpc_nor_is_lost() {
    interrupted_everywhere(
        BitEvents::new(),
        |events| Box::pin(async { assert_eq!(events.wait().await, 4) }),
        |events| events.set(4),
    );
}

#[test]
fn a_watched_value_set_anywhere_in_between_is_seen() {
    interrupted_everywhere(
        (WatchValue::new(0), AtomicUsize::new(0)),
        |(value, version)| {
            Box::pin(async {
                let mut seen = u32::try_from(version.load(Ordering::Relaxed)).unwrap();
                value.changed(&mut seen).await;
                version.store(seen as usize, Ordering::Relaxed);
            })
        },
        |(value, _)| value.set(7),
    );
}

#[test]
fn an_event_interrupted_anywhere_neither_stops_the_dpc_nor_is_lost() {
    interrupted_everywhere(
        Event::new(Reset::Auto, false),
        |event| Box::pin(event.wait()),
        Event::set,
    );
}

#[test]
fn a_message_interrupted_anywhere_neither_stops_the_dpc_nor_is_lost() {
    interrupted_everywhere(
        Channel::<u8, 4>::new(),
        |channel| Box::pin(async { assert_eq!(channel.recv().await, Some(3)) }),
        |channel| channel.try_send(3).expect("room"),
    );
}
