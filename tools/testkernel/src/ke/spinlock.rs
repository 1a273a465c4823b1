// SPDX-License-Identifier: BSD-2-Clause
//! Spin locks of drivers: plain, queued (in-stack), reader/writer, and the interlocked lists that use them.
//!
//! The lock word is the driver's: 0 is free. Every acquisition and release is noted with the verifier, which knows what
//! each CPU holds.

use core::sync::atomic::Ordering;

use crate::arch;
use crate::export::{ANY, AT_D, D, FROM_D};
use crate::ke::irql;
use crate::mem::Ptr;
use crate::sync::Lock;
use crate::verifier::{self, locks};

/// Takes the lock word without touching the IRQL; nothing is noted.
pub(crate) fn spin(lock: Ptr) {
    let word = lock.atomic64(0);
    loop {
        match word.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return,
            Err(v) if v > 1 => {
                verifier::fail("not_a_spin_lock", format_args!("lock {lock} holds {v:#x}"))
            }
            Err(_) => arch::pause(),
        }
    }
}

/// Releases the lock word; nothing is noted.
pub(crate) fn unspin(lock: Ptr) {
    lock.atomic64(0).store(0, Ordering::Release);
}

fn acquire(lock: Ptr) {
    locks::about_to_acquire(lock);
    spin(lock);
    locks::acquired(lock);
}

fn release(lock: Ptr) {
    locks::released(lock);
    unspin(lock);
}

fn lower_after_release(level: u8) {
    if level > irql::DISPATCH {
        verifier::fail(
            "irql_lower_up",
            format_args!("lock released to IRQL {level}"),
        );
    }
    if level < irql::DISPATCH {
        locks::check_none_held("lowering the IRQL");
    }
    irql::lower(level);
}

extern "win64" fn ke_acquire_spin_lock_raise_to_dpc(lock: Ptr) -> u8 {
    let old = irql::raise(irql::DISPATCH);
    acquire(lock);
    old
}

extern "win64" fn ke_release_spin_lock(lock: Ptr, level: u8) {
    release(lock);
    lower_after_release(level);
}

extern "win64" fn ke_acquire_spin_lock_at_dpc_level(lock: Ptr) {
    acquire(lock);
}

extern "win64" fn ke_release_spin_lock_from_dpc_level(lock: Ptr) {
    release(lock);
}

extern "win64" fn ke_try_to_acquire_spin_lock_at_dpc_level(lock: Ptr) -> u8 {
    let taken = lock
        .atomic64(0)
        .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
        .is_ok();
    if taken {
        locks::acquired(lock);
    }
    u8::from(taken)
}

extern "win64" fn ke_test_spin_lock(lock: Ptr) -> u8 {
    u8::from(lock.atomic64(0).load(Ordering::Acquire) == 0)
}

extern "win64" fn ke_initialize_spin_lock(lock: Ptr) {
    lock.set(0, 0u64);
}

// KLOCK_QUEUE_HANDLE: Next 0, Lock 8, OldIrql 0x10.

extern "win64" fn ke_acquire_in_stack_queued_spin_lock(lock: Ptr, handle: Ptr) {
    let old = irql::raise(irql::DISPATCH);
    acquire(lock);
    handle.set(8, lock);
    handle.set(0x10, old);
}

extern "win64" fn ke_release_in_stack_queued_spin_lock(handle: Ptr) {
    release(handle.ptr(8));
    lower_after_release(handle.get(0x10));
}

extern "win64" fn ke_acquire_in_stack_queued_spin_lock_at_dpc_level(lock: Ptr, handle: Ptr) {
    acquire(lock);
    handle.set(8, lock);
}

extern "win64" fn ke_release_in_stack_queued_spin_lock_from_dpc_level(handle: Ptr) {
    release(handle.ptr(8));
}

// EX_SPIN_LOCK: bit 31 the writer, below it the number of readers.

const WRITER: u32 = 1 << 31;

