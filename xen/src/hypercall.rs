// SPDX-License-Identifier: BSD-2-Clause
//! Calling Xen: numbers, the seam, the counters.
//!
//! A call takes up to three arguments; arguments in memory are guest-virtual addresses, which Xen
//! reads and writes itself, so they are resident for the call (locals and non-paged pool). Xen
//! restarts calls that it preempts, and `EAGAIN` goes to the caller as `STATUS_RETRY`: no loop here.
//!
//! # IRQL
//! Any.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kexec::Result;
use xenbus_interface::errno;
use xenbus_interface::xen::Counters;

use crate::wire::Argument;

/// Hypercall numbers.
pub mod number {
    use xenbus_interface::xen::Counters;

    /// `memory_op`.
    pub const MEMORY_OP: u32 = Counters::MEMORY_OP as u32;
    /// `xen_version`.
    pub const XEN_VERSION: u32 = Counters::XEN_VERSION as u32;
    /// `grant_table_op`.
    pub const GRANT_TABLE_OP: u32 = Counters::GRANT_TABLE_OP as u32;
    /// `vcpu_op`.
    pub const VCPU_OP: u32 = Counters::VCPU_OP as u32;
    /// `sched_op`.
    pub const SCHED_OP: u32 = Counters::SCHED_OP as u32;
    /// `event_channel_op`.
    pub const EVENT_CHANNEL_OP: u32 = Counters::EVENT_CHANNEL_OP as u32;
    /// `hvm_op`.
    pub const HVM_OP: u32 = Counters::HVM_OP as u32;
}

/// The hypervisor.
pub trait Hypercall {
    /// Calls Xen and returns its result as it is: negative for an error number.
    ///
    /// A two-argument call leaves `third` at 0.
    fn call(&self, number: u32, first: u64, second: u64, third: u64) -> i64;

    /// Calls `number` with a command and an argument structure.
    fn operate(&self, number: u32, command: u64, argument: &mut impl Argument) -> Result<u64>
    where
        Self: Sized,
    {
        errno::check(self.call(number, command, address(argument), 0))
    }
}

/// The address of an argument, for Xen.
///
/// The provenance is exposed: the callee reads and writes the structure through the number.
pub fn address(argument: &mut impl Argument) -> u64 {
    core::ptr::from_mut(argument).expose_provenance() as u64
}

/// Counts calls: by number, and those of `event_channel_op` by operation.
#[derive(Debug)]
pub struct Counter {
    hypercalls: [AtomicU64; Counters::HYPERCALLS],
    event_channel: [AtomicU64; Counters::EVENT_CHANNEL],
}

