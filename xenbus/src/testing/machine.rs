// SPDX-License-Identifier: BSD-2-Clause
//! A whole host for store tests: kexec's fake kernel, the fake hypervisor, a daemon on its own thread.
//!
//! The daemon's thread is the machine's second processor: it serves the page when an event was sent to
//! it, raises the store's port when it wrote, and takes the interrupts.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc as StdArc, Mutex};
use std::thread::JoinHandle;

use kexec::nt::Arc;
use kexec::nt::sys::fake::{self, Session};
use kexec::{DpcExecutor, Passive, Result};

use super::page::TestPage;
use super::rig::TestPort;
use super::xen::{FakeXen, Options, PortKind};
use super::xenstored::Xenstored;
use crate::evtchn::channel::Target;
use crate::evtchn::{Channel, Config, Evtchn, Kind};
use crate::store::connection::{ChannelPort, Connection};
use crate::store::ring::RingPage;
use crate::store::{Policy, request::TAG};

/// The store's port.
pub const PORT: u32 = 3;

/// See the module.
pub struct TestMachine {
    /// The fake kernel; dropped last.
    pub session: Session,
    /// The hypervisor.
    pub xen: StdArc<FakeXen>,
    /// The daemon.
    pub daemon: StdArc<Mutex<Xenstored>>,
    /// The shared page.
    pub page: StdArc<TestPage>,
    stop: StdArc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TestMachine {
    /// Boots with `daemon` and these options.
    #[must_use]
    pub fn boot(daemon: Xenstored, options: Options) -> Self {
        let session = fake::boot();
        let xen = FakeXen::new(options);
        xen.add_port(PORT, PortKind::InterDomain(0, 77));
        xen.state().params.insert(2, u64::from(PORT));
        xen.state().params.insert(1, 0xFEFF);
        Self {
            session,
            xen,
            daemon: StdArc::new(Mutex::new(daemon)),
            page: StdArc::new(TestPage::starting_at(0, 0)),
            stop: StdArc::default(),
            thread: None,
        }
    }

    /// Acquires event channels and starts the daemon's thread.
    ///
    /// # Errors
    /// `NO_MEMORY`, or what the hypervisor refuses.
    pub fn events(&mut self, config: Config) -> Result<Arc<Evtchn<StdArc<FakeXen>>>> {
        let service = Evtchn::try_new(self.xen.clone(), config)?;
        service.enable(config)?;
        let (xen, daemon, page) = (self.xen.clone(), self.daemon.clone(), self.page.clone());
        let (stop, events) = (self.stop.clone(), service.clone());
        stop.store(false, Ordering::SeqCst);
        // Before the thread runs: the clock must not run ahead of it.
        let poller = self.session.kernel().poller();
        self.thread = Some(fake::spawn(1, move || {
            while !stop.load(Ordering::SeqCst) {
                let asked = !core::mem::take(&mut xen.state().sent).is_empty();
                let moved = asked && {
                    let mut daemon = daemon.lock().expect("no test panicked inside");
                    let mut moved = false;
                    while daemon.serve(&page) {
                        moved = true;
                    }
                    moved
                };
                if moved {
                    let port = xen.state().params[&2];
                    xen.raise(u32::try_from(port).expect("a port"));
                }
                let quiet = xen.is_quiet();
                xen.run(&events);
                if !asked && quiet {
                    poller.idle();
                }
                if !moved {
                    std::thread::yield_now();
                }
            }
        }));
        Ok(service)
    }

    /// Makes the daemon look at its ring although no event was sent: it has something to say.
    pub fn poke(&self) {
        self.xen.state().sent.push(0);
    }

    /// Stops the daemon's thread.
    pub fn halt(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the daemon's thread panicked");
        }
    }

    /// Connects the store.
    ///
    /// # Errors
    /// `NO_MEMORY`.
    pub fn connect(
        &self,
        events: &Arc<Evtchn<StdArc<FakeXen>>>,
        executor: &Arc<DpcExecutor>,
        policy: Policy,
    ) -> Result<Connection> {
        let port = u32::try_from(self.xen.state().params[&2]).expect("a port");
        let channel = Channel::open(events, Kind::Fixed { port }, Target::Future, false)?;
        let page = TestPort {
            page: self.page.clone(),
            events: StdArc::default(),
        };
        Connection::start(
            executor,
            ChannelPort::new(page, channel),
            policy,
            Passive::assert(),
        )
    }

    /// Acquires, connects, runs `story`, stops, and proves that nothing is left.
    ///
    /// # Errors
    /// What starting or `story` says; everything is undone then too.
    pub fn run<T>(
        &mut self,
        policy: Policy,
        story: impl FnOnce(&Self, &Connection) -> Result<T>,
    ) -> Result<T> {
        let passive = Passive::assert();
        let events = self.events(Config::default())?;
        let result = DpcExecutor::try_new(TAG, None).and_then(|executor| {
            let result = self
                .connect(&events, &executor, policy)
                .and_then(|connection| {
                    let result = story(self, &connection);
                    connection.stop(passive);
                    result
                });
            executor.stop(passive);
            result
        });
        events.disable();
        self.halt();
        events.release();
        assert_eq!(events.channels(), 0);
        result
    }
}

impl RingPage for StdArc<TestPage> {
    fn data(&self) -> &[core::sync::atomic::AtomicU8; crate::store::ring::DATA_LEN] {
        (**self).data()
    }
    fn control(&self) -> &[core::sync::atomic::AtomicU32; crate::store::ring::CONTROL_WORDS] {
        (**self).control()
    }
}
