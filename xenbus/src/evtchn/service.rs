// SPDX-License-Identifier: BSD-2-Clause
//! The event channel service: acquisition, delivery to processors, upcalls.
//!
//! One object per bus device. [`Evtchn::isr`] runs at device IRQL under the processor's interrupt
//! lock, [`Evtchn::dpc`] takes that lock; a flag per processor keeps the two interrupts that processor
//! 0 may have (its vector and the line) from polling at the same time. Work per call is bounded: what
//! is left is continued by a DPC. No allocation, no DISPATCH lock on the way to a channel.
//!
//! Stop: [`Evtchn::disable`], then every channel closed, then [`Evtchn::release`]. An interrupt that
//! comes later finds nothing to do.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use kexec::nt::{Arc, Vec};
use kexec::{Result, Status};

use super::abi::{Abi, PollState, TAG, reset};
use super::host::{Hypervisor, Machine, VcpuInfo};
use super::slots::{NONE, Slot, Slots};

/// `HVM_PARAM_CALLBACK_IRQ`.
const PARAM_CALLBACK_IRQ: u32 = 0;
/// A type that Xen takes for "no callback". The parameter must not be 0 even where there is no line: toolstacks read it to learn
/// whether there are drivers, and suspend a domain without asking it otherwise.
const NO_LINE: u64 = 0x80 << 56;
/// Ports looked at in one interrupt or DPC.
const BUDGET: usize = 64;

/// What the registry says.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// `UseEvtchnFifoAbi`.
    pub fifo: bool,
    /// `UseEvtchnUpcall`.
    pub upcall: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            fifo: true,
            upcall: true,
        }
    }
}

/// One processor.
#[derive(Debug, Default)]
pub struct Cpu {
    /// A poll is going on.
    polling: AtomicBool,
    /// An upcall was taken that the poll going on has to look after.
    again: AtomicBool,
    /// Has a vector of its own.
    upcall: AtomicBool,
    /// Local events: a stack of slots, plus one.
    triggered: AtomicU32,
    /// Upcalls taken.
    pub upcalls: AtomicU64,
    /// Events delivered.
    pub events: AtomicU64,
    /// Times the bound was reached.
    pub deferred: AtomicU64,
}

impl Cpu {
    /// Takes the upcall that is due, the hypervisor's or one left by an interrupt; whether there was one.
    fn take_upcall(&self, vcpu: &VcpuInfo) -> bool {
        let left = self.again.swap(false, Ordering::SeqCst);
        let due = vcpu.upcall_pending.swap(0, Ordering::SeqCst) != 0;
        left || due
    }

    /// Whether an upcall is due.
    fn has_upcall(&self, vcpu: &VcpuInfo) -> bool {
        self.again.load(Ordering::SeqCst) || vcpu.upcall_pending.load(Ordering::SeqCst) != 0
    }
}

/// The service; see the module.
pub struct Evtchn<H: Hypervisor + Machine> {
    pub(super) host: H,
    pub(super) abi: Abi<H::Page>,
    pub(super) slots: Slots,
    states: Vec<PollState<H::Page>>,
    cpus: Vec<Cpu>,
    epoch: AtomicU32,
    enabled: AtomicBool,
    /// The hypervisor may still write to its pages: they are never freed.
    keep_pages: AtomicBool,
    /// Not yet given back by [`release`](Self::release).
    held: AtomicBool,
}

impl<H: Hypervisor + Machine> Evtchn<H> {
    /// Chooses the ABI. No event is delivered before [`enable`](Self::enable).
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn try_new(host: H, config: Config) -> Result<Arc<Self>> {
        let mut cpus = Vec::new(TAG);
        for _ in 0..host.max_cpus() {
            cpus.try_push(Cpu::default())?;
        }
        // Last: from here on the hypervisor may write to pages, and only `drop` knows how to end it.
        let (abi, states) = Abi::choose(&host, config.fifo)?;
        Arc::try_new(
            TAG,
            Self {
                host,
                abi,
                slots: Slots::new(),
                states,
                cpus,
                epoch: AtomicU32::new(0),
                enabled: AtomicBool::new(false),
                keep_pages: AtomicBool::new(false),
                held: AtomicBool::new(true),
            },
        )
    }

