// SPDX-License-Identifier: BSD-2-Clause
//! Processors: numbers, counts, change callbacks. There is one group.

use alloc::string::String;
use alloc::vec::Vec;

use crate::arch;
use crate::export::{ANY, P};
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::sync::Lock;
use crate::verifier;

/// Registered change callbacks: (handle, owner).
static CALLBACKS: Lock<Vec<(usize, String)>> = Lock::new(Vec::new());

fn number_to(p: Ptr, number: usize) {
    p.set(0, 0u16);
    p.set(2, number as u8);
    p.set(3, 0u8);
}

extern "win64" fn ke_get_current_processor_number_ex(p: Ptr) -> u32 {
    let number = arch::cpu_number();
    if !p.is_null() {
        number_to(p, number);
    }
    number as u32
}

extern "win64" fn ke_get_processor_number_from_index(index: u32, p: Ptr) -> NtStatus {
    if index as usize >= arch::cpu_count() {
        return status::INVALID_PARAMETER;
    }
    number_to(p, index as usize);
    status::SUCCESS
}

extern "win64" fn ke_get_processor_index_from_number(p: Ptr) -> u32 {
    let number = u32::from(p.get::<u8>(2));
    if p.get::<u16>(0) != 0 || number as usize >= arch::cpu_count() {
        u32::MAX
    } else {
        number
    }
}

extern "win64" fn ke_query_active_processor_count_ex(group: u16) -> u32 {
    if group == 0 || group == 0xffff {
        arch::cpu_count() as u32
    } else {
        0
    }
}

extern "win64" fn ke_query_active_processor_count(mask: Ptr) -> u32 {
    if !mask.is_null() {
        mask.set(0, active_mask());
    }
    arch::cpu_count() as u32
}

extern "win64" fn ke_query_active_group_count() -> u16 {
    1
}

extern "win64" fn ke_query_group_affinity(group: u16) -> u64 {
    if group == 0 { active_mask() } else { 0 }
}

fn active_mask() -> u64 {
    (1u64 << arch::cpu_count()) - 1
}

// KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT: State 0, NtNumber 4, Status 8, ProcNumber C.
extern "win64" fn ke_register_processor_change_callback(
    routine: Ptr,
    context: usize,
    flags: u32,
) -> usize {
    let owner = verifier::caller().driver;
    if flags & 1 != 0 {
        for number in 0..arch::cpu_count() {
            for state in [0u32, 1] {
                let block = [0u64; 2];
                let p = Ptr(block.as_ptr() as usize);
                p.set(0, state);
                p.set(4, number as u32);
                number_to(p.add(0xc), number);
                let mut operation = 0i32;
                let operation_at = (&raw mut operation) as usize;
                verifier::call::driver(
                    "processor callback",
                    routine,
                    &[context, p.0, operation_at],
                );
                if operation < 0 {
                    return 0;
                }
            }
        }
    }
    let mut callbacks = CALLBACKS.lock();
    let handle = callbacks.iter().map(|c| c.0).max().unwrap_or(0x1000) + 8;
    callbacks.push((handle, owner));
    handle
}

extern "win64" fn ke_deregister_processor_change_callback(handle: usize) {
    let mut callbacks = CALLBACKS.lock();
    let before = callbacks.len();
    callbacks.retain(|c| c.0 != handle);
    if callbacks.len() == before {
        drop(callbacks);
        verifier::fail(
            "bad_argument",
            format_args!("no processor callback {handle:#x}"),
        );
    }
}

/// Callbacks that `driver` left registered.
pub(crate) fn left_by(driver: &str) -> usize {
    CALLBACKS.lock().iter().filter(|c| c.1 == driver).count()
}

crate::exports! {
    "KeGetCurrentProcessorNumberEx", ANY => ke_get_current_processor_number_ex;
    "KeGetProcessorNumberFromIndex", ANY => ke_get_processor_number_from_index;
    "KeGetProcessorIndexFromNumber", ANY => ke_get_processor_index_from_number;
    "KeQueryActiveProcessorCountEx", ANY => ke_query_active_processor_count_ex;
    "KeQueryActiveProcessorCount", ANY => ke_query_active_processor_count;
    "KeQueryMaximumProcessorCountEx", ANY => ke_query_active_processor_count_ex;
    "KeQueryActiveGroupCount", ANY => ke_query_active_group_count;
    "KeQueryMaximumGroupCount", ANY => ke_query_active_group_count;
    "KeQueryGroupAffinity", ANY => ke_query_group_affinity;
    "KeRegisterProcessorChangeCallback", P => ke_register_processor_change_callback;
    "KeDeregisterProcessorChangeCallback", P => ke_deregister_processor_change_callback;
}