fn shared(lock: Ptr) {
    let word = lock.atomic32(0);
    loop {
        let v = word.load(Ordering::Relaxed);
        if v & WRITER == 0
            && word
                .compare_exchange_weak(v, v + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            return locks::acquired(lock);
        }
        arch::pause();
    }
}

fn exclusive(lock: Ptr) {
    locks::about_to_acquire(lock);
    let word = lock.atomic32(0);
    while word
        .compare_exchange_weak(0, WRITER, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        arch::pause();
    }
    locks::acquired(lock);
}

fn unshare(lock: Ptr) {
    locks::released(lock);
    lock.atomic32(0).fetch_sub(1, Ordering::Release);
}

fn unexclude(lock: Ptr) {
    locks::released(lock);
    lock.atomic32(0).store(0, Ordering::Release);
}

extern "win64" fn ex_acquire_spin_lock_shared(lock: Ptr) -> u8 {
    let old = irql::raise(irql::DISPATCH);
    shared(lock);
    old
}

extern "win64" fn ex_acquire_spin_lock_exclusive(lock: Ptr) -> u8 {
    let old = irql::raise(irql::DISPATCH);
    exclusive(lock);
    old
}

extern "win64" fn ex_release_spin_lock_shared(lock: Ptr, level: u8) {
    unshare(lock);
    lower_after_release(level);
}

extern "win64" fn ex_release_spin_lock_exclusive(lock: Ptr, level: u8) {
    unexclude(lock);
    lower_after_release(level);
}

extern "win64" fn ex_acquire_spin_lock_shared_at_dpc_level(lock: Ptr) {
    shared(lock);
}

extern "win64" fn ex_acquire_spin_lock_exclusive_at_dpc_level(lock: Ptr) {
    exclusive(lock);
}

extern "win64" fn ex_release_spin_lock_shared_from_dpc_level(lock: Ptr) {
    unshare(lock);
}

extern "win64" fn ex_release_spin_lock_exclusive_from_dpc_level(lock: Ptr) {
    unexclude(lock);
}

/// Runs `f` with interrupts off and the driver's lock held: the interlocked list functions.
fn interlocked<R>(lock: Ptr, f: impl FnOnce() -> R) -> R {
    let enabled = arch::disable_interrupts();
    spin(lock);
    let result = f();
    unspin(lock);
    arch::restore_interrupts(enabled);
    result
}

extern "win64" fn ex_interlocked_insert_tail_list(head: Ptr, entry: Ptr, lock: Ptr) -> Ptr {
    interlocked(lock, || {
        let last = head.ptr(8);
        entry.set(0, head);
        entry.set(8, last);
        last.set(0, entry);
        head.set(8, entry);
        if last == head { Ptr::NULL } else { last }
    })
}

extern "win64" fn ex_interlocked_insert_head_list(head: Ptr, entry: Ptr, lock: Ptr) -> Ptr {
    interlocked(lock, || {
        let first = head.ptr(0);
        entry.set(0, first);
        entry.set(8, head);
        first.set(8, entry);
        head.set(0, entry);
        if first == head { Ptr::NULL } else { first }
    })
}

extern "win64" fn ex_interlocked_remove_head_list(head: Ptr, lock: Ptr) -> Ptr {
    interlocked(lock, || {
        let first = head.ptr(0);
        if first == head {
            return Ptr::NULL;
        }
        let next = first.ptr(0);
        head.set(0, next);
        next.set(8, head);
        first
    })
}

// SLIST_HEADER: depth in the low 16 bits of the first word, first entry in the second.
static SLISTS: Lock<()> = Lock::new(());

extern "win64" fn initialize_slist_head(head: Ptr) {
    head.fill(0, 16);
}

