// SPDX-License-Identifier: BSD-2-Clause
//! The functions of the fake kernel that everything needs: IRQL, locks, pool, events, DPCs, timers, threads, work items.
#![expect(
    unsafe_code,
    reason = "callbacks and objects given as raw pointers, as in the real kernel"
)]
#![expect(non_snake_case, reason = "the names of the NT headers")]
#![expect(
    clippy::missing_safety_doc,
    reason = "raw NT functions; their contract is the platform's documentation"
)]

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicI32, AtomicUsize};
use std::alloc::Layout;
use std::string::ToString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration as Real;

use super::{
    Block, Handle, Kernel, Queued, ThreadObject, Timer, at_least, at_most, cpu, irql, set_irql,
    thread_id,
};
use crate::nt::sys::*;

pub use super::io::*;
pub use super::mm::*;
pub use super::registry::api::*;

/// What a freed block is filled with.
pub(super) const FREED: u8 = 0xdd;
const FRESH: u8 = 0xa5;
/// A wait that nothing ends is a failed test.
const STUCK: Real = Real::from_secs(60);

// --- IRQL and spin locks

pub fn KeGetCurrentIrql() -> KIRQL {
    irql()
}

pub fn KfRaiseIrql(level: KIRQL) -> KIRQL {
    at_most("KfRaiseIrql", level);
    let old = irql();
    set_irql(level);
    old
}

pub fn KeRaiseIrqlToDpcLevel() -> KIRQL {
    at_most("KeRaiseIrqlToDpcLevel", 2);
    let old = irql();
    set_irql(2);
    old
}

pub fn KeLowerIrql(level: KIRQL) {
    at_least("KeLowerIrql", level);
    set_irql(level);
    if level < 2 {
        run_dpcs(&Kernel::current());
    }
}

pub fn cpu_relax() {
    std::thread::yield_now();
}

fn acquire(call: &str, lock: *mut usize) {
    // SAFETY: a live lock word, given as a raw pointer by contract.
    let word = unsafe { AtomicUsize::from_ptr(lock) };
    let me = thread_id() as usize;
    let mut spins = 0_u64;
    while word
        .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        assert!(
            word.load(Ordering::Relaxed) != me,
            "{call}: lock already held by this processor"
        );
        std::thread::yield_now();
        spins += 1;
        assert!(spins < 50_000_000, "{call}: lock never released");
    }
}

fn release(call: &str, lock: *mut usize) {
    // SAFETY: as in `acquire`.
    let word = unsafe { AtomicUsize::from_ptr(lock) };
    let held = word.swap(0, Ordering::Release);
    assert!(
        held == thread_id() as usize,
        "{call}: lock not held by this processor"
    );
}

pub unsafe fn KeAcquireSpinLockRaiseToDpc(lock: *mut usize) -> KIRQL {
    at_most("KeAcquireSpinLockRaiseToDpc", 2);
    let old = irql();
    set_irql(2);
    acquire("KeAcquireSpinLockRaiseToDpc", lock);
    old
}

pub unsafe fn KeReleaseSpinLock(lock: *mut usize, level: KIRQL) {
    if unwinding() {
        return;
    }
    assert!(irql() == 2, "KeReleaseSpinLock: IRQL {}, 2 needed", irql());
    release("KeReleaseSpinLock", lock);
    KeLowerIrql(level);
}

pub unsafe fn KeAcquireSpinLockAtDpcLevel(lock: *mut usize) {
    at_least("KeAcquireSpinLockAtDpcLevel", 2);
    acquire("KeAcquireSpinLockAtDpcLevel", lock);
}

pub unsafe fn KeReleaseSpinLockFromDpcLevel(lock: *mut usize) {
    at_least("KeReleaseSpinLockFromDpcLevel", 2);
    release("KeReleaseSpinLockFromDpcLevel", lock);
}

/// This thread, as a number that is never zero: every host thread is a processor.
pub fn runner_at_dispatch() -> usize {
    thread_id() as usize
}

/// Real time passes, not the fake clock's.
pub fn pause(_level: crate::Passive) {
    at_most("pause", 0);
    run_dpcs(&Kernel::current());
    std::thread::sleep(Real::from_millis(1));
}

// --- pool

