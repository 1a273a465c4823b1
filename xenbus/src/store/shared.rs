// SPDX-License-Identifier: BSD-2-Clause
//! What callers and the store task share: queue, watches, epoch, counters, the kick.
//!
//! Callers never touch the ring or the window: they queue and kick. Everything here is usable at
//! `<= DISPATCH_LEVEL`, [`Shared::kick`] and [`Shared::suspended`] at any IRQL.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::task::{Context, Poll};
use kexec::nt::Arc;
use kexec::sync::Notify;
use kexec::{Duration, Instant, Result};

use super::bytes::INLINE;
use super::delivery::Delivery;
use super::queue::{Admission, Queue};
use super::request::{Callback, Request};
use super::spares::Spares;
use super::watch::Watches;
use super::wire::Kind;

/// Times and limits of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// A request without a reply fails after this long; `None`: never.
    pub timeout: Option<Duration>,
    /// A request without a reply is logged after this long, and again each time it passes.
    pub warn_after: Duration,
    /// With a request in flight and nothing heard for this long, one event is sent again.
    pub fallback: Duration,
    /// With nothing in flight but a watch registered, the ring is looked at this often: nobody tells when the domain is introduced
    /// to another daemon.
    pub idle: Duration,
    /// How long a stop waits for requests in flight.
    pub drain: Duration,
    /// How long a reconnection may take.
    pub reconnect: Duration,
    /// Requests in flight, at most [`WINDOW`](super::engine::WINDOW).
    pub window: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(30)),
            warn_after: Duration::from_secs(5),
            fallback: Duration::from_secs(1),
            idle: Duration::from_secs(5),
            drain: Duration::from_secs(2),
            reconnect: Duration::from_secs(5),
            window: super::engine::WINDOW,
        }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What the store did, for reports and dumps: u64 each, in this order.
        #[derive(Debug, Default)]
        #[repr(C)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Counters {
            /// Names, each with a NUL after it: a memory image carries its own list.
            pub const NAMES: &str = concat!($(stringify!($name), "\0"),*);

            /// Names and values.
            pub fn each(&self, mut f: impl FnMut(&'static str, u64)) {
                $(f(stringify!($name), self.$name.load(Ordering::Relaxed));)*
            }
        }
    };
}

counters! {
    /// Requests whose first byte went out.
    requests,
    /// Replies that matched a request.
    replies,
    /// Event channel sends.
    event_sends,
    /// Of these, sends because nothing was heard for a second.
    fallback_sends,
    /// Bytes put on the request ring.
    bytes_out,
    /// Bytes taken from the response ring.
    bytes_in,
    /// Watch events that found a watch.
    watch_events,
    /// Messages that matched nothing.
    spurious,
    /// Replies that broke the protocol.
    protocol_errors,
    /// Requests that ran out of time.
    timeouts,
    /// Pool blocks allocated for requests and long replies.
    allocations,
    /// Runs of the task's loop.
    turns,
    /// Times the connection broke.
    faults,
    /// Suspends survived.
    resumes,
    /// Times the toolstack introduced the domain anew.
    introductions,
    /// Log lines about requests without a reply.
    age_warnings,
}

pub(super) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Ordering::Relaxed);
}

/// The shared part of one connection.
pub struct Shared {
    /// Requests on their way to the task.
    pub queue: Queue,
    /// Registered watches.
    pub watches: Watches,
    /// Callbacks to make outside any poll.
    pub delivery: Arc<Delivery>,
    /// Blocks for requests.
    pub(crate) spares: Spares,
    /// What happened so far.
    pub counters: Counters,
    kick: Notify,
    epoch: AtomicU32,
    /// The epoch that the task works in.
    followed: AtomicU32,
    paused: AtomicBool,
    drained: Notify,
    stopping: AtomicBool,
}

impl Shared {
    /// A connection that no task serves yet.
    #[must_use]
    pub fn new(delivery: Arc<Delivery>, seed: u32) -> Self {
        Self {
            queue: Queue::new(),
            watches: Watches::new(seed),
            delivery,
            spares: Spares::new(),
            counters: Counters::default(),
            kick: Notify::new(),
            epoch: AtomicU32::new(1),
            followed: AtomicU32::new(1),
            paused: AtomicBool::new(false),
            drained: Notify::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Makes the task look at ring, queue and state. Any IRQL.
    pub fn kick(&self) {
        self.kick.notify();
    }

    /// Ready after a [`kick`](Self::kick); only the task waits here.
    pub fn poll_kicked(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.kick.poll_notified(cx)
    }

    /// The task is gone: gives back its waker, which a client that outlives the connection would keep.
    pub(super) fn forget_task(&self) {
        self.kick.notify();
    }

    /// A request with the payload `parts`, in a block that was used before if there is one. `transaction` is the id and the
    /// connection that it belongs to.
    ///
    /// # Errors
    /// `INVALID_BUFFER_SIZE`, `NO_MEMORY`.
    pub fn request(
        &self,
        kind: Kind,
        transaction: (u32, u32),
        parts: &[&[u8]],
        callback: Option<Callback>,
    ) -> Result<Arc<Request>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let long = usize::from(length > INLINE);
        if let Some(mut spare) = self.spares.take()
            && let Some(block) = Arc::get_mut(&mut spare)
        {
            if let Err(status) = block.renew(kind, transaction, parts, callback) {
                self.spares.give(spare);
                return Err(status);
            }
            add(&self.counters.allocations, long);
            return Ok(spare);
        }
        let request = Request::with_callback(kind, transaction, parts, callback)?;
        add(&self.counters.allocations, 1 + long);
        Ok(request)
    }

    /// Queues a request and kicks the task.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub fn submit(&self, request: &Arc<Request>, admission: Admission) -> Result {
        self.enqueue(request, admission)?;
        self.kick();
        Ok(())
    }

    /// Queues a request for a caller that kicks the task next.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub(super) fn enqueue(&self, request: &Arc<Request>, admission: Admission) -> Result {
        self.queue.push(request, admission, Instant::now())?;
        kexec::probe!(Queue);
        Ok(())
    }

    /// Number of the connection: transactions of another number are dead.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The domain was suspended and lives on as another: nothing but the number changes here.
    ///
    /// # IRQL
    /// Any, HIGH_LEVEL included.
    pub fn suspended(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// No request is begun from here on; they queue up. Before a suspend, so that nothing is half done at the daemon.
    pub fn pause(&self) {
        self.drained.try_take();
        self.paused.store(true, Ordering::Release);
        self.kick();
    }

    /// Requests are begun again. Also for a caller at DISPATCH_LEVEL, who cannot wait for a suspend: it comes later then.
    pub fn unpause(&self) {
        if self.paused.swap(false, Ordering::AcqRel) {
            self.kick();
        }
    }

    /// Whether requests are held back.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Ready once nothing is in flight after a [`pause`](Self::pause). One waiter.
    pub async fn quiet(&self) {
        self.drained.notified().await;
    }

    pub(super) fn drained(&self) {
        self.drained.notify();
    }

    pub(super) fn follow(&self, epoch: u32) {
        self.followed.store(epoch, Ordering::Release);
    }

    /// Whether the task has followed the last suspend.
    #[must_use]
    pub fn has_followed(&self) -> bool {
        self.followed.load(Ordering::Acquire) == self.epoch()
    }

    /// Asks the task to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.queue.close_to_callers(crate::status::CANCELLED);
        self.kick();
    }

    /// Whether the task was asked to end.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}
