// SPDX-License-Identifier: BSD-2-Clause
//! Engine, client and scripted daemon on one thread, with time under the test's control.

use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::Arc as StdArc;

use kexec::nt::{Arc, Box};
use kexec::{Duration, Instant};

use super::page::TestPage;
use super::xenstored::Xenstored;
use crate::store::delivery::Delivery;
use crate::store::engine::{Engine, Port, Turn};
use crate::store::request::TAG;
use crate::store::ring::{CONTROL_WORDS, DATA_LEN, RingPage};
use crate::store::{Client, Policy, Shared};
use core::sync::atomic::{AtomicU8, AtomicU32};

/// The page and a count of events.
#[derive(Clone)]
pub struct TestPort {
    /// The shared page.
    pub page: StdArc<TestPage>,
    /// Events sent to the daemon.
    pub events: StdArc<AtomicUsize>,
}

impl RingPage for TestPort {
    fn data(&self) -> &[AtomicU8; DATA_LEN] {
        self.page.data()
    }
    fn control(&self) -> &[AtomicU32; CONTROL_WORDS] {
        self.page.control()
    }
}

impl Port for TestPort {
    fn notify(&self) {
        self.events.fetch_add(1, Ordering::SeqCst);
    }
}

/// Everything.
pub struct StoreRig {
    /// The daemon.
    pub daemon: Xenstored,
    /// The page and events.
    pub port: TestPort,
    /// The shared state.
    pub shared: Arc<Shared>,
    /// A client.
    pub client: Client,
    engine: Box<Engine<TestPort>>,
    now: Instant,
}

impl StoreRig {
    /// A fresh connection to `daemon`, with the default policy.
    #[must_use]
    pub fn new(daemon: Xenstored) -> Self {
        Self::with(daemon, Policy::default(), TestPage::starting_at(0, 0))
    }

    /// A connection over `page`.
    #[must_use]
    pub fn with(daemon: Xenstored, policy: Policy, page: TestPage) -> Self {
        let port = TestPort {
            page: StdArc::new(page),
            events: StdArc::default(),
        };
        let delivery = Delivery::try_new().expect("memory");
        let shared = Arc::try_new(TAG, Shared::new(delivery, 7)).expect("memory");
        let engine =
            Engine::try_new(port.clone(), shared.clone(), policy, 0xFFF_FFFE).expect("sane page");
        Self {
            daemon,
            port,
            client: Client::new(shared.clone()),
            shared,
            engine,
            now: Instant::now(),
        }
    }

    /// One engine turn at the rig's time.
    pub fn turn(&mut self) -> Turn {
        self.engine.turn(self.now)
    }

    /// Lets time pass, then one turn.
    pub fn pass(&mut self, time: Duration) -> Turn {
        self.now += time;
        self.turn()
    }

    /// Turns and service until nothing moves.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let turn = self.turn();
            let moved = self.daemon.serve(&self.port.page);
            if !moved && turn != Turn::Again {
                return;
            }
        }
        panic!("never settles");
    }

    /// Runs a future to its end against the daemon.
    pub fn run<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        for _ in 0..1000 {
            if let Poll::Ready(value) = poll_once(future.as_mut()) {
                return value;
            }
            self.settle();
        }
        panic!("the future never gets ready");
    }

    /// Events sent so far.
    #[must_use]
    pub fn events(&self) -> usize {
        self.port.events.load(Ordering::SeqCst)
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.engine.in_flight()
    }
}

/// Polls once with a waker that does nothing.
pub fn poll_once<F: Future + ?Sized>(future: core::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
