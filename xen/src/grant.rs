// SPDX-License-Identifier: BSD-2-Clause
//! `grant_table_op`: the table's size and version, mapping pages that others granted, copies.
//!
//! # IRQL
//! Any.

use kexec::{Result, Status};
use xenbus_interface::errno;
use xenbus_interface::xen::{DOMID_SELF, GrantCopy};

use crate::hypercall::{Hypercall, address, number::GRANT_TABLE_OP};
use crate::wire::{Argument, GetVersion, MapGrantRef, QuerySize, SetVersion, UnmapGrantRef};

const MAP_GRANT_REF: u64 = 0;
const UNMAP_GRANT_REF: u64 = 1;
const COPY: u64 = 5;
const QUERY_SIZE: u64 = 6;
const SET_VERSION: u64 = 8;
const GET_VERSION: u64 = 10;

const FLAG_HOST_MAP: u32 = 2;
const FLAG_READ_ONLY: u32 = 4;

/// One operation on one structure; its own status is the caller's to look at.
fn operate(xen: &impl Hypercall, command: u64, argument: &mut impl Argument) -> Result {
    errno::check(xen.call(GRANT_TABLE_OP, command, address(argument), 1)).map(drop)
}

/// The status of one mapping operation.
fn check(status: i16) -> Result {
    match status {
        0 => Ok(()),
        -4 => Err(Status::INVALID_HANDLE),
        -8 => Err(Status::ACCESS_DENIED),
        -12 => Err(Status::RETRY),
        _ => Err(Status::UNSUCCESSFUL),
    }
}

/// Frames of the table: now, and at most.
pub fn query_size(xen: &impl Hypercall) -> Result<(u32, u32)> {
    let mut argument = QuerySize {
        dom: DOMID_SELF,
        ..QuerySize::default()
    };
    operate(xen, QUERY_SIZE, &mut argument)?;
    if argument.status != 0 {
        return Err(Status::UNSUCCESSFUL);
    }
    Ok((argument.nr_frames, argument.max_nr_frames))
}

/// Maps a granted page at a guest physical address in a hole; returns the handle for unmapping.
pub fn map(
    xen: &impl Hypercall,
    dom: u16,
    reference: u32,
    host_addr: u64,
    read_only: bool,
) -> Result<u32> {
    let mut argument = MapGrantRef {
        host_addr,
        flags: FLAG_HOST_MAP | if read_only { FLAG_READ_ONLY } else { 0 },
        reference,
        dom,
        ..MapGrantRef::default()
    };
    operate(xen, MAP_GRANT_REF, &mut argument)?;
    check(argument.status)?;
    Ok(argument.handle)
}

/// Undoes [`map`].
pub fn unmap(xen: &impl Hypercall, handle: u32, host_addr: u64) -> Result {
    let mut argument = UnmapGrantRef {
        host_addr,
        handle,
        ..UnmapGrantRef::default()
    };
    operate(xen, UNMAP_GRANT_REF, &mut argument)?;
    check(argument.status)
}

/// Copies between granted pages. Success says that Xen looked at all operations; each has a status of
/// its own.
pub fn copy(xen: &impl Hypercall, operations: &mut [GrantCopy]) -> Result {
    let count = u32::try_from(operations.len()).map_err(|_| Status::INVALID_PARAMETER)?;
    // Xen writes the statuses: the provenance is exposed as that of a single argument.
    let address = operations.as_mut_ptr().expose_provenance() as u64;
    errno::check(xen.call(GRANT_TABLE_OP, COPY, address, u64::from(count))).map(drop)
}

/// Chooses the format of the table's entries, 1 or 2.
pub fn set_version(xen: &impl Hypercall, version: u32) -> Result {
    operate(xen, SET_VERSION, &mut SetVersion { version })
}

