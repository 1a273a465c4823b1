// SPDX-License-Identifier: BSD-2-Clause
//! The run: what the kernel does once it is up, as boot.cfg says.
//!
//! | key | meaning |
//! | --- | --- |
//! | `drivers=a b` | start these services as plain drivers, in order; unload them in reverse order at the end |
//! | `pnp=1` | start the PnP manager with the Xen platform device |
//! | `keep=1` | do not unload plain drivers |
//! | `repeat=N` | load and unload the plain drivers N times |
//! | `failalloc=N` | the N-th allocation of a driver fails |
//! | `expect_violation=RULE:DRIVER` | the run is good only if the verifier finds exactly this |
//! | `expect_bugcheck=CODE` | the run is good only if it ends in this bug check |
//! | `expect_fail=1` | a plain driver's DriverEntry may fail |
//! | `load_errors=report` | an image that cannot be loaded fails its service, not the run |
//! | `timeout=SECONDS` | give the run up after that time (default 120) |
//! | `imports=1` | print how often each import was called |
//! | `cpus=N` | use at most N CPUs |
//! | `epoch=T` | system time at start, 100 ns units since 1601 |

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::ke::{bugcheck, sched, watchdog};
use crate::{arch, cm, ex, io, kprint, ldr, ob, pnp, ps, status, verifier};

/// Starts the first threads and becomes the idle thread of the first CPU.
pub(crate) fn run() -> ! {
    let main = ps::thread::spawn("main", Box::new(main));
    ps::thread::dereference(main);
    watchdog::arm(arch::boot_config().number("timeout").unwrap_or(120));
    sched::idle()
}

fn main() {
    let config = arch::boot_config();
    ex::work::init();
    ob::init();
    let registry = ldr::payload_file("registry.txt").unwrap_or(&[]);
    if let Err(why) = cm::init(&String::from_utf8_lossy(registry)) {
        verifier::failed("registry", format_args!("{why}"));
    }
    ex::pool::fail_at(config.number("failalloc").unwrap_or(0));
    let drivers: Vec<String> = config.words("drivers").map(ToString::to_string).collect();
    for _ in 0..config.number("repeat").unwrap_or(1) {
        plain(&drivers);
    }
    if config.flag("pnp")
        && let Err(why) = pnp::run(config)
    {
        verifier::failed("pnp", format_args!("{why}"));
    }
    end()
}

/// Starts plain drivers and unloads them.
fn plain(drivers: &[String]) {
    let config = arch::boot_config();
    let mut started = Vec::new();
    for driver in drivers {
        let result = io::load_driver(driver);
        if status::success(result) {
            started.push(driver);
        } else if !config.flag("expect_fail") {
            verifier::failed(
                "driver",
                format_args!("{driver}: DriverEntry returned {result:#x}"),
            );
        }
    }
    if !config.flag("keep") {
        for driver in started.iter().rev() {
            io::unload_driver(driver);
        }
    }
}

/// The end of a good run.
pub fn end() -> ! {
    let config = arch::boot_config();
    crate::ke::dpc::flush();
    ex::pool::check_all();
    if config.flag("imports") {
        for (driver, name, count) in ldr::gate::counts() {
            crate::log::line("RESULT ", format_args!("import {driver} {name} {count}"));
        }
    }
    crate::log::line("RESULT ", format_args!("allocations {}", ex::pool::calls()));
    for key in ["expect_violation", "expect_bugcheck"] {
        if let Some(expected) = config.get(key) {
            verifier::failed(
                "verifier",
                format_args!("{expected} was expected and did not happen"),
            );
        }
    }
    let failed = crate::log::failed_tests();
    if failed != 0 {
        verifier::failed("test", format_args!("{failed} tests failed"));
    }
    bugcheck::freeze_others();
    crate::log::seize();
    kprint!("done status=ok");
    arch::shutdown(true)
}
