// SPDX-License-Identifier: BSD-2-Clause
//! `hvm_op`: parameters of the domain and per-vCPU upcall vectors.
//!
//! # IRQL
//! Any.

use kexec::Result;
use xenbus_interface::xen::DOMID_SELF;

use crate::hypercall::{Hypercall, number::HVM_OP};
use crate::wire::{HvmParam, PagetableDying, UpcallVector};

const SET_PARAM: u64 = 0;
const GET_PARAM: u64 = 1;
const PAGETABLE_DYING: u64 = 9;
const SET_EVTCHN_UPCALL_VECTOR: u64 = 23;

/// Sets a parameter.
pub fn set_param(xen: &impl Hypercall, index: u32, value: u64) -> Result {
    let mut param = HvmParam {
        domid: DOMID_SELF,
        index,
        value,
    };
    xen.operate(HVM_OP, SET_PARAM, &mut param).map(drop)
}

/// Reads a parameter.
pub fn get_param(xen: &impl Hypercall, index: u32) -> Result<u64> {
    let mut param = HvmParam {
        domid: DOMID_SELF,
        index,
        value: 0,
    };
    xen.operate(HVM_OP, GET_PARAM, &mut param)?;
    Ok(param.value)
}

/// Says that the page tables at a guest physical address die: a hint for shadow paging. Hosts with
/// hardware-assisted paging refuse it each time, so nobody logs that.
pub fn pagetable_dying(xen: &impl Hypercall, gpa: u64) -> Result {
    let mut argument = PagetableDying {
        domid: DOMID_SELF,
        gpa,
    };
    xen.operate(HVM_OP, PAGETABLE_DYING, &mut argument)
        .map(drop)
}

/// Gives a vCPU its own upcall vector; 0 takes it away.
pub fn set_evtchn_upcall_vector(xen: &impl Hypercall, vcpu: u32, vector: u8) -> Result {
    let mut argument = UpcallVector { vcpu, vector };
    xen.operate(HVM_OP, SET_EVTCHN_UPCALL_VECTOR, &mut argument)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::fake::{Fake, bytes};
    use kexec::Status;

    #[test]
    fn a_parameter_is_read_from_where_xen_put_it() {
        let xen = Fake::new(16, 0).write(8, &0xfeff_c000_u64.to_le_bytes());
        assert_eq!(get_param(&xen, 2), Ok(0xfeff_c000));
        let call = xen.only();
        assert_eq!((call.number, call.first), (34, 1));
        let asked = bytes(&[&[0xf0, 0x7f], &[0; 2], &2_u32.to_le_bytes(), &[0; 8]]);
        assert_eq!(call.argument[..2], asked[..2]);
        assert_eq!(call.argument[4..], asked[4..]);
    }

    #[test]
    fn a_parameter_is_set_with_index_and_value() {
        let xen = Fake::new(16, 0);
        assert_eq!(set_param(&xen, 0, 0x1122), Ok(()));
        let call = xen.only();
        assert_eq!((call.number, call.first), (34, 0));
        assert_eq!(call.argument[8..], 0x1122_u64.to_le_bytes());
    }

    #[test]
    fn dying_page_tables_are_named_by_their_address() {
        let xen = Fake::new(16, -38);
        let result = pagetable_dying(&xen, 0x1a_b000);
        assert_eq!(result, Err(Status::NOT_IMPLEMENTED));
        let call = xen.only();
        assert_eq!((call.number, call.first), (34, 9));
        assert_eq!(call.argument[..2], [0xf0, 0x7f]);
        assert_eq!(call.argument[8..], 0x1a_b000_u64.to_le_bytes());
    }

    #[test]
    fn a_host_without_upcall_vectors_says_not_implemented() {
        let xen = Fake::new(8, -38);
        let result = set_evtchn_upcall_vector(&xen, 3, 0x50);
        assert_eq!(result, Err(Status::NOT_IMPLEMENTED));
        let call = xen.only();
        assert_eq!((call.number, call.first), (34, 23));
        assert_eq!(call.argument[..5], [3, 0, 0, 0, 0x50]);
    }
}
