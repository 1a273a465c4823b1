// SPDX-License-Identifier: BSD-2-Clause
//! Brings all processors together for a suspend and lets them go again.
//!
//! The owner, at DISPATCH_LEVEL on its processor, summons the others by DPCs and leads them from phase to phase; they do nothing
//! of their own but wait for the next one.
//!
//! ```text
//! owner    summon ---> MASK ---> hypercall ---> EARLY ---> UNMASK ---> LATE ---> LEAVE
//! others   arrive      interrupts off           early      on          late      return
//!            |            |
//!            +- abandon --+  a processor does not come, or interrupts cannot be switched off everywhere
//! ```
//! Up to the hypercall everything is bounded and can be abandoned; from there on the others run or spin and the owner's own steps
//! decide. EARLY and LATE are left out when the suspend was cancelled. In each phase the owner's part is complete before the others
//! begin, and each phase is complete everywhere before the next one begins.
//!
//! A processor may be on its way into an inter-processor interrupt that another one, which has raised already, does not answer; so
//! whoever has raised and does not see all others follow soon goes back to DISPATCH_LEVEL and tries again.

use core::sync::atomic::{AtomicU32, Ordering};

use kexec::irql::{InterruptsOff, Raised};
use kexec::{Duration, Instant, Result, Status};

/// How long a processor may take to come.
const CAPTURE_LIMIT: Duration = Duration::from_secs(10);
/// Looks at the others between raising and going back.
const MASK_LOOKS: u32 = 1000;
/// How long the owner goes on raising. A time, not a count: the hypervisor lets a processor stand still for as long as others need
/// the machine. Clock interrupts get through whenever the owner is back at DISPATCH_LEVEL.
const MASK_LIMIT: Duration = Duration::from_secs(5);

const GATHER: u32 = 0;
const MASK: u32 = 1;
const EARLY: u32 = 2;
const UNMASK: u32 = 3;
const LATE: u32 = 4;
const LEAVE: u32 = 5;

/// What became of a suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The domain was saved and runs again, as another one.
    Resumed,
    /// It goes on as if nothing had been.
    Cancelled,
}

/// The other processors.
pub trait Processors {
    /// Makes `cpu` call [`Corral::attend`] at DISPATCH_LEVEL soon.
    fn summon(&self, cpu: u32);
    /// Takes that back, if `cpu` has not begun.
    fn dismiss(&self, cpu: u32);
    /// The processor that this runs on.
    fn current(&self) -> u32;
    /// The time, at DISPATCH_LEVEL.
    fn now(&self) -> Instant;
}

/// What is done while they are together.
pub trait Work {
    /// All are captured, at DISPATCH_LEVEL on the owner. An error abandons.
    ///
    /// # Errors
    /// Why it cannot go on.
    fn captured(&self) -> Result;
    /// The hypercall, on the owner, interrupts off everywhere.
    ///
    /// # Errors
    /// The hypercall's: nothing was suspended.
    fn suspend(&self) -> Result<Outcome>;
    /// After a resume, on each processor, interrupts off everywhere.
    fn early(&self, cpu: u32, owner: bool);
    /// Then, at DISPATCH_LEVEL.
    fn late(&self, cpu: u32, owner: bool);
}

/// One gathering; not used again.
#[derive(Debug)]
pub struct Corral {
    total: u32,
    request: AtomicU32,
    arrived: AtomicU32,
    /// Processors other than the owner that have done what `request` says.
    done: AtomicU32,
    /// Processors at HIGH_LEVEL.
    raised: AtomicU32,
}

impl Corral {
    /// For `total` processors, the owner included.
    #[must_use]
    pub fn new(total: u32) -> Self {
        Self {
            total,
            request: AtomicU32::new(GATHER),
            arrived: AtomicU32::new(0),
            done: AtomicU32::new(0),
            raised: AtomicU32::new(0),
        }
    }

