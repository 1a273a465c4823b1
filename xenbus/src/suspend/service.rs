// SPDX-License-Identifier: BSD-2-Clause
//! The suspend service: who is told of a resume, in which order, and how often there was one.
//!
//! [`Suspend::trigger`] runs in a thread at PASSIVE_LEVEL, which works from processor 0 for the time of the suspend, because
//! callbacks are promised to run there. One suspend at a time: a second caller waits for the first. [`Suspend::stop`] waits for one
//! that is going on and refuses others.
//!
//! ```text
//! EARLY  each processor: its own vcpu_info     processor 0 then: count, the bus's services, callbacks in order
//! LATE   processor 0: the bus's services, callbacks in order
//! ```

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kexec::nt::{Arc, Dpc, Vec, cpu};
use kexec::sync::Mutex;
use kexec::{Instant, Passive, Result, Status, block_on, error, info};

use super::callbacks::{Callbacks, Phase, Snapshot, TAG};
use super::corral::{Corral, Outcome, Processors, Work};

/// Times that a gathering is repeated because callbacks were registered at the same moment.
const TRIES: usize = 3;

/// What the bus does before, in and after a suspend. The edge implements it over the services; tests script it.
pub trait Services: Send + Sync + 'static {
    /// Before: lets what is under way come to its end, within a bound. PASSIVE_LEVEL.
    fn prepare(&self, passive: Passive);
    /// The hypercall. HIGH_LEVEL, interrupts off.
    ///
    /// # Errors
    /// The hypercall's: nothing was suspended.
    fn suspend(&self) -> Result<Outcome>;
    /// After a resume, on each processor for itself. HIGH_LEVEL, interrupts off: no locks, no allocation, no waiting.
    fn early_each(&self, cpu: u32);
    /// Then on processor 0, under the same rules.
    fn early(&self);
    /// Then, at DISPATCH_LEVEL with the other processors captured: everything works again when this returns.
    fn late(&self);
    /// After the processors were released, however it went. PASSIVE_LEVEL.
    fn finish(&self, passive: Passive, outcome: Result<Outcome>);
    /// Makes a callback.
    fn call(&self, function: usize, argument: usize);
}

/// See the module.
pub struct Suspend<S> {
    services: S,
    callbacks: Callbacks,
    count: AtomicU32,
    one_at_a_time: Mutex<()>,
    stopping: AtomicBool,
}

impl<S: Services> Suspend<S> {
    /// A service over `services`.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn try_new(services: S) -> Result<Arc<Self>> {
        Arc::try_new(
            TAG,
            Self {
                services,
                callbacks: Callbacks::new(),
                count: AtomicU32::new(0),
                one_at_a_time: Mutex::new(()),
                stopping: AtomicBool::new(false),
            },
        )
    }

    /// What was registered.
    ///
    /// # IRQL
    /// Any.
    pub fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// The services below.
    ///
    /// # IRQL
    /// Any.
    pub fn services(&self) -> &S {
        &self.services
    }

    /// Suspends that were survived, one each.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// Suspends the domain and returns when it runs again.
    ///
    /// # Errors
    /// Nothing was suspended: `NO_MEMORY`, `IO_TIMEOUT` when a processor did not come, the hypercall's, `DELETE_PENDING` after
    /// [`Self::stop`].
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn trigger(this: &Arc<Self>, passive: Passive) -> Result<Outcome> {
        let _one = block_on(passive, this.one_at_a_time.lock())?;
        if this.stopping.load(Ordering::Acquire) {
            return Err(Status::DELETE_PENDING);
        }
        this.services.prepare(passive);
        let mut outcome = Err(Status::RETRY);
        for _ in 0..TRIES {
            outcome = Self::gather(this, passive);
            if outcome != Err(Status::RETRY) {
                break;
            }
        }
        this.services.finish(passive, outcome);
        match outcome {
            Ok(Outcome::Resumed) => info!("suspend: resumed, count {}", this.count()),
            Ok(Outcome::Cancelled) => info!("suspend: cancelled"),
            Err(status) => error!("suspend: failed, {status}"),
        }
        outcome
    }

    fn gather(this: &Arc<Self>, passive: Passive) -> Result<Outcome> {
        let session = Arc::try_new(
            TAG,
            Session {
                service: this.clone(),
                corral: Corral::new(cpu::count()),
                early: Snapshot::try_new(&this.callbacks)?,
            },
        )?;
        // Dropped at the end, which waits until each has returned.
        let dpcs = Dpcs::try_new(&session)?;
        cpu::run_on(passive, 0, || session.corral.hold(&dpcs, &*session))?
    }

    /// Waits for a suspend that is going on; none begins once this has returned.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn stop(&self, passive: Passive) {
        self.stopping.store(true, Ordering::Release);
        if block_on(passive, self.one_at_a_time.lock()).is_err() {
            error!("suspend: no memory to wait");
        }
        let left = self.callbacks.count();
        if left != 0 {
            error!("suspend: {left} callbacks outstanding");
        }
    }
}

/// One gathering.
struct Session<S> {
    service: Arc<Suspend<S>>,
    corral: Corral,
    early: Snapshot,
}

impl<S: Services> Work for Session<S> {
    fn captured(&self) -> Result {
        self.early.fill(&self.service.callbacks)?;
        info!("suspend: {} processors captured", cpu::count());
        Ok(())
    }

    fn suspend(&self) -> Result<Outcome> {
        self.service.services.suspend()
    }

    fn early(&self, cpu: u32, owner: bool) {
        let service = &self.service;
        service.services.early_each(cpu);
        if owner {
            service.count.fetch_add(1, Ordering::AcqRel);
            service.services.early();
            for (function, argument) in self.early.calls() {
                service.services.call(function, argument);
            }
        }
    }

    fn late(&self, _cpu: u32, owner: bool) {
        if !owner {
            return;
        }
        let service = &self.service;
        service.services.late();
        let mut behind = 0;
        while let Some((id, (function, argument))) = service.callbacks.next(Phase::Late, behind) {
            service.services.call(function, argument);
            behind = id;
        }
    }
}

/// A DPC for each processor.
struct Dpcs(Vec<Dpc>);

impl Dpcs {
    fn try_new<S: Services>(session: &Arc<Session<S>>) -> Result<Self> {
        let mut dpcs = Vec::new(TAG);
        for index in 0..cpu::count() {
            let session = session.clone();
            let dpc = Dpc::try_new(TAG, Some(index), move || {
                session.corral.attend(index, &*session);
            })?;
            dpc.urgent();
            dpcs.try_push(dpc)?;
        }
        Ok(Self(dpcs))
    }
}

impl Processors for Dpcs {
    fn summon(&self, cpu: u32) {
        if let Some(dpc) = self.0.get(cpu as usize) {
            dpc.queue();
        }
    }

    fn dismiss(&self, cpu: u32) {
        if let Some(dpc) = self.0.get(cpu as usize) {
            dpc.cancel();
        }
    }

    fn current(&self) -> u32 {
        cpu::current()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
