// SPDX-License-Identifier: BSD-2-Clause
//! The gate in front of every import.
//!
//! Each (importing driver, name) pair has a record and a stub of its own; the stub loads the record's address
//! and jumps to the gate, which checks the IRQL against the export's rule, checks that no spin lock is held below DISPATCH_LEVEL,
//! counts the call, notes the record in the current thread and jumps to the function with all arguments untouched.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::export::{Export, Kind};
use crate::mem::Ptr;
use crate::mm::{self, PAGE};
use crate::sync::Lock;
use crate::verifier::{self, Caller};
use crate::{arch, ps};

/// What a stub knows. The gate uses the first four fields by offset.
#[repr(C)]
pub(crate) struct Record {
    target: u64,
    count: AtomicU64,
    min: u8,
    max: u8,
    pub(crate) name: &'static str,
    pub(crate) driver: &'static str,
    stub: AtomicU64,
}

core::arch::global_asm!(
    r#"
    .globl tk_gate
tk_gate:
    mov r11, cr8
    cmp r11b, [rax + 16]
    jb 3f
    cmp r11b, [rax + 17]
    ja 3f
    cmp r11b, 2
    jae 2f
    mov r11d, {count}
    cmp qword ptr gs:[r11], 0
    jne 3f
2:  lock inc qword ptr [rax + 8]
    mov r11d, 0x188
    mov r11, gs:[r11]
    mov [r11 + {last_call}], rax
    jmp [rax]
3:  mov r11d, 0x188
    mov r11, gs:[r11]
    mov [r11 + {last_call}], rax
    and rsp, -16
    mov rdi, rax
    call {violation}
    ud2
    "#,
    count = const verifier::locks::COUNT,
    last_call = const ps::thread::LAST_CALL,
    violation = sym violation,
);

unsafe extern "C" {
    static tk_gate: u8;
}

const STUB: usize = 32;

/// Executable pages with stubs.
struct Stubs {
    writable: Ptr,
    executable: Ptr,
    used: usize,
}

static STUBS: Lock<Stubs> = Lock::new(Stubs {
    writable: Ptr::NULL,
    executable: Ptr::NULL,
    used: PAGE,
});
static RECORDS: Lock<Vec<usize>> = Lock::new(Vec::new());

/// The record of the innermost call on this thread.
pub(crate) fn last_record() -> Option<&'static Record> {
    let thread = arch::current_thread();
    if thread == 0 {
        return None;
    }
    let record = ps::thread::current().last_call.load(Ordering::Relaxed) as *const Record;
    // SAFETY: the gate stores addresses of leaked records only; `as_ref` handles null.
    unsafe { record.as_ref() }
}

extern "C" fn violation(record: &Record) -> ! {
    let who = Caller {
        driver: record.driver.into(),
        export: record.name,
    };
    let level = arch::irql();
    if level < record.min || level > record.max {
        verifier::fail_as(
            &who,
            "irql",
            format_args!(
                "called at IRQL {level}, allowed {} to {}",
                record.min, record.max
            ),
        );
    }
    verifier::fail_as(
        &who,
        "lock_held",
        format_args!("called at IRQL {level} with a spin lock held"),
    )
}

/// The records: leaked, one per driver and name, kept when the driver is loaded again.
fn records() -> impl Iterator<Item = &'static Record> {
    let all = RECORDS.lock().clone();
    all.into_iter().map(|r| {
        // SAFETY: the list holds leaked records.
        unsafe { &*(r as *const Record) }
    })
}

/// The address that goes into the import slot of `driver` for `export`.
pub(crate) fn bind(driver: &str, export: &'static Export) -> Ptr {
    if export.kind == Kind::Data {
        return Ptr(export.address as usize);
    }
    let known = records().find(|r| r.name == export.name && r.driver == driver);
    if let Some(record) = known {
        return Ptr(record.stub.load(Ordering::Relaxed) as usize);
    }
    let driver = records()
        .find(|r| r.driver == driver)
        .map_or_else(|| keep(driver.into()), |r| r.driver);
    let record = Box::leak(Box::new(Record {
        target: export.address as u64,
        count: AtomicU64::new(0),
        min: export.rule.min,
        max: export.rule.max,
        name: export.name,
        driver,
        stub: AtomicU64::new(0),
    }));
    let address = core::ptr::from_ref(&*record) as usize;
    let stub = stub(address);
    record.stub.store(stub.0 as u64, Ordering::Relaxed);
    RECORDS.lock().push(address);
    stub
}

fn stub(record: usize) -> Ptr {
    let mut stubs = STUBS.lock();
    if stubs.used + STUB > PAGE {
        let Some(page) = mm::phys::allocate_zeroed() else {
            drop(stubs);
            verifier::failed("ldr", format_args!("no memory for import stubs"));
        };
        stubs.writable = Ptr(arch::DIRECT_MAP + page as usize);
        stubs.executable = mm::map::reserve_image(1);
        mm::map::map_page(stubs.executable.0, page, mm::map::Protection::Execute);
        stubs.used = 0;
    }
    let at = stubs.writable.add(stubs.used);
    // mov rax, record; mov r11, gate; jmp r11
    at.set(0, 0xb848u16);
    at.set(2, record);
    at.set(10, 0xbb49u16);
    at.set(12, (&raw const tk_gate) as usize);
    at.set(20, 0xff41u16);
    at.set(22, 0xe3u8);
    let address = stubs.executable.add(stubs.used);
    stubs.used += STUB;
    address
}

/// How often each import was called: (driver, name, count).
pub(crate) fn counts() -> Vec<(&'static str, &'static str, u64)> {
    records()
        .map(|r| (r.driver, r.name, r.count.load(Ordering::Relaxed)))
        .collect()
}

/// A copy of a name that lives as long as the kernel.
pub(crate) fn keep(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}
