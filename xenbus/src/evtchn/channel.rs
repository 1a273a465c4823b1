// SPDX-License-Identifier: BSD-2-Clause
//! A channel as its owner holds it.
//!
//! Opened masked on processor 0; the owner binds it elsewhere if it wants and unmasks it. Dropping it
//! closes it: once that returns no callback of it is running or will run, so what the callback uses
//! may go away. Not to be dropped from its own callback. A channel of the time before a suspend is
//! dead: its operations do nothing and closing it makes no hypercall.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};
use kexec::irql::Raised;
use kexec::nt::Arc;
use kexec::{Result, Status};

use super::host::{Hypervisor, Machine};
use super::service::Evtchn;
use super::slots::Slot;

/// What to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A port that the toolstack made; never closed by us.
    Fixed {
        /// The port.
        port: u32,
    },
    /// A new port that a domain may bind to.
    Unbound {
        /// That domain.
        domain: u16,
    },
    /// A new port bound to a domain's.
    InterDomain {
        /// The domain.
        domain: u16,
        /// Its port.
        port: u32,
    },
    /// A virtual interrupt of a processor.
    Virq {
        /// Its number.
        virq: u32,
        /// The processor.
        cpu: u32,
    },
}

/// Who hears of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A future: [`Channel::wait`].
    Future,
    /// A service routine, called at device IRQL through [`Machine::call`].
    Routine {
        /// The routine, not 0.
        routine: usize,
        /// Its argument.
        context: usize,
    },
}

/// An open channel.
pub struct Channel<H: Hypervisor + Machine> {
    service: Arc<Evtchn<H>>,
    number: u32,
    kind: Kind,
    epoch: u32,
}

impl<H: Hypervisor + Machine> Channel<H> {
    /// Opens a channel, masked. With `auto_mask` each delivery masks it again.
    ///
    /// # Errors
    /// `NOT_SUPPORTED` for a processor without an upcall; `INVALID_PARAMETER`; `DUPLICATE_OBJECTID` for
    /// a fixed port that has a channel; `NO_MEMORY`; the hypercall's.
    pub fn open(
        service: &Arc<Evtchn<H>>,
        kind: Kind,
        target: Target,
        auto_mask: bool,
    ) -> Result<Self> {
        let _raised = bar_suspend();
        let host = service.host();
        let epoch = service.epoch();
        let cpu = match kind {
            Kind::Virq { cpu, .. } if !service.is_target(cpu) => return Err(Status::NOT_SUPPORTED),
            Kind::Virq { cpu, .. } => cpu,
            _ => 0,
        };
        let number = service.slots.take()?;
        let Some(slot) = service.slots.get(number) else {
            return Err(Status::INTERNAL_ERROR);
        };
        let opened = bind(host, kind).and_then(|port| {
            // Mapped first: a port that has a channel already is not touched.
            service
                .slots
                .map(port, number)
                .and_then(|()| {
                    let enabled = service.abi.enable(host, port);
                    enabled.inspect_err(|_| service.slots.unmap(port))
                })
                .inspect_err(|_| unbind(host, kind, port))
                .map(|()| port)
        });
        let port = match opened {
            Ok(port) => port,
            Err(status) => {
                slot.close();
                service.slots.give(number);
                return Err(status);
            }
        };
        let (routine, context) = match target {
            Target::Future => (0, 0),
            Target::Routine { routine, context } => (routine, context),
        };
        slot.port.store(port, Ordering::Relaxed);
        slot.cpu.store(cpu, Ordering::Relaxed);
        slot.epoch.store(epoch, Ordering::Relaxed);
        slot.auto_mask.store(auto_mask, Ordering::Relaxed);
        slot.routine.store(routine, Ordering::Relaxed);
        slot.context.store(context, Ordering::Relaxed);
        slot.open();
        Ok(Self {
            service: service.clone(),
            number,
            kind,
            epoch,
        })
    }

    /// The service that it belongs to.
    #[must_use]
    pub fn service(&self) -> &Arc<Evtchn<H>> {
        &self.service
    }

    fn slot(&self) -> Option<&Slot> {
        self.service.slots.get(self.number)
    }

    fn live_slot(&self) -> Option<&Slot> {
        self.slot().filter(|_| self.epoch == self.service.epoch())
    }

