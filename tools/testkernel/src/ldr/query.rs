// SPDX-License-Identifier: BSD-2-Clause
//! What drivers may ask about images: the module list in its two forms, and names looked up at run time.

use alloc::string::String;
use alloc::vec::Vec;

use super::gate;
use crate::export::{self, P};
use crate::mem::Ptr;
use crate::status::{self, NtStatus};
use crate::verifier;
use crate::{arch, rtl};

/// The kernel itself and every image: (base, size, full path).
fn modules() -> Vec<(Ptr, usize, String)> {
    let (text, end) = arch::kernel_range();
    let mut list = Vec::new();
    list.push((
        Ptr(text),
        end - text,
        String::from(r"\SystemRoot\system32\ntoskrnl.exe"),
    ));
    for image in super::loaded() {
        list.push((
            image.base,
            image.size,
            alloc::format!(r"\SystemRoot\System32\drivers\{}", image.name),
        ));
    }
    list
}

fn put_path(at: Ptr, path: &str) {
    at.fill(0, 256);
    at.copy_from(&path.as_bytes()[..path.len().min(255)]);
}

fn name_offset(path: &str) -> u16 {
    path.rfind('\\').map_or(0, |i| i as u16 + 1)
}

// Elements of 0x110 bytes: base 0, size 8, name offset 0xC, path 0xE.
extern "win64" fn rtl_query_module_information(len: Ptr, element: u32, buffer: Ptr) -> NtStatus {
    // The caller may ask for the base addresses only (8 bytes each) or for everything.
    let size = match element {
        8 | 0x110 => element as usize,
        _ => return status::INVALID_PARAMETER,
    };
    let list = modules();
    let needed = list.len() * size;
    if buffer.is_null() {
        len.set(0, needed as u32);
        return status::SUCCESS;
    }
    let room = len.get::<u32>(0) as usize;
    len.set(0, needed as u32);
    if room < needed {
        return status::BUFFER_TOO_SMALL;
    }
    for (i, (base, bytes, path)) in list.iter().enumerate() {
        let at = buffer.add(i * size);
        at.set(0, *base);
        if size == 0x110 {
            at.set(8, *bytes as u32);
            at.set(0xc, name_offset(path));
            put_path(at.add(0xe), path);
        }
    }
    status::SUCCESS
}

const SYSTEM_MODULE_INFORMATION: u32 = 11;

// RTL_PROCESS_MODULES: count 0, then elements of 0x128 bytes from 8: section 0, mapped base 8, base 0x10, size 0x18, flags 0x1C,
// load order 0x20, init order 0x22, load count 0x24, name offset 0x26, path 0x28.
extern "win64" fn zw_query_system_information(
    class: u32,
    buffer: Ptr,
    len: u32,
    returned: Ptr,
) -> NtStatus {
    if class != SYSTEM_MODULE_INFORMATION {
        return status::INVALID_INFO_CLASS;
    }
    let list = modules();
    let needed = 8 + list.len() * 0x128;
    if !returned.is_null() {
        returned.set(0, needed as u32);
    }
    if (len as usize) < needed {
        return status::INFO_LENGTH_MISMATCH;
    }
    buffer.set(0, list.len() as u64);
    for (i, (base, bytes, path)) in list.iter().enumerate() {
        let at = buffer.add(8 + i * 0x128);
        at.fill(0, 0x128);
        at.set(0x10, *base);
        at.set(0x18, *bytes as u32);
        at.set(0x20, i as u16);
        at.set(0x24, 1u16);
        at.set(0x26, name_offset(path));
        put_path(at.add(0x28), path);
    }
    status::SUCCESS
}

extern "win64" fn mm_get_system_routine_address(name: Ptr) -> Ptr {
    let name = name.unicode_string();
    let driver = verifier::caller().driver;
    let optional = || {
        let offered = arch::boot_config().flag("new_exports");
        offered.then(|| {
            crate::pnp::optional::EXPORTS
                .iter()
                .find(|e| e.name == name)
        })?
    };
    match export::find(&name).or_else(optional) {
        Some(e) => gate::bind(&driver, e),
        None => Ptr::NULL,
    }
}

static INIT_SAFE_BOOT_MODE: u32 = 0;

crate::exports! {
    "RtlQueryModuleInformation", P => rtl_query_module_information;
    "ZwQuerySystemInformation", P => zw_query_system_information;
    "MmGetSystemRoutineAddress", P => mm_get_system_routine_address;
    data "InitSafeBootMode" => INIT_SAFE_BOOT_MODE;
    data "NtBuildNumber" => NT_BUILD_NUMBER;
}

static NT_BUILD_NUMBER: u32 = rtl::VERSION.2 | 0xf000_0000;
