// SPDX-License-Identifier: BSD-2-Clause
//! Bug checks and the stopping of the other CPUs.

use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::arch::{self, Frame};
use crate::export::ANY;
use crate::ke::{fault, irql};
use crate::mem::Ptr;
use crate::sync::Lock;
use crate::{kprint, verifier};

static KI_BUG_CHECK_DATA: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];
/// Registered callback records: (record, owner).
static CALLBACKS: Lock<Vec<(Ptr, String)>> = Lock::new(Vec::new());
static FREEZE: AtomicBool = AtomicBool::new(false);
static FROZEN: AtomicUsize = AtomicUsize::new(0);

/// The CPU that ends the run, plus one.
static ENDING: AtomicUsize = AtomicUsize::new(0);

/// Stops every other CPU for good; a second CPU that comes here stays here, the first may come again.
pub(crate) fn freeze_others() {
    let me = arch::cpu_number() + 1;
    match ENDING.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => {}
        Err(other) if other == me => return,
        Err(_) => loop {
            FREEZE.store(true, Ordering::Release);
            arch::pause();
        },
    }
    FREEZE.store(true, Ordering::Release);
    let others = arch::cpu_count().saturating_sub(1);
    for cpu in 0..arch::cpu_count() {
        if cpu != arch::cpu_number() {
            arch::apic::send_nmi(cpu);
        }
    }
    let mut rounds = 0;
    while FROZEN.load(Ordering::Acquire) < others && rounds < 1000 {
        arch::stall(100);
        rounds += 1;
    }
}

static PLACES: [[AtomicU64; 2]; arch::MAX_CPUS] =
    [const { [const { AtomicU64::new(0) }; 2] }; arch::MAX_CPUS];

/// Where a CPU and its stack were when it was stopped.
pub(crate) fn frozen_at(cpu: usize) -> (u64, u64) {
    let [rip, rsp] = &PLACES[cpu];
    (rip.load(Ordering::Acquire), rsp.load(Ordering::Acquire))
}

/// The non-maskable interrupt: freezes.
pub(crate) fn nmi(frame: &Frame) {
    if FREEZE.load(Ordering::Acquire) {
        let [rip, rsp] = &PLACES[arch::cpu_number()];
        rip.store(frame.rip, Ordering::Release);
        rsp.store(frame.rsp, Ordering::Release);
        FROZEN.fetch_add(1, Ordering::AcqRel);
        loop {
            arch::pause();
        }
    }
}

/// The interrupt between CPUs at IPI_LEVEL; nothing needs it yet.
pub(crate) fn ipi() {}

/// Stops the system as `KeBugCheckEx` does.
pub fn bug_check(code: u32, parameters: [u64; 4]) -> ! {
    arch::disable_interrupts();
    arch::set_irql(irql::HIGH);
    let who = verifier::caller();
    freeze_others();
    crate::log::seize();
    KI_BUG_CHECK_DATA[0].store(u64::from(code), Ordering::SeqCst);
    for (slot, value) in KI_BUG_CHECK_DATA[1..].iter().zip(parameters) {
        slot.store(value, Ordering::SeqCst);
    }
    let [a, b, c, d] = parameters;
    kprint!(
        "bugcheck code={code:#x} p1={a:#x} p2={b:#x} p3={c:#x} p4={d:#x} driver={} call={}",
        who.driver,
        who.export
    );
    fault::backtrace_here();
    let callbacks: Vec<Ptr> = CALLBACKS
        .try_lock()
        .map(|c| c.iter().map(|(r, _)| *r).collect())
        .unwrap_or_default();
    for record in callbacks {
        record.set(0x38, 2u8); // BufferStarted
        verifier::call::plain(
            record.ptr(0x10),
            &[record.get(0x18), record.get::<u32>(0x20) as usize],
        );
        record.set(0x38, 3u8); // BufferFinished
    }
    let expected = arch::boot_config().number("expect_bugcheck") == Some(u64::from(code));
    if expected {
        kprint!("done status=ok");
    } else {
        kprint!("failed bugcheck: {code:#x}");
    }
    arch::shutdown(expected)
}

extern "win64" fn ke_bug_check_ex(code: u32, a: u64, b: u64, c: u64, d: u64) {
    bug_check(code, [a, b, c, d])
}

extern "win64" fn ke_bug_check(code: u32) {
    bug_check(code, [0; 4])
}

extern "win64" fn ke_register_bug_check_callback(
    record: Ptr,
    routine: Ptr,
    buffer: Ptr,
    len: u32,
    component: Ptr,
) -> u8 {
    let owner = verifier::caller().driver;
    let mut callbacks = CALLBACKS.lock();
    if record.get::<u8>(0x38) != 0 {
        return 0;
    }
    record.set(0x10, routine);
    record.set(0x18, buffer);
    record.set(0x20, len);
    record.set(0x28, component);
    record.set(0x38, 1u8);
    callbacks.push((record, owner));
    1
}

extern "win64" fn ke_deregister_bug_check_callback(record: Ptr) -> u8 {
    let mut callbacks = CALLBACKS.lock();
    let Some(i) = callbacks.iter().position(|c| c.0 == record) else {
        return 0;
    };
    callbacks.swap_remove(i);
    record.set(0x38, 0u8);
    1
}

/// Callback records that `driver` left registered.
pub(crate) fn left_by(driver: &str) -> usize {
    CALLBACKS.lock().iter().filter(|c| c.1 == driver).count()
}

/// A registered record in the range, for the check of freed memory.
pub(crate) fn record_in(start: Ptr, len: usize) -> Option<Ptr> {
    CALLBACKS
        .lock()
        .iter()
        .map(|c| c.0)
        .find(|r| (start.0..start.0 + len).contains(&r.0))
}

crate::exports! {
    "KeBugCheckEx", ANY => ke_bug_check_ex;
    "KeBugCheck", ANY => ke_bug_check;
    "KeRegisterBugCheckCallback", ANY => ke_register_bug_check_callback;
    "KeDeregisterBugCheckCallback", ANY => ke_deregister_bug_check_callback;
    data "KiBugCheckData" => KI_BUG_CHECK_DATA;
}