impl Counter {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            hypercalls: [const { AtomicU64::new(0) }; Counters::HYPERCALLS],
            event_channel: [const { AtomicU64::new(0) }; Counters::EVENT_CHANNEL],
        }
    }

    /// Records one call.
    pub fn record(&self, number: u32, first: u64) {
        if let Some(count) = self.hypercalls.get(number as usize) {
            count.fetch_add(1, Relaxed);
        }
        if number == number::EVENT_CHANNEL_OP {
            let operation = usize::try_from(first).unwrap_or(usize::MAX);
            if let Some(count) = self.event_channel.get(operation) {
                count.fetch_add(1, Relaxed);
            }
        }
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> Counters {
        Counters {
            hypercalls: core::array::from_fn(|i| self.hypercalls[i].load(Relaxed)),
            event_channel: core::array::from_fn(|i| self.event_channel[i].load(Relaxed)),
        }
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A hypervisor that answers from a script and keeps what it was asked.
    extern crate std;

    use super::Hypercall;
    use core::cell::RefCell;
    use std::vec::Vec;

    /// One call as it arrived, with the bytes of its argument structure.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Call {
        pub(crate) number: u32,
        pub(crate) first: u64,
        pub(crate) second: u64,
        pub(crate) third: u64,
        pub(crate) argument: Vec<u8>,
    }

    /// Answers every call with the same result and writes into its argument.
    pub(crate) struct Fake {
        /// Size of the argument structure.
        size: usize,
        /// Its address is the third argument, not the second.
        third: bool,
        result: i64,
        writes: Vec<(usize, Vec<u8>)>,
        calls: RefCell<Vec<Call>>,
    }

    impl Fake {
        /// Expects an argument structure of `size` bytes as second argument.
        pub(crate) fn new(size: usize, result: i64) -> Self {
            Self {
                size,
                third: false,
                result,
                writes: Vec::new(),
                calls: RefCell::default(),
            }
        }

        /// Expects it as third argument.
        pub(crate) fn third(size: usize, result: i64) -> Self {
            Self {
                third: true,
                ..Self::new(size, result)
            }
        }

        /// Calls made.
        pub(crate) fn count(&self) -> usize {
            self.calls.borrow().len()
        }

        /// Writes `bytes` at `offset` of the structure before answering.
        pub(crate) fn write(mut self, offset: usize, bytes: &[u8]) -> Self {
            self.writes.push((offset, bytes.to_vec()));
            self
        }

        /// The only call that was made.
        pub(crate) fn only(&self) -> Call {
            let calls = self.calls.borrow();
            assert_eq!(calls.len(), 1, "{calls:?}");
            calls[0].clone()
        }
    }

    impl Hypercall for Fake {
        #[expect(unsafe_code, reason = "plays the hypervisor, which gets addresses")]
        fn call(&self, number: u32, first: u64, second: u64, third: u64) -> i64 {
            let mut argument = Vec::new();
            let at = if self.third { third } else { second };
            if self.size != 0 {
                let base = core::ptr::with_exposed_provenance_mut::<u8>(at as usize);
                // SAFETY: the wrapper under test passes the exposed address of a structure whose
                // size the test states.
                let memory = unsafe { core::slice::from_raw_parts_mut(base, self.size) };
                argument.extend_from_slice(memory);
                for (offset, bytes) in &self.writes {
                    memory[*offset..offset + bytes.len()].copy_from_slice(bytes);
                }
            }
            self.calls.borrow_mut().push(Call {
                number,
                first,
                second,
                third,
                argument,
            });
            self.result
        }
    }

    /// Concatenates little-endian fields.
    pub(crate) fn bytes(fields: &[&[u8]]) -> Vec<u8> {
        fields.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_number_and_event_operations_by_command() {
        let counter = Counter::new();
        counter.record(number::HVM_OP, 1);
        counter.record(number::EVENT_CHANNEL_OP, 4);
        counter.record(number::EVENT_CHANNEL_OP, 4);
        counter.record(number::EVENT_CHANNEL_OP, u64::MAX);
        counter.record(u32::MAX, 0);
        let counters = counter.snapshot();
        assert_eq!(counters.total(), 4);
        assert_eq!(counters.sends(), 2);
        assert_eq!(counters.hypercalls[Counters::HVM_OP], 1);
        assert_eq!(counters.hypercalls[Counters::EVENT_CHANNEL_OP], 3);
    }

    /// Every error number that Xen uses, and one without a status of its own.
    const ERRORS: [i64; 16] = [1, 2, 3, 5, 11, 12, 13, 14, 16, 17, 21, 22, 28, 38, 39, 95];

    #[test]
    fn every_wrapper_gives_every_error_of_xen_its_status() {
        use crate::hypercall::fake::Fake;
        use crate::{evtchn, grant, hvm, memory, sched, vcpu_op, version};
        type Wrapper = (&'static str, fn(&Fake) -> Result);
        let wrappers: &[Wrapper] = &[
            ("version", |xen| version::version(xen).map(drop)),
            ("extra", |xen| version::extra(xen).map(drop)),
            ("features", |xen| version::features(xen, 0).map(drop)),
            ("set_param", |xen| hvm::set_param(xen, 0, 0)),
            ("get_param", |xen| hvm::get_param(xen, 0).map(drop)),
            ("pagetable_dying", |xen| hvm::pagetable_dying(xen, 0)),
            ("upcall_vector", |xen| {
                hvm::set_evtchn_upcall_vector(xen, 0, 0)
            }),
            ("add_to_physmap", |xen| memory::add_to_physmap(xen, 0, 0, 0)),
            ("remove", |xen| memory::remove_from_physmap(xen, 0)),
            ("decrease", |xen| {
                memory::decrease_reservation(xen, 0, &[1]).map(drop)
            }),
            ("populate", |xen| {
                memory::populate_physmap(xen, 0, &[1]).map(drop)
            }),
            ("send", |xen| evtchn::send(xen, 1)),
            ("close", |xen| evtchn::close(xen, 1)),
            ("unmask", |xen| evtchn::unmask(xen, 1)),
            ("unbound", |xen| evtchn::allocate_unbound(xen, 0).map(drop)),
            ("inter_domain", |xen| {
                evtchn::bind_inter_domain(xen, 0, 1).map(drop)
            }),
            ("virq", |xen| evtchn::bind_virq(xen, 0, 0).map(drop)),
            ("status", |xen| evtchn::query_inter_domain(xen, 1).map(drop)),
            ("bind_vcpu", |xen| evtchn::bind_vcpu(xen, 1, 0)),
            ("reset", evtchn::reset),
            ("init_control", |xen| evtchn::init_control(xen, 1, 0)),
            ("expand_array", |xen| evtchn::expand_array(xen, 1)),
            ("query_size", |xen| grant::query_size(xen).map(drop)),
            ("map", |xen| grant::map(xen, 0, 1, 0, false).map(drop)),
            ("unmap", |xen| grant::unmap(xen, 1, 0)),
            ("copy", |xen| grant::copy(xen, &mut [])),
            ("set_version", |xen| grant::set_version(xen, 1)),
            ("get_version", |xen| grant::version(xen).map(drop)),
            ("shutdown", |xen| sched::shutdown(xen, 2)),
            ("shutdown_code", |xen| sched::shutdown_code(xen, 3)),
            ("watchdog", |xen| sched::watchdog(xen, 0, 1).map(drop)),
            ("is_up", |xen| vcpu_op::is_up(xen, 0).map(drop)),
            ("set_timer", |xen| vcpu_op::set_periodic_timer(xen, 0, 1)),
            ("stop_timer", |xen| vcpu_op::stop_periodic_timer(xen, 0)),
            ("register", |xen| vcpu_op::register_vcpu_info(xen, 0, 1, 0)),
        ];
        for (name, wrapper) in wrappers {
            for error in ERRORS {
                let xen = Fake::new(0, -error);
                let wanted = errno::from_number(error.unsigned_abs());
                assert_eq!(wrapper(&xen), Err(wanted), "{name} {error}");
                assert_eq!(xen.count(), 1, "{name} asked again");
            }
        }
    }
}