pub unsafe fn ExAllocatePoolWithTag(pool: u32, size: usize, tag: u32) -> PVOID {
    at_most("ExAllocatePoolWithTag", 2);
    assert!(
        pool == NonPagedPoolNx,
        "ExAllocatePoolWithTag: pool type {pool}, only NonPagedPoolNx is used"
    );
    assert!(
        size != 0 && tag != 0,
        "ExAllocatePoolWithTag: size {size}, tag {tag:#x}"
    );
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let number = state.allocations;
    state.allocations += 1;
    if state.fail_at == Some(number) {
        state.fail_at = None;
        return core::ptr::null_mut();
    }
    let align = if size >= 4096 { 4096 } else { 16 };
    let Ok(layout) = Layout::from_size_align(size, align) else {
        return core::ptr::null_mut();
    };
    // SAFETY: the size is not zero.
    let block = unsafe { std::alloc::alloc(layout) };
    if block.is_null() {
        return core::ptr::null_mut();
    }
    // SAFETY: just allocated with `size` bytes.
    unsafe { block.write_bytes(FRESH, size) };
    state
        .pool
        .insert(block as usize, Block { layout, size, tag });
    block.cast()
}

fn free(call: &str, block: PVOID, tag: Option<u32>) {
    at_most(call, 2);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let Some(found) = state.pool.remove(&(block as usize)) else {
        let again = state.freed.contains_key(&(block as usize));
        drop(state);
        panic!(
            "{call}: {}",
            if again {
                "double free"
            } else {
                "not a pool block"
            }
        );
    };
    if let Some(tag) = tag {
        assert!(
            found.tag == tag,
            "{call}: tag {tag:#x}, block has {:#x}",
            found.tag
        );
    }
    let range = block as usize..block as usize + found.size;
    let dpc = state.dpcs.iter().any(|queued| range.contains(&queued.dpc));
    assert!(!dpc, "{call}: block holds a queued DPC");
    let timer = state
        .timers
        .iter()
        .any(|timer| range.contains(&timer.timer));
    assert!(!timer, "{call}: block holds a set timer");
    // SAFETY: the block is live and has this size.
    unsafe { block.cast::<u8>().write_bytes(FREED, found.size) };
    state.freed.insert(block as usize, found);
}

pub unsafe fn ExFreePoolWithTag(block: PVOID, tag: u32) {
    free("ExFreePoolWithTag", block, Some(tag));
}

pub unsafe fn ExFreePool(block: PVOID) {
    free("ExFreePool", block, None);
}

// --- events and waits

fn signal(object: PVOID) -> &'static AtomicI32 {
    // SAFETY: every dispatcher object has its signal state, an aligned i32, at offset 4.
    let state = unsafe { object.cast::<i32>().add(1) };
    // SAFETY: live for as long as the object, which the caller guarantees; only used inside one call.
    unsafe { AtomicI32::from_ptr(state) }
}

pub unsafe fn KeInitializeEvent(event: *mut KEVENT, kind: u32, state: u8) {
    let list = core::ptr::null_mut();
    let header = DISPATCHER_HEADER {
        Type: kind as u8,
        Signalling: 0,
        Size: 6,
        Reserved: 0,
        SignalState: i32::from(state != 0),
        WaitListHead: LIST_ENTRY {
            Flink: list,
            Blink: list,
        },
    };
    // SAFETY: the caller gives storage for a KEVENT.
    unsafe { event.write(KEVENT { Header: header }) };
}

pub unsafe fn KeSetEvent(event: *mut KEVENT, _increment: i32, wait: u8) -> i32 {
    at_most("KeSetEvent", 2);
    assert!(wait == 0, "KeSetEvent: Wait is never used");
    let kernel = Kernel::current();
    let state = kernel.lock();
    let before = signal(event.cast()).swap(1, Ordering::SeqCst);
    drop(state);
    kernel.changed.notify_all();
    before
}

pub unsafe fn KeClearEvent(event: *mut KEVENT) {
    at_most("KeClearEvent", 2);
    signal(event.cast()).store(0, Ordering::SeqCst);
}

