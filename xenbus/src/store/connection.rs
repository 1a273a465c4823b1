// SPDX-License-Identifier: BSD-2-Clause
//! A connection from start to stop: where the page is, the task, its end.
//!
//! Started and stopped at PASSIVE_LEVEL by the device that owns it. [`Connection::stop`] refuses new
//! requests, lets those in flight finish for a bounded time, settles every request, ends callbacks.

use kexec::nt::Arc;
use kexec::{DpcExecutor, Instant, JoinHandle, Passive, Result, Status, block_on, poll_on, task};

use super::client::Client;
use super::delivery::Delivery;
use super::engine::{Engine, Port};
use super::request::TAG;
use super::shared::{Policy, Shared};
use super::task::{DISPATCH_LIMIT, run};
use crate::evtchn::channel::Target;
use crate::evtchn::{Channel, Evtchn, Hypervisor, Kind, Machine};
use crate::store::ring::{CONTROL_WORDS, DATA_LEN, RingPage};
use core::sync::atomic::{AtomicU8, AtomicU32};
use core::task::{Context, Poll};

/// `HVM_PARAM_STORE_PFN`.
pub const PARAM_STORE_PFN: u32 = 1;
/// `HVM_PARAM_STORE_EVTCHN`.
pub const PARAM_STORE_EVTCHN: u32 = 2;
/// Grant reference of the store's page.
pub const GRANT_REFERENCE: u32 = 1;

/// `GTF_permit_access` in the two type bits.
const TYPE_MASK: u16 = 3;
const PERMIT_ACCESS: u16 = 1;

/// A grant table entry, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantEntry {
    /// Flags.
    pub flags: u16,
    /// The domain that it is for.
    pub domain: u16,
    /// The frame granted.
    pub frame: u32,
}

/// The frame of the store's page.
///
/// The toolstack says it twice: in grant entry 1 (`None` when no grant table is mapped) and in a
/// parameter. The parameter is believed if they differ, because the entry can be rewritten by whoever
/// held this domain's memory before.
///
/// # Errors
/// `DEVICE_NOT_READY` when neither says anything usable.
pub fn page_frame(entry: Option<GrantEntry>, parameter: Result<u64>) -> Result<u64> {
    let granted = entry
        .filter(|entry| entry.flags & TYPE_MASK == PERMIT_ACCESS && entry.frame != 0)
        .map(|entry| u64::from(entry.frame));
    let parameter = parameter
        .ok()
        .filter(|&frame| frame != 0 && frame >> 40 == 0);
    if let (Some(granted), Some(parameter)) = (granted, parameter)
        && granted != parameter
    {
        kexec::warn!("store: grant entry names frame {granted:#x}, parameter {parameter:#x}");
    }
    parameter.or(granted).ok_or(Status::DEVICE_NOT_READY)
}

/// The port of the store's event channel.
///
/// # Errors
/// `DEVICE_NOT_READY` when the toolstack gave none.
pub fn event_port(parameter: Result<u64>) -> Result<u32> {
    parameter
        .ok()
        .and_then(|port| u32::try_from(port).ok())
        .filter(|&port| port != 0)
        .ok_or(Status::DEVICE_NOT_READY)
}

/// The shared page and the event channel beside it.
pub struct ChannelPort<R: RingPage, H: Hypervisor + Machine> {
    page: R,
    service: Arc<Evtchn<H>>,
    /// `None` only when a new domain gave none.
    channel: Option<Channel<H>>,
    seen: u32,
    moves: Option<Moves<R>>,
}

/// How to follow the page to another frame.
struct Moves<R> {
    frame: u64,
    map: fn(u64) -> Result<R>,
}

impl<R: RingPage, H: Hypervisor + Machine> ChannelPort<R, H> {
    /// Joins the page to its channel, opened with `Target::Future` and without auto-mask. The first
    /// poll reports an event in any case.
    pub fn new(page: R, channel: Channel<H>) -> Self {
        let seen = channel.count().wrapping_sub(1);
        channel.unmask(false, true);
        Self {
            page,
            service: channel.service().clone(),
            channel: Some(channel),
            seen,
            moves: None,
        }
    }

    /// The page is at `frame`, and `map` maps it where a new domain has it.
    #[must_use]
    pub fn at(mut self, frame: u64, map: fn(u64) -> Result<R>) -> Self {
        self.moves = Some(Moves { frame, map });
        self
    }
}

