// SPDX-License-Identifier: BSD-2-Clause
//! The fake kernel enforces what NT demands: each broken rule is a failure that names the call.
#![cfg(not(windows))]
#![expect(
    unsafe_code,
    reason = "breaks the rules of raw NT functions on purpose"
)]

use std::ptr::null_mut;

use kexec::nt::sys::{self, fake};
use kexec::nt::{
    Box, CpuChanges, Dpc, Event, EventKind, Key, Mutex, QueuedSpinLock, SpinLock, Tag, Timer, wstr,
};
use kexec::{Duration, Instant, Passive};

const TAG: Tag = Tag(*b"Test");
const RAW: u32 = u32::from_le_bytes(*b"Test");

/// Runs `test` in a fresh kernel and returns the message of its panic.
fn caught(test: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let result = std::panic::catch_unwind(|| {
        let _session = fake::boot();
        test();
    });
    let payload = result.expect_err("the fake kernel must notice");
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
    })
    .unwrap_or_default()
}

fn raised<T>(level: u8, run: impl FnOnce() -> T) -> T {
    let old = sys::KfRaiseIrql(level);
    let value = run();
    sys::KeLowerIrql(old);
    value
}

#[test]
fn rules_are_enforced_by_the_name_of_the_call() {
    type Case = (&'static str, fn());
    let cases: &[Case] = &[
        ("ExAllocatePoolWithTag: IRQL 3", || {
            raised(3, || drop(Box::try_new(TAG, 1)))
        }),
        ("ExFreePoolWithTag: double free", || {
            // SAFETY: the second free is the broken rule; the fake kernel keeps freed blocks apart.
            let block = unsafe { sys::ExAllocatePoolWithTag(512, 16, RAW) };
            // SAFETY: just allocated.
            unsafe { sys::ExFreePoolWithTag(block, RAW) };
            // SAFETY: as said above.
            unsafe { sys::ExFreePoolWithTag(block, RAW) };
        }),
        ("ExFreePoolWithTag: tag", || {
            // SAFETY: no preconditions that matter here.
            let block = unsafe { sys::ExAllocatePoolWithTag(512, 16, RAW) };
            // SAFETY: the wrong tag is the broken rule; checked before anything is done.
            unsafe { sys::ExFreePoolWithTag(block, RAW + 1) };
        }),
        ("ExFreePoolWithTag: not a pool block", || {
            // SAFETY: not a block is the broken rule; checked before anything is done.
            unsafe { sys::ExFreePoolWithTag(0x1000 as *mut _, RAW) };
        }),
        ("pool left at unload: tag Test, 1 blocks", || {
            std::mem::forget(Box::try_new(TAG, 1))
        }),
        ("write after free", || {
            // SAFETY: no preconditions that matter here.
            let block = unsafe { sys::ExAllocatePoolWithTag(512, 16, RAW) };
            // SAFETY: just allocated.
            unsafe { sys::ExFreePoolWithTag(block, RAW) };
            // SAFETY: the broken rule; the fake kernel keeps freed blocks mapped.
            unsafe { block.cast::<u8>().write(1) };
        }),
        ("KeAcquireSpinLockRaiseToDpc: IRQL 5", || {
            let lock = SpinLock::new(());
            raised(5, || drop(lock.lock()));
        }),
        ("KeAcquireSpinLockRaiseToDpc: lock already held", || {
            let lock = SpinLock::new(());
            let first = lock.lock();
            let second = lock.lock();
            drop((second, first));
        }),
        ("KeAcquireInStackQueuedSpinLock: IRQL 5", || {
            let lock = QueuedSpinLock::new(());
            raised(5, || lock.with(|()| ()));
        }),
        ("KeAcquireInStackQueuedSpinLock: lock already held", || {
            let lock = QueuedSpinLock::new(());
            lock.with(|()| lock.with(|()| ()));
        }),
        ("ExAcquireFastMutexUnsafe: owned by this thread", || {
            let mutex = Mutex::try_new(TAG, ()).expect("memory");
            let first = mutex.lock(Passive::assert());
            drop((mutex.lock(Passive::assert()), first));
        }),
        ("KeEnterCriticalRegion: IRQL 2", || {
            let mutex = Mutex::try_new(TAG, ()).expect("memory");
            let passive = Passive::assert();
            raised(2, || drop(mutex.lock(passive)));
        }),
        ("KeRegisterProcessorChangeCallback: IRQL 2", || {
            let passive = Passive::assert();
            raised(2, || {
                drop(CpuChanges::register(TAG, passive, |_, _| Ok(())))
            });
        }),
        ("processor callbacks left: 1", || {
            std::mem::forget(CpuChanges::register(TAG, Passive::assert(), |_, _| Ok(())));
        }),
        ("KeSetEvent: IRQL 3", || {
            let event = Event::try_new(TAG, EventKind::Notification).expect("memory");
            raised(3, || event.set());
        }),
        ("KeWaitForSingleObject: IRQL 2, at most 1", || {
            let event = Event::try_new(TAG, EventKind::Notification).expect("memory");
            let apc = Passive::assert();
            raised(2, || event.wait(apc, None)).expect("never");
        }),
        ("ZwOpenKey: IRQL 2", || {
            let passive = Passive::assert();
            raised(2, || drop(Key::open(passive, wstr!("\\Registry"))));
        }),
        ("IRQL 2, PASSIVE_LEVEL needed", || {
            let dpc = Dpc::try_new(TAG, None, || ()).expect("memory");
            raised(2, || drop(dpc));
        }),
        ("ExFreePoolWithTag: block holds a set timer", || {
            // SAFETY: a KTIMER fits; see the next calls.
            let block = unsafe { sys::ExAllocatePoolWithTag(512, 64, RAW) };
            let timer = block.cast::<sys::KTIMER>();
            // SAFETY: storage for a KTIMER.
            unsafe { sys::KeInitializeTimerEx(timer, 0) };
            // SAFETY: initialised.
            unsafe { sys::KeSetTimerEx(timer, -10, 0, null_mut()) };
            // SAFETY: the broken rule; checked before anything is done.
            unsafe { sys::ExFreePoolWithTag(block, RAW) };
        }),
        ("KeLowerIrql: IRQL 0, at least 2", || sys::KeLowerIrql(2)),
        ("IofCompleteRequest: with STATUS_PENDING", || {
            // SAFETY: no preconditions that matter here.
            let irp = unsafe { sys::IoAllocateIrp(1, 0) };
            // SAFETY: just allocated.
            unsafe { (*irp).IoStatus.Status = kexec::status::STATUS_PENDING };
            // SAFETY: the broken rule; checked before anything is done.
            unsafe { sys::IofCompleteRequest(irp, 0) };
        }),
    ];
    for (expected, case) in cases {
        let message = caught(case);
        assert!(
            message.contains(expected),
            "expected {expected:?}, got {message:?}"
        );
    }
}

#[test]
fn a_dpc_runs_once_for_two_inserts_and_may_queue_itself() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let _session = fake::boot();
    let dpc = Dpc::try_new(TAG, None, || {
        RUNS.fetch_add(1, Ordering::SeqCst);
    })
    .expect("memory");
    let second = raised(2, || (dpc.queue(), dpc.queue()));
    assert_eq!((second, RUNS.load(Ordering::SeqCst)), ((true, false), 1));
    raised(2, || assert!(dpc.queue() && dpc.cancel() && !dpc.cancel()));
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
}