pub unsafe fn KeWaitForSingleObject(
    object: PVOID,
    _reason: u32,
    _mode: i8,
    _alertable: u8,
    timeout: *mut i64,
) -> NTSTATUS {
    // SAFETY: NULL or a pointer to a timeout, by contract.
    let timeout = unsafe { timeout.as_ref() }.copied();
    if timeout == Some(0) {
        at_most("KeWaitForSingleObject", 2);
    } else {
        at_most("KeWaitForSingleObject", 1);
    }
    let kernel = Kernel::current();
    let deadline = timeout.map(|ticks| {
        if ticks < 0 {
            kernel.now() + ticks.unsigned_abs()
        } else {
            ticks as u64
        }
    });
    let thread = kernel.lock().threads.get(&(object as usize)).cloned();
    let mut waited = Real::ZERO;
    let mut state = kernel.lock();
    loop {
        let taken = match &thread {
            Some(thread) => *thread
                .done
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
            None => {
                let word = signal(object);
                // SAFETY: the type is the first byte of a dispatcher object.
                let kind = unsafe { object.cast::<u8>().read() };
                let auto = u32::from(kind) == SynchronizationEvent;
                if auto {
                    word.swap(0, Ordering::SeqCst) != 0
                } else {
                    word.load(Ordering::SeqCst) != 0
                }
            }
        };
        if taken {
            return 0;
        }
        if deadline.is_some_and(|at| timeout == Some(0) || kernel.now() >= at) {
            return crate::status::STATUS_TIMEOUT;
        }
        let step = Real::from_millis(10);
        let (back, result) = kernel
            .changed
            .wait_timeout(state, step)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state = back;
        if result.timed_out() {
            waited += step;
            assert!(
                waited < STUCK,
                "KeWaitForSingleObject: nothing ends this wait"
            );
            if kernel.auto_clock() {
                drop(state);
                let next = kernel.next_due().into_iter().chain(deadline).min();
                if let Some(at) = next {
                    kernel.advance_to(at);
                }
                state = kernel.lock();
            }
        }
    }
}

// --- DPCs

pub unsafe fn KeInitializeDpc(dpc: *mut KDPC, routine: Option<PKDEFERRED_ROUTINE>, context: PVOID) {
    let none = core::ptr::null_mut();
    let fresh = KDPC {
        Type: 0x13,
        Importance: 1,
        Number: 0,
        Reserved: 0,
        DpcListEntry: none,
        ProcessorHistory: 0,
        DeferredRoutine: routine,
        DeferredContext: context,
        SystemArgument1: none,
        SystemArgument2: none,
        DpcData: none,
    };
    // SAFETY: the caller gives storage for a KDPC.
    unsafe { dpc.write(fresh) };
}

