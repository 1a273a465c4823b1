// SPDX-License-Identifier: BSD-2-Clause
//! Interfaces of the Xen bus: C tables and async wrappers.
//!
//! | module | what | who uses it |
//! |---|---|---|
//! | [`store`] | published STORE interface, version 2 | bus driver, child drivers |
//! | [`evtchn`] | published EVTCHN interface, versions 5 to 9 | bus driver, child drivers |
//! | [`suspend`], [`shared_info`], [`gnttab`], [`debug`], [`range_set`], [`cache`], [`unplug`], [`console`] | the other published tables | bus driver, child drivers |
//! | [`emulated`] | published EMULATED interface | filter, child drivers |
//! | [`store_async`] | our asynchronous store table | bus driver, child drivers |
//! | [`client`] | the bus as async Rust | child drivers |
//! | [`errno`] | error numbers and names as statuses | xen.sys, bus driver |
//! | [`xen`] | private ABI of xen.sys | xenbus.sys, xenfilt.sys |
//!
//! Only repr(C) tables, callbacks and contexts cross an image boundary; every image that names a
//! type of this crate has its own copy of the code.
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod cache;
pub mod client;
pub mod console;
pub mod debug;
pub mod emulated;
pub mod errno;
pub mod evtchn;
mod ffi;
pub mod gnttab;
mod interface;
pub mod range_set;
pub mod shared_info;
pub mod store;
pub mod store_async;
pub mod suspend;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../TUTORIAL.md")]
pub mod tutorial {}
pub mod unplug;
pub mod xen;

pub use ffi::query::query;
pub use interface::{
    Boolean, Guid, Interface, KEvent, LargeInteger, NtStatus, PCStr, PStr, PfnNumber,
    PhysicalAddress, ReferenceRoutine, Table,
};
