// SPDX-License-Identifier: BSD-2-Clause
//! The exported hypercalls: pointers in, pointers out, one call of the logic between.
//!
//! The signatures are those of `xenbus_interface::xen`'s imports; both change together.
//!
//! # Safety
//! Common to all that are `unsafe`: pointers are valid for what the parameter's type says, resident
//! at the caller's IRQL, and not shared with another processor during the call.

use core::ffi::{CStr, c_char};
use core::slice;

use kexec::{Result, Status};
use xenbus_interface::NtStatus;
use xenbus_interface::xen::{Build, Counters, GrantCopy};

use super::state::{COUNTER, live};
use crate::{evtchn, grant, handshake, hvm, memory, sched, vcpu_op, version};

/// Stores the value of a success, and returns the status of either.
///
/// # Safety
/// `out` is valid for a write.
pub(super) unsafe fn store<T>(out: *mut T, result: Result<T>) -> NtStatus {
    let result = result.map(|value| {
        // SAFETY: by the contract.
        unsafe { out.write(value) };
    });
    Status::of(&result)
}

/// The version gate; see `crate::handshake`.
///
/// # Safety
/// As the module says; `name` is terminated.
#[unsafe(no_mangle)]
unsafe extern "C" fn XenTouch(
    name: *const c_char,
    major: u32,
    minor: u32,
    micro: u32,
    build: u32,
) -> NtStatus {
    // SAFETY: a terminated string that lives for the call.
    let name = unsafe { CStr::from_ptr(name) }
        .to_str()
        .unwrap_or("a driver");
    let caller = Build {
        major,
        minor,
        micro,
        build,
    };
    let own = Build::CURRENT;
    let result = handshake::check(own, caller, live().is_ok());
    if own != caller {
        kexec::error!("xen: {name} is version {caller} but xen.sys is {own}: it must stay inert");
    }
    Status::of(&result)
}

/// Xen's version.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn XenVersion(major: *mut u32, minor: *mut u32) -> NtStatus {
    let result = live().and_then(|xen| version::version(&xen));
    let (value, minor_value) = (result.map(|v| v.0), result.map(|v| v.1));
    // SAFETY: by the contract.
    unsafe { store(minor, minor_value) };
    // SAFETY: by the contract.
    unsafe { store(major, value) }
}

/// The rest of Xen's version.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn XenVersionExtra(extra: *mut [u8; 16]) -> NtStatus {
    // SAFETY: by the contract.
    unsafe { store(extra, live().and_then(|xen| version::extra(&xen))) }
}

/// Feature bits of Xen.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn XenFeatures(submap: u32, features: *mut u32) -> NtStatus {
    let result = live().and_then(|xen| version::features(&xen, submap));
    // SAFETY: by the contract.
    unsafe { store(features, result) }
}

/// Hypercalls made so far.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn XenCounters(counters: *mut Counters) {
    // SAFETY: by the contract.
    unsafe { counters.write(COUNTER.snapshot()) };
}

/// Reads an HVM parameter.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn HvmGetParam(parameter: u32, value: *mut u64) -> NtStatus {
    let result = live().and_then(|xen| hvm::get_param(&xen, parameter));
    // SAFETY: by the contract.
    unsafe { store(value, result) }
}

/// Sets an HVM parameter.
#[unsafe(no_mangle)]
extern "C" fn HvmSetParam(parameter: u32, value: u64) -> NtStatus {
    Status::of(&live().and_then(|xen| hvm::set_param(&xen, parameter, value)))
}

/// Page tables die.
#[unsafe(no_mangle)]
extern "C" fn HvmPagetableDying(address: u64) -> NtStatus {
    Status::of(&live().and_then(|xen| hvm::pagetable_dying(&xen, address)))
}

/// Gives a vCPU an upcall vector.
#[unsafe(no_mangle)]
extern "C" fn HvmSetEvtchnUpcallVector(vcpu_id: u32, vector: u8) -> NtStatus {
    Status::of(&live().and_then(|xen| hvm::set_evtchn_upcall_vector(&xen, vcpu_id, vector)))
}

/// Maps a page of Xen.
#[unsafe(no_mangle)]
extern "C" fn MemoryAddToPhysmap(pfn: u64, space: u32, offset: u64) -> NtStatus {
    Status::of(&live().and_then(|xen| memory::add_to_physmap(&xen, pfn, space, offset)))
}

/// Unmaps a page.
#[unsafe(no_mangle)]
extern "C" fn MemoryRemoveFromPhysmap(pfn: u64) -> NtStatus {
    Status::of(&live().and_then(|xen| memory::remove_from_physmap(&xen, pfn)))
}

