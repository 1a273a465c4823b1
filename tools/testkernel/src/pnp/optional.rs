// SPDX-License-Identifier: BSD-2-Clause
//! Exports newer than the oldest Windows that the drivers support. They are not in the export table, so a static import of
//! one does not resolve; a run with `new_exports=1` offers them to `MmGetSystemRoutineAddress`.

use alloc::format;

use super::property::open;
use crate::cm;
use crate::export::P;
use crate::io::driver;
use crate::mem::Ptr;
use crate::status::{self, NtStatus};

extern "win64" fn open_driver_key(
    object: Ptr,
    kind: u32,
    _access: u32,
    _flags: u32,
    handle: Ptr,
) -> NtStatus {
    if kind != 0 {
        return status::INVALID_PARAMETER;
    }
    let path = format!(
        "{}\\{}\\Parameters",
        driver::SERVICES,
        driver::name_of(object)
    );
    cm::create(&path);
    open(&path, handle)
}

crate::exports! {
    "IoOpenDriverRegistryKey", P => open_driver_key;
}
