// SPDX-License-Identifier: BSD-2-Clause
//! Argument structures of the hypercalls, laid out as Xen's public headers say for x86-64.

use core::mem::{offset_of, size_of};

/// A structure whose address may be given to Xen: repr(C), and any bytes that Xen writes are valid.
pub trait Argument {}

/// Defines wire structures with their sizes and field offsets asserted.
macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident, $size:literal { $($field:ident: $type:ty = $offset:literal,)* })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name {
            $(#[doc = concat!("At offset ", stringify!($offset), ".")] pub $field: $type,)*
        }
        impl Argument for $name {}
        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(offset_of!($name, $field) == $offset);)*
        };
    )*};
}

wire! {
    /// `xen_hvm_param`.
    HvmParam, 16 { domid: u16 = 0, index: u32 = 4, value: u64 = 8, }
    /// `xen_hvm_evtchn_upcall_vector`.
    UpcallVector, 8 { vcpu: u32 = 0, vector: u8 = 4, }
    /// `xen_add_to_physmap`.
    AddToPhysmap, 24 { domid: u16 = 0, size: u16 = 2, space: u32 = 4, index: u64 = 8, gpfn: u64 = 16, }
    /// `xen_remove_from_physmap`.
    RemoveFromPhysmap, 16 { domid: u16 = 0, gpfn: u64 = 8, }
    /// `xen_memory_reservation`.
    Reservation, 32 {
        extent_start: u64 = 0, nr_extents: u64 = 8, extent_order: u32 = 16, mem_flags: u32 = 20,
        domid: u16 = 24,
    }
    /// `evtchn_bind_interdomain`.
    BindInterDomain, 12 { remote_dom: u16 = 0, remote_port: u32 = 4, local_port: u32 = 8, }
    /// `evtchn_bind_virq`.
    BindVirq, 12 { virq: u32 = 0, vcpu: u32 = 4, port: u32 = 8, }
    /// `evtchn_close`, `evtchn_send`, `evtchn_unmask`.
    Port, 4 { port: u32 = 0, }
    /// `evtchn_status`; the union as its inter-domain member.
    ChannelStatus, 24 {
        dom: u16 = 0, port: u32 = 4, status: u32 = 8, vcpu: u32 = 12, remote_dom: u16 = 16,
        remote_port: u32 = 20,
    }
    /// `evtchn_alloc_unbound`.
    AllocUnbound, 8 { dom: u16 = 0, remote_dom: u16 = 2, port: u32 = 4, }
    /// `evtchn_bind_vcpu`.
    BindVcpu, 8 { port: u32 = 0, vcpu: u32 = 4, }
    /// `evtchn_reset`.
    Reset, 2 { dom: u16 = 0, }
    /// `evtchn_init_control`.
    InitControl, 24 {
        control_gfn: u64 = 0, offset: u32 = 8, vcpu: u32 = 12, link_bits: u8 = 16, pad: [u8; 7] = 17,
    }
    /// `evtchn_expand_array`.
    ExpandArray, 8 { array_gfn: u64 = 0, }
    /// `gnttab_map_grant_ref`.
    MapGrantRef, 32 {
        host_addr: u64 = 0, flags: u32 = 8, reference: u32 = 12, dom: u16 = 16, status: i16 = 18,
        handle: u32 = 20, dev_bus_addr: u64 = 24,
    }
    /// `gnttab_unmap_grant_ref`.
    UnmapGrantRef, 24 { host_addr: u64 = 0, dev_bus_addr: u64 = 8, handle: u32 = 16, status: i16 = 20, }
    /// `gnttab_query_size`.
    QuerySize, 16 { dom: u16 = 0, nr_frames: u32 = 4, max_nr_frames: u32 = 8, status: i16 = 12, }
    /// `gnttab_set_version`.
    SetVersion, 4 { version: u32 = 0, }
    /// `gnttab_get_version`.
    GetVersion, 8 { dom: u16 = 0, version: u32 = 4, }
    /// `sched_shutdown`.
    Shutdown, 4 { reason: u32 = 0, }
    /// `sched_watchdog`; the time limit in seconds.
    Watchdog, 8 { id: u32 = 0, timeout: u32 = 4, }
    /// `vcpu_set_periodic_timer`.
    PeriodicTimer, 8 { period_ns: u64 = 0, }
    /// `vcpu_register_vcpu_info`.
    RegisterVcpuInfo, 16 { mfn: u64 = 0, offset: u32 = 8, reserved: u32 = 12, }
    /// `xen_hvm_pagetable_dying`.
    PagetableDying, 16 { domid: u16 = 0, gpa: u64 = 8, }
    /// `xen_feature_info`.
    FeatureInfo, 8 { index: u32 = 0, submap: u32 = 4, }
    /// `xen_extraversion_t`.
    ExtraVersion, 16 { text: [u8; 16] = 0, }
}
