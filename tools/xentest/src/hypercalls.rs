// SPDX-License-Identifier: BSD-2-Clause
//! Hypercalls without memory: version, parameters, vCPUs, scheduling, event channels.

use kexec::nt::cpu;
use kexec::{Passive, Status};
use xenbus_interface::errno::status;
use xenbus_interface::xen;

use crate::entry::run;
use crate::{Outcome, bad, check, good, same};

/// A domain that never exists.
const NOBODY: u16 = 0x7EF0;
/// A vCPU that no guest here has.
const NO_VCPU: u32 = 4000;

pub(crate) fn run_all(passive: Passive) {
    run("version", version());
    run("hvm.param", param());
    run("hvm.pagetable_dying", pagetable_dying());
    run("hvm.upcall_vector", upcall_vector());
    run("sched.yield", sched_yield());
    run("sched.watchdog", watchdog());
    run("vcpu.is_up", is_up());
    run("vcpu.periodic_timer", periodic_timer());
    run("vcpu.register_vcpu_info", register_vcpu_info(passive));
    run("evtchn.unbound", unbound());
    run("evtchn.inter_domain", inter_domain());
    run("evtchn.virq", virq());
    run("evtchn.bind_vcpu", bind_vcpu());
    run("counters", counters());
}

fn version() -> Outcome {
    let (major, minor) = good(xen::version())?;
    check(major == 4 && minor >= 10, (major, minor))?;
    let extra = good(xen::version_extra())?;
    check(extra[0] == b'.', extra)?;
    check(good(xen::version_features(0))? != 0, "no feature")?;
    bad(xen::version_features(99), Status::INVALID_PARAMETER)
}

fn param() -> Outcome {
    let port = good(xen::hvm_get_param(xen::HVM_PARAM_STORE_EVTCHN))?;
    check(port != 0, port)?;
    check(
        good(xen::hvm_get_param(xen::HVM_PARAM_STORE_PFN))? != 0,
        port,
    )?;
    check(
        good(xen::hvm_get_param(xen::HVM_PARAM_CONSOLE_EVTCHN))? != port,
        port,
    )?;
    bad(xen::hvm_get_param(1000), Status::INVALID_PARAMETER)?;
    good(xen::hvm_set_param(xen::HVM_PARAM_CALLBACK_IRQ, 0))?;
    bad(xen::hvm_set_param(1000, 0), Status::INVALID_PARAMETER)?;
    // Where the store's page is, is not the guest's to say.
    bad(
        xen::hvm_set_param(xen::HVM_PARAM_STORE_PFN, 5),
        Status::ACCESS_DENIED,
    )
}

/// The rig's guests have hardware-assisted paging: the hint is refused, whatever the address.
fn pagetable_dying() -> Outcome {
    bad(xen::hvm_pagetable_dying(0x1000), Status::INVALID_PARAMETER)
}

fn upcall_vector() -> Outcome {
    bad(
        xen::hvm_set_evtchn_upcall_vector(NO_VCPU, 0x80),
        Status::OBJECT_NAME_NOT_FOUND,
    )?;
    // Vectors below 16 are no interrupts.
    bad(
        xen::hvm_set_evtchn_upcall_vector(0, 8),
        Status::INVALID_PARAMETER,
    )
}

fn sched_yield() -> Outcome {
    let before = xen::counters().hypercalls[xen::Counters::SCHED_OP];
    xen::sched_yield();
    let after = xen::counters().hypercalls[xen::Counters::SCHED_OP];
    same(after - before, 1)
}

/// Xen has two watchdogs for a domain.
fn watchdog() -> Outcome {
    let first = good(xen::sched_watchdog(0, 3000))?;
    same(good(xen::sched_watchdog(first, 3000))?, first)?;
    let second = good(xen::sched_watchdog(0, 3000))?;
    check(second != first, (first, second))?;
    bad(xen::sched_watchdog(0, 3000), Status::INSUFFICIENT_RESOURCES)?;
    good(xen::sched_watchdog(first, 0))?;
    good(xen::sched_watchdog(second, 0))?;
    bad(xen::sched_watchdog(first, 10), Status::INVALID_PARAMETER)?;
    bad(xen::sched_watchdog(999, 10), Status::INVALID_PARAMETER)
}

fn is_up() -> Outcome {
    for cpu in 0..cpu::count() {
        let vcpu = good(xen::system_processor_vcpu_id(cpu))?;
        same(good(xen::vcpu_is_up(vcpu))?, true)?;
    }
    bad(xen::vcpu_is_up(NO_VCPU), Status::OBJECT_NAME_NOT_FOUND)
}