/// The format of the table's entries.
pub fn version(xen: &impl Hypercall) -> Result<u32> {
    let mut argument = GetVersion {
        dom: DOMID_SELF,
        version: 0,
    };
    operate(xen, GET_VERSION, &mut argument)?;
    Ok(argument.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::fake::Fake;

    #[test]
    fn the_size_is_refused_when_the_operation_says_so() {
        let xen = Fake::new(16, 0)
            .write(4, &1_u32.to_le_bytes())
            .write(8, &64_u32.to_le_bytes());
        assert_eq!(query_size(&xen), Ok((1, 64)));
        let call = xen.only();
        assert_eq!((call.number, call.first, call.third), (20, 6, 1));

        let xen = Fake::new(16, 0).write(12, &(-1_i16).to_le_bytes());
        assert_eq!(query_size(&xen), Err(Status::UNSUCCESSFUL));
    }

    #[test]
    fn a_page_is_mapped_at_the_address_with_the_access_asked_for() {
        let xen = Fake::new(32, 0).write(20, &5_u32.to_le_bytes());
        assert_eq!(map(&xen, 3, 8, 0xf000_1000, true), Ok(5));
        let argument = xen.only().argument;
        assert_eq!(argument[..8], 0xf000_1000_u64.to_le_bytes());
        assert_eq!(argument[8..12], 6_u32.to_le_bytes());
        assert_eq!(argument[12..18], [8, 0, 0, 0, 3, 0]);
    }

    #[test]
    fn copies_go_as_an_array_with_its_count() {
        let mut operations = [GrantCopy::default(); 2];
        operations[1].source = 0x1122_3344;
        operations[1].source_domain = 0x7ff0;
        operations[1].source_offset = 5;
        operations[1].dest = 0x77;
        operations[1].dest_domain = 3;
        operations[1].dest_offset = 6;
        operations[1].length = 9;
        operations[1].flags = GrantCopy::SOURCE_REFERENCE;
        let xen = Fake::new(80, 0).write(76, &(-8_i16).to_le_bytes());
        assert_eq!(copy(&xen, &mut operations), Ok(()));
        let call = xen.only();
        assert_eq!((call.number, call.first, call.third), (20, 5, 2));
        let second = &call.argument[40..];
        assert_eq!(second[..8], 0x1122_3344_u64.to_le_bytes());
        assert_eq!(second[8..12], [0xf0, 0x7f, 5, 0]);
        assert_eq!(second[16..24], 0x77_u64.to_le_bytes());
        assert_eq!(second[24..28], [3, 0, 6, 0]);
        assert_eq!(second[32..36], [9, 0, 1, 0]);
        assert_eq!((operations[0].status, operations[1].status), (0, -8));
    }

    #[test]
    fn the_version_is_set_and_read() {
        let xen = Fake::new(4, 0);
        assert_eq!(set_version(&xen, 1), Ok(()));
        let call = xen.only();
        assert_eq!((call.number, call.first, call.third), (20, 8, 1));
        assert_eq!(call.argument, [1, 0, 0, 0]);
        let xen = Fake::new(8, 0).write(4, &2_u32.to_le_bytes());
        assert_eq!(version(&xen), Ok(2));
        let call = xen.only();
        assert_eq!((call.first, call.third), (10, 1));
        assert_eq!(call.argument[..2], [0xf0, 0x7f]);
    }

    #[test]
    fn each_grant_status_has_its_published_status() {
        for (code, status) in [
            (-4_i16, Status::INVALID_HANDLE),
            (-8, Status::ACCESS_DENIED),
            (-12, Status::RETRY),
            (-1, Status::UNSUCCESSFUL),
        ] {
            let xen = Fake::new(24, 0).write(20, &code.to_le_bytes());
            assert_eq!(unmap(&xen, 1, 0x1000), Err(status));
        }
        let xen = Fake::new(24, -38);
        assert_eq!(unmap(&xen, 1, 0x1000), Err(Status::NOT_IMPLEMENTED));
    }
}
