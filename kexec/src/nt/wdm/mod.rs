// SPDX-License-Identifier: BSD-2-Clause
//! What a WDM driver needs of the I/O manager: its driver object, device objects, IRPs and PnP structures.
//!
//! Thin and owned: an [`Irp`] is a value that is completed or passed on exactly once; a [`DeviceRef`] keeps an object alive; the
//! structures that a receiver frees (id strings, device relations, resource lists) are made by functions that return them as the
//! number which goes into `IoStatus.Information`. Policy (what to answer to which minor function) belongs to the drivers.
//!
//! Only images have IRPs: this module exists under `cfg(windows)`, over the same `sys` layer as the rest of `nt`.
#![expect(
    unsafe_code,
    reason = "the I/O manager's structures are raw memory shared with other drivers"
)]

mod device;
mod driver;
mod irp;
mod pnp;
mod remove_lock;
mod resources;

pub use device::{Device, DevicePtr, DeviceRef};
pub use driver::Driver;
pub use irp::{Irp, Reply, mj, mn};
pub use pnp::{
    BUS_QUERY_COMPATIBLE_IDS, BUS_QUERY_DEVICE_ID, BUS_QUERY_HARDWARE_IDS, BUS_QUERY_INSTANCE_ID,
    Capabilities, QueryInterface, WideText, hand_over, invalidate_bus_relations, merge_relations,
    query_id, query_text, relations, send_pnp, wide_string,
};
pub use remove_lock::{RemoveGuard, RemoveLock};
pub use resources::{Requirement, Resource, ResourceList, extend_requirements};
