// SPDX-License-Identifier: BSD-2-Clause
//! Builds the drivers written in C: three that call the test kernel's exports as C drivers do, and one deliberately wrong
//! driver for each thing that the kernel's verifier must catch.
//!
//! clang compiles them after mingw-w64's DDK headers, LLVM's linker links them against the same import libraries as the
//! Rust drivers. They end up as `target/cdriver/NAME.sys`; an image newer than everything it is made from is left alone.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use anyhow::{Context, Result, anyhow};

use super::kit;
use crate::util;

const COMPILER: &str = "clang-19";
const LINKER: &str = "lld-link-19";
const INCLUDES: [&str; 3] = [
    "/usr/lib/llvm-19/lib/clang/19/include",
    "/usr/x86_64-w64-mingw32/include/ddk",
    "/usr/x86_64-w64-mingw32/include",
];
/// The headers' idea of the Windows version; and mingw-w64 defines the last two functions twice.
const DEFINES: [&str; 6] = [
    "_WIN32_WINNT=0x0A00",
    "NTDDI_VERSION=0x0A000000",
    "WINVER=0x0A00",
    "NT_PROCESSOR_GROUPS",
    "__INTRINSIC_DEFINED_InterlockedBitTestAndSet",
    "__INTRINSIC_DEFINED_InterlockedBitTestAndReset",
];
const COMPILER_FLAGS: [&str; 17] = [
    "--target=x86_64-w64-windows-gnu",
    "-std=gnu17",
    "-O2",
    "-g",
    "-gcodeview",
    "-ffreestanding",
    "-fno-builtin",
    "-fms-extensions",
    "-fno-stack-protector",
    "-mno-stack-arg-probe",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unused-function",
    // The headers warn about themselves, and pool tags are multi-character constants.
    "-Wno-#warnings",
    "-Wno-multichar",
    "-Wno-four-char-constants",
];
const HEADER_FLAGS: [&str; 2] = ["-Wno-ignored-attributes", "-Wno-unknown-pragmas"];
const LINKER_FLAGS: [&str; 11] = [
    "/DRIVER",
    "/NODEFAULTLIB",
    "/SUBSYSTEM:NATIVE,10.0",
    "/ENTRY:DriverEntry",
    "/NXCOMPAT",
    "/DYNAMICBASE",
    "/HIGHENTROPYVA",
    "/MANIFEST:NO",
    "/OPT:REF",
    "/DEBUG",
    "/Brepro",
];

/// Drivers that must pass: name, `boot.cfg`, and what the log must contain besides no `FAIL`.
pub(crate) const RIGHT: &[(&str, &str, &str)] = &[
    ("ctest", "drivers=ctest\n", "TEST unload ok"),
    (
        "cpnp",
        "pnp=1\nuntil=cpnp.done\ncreate_test=1\npower_test=1\n",
        "TEST cpnp_unload ok",
    ),
    (
        "cbug",
        "drivers=cbug\nexpect_bugcheck=0xc0de\n",
        "TEST bug_check_data ok",
    ),
];

/// Children of the bus: built from the headers in `include/`, tested by `test::children`.
pub(crate) const CHILDREN: &[&str] = &["cchild"];