    /// The seam below.
    #[must_use]
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The ABI's name.
    #[must_use]
    pub fn abi_name(&self) -> &'static str {
        self.abi.name()
    }

    /// All processors there can ever be.
    #[must_use]
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// Counters of a processor.
    #[must_use]
    pub fn cpu(&self, cpu: u32) -> Option<&Cpu> {
        self.cpus.get(cpu as usize)
    }

    /// Channels open.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.slots.live()
    }

    /// Tells the hypervisor how to interrupt each processor.
    ///
    /// Vectors first, as many as the hypervisor takes; the callback line is always set too, and
    /// serves processor 0 when vectors are refused.
    ///
    /// # Errors
    /// `UNSUCCESSFUL` when processor 0 could not be interrupted in either way.
    pub fn enable(&self, config: Config) -> Result {
        self.enabled.store(true, Ordering::SeqCst);
        if config.upcall {
            self.enable_vectors();
        }
        // Type 0: a GSI.
        let line = self.host.line();
        let set = self
            .host
            .set_param(PARAM_CALLBACK_IRQ, line.map_or(NO_LINE, u64::from))
            .inspect_err(|status| kexec::warn!("evtchn: no callback line, {status}"));
        let line = line.is_some() && set.is_ok();
        if !line && !self.has_upcall(0) {
            self.enabled.store(false, Ordering::SeqCst);
            return Err(Status::UNSUCCESSFUL);
        }
        self.kick_by_hand(0);
        Ok(())
    }

    fn enable_vectors(&self) {
        for (cpu, state) in (0..).zip(self.cpus.iter()) {
            let takes_events = !matches!(self.states[cpu as usize], PollState::None);
            if !takes_events || self.host.vcpu_info(cpu).is_none() {
                continue;
            }
            let (Some(vector), Ok(vcpu)) = (self.host.vector(cpu), self.host.vcpu_id(cpu)) else {
                continue;
            };
            match self.host.set_upcall_vector(vcpu, vector) {
                Ok(()) => {
                    state.upcall.store(true, Ordering::SeqCst);
                    // Some hypervisors leave an upcall pending without an interrupt when vcpu_info is
                    // registered; unless it is cleared, none would ever come.
                    self.kick_by_hand(cpu);
                }
                Err(Status::NOT_IMPLEMENTED) => {
                    kexec::info!("evtchn: no upcall vectors, processor 0 only");
                    return;
                }
                Err(status) => kexec::warn!("evtchn: no upcall vector for cpu {cpu}, {status}"),
            }
        }
    }

    /// Ends delivery. Vectors cannot be taken back: an interrupt may still come.
    ///
    /// May be called again, to wait again for whoever is inside.
    pub fn disable(&self) {
        if self.enabled.load(Ordering::SeqCst) {
            // While interrupts are still served: a level-triggered line that nobody serves would
            // interrupt for ever.
            let _ = self.host.set_param(PARAM_CALLBACK_IRQ, 0);
        }
        self.enabled.store(false, Ordering::SeqCst);
        for cpu in (0..).take(self.cpus.len()) {
            // Whoever was inside is out once the lock was ours.
            self.host.with_interrupt_lock(cpu, &mut || {});
        }
    }

    /// Gives the ABI back: after [`disable`](Self::disable), with every channel closed. Once.
    ///
    /// The FIFO ABI needs a reset, or the hypervisor would go on writing to pages that are about to be
    /// freed.
    pub fn release(&self) {
        if !self.held.swap(false, Ordering::SeqCst) {
            return;
        }
        if self.channels() != 0 {
            kexec::error!("evtchn: {} channels outstanding", self.channels());
        }
        if self.abi.is_fifo() && reset(&self.host).is_err() {
            self.keep_pages.store(true, Ordering::SeqCst);
        }
    }

    /// Whether a processor has a vector of its own.
    #[must_use]
    pub fn has_upcall(&self, cpu: u32) -> bool {
        self.cpu(cpu)
            .is_some_and(|cpu| cpu.upcall.load(Ordering::SeqCst))
    }

    /// Whether channels may be delivered to a processor.
    #[must_use]
    pub fn is_target(&self, cpu: u32) -> bool {
        cpu == 0 || self.has_upcall(cpu)
    }

    fn kick_by_hand(&self, cpu: u32) {
        self.host.with_interrupt_lock(cpu, &mut || {
            self.isr(cpu);
        });
    }

    /// The interrupt service routine of `cpu`; true when it was ours.
    ///
    /// # IRQL
    /// Device IRQL, on `cpu`, with the interrupt's lock held.
    pub fn isr(&self, cpu: u32) -> bool {
        kexec::probe!(Interrupt);
        let (Some(state), Some(vcpu)) = (self.cpu(cpu), self.host.vcpu_info(cpu)) else {
            return false;
        };
        if !self.enabled.load(Ordering::Acquire) {
            return false;
        }
        let mut ours = false;
        let mut budget = BUDGET;
        loop {
            if state.polling.swap(true, Ordering::SeqCst) {
                // The other interrupt of this processor is polling, and looks again before it leaves. The upcall is taken here:
                // a level-triggered line would interrupt for ever, and nobody would ever leave.
                if vcpu.upcall_pending.swap(0, Ordering::SeqCst) == 0 {
                    return ours;
                }
                ours = true;
                state.again.store(true, Ordering::SeqCst);
                if state.polling.load(Ordering::SeqCst) {
                    return ours;
                }
                continue;
            }
            let mut more = false;
            while !more && state.take_upcall(vcpu) {
                ours = true;
                state.upcalls.fetch_add(1, Ordering::Relaxed);
                more = self.poll(cpu, state, &mut budget);
            }
            state.polling.store(false, Ordering::SeqCst);
            if more {
                state.deferred.fetch_add(1, Ordering::Relaxed);
                // The level-triggered line must see this cleared although work is left.
                vcpu.upcall_pending.store(0, Ordering::SeqCst);
                self.host.queue_dpc(cpu);
                return ours;
            }
            if !state.has_upcall(vcpu) {
                return ours;
            }
        }
    }

    /// The DPC of `cpu`: local events, and what the interrupt left.
    ///
    /// # IRQL
    /// DISPATCH_LEVEL.
    pub fn dpc(&self, cpu: u32) {
        let (mut again, mut closed) = (false, 0);
        self.host.with_interrupt_lock(cpu, &mut || {
            again = self.flush(cpu, &mut closed);
        });
        // Here, as the free list has a lock.
        self.slots.give_chain(closed);
        if again {
            self.host.queue_dpc(cpu);
        }
    }

    fn flush(&self, cpu: u32, closed: &mut u32) -> bool {
        let Some(state) = self.cpu(cpu) else {
            return false;
        };
        if state.polling.swap(true, Ordering::SeqCst) {
            return true;
        }
        let mut list = state.triggered.swap(0, Ordering::SeqCst);
        while let Some(number) = list.checked_sub(1) {
            let Some(slot) = self.slots.get(number) else {
                break;
            };
            list = slot.next.load(Ordering::Relaxed);
            // Off the list before the flag: or it could be pushed twice.
            slot.triggered.store(false, Ordering::SeqCst);
            if slot.enter() {
                if slot.epoch.load(Ordering::Relaxed) == self.epoch() {
                    self.deliver(state, slot);
                } else {
                    self.tell(state, slot);
                }
                slot.leave();
            } else {
                // Closed while it was on the list: ours to give back.
                self.slots.retire(number, closed);
            }
        }
        let vcpu = self.host.vcpu_info(cpu);
        let Some(vcpu) = vcpu.filter(|_| self.enabled.load(Ordering::Acquire)) else {
            state.polling.store(false, Ordering::SeqCst);
            return false;
        };
        state.take_upcall(vcpu);
        let mut budget = BUDGET;
        let more = self.poll(cpu, state, &mut budget);
        state.polling.store(false, Ordering::SeqCst);
        // An upcall that found us polling left its work to us.
        more || state.has_upcall(vcpu)
    }

    fn poll(&self, cpu: u32, state: &Cpu, budget: &mut usize) -> bool {
        let Some(poll_state) = self.states.get(cpu as usize) else {
            return false;
        };
        self.abi.poll(&self.host, cpu, poll_state, budget, |port| {
            // Unknown ports are left pending; so are ports of other processors.
            let Some(slot) = self.slots.of_port(port) else {
                return;
            };
            if !slot.enter() {
                return;
            }
            if slot.port.load(Ordering::Relaxed) == port {
                if slot.cpu.load(Ordering::Acquire) == cpu {
                    self.deliver(state, slot);
                } else {
                    self.abi.pass_on(&self.host, port);
                }
            }
            slot.leave();
        })
    }

    /// Mask before ack, or a new event could slip in; ack before count, or a waiter could wait for a
    /// count that never comes.
    fn deliver(&self, state: &Cpu, slot: &Slot) {
        let port = slot.port.load(Ordering::Relaxed);
        if slot.auto_mask.load(Ordering::Relaxed) {
            self.abi.mask(&self.host, port);
        }
        self.abi.ack(&self.host, port);
        fence(Ordering::SeqCst);
        self.tell(state, slot);
    }

    /// Counts, and tells the owner.
    fn tell(&self, state: &Cpu, slot: &Slot) {
        slot.count.fetch_add(1, Ordering::SeqCst);
        state.events.fetch_add(1, Ordering::Relaxed);
        let routine = slot.routine.load(Ordering::Relaxed);
        if routine == 0 {
            slot.waker.wake();
        } else {
            self.host
                .call(routine, slot.context.load(Ordering::Relaxed));
        }
    }

    /// Puts a channel on its processor's list of local events.
    pub(super) fn trigger(&self, number: u32, slot: &Slot) {
        let cpu = slot.cpu.load(Ordering::Acquire);
        let Some(state) = self.cpu(cpu) else {
            return;
        };
        if slot.triggered.swap(true, Ordering::SeqCst) {
            return;
        }
        let entry = number.wrapping_add(1);
        let mut head = state.triggered.load(Ordering::Relaxed);
        loop {
            slot.next.store(head, Ordering::Relaxed);
            match state.triggered.compare_exchange_weak(
                head,
                entry,
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.host.queue_dpc(cpu);
    }

    /// Waits until no interrupt is in the slot: at device IRQL the lock of each processor is taken.
    pub(super) fn drain(&self, slot: &Slot) {
        for cpu in (0..).take(self.cpus.len()) {
            if !slot.is_busy() {
                return;
            }
            self.host.with_interrupt_lock(cpu, &mut || {});
        }
    }

    /// Number of the domain's life: channels of an earlier one are dead.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The domain was suspended and lives on: every channel is dead, and no event is delivered before [`Self::resume`].
    ///
    /// # IRQL
    /// Any, HIGH_LEVEL included.
    pub fn suspended(&self) {
        self.enabled.store(false, Ordering::SeqCst);
        self.disown();
    }

    /// Every channel is dead from now on: their ports are not theirs any more. Nothing else changes here.
    ///
    /// # IRQL
    /// Any.
    pub fn disown(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// After [`Self::suspended`], in the new domain: the same ABI with the same pages, vectors and line. Every channel of before
    /// gets one last event, so that its owner looks, and finds it dead.
    ///
    /// # Errors
    /// As [`Self::enable`].
    ///
    /// # IRQL
    /// DISPATCH_LEVEL, with the other processors parked.
    pub fn resume(&self, config: Config) -> Result {
        self.slots.each_open(|_, slot| {
            // The number may be another channel's soon.
            self.slots.unmap(slot.port.load(Ordering::Relaxed));
        });
        self.abi.renew(&self.host, &self.states);
        for cpu in &self.cpus {
            cpu.upcall.store(false, Ordering::SeqCst);
        }
        let enabled = self.enable(config);
        self.slots.each_open(|number, slot| {
            // Those of lives before that one have been told.
            if slot.epoch.load(Ordering::Relaxed) == self.epoch().wrapping_sub(1) {
                self.trigger(number, slot);
            }
        });
        enabled
    }
}

impl<H: Hypervisor + Machine> Drop for Evtchn<H> {
    fn drop(&mut self) {
        // A service that never got its memory.
        self.release();
        if self.keep_pages.load(Ordering::SeqCst) {
            kexec::error!("evtchn: pages kept, the hypervisor did not give them back");
            core::mem::forget(core::mem::replace(&mut self.abi, Abi::TwoLevel));
            core::mem::forget(core::mem::replace(&mut self.states, Vec::new(TAG)));
        }
    }
}

const _: () = assert!(NONE.wrapping_add(1) == 0, "no slot is the end of a list");
