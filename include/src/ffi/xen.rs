// SPDX-License-Identifier: BSD-2-Clause
//! Hypercalls of xen.sys, each as a safe function. See [`crate::xen`] for the common contract.

use core::ffi::{CStr, c_char};

use kexec::{Result, Status};

use crate::interface::NtStatus;
use crate::xen::{Build, Counters, GrantCopy};

/// The import table of the private ABI.
mod import {
    use super::{Counters, GrantCopy, NtStatus, c_char};

    // `+verbatim`: without it the import would name `xen.sys.dll`.
    #[link(name = "xen.sys", kind = "raw-dylib", modifiers = "+verbatim")]
    unsafe extern "C" {
        pub(super) fn XenTouch(
            name: *const c_char,
            major: u32,
            minor: u32,
            micro: u32,
            build: u32,
        ) -> NtStatus;
        pub(super) safe fn XenVersion(major: &mut u32, minor: &mut u32) -> NtStatus;
        pub(super) safe fn XenVersionExtra(extra: &mut [u8; 16]) -> NtStatus;
        pub(super) safe fn XenFeatures(submap: u32, features: &mut u32) -> NtStatus;
        pub(super) safe fn XenCounters(counters: &mut Counters);
        pub(super) safe fn HvmGetParam(parameter: u32, value: &mut u64) -> NtStatus;
        pub(super) safe fn HvmSetParam(parameter: u32, value: u64) -> NtStatus;
        pub(super) safe fn HvmPagetableDying(address: u64) -> NtStatus;
        pub(super) safe fn HvmSetEvtchnUpcallVector(vcpu_id: u32, vector: u8) -> NtStatus;
        pub(super) safe fn MemoryAddToPhysmap(pfn: u64, space: u32, offset: u64) -> NtStatus;
        pub(super) safe fn MemoryRemoveFromPhysmap(pfn: u64) -> NtStatus;
        pub(super) fn MemoryDecreaseReservation(
            order: u32,
            count: u32,
            pfns: *const u64,
            result: *mut u32,
        ) -> NtStatus;
        pub(super) fn MemoryPopulatePhysmap(
            order: u32,
            count: u32,
            pfns: *const u64,
            result: *mut u32,
        ) -> NtStatus;
        pub(super) safe fn EventChannelSend(port: u32) -> NtStatus;
        pub(super) safe fn EventChannelAllocateUnbound(domain: u16, port: &mut u32) -> NtStatus;
        pub(super) safe fn EventChannelBindInterDomain(
            remote_domain: u16,
            remote_port: u32,
            local_port: &mut u32,
        ) -> NtStatus;
        pub(super) safe fn EventChannelBindVirq(
            virq: u32,
            vcpu_id: u32,
            local_port: &mut u32,
        ) -> NtStatus;
        pub(super) safe fn EventChannelQueryInterDomain(
            local_port: u32,
            remote_domain: &mut u16,
            remote_port: &mut u32,
        ) -> NtStatus;
        pub(super) safe fn EventChannelClose(port: u32) -> NtStatus;
        pub(super) safe fn EventChannelExpandArray(pfn: u64) -> NtStatus;
        pub(super) safe fn EventChannelInitControl(pfn: u64, vcpu_id: u32) -> NtStatus;
        pub(super) safe fn EventChannelReset() -> NtStatus;
        pub(super) safe fn EventChannelBindVirtualCpu(port: u32, vcpu_id: u32) -> NtStatus;
        pub(super) safe fn EventChannelUnmask(port: u32) -> NtStatus;
        pub(super) safe fn GrantTableQuerySize(current: &mut u32, maximum: &mut u32) -> NtStatus;
        pub(super) safe fn GrantTableMapForeignPage(
            domain: u16,
            reference: u32,
            address: u64,
            read_only: u8,
            handle: &mut u32,
        ) -> NtStatus;
        pub(super) safe fn GrantTableUnmapForeignPage(handle: u32, address: u64) -> NtStatus;
        pub(super) fn GrantTableCopy(operations: *mut GrantCopy, count: u32) -> NtStatus;
        pub(super) safe fn GrantTableSetVersion(version: u32) -> NtStatus;
        pub(super) safe fn GrantTableGetVersion(version: &mut u32) -> NtStatus;
        pub(super) safe fn SchedYield();
        pub(super) safe fn SchedShutdown(reason: u32) -> NtStatus;
        pub(super) safe fn SchedShutdownCode(reason: u32) -> NtStatus;
        pub(super) safe fn SchedWatchdog(id: &mut u32, seconds: u32) -> NtStatus;
        pub(super) safe fn VcpuIsUp(vcpu_id: u32, up: &mut u8) -> NtStatus;
        pub(super) safe fn VcpuSetPeriodicTimer(vcpu_id: u32, period: Option<&i64>) -> NtStatus;
        pub(super) safe fn VcpuRegisterVcpuInfo(vcpu_id: u32, pfn: u64, offset: u32) -> NtStatus;
    }
}

