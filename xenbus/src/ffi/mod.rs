// SPDX-License-Identifier: BSD-2-Clause
//! The edge of the image: DriverEntry, device objects and their requests, the C tables that children call.
//!
//! | module | what | IRQL |
//! |---|---|---|
//! | [`driver`] | DriverEntry, AddDevice, unload, the one dispatch routine | PASSIVE_LEVEL |
//! | [`fdo`] | the device on the Xen platform function: PnP, start, stop | PASSIVE_LEVEL |
//! | [`pdo`] | one child: identifiers, capabilities, QUERY_INTERFACE | PASSIVE_LEVEL |
//! | [`debug`] | debug callbacks and what triggers them | any |
//! | [`console`] | the console of one start | <= DISPATCH_LEVEL |
//! | [`bus`] | what exists between start and stop: interrupts, services, enumeration | PASSIVE_LEVEL |
//! | [`hypervisor`] | the seam's real side: xen.sys | <= DISPATCH_LEVEL |
//! | [`gate`] | the bus for methods that may be called at any IRQL | any |
//! | [`page`] | a ring's page, mapped | <= DISPATCH_LEVEL |
//! | [`root`] | the export that leads a memory image's reader to the above | any |
//! | [`suspend`] | what a suspend does to the services, and the thread that listens to the toolstack | PASSIVE_LEVEL, HIGH_LEVEL |
//! | [`tables`] | thunks of the interface tables | as each interface says |
//!
//! Nothing above this folder has unsafe code; nothing in it decides what the protocols decide.
#![expect(
    unsafe_code,
    reason = "the C ABI: entry points, IRPs, tables of function pointers"
)]

mod bus;
mod console;
mod debug;
mod driver;
mod fdo;
mod gate;
mod grants;
mod hypervisor;
mod lower;
mod page;
mod pdo;
mod root;
mod suspend;
mod tables;

use kexec::nt::Tag;

/// Pool tag of the image.
const TAG: Tag = Tag(*b"XBUS");
