// SPDX-License-Identifier: BSD-2-Clause
//! Mutexes (`KMUTEX`) and fast mutexes (`FAST_MUTEX`).
//!
//! A mutex is a dispatcher object with an owner; it may be taken again by its owner. A fast mutex is a count, an owner
//! and an event; its owner runs at APC_LEVEL.

use alloc::vec::Vec;

use crate::arch;
use crate::export::{A, ANY, D, IrqlRule};
use crate::ke::event;
use crate::ke::irql;
use crate::ke::sched::STATE;
use crate::ke::wait::{Timeout, init_header, kind, single};
use crate::mem::Ptr;
use crate::status;
use crate::sync::Lock;
use crate::verifier;

/// Mutexes that are owned: (mutex, thread).
static OWNED: Lock<Vec<(Ptr, Ptr)>> = Lock::new(Vec::new());

/// A wait gave `mutex` to `thread`.
pub(crate) fn acquired(mutex: Ptr, thread: Ptr) {
    OWNED.lock().push((mutex, thread));
}

fn released(mutex: Ptr, thread: Ptr) {
    let mut owned = OWNED.lock();
    if let Some(i) = owned.iter().rposition(|o| *o == (mutex, thread)) {
        owned.swap_remove(i);
    }
}

/// A thread that ends must own no mutex.
pub(crate) fn check_thread_exit(thread: Ptr) {
    let owned = OWNED.lock().iter().find(|(_, t)| *t == thread).copied();
    if let Some((mutex, _)) = owned {
        verifier::fail(
            "mutex_left",
            format_args!("a thread ends and owns mutex {mutex}"),
        );
    }
}

/// An owned mutex in the range, for the check of freed memory.
pub(crate) fn owned_in(start: Ptr, len: usize) -> Option<Ptr> {
    OWNED
        .lock()
        .iter()
        .map(|(m, _)| *m)
        .find(|m| (start.0..start.0 + len).contains(&m.0))
}

extern "win64" fn ke_initialize_mutex(mutex: Ptr, _level: u32) {
    init_header(mutex, kind::MUTANT, 1);
    mutex.set(0x28, Ptr::NULL);
    mutex.set(0x30, 0x0100u16);
}

extern "win64" fn ke_release_mutex(mutex: Ptr, _wait: u8) -> i32 {
    let thread = Ptr(arch::current_thread());
    let mut state = STATE.lock();
    let old: i32 = mutex.get(4);
    if mutex.get::<u8>(0) != kind::MUTANT || mutex.ptr(0x28) != thread {
        drop(state);
        verifier::fail(
            "mutex_not_owned",
            format_args!(
                "{:#x}: mutex {mutex} is not owned by this thread",
                status::MUTANT_NOT_OWNED
            ),
        );
    }
    released(mutex, thread);
    mutex.set(4, old + 1);
    if old + 1 == 1 {
        mutex.set(0x28, Ptr::NULL);
        state.signalled(mutex);
    }
    old
}

// FAST_MUTEX: Count i32 0, Owner 8, Contention u32 10, Event 18, OldIrql u32 30.

fn enter(mutex: Ptr) {
    let thread = Ptr(arch::current_thread());
    if mutex.ptr(8) == thread {
        verifier::fail(
            "fast_mutex_recursive",
            format_args!("fast mutex {mutex} is owned by this thread already"),
        );
    }
    loop {
        {
            let _state = STATE.lock();
            if mutex.get::<i32>(0) == 1 {
                mutex.set(0, 0i32);
                mutex.set(8, thread);
                break;
            }
            mutex.set(0x10, mutex.get::<u32>(0x10).wrapping_add(1));
        }
        single(mutex.add(0x18), Timeout::Never);
    }
    acquired(mutex, thread);
}

fn leave(mutex: Ptr) {
    let thread = Ptr(arch::current_thread());
    if mutex.ptr(8) != thread {
        verifier::fail(
            "mutex_not_owned",
            format_args!("fast mutex {mutex} is not owned by this thread"),
        );
    }
    released(mutex, thread);
    {
        let _state = STATE.lock();
        mutex.set(8, Ptr::NULL);
        mutex.set(0, 1i32);
    }
    event::set(mutex.add(0x18));
}

extern "win64" fn ex_acquire_fast_mutex(mutex: Ptr) {
    let old = irql::raise(irql::APC);
    enter(mutex);
    mutex.set(0x30, u32::from(old));
}

extern "win64" fn ex_release_fast_mutex(mutex: Ptr) {
    let old = mutex.get::<u32>(0x30) as u8;
    leave(mutex);
    irql::lower(old);
}

extern "win64" fn ex_try_to_acquire_fast_mutex(mutex: Ptr) -> u8 {
    let old = irql::raise(irql::APC);
    let thread = Ptr(arch::current_thread());
    let taken = {
        let _state = STATE.lock();
        let free = mutex.get::<i32>(0) == 1;
        if free {
            mutex.set(0, 0i32);
            mutex.set(8, thread);
        }
        free
    };
    if taken {
        acquired(mutex, thread);
        mutex.set(0x30, u32::from(old));
    } else {
        irql::lower(old);
    }
    u8::from(taken)
}

extern "win64" fn ex_initialize_fast_mutex(mutex: Ptr) {
    mutex.set(0, 1i32);
    mutex.set(8, Ptr::NULL);
    mutex.set(0x10, 0u32);
    event::init(mutex.add(0x18), true, false);
}

extern "win64" fn ex_acquire_fast_mutex_unsafe(mutex: Ptr) {
    if arch::irql() == 0 && !crate::ps::thread::apcs_disabled() {
        verifier::fail(
            "fast_mutex_apcs",
            format_args!("neither at APC_LEVEL nor in a critical region"),
        );
    }
    enter(mutex);
}

extern "win64" fn ex_release_fast_mutex_unsafe(mutex: Ptr) {
    leave(mutex);
}

const APC_EXACTLY: IrqlRule = IrqlRule { min: 1, max: 1 };

crate::exports! {
    "KeInitializeMutex", ANY => ke_initialize_mutex;
    "KeReleaseMutex", D => ke_release_mutex;
    "ExInitializeFastMutex", D => ex_initialize_fast_mutex;
    "ExAcquireFastMutex", A => ex_acquire_fast_mutex;
    "ExReleaseFastMutex", APC_EXACTLY => ex_release_fast_mutex;
    "ExTryToAcquireFastMutex", A => ex_try_to_acquire_fast_mutex;
    "ExAcquireFastMutexUnsafe", A => ex_acquire_fast_mutex_unsafe;
    "ExReleaseFastMutexUnsafe", A => ex_release_fast_mutex_unsafe;
}
