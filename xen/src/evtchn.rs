// SPDX-License-Identifier: BSD-2-Clause
//! `event_channel_op`.
//!
//! # IRQL
//! Any.

use kexec::{Result, Status};
use xenbus_interface::xen::DOMID_SELF;

use crate::hypercall::{Hypercall, number::EVENT_CHANNEL_OP};
use crate::wire::{
    AllocUnbound, Argument, BindInterDomain, BindVcpu, BindVirq, ChannelStatus, ExpandArray,
    InitControl, Port, Reset,
};

const BIND_INTERDOMAIN: u64 = 0;
const BIND_VIRQ: u64 = 1;
const CLOSE: u64 = 3;
const SEND: u64 = 4;
const STATUS: u64 = 5;
const ALLOC_UNBOUND: u64 = 6;
const BIND_VCPU: u64 = 8;
const UNMASK: u64 = 9;
const RESET: u64 = 10;
const INIT_CONTROL: u64 = 11;
const EXPAND_ARRAY: u64 = 12;

/// `EVTCHNSTAT_interdomain`.
const STATUS_INTERDOMAIN: u32 = 2;

/// One operation that returns nothing but success.
fn operate(xen: &impl Hypercall, command: u64, argument: &mut impl Argument) -> Result {
    xen.operate(EVENT_CHANNEL_OP, command, argument).map(drop)
}

/// Sends an event.
pub fn send(xen: &impl Hypercall, port: u32) -> Result {
    operate(xen, SEND, &mut Port { port })
}

/// Closes a port.
pub fn close(xen: &impl Hypercall, port: u32) -> Result {
    operate(xen, CLOSE, &mut Port { port })
}

/// Unmasks a port; Xen raises the upcall again if it is pending.
pub fn unmask(xen: &impl Hypercall, port: u32) -> Result {
    operate(xen, UNMASK, &mut Port { port })
}

/// Allocates a port to which `remote_dom` may bind.
pub fn allocate_unbound(xen: &impl Hypercall, remote_dom: u16) -> Result<u32> {
    let mut argument = AllocUnbound {
        dom: DOMID_SELF,
        remote_dom,
        port: 0,
    };
    operate(xen, ALLOC_UNBOUND, &mut argument)?;
    Ok(argument.port)
}

/// Binds to another domain's port.
pub fn bind_inter_domain(xen: &impl Hypercall, remote_dom: u16, remote_port: u32) -> Result<u32> {
    let mut argument = BindInterDomain {
        remote_dom,
        remote_port,
        local_port: 0,
    };
    operate(xen, BIND_INTERDOMAIN, &mut argument)?;
    Ok(argument.local_port)
}

/// Binds a virtual interrupt of a vCPU.
pub fn bind_virq(xen: &impl Hypercall, virq: u32, vcpu: u32) -> Result<u32> {
    let mut argument = BindVirq {
        virq,
        vcpu,
        port: 0,
    };
    operate(xen, BIND_VIRQ, &mut argument)?;
    Ok(argument.port)
}

/// The other end of an inter-domain port; `STATUS_INVALID_PARAMETER` for any other kind.
pub fn query_inter_domain(xen: &impl Hypercall, port: u32) -> Result<(u16, u32)> {
    let mut argument = ChannelStatus {
        dom: DOMID_SELF,
        port,
        ..ChannelStatus::default()
    };
    operate(xen, STATUS, &mut argument)?;
    if argument.status != STATUS_INTERDOMAIN {
        return Err(Status::INVALID_PARAMETER);
    }
    Ok((argument.remote_dom, argument.remote_port))
}

/// Delivers a port's events to another vCPU.
pub fn bind_vcpu(xen: &impl Hypercall, port: u32, vcpu: u32) -> Result {
    operate(xen, BIND_VCPU, &mut BindVcpu { port, vcpu })
}

/// Closes every port of the domain and drops the FIFO ABI.
pub fn reset(xen: &impl Hypercall) -> Result {
    operate(xen, RESET, &mut Reset { dom: DOMID_SELF })
}

/// Gives a vCPU its FIFO control block, a whole page.
pub fn init_control(xen: &impl Hypercall, gfn: u64, vcpu: u32) -> Result {
    let mut argument = InitControl {
        control_gfn: gfn,
        vcpu,
        ..InitControl::default()
    };
    operate(xen, INIT_CONTROL, &mut argument)
}

/// Adds a page of event words.
pub fn expand_array(xen: &impl Hypercall, gfn: u64) -> Result {
    operate(xen, EXPAND_ARRAY, &mut ExpandArray { array_gfn: gfn })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::fake::Fake;

    #[test]
    fn operations_on_a_port_carry_its_number() {
        type Operation = fn(&Fake, u32) -> Result;
        let operations: [(Operation, u64); 3] = [(send, 4), (close, 3), (unmask, 9)];
        for (operation, command) in operations {
            let xen = Fake::new(4, 0);
            assert_eq!(operation(&xen, 17), Ok(()));
            let call = xen.only();
            assert_eq!((call.number, call.first), (32, command));
            assert_eq!(call.argument, 17_u32.to_le_bytes());
        }
    }

    #[test]
    fn new_ports_come_from_the_structure() {
        let xen = Fake::new(8, 0).write(4, &9_u32.to_le_bytes());
        assert_eq!(allocate_unbound(&xen, 3), Ok(9));
        assert_eq!(xen.only().argument[..4], [0xf0, 0x7f, 3, 0]);

        let xen = Fake::new(12, 0).write(8, &11_u32.to_le_bytes());
        assert_eq!(bind_inter_domain(&xen, 0, 5), Ok(11));
        assert_eq!(xen.only().argument[4..8], 5_u32.to_le_bytes());

        let xen = Fake::new(12, 0).write(8, &12_u32.to_le_bytes());
        assert_eq!(bind_virq(&xen, 1, 2), Ok(12));
        assert_eq!(xen.only().argument[..8], [1, 0, 0, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn only_an_inter_domain_port_has_a_remote_end() {
        let xen = Fake::new(24, 0)
            .write(8, &2_u32.to_le_bytes())
            .write(16, &4_u16.to_le_bytes())
            .write(20, &6_u32.to_le_bytes());
        assert_eq!(query_inter_domain(&xen, 1), Ok((4, 6)));

        let unbound = Fake::new(24, 0).write(8, &1_u32.to_le_bytes());
        let result = query_inter_domain(&unbound, 1);
        assert_eq!(result, Err(Status::INVALID_PARAMETER));
    }

    #[test]
    fn the_fifo_calls_carry_frames_and_vcpu() {
        let xen = Fake::new(24, -38);
        let result = init_control(&xen, 0x1234, 3);
        assert_eq!(result, Err(Status::NOT_IMPLEMENTED));
        let call = xen.only();
        assert_eq!(call.first, 11);
        assert_eq!(call.argument[..8], 0x1234_u64.to_le_bytes());
        assert_eq!(call.argument[8..16], [0, 0, 0, 0, 3, 0, 0, 0]);

        let xen = Fake::new(8, 0);
        assert_eq!(expand_array(&xen, 0x77), Ok(()));
        assert_eq!(xen.only().first, 12);

        let xen = Fake::new(8, 0);
        assert_eq!(bind_vcpu(&xen, 2, 1), Ok(()));
        assert_eq!(xen.only().argument, [2, 0, 0, 0, 1, 0, 0, 0]);

        let xen = Fake::new(2, 0);
        assert_eq!(reset(&xen), Ok(()));
        assert_eq!(xen.only().argument, [0xf0, 0x7f]);
    }
}