impl<R: RingPage, H: Hypervisor + Machine> RingPage for ChannelPort<R, H> {
    fn data(&self) -> &[AtomicU8; DATA_LEN] {
        self.page.data()
    }
    fn control(&self) -> &[AtomicU32; CONTROL_WORDS] {
        self.page.control()
    }
}

impl<R: RingPage, H: Hypervisor + Machine> Port for ChannelPort<R, H> {
    fn notify(&self) {
        if let Some(channel) = &self.channel {
            kexec::probe!(Send);
            channel.send();
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(channel) = &self.channel else {
            return Poll::Pending;
        };
        match channel.poll_count(cx, self.seen) {
            Poll::Ready(count) => {
                self.seen = count;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn renew(&mut self) -> Result {
        // Dead, so only given back; and room for the new one.
        drop(self.channel.take());
        let host = self.service.host();
        if let Some(moves) = &mut self.moves {
            let frame = page_frame(None, host.get_param(PARAM_STORE_PFN))?;
            if frame != moves.frame {
                kexec::warn!("store: page moved from {:#x} to {frame:#x}", moves.frame);
                self.page = (moves.map)(frame)?;
                moves.frame = frame;
            }
        }
        let port = event_port(host.get_param(PARAM_STORE_EVTCHN))?;
        let kind = Kind::Fixed { port };
        let channel = Channel::open(&self.service, kind, Target::Future, false)?;
        self.seen = channel.count().wrapping_sub(1);
        channel.unmask(false, true);
        self.channel = Some(channel);
        Ok(())
    }
}

/// Follows a suspend on this processor: when it returns requests are answered again.
///
/// # Errors
/// `IO_TIMEOUT` when the task does not follow; as [`poll_on`].
///
/// # IRQL
/// DISPATCH_LEVEL, after the event channels were resumed.
pub fn resume(client: &Client, executor: &DpcExecutor) -> Result {
    let shared = client.shared();
    shared.unpause();
    let followed = core::future::poll_fn(|_| {
        shared.kick();
        if shared.has_followed() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    poll_on(executor, DISPATCH_LIMIT, followed)
}

/// A running connection.
pub struct Connection {
    client: Client,
    executor: Arc<DpcExecutor>,
    task: JoinHandle<()>,
}

impl Connection {
    /// Starts the task on `executor`, which runs nothing that calls other drivers.
    ///
    /// # Errors
    /// `NO_MEMORY`; `DEVICE_PROTOCOL_ERROR` when the page's indices make no sense.
    pub fn start<P: Port + 'static>(
        executor: &Arc<DpcExecutor>,
        port: P,
        policy: Policy,
        passive: Passive,
    ) -> Result<Self> {
        let delivery = Delivery::try_new()?;
        Self::spawn(executor, port, policy, delivery.clone())
            .inspect_err(|_| delivery.stop(passive))
    }

    fn spawn<P: Port + 'static>(
        executor: &Arc<DpcExecutor>,
        port: P,
        policy: Policy,
        delivery: Arc<Delivery>,
    ) -> Result<Self> {
        let seed = seed();
        let shared = Arc::try_new(TAG, Shared::new(delivery, seed))?;
        let engine = Engine::try_new(port, shared.clone(), policy, seed)?;
        let future = run(executor.clone(), shared.clone(), engine);
        let task = executor.spawn(task!("store"), future)?;
        Ok(Self {
            client: Client::new(shared),
            executor: executor.clone(),
            task,
        })
    }

    /// A handle for callers.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The executor that a caller at DISPATCH_LEVEL drives.
    #[must_use]
    pub fn executor(&self) -> &Arc<DpcExecutor> {
        &self.executor
    }

    /// Ends the connection; bounded by the policy's drain time. Afterwards every request fails.
    pub fn stop(self, passive: Passive) {
        let shared = self.client.shared().clone();
        shared.stop();
        if block_on(passive, self.task).is_err() {
            kexec::error!("store: no memory to wait for the task, it is cancelled");
        }
        shared.forget_task();
        shared.delivery.stop(passive);
        shared.spares.close();
        let live = shared.watches.live();
        if live != 0 {
            kexec::error!("store: {live} watches outstanding");
        }
    }
}

/// Makes ids of an earlier life of the driver unlikely to match.
fn seed() -> u32 {
    let mixed = Instant::now().ticks().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    u32::try_from(mixed >> 32).unwrap_or(1)
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "renewal_tests.rs"]
mod renewal_tests;
