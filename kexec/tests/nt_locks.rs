// SPDX-License-Identifier: BSD-2-Clause
//! Queued spin lock, mutex, processor callbacks and disconnected interrupts on the fake kernel.
#![cfg(not(windows))]

use std::sync::Arc as StdArc;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU32, Ordering};

use kexec::nt::sys::fake;
use kexec::nt::wdm::DevicePtr;
use kexec::nt::{
    CpuChange, CpuChanges, Interrupt, InterruptConfig, Mutex, QueuedSpinLock, SpinLock, Tag,
};
use kexec::{Passive, Status, irql};

const TAG: Tag = Tag(*b"Test");

#[test]
fn a_queued_lock_lends_its_value_at_dispatch_level_and_restores_the_level() {
    let _session = fake::boot();
    let lock = QueuedSpinLock::new(1);
    let level = lock.with(|value| {
        *value += 1;
        irql::current()
    });
    assert_eq!((level, irql::current()), (2, 0));
    let outer = SpinLock::new(());
    let guard = outer.lock();
    assert_eq!((lock.with(|value| *value), irql::current()), (2, 2));
    drop(guard);
    assert_eq!(lock.into_inner(), 2);
}

#[test]
fn a_queued_lock_excludes_other_processors() {
    let _session = fake::boot();
    let lock = StdArc::new(QueuedSpinLock::new((0_u32, 0_u32)));
    let threads: Vec<_> = (1..4)
        .map(|cpu| {
            let lock = lock.clone();
            fake::spawn(cpu, move || {
                for _ in 0..500 {
                    lock.with(|pair| {
                        pair.0 += 1;
                        std::thread::yield_now();
                        pair.1 += 1;
                        assert_eq!(pair.0, pair.1);
                    });
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(lock.with(|pair| *pair), (1500, 1500));
}

#[test]
fn a_mutex_is_held_at_passive_level_and_excludes_other_threads() {
    let session = fake::boot();
    let mutex = StdArc::new(Mutex::try_new(TAG, (0_u32, 0_u32)).expect("memory"));
    let threads: Vec<_> = (1..4)
        .map(|cpu| {
            let mutex = mutex.clone();
            fake::spawn(cpu, move || {
                for _ in 0..200 {
                    let mut pair = mutex.lock(Passive::assert());
                    pair.0 += 1;
                    std::thread::yield_now();
                    pair.1 += 1;
                    assert_eq!((pair.0, irql::current()), (pair.1, 0));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    assert_eq!(*mutex.lock(Passive::assert()), (600, 600));
    let mutex = StdArc::into_inner(mutex).expect("last");
    assert_eq!(mutex.into_inner(), (600, 600));
    session.fail_alloc(Some(0));
    assert_eq!(
        Mutex::try_new(TAG, ()).expect_err("no memory"),
        Status::INSUFFICIENT_RESOURCES
    );
}

#[test]
fn processors_are_announced_now_and_when_they_come_and_may_be_refused() {
    use CpuChange::{Failed, Started, Starting};
    let session = fake::boot();
    session.set_cpus(2);
    let seen = StdArc::new(StdMutex::new(Vec::new()));
    let out = seen.clone();
    let changes = CpuChanges::register(TAG, Passive::assert(), move |_, change| {
        out.lock().expect("lock").push(change);
        match change {
            Starting(3) => Err(Status::NOT_SUPPORTED),
            _ => Ok(()),
        }
    })
    .expect("registered");
    let take = || std::mem::take(&mut *seen.lock().expect("lock"));
    assert_eq!(take(), [Starting(0), Started(0), Starting(1), Started(1)]);
    assert!(session.add_cpu());
    assert_eq!(take(), [Starting(2), Started(2)]);
    assert!(!session.add_cpu());
    assert_eq!(take(), [Starting(3), Failed(3)]);
    assert_eq!(kexec::nt::cpu::count(), 3);
    drop(changes);
    assert!(session.add_cpu());
    assert_eq!(take(), []);
}

#[test]
fn a_refused_registration_leaves_nothing_behind() {
    let session = fake::boot();
    let refused =
        CpuChanges::register(TAG, Passive::assert(), |_, _| Err(Status::NOT_SUPPORTED)).map(drop);
    assert_eq!(refused, Err(Status::INSUFFICIENT_RESOURCES));
    assert_eq!(session.blocks(), 0);
}

fn connect(vector: u32, serve: impl Fn() -> bool + Send + Sync + 'static) -> Interrupt {
    // The fake kernel does not look at the device.
    #[expect(unsafe_code, reason = "a placeholder that nothing dereferences")]
    // SAFETY: nothing uses the object.
    let device = unsafe { DevicePtr::from_raw(std::ptr::dangling_mut()) };
    let config = InterruptConfig {
        pdo: device.expect("not NULL"),
        vector,
        irql: 5,
        latched: true,
        shared: false,
        group: 0,
        affinity: 1,
    };
    Interrupt::connect(TAG, Passive::assert(), config, serve).expect("connected")
}

#[test]
fn a_disconnected_interrupt_does_not_come_any_more_but_its_lock_may_be_taken() {
    let session = fake::boot();
    let interrupt = connect(0x51, || true);
    assert!(session.interrupt(0x51));
    interrupt.disconnect(Passive::assert());
    assert!(!session.interrupt(0x51));
    assert!(
        session
            .leaks()
            .iter()
            .all(|leak| !leak.contains("connected"))
    );
    // Again is nothing, and a service that lives on may still take the lock.
    interrupt.disconnect(Passive::assert());
    let guard = interrupt.lock();
    assert_eq!(irql::current(), 5);
    drop(guard);
    assert_eq!(irql::current(), 0);
}

#[test]
fn an_interrupts_lock_keeps_its_routine_out() {
    let session = fake::boot();
    let runs = StdArc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let interrupt = connect(0x52, move || {
        counted.fetch_add(1, Ordering::SeqCst);
        true
    });
    let guard = interrupt.lock();
    let kernel = session.kernel();
    let other = std::thread::spawn(move || {
        kernel.adopt(1);
        kernel.interrupt(0x52)
    });
    for _ in 0..1000 {
        std::thread::yield_now();
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    drop(guard);
    assert!(other.join().expect("no panic"));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
