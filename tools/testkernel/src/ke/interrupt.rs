// SPDX-License-Identifier: BSD-2-Clause
//! Interrupt objects.
//!
//! The PnP manager gets its vectors here ([`allocate_message`], [`allocate_line`]) and gives them to drivers as translated
//! resources; a driver connects its routine to one on a set of CPUs. At delivery the CPU is at the vector's IRQL,
//! the object's lock is taken and the routine called; a lost interrupt cannot be, since the local APIC keeps it pending.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::arch::{self, MAX_CPUS};
use crate::export::{DEVICE, IrqlRule, P};
use crate::ke::spinlock::{spin, unspin};
use crate::ke::{irql, testing};
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::verifier::{self, locks};

/// A connected interrupt; the address is the `KINTERRUPT` of drivers.
struct Interrupt {
    routine: Ptr,
    context: usize,
    lock: Ptr,
    own_lock: AtomicU64,
    sync_irql: u8,
    vector: u8,
    mask: u64,
    active: AtomicU32,
    owner: String,
}

static TABLE: [[AtomicUsize; MAX_CPUS]; 256] =
    [const { [const { AtomicUsize::new(0) }; MAX_CPUS] }; 256];
static OBJECTS: Lock<Vec<usize>> = Lock::new(Vec::new());
/// Vectors in use by line interrupts: (vector, GSI).
static LINES: Lock<Vec<(u8, u32)>> = Lock::new(Vec::new());
static NEXT: Lock<u8> = Lock::new(0x51);
static SPURIOUS: AtomicU32 = AtomicU32::new(0);

/// A vector for a message interrupt and its IRQL.
pub fn allocate_message() -> (u8, u8) {
    let mut next = NEXT.lock();
    let vector = *next;
    if vector >= 0xc0 {
        drop(next);
        verifier::failed("hal", format_args!("out of interrupt vectors"));
    }
    // Spread over the priority classes as NT does not: the classes are the IRQLs, so stay within one as long as possible.
    *next += 1;
    (vector, vector >> 4)
}

/// A vector for the line `gsi` and its IRQL.
pub fn allocate_line(gsi: u32) -> (u8, u8) {
    let (vector, level) = allocate_message();
    LINES.lock().push((vector, gsi));
    (vector, level)
}

fn at(object: Ptr) -> &'static Interrupt {
    if !OBJECTS.lock().contains(&object.0) {
        verifier::fail(
            "not_an_interrupt",
            format_args!("object {object} is no interrupt object"),
        );
    }
    // SAFETY: the list holds live interrupt objects.
    unsafe { &*(object.0 as *const Interrupt) }
}

/// Calls the routine that is connected to `vector` on this CPU; at the vector's IRQL.
pub(crate) fn deliver(vector: u8, _frame: Ptr) {
    let slot = &TABLE[usize::from(vector)][arch::cpu_number()];
    let object = slot.load(Ordering::Acquire);
    if object == 0 {
        SPURIOUS.fetch_add(1, Ordering::Relaxed);
        return;
    }
    // SAFETY: an object leaves the table before it is freed, and `disconnect` waits for `active`.
    let interrupt = unsafe { &*(object as *const Interrupt) };
    interrupt.active.fetch_add(1, Ordering::AcqRel);
    if slot.load(Ordering::Acquire) == object {
        let raised = irql::Raised::to(interrupt.sync_irql);
        spin(interrupt.lock);
        locks::acquired(interrupt.lock);
        testing::routine_begins();
        verifier::call::driver(
            "interrupt routine",
            interrupt.routine,
            &[object, interrupt.context],
        );
        locks::released(interrupt.lock);
        unspin(interrupt.lock);
        drop(raised);
    }
    interrupt.active.fetch_sub(1, Ordering::AcqRel);
}

/// Interrupts that `driver` left connected.
pub(crate) fn left_by(driver: &str) -> usize {
    let objects = OBJECTS.lock();
    objects
        .iter()
        .filter(|o| {
            // SAFETY: the list holds live interrupt objects, and it is locked.
            let interrupt = unsafe { &*(**o as *const Interrupt) };
            interrupt.owner == driver
        })
        .count()
}

#[derive(Clone, Copy)]
struct Request {
    object: Ptr,
    routine: Ptr,
    context: usize,
    lock: Ptr,
    sync_irql: u8,
    vector: u8,
    irql: u8,
    mask: u64,
}