/// Wrong drivers: name, the rule that each breaks, and the call that the verifier must name. The driver that it
/// must name is the first column.
pub(crate) const WRONG: &[(&str, &str, &str)] = &[
    ("break_point", "assertion", "-"),
    ("bugcheck_freed", "freed_record", "ExFreePoolWithTag"),
    ("bugcheck_left", "callback_leak", "unload"),
    (
        "cancel_lock_not_held",
        "cancel_lock_not_held",
        "IoReleaseCancelSpinLock",
    ),
    (
        "device_attached",
        "device_deleted_while_attached",
        "IoDeleteDevice",
    ),
    (
        "device_attached_twice",
        "device_attached_twice",
        "IoAttachDeviceToDeviceStack",
    ),
    (
        "device_detach_nothing",
        "detach_of_nothing",
        "IoDetachDevice",
    ),
    ("device_left", "device_leak", "unload"),
    ("device_not_one", "bad_device", "IoDeleteDevice"),
    ("device_reference_left", "device_reference_leak", "unload"),
    ("device_twice", "device_deleted_twice", "IoDeleteDevice"),
    ("dpc_again", "dpc_reinit", "KeInitializeDpc"),
    ("dpc_for_ever", "dpc_watchdog", "DPC routine"),
    ("dpc_freed", "freed_dpc", "ExFreePoolWithTag"),
    ("dpc_not_one", "not_a_dpc", "KeInsertQueueDpc"),
    ("driver_not_one", "bad_driver", "IoCreateDevice"),
    ("event_freed", "freed_wait", "ExFreePoolWithTag"),
    ("event_not_one", "not_an_event", "KeSetEvent"),
    ("event_wait", "set_event_wait", "KeSetEvent"),
    ("fast_fail", "fast_fail", "-"),
    (
        "fast_mutex_apcs",
        "fast_mutex_apcs",
        "ExAcquireFastMutexUnsafe",
    ),
    (
        "fast_mutex_foreign",
        "mutex_not_owned",
        "ExReleaseFastMutex",
    ),
    (
        "fast_mutex_twice",
        "fast_mutex_recursive",
        "ExAcquireFastMutex",
    ),
    ("fault_null", "fault", "-"),
    ("handle_left", "handle_leak", "unload"),
    ("handle_twice", "bad_handle", "ZwClose"),
    ("interrupt_left", "interrupt_leak", "unload"),
    (
        "interrupt_not_one",
        "not_an_interrupt",
        "KeAcquireInterruptSpinLock",
    ),
    ("irp_bad_major", "irp_bad_major", "IofCallDriver"),
    ("irp_cancel_lock_kept", "cancel_lock_held", "CancelRoutine"),
    (
        "irp_cancelable",
        "irp_cancel_routine_set",
        "IofCompleteRequest",
    ),
    (
        "irp_cancelled_late",
        "irp_cancelled_after_completion",
        "IoCancelIrp",
    ),
    ("irp_forgotten", "irp_pending_mismatch", "Dispatch"),
    (
        "irp_forwarded_late",
        "irp_forwarded_after_completion",
        "IofCallDriver",
    ),
    ("irp_freed_in_flight", "irp_freed_in_flight", "IoFreeIrp"),
    ("irp_freed_twice", "irp_freed_twice", "IoFreeIrp"),
    ("irp_left", "irp_leak", "unload"),
    ("irp_no_stack", "irp_no_more_stack", "IofCallDriver"),
    ("irp_not_one", "bad_irp", "IoFreeIrp"),
    (
        "irp_not_taken_back",
        "irp_completed_unowned",
        "IofCompleteRequest",
    ),
    ("irp_pending_denied", "irp_pending_mismatch", "Dispatch"),
    (
        "irp_pending_status",
        "irp_completed_pending",
        "IofCompleteRequest",
    ),
    ("irp_pending_unmarked", "irp_pending_mismatch", "Dispatch"),
    ("irp_pnp_raised", "pnp_irp_irql", "IofCallDriver"),
    ("irp_twice", "irp_completed_twice", "IofCompleteRequest"),
    (
        "irql_dispatch_only",
        "irql",
        "KeReleaseSpinLockFromDpcLevel",
    ),
    ("irql_dpc_lowered", "irql_changed", "DPC routine"),
    ("irql_left_raised", "irql_changed", "DriverEntry"),
    ("irql_lower_up", "irql_lower_up", "KeLowerIrql"),
    ("irql_passive_only", "irql", "ZwOpenKey"),
    ("irql_pool_high", "irql", "ExAllocatePoolWithTag"),
    ("irql_raise_down", "irql_raise_down", "KfRaiseIrql"),
    ("lock_freed", "freed_lock", "ExFreePoolWithTag"),
    ("lock_held_below", "lock_held", "KeSetEvent"),
    ("lock_kept", "lock_left", "DriverEntry"),
    ("lock_not_held", "lock_not_held", "KeReleaseSpinLock"),
    (
        "lock_not_one",
        "not_a_spin_lock",
        "KeAcquireSpinLockRaiseToDpc",
    ),
    (
        "lock_twice",
        "lock_recursive",
        "KeAcquireSpinLockAtDpcLevel",
    ),
    ("mapping_left", "mapping_leak", "unload"),
    ("mapping_other_size", "bad_unmap", "MmUnmapIoSpace"),
    ("mdl_freed_mapped", "freed_mdl", "ExFreePool"),
    (
        "mdl_mapped_twice",
        "mdl_mapped",
        "MmMapLockedPagesSpecifyCache",
    ),
    (
        "mdl_not_locked",
        "mdl_not_locked",
        "MmMapLockedPagesSpecifyCache",
    ),
    ("mdl_pages_twice", "double_free", "MmFreePagesFromMdl"),
    ("mdl_unmap_other", "bad_unmap", "MmUnmapLockedPages"),
    ("mutex_foreign", "mutex_not_owned", "KeReleaseMutex"),
    ("mutex_freed", "freed_mutex", "ExFreePoolWithTag"),
    ("object_not_one", "bad_object", "ObfDereferenceObject"),
    ("object_too_often", "bad_object", "ObfDereferenceObject"),
    ("pnp_initializing", "device_still_initializing", "AddDevice"),
    (
        "pnp_power_overlap",
        "power_irp_overlap",
        "PoRequestPowerIrp",
    ),
    ("pnp_stays", "device_left_in_stack", "Dispatch"),
    (
        "pool_executable",
        "executable_pool",
        "ExAllocatePoolWithTag",
    ),
    ("pool_left", "pool_leak", "unload"),
    ("pool_no_bytes", "bad_argument", "ExAllocatePoolWithTag"),
    ("pool_not_one", "bad_free", "ExFreePoolWithTag"),
    ("pool_overrun", "pool_overrun", "ExFreePoolWithTag"),
    ("pool_paged_high", "pool_irql", "ExAllocatePoolWithTag"),
    ("pool_tag", "tag_mismatch", "ExFreePoolWithTag"),
    ("pool_twice", "double_free", "ExFreePoolWithTag"),
    ("pool_underrun", "pool_underrun", "ExFreePoolWithTag"),
    ("pool_use_freed", "freed_use", "-"),
    ("pool_write_freed", "freed_write", "-"),
    ("print_callback_left", "callback_leak", "unload"),
    ("print_wide", "print_wide_irql", "DbgPrint"),
    (
        "relations_not_pdo",
        "not_a_pdo",
        "IoInvalidateDeviceRelations",
    ),
    (
        "remove_lock_not_held",
        "remove_lock_underflow",
        "IoReleaseRemoveLockAndWaitEx",
    ),
    (
        "remove_lock_over",
        "remove_lock_underflow",
        "IoReleaseRemoveLockEx",
    ),
    (
        "remove_lock_small",
        "remove_lock_size",
        "IoInitializeRemoveLockEx",
    ),
    (
        "rundown_not_held",
        "rundown_not_held",
        "ExReleaseRundownProtection",
    ),
    ("semaphore_over", "semaphore_limit", "KeReleaseSemaphore"),
    (
        "thread_ends_in_region",
        "critical_region_left",
        "PsTerminateSystemThread",
    ),
    ("thread_ends_raised", "irql_changed", "thread routine"),
    (
        "thread_ends_with_mutex",
        "mutex_left",
        "PsTerminateSystemThread",
    ),
    ("thread_left", "thread_leak", "unload"),
    ("thread_not_one", "not_a_thread", "KeSetPriorityThread"),
    ("thread_reference_left", "thread_leak", "unload"),
    ("timer_again", "timer_reinit", "KeInitializeTimerEx"),
    ("timer_dpc_left", "timer_leak", "unload"),
    ("timer_freed", "freed_timer", "ExFreePoolWithTag"),
    ("timer_left", "timer_leak", "unload"),
    ("timer_not_one", "not_a_timer", "KeSetTimer"),
    ("wait_at_dispatch", "wait_irql", "KeWaitForSingleObject"),
    (
        "wait_not_one",
        "not_a_dispatcher_object",
        "KeWaitForSingleObject",
    ),
    (
        "work_freed_queued",
        "work_item_freed_queued",
        "IoFreeWorkItem",
    ),
    ("work_left", "work_item_leak", "unload"),
    ("work_not_one", "bad_work_item", "IoFreeWorkItem"),
    ("work_queued_twice", "work_item_queued", "ExQueueWorkItem"),
    (
        "work_reinitialized",
        "work_item_reinitialized",
        "IoInitializeWorkItem",
    ),
    ("work_twice", "work_item_queued_twice", "IoQueueWorkItem"),
];