/// Gives frames back.
///
/// # Safety
/// As the module says; `pfns` has `count` entries.
#[unsafe(no_mangle)]
unsafe extern "C" fn MemoryDecreaseReservation(
    order: u32,
    count: u32,
    pfns: *const u64,
    result: *mut u32,
) -> NtStatus {
    // SAFETY: by the contract.
    let pfns = unsafe { slice::from_raw_parts(pfns, count as usize) };
    let done = live().and_then(|xen| memory::decrease_reservation(&xen, order, pfns));
    // SAFETY: by the contract.
    unsafe { store(result, done) }
}

/// Fills frames.
///
/// # Safety
/// As the module says; `pfns` has `count` entries.
#[unsafe(no_mangle)]
unsafe extern "C" fn MemoryPopulatePhysmap(
    order: u32,
    count: u32,
    pfns: *const u64,
    result: *mut u32,
) -> NtStatus {
    // SAFETY: by the contract.
    let pfns = unsafe { slice::from_raw_parts(pfns, count as usize) };
    let done = live().and_then(|xen| memory::populate_physmap(&xen, order, pfns));
    // SAFETY: by the contract.
    unsafe { store(result, done) }
}

/// Sends an event.
#[unsafe(no_mangle)]
extern "C" fn EventChannelSend(port: u32) -> NtStatus {
    Status::of(&live().and_then(|xen| evtchn::send(&xen, port)))
}

/// Allocates a port.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn EventChannelAllocateUnbound(domain: u16, port: *mut u32) -> NtStatus {
    let result = live().and_then(|xen| evtchn::allocate_unbound(&xen, domain));
    // SAFETY: by the contract.
    unsafe { store(port, result) }
}

/// Binds to another domain's port.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn EventChannelBindInterDomain(
    remote_domain: u16,
    remote_port: u32,
    local_port: *mut u32,
) -> NtStatus {
    let result = live().and_then(|xen| evtchn::bind_inter_domain(&xen, remote_domain, remote_port));
    // SAFETY: by the contract.
    unsafe { store(local_port, result) }
}

/// Binds a virtual interrupt.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn EventChannelBindVirq(
    virq: u32,
    vcpu_id: u32,
    local_port: *mut u32,
) -> NtStatus {
    let result = live().and_then(|xen| evtchn::bind_virq(&xen, virq, vcpu_id));
    // SAFETY: by the contract.
    unsafe { store(local_port, result) }
}

/// The other end of a port.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn EventChannelQueryInterDomain(
    local_port: u32,
    remote_domain: *mut u16,
    remote_port: *mut u32,
) -> NtStatus {
    let result = live().and_then(|xen| evtchn::query_inter_domain(&xen, local_port));
    let (domain, port) = (result.map(|v| v.0), result.map(|v| v.1));
    // SAFETY: by the contract.
    unsafe { store(remote_port, port) };
    // SAFETY: by the contract.
    unsafe { store(remote_domain, domain) }
}

/// Closes a port.
#[unsafe(no_mangle)]
extern "C" fn EventChannelClose(port: u32) -> NtStatus {
    Status::of(&live().and_then(|xen| evtchn::close(&xen, port)))
}

/// Adds a page to the FIFO array.
#[unsafe(no_mangle)]
extern "C" fn EventChannelExpandArray(pfn: u64) -> NtStatus {
    Status::of(&live().and_then(|xen| evtchn::expand_array(&xen, pfn)))
}

/// Gives a vCPU its FIFO control block.
#[unsafe(no_mangle)]
extern "C" fn EventChannelInitControl(pfn: u64, vcpu_id: u32) -> NtStatus {
    Status::of(&live().and_then(|xen| evtchn::init_control(&xen, pfn, vcpu_id)))
}

/// Closes every port.
#[unsafe(no_mangle)]
extern "C" fn EventChannelReset() -> NtStatus {
    Status::of(&live().and_then(|xen| evtchn::reset(&xen)))
}

/// Moves a port to another vCPU.
#[unsafe(no_mangle)]
extern "C" fn EventChannelBindVirtualCpu(port: u32, vcpu_id: u32) -> NtStatus {
    Status::of(&live().and_then(|xen| evtchn::bind_vcpu(&xen, port, vcpu_id)))
}

/// Unmasks a port.
#[unsafe(no_mangle)]
extern "C" fn EventChannelUnmask(port: u32) -> NtStatus {
    Status::of(&live().and_then(|xen| evtchn::unmask(&xen, port)))
}