/// Loads xen.sys (by being an import) and checks that it comes from the same build.
///
/// `name` is the calling image's, for the log. `STATUS_INCOMPATIBLE_DRIVER_BLOCKED`: a mixed set;
/// `STATUS_NOT_IMPLEMENTED`: not on Xen. On any failure the caller stays inert.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn touch(name: &CStr) -> Result {
    let Build {
        major,
        minor,
        micro,
        build,
    } = Build::CURRENT;
    // SAFETY: the name is a terminated string that outlives the call; xen.sys keeps no pointer to it.
    Status::check(unsafe { import::XenTouch(name.as_ptr(), major, minor, micro, build) })
}

/// Xen's version.
pub fn version() -> Result<(u32, u32)> {
    let (mut major, mut minor) = (0, 0);
    Status::check(import::XenVersion(&mut major, &mut minor))?;
    Ok((major, minor))
}

/// The rest of Xen's version, a NUL-padded string such as `.17.4`.
pub fn version_extra() -> Result<[u8; 16]> {
    let mut extra = [0; 16];
    Status::check(import::XenVersionExtra(&mut extra))?;
    Ok(extra)
}

/// 32 feature bits of Xen; submap 0 has those that are published.
pub fn version_features(submap: u32) -> Result<u32> {
    let mut features = 0;
    Status::check(import::XenFeatures(submap, &mut features))?;
    Ok(features)
}

/// Hypercalls made so far. All zero off Xen.
#[must_use]
pub fn counters() -> Counters {
    let mut counters = Counters::ZERO;
    import::XenCounters(&mut counters);
    counters
}

/// Reads an HVM parameter of this domain.
pub fn hvm_get_param(parameter: u32) -> Result<u64> {
    let mut value = 0;
    Status::check(import::HvmGetParam(parameter, &mut value))?;
    Ok(value)
}

/// Sets an HVM parameter of this domain.
pub fn hvm_set_param(parameter: u32, value: u64) -> Result {
    Status::check(import::HvmSetParam(parameter, value))
}

/// Says that the page tables at this guest physical address die. A hint that most hosts refuse.
pub fn hvm_pagetable_dying(address: u64) -> Result {
    Status::check(import::HvmPagetableDying(address))
}

/// Gives a vCPU an upcall vector of its own; 0 takes it away. `STATUS_NOT_IMPLEMENTED`: the host
/// cannot.
pub fn hvm_set_evtchn_upcall_vector(vcpu_id: u32, vector: u8) -> Result {
    Status::check(import::HvmSetEvtchnUpcallVector(vcpu_id, vector))
}

/// Puts a page of `space` at guest frame `pfn`.
pub fn memory_add_to_physmap(pfn: u64, space: u32, offset: u64) -> Result {
    Status::check(import::MemoryAddToPhysmap(pfn, space, offset))
}

/// Takes the page at guest frame `pfn` away and leaves a hole.
pub fn memory_remove_from_physmap(pfn: u64) -> Result {
    Status::check(import::MemoryRemoveFromPhysmap(pfn))
}

/// Gives frames back to Xen. Returns how many were processed, counted from the start.
pub fn memory_decrease_reservation(order: u32, pfns: &[u64]) -> Result<usize> {
    let count = u32::try_from(pfns.len()).map_err(|_| Status::INVALID_PARAMETER)?;
    let mut result = 0;
    // SAFETY: `pfns` has `count` entries and `result` is a local; both outlive the call.
    Status::check(unsafe {
        import::MemoryDecreaseReservation(order, count, pfns.as_ptr(), &raw mut result)
    })?;
    Ok(result as usize)
}

/// Fills frames with memory. Returns how many were processed, counted from the start.
pub fn memory_populate_physmap(order: u32, pfns: &[u64]) -> Result<usize> {
    let count = u32::try_from(pfns.len()).map_err(|_| Status::INVALID_PARAMETER)?;
    let mut result = 0;
    // SAFETY: `pfns` has `count` entries and `result` is a local; both outlive the call.
    Status::check(unsafe {
        import::MemoryPopulatePhysmap(order, count, pfns.as_ptr(), &raw mut result)
    })?;
    Ok(result as usize)
}

/// Sends an event.
pub fn event_channel_send(port: u32) -> Result {
    Status::check(import::EventChannelSend(port))
}

/// Allocates a port to which `domain` may bind.
pub fn event_channel_allocate_unbound(domain: u16) -> Result<u32> {
    let mut port = 0;
    Status::check(import::EventChannelAllocateUnbound(domain, &mut port))?;
    Ok(port)
}

/// Binds to another domain's port.
pub fn event_channel_bind_inter_domain(remote_domain: u16, remote_port: u32) -> Result<u32> {
    let mut port = 0;
    Status::check(import::EventChannelBindInterDomain(
        remote_domain,
        remote_port,
        &mut port,
    ))?;
    Ok(port)
}

/// Binds a virtual interrupt of a vCPU.
pub fn event_channel_bind_virq(virq: u32, vcpu_id: u32) -> Result<u32> {
    let mut port = 0;
    Status::check(import::EventChannelBindVirq(virq, vcpu_id, &mut port))?;
    Ok(port)
}

