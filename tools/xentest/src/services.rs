// SPDX-License-Identifier: BSD-2-Clause
//! xen.sys's services: processors, watchdog, log, images, unplug counts, the registry.
#![expect(unsafe_code, reason = "a sink of the log, and its argument")]

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

use kexec::nt::{self, cpu};
use kexec::{Duration, Passive, Status, wstr};
use xenbus_interface::xen::{self, ActiveDevice, LogDisposition, LogLevel};

use crate::entry::{print, run};
use crate::{Outcome, bad, check, good, same};

pub(crate) fn run_all(passive: Passive) {
    run("system.vcpu_ids", vcpu_ids());
    run("system.vcpu_info", vcpu_info(passive));
    run("system.memory", memory());
    run("system.watchdog", watchdog());
    run("log.dispositions", dispositions());
    run("log.capture", capture(passive));
    run("module.lookup", lookup());
    run("unplug.counts", unplug_counts(passive));
    run("unplug.nothing_requested", unplug());
    run("config.start_option", start_option(passive));
    run("config.active", active(passive));
    run("config.reboot", reboot(passive));
    xen::filters_install(passive);
    xen::filters_install(passive);
    run("filters", filters(passive, 1));
    xen::filters_uninstall(passive);
    run("filters.gone", filters(passive, 0));
}

/// Without Xen nothing works, and nothing else happens.
pub(crate) fn off_xen() -> Outcome {
    let absent = Status::NOT_IMPLEMENTED;
    bad(xen::version(), absent)?;
    bad(xen::version_features(0), absent)?;
    bad(xen::hvm_get_param(1), absent)?;
    bad(xen::hvm_pagetable_dying(0), absent)?;
    bad(xen::memory_remove_from_physmap(1), absent)?;
    bad(xen::memory_populate_physmap(0, &[1]), absent)?;
    bad(xen::event_channel_send(1), absent)?;
    bad(xen::event_channel_reset(), absent)?;
    bad(xen::grant_table_query_size(), absent)?;
    bad(xen::grant_table_copy(&mut []), absent)?;
    bad(xen::grant_table_version(), absent)?;
    xen::sched_yield();
    bad(xen::sched_shutdown(0), absent)?;
    bad(xen::sched_shutdown_code(3), absent)?;
    bad(xen::sched_watchdog(0, 10), absent)?;
    bad(xen::vcpu_is_up(0), absent)?;
    bad(xen::vcpu_set_periodic_timer(0, None), absent)?;
    bad(xen::vcpu_register_vcpu_info(0, 1, 0), absent)?;
    bad(xen::system_processor_vcpu_id(0), absent)?;
    bad(xen::system_processor_vcpu_info(0), absent)?;
    bad(xen::system_register_vcpu_info(0, true), absent)?;
    bad(xen::system_set_watchdog(10), absent)?;
    xen::system_stop_watchdog();
    same(xen::system_maximum_physical_address(), 0)?;
    same(xen::module_lookup(off_xen as *const () as u64), None)?;
    bad(xen::unplug_devices(), absent)?;
    bad(xen::unplug_devices_again(), absent)?;
    bad(xen::unplug_increment_value(Passive::assert(), 0), absent)?;
    same(xen::unplug_get_request(0), false)?;
    xen::log_resume();
    xen::log_write(LogLevel::Info, "xentest: off Xen");
    same(xen::counters().total(), 0)
}

fn vcpu_ids() -> Outcome {
    for cpu in 0..cpu::count() {
        let id = good(xen::system_processor_vcpu_id(cpu))?;
        for other in 0..cpu {
            check(good(xen::system_processor_vcpu_id(other))? != id, (cpu, id))?;
        }
    }
    bad(
        xen::system_processor_vcpu_id(cpu::count()),
        Status::NOT_SUPPORTED,
    )?;
    bad(xen::system_processor_vcpu_id(100_000), Status::UNSUCCESSFUL)
}

/// With registration every processor has its own state, which Xen knows; without it none has.
fn vcpu_info(passive: Passive) -> Outcome {
    let forced = xen::config_query_start_option(passive, "XENTEST:VCPU_INFO=").is_ok();
    if !forced {
        bad(xen::system_processor_vcpu_info(0), Status::NOT_SUPPORTED)?;
        return good(xen::system_register_vcpu_info(0, true));
    }
    let mut last = core::ptr::null_mut();
    for cpu in 0..cpu::count() {
        let state = good(xen::system_processor_vcpu_info(cpu))?;
        check(state.addr().is_multiple_of(64) && state != last, state)?;
        last = state;
        // It is there: nothing to do. And Xen takes no second one.
        good(good(cpu::run_on(passive, cpu, || {
            xen::system_register_vcpu_info(cpu, false)
        }))?)?;
        // The time record's version, at 32, and its scale, at 56: Xen has filled both.
        // SAFETY: 64 bytes that live as long as the domain.
        let scale = unsafe { state.add(56).cast::<u32>().read_volatile() };
        check(scale != 0, (cpu, "no time"))?;
    }
    bad(
        xen::system_processor_vcpu_info(cpu::count()),
        Status::NOT_SUPPORTED,
    )
}

