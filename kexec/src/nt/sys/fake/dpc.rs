// SPDX-License-Identifier: BSD-2-Clause
//! The fake kernel's DPC queues and processors.
#![expect(
    unsafe_code,
    reason = "callbacks and objects given as raw pointers, as in the real kernel"
)]
#![expect(non_snake_case, reason = "the names of the NT headers")]
#![expect(
    clippy::missing_safety_doc,
    reason = "raw NT functions; their contract is the platform's documentation"
)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration as Real;

use super::{INTERRUPTS_OFF, Kernel, Queued, STUCK, at_most, cpu, irql, set_irql, thread_id};
use crate::nt::sys::*;

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
    while irql() < 2 && !INTERRUPTS_OFF.with(core::cell::Cell::get) {
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

/// Tells one callback about processor `cpu`; false when it refused.
fn tell(
    (routine, context): (PROCESSOR_CALLBACK_FUNCTION, usize),
    state: u32,
    cpu: u32,
    status: NTSTATUS,
) -> bool {
    let number = PROCESSOR_NUMBER {
        Group: 0,
        Number: cpu as u8,
        Reserved: 0,
    };
    let mut change = KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT {
        State: state,
        NtNumber: cpu,
        Status: status,
        ProcNumber: number,
    };
    let mut answer = 0;
    // SAFETY: a registered routine with its context, and valid pointers for the call.
    unsafe { routine(context as PVOID, &mut change, &mut answer) };
    assert!(
        irql() == 0,
        "a processor callback returned at IRQL {}",
        irql()
    );
    answer >= 0
}

/// States of KE_PROCESSOR_CHANGE_NOTIFY_STATE.
const START: u32 = 0;
const COMPLETE: u32 = 1;
const FAILURE: u32 = 2;

pub(super) fn add_cpu(kernel: &Arc<Kernel>) -> bool {
    at_most("add_cpu", 0);
    let cpu = kernel.cpus.load(Ordering::SeqCst);
    let callbacks: std::vec::Vec<_> = kernel.lock().cpu_callbacks.values().copied().collect();
    let refused = callbacks.iter().any(|&call| !tell(call, START, cpu, 0));
    if refused {
        let status = crate::Status::UNSUCCESSFUL.raw();
        for call in callbacks {
            tell(call, FAILURE, cpu, status);
        }
        return false;
    }
    kernel.cpus.store(cpu + 1, Ordering::SeqCst);
    for call in callbacks {
        tell(call, COMPLETE, cpu, 0);
    }
    true
}

pub unsafe fn KeRegisterProcessorChangeCallback(
    routine: Option<PROCESSOR_CALLBACK_FUNCTION>,
    context: PVOID,
    flags: u32,
) -> PVOID {
    at_most("KeRegisterProcessorChangeCallback", 0);
    let routine = routine.expect("KeRegisterProcessorChangeCallback: no routine");
    let kernel = Kernel::current();
    let call = (routine, context as usize);
    if flags & 1 != 0 {
        for cpu in 0..kernel.cpus.load(Ordering::SeqCst) {
            if !tell(call, START, cpu, 0) || !tell(call, COMPLETE, cpu, 0) {
                return core::ptr::null_mut();
            }
        }
    }
    let mut state = kernel.lock();
    state.next_handle += 4;
    let handle = state.next_handle;
    state.cpu_callbacks.insert(handle, call);
    handle as PVOID
}

pub unsafe fn KeDeregisterProcessorChangeCallback(handle: PVOID) {
    at_most("KeDeregisterProcessorChangeCallback", 0);
    let before = Kernel::current()
        .lock()
        .cpu_callbacks
        .remove(&(handle as usize));
    assert!(
        before.is_some(),
        "KeDeregisterProcessorChangeCallback: not registered"
    );
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