/// The other end of an inter-domain port: domain and port.
pub fn event_channel_query_inter_domain(local_port: u32) -> Result<(u16, u32)> {
    let (mut domain, mut port) = (0, 0);
    Status::check(import::EventChannelQueryInterDomain(
        local_port,
        &mut domain,
        &mut port,
    ))?;
    Ok((domain, port))
}

/// Closes a port.
pub fn event_channel_close(port: u32) -> Result {
    Status::check(import::EventChannelClose(port))
}

/// Adds a page of event words to the FIFO array.
pub fn event_channel_expand_array(pfn: u64) -> Result {
    Status::check(import::EventChannelExpandArray(pfn))
}

/// Gives a vCPU its FIFO control block. Fails on hosts without the FIFO ABI.
pub fn event_channel_init_control(pfn: u64, vcpu_id: u32) -> Result {
    Status::check(import::EventChannelInitControl(pfn, vcpu_id))
}

/// Closes every port of the domain, the store's and the console's included.
pub fn event_channel_reset() -> Result {
    Status::check(import::EventChannelReset())
}

/// Delivers a port's events to another vCPU.
pub fn event_channel_bind_virtual_cpu(port: u32, vcpu_id: u32) -> Result {
    Status::check(import::EventChannelBindVirtualCpu(port, vcpu_id))
}

/// Unmasks a port and lets Xen raise the upcall again if it is pending.
pub fn event_channel_unmask(port: u32) -> Result {
    Status::check(import::EventChannelUnmask(port))
}

/// Frames of the grant table: now, and at most.
pub fn grant_table_query_size() -> Result<(u32, u32)> {
    let (mut current, mut maximum) = (0, 0);
    Status::check(import::GrantTableQuerySize(&mut current, &mut maximum))?;
    Ok((current, maximum))
}

/// Maps another domain's granted page at a guest physical address in a hole.
pub fn grant_table_map_foreign_page(
    domain: u16,
    reference: u32,
    address: u64,
    read_only: bool,
) -> Result<u32> {
    let mut handle = 0;
    Status::check(import::GrantTableMapForeignPage(
        domain,
        reference,
        address,
        u8::from(read_only),
        &mut handle,
    ))?;
    Ok(handle)
}

/// Undoes [`grant_table_map_foreign_page`].
pub fn grant_table_unmap_foreign_page(handle: u32, address: u64) -> Result {
    Status::check(import::GrantTableUnmapForeignPage(handle, address))
}

/// Copies between granted pages. Success only says that Xen looked at all operations: each has its
/// own status.
pub fn grant_table_copy(operations: &mut [GrantCopy]) -> Result {
    let count = u32::try_from(operations.len()).map_err(|_| Status::INVALID_PARAMETER)?;
    // SAFETY: the array has `count` entries, is exclusive and outlives the call.
    Status::check(unsafe { import::GrantTableCopy(operations.as_mut_ptr(), count) })
}

/// Chooses the format of the grant table's entries, 1 or 2.
pub fn grant_table_set_version(version: u32) -> Result {
    Status::check(import::GrantTableSetVersion(version))
}

/// The format of the grant table's entries.
pub fn grant_table_version() -> Result<u32> {
    let mut version = 0;
    Status::check(import::GrantTableGetVersion(&mut version))?;
    Ok(version)
}

/// Gives the rest of the time slice away.
pub fn sched_yield() {
    import::SchedYield();
}

/// Stops the domain. For a suspension `STATUS_CANCELLED` says that it did not happen.
pub fn sched_shutdown(reason: u32) -> Result {
    Status::check(import::SchedShutdown(reason))
}

/// Latches the reason that Xen reports when the domain stops later. The first one wins.
pub fn sched_shutdown_code(reason: u32) -> Result {
    Status::check(import::SchedShutdownCode(reason))
}

/// Starts (`id` 0), pats, or ends (`seconds` 0) a watchdog of the domain; returns its id.
pub fn sched_watchdog(mut id: u32, seconds: u32) -> Result<u32> {
    Status::check(import::SchedWatchdog(&mut id, seconds))?;
    Ok(id)
}

/// Does this vCPU run? `STATUS_OBJECT_NAME_NOT_FOUND`: there is none.
pub fn vcpu_is_up(vcpu_id: u32) -> Result<bool> {
    let mut up = 0;
    Status::check(import::VcpuIsUp(vcpu_id, &mut up))?;
    Ok(up != 0)
}

/// Raises `VIRQ_TIMER` on a vCPU each `period` (100 ns units); `None` stops that.
pub fn vcpu_set_periodic_timer(vcpu_id: u32, period: Option<i64>) -> Result {
    Status::check(import::VcpuSetPeriodicTimer(vcpu_id, period.as_ref()))
}

/// Moves a vCPU's event state to `offset` of a guest frame, once in the domain's life and only on
/// that vCPU. xen.sys does this itself: see `system_register_vcpu_info`.
pub fn vcpu_register_vcpu_info(vcpu_id: u32, pfn: u64, offset: u32) -> Result {
    Status::check(import::VcpuRegisterVcpuInfo(vcpu_id, pfn, offset))
}
