// SPDX-License-Identifier: BSD-2-Clause
//! xen.sys: the export driver under xenbus.sys and xenfilt.sys.
//!
//! Owns what both need and only one may own: the hypercall instruction, the log's sinks, the unplug
//! state, the processors' vCPU ids. It has no devices and no threads; everything is loaded once and
//! then read-only or lock-free, so that every export but `XenTouch` may be called at any IRQL.
//!
//! On a machine without Xen it loads, says so, and every export returns `STATUS_NOT_IMPLEMENTED`.
//! Before Xen is found nothing runs that needs privilege: no port, no control register.
#![no_std]
#![deny(unsafe_code)]

pub mod acpi;
pub mod active;
pub mod bugcheck;
pub mod capture;
pub mod detect;
pub mod evtchn;
#[cfg(windows)]
mod ffi;
pub mod filters;
pub mod grant;
pub mod handshake;
pub mod hvm;
pub mod hypercall;
pub mod log;
pub mod madt;
pub mod memory;
pub mod modules;
pub mod options;
pub mod physical;
pub mod reboot;
pub mod registry;
pub mod sched;
pub mod sinks;
pub mod system;
pub mod unplug;
pub mod unplug_count;
pub mod vcpu;
pub mod vcpu_info;
pub mod vcpu_op;
pub mod version;
pub mod watchdog;
pub mod wire;
