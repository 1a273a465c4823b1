// SPDX-License-Identifier: BSD-2-Clause
//! The life of the child: two tasks run all tests in order, first those that must wait at PASSIVE_LEVEL, then those of the
//! executor that a driver uses for its device.

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Box, Key, Tag, WStr};
use kexec::sync::{Event, Reset};
use kexec::timer::Timers;
use kexec::{DpcExecutor, JoinHandle, Passive, PassiveExecutor, Result, info, task, wstr};
use xenbus_interface::client::{
    Caches, Console, Debug, Evtchn, Gnttab, RangeSets, SharedInfo, Store, Suspend, Unplug,
};

use crate::probe::Probe;
use crate::{
    cache, console, debug, evtchn, faults, gnttab, range_set, shared_info, store, suspend, unplug,
};

pub(crate) const TAG: Tag = Tag(*b"XPrb");

/// The interfaces that the tests use.
pub(crate) struct Services {
    pub(crate) store: Store,
    pub(crate) evtchn: Evtchn,
    pub(crate) gnttab: Gnttab,
    pub(crate) console: Console,
    pub(crate) unplug: Unplug,
    pub(crate) debug: Debug,
    pub(crate) clock: SharedInfo,
    pub(crate) suspend: Suspend,
    pub(crate) caches: Box<Caches>,
    pub(crate) ranges: Box<RangeSets>,
}

impl Services {
    fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        Ok(Self {
            store: Store::open(TAG, below, passive)?,
            evtchn: Evtchn::open(TAG, below, passive)?,
            gnttab: Gnttab::open(below, passive)?,
            console: Console::open(below, passive)?,
            unplug: Unplug::open(below, passive)?,
            debug: Debug::open(below, passive)?,
            clock: SharedInfo::open(below, passive)?,
            suspend: Suspend::open(TAG, below, passive)?,
            caches: boxed(|| Caches::open(below, passive))?,
            ranges: boxed(|| RangeSets::open(below, passive))?,
        })
    }
}

/// Apart from [`Services::open`], whose frame is large enough.
#[inline(never)]
fn boxed<T>(open: impl FnOnce() -> Result<T>) -> Result<Box<T>> {
    Box::try_new(TAG, open()?)
}

/// A DWORD of our service's Parameters key, or 0.
pub(crate) fn parameter(name: WStr<'_>, passive: Passive) -> u32 {
    let path =
        wstr!("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\xenprobe\\Parameters");
    let value = Key::open(passive, path).and_then(|key| key.query_dword(name));
    value.unwrap_or(0)
}

/// Tests at PASSIVE_LEVEL.
async fn first(probe: &Probe) {
    console::tests(probe).await;
    unplug::tests(probe).await;
}

/// Tests at DISPATCH_LEVEL.
async fn second(probe: &Probe, timers: &Timers) {
    store::tests(probe).await;
    evtchn::tests(probe, timers).await;
    gnttab::tests(probe, timers).await;
    range_set::tests(probe).await;
    cache::tests(probe).await;
    shared_info::tests(probe).await;
    suspend::tests(probe).await;
    debug::tests(probe, timers).await;
}

/// What a run is for, by a value in the registry.
#[derive(Clone, Copy)]
enum Purpose {
    /// Every test but those below.
    Tests,
    /// The tests of [`faults`].
    Faults,
    /// A bug check.
    Crash,
}

impl Purpose {
    fn of(passive: Passive) -> Self {
        if parameter(wstr!("Crash"), passive) != 0 {
            Self::Crash
        } else if parameter(wstr!("Faults"), passive) != 0 {
            Self::Faults
        } else {
            Self::Tests
        }
    }
}

/// Apart from [`Running::start`]: each on the stack for itself.
#[inline(never)]
fn open(below: DevicePtr, passive: Passive) -> Result<Arc<Probe>> {
    let services = Services::open(below, passive)?;
    Arc::try_new(TAG, Probe::new(services, passive))
}

/// What exists while the device is started.
pub struct Running {
    executor: Arc<DpcExecutor>,
    work: Arc<PassiveExecutor>,
    probe: Arc<Probe>,
    tasks: Option<[JoinHandle<()>; 2]>,
}

impl xenchild::Child for Running {
    const NAME: &str = "xenprobe";

    fn start(below: DevicePtr, passive: Passive) -> Result<Self> {
        let probe = open(below, passive)?;
        let turn = Arc::try_new(TAG, Event::new(Reset::Manual, false))?;
        let work = PassiveExecutor::try_new_thread(TAG, passive)?;
        let executor = DpcExecutor::try_new(TAG, None).inspect_err(|_| work.stop(passive))?;
        let mut running = Self {
            executor,
            work,
            probe,
            tasks: None,
        };
        match running.spawn(&turn, Purpose::of(passive)) {
            Ok(tasks) => {
                running.tasks = Some(tasks);
                Ok(running)
            }
            Err(status) => {
                running.stop(passive);
                Err(status)
            }
        }
    }

    fn stop(self, passive: Passive) {
        // Dropping the handles aborts the tasks; the stops wait until they are gone.
        drop(self.tasks);
        self.work.stop(passive);
        self.executor.stop(passive);
        // The last reference: gives the interfaces back, at PASSIVE_LEVEL.
        drop(self.probe);
    }
}

impl Running {
    fn spawn(&self, turn: &Arc<Event>, purpose: Purpose) -> Result<[JoinHandle<()>; 2]> {
        Ok([
            self.spawn_first(turn, purpose)?,
            self.spawn_second(turn, purpose)?,
        ])
    }

    // Each with a future on its stack.
    #[inline(never)]
    fn spawn_first(&self, turn: &Arc<Event>, purpose: Purpose) -> Result<JoinHandle<()>> {
        let (probe, done) = (self.probe.clone(), turn.clone());
        let tests = async move {
            if let Purpose::Tests = purpose {
                first(&probe).await;
            }
            done.set();
        };
        Ok(self.work.spawn(task!("passive tests"), tests)?)
    }

    #[inline(never)]
    fn spawn_second(&self, turn: &Arc<Event>, purpose: Purpose) -> Result<JoinHandle<()>> {
        let (probe, turn, timers) = (self.probe.clone(), turn.clone(), self.executor.clone());
        let tests = async move {
            if let Purpose::Crash = purpose {
                probe.test("crash", || debug::crash(&probe)).await;
            }
            turn.wait().await;
            match purpose {
                Purpose::Faults => faults::tests(&probe, timers.timers()).await,
                _ => second(&probe, timers.timers()).await,
            }
            info!("RESULT xenprobe done {}", probe.ran());
        };
        Ok(self.executor.spawn(task!("probe"), tests)?)
    }
}
