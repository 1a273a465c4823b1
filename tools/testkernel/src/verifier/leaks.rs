// SPDX-License-Identifier: BSD-2-Clause
//! What must not be there: objects in use inside memory that is freed, and what a driver leaves behind.

use super::{Caller, fail, fail_as, locks};
use crate::ke::{bugcheck, dpc, interrupt, mutex, processor, sched, timer};
use crate::ldr::Image;
use crate::mem::Ptr;
use crate::ps::{self, handles};
use crate::{ex, mm};

/// No object of the kernel's may be in use in a block that is about to be freed.
pub(crate) fn check_freed_range(start: Ptr, len: usize) {
    let checks: [(&str, &str, Option<Ptr>); 8] = [
        ("freed_dpc", "a queued DPC", dpc::queued_in(start, len)),
        (
            "freed_timer",
            "an active timer",
            timer::active_in(start, len),
        ),
        (
            "freed_work_item",
            "a queued work item",
            ex::work::queued_in(start, len),
        ),
        (
            "freed_wait",
            "an object that a thread waits for",
            sched::waited_in(start, len),
        ),
        ("freed_lock", "a held spin lock", locks::held_in(start, len)),
        ("freed_mutex", "an owned mutex", mutex::owned_in(start, len)),
        ("freed_mdl", "a mapped MDL", mm::mdl_mapped_in(start, len)),
        (
            "freed_record",
            "a registered bug check record",
            bugcheck::record_in(start, len),
        ),
    ];
    for (rule, what, found) in checks {
        if let Some(at) = found {
            fail(
                rule,
                format_args!("block {start} of {len:#x} bytes holds {what} at {at}"),
            );
        }
    }
}

/// What `who` must have given back when its image is unloaded.
pub(crate) fn check_unload(who: &Caller, image: &Image) {
    let driver = who.driver.as_str();
    // Let what is on its way finish: DPCs first.
    dpc::flush();
    sched::reap();
    ex::pool::check_all();
    if let Some(t) = timer::active_in(image.base, image.size) {
        fail_as(
            who,
            "timer_leak",
            format_args!("timer {t} in the image is active"),
        );
    }
    if let Some(t) = timer::with_routine_in(image.base, image.size) {
        fail_as(
            who,
            "timer_leak",
            format_args!("timer {t} will queue a DPC of the image"),
        );
    }
    if let Some((name, references)) = ps::thread::left_by(driver).first() {
        fail_as(
            who,
            "thread_leak",
            format_args!("thread {name} is left with {references} references"),
        );
    }
    if let Some((handle, object)) = handles::left_by(driver).first() {
        fail_as(
            who,
            "handle_leak",
            format_args!("handle {handle:#x} of {object:?} is open"),
        );
    }
    let counts = [
        (
            "interrupt_leak",
            "interrupts connected",
            interrupt::left_by(driver),
        ),
        (
            "callback_leak",
            "callbacks registered",
            ex::callback::left_by(driver),
        ),
        (
            "callback_leak",
            "processor callbacks registered",
            processor::left_by(driver),
        ),
        (
            "callback_leak",
            "notify routines registered",
            ps::notify::left_by(driver),
        ),
        (
            "callback_leak",
            "bug check callbacks registered",
            bugcheck::left_by(driver),
        ),
    ];
    for (rule, what, count) in counts {
        if count != 0 {
            fail_as(who, rule, format_args!("{count} {what}"));
        }
    }
    if let Some(what) = mm::left_by(driver) {
        fail_as(who, "mapping_leak", format_args!("{what}"));
    }
    let blocks = ex::pool::left_by(driver);
    if let Some((block, size, tag)) = blocks.first() {
        let total: usize = blocks.iter().map(|b| b.1).sum();
        fail_as(
            who,
            "pool_leak",
            format_args!(
                "{} blocks, {total:#x} bytes; first {block} of {size:#x} bytes tag {tag}",
                blocks.len()
            ),
        );
    }
}