#[test]
fn timers_fire_when_the_clock_says_so() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let session = fake::boot();
    let timer = Timer::try_new(TAG, || {
        RUNS.fetch_add(1, Ordering::SeqCst);
    })
    .expect("memory");
    timer.set(Duration::from_millis(5));
    session.advance(Duration::from_millis(4));
    assert_eq!(RUNS.load(Ordering::SeqCst), 0);
    session.advance(Duration::from_millis(1));
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
    timer.set_periodic(Duration::from_millis(1), 2);
    session.advance(Duration::from_millis(6));
    assert_eq!(RUNS.load(Ordering::SeqCst), 4);
    assert!(timer.cancel());
}

#[test]
fn the_clock_does_not_jump_while_a_processor_that_polls_has_something_to_do() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let session = fake::boot();
    session.auto_clock();
    let event = Event::try_new(TAG, EventKind::Synchronization).expect("memory");
    let (passive, kernel) = (Passive::assert(), session.kernel());
    let begin = Instant::now();
    let poller = kernel.poller();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            kernel.adopt(1);
            // It stands still for longer than a wait is idle.
            std::thread::sleep(std::time::Duration::from_millis(60));
            event.set();
        });
        let limit = Some(Duration::from_millis(1));
        assert!(event.wait(passive, limit).is_ok(), "time was up");
    });
    assert_eq!(Instant::now(), begin);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                poller.idle();
                std::thread::yield_now();
            }
        });
        let waited = event.wait(passive, Some(Duration::from_secs(1)));
        over.store(true, Ordering::SeqCst);
        assert!(waited.is_err(), "nobody sets it");
    });
    assert_eq!(Instant::now(), begin + Duration::from_secs(1));
}