    /// What a summoned processor does: follows until it may leave.
    ///
    /// # IRQL
    /// DISPATCH_LEVEL.
    pub fn attend(&self, cpu: u32, work: &impl Work) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        let mut last = GATHER;
        let mut off = None;
        while last != LEAVE {
            let phase = self.request.load(Ordering::Acquire);
            if phase == last {
                kexec::nt::cpu::relax();
                continue;
            }
            match phase {
                MASK => {
                    off = self.try_mask();
                    // Back at DISPATCH_LEVEL: the owner may have given up meanwhile.
                    if off.is_none() {
                        continue;
                    }
                }
                EARLY => work.early(cpu, false),
                LATE => work.late(cpu, false),
                _ => drop(off.take()),
            }
            last = phase;
            self.done.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Raises and switches interrupts off once all others have raised too.
    fn try_mask(&self) -> Option<InterruptsOff> {
        let high = Raised::to_high();
        let mut seen = self.raised.fetch_add(1, Ordering::AcqRel) + 1;
        for _ in 0..MASK_LOOKS {
            if seen == self.total {
                return Some(InterruptsOff::new(high));
            }
            kexec::nt::cpu::relax();
            seen = self.raised.load(Ordering::Acquire);
        }
        // Not counted any more, unless the last one has come just now.
        let left = self
            .raised
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |raised| {
                (raised != self.total).then(|| raised - 1)
            });
        left.is_err().then(|| InterruptsOff::new(high))
    }

    /// Publishes the next phase and waits until every other processor has done it.
    fn lead(&self, phase: u32) {
        self.done.store(0, Ordering::Release);
        self.request.store(phase, Ordering::Release);
        self.follow();
    }

    fn follow(&self) {
        while self.done.load(Ordering::Acquire) + 1 < self.total {
            kexec::nt::cpu::relax();
        }
    }

    /// Lets those go that have come, and tells the others to stay away.
    fn abandon(&self, processors: &impl Processors, own: u32) {
        self.request.store(LEAVE, Ordering::Release);
        for cpu in (0..self.total).filter(|&cpu| cpu != own) {
            processors.dismiss(cpu);
        }
    }

    /// Suspends: gathers, leads and releases all processors. The caller stays on its processor and is the owner.
    ///
    /// # Errors
    /// `IO_TIMEOUT`: a processor did not come, or did not switch its interrupts off; [`Work::captured`]'s and [`Work::suspend`]'s. Nothing was suspended.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    pub fn hold(&self, processors: &impl Processors, work: &impl Work) -> Result<Outcome> {
        let _raised = Raised::to_dispatch();
        let own = processors.current();
        for cpu in (0..self.total).filter(|&cpu| cpu != own) {
            processors.summon(cpu);
        }
        let deadline = processors.now() + CAPTURE_LIMIT;
        while self.arrived.load(Ordering::Acquire) + 1 < self.total {
            if processors.now() >= deadline {
                let came = self.arrived.load(Ordering::Acquire) + 1;
                kexec::error!("suspend: {came} of {} processors came", self.total);
                self.abandon(processors, own);
                return Err(Status::IO_TIMEOUT);
            }
            kexec::nt::cpu::relax();
        }
        if let Err(status) = work.captured() {
            self.abandon(processors, own);
            return Err(status);
        }
        self.request.store(MASK, Ordering::Release);
        let deadline = processors.now() + MASK_LIMIT;
        let off = loop {
            if let Some(off) = self.try_mask() {
                break off;
            }
            if processors.now() >= deadline {
                kexec::error!("suspend: interrupts stay on somewhere");
                self.abandon(processors, own);
                return Err(Status::IO_TIMEOUT);
            }
        };
        self.follow();
        let outcome = work.suspend();
        let resumed = outcome == Ok(Outcome::Resumed);
        if resumed {
            work.early(own, true);
            self.lead(EARLY);
        }
        drop(off);
        self.lead(UNMASK);
        if resumed {
            work.late(own, true);
            self.lead(LATE);
        }
        self.lead(LEAVE);
        outcome
    }
}

#[cfg(test)]
#[path = "corral_tests.rs"]
mod tests;
