// SPDX-License-Identifier: BSD-2-Clause
//! The C edge of this crate: imports from xen.sys and calls through the bus driver's tables.
#![expect(
    unsafe_code,
    reason = "calls of foreign functions, callbacks with contexts"
)]

pub(crate) mod cache;
pub(crate) mod console;
pub(crate) mod debug;
pub(crate) mod evtchn;
pub(crate) mod gnttab;
pub(crate) mod published;
pub(crate) mod query;
pub(crate) mod range_set;
pub(crate) mod reference;
pub(crate) mod request;
pub(crate) mod shared_info;
pub(crate) mod suspend;
pub(crate) mod unplug;
pub(crate) mod watch;
#[cfg(windows)]
pub(crate) mod xen;
#[cfg(windows)]
pub(crate) mod xen_services;