fn memory() -> Outcome {
    let highest = xen::system_maximum_physical_address();
    // The rig's guests have 128 MiB.
    check(
        highest > 64 << 20 && highest < 1 << 40 && highest & 0xFFF == 0xFFF,
        highest,
    )?;
    same(xen::system_real_time_is_universal(), true)
}

fn watchdog() -> Outcome {
    bad(xen::system_set_watchdog(0), Status::INVALID_PARAMETER)?;
    good(xen::system_set_watchdog(3000))?;
    good(xen::system_set_watchdog(3000))?;
    // One of Xen's two is taken, and freed again.
    let second = good(xen::sched_watchdog(0, 3000))?;
    bad(xen::sched_watchdog(0, 3000), Status::INSUFFICIENT_RESOURCES)?;
    xen::system_stop_watchdog();
    let first = good(xen::sched_watchdog(0, 3000))?;
    good(xen::sched_watchdog(first, 0))?;
    good(xen::sched_watchdog(second, 0)).map(drop)
}

/// Lines that a sink got, and those with the mark.
#[derive(Default)]
struct Lines {
    all: AtomicU32,
    marked: AtomicU32,
}

unsafe extern "C" fn take(argument: *mut c_void, line: *const u8, length: u32) {
    // SAFETY: the lines outlive the disposition.
    let lines = unsafe { &*argument.cast::<Lines>() };
    // SAFETY: the log's line, for the call.
    let line = unsafe { core::slice::from_raw_parts(line, length as usize) };
    lines.all.fetch_add(1, Ordering::SeqCst);
    if line.windows(4).any(|part| part == b"MARK") && !line.ends_with(b"\n") {
        lines.marked.fetch_add(1, Ordering::SeqCst);
    }
}

fn sink(mask: u32, lines: &Lines) -> kexec::Result<LogDisposition> {
    // SAFETY: every caller drops the disposition before the lines.
    unsafe { LogDisposition::add(mask, take, (&raw const *lines).cast_mut().cast()) }
}

fn dispositions() -> Outcome {
    let lines = Lines::default();
    let marked = || lines.marked.load(Ordering::SeqCst);
    let one = good(sink(LogLevel::Trace as u32, &lines))?;
    xen::log_write(LogLevel::Trace, "xentest: MARK 1");
    same(marked(), 1)?;
    xen::log_write(LogLevel::Info, "xentest: MARK 2, of another level");
    same(marked(), 1)?;
    // An empty mask takes no place: all of these are accepted.
    for _ in 0..20 {
        core::mem::forget(good(sink(0, &lines))?);
    }
    let mut more = [const { None }; 8];
    let mut added = 0;
    for place in &mut more {
        match sink(LogLevel::Trace as u32, &lines) {
            Ok(disposition) => {
                *place = Some(disposition);
                added += 1;
            }
            Err(Status::UNSUCCESSFUL) => break,
            Err(status) => return bad::<()>(Err(status), Status::UNSUCCESSFUL),
        }
    }
    // The console's port is a sink, and in an HVM guest the device model's.
    check(added == 5 || added == 6, added)?;
    drop(more);
    drop(one);
    xen::log_write(LogLevel::Trace, "xentest: MARK 3, to nobody");
    same(marked(), 1)
}

/// What a PV driver prints comes to the sinks by itself.
fn capture(passive: Passive) -> Outcome {
    let lines = Lines::default();
    let one = good(sink(u32::MAX, &lines))?;
    print("not for the log: MARK");
    print("xentest: MARK printed");
    xen::log_resume();
    print("xentest: MARK printed after a resume");
    xen::log_write(
        LogLevel::Info,
        "xentest: MARK logged, which prints it as well",
    );
    nt::flush_dpcs(passive);
    drop(one);
    // Two captured, and one logged: that one is printed, and not captured again.
    same(lines.marked.load(Ordering::SeqCst), 3)?;
    let off = good(sink(u32::MAX, &lines))?;
    nt::delay(passive, Duration::from_millis(1));
    drop(off);
    Ok(())
}