extern "win64" fn push_entry_slist(head: Ptr, entry: Ptr) -> Ptr {
    let _guard = SLISTS.lock();
    if !entry.0.is_multiple_of(16) {
        verifier::fail(
            "bad_argument",
            format_args!("list entry {entry} is not 16-byte aligned"),
        );
    }
    let first = head.ptr(8);
    entry.set(0, first);
    head.set(8, entry);
    head.set(0, head.get::<u16>(0).wrapping_add(1));
    first
}

extern "win64" fn pop_entry_slist(head: Ptr) -> Ptr {
    let _guard = SLISTS.lock();
    let first = head.ptr(8);
    if !first.is_null() {
        head.set(8, first.ptr(0));
        head.set(0, head.get::<u16>(0).wrapping_sub(1));
    }
    first
}

extern "win64" fn flush_slist(head: Ptr) -> Ptr {
    let _guard = SLISTS.lock();
    let first = head.ptr(8);
    head.fill(0, 16);
    first
}

extern "win64" fn query_depth_slist(head: Ptr) -> u16 {
    head.get(0)
}

crate::exports! {
    "KeInitializeSpinLock", ANY => ke_initialize_spin_lock;
    "KeAcquireSpinLockRaiseToDpc", D => ke_acquire_spin_lock_raise_to_dpc;
    "KeReleaseSpinLock", AT_D => ke_release_spin_lock;
    "KeAcquireSpinLockAtDpcLevel", FROM_D => ke_acquire_spin_lock_at_dpc_level;
    "KeReleaseSpinLockFromDpcLevel", FROM_D => ke_release_spin_lock_from_dpc_level;
    "KeTryToAcquireSpinLockAtDpcLevel", FROM_D => ke_try_to_acquire_spin_lock_at_dpc_level;
    "KeTestSpinLock", FROM_D => ke_test_spin_lock;
    "KeAcquireInStackQueuedSpinLock", D => ke_acquire_in_stack_queued_spin_lock;
    "KeReleaseInStackQueuedSpinLock", AT_D => ke_release_in_stack_queued_spin_lock;
    "KeAcquireInStackQueuedSpinLockAtDpcLevel", FROM_D => ke_acquire_in_stack_queued_spin_lock_at_dpc_level;
    "KeReleaseInStackQueuedSpinLockFromDpcLevel", FROM_D => ke_release_in_stack_queued_spin_lock_from_dpc_level;
    "ExAcquireSpinLockShared", D => ex_acquire_spin_lock_shared;
    "ExAcquireSpinLockExclusive", D => ex_acquire_spin_lock_exclusive;
    "ExReleaseSpinLockShared", AT_D => ex_release_spin_lock_shared;
    "ExReleaseSpinLockExclusive", AT_D => ex_release_spin_lock_exclusive;
    "ExAcquireSpinLockSharedAtDpcLevel", FROM_D => ex_acquire_spin_lock_shared_at_dpc_level;
    "ExAcquireSpinLockExclusiveAtDpcLevel", FROM_D => ex_acquire_spin_lock_exclusive_at_dpc_level;
    "ExReleaseSpinLockSharedFromDpcLevel", FROM_D => ex_release_spin_lock_shared_from_dpc_level;
    "ExReleaseSpinLockExclusiveFromDpcLevel", FROM_D => ex_release_spin_lock_exclusive_from_dpc_level;
    "ExInterlockedInsertTailList", ANY => ex_interlocked_insert_tail_list;
    "ExInterlockedInsertHeadList", ANY => ex_interlocked_insert_head_list;
    "ExInterlockedRemoveHeadList", ANY => ex_interlocked_remove_head_list;
    "InitializeSListHead", ANY => initialize_slist_head;
    "ExInitializeSListHead", ANY => initialize_slist_head;
    "ExpInterlockedPushEntrySList", ANY => push_entry_slist;
    "ExpInterlockedPopEntrySList", ANY => pop_entry_slist;
    "ExpInterlockedFlushSList", ANY => flush_slist;
    "ExQueryDepthSList", ANY => query_depth_slist;
}
