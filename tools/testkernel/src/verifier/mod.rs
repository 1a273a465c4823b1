// SPDX-License-Identifier: BSD-2-Clause
//! The verifier: who called, and the one way in which a violated rule ends the run.

pub mod call;
#[cfg(target_os = "none")]
pub(crate) mod leaks;
#[cfg(target_os = "none")]
pub(crate) mod locks;

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
    #[cfg(target_os = "none")]
    if let Some(record) = crate::ldr::gate::last_record() {
        return Caller {
            driver: record.driver.to_string(),
            export: record.name,
        };
    }
    Caller {
        driver: "kernel".to_string(),
        export: "-",
    }
}

/// Reports that the calling driver broke `rule` and ends the run.
pub fn fail(rule: &str, detail: core::fmt::Arguments<'_>) -> ! {
    fail_as(&caller(), rule, detail)
}

/// Reports that `who` broke `rule` and ends the run: as failed, or as good when boot.cfg says
/// `expect_violation=RULE:DRIVER` and this is it.
pub fn fail_as(who: &Caller, rule: &str, detail: core::fmt::Arguments<'_>) -> ! {
    begin_end();
    crate::log::line(
        "VERIFIER: ",
        format_args!(
            "driver={} call={} rule={} {}",
            who.driver, who.export, rule, detail
        ),
    );
    #[cfg(target_os = "none")]
    {
        let expected = crate::arch::boot_config().get("expect_violation");
        if expected.and_then(|e| e.split_once(':')) == Some((rule, who.driver.as_str())) {
            crate::kprint!("done status=ok");
            crate::arch::shutdown(true);
        }
        crate::ke::fault::backtrace_here();
    }
    crate::kprint!("failed verifier: {} broke {rule}", who.driver);
    crate::arch::shutdown(false)
}

/// Ends the run as failed for a reason that is no verifier rule (`KERNEL: failed AREA: ...`).
pub fn failed(area: &str, detail: core::fmt::Arguments<'_>) -> ! {
    begin_end();
    crate::kprint!("failed {area}: {detail}");
    crate::arch::shutdown(false)
}

/// Stops the other CPUs and makes the log ours.
fn begin_end() {
    #[cfg(target_os = "none")]
    {
        crate::arch::disable_interrupts();
        crate::ke::bugcheck::freeze_others();
    }
    crate::log::seize();
}
