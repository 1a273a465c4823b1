// SPDX-License-Identifier: BSD-2-Clause
//! Entry point, the list of tests, and the crash on purpose.
#![expect(unsafe_code, reason = "the C ABI, and a crash")]

use kexec::nt::log;
use kexec::nt::sys::{DRIVER_OBJECT, KeBugCheckEx, UNICODE_STRING};
use kexec::nt::wdm::Driver;
use kexec::{Passive, Status};
use xenbus_interface::xen;

use crate::{Outcome, hypercalls, memory, services};

/// Runs everything. Nothing stays: neither a device nor memory.
#[unsafe(no_mangle)]
unsafe extern "system" fn DriverEntry(
    driver: *mut DRIVER_OBJECT,
    _path: *const UNICODE_STRING,
) -> i32 {
    // SAFETY: the I/O manager's driver object.
    let Some(object) = (unsafe { Driver::from_raw(driver) }) else {
        return Status::INVALID_PARAMETER.raw();
    };
    object.set_unload(unload);
    let passive = Passive::assert();
    let touched = xen::touch(c"xentest");
    if touched == Err(Status::NOT_IMPLEMENTED) {
        run("off_xen.every_export_says_so", services::off_xen());
        return 0;
    }
    run("touch", crate::good(touched).map(drop));
    crash(passive);
    hypercalls::run_all(passive);
    memory::run_all();
    services::run_all(passive);
    // Last: it closes all that the tests have opened.
    run("evtchn.reset", hypercalls::reset());
    print("TEST xentest.end ok");
    0
}

unsafe extern "C" fn unload(_driver: *mut DRIVER_OBJECT) {}

/// Prints without xen.sys: to the debugger alone.
pub(crate) fn print(line: &str) {
    log::print(line);
}

/// Prints the outcome of one test.
pub(crate) fn run(name: &str, outcome: Outcome) {
    use core::fmt::Write;
    let mut line = log::Line::<256>::new();
    // What does not fit is cut.
    let _ = match &outcome {
        Ok(()) => write!(line, "TEST {name} ok"),
        Err(wrong) => write!(
            line,
            "TEST {name} FAIL {}:{} {}",
            wrong.file,
            wrong.line,
            wrong.seen.as_str()
        ),
    };
    print(line.as_str());
}

/// Ends in a bug check if an option asks for it.
fn crash(passive: Passive) {
    let Ok(option) = xen::config_query_start_option(passive, "XENTEST:CRASH=") else {
        return;
    };
    match option.as_str() {
        "XENTEST:CRASH=CODE" => KeBugCheckEx(0xC0DE, 0x11, 0x22, 0x33, 0x44),
        "XENTEST:CRASH=BUG" => KeBugCheckEx(
            0xDEAD,
            c"on purpose".as_ptr() as usize,
            c"entry.rs".as_ptr() as usize,
            77,
            0,
        ),
        _ => print("TEST crash FAIL unknown kind"),
    }
}
