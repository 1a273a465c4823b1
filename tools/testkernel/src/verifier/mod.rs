// SPDX-License-Identifier: BSD-2-Clause
//! The verifier: who called, and the one way in which a violated rule ends the run.

pub mod call;

use alloc::string::{String, ToString};

/// Who is calling into the kernel.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The driver's service name (`xenbus`), or `kernel`.
    pub driver: String,
    /// The export it called.
    pub export: &'static str,
}

/// The innermost call from a driver into the kernel on this thread. Read it early: calling other drivers
/// changes it.
pub fn caller() -> Caller {
    Caller { driver: "kernel".to_string(), export: "-" }
}

/// Reports that the calling driver broke `rule` and ends the run.
pub fn fail(rule: &str, detail: core::fmt::Arguments<'_>) -> ! {
    fail_as(&caller(), rule, detail)
}

/// Reports that `who` broke `rule` and ends the run.
pub fn fail_as(who: &Caller, rule: &str, detail: core::fmt::Arguments<'_>) -> ! {
    crate::log::line("VERIFIER: ", format_args!("driver={} call={} rule={} {}", who.driver, who.export, rule, detail));
    crate::arch::shutdown(false)
}

/// Ends the run as failed for a reason that is no verifier rule (`KERNEL: failed AREA: ...`).
pub fn failed(area: &str, detail: core::fmt::Arguments<'_>) -> ! {
    crate::kprint!("failed {area}: {detail}");
    crate::arch::shutdown(false)
}