fn periodic_timer() -> Outcome {
    const SECOND: i64 = 10_000_000;
    good(xen::vcpu_set_periodic_timer(0, Some(100 * SECOND)))?;
    good(xen::vcpu_set_periodic_timer(0, None))?;
    // Xen wants 1 ms at least.
    bad(
        xen::vcpu_set_periodic_timer(0, Some(9_999)),
        Status::INVALID_PARAMETER,
    )?;
    bad(
        xen::vcpu_set_periodic_timer(0, Some(-SECOND)),
        Status::INVALID_PARAMETER,
    )?;
    bad(
        xen::vcpu_set_periodic_timer(NO_VCPU, Some(SECOND)),
        Status::OBJECT_NAME_NOT_FOUND,
    )
}

/// The refusals; that it works, the run with registration forced on shows.
fn register_vcpu_info(passive: Passive) -> Outcome {
    // ENXIO has no status of its own.
    bad(
        xen::vcpu_register_vcpu_info(0, 1, 4090),
        Status::UNSUCCESSFUL,
    )?;
    bad(
        xen::vcpu_register_vcpu_info(NO_VCPU, 1, 0),
        Status::OBJECT_NAME_NOT_FOUND,
    )?;
    if cpu::count() > 1 {
        let vcpu = good(xen::system_processor_vcpu_id(1))?;
        let elsewhere = cpu::run_on(passive, 0, || xen::vcpu_register_vcpu_info(vcpu, 1, 0));
        bad(good(elsewhere)?, Status::INVALID_PARAMETER)?;
    }
    Ok(())
}

fn unbound() -> Outcome {
    let port = good(xen::event_channel_allocate_unbound(0))?;
    check(port != 0, port)?;
    // Nobody is bound to it: there is no remote end to tell.
    bad(
        xen::event_channel_query_inter_domain(port),
        Status::INVALID_PARAMETER,
    )?;
    good(xen::event_channel_unmask(port))?;
    good(xen::event_channel_close(port))?;
    bad(xen::event_channel_send(port), Status::INVALID_PARAMETER)?;
    bad(xen::event_channel_close(port), Status::INVALID_PARAMETER)?;
    bad(
        xen::event_channel_unmask(1 << 20),
        Status::INVALID_PARAMETER,
    )
}

/// Both ends in this domain.
fn inter_domain() -> Outcome {
    let far = good(xen::event_channel_allocate_unbound(xen::DOMID_SELF))?;
    let near = good(xen::event_channel_bind_inter_domain(xen::DOMID_SELF, far))?;
    let (domain, port) = good(xen::event_channel_query_inter_domain(near))?;
    same(port, far)?;
    check(domain != 0 && domain < NOBODY, domain)?;
    good(xen::event_channel_send(near))?;
    let sends = xen::counters().sends();
    good(xen::event_channel_send(far))?;
    same(xen::counters().sends(), sends + 1)?;
    // It is taken.
    check(
        xen::event_channel_bind_inter_domain(xen::DOMID_SELF, far).is_err(),
        "bound twice",
    )?;
    good(xen::event_channel_close(near))?;
    good(xen::event_channel_close(far))?;
    // ESRCH has no status of its own.
    bad(
        xen::event_channel_bind_inter_domain(NOBODY, 1),
        Status::UNSUCCESSFUL,
    )
}

fn virq() -> Outcome {
    let port = good(xen::event_channel_bind_virq(xen::VIRQ_TIMER, 0))?;
    bad(
        xen::event_channel_bind_virq(xen::VIRQ_TIMER, 0),
        status::OBJECTID_EXISTS,
    )?;
    bad(
        xen::event_channel_bind_virq(99, 0),
        Status::INVALID_PARAMETER,
    )?;
    bad(
        xen::event_channel_bind_virq(xen::VIRQ_TIMER, NO_VCPU),
        Status::OBJECT_NAME_NOT_FOUND,
    )?;
    good(xen::event_channel_close(port))
}

fn bind_vcpu() -> Outcome {
    let port = good(xen::event_channel_allocate_unbound(0))?;
    for cpu in 0..cpu::count() {
        let vcpu = good(xen::system_processor_vcpu_id(cpu))?;
        good(xen::event_channel_bind_virtual_cpu(port, vcpu))?;
    }
    bad(
        xen::event_channel_bind_virtual_cpu(port, NO_VCPU),
        Status::OBJECT_NAME_NOT_FOUND,
    )?;
    good(xen::event_channel_close(port))
}

/// Every hypercall made here was counted under its number.
fn counters() -> Outcome {
    let counters = xen::counters();
    for number in [
        xen::Counters::XEN_VERSION,
        xen::Counters::VCPU_OP,
        xen::Counters::SCHED_OP,
        xen::Counters::EVENT_CHANNEL_OP,
        xen::Counters::HVM_OP,
    ] {
        check(counters.hypercalls[number] != 0, number)?;
    }
    same(counters.total(), counters.hypercalls.iter().sum())
}

pub(crate) fn reset() -> Outcome {
    let port = good(xen::event_channel_allocate_unbound(0))?;
    good(xen::event_channel_reset())?;
    bad(xen::event_channel_close(port), Status::INVALID_PARAMETER)
}