/// The grant table's size.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn GrantTableQuerySize(current: *mut u32, maximum: *mut u32) -> NtStatus {
    let result = live().and_then(|xen| grant::query_size(&xen));
    let (now, most) = (result.map(|v| v.0), result.map(|v| v.1));
    // SAFETY: by the contract.
    unsafe { store(maximum, most) };
    // SAFETY: by the contract.
    unsafe { store(current, now) }
}

/// Maps a granted page.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn GrantTableMapForeignPage(
    domain: u16,
    reference: u32,
    address: u64,
    read_only: u8,
    handle: *mut u32,
) -> NtStatus {
    let result =
        live().and_then(|xen| grant::map(&xen, domain, reference, address, read_only != 0));
    // SAFETY: by the contract.
    unsafe { store(handle, result) }
}

/// Unmaps a granted page.
#[unsafe(no_mangle)]
extern "C" fn GrantTableUnmapForeignPage(handle: u32, address: u64) -> NtStatus {
    Status::of(&live().and_then(|xen| grant::unmap(&xen, handle, address)))
}

/// Copies between granted pages.
///
/// # Safety
/// As the module says; `operations` has `count` entries.
#[unsafe(no_mangle)]
unsafe extern "C" fn GrantTableCopy(operations: *mut GrantCopy, count: u32) -> NtStatus {
    // SAFETY: by the contract.
    let operations = unsafe { slice::from_raw_parts_mut(operations, count as usize) };
    Status::of(&live().and_then(|xen| grant::copy(&xen, operations)))
}

/// Chooses the format of the grant table.
#[unsafe(no_mangle)]
extern "C" fn GrantTableSetVersion(version: u32) -> NtStatus {
    Status::of(&live().and_then(|xen| grant::set_version(&xen, version)))
}

/// The format of the grant table.
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn GrantTableGetVersion(version: *mut u32) -> NtStatus {
    let result = live().and_then(|xen| grant::version(&xen));
    // SAFETY: by the contract.
    unsafe { store(version, result) }
}

/// Gives the rest of the time slice away.
#[unsafe(no_mangle)]
extern "C" fn SchedYield() {
    if let Ok(xen) = live() {
        sched::yield_now(&xen);
    }
}

/// Stops the domain.
#[unsafe(no_mangle)]
extern "C" fn SchedShutdown(reason: u32) -> NtStatus {
    Status::of(&live().and_then(|xen| sched::shutdown(&xen, reason)))
}

/// Latches the reason of a later stop.
#[unsafe(no_mangle)]
extern "C" fn SchedShutdownCode(reason: u32) -> NtStatus {
    Status::of(&live().and_then(|xen| sched::shutdown_code(&xen, reason)))
}

/// A watchdog of the domain.
///
/// # Safety
/// As the module says; `id` is initialised.
#[unsafe(no_mangle)]
unsafe extern "C" fn SchedWatchdog(id: *mut u32, seconds: u32) -> NtStatus {
    // SAFETY: by the contract.
    let old = unsafe { id.read() };
    let result = live().and_then(|xen| sched::watchdog(&xen, old, seconds));
    // SAFETY: by the contract.
    unsafe { store(id, result) }
}

/// Does this vCPU run?
///
/// # Safety
/// As the module says.
#[unsafe(no_mangle)]
unsafe extern "C" fn VcpuIsUp(vcpu_id: u32, up: *mut u8) -> NtStatus {
    let result = live().and_then(|xen| vcpu_op::is_up(&xen, vcpu_id));
    // SAFETY: by the contract.
    unsafe { store(up, result.map(u8::from)) }
}

/// Sets or stops a vCPU's periodic timer.
///
/// # Safety
/// As the module says; `period` may be NULL.
#[unsafe(no_mangle)]
unsafe extern "C" fn VcpuSetPeriodicTimer(vcpu_id: u32, period: *const i64) -> NtStatus {
    // SAFETY: by the contract.
    let period = unsafe { period.as_ref() }.copied();
    let result = live().and_then(|xen| match period {
        Some(period) => vcpu_op::set_periodic_timer(&xen, vcpu_id, period),
        None => vcpu_op::stop_periodic_timer(&xen, vcpu_id),
    });
    Status::of(&result)
}

/// Moves a vCPU's event state.
#[unsafe(no_mangle)]
extern "C" fn VcpuRegisterVcpuInfo(vcpu_id: u32, pfn: u64, offset: u32) -> NtStatus {
    Status::of(&live().and_then(|xen| vcpu_op::register_vcpu_info(&xen, vcpu_id, pfn, offset)))
}