fn connect(r: Request) -> NtStatus {
    let cpus = arch::cpu_count();
    let mask = r.mask & ((1u64 << cpus) - 1);
    if mask == 0
        || r.vector >> 4 != r.irql
        || r.sync_irql < r.irql
        || r.routine.is_null()
        || r.vector < 0x30
    {
        return status::INVALID_PARAMETER;
    }
    let interrupt = Box::leak(Box::new(Interrupt {
        routine: r.routine,
        context: r.context,
        lock: r.lock,
        own_lock: AtomicU64::new(0),
        sync_irql: r.sync_irql,
        vector: r.vector,
        mask,
        active: AtomicU32::new(0),
        owner: verifier::caller().driver,
    }));
    if r.lock.is_null() {
        interrupt.lock = Ptr(core::ptr::from_ref(&interrupt.own_lock) as usize);
    }
    let address = core::ptr::from_ref(&*interrupt) as usize;
    let table = &TABLE[usize::from(r.vector)];
    let mut objects = OBJECTS.lock();
    if (0..cpus).any(|c| mask >> c & 1 != 0 && table[c].load(Ordering::Acquire) != 0) {
        return status::ACCESS_DENIED;
    }
    objects.push(address);
    r.object.set(0, address);
    for slot in table
        .iter()
        .enumerate()
        .filter(|(c, _)| mask >> c & 1 != 0)
        .map(|(_, slot)| slot)
    {
        slot.store(address, Ordering::Release);
    }
    drop(objects);
    let line = LINES.lock().iter().find(|(v, _)| *v == r.vector).copied();
    if let Some((vector, gsi)) = line {
        arch::apic::route_line(gsi, vector, mask.trailing_zeros() as usize);
    }
    status::SUCCESS
}

fn disconnect(object: Ptr) {
    let interrupt = at(object);
    let line = LINES
        .lock()
        .iter()
        .find(|(v, _)| *v == interrupt.vector)
        .copied();
    if let Some((_, gsi)) = line {
        arch::apic::mask_line(gsi);
    }
    for slot in &TABLE[usize::from(interrupt.vector)] {
        if slot.load(Ordering::Acquire) == object.0 {
            slot.store(0, Ordering::Release);
        }
    }
    debug_assert!(interrupt.mask != 0);
    while interrupt.active.load(Ordering::Acquire) != 0 {
        arch::pause();
    }
    // A CPU may have read the slot before it was cleared and count itself active later: let every CPU pass once.
    crate::ke::dpc::flush();
    OBJECTS.lock().retain(|o| *o != object.0);
    // SAFETY: made by `Box::leak` in `connect`; out of the table, and no CPU is inside.
    drop(unsafe { Box::from_raw(object.0 as *mut Interrupt) });
}

// IO_CONNECT_INTERRUPT_PARAMETERS: see nt-imports 3.3.
extern "win64" fn io_connect_interrupt_ex(p: Ptr) -> NtStatus {
    match p.get::<u32>(0) {
        version @ (1 | 4) => {
            if version == 4 && p.get::<u16>(0x48) != 0 {
                return status::INVALID_PARAMETER;
            }
            connect(Request {
                object: p.ptr(0x10),
                routine: p.ptr(0x18),
                context: p.get(0x20),
                lock: p.ptr(0x28),
                sync_irql: p.get(0x30),
                vector: p.get::<u32>(0x34) as u8,
                irql: p.get(0x38),
                mask: p.get(0x40),
            })
        }
        // Line- and message-based versions leave it to the system to find the resources.
        2 | 3 => status::NOT_SUPPORTED,
        _ => {
            p.set(0, 4u32);
            status::NOT_SUPPORTED
        }
    }
}

// IO_DISCONNECT_INTERRUPT_PARAMETERS: version 0, object 8.
extern "win64" fn io_disconnect_interrupt_ex(p: Ptr) {
    disconnect(p.ptr(8));
}

extern "win64" fn io_disconnect_interrupt(object: Ptr) {
    disconnect(object);
}

extern "win64" fn ke_acquire_interrupt_spin_lock(object: Ptr) -> u8 {
    let interrupt = at(object);
    let old = irql::raise(interrupt.sync_irql);
    locks::about_to_acquire(interrupt.lock);
    spin(interrupt.lock);
    locks::acquired(interrupt.lock);
    old
}

extern "win64" fn ke_release_interrupt_spin_lock(object: Ptr, level: u8) {
    let interrupt = at(object);
    if arch::irql() != interrupt.sync_irql {
        verifier::fail(
            "irql",
            format_args!("IRQL {} is not the interrupt's", arch::irql()),
        );
    }
    locks::released(interrupt.lock);
    unspin(interrupt.lock);
    irql::lower(level);
}

extern "win64" fn ke_synchronize_execution(object: Ptr, routine: Ptr, context: usize) -> u8 {
    let old = ke_acquire_interrupt_spin_lock(object);
    let result = verifier::call::driver("synchronize routine", routine, &[context]);
    ke_release_interrupt_spin_lock(object, old);
    result as u8
}

const UP_TO_DEVICE: IrqlRule = IrqlRule { min: 0, max: 11 };

crate::exports! {
    "IoConnectInterruptEx", P => io_connect_interrupt_ex;
    "IoDisconnectInterruptEx", P => io_disconnect_interrupt_ex;
    "IoDisconnectInterrupt", P => io_disconnect_interrupt;
    "KeAcquireInterruptSpinLock", UP_TO_DEVICE => ke_acquire_interrupt_spin_lock;
    "KeReleaseInterruptSpinLock", DEVICE => ke_release_interrupt_spin_lock;
    "KeSynchronizeExecution", UP_TO_DEVICE => ke_synchronize_execution;
}