fn lookup() -> Outcome {
    let own = lookup as *const () as u64;
    let Some(found) = xen::module_lookup(own) else {
        return check(false, "this image is unknown");
    };
    check(found.name() == "xentest.sys", found)?;
    // The image begins where the offset says.
    let Some(start) = xen::module_lookup(own - found.offset) else {
        return check(false, "its start is unknown");
    };
    same((start.name(), start.offset), ("xentest.sys", 0))?;
    let kernel = nt::sys::MmGetSystemRoutineAddress as *const () as u64;
    check(xen::module_lookup(kernel).is_some(), "a stub of ours")?;
    same(xen::module_lookup(0x1000), None)?;
    same(xen::module_lookup(u64::MAX), None)
}

fn unplug_counts(passive: Passive) -> Outcome {
    for kind in [xen::UNPLUG_DISKS, xen::UNPLUG_NICS] {
        bad(
            xen::unplug_decrement_value(passive, kind),
            Status::OBJECT_NAME_NOT_FOUND,
        )?;
        good(xen::unplug_increment_value(passive, kind))?;
        good(xen::unplug_increment_value(passive, kind))?;
        good(xen::unplug_decrement_value(passive, kind))?;
        good(xen::unplug_decrement_value(passive, kind))?;
        bad(
            xen::unplug_decrement_value(passive, kind),
            Status::INVALID_PARAMETER,
        )?;
    }
    bad(
        xen::unplug_increment_value(passive, 2),
        Status::INVALID_PARAMETER,
    )
}

/// No request: nothing was unplugged, so nothing may be unplugged again.
fn unplug() -> Outcome {
    same(xen::unplug_get_request(xen::UNPLUG_DISKS), false)?;
    same(xen::unplug_get_request(xen::UNPLUG_NICS), false)?;
    good(xen::unplug_devices_again())?;
    match xen::unplug_devices() {
        // A PVH guest has no device model.
        Ok(()) | Err(Status::NOT_SUPPORTED) => good(xen::unplug_devices_again()),
        other => good(other),
    }
}

fn start_option(passive: Passive) -> Outcome {
    let option = good(xen::config_query_start_option(passive, "XENTEST:HERE="))?;
    same(option.as_str(), "XENTEST:HERE=YES")?;
    check(
        matches!(
            xen::config_query_start_option(passive, "XENTEST:NOT_HERE="),
            Err(Status::OBJECT_NAME_NOT_FOUND)
        ),
        "an option that is not there",
    )
}

fn active(passive: Passive) -> Outcome {
    let get = |key| xen::config_get_active(passive, key);
    let device = ActiveDevice {
        device: wstr!("PCI\\VEN_5853&DEV_0001"),
        instance: wstr!("3&1"),
        location: wstr!("here"),
    };
    let other = ActiveDevice {
        device: wstr!("PCI\\VEN_5853&DEV_0002"),
        ..device
    };
    check(
        matches!(get("DeviceID"), Err(Status::OBJECT_NAME_NOT_FOUND)),
        "a device is recorded",
    )?;
    good(xen::config_set_active(passive, device))?;
    good(xen::config_update_active(passive, other))?;
    let id = good(get("DeviceID"))?;
    check(id.as_wstr() == device.device, id)?;
    let location = good(get("LocationInformation"))?;
    check(location.as_wstr() == device.location, location)?;
    good(xen::config_clear_active(passive))?;
    check(get("InstanceID").is_err(), "it is still recorded")?;
    check(get("LocationInformation").is_ok(), "the place is forgotten")
}

fn reboot(passive: Passive) -> Outcome {
    let parameters =
        wstr!("\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\xenbus\\Parameters");
    good(xen::config_request_reboot(
        passive,
        parameters,
        wstr!("XENTEST"),
    ))?;
    let written = wstr!(
        "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Request\\XENTEST"
    );
    let key = good(nt::Key::open(passive, written))?;
    same(good(key.query_dword(wstr!("Reboot")))?, 1)
}

fn filters(passive: Passive, wanted: usize) -> Outcome {
    let class = wstr!(
        "\\Registry\\Machine\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e97d-e325-11ce-bfc1-08002be10318}"
    );
    let key = good(nt::Key::open(passive, class))?;
    let list = good(key.query_multi_sz(nt::Tag(*b"XTst"), wstr!("UpperFilters")))?;
    same(list.len(), 1 + wanted)?;
    check(list[0].as_wstr() == wstr!("other"), &list[0])
}