pub unsafe fn KeSetTargetProcessorDpcEx(dpc: *mut KDPC, number: *mut PROCESSOR_NUMBER) -> NTSTATUS {
    // SAFETY: by contract a valid number.
    let number = unsafe { number.read() };
    if u32::from(number.Number) >= Kernel::current().cpus.load(Ordering::SeqCst) {
        return crate::Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: by contract an initialised DPC.
    unsafe { (*dpc).Number = u16::from(number.Number) + 1 };
    0
}

pub unsafe fn KeSetImportanceDpc(dpc: *mut KDPC, importance: u32) {
    // SAFETY: by contract an initialised DPC.
    unsafe { (*dpc).Importance = importance as u8 };
}

/// Queues; false when it was queued already. Runs nothing.
pub(super) fn insert_dpc(kernel: &Arc<Kernel>, dpc: *mut KDPC) -> bool {
    let mut state = kernel.lock();
    if state.dpcs.iter().any(|queued| queued.dpc == dpc as usize) {
        return false;
    }
    // SAFETY: by contract an initialised DPC.
    let target = unsafe { (*dpc).Number };
    let owner = match target.checked_sub(1).map(u32::from) {
        Some(target) if target != cpu() => match state.processors.get(&target) {
            Some(owner) => *owner,
            None => {
                let (send, receive) = std::sync::mpsc::channel();
                let shared = kernel.clone();
                std::thread::spawn(move || {
                    shared.adopt(target);
                    let _ = send.send(thread_id());
                    processor(&shared);
                });
                let owner = receive.recv().expect("a processor thread says its number");
                state.processors.insert(target, owner);
                owner
            }
        },
        _ => thread_id(),
    };
    state.dpcs.push_back(Queued {
        dpc: dpc as usize,
        owner,
    });
    drop(state);
    kernel.changed.notify_all();
    true
}

/// Body of a processor thread: runs DPCs targeted at it until the session ends.
fn processor(kernel: &Arc<Kernel>) {
    loop {
        run_dpcs(kernel);
        let state = kernel.lock();
        if state.stopping {
            return;
        }
        let me = thread_id();
        if !state.dpcs.iter().any(|queued| queued.owner == me) {
            drop(kernel.changed.wait_timeout(state, Real::from_millis(50)));
        }
    }
}

/// Runs the calling thread's DPCs, when its IRQL allows.
pub(super) fn run_dpcs(kernel: &Arc<Kernel>) {
    while irql() < 2 {
        let me = thread_id();
        let mut state = kernel.lock();
        let Some(index) = state.dpcs.iter().position(|queued| queued.owner == me) else {
            return;
        };
        let Some(queued) = state.dpcs.remove(index) else {
            return;
        };
        state.running.push(queued.dpc);
        drop(state);
        // SAFETY: a queued DPC is live memory: freeing it while queued is caught by the pool.
        let view = unsafe { (queued.dpc as *const KDPC).read() };
        let old = irql();
        set_irql(2);
        if let Some(routine) = view.DeferredRoutine {
            // SAFETY: what the real kernel does: the routine with its context, at DISPATCH_LEVEL.
            unsafe {
                routine(
                    queued.dpc as *mut KDPC,
                    view.DeferredContext,
                    view.SystemArgument1,
                    view.SystemArgument2,
                )
            };
        }
        assert!(irql() == 2, "a DPC routine returned at IRQL {}", irql());
        set_irql(old);
        let mut state = kernel.lock();
        if let Some(index) = state.running.iter().position(|dpc| *dpc == queued.dpc) {
            state.running.swap_remove(index);
        }
        drop(state);
        kernel.changed.notify_all();
    }
}

pub unsafe fn KeInsertQueueDpc(dpc: *mut KDPC, arg1: PVOID, arg2: PVOID) -> u8 {
    let kernel = Kernel::current();
    let _ = (arg1, arg2);
    let inserted = insert_dpc(&kernel, dpc);
    run_dpcs(&kernel);
    u8::from(inserted)
}

pub unsafe fn KeRemoveQueueDpc(dpc: *mut KDPC) -> u8 {
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let before = state.dpcs.len();
    state.dpcs.retain(|queued| queued.dpc != dpc as usize);
    u8::from(state.dpcs.len() != before)
}

pub unsafe fn KeFlushQueuedDpcs() {
    at_most("KeFlushQueuedDpcs", 0);
    let kernel = Kernel::current();
    run_dpcs(&kernel);
    let mut state = kernel.lock();
    let mut waited = Real::ZERO;
    while !state.dpcs.is_empty() || !state.running.is_empty() {
        let step = Real::from_millis(10);
        let (back, result) = kernel
            .changed
            .wait_timeout(state, step)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state = back;
        waited += if result.timed_out() { step } else { Real::ZERO };
        assert!(waited < STUCK, "KeFlushQueuedDpcs: DPCs never run");
    }
}

// --- timers

pub unsafe fn KeInitializeTimerEx(timer: *mut KTIMER, kind: u32) {
    // SAFETY: the caller gives storage for a KTIMER; all-zero is a valid value.
    unsafe { timer.write_bytes(0, 1) };
    // SAFETY: as above.
    unsafe { (*timer).Header.Type = 8 + kind as u8 };
}

pub unsafe fn KeSetTimerEx(timer: *mut KTIMER, due: i64, period: i32, dpc: *mut KDPC) -> u8 {
    at_most("KeSetTimerEx", 2);
    let kernel = Kernel::current();
    let now = kernel.now();
    let mut state = kernel.lock();
    let before = state.timers.len();
    state.timers.retain(|entry| entry.timer != timer as usize);
    let was = state.timers.len() != before;
    // SAFETY: by contract an initialised timer.
    unsafe { (*timer).Dpc = dpc };
    let due = if due < 0 {
        now + due.unsigned_abs()
    } else {
        due as u64
    };
    state.timers.push(Timer {
        timer: timer as usize,
        due,
        period: u64::from(period.unsigned_abs()) * 10_000,
    });
    u8::from(was)
}

pub unsafe fn KeCancelTimer(timer: *mut KTIMER) -> u8 {
    at_most("KeCancelTimer", 2);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let before = state.timers.len();
    state.timers.retain(|entry| entry.timer != timer as usize);
    u8::from(state.timers.len() != before)
}

pub fn KeQueryInterruptTime() -> u64 {
    Kernel::current().now()
}

pub fn KeQuerySystemTime() -> u64 {
    // 2020-01-01 in 100 ns units since 1601, plus the fake clock.
    132_223_104_000_000_000 + Kernel::current().now()
}

/// The fake clock in 100 ns units: budgets measured with it are deterministic.
pub unsafe fn KeQueryPerformanceCounter(frequency: *mut i64) -> i64 {
    if !frequency.is_null() {
        // SAFETY: not NULL, so a valid pointer by contract.
        unsafe { frequency.write(10_000_000) };
    }
    Kernel::current().now() as i64
}

// --- processors

pub unsafe fn KeGetCurrentProcessorNumberEx(number: *mut PROCESSOR_NUMBER) -> u32 {
    if !number.is_null() {
        // SAFETY: not NULL, so a valid pointer by contract.
        unsafe {
            number.write(PROCESSOR_NUMBER {
                Group: 0,
                Number: cpu() as u8,
                Reserved: 0,
            })
        };
    }
    cpu()
}

pub unsafe fn KeQueryActiveProcessorCountEx(_group: u16) -> u32 {
    Kernel::current().cpus.load(Ordering::SeqCst)
}

pub unsafe fn KeQueryMaximumProcessorCountEx(_group: u16) -> u32 {
    Kernel::current().cpus.load(Ordering::SeqCst)
}

pub unsafe fn KeGetProcessorNumberFromIndex(index: u32, number: *mut PROCESSOR_NUMBER) -> NTSTATUS {
    if index >= Kernel::current().cpus.load(Ordering::SeqCst) {
        return crate::Status::INVALID_PARAMETER.raw();
    }
    // SAFETY: a valid pointer by contract.
    unsafe {
        number.write(PROCESSOR_NUMBER {
            Group: 0,
            Number: index as u8,
            Reserved: 0,
        })
    };
    0
}

pub unsafe fn KeSetSystemGroupAffinityThread(
    affinity: *mut GROUP_AFFINITY,
    previous: *mut GROUP_AFFINITY,
) {
    at_most("KeSetSystemGroupAffinityThread", 2);
    // SAFETY: a valid pointer by contract.
    let mask = unsafe { (*affinity).Mask };
    if !previous.is_null() {
        // SAFETY: not NULL, so a valid pointer by contract.
        unsafe {
            previous.write(GROUP_AFFINITY {
                Mask: 1 << cpu(),
                Group: 0,
                Reserved: [0; 3],
            })
        };
    }
    super::CPU.with(|cell| cell.set(mask.trailing_zeros()));
}

pub unsafe fn KeRevertToUserGroupAffinityThread(previous: *mut GROUP_AFFINITY) {
    // SAFETY: a valid pointer by contract.
    let mask = unsafe { (*previous).Mask };
    super::CPU.with(|cell| cell.set(mask.trailing_zeros()));
}

/// Differs per thread, as on NT; not a pointer to anything.
pub fn KeGetCurrentThread() -> PVOID {
    thread_id() as PVOID
}

// --- threads and handles

pub fn thread_object_type() -> PVOID {
    core::ptr::null_mut()
}

struct SendPtr(PVOID);
// SAFETY: a thread's context is handed over as a whole; that it may be is the caller's contract with PsCreateSystemThread.
unsafe impl Send for SendPtr {}

pub unsafe fn PsCreateSystemThread(
    handle: *mut HANDLE,
    _access: u32,
    _attributes: *mut OBJECT_ATTRIBUTES,
    _process: HANDLE,
    _client: PVOID,
    start: Option<PKSTART_ROUTINE>,
    context: PVOID,
) -> NTSTATUS {
    at_most("PsCreateSystemThread", 0);
    let Some(start) = start else {
        return crate::Status::INVALID_PARAMETER.raw();
    };
    let kernel = Kernel::current();
    let object = Arc::new(ThreadObject {
        done: Mutex::new(false),
        references: AtomicU32::new(0),
    });
    let key = Arc::as_ptr(&object) as usize;
    let mut state = kernel.lock();
    state.threads.insert(key, object.clone());
    let value = state.next_handle;
    state.next_handle += 4;
    state.handles.insert(value, Handle::Thread(key));
    drop(state);
    let context = SendPtr(context);
    let here = cpu();
    std::thread::spawn(move || {
        let context = context;
        kernel.adopt(here);
        // SAFETY: what the real kernel does: the start routine with its context.
        unsafe { start(context.0) };
        assert!(irql() == 0, "a system thread ended at IRQL {}", irql());
        *object
            .done
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = true;
        drop(kernel.lock());
        kernel.changed.notify_all();
    });
    // SAFETY: a valid pointer by contract.
    unsafe { handle.write(value as HANDLE) };
    0
}

pub unsafe fn ObReferenceObjectByHandle(
    handle: HANDLE,
    _access: u32,
    _kind: PVOID,
    _mode: i8,
    object: *mut PVOID,
    _information: PVOID,
) -> NTSTATUS {
    at_most("ObReferenceObjectByHandle", 0);
    let kernel = Kernel::current();
    let state = kernel.lock();
    let Some(Handle::Thread(key)) = state.handles.get(&(handle as usize)) else {
        return crate::Status::INVALID_HANDLE.raw();
    };
    if let Some(thread) = state.threads.get(key) {
        thread.references.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: a valid pointer by contract.
    unsafe { object.write(*key as PVOID) };
    0
}

pub unsafe fn ObfReferenceObject(object: PVOID) -> isize {
    at_most("ObfReferenceObject", 2);
    reference(object, 1)
}

pub unsafe fn ObfDereferenceObject(object: PVOID) -> isize {
    at_most("ObfDereferenceObject", 2);
    reference(object, -1)
}

pub unsafe fn ZwClose(handle: HANDLE) -> NTSTATUS {
    at_most("ZwClose", 0);
    match Kernel::current().lock().handles.remove(&(handle as usize)) {
        Some(_) => 0,
        None => panic!("ZwClose: not an open handle"),
    }
}

// --- work items

pub unsafe fn IoSizeofWorkItem() -> u32 {
    0x58
}

pub unsafe fn IoInitializeWorkItem(_object: PVOID, item: PVOID) {
    at_most("IoInitializeWorkItem", 2);
    Kernel::current()
        .lock()
        .work_items
        .insert(item as usize, false);
}

pub unsafe fn IoUninitializeWorkItem(item: PVOID) {
    at_most("IoUninitializeWorkItem", 2);
    let queued = Kernel::current().lock().work_items.remove(&(item as usize));
    assert!(
        queued == Some(false),
        "IoUninitializeWorkItem: queued or unknown work item"
    );
}

pub unsafe fn IoQueueWorkItem(
    item: PVOID,
    routine: Option<PIO_WORKITEM_ROUTINE>,
    _queue: u32,
    context: PVOID,
) {
    at_most("IoQueueWorkItem", 2);
    let kernel = Kernel::current();
    let mut state = kernel.lock();
    let before = state.work_items.insert(item as usize, true);
    state.items += 1;
    drop(state);
    assert!(
        before == Some(false),
        "IoQueueWorkItem: work item already queued or not initialised"
    );
    let pair = (SendPtr(item), SendPtr(context));
    let here = cpu();
    std::thread::spawn(move || {
        let (item, context) = pair;
        kernel.adopt(here);
        kernel.lock().work_items.insert(item.0 as usize, false);
        if let Some(routine) = routine {
            // SAFETY: what the real kernel does: the routine with its context, at PASSIVE_LEVEL.
            unsafe { routine(core::ptr::null_mut(), context.0) };
        }
        assert!(irql() == 0, "a work item returned at IRQL {}", irql());
        kernel.lock().items -= 1;
        kernel.changed.notify_all();
    });
}

// --- output and the end

pub unsafe fn DbgPrintLine(text: *const c_char) {
    // SAFETY: NUL-terminated by contract.
    let text = unsafe { CStr::from_ptr(text) };
    Kernel::current()
        .lock()
        .log
        .push(text.to_string_lossy().trim_end().to_string());
}

pub fn KeBugCheckEx(code: u32, p1: usize, p2: usize, p3: usize, p4: usize) -> ! {
    panic!("bug check {code:#x} ({p1:#x}, {p2:#x}, {p3:#x}, {p4:#x})")
}

/// Whether this thread is unwinding from a panic: a broken rule in a test.
pub fn unwinding() -> bool {
    std::thread::panicking()
}
