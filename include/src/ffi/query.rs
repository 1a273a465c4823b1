// SPDX-License-Identifier: BSD-2-Clause
//! Asking the device below for a table.

use kexec::nt::wdm::{DevicePtr, QueryInterface};
use kexec::{Passive, Result, Status};

use crate::interface::Table;

/// Sends `IRP_MN_QUERY_INTERFACE` for the table's GUID and version to `target`, the device below.
///
/// Querying takes no reference; the client types do.
///
/// # Errors
/// The provider's status, `STATUS_NOT_SUPPORTED` when nobody answers,
/// `STATUS_REVISION_MISMATCH` when the answer is another version.
///
/// # IRQL
/// PASSIVE_LEVEL.
pub fn query<T: Table>(target: DevicePtr, passive: Passive) -> Result<T> {
    let guid = T::GUID.to_bytes();
    // SAFETY: `Table` is implemented only for repr(C) tables of their GUID and version. They are not
    // valid when zeroed, but a provider that answers with success has filled the table: that is the
    // interface's contract, and function pointers have to be believed anyway.
    let table = unsafe { QueryInterface::ask::<T>(target, &guid, T::VERSION, passive)? };
    let header = table.header();
    if header.version != T::VERSION || header.size < T::SIZE || header.context.is_null() {
        return Err(Status::REVISION_MISMATCH);
    }
    Ok(table)
}
