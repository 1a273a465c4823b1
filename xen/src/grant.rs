// SPDX-License-Identifier: BSD-2-Clause
//! `grant_table_op`: the table's size, and mapping pages that others granted.
//!
//! # IRQL
//! Any.

use kexec::{Result, Status};
use xenbus_interface::errno;
use xenbus_interface::xen::DOMID_SELF;

use crate::hypercall::{Hypercall, address, number::GRANT_TABLE_OP};
use crate::wire::{Argument, MapGrantRef, QuerySize, UnmapGrantRef};

const MAP_GRANT_REF: u64 = 0;
const UNMAP_GRANT_REF: u64 = 1;
const QUERY_SIZE: u64 = 6;

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
