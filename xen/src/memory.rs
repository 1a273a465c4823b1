// SPDX-License-Identifier: BSD-2-Clause
//! `memory_op`: pages of Xen in the guest's physical map, and the reservation.
//!
//! # IRQL
//! Any; the arrays of frame numbers must be resident.

use kexec::{Result, Status};
use xenbus_interface::xen::DOMID_SELF;

use crate::hypercall::{Hypercall, number::MEMORY_OP};
use crate::wire::{AddToPhysmap, RemoveFromPhysmap, Reservation};

const DECREASE_RESERVATION: u64 = 1;
const POPULATE_PHYSMAP: u64 = 6;
const ADD_TO_PHYSMAP: u64 = 7;
const REMOVE_FROM_PHYSMAP: u64 = 15;

/// Puts a page of `space` at guest frame `gpfn`.
pub fn add_to_physmap(xen: &impl Hypercall, gpfn: u64, space: u32, index: u64) -> Result {
    let mut argument = AddToPhysmap {
        domid: DOMID_SELF,
        size: 0,
        space,
        index,
        gpfn,
    };
    xen.operate(MEMORY_OP, ADD_TO_PHYSMAP, &mut argument)
        .map(drop)
}

/// Takes the page at `gpfn` away.
pub fn remove_from_physmap(xen: &impl Hypercall, gpfn: u64) -> Result {
    let mut argument = RemoveFromPhysmap {
        domid: DOMID_SELF,
        gpfn,
    };
    xen.operate(MEMORY_OP, REMOVE_FROM_PHYSMAP, &mut argument)
        .map(drop)
}

/// Gives frames back to Xen; returns how many, counted from the start of `pfns`.
pub fn decrease_reservation(xen: &impl Hypercall, order: u32, pfns: &[u64]) -> Result<u32> {
    reservation(xen, DECREASE_RESERVATION, order, pfns)
}

/// Fills frames with memory; returns how many, counted from the start of `pfns`.
pub fn populate_physmap(xen: &impl Hypercall, order: u32, pfns: &[u64]) -> Result<u32> {
    reservation(xen, POPULATE_PHYSMAP, order, pfns)
}

/// A short count is success and the caller keeps the rest; a negative result is an error, never a
/// count; more than was asked for is not believed.
fn reservation(xen: &impl Hypercall, command: u64, order: u32, pfns: &[u64]) -> Result<u32> {
    let mut argument = Reservation {
        // Xen only reads the frame numbers of these two operations.
        extent_start: pfns.as_ptr().expose_provenance() as u64,
        nr_extents: pfns.len() as u64,
        extent_order: order,
        mem_flags: 0,
        domid: DOMID_SELF,
    };
    let done = xen.operate(MEMORY_OP, command, &mut argument)?;
    match u32::try_from(done) {
        Ok(count) if done <= pfns.len() as u64 => Ok(count),
        _ => Err(Status::UNSUCCESSFUL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::fake::Fake;

    const PFNS: [u64; 3] = [7, 8, 9];

    #[test]
    fn the_shared_info_page_goes_where_it_is_asked() {
        let xen = Fake::new(24, 0);
        assert_eq!(add_to_physmap(&xen, 0xf2000, 0, 0), Ok(()));
        let call = xen.only();
        assert_eq!((call.number, call.first), (12, 7));
        assert_eq!(call.argument[..2], [0xf0, 0x7f]);
        assert_eq!(call.argument[16..], 0xf2000_u64.to_le_bytes());
    }

    #[test]
    fn a_page_that_is_not_there_cannot_be_removed() {
        let xen = Fake::new(16, -2);
        let result = remove_from_physmap(&xen, 5);
        assert_eq!(result, Err(Status::OBJECT_NAME_NOT_FOUND));
        assert_eq!(xen.only().first, 15);
    }

    #[test]
    fn a_partial_count_is_success_and_is_reported() {
        let xen = Fake::new(32, 2);
        assert_eq!(decrease_reservation(&xen, 9, &PFNS), Ok(2));
        let call = xen.only();
        assert_eq!((call.number, call.first), (12, 1));
        assert_eq!(call.argument[8..16], 3_u64.to_le_bytes());
        assert_eq!(call.argument[16..20], 9_u32.to_le_bytes());
        assert_eq!(call.argument[24..26], [0xf0, 0x7f]);
    }

    #[test]
    fn a_negative_result_is_an_error_and_never_a_count() {
        let xen = Fake::new(32, -12);
        let result = populate_physmap(&xen, 0, &PFNS);
        assert_eq!(result, Err(Status::NO_MEMORY));
        assert_eq!(xen.only().first, 6);
    }

    #[test]
    fn a_count_beyond_the_array_is_not_believed() {
        for result in [4, 1 << 32, i64::MAX] {
            let xen = Fake::new(32, result);
            let result = populate_physmap(&xen, 0, &PFNS);
            assert_eq!(result, Err(Status::UNSUCCESSFUL));
        }
    }
}
