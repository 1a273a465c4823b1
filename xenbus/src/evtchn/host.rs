// SPDX-License-Identifier: BSD-2-Clause
//! The seam under the event channels: what the hypervisor and the machine provide.
//!
//! On Windows the C edge implements both traits over xen.sys and kexec; on a host the tests' fake
//! does. Every method may be called at DISPATCH_LEVEL, those marked so at any IRQL.

use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use kexec::Result;

/// `vcpu_info`, 64 bytes, written by the hypervisor.
#[repr(C)]
#[derive(Debug, Default)]
pub struct VcpuInfo {
    /// Nonzero: an upcall is due.
    pub upcall_pending: AtomicU8,
    /// Not used by HVM guests.
    pub upcall_mask: AtomicU8,
    pad: [u8; 6],
    /// One bit for each word of pending ports.
    pub pending_sel: AtomicU64,
    arch: [AtomicU64; 2],
    /// `vcpu_time_info`.
    pub time: [AtomicU64; 4],
}

/// `shared_info`, one page of which 3136 bytes are used.
#[repr(C)]
#[derive(Debug)]
pub struct SharedInfo {
    /// Legacy array of the first 32 vCPUs.
    pub vcpu: [VcpuInfo; 32],
    /// 2-level: pending ports.
    pub pending: [AtomicU64; 64],
    /// 2-level: masked ports.
    pub mask: [AtomicU64; 64],
    /// Wall clock: version, seconds, nanoseconds, high half of seconds.
    pub wallclock: [AtomicU32; 4],
}

const _: () = {
    assert!(size_of::<VcpuInfo>() == 64);
    assert!(offset_of!(VcpuInfo, pending_sel) == 8);
    assert!(offset_of!(VcpuInfo, time) == 32);
    assert!(offset_of!(SharedInfo, pending) == 2048);
    assert!(offset_of!(SharedInfo, mask) == 2560);
    assert!(offset_of!(SharedInfo, wallclock) == 3072);
    assert!(size_of::<SharedInfo>() <= 4096);
};

/// Words in a page of events.
pub const WORDS: usize = 1024;

/// A page of RAM that the hypervisor is told of: FIFO control block or event array.
pub trait EventPage: Send + Sync {
    /// Its guest frame number.
    fn gfn(&self) -> u64;
    /// Its contents, all zero at first.
    fn words(&self) -> &[AtomicU32; WORDS];
}

/// Hypercalls. Any IRQL unless a method says otherwise.
pub trait Hypervisor: Send + Sync {
    /// `EVTCHNOP_alloc_unbound`.
    ///
    /// # Errors
    /// The hypercall's, as for every method here.
    fn alloc_unbound(&self, remote_domain: u16) -> Result<u32>;
    /// `EVTCHNOP_bind_interdomain`; the new local port.
    ///
    /// # Errors
    /// The hypercall's.
    fn bind_interdomain(&self, remote_domain: u16, remote_port: u32) -> Result<u32>;
    /// `EVTCHNOP_bind_virq`.
    ///
    /// # Errors
    /// The hypercall's.
    fn bind_virq(&self, virq: u32, vcpu: u32) -> Result<u32>;
    /// `EVTCHNOP_bind_vcpu`.
    ///
    /// # Errors
    /// The hypercall's.
    fn bind_vcpu(&self, port: u32, vcpu: u32) -> Result;
    /// `EVTCHNOP_close`.
    ///
    /// # Errors
    /// The hypercall's.
    fn close(&self, port: u32) -> Result;
    /// `EVTCHNOP_send`.
    ///
    /// # Errors
    /// The hypercall's.
    fn send(&self, port: u32) -> Result;
    /// `EVTCHNOP_unmask`: clears the mask and raises a pending event again, where it is bound.
    ///
    /// # Errors
    /// The hypercall's.
    fn unmask(&self, port: u32) -> Result;
    /// `EVTCHNOP_status` of an inter-domain port: remote domain and port.
    ///
    /// # Errors
    /// The hypercall's; `INVALID_PARAMETER` when the port is of another kind.
    fn query_interdomain(&self, port: u32) -> Result<(u16, u32)>;
    /// `EVTCHNOP_reset`: closes every port of the domain.
    ///
    /// # Errors
    /// The hypercall's.
    fn reset(&self) -> Result;
    /// `EVTCHNOP_init_control` with offset 0.
    ///
    /// # Errors
    /// The hypercall's.
    fn init_control(&self, gfn: u64, vcpu: u32) -> Result;
    /// `EVTCHNOP_expand_array`.
    ///
    /// # Errors
    /// The hypercall's.
    fn expand_array(&self, gfn: u64) -> Result;
    /// `HVMOP_set_evtchn_upcall_vector`.
    ///
    /// # Errors
    /// `NOT_IMPLEMENTED`: the hypervisor has no per-vCPU vectors. Else the hypercall's.
    fn set_upcall_vector(&self, vcpu: u32, vector: u8) -> Result;
    /// `HVMOP_get_param`.
    ///
    /// # Errors
    /// The hypercall's.
    fn get_param(&self, index: u32) -> Result<u64>;
    /// `HVMOP_set_param`.
    ///
    /// # Errors
    /// The hypercall's.
    fn set_param(&self, index: u32, value: u64) -> Result;
    /// The shared info page.
    fn shared_info(&self) -> &SharedInfo;
    /// The vCPU number of a processor.
    ///
    /// # Errors
    /// `NOT_SUPPORTED` when the processor is not there (yet).
    fn vcpu_id(&self, cpu: u32) -> Result<u32>;
    /// The `vcpu_info` of a processor, if it has one.
    fn vcpu_info(&self, cpu: u32) -> Option<&VcpuInfo>;
}

/// Processors, interrupts and pages.
pub trait Machine: Send + Sync {
    /// A page that the hypervisor may be told of.
    type Page: EventPage;

    /// The most processors that there can ever be.
    fn max_cpus(&self) -> u32;
    /// The processor that this runs on. Any IRQL.
    fn current_cpu(&self) -> u32;
    /// A zeroed page.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    fn alloc_page(&self) -> Result<Self::Page>;
    /// The vector of the interrupt that was connected for upcalls on `cpu`, if one was.
    fn vector(&self, cpu: u32) -> Option<u8>;
    /// The line (GSI) of the platform device's interrupt, connected on processor 0.
    fn line(&self) -> Option<u32>;
    /// Runs `f` at device IRQL with the interrupt of `cpu` locked, so that its service routine is not
    /// running; on processor 0 those of its vector and of the line. Just runs `f` where there is none.
    fn with_interrupt_lock(&self, cpu: u32, f: &mut dyn FnMut());
    /// Queues a DPC on `cpu` that calls [`Evtchn::dpc`](super::Evtchn::dpc). Any IRQL.
    fn queue_dpc(&self, cpu: u32);
    /// Calls the service routine of a channel opened with these numbers. Device IRQL.
    fn call(&self, routine: usize, context: usize) -> bool;
}
