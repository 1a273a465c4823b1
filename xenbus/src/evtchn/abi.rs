// SPDX-License-Identifier: BSD-2-Clause
//! The ABI in use: FIFO when it works, 2-level otherwise.
//!
//! Choosing FIFO is an act on the whole domain and undone by a reset, which closes every port; so the
//! toolstack's ports are carried over and their parameters written again. `<= DISPATCH_LEVEL` to
//! choose, any IRQL to use.

use kexec::nt::{Tag, Vec};
use kexec::{Result, Status};

use super::fifo;
use super::host::{EventPage, Hypervisor, Machine};
use super::two_level;
use crate::status;

/// Pool tag of event channels.
pub const TAG: Tag = Tag(*b"XBev");

/// `HVM_PARAM_STORE_EVTCHN` and `HVM_PARAM_CONSOLE_EVTCHN`.
const TOOLSTACK_PORTS: [u32; 2] = [2, 18];

/// State of one processor's poll.
pub enum PollState<P> {
    /// 2-level.
    TwoLevel(two_level::PollState),
    /// FIFO; and 2-level, for a later host without FIFO.
    Fifo(fifo::PollState<P>, two_level::PollState),
    /// The processor takes no events.
    None,
}

/// The ABI in use.
pub enum Abi<P> {
    /// 2-level.
    TwoLevel,
    /// FIFO.
    Fifo(fifo::Array<P>),
}

/// The chosen ABI and the state of each processor.
pub type Chosen<P> = (Abi<P>, Vec<PollState<P>>);

impl<P: EventPage> Abi<P> {
    /// Chooses: FIFO if `want_fifo` and the hypervisor agrees for every processor, else 2-level.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn choose<H>(host: &H, want_fifo: bool) -> Result<Chosen<P>>
    where
        H: Hypervisor + Machine<Page = P>,
    {
        if want_fifo {
            // The array first: nothing may fail once the hypervisor has been told.
            let array = fifo::Array::try_new()?;
            match fifo_states(host) {
                Ok(states) => return Ok((Self::Fifo(array), states)),
                Err(status) => {
                    kexec::info!("evtchn: no fifo abi ({status}), 2-level it is");
                }
            }
        }
        two_level::mask_all(host.shared_info());
        let mut states = Vec::new(TAG);
        for cpu in 0..host.max_cpus() {
            states.try_push(match host.vcpu_info(cpu) {
                Some(_) => PollState::TwoLevel(two_level::PollState::default()),
                None => PollState::None,
            })?;
        }
        Ok((Self::TwoLevel, states))
    }

    /// The array, while FIFO is in use.
    fn fifo(&self) -> Option<&fifo::Array<P>> {
        match self {
            Self::Fifo(array) if array.is_used() => Some(array),
            Self::Fifo(_) | Self::TwoLevel => None,
        }
    }

    /// Whether the hypervisor knows pages of ours.
    pub fn is_fifo(&self) -> bool {
        self.fifo().is_some()
    }