/// The registry that a driver of ours needs: it is the one for the Xen platform device and for its own children.
pub(crate) fn registry(name: &str) -> String {
    const CONTROL: &str = r"\Registry\Machine\SYSTEM\CurrentControlSet";
    let database = format!(r"{CONTROL}\Control\TestKernel\DriverDatabase");
    let mut text = format!("K\t{CONTROL}\\Services\\{name}\n");
    for id in ["PCI#VEN_5853&DEV_0001", "CTEST#CHILD"] {
        text += &format!("V\t{database}\\{id}\tService\tsz\t{name}\n");
    }
    text
}

/// `boot.cfg` of the run in which a wrong driver must be caught; such a run ends well only then.
pub(crate) fn wrong_boot(name: &str, rule: &str) -> String {
    let how = if name.starts_with("pnp_") {
        "pnp=1".to_owned()
    } else {
        format!("drivers={name}")
    };
    format!("{how}\nexpect_violation={rule}:{name}\n")
}

/// What the log of a wrong driver's run must contain.
pub(crate) fn wrong_line(name: &str, rule: &str, call: &str) -> String {
    format!("VERIFIER: driver={name} call={call} rule={rule} ")
}

fn sources() -> PathBuf {
    util::root().join("tools/cdriver")
}

/// The C files of an image, and the headers that they may include.
fn inputs(name: &str) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let root = sources();
    let wrong = root.join("wrong").join(name).with_extension("c");
    let mut headers = vec![root.join("test.h")];
    if wrong.exists() {
        headers.extend(files(&root.join("wrong"), "h")?);
        return Ok((vec![wrong], headers));
    }
    let dir = root.join(name);
    let mut code = vec![root.join("harness.c")];
    code.extend(files(&dir, "c")?);
    headers.extend(files(&dir, "h")?);
    if CHILDREN.contains(&name) {
        headers.extend(files(&util::root().join("include"), "h")?);
    }
    Ok((code, headers))
}

fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn changed(path: &Path) -> SystemTime {
    let time = std::fs::metadata(path).and_then(|data| data.modified());
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Builds every C driver and returns the folder with the images.
///
/// # Errors
///
/// A tool is missing, or a driver doesn't compile or link.
pub(crate) fn build() -> Result<PathBuf> {
    let rows = RIGHT.iter().chain(WRONG).map(|row| row.0);
    images(&rows.chain(CHILDREN.iter().copied()).collect::<Vec<_>>())
}

/// Builds the children only.
///
/// # Errors
///
/// As [`build`].
pub(crate) fn children() -> Result<PathBuf> {
    images(CHILDREN)
}

fn images(names: &[&str]) -> Result<PathBuf> {
    let kit = kit::find(&util::target_dir().join("drivers"))?;
    let dir = util::target_dir().join("cdriver");
    let objects = dir.join("obj");
    std::fs::create_dir_all(&objects)?;
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = image(name, &dir, &objects, &kit) {
                        next.store(names.len(), Ordering::Relaxed);
                        if let Ok(mut first) = failed.lock() {
                            first.get_or_insert(error.context(format!("C driver {name}")));
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        Ok(None) => Ok(dir),
        Ok(Some(error)) => Err(error),
        Err(_) => Err(anyhow!("a build thread panicked")),
    }
}

fn image(name: &str, dir: &Path, objects: &Path, kit: &kit::Kit) -> Result<()> {
    let out = dir.join(name).with_extension("sys");
    let (code, headers) = inputs(name)?;
    let mut libraries: Vec<PathBuf> = kit
        .library_dirs
        .iter()
        .flat_map(|dir| [dir.join("ntoskrnl.lib"), dir.join("hal.lib")])
        .collect();
    if CHILDREN.contains(&name) {
        libraries.push(kit::xen_library(objects)?);
    }
    let program = std::env::current_exe()?;
    let newest = code
        .iter()
        .chain(&headers)
        .chain(&libraries)
        .chain([&program]);
    if newest.map(|path| changed(path)).max() < Some(changed(&out)) {
        return Ok(());
    }
    let mut link = util::clean_command(LINKER);
    link.args(LINKER_FLAGS)
        .arg(format!("/OUT:{}", out.display()));
    for file in &code {
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let object = objects.join(format!("{name}-{stem}.obj"));
        let mut compile = util::clean_command(COMPILER);
        compile.args(COMPILER_FLAGS).args(HEADER_FLAGS);
        compile.args(DEFINES.map(|define| format!("-D{define}")));
        for include in INCLUDES {
            compile.args(["-isystem", include]);
        }
        if CHILDREN.contains(&name) {
            compile.arg("-I").arg(util::root().join("include"));
        }
        compile.arg("-c").arg(file).arg("-o").arg(&object);
        util::output(&mut compile)?;
        link.arg(object);
    }
    link.args(libraries);
    util::output(&mut link)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_driver_is_in_the_table_and_the_other_way_round() {
        let mut there: Vec<String> = files(&sources().join("wrong"), "c")
            .unwrap()
            .iter()
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        there.sort();
        let mut table: Vec<&str> = WRONG.iter().map(|row| row.0).collect();
        table.sort_unstable();
        assert_eq!(there, table);
    }

    #[test]
    fn a_pnp_driver_is_started_by_the_pnp_manager() {
        let boot = wrong_boot("pnp_stays", "device_left_in_stack");
        assert!(boot.contains("pnp=1\n") && !boot.contains("drivers="));
        assert!(wrong_boot("pool_left", "pool_leak").starts_with("drivers=pool_left\n"));
    }
}
