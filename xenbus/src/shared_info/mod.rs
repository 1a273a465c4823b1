// SPDX-License-Identifier: BSD-2-Clause
//! SHARED_INFO: the page that Xen shares with the whole domain, as its own published interface.
//!
//! The page belongs to the [`Hypervisor`] seam, which maps it again after a suspend; this module reads it. [`time`] is what
//! children use. The methods about ports are those of the 2-level ABI: with the FIFO ABI they change bits that nobody looks at.
//!
//! # IRQL
//! Any, unless said otherwise. Nothing to stop.

pub mod time;

use core::sync::atomic::Ordering;

use kexec::Result;
use kexec::nt::{Tag, Vec};

use crate::evtchn::Hypervisor;
use crate::evtchn::two_level::{self, PORTS, PollState};

const TAG: Tag = Tag(*b"XBsi");

/// What the interface remembers between two calls.
pub struct Polls {
    /// By processor.
    states: Vec<PollState>,
}

impl Polls {
    /// State for `cpus` processors.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_new(cpus: u32) -> Result<Self> {
        let mut states = Vec::new(TAG);
        for _ in 0..cpus {
            states.try_push(PollState::default())?;
        }
        Ok(Self { states })
    }

    /// Visits every pending, unmasked port of `cpu`, round about from where the last poll ended; whether a visit said true.
    ///
    /// One caller at a time for each processor. A poll visits each of the 4096 ports once at most.
    pub fn poll(
        &self,
        host: &impl Hypervisor,
        cpu: u32,
        mut event: impl FnMut(u32) -> bool,
    ) -> bool {
        let (Some(vcpu), Some(state)) = (host.vcpu_info(cpu), self.states.get(cpu as usize)) else {
            return false;
        };
        let mut budget = PORTS as usize;
        let mut any = false;
        two_level::poll(host.shared_info(), vcpu, state, &mut budget, |port| {
            any |= event(port)
        });
        any
    }
}

/// Whether a processor can take upcalls: it has a `vcpu_info`.
pub fn upcall_supported(host: &impl Hypervisor, cpu: u32) -> bool {
    host.vcpu_info(cpu).is_some()
}

/// Takes the mark of a pending upcall; false also where there can be none.
pub fn upcall_pending(host: &impl Hypervisor, cpu: u32) -> bool {
    host.vcpu_info(cpu)
        .is_some_and(|vcpu| vcpu.upcall_pending.swap(0, Ordering::SeqCst) != 0)
}

/// Takes the pending bit of a port; nothing for a port beyond the page.
pub fn ack(host: &impl Hypervisor, port: u32) {
    if port < PORTS {
        two_level::ack(host.shared_info(), port);
    }
}

/// Masks a port; nothing for a port beyond the page.
pub fn mask(host: &impl Hypervisor, port: u32) {
    if port < PORTS {
        two_level::mask(host.shared_info(), port);
    }
}

/// Unmasks a port; true when it is pending, which nobody will raise by itself.
pub fn unmask(host: &impl Hypervisor, port: u32) -> bool {
    port < PORTS && two_level::unmask(host.shared_info(), port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::xen::{FakeXen, Options};
    use kexec::nt::sys::fake;

    #[test]
    fn a_poll_visits_pending_unmasked_ports_and_acks_nothing() {
        let _session = fake::boot();
        let xen = FakeXen::new(Options::default());
        let polls = Polls::try_new(3).expect("memory");
        let info = xen.shared_info();
        for port in [0, 63, 64, 4095] {
            info.pending[port / 64].fetch_or(1 << (port % 64), Ordering::SeqCst);
            let vcpu = xen.vcpu_info(1).expect("there");
            vcpu.pending_sel
                .fetch_or(1 << (port / 64), Ordering::SeqCst);
        }
        mask(&xen, 64);
        let mut seen = std::vec::Vec::new();
        assert!(polls.poll(&xen, 1, |port| {
            seen.push(port);
            port == 63
        }));
        seen.sort_unstable();
        assert_eq!(seen, [0, 63, 4095]);
        // The selector is taken, the pending bits are not.
        assert!(!polls.poll(&xen, 1, |_| true));
        assert!(unmask(&xen, 64), "pending still");
        ack(&xen, 64);
        assert!(!unmask(&xen, 64));
    }

    #[test]
    fn a_processor_without_vcpu_info_supports_no_upcall_and_ports_beyond_the_page_do_nothing() {
        let _session = fake::boot();
        let xen = FakeXen::new(Options::default());
        assert!(upcall_supported(&xen, 1) && !upcall_supported(&xen, 2));
        let vcpu = xen.vcpu_info(0).expect("there");
        vcpu.upcall_pending.store(1, Ordering::SeqCst);
        assert!(upcall_pending(&xen, 0));
        assert!(!upcall_pending(&xen, 0), "taken");
        assert!(!upcall_pending(&xen, 9));
        let polls = Polls::try_new(1).expect("memory");
        assert!(!polls.poll(&xen, 7, |_| true));
        for port in [4096, u32::MAX] {
            mask(&xen, port);
            ack(&xen, port);
            assert!(!unmask(&xen, port));
        }
        let untouched = |words: &[core::sync::atomic::AtomicU64; 64]| {
            words.iter().all(|word| word.load(Ordering::SeqCst) == 0)
        };
        assert!(untouched(&xen.shared_info().mask) && untouched(&xen.shared_info().pending));
    }
}