    /// Whether the port went with the domain that it belonged to, in a suspend. Any IRQL.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.epoch != self.service.epoch()
    }

    /// The local port; 0, which is never valid, once the channel [is dead](Self::is_dead). Any IRQL.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.live_slot()
            .map_or(0, |s| s.port.load(Ordering::Relaxed))
    }

    /// The processor that it is delivered to.
    #[must_use]
    pub fn cpu(&self) -> u32 {
        self.slot().map_or(0, |s| s.cpu.load(Ordering::Acquire))
    }

    /// Deliveries so far, wrapping. Any IRQL.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.slot().map_or(0, |s| s.count.load(Ordering::SeqCst))
    }

    /// Notifies the other end; errors are dropped. Any IRQL.
    pub fn send(&self) {
        if let Some(slot) = self.live_slot() {
            let _ = self.service.host().send(slot.port.load(Ordering::Relaxed));
        }
    }

    /// Delivers a local event soon, masked or not.
    pub fn trigger(&self) {
        if let Some(slot) = self.live_slot() {
            self.service.trigger(self.number, slot);
        }
    }

    /// Moves delivery to another processor; an event on its way is not lost.
    ///
    /// # Errors
    /// `NOT_SUPPORTED` for a processor without an upcall; the hypercall's.
    pub fn bind(&self, cpu: u32) -> Result {
        if !self.service.is_target(cpu) {
            return Err(Status::NOT_SUPPORTED);
        }
        let _raised = bar_suspend();
        let Some(slot) = self.live_slot() else {
            return Ok(());
        };
        if slot.cpu.load(Ordering::Acquire) == cpu {
            return Ok(());
        }
        let (host, abi) = (self.service.host(), &self.service.abi);
        let vcpu = host.vcpu_id(cpu)?;
        let port = slot.port.load(Ordering::Relaxed);
        // Masked while it moves: an event that sits with the old processor is raised again, with the
        // new one, by the hypervisor's unmask.
        let was_masked = abi.is_masked(host, port);
        abi.mask(host, port);
        let bound = host.bind_vcpu(port, vcpu);
        if bound.is_ok() {
            slot.cpu.store(cpu, Ordering::Release);
        }
        if !was_masked {
            let _ = host.unmask(port);
        }
        bound
    }

    /// Unmasks. True: an event was pending, was taken, and the caller must look again as if its
    /// callback had run (only on the channel's own processor, outside the callback, without `force`).
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`; in the callback that of the callback.
    pub fn unmask(&self, in_callback: bool, force: bool) -> bool {
        let Some(slot) = self.live_slot() else {
            return false;
        };
        let (host, abi) = (self.service.host(), &self.service.abi);
        let port = slot.port.load(Ordering::Relaxed);
        if !abi.unmask(host, port) {
            return false;
        }
        let elsewhere = host.current_cpu() != slot.cpu.load(Ordering::Acquire);
        if in_callback || force || elsewhere {
            // The hypervisor acts only if it finds the port masked.
            abi.mask(host, port);
            let _ = host.unmask(port);
            return false;
        }
        if slot.auto_mask.load(Ordering::Relaxed) {
            abi.mask(host, port);
        }
        abi.ack(host, port);
        true
    }

    /// Ready once the count differs from `seen`; the count. No allocation. One waiter. A suspend counts as an event: look whether
    /// the channel [is dead](Self::is_dead).
    pub fn wait(&self, seen: u32) -> Wait<'_, H> {
        Wait {
            channel: self,
            seen,
        }
    }

    /// As [`wait`](Self::wait), for use inside another poll.
    pub fn poll_count(&self, cx: &mut Context<'_>, seen: u32) -> Poll<u32> {
        let Some(slot) = self.slot() else {
            return Poll::Ready(seen);
        };
        let count = slot.count.load(Ordering::SeqCst);
        if count != seen {
            return Poll::Ready(count);
        }
        slot.waker.register(cx.waker());
        // Counted between the look and the registration?
        let count = slot.count.load(Ordering::SeqCst);
        if count == seen {
            Poll::Pending
        } else {
            Poll::Ready(count)
        }
    }

    /// Closes the channel; the same as dropping it.
    pub fn close(self) {}
}

/// The future of [`Channel::wait`]. Cancel-safe.
#[must_use = "futures do nothing unless polled"]
pub struct Wait<'a, H: Hypervisor + Machine> {
    channel: &'a Channel<H>,
    seen: u32,
}

impl<H: Hypervisor + Machine> Future for Wait<'_, H> {
    type Output = u32;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        self.channel.poll_count(cx, self.seen)
    }
}

impl<H: Hypervisor + Machine> Drop for Wait<'_, H> {
    fn drop(&mut self) {
        // A waker keeps its task; the channel may outlive it.
        if let Some(slot) = self.channel.slot() {
            drop(slot.waker.take());
        }
    }
}

impl<H: Hypervisor + Machine> Drop for Channel<H> {
    fn drop(&mut self) {
        let service = &self.service;
        let Some(slot) = service.slots.get(self.number) else {
            return;
        };
        let _raised = bar_suspend();
        let live = self.epoch == service.epoch();
        let port = slot.port.load(Ordering::Relaxed);
        if live {
            service.abi.mask(&service.host, port);
        }
        slot.close();
        if live {
            service.slots.unmap(port);
        }
        service.drain(slot);
        if live {
            if service.abi.lingers(port) {
                // The number is free for the hypervisor once a poll has taken it out of its queue.
                service.host.queue_dpc(slot.cpu.load(Ordering::Relaxed));
            }
            unbind(&service.host, self.kind, port);
        }
        // On a list of local events it is the list's to give back.
        if !slot.triggered.load(Ordering::SeqCst) {
            service.slots.give(self.number);
        }
    }
}

/// No suspend until it is dropped: processors are captured below DISPATCH_LEVEL only.
fn bar_suspend() -> Option<Raised> {
    Raised::at_least_dispatch()
}

fn bind<H: Hypervisor>(host: &H, kind: Kind) -> Result<u32> {
    let port = match kind {
        Kind::Fixed { port } => port,
        Kind::Unbound { domain } => host.alloc_unbound(domain)?,
        Kind::InterDomain { domain, port } => host.bind_interdomain(domain, port)?,
        Kind::Virq { virq, cpu } => host.bind_virq(virq, host.vcpu_id(cpu)?)?,
    };
    // Port 0 is never valid.
    if port == 0 {
        return Err(Status::INVALID_PARAMETER);
    }
    Ok(port)
}

fn unbind<H: Hypervisor>(host: &H, kind: Kind, port: u32) {
    if matches!(kind, Kind::Fixed { .. }) {
        return;
    }
    if let Err(status) = host.close(port) {
        kexec::warn!("evtchn: port {port} was not closed, {status}");
    }
}