    /// In a new domain, which knows nothing: tells it of the same pages again, or falls back to 2-level when it has no FIFO.
    ///
    /// Allocates nothing. With every port of the old domain forgotten; other processors do not poll.
    ///
    /// # IRQL
    /// DISPATCH_LEVEL.
    pub fn renew<H>(&self, host: &H, states: &[PollState<P>])
    where
        H: Hypervisor + Machine<Page = P>,
    {
        two_level::mask_all(host.shared_info());
        for state in states {
            if let PollState::Fifo(fifo, two_level) = state {
                fifo.renew();
                two_level.renew();
            } else if let PollState::TwoLevel(two_level) = state {
                two_level.renew();
            }
        }
        let Some(array) = self.fifo() else {
            return;
        };
        array.renew();
        for (cpu, state) in (0..).zip(states) {
            let (PollState::Fifo(state, _), Ok(vcpu)) = (state, host.vcpu_id(cpu)) else {
                continue;
            };
            if let Err(status) = host.init_control(state.gfn(), vcpu) {
                kexec::warn!("evtchn: no fifo abi any more ({status}), 2-level it is");
                // Those that were told of must be forgotten; if that fails they are not freed, as ever.
                if cpu != 0 && reset(host).is_err() {
                    kexec::error!("evtchn: control blocks stay known to the hypervisor");
                }
                array.give_up();
                return;
            }
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.fifo() {
            None => "2-level",
            Some(_) => "fifo",
        }
    }

    /// Makes a port usable, masked.
    ///
    /// # Errors
    /// `INVALID_PARAMETER` for a port beyond the ABI; when the array cannot grow, why.
    pub fn enable<H>(&self, host: &H, port: u32) -> Result
    where
        H: Hypervisor + Machine<Page = P>,
    {
        match self.fifo() {
            None if port >= two_level::PORTS => return Err(Status::INVALID_PARAMETER),
            None => {}
            Some(array) => array.reach(host, port)?,
        }
        self.mask(host, port);
        Ok(())
    }

    /// Masks a port.
    pub fn mask<H: Hypervisor>(&self, host: &H, port: u32) {
        match self.fifo() {
            None => two_level::mask(host.shared_info(), port),
            Some(array) => array.mask(port),
        }
    }

    /// Whether a port is masked.
    pub fn is_masked<H: Hypervisor>(&self, host: &H, port: u32) -> bool {
        match self.fifo() {
            None => two_level::is_masked(host.shared_info(), port),
            Some(array) => array.is_masked(port),
        }
    }

    /// Unmasks a port; true when an event was pending, which nobody will raise by itself.
    pub fn unmask<H: Hypervisor>(&self, host: &H, port: u32) -> bool {
        match self.fifo() {
            None => two_level::unmask(host.shared_info(), port),
            Some(array) => array.unmask(port),
        }
    }

    /// Takes the pending bit of a port.
    pub fn ack<H: Hypervisor>(&self, host: &H, port: u32) {
        match self.fifo() {
            None => two_level::ack(host.shared_info(), port),
            Some(array) => array.ack(port),
        }
    }

    /// Whether a closed port's number is kept back until the next poll.
    pub fn lingers(&self, port: u32) -> bool {
        match self.fifo() {
            None => false,
            Some(array) => array.is_linked(port),
        }
    }

    /// A poll found an event of another processor.
    ///
    /// 2-level: the other processor sees it too. FIFO: the poll has taken it out of a queue, because
    /// the port was moved while it was in it; the hypervisor's unmask queues it where it belongs.
    pub fn pass_on<H: Hypervisor>(&self, host: &H, port: u32) {
        if let Some(array) = self.fifo() {
            array.mask(port);
            let _ = host.unmask(port);
        }
    }

    /// Visits pending ports of `cpu`; true: there may be more.
    pub fn poll<H: Hypervisor>(
        &self,
        host: &H,
        cpu: u32,
        state: &PollState<P>,
        budget: &mut usize,
        visit: impl FnMut(u32),
    ) -> bool {
        match (self.fifo(), state, host.vcpu_info(cpu)) {
            (None, PollState::TwoLevel(state) | PollState::Fifo(_, state), Some(vcpu)) => {
                two_level::poll(host.shared_info(), vcpu, state, budget, visit)
            }
            (Some(array), PollState::Fifo(state, _), _) => array.poll(state, budget, visit),
            _ => false,
        }
    }
}

fn fifo_states<H, P: EventPage>(host: &H) -> Result<Vec<PollState<P>>>
where
    H: Hypervisor + Machine<Page = P>,
{
    let mut states = Vec::new(TAG);
    states.try_reserve(host.max_cpus() as usize)?;
    for cpu in 0..host.max_cpus() {
        // A processor that is not there yet takes no events.
        let Ok(vcpu) = host.vcpu_id(cpu) else {
            states.try_push(PollState::None)?;
            continue;
        };
        let told = host.alloc_page().and_then(|page| {
            let gfn = page.gfn();
            // Kept in `states` before the hypervisor learns of it: freed only after a reset.
            states.try_push(PollState::Fifo(
                fifo::PollState::new(page),
                two_level::PollState::default(),
            ))?;
            host.init_control(gfn, vcpu)
        });
        if let Err(status) = told {
            // Before any control block is freed: the hypervisor still writes there.
            if reset(host).is_err() {
                core::mem::forget(states);
            }
            return Err(status);
        }
    }
    Ok(states)
}

/// Times a reset is tried that the hypervisor asks to try again.
const RESET_TRIES: usize = 100;

/// Resets every port of the domain and binds the toolstack's again.
///
/// A port that cannot be carried over has its parameter cleared: its service then says "not there"
/// instead of using a port that is something else.
///
/// # Errors
/// The hypercall's: pages that the hypervisor was told of must then never be freed.
pub fn reset<H: Hypervisor>(host: &H) -> Result {
    let peers = TOOLSTACK_PORTS.map(|param| {
        let port = host.get_param(param).ok().filter(|&port| port != 0)?;
        host.query_interdomain(u32::try_from(port).ok()?).ok()
    });
    let mut result = host.reset();
    for _ in 1..RESET_TRIES {
        // EAGAIN and EBUSY.
        if !matches!(result, Err(status::RETRY | status::PIPE_BUSY)) {
            break;
        }
        result = host.reset();
    }
    result.inspect_err(|status| kexec::warn!("evtchn: reset failed, {status}"))?;
    for (param, peer) in TOOLSTACK_PORTS.into_iter().zip(peers) {
        let port = match peer {
            Some((domain, port)) => host.bind_interdomain(domain, port).unwrap_or(0),
            None => 0,
        };
        if let Err(status) = host.set_param(param, u64::from(port)) {
            kexec::warn!("evtchn: port {port} of parameter {param} is lost, {status}");
        }
    }
    Ok(())
}
