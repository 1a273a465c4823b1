// SPDX-License-Identifier: BSD-2-Clause
//! The life of the child: two tasks run all tests in order, first those that must wait at PASSIVE_LEVEL, then those of the
//! executor that a driver uses for its device.

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Key, Tag, WStr};
use kexec::sync::{Event, Reset};
use kexec::timer::Timers;
use kexec::{DpcExecutor, JoinHandle, Passive, PassiveExecutor, Result, info, task, wstr};
use xenbus_interface::client::{
    Console, Debug, Evtchn, Gnttab, SharedInfo, Store, Suspend, Unplug,
};

use crate::probe::Probe;
use crate::{console, debug, evtchn, gnttab, shared_info, store, suspend, unplug};

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
        })
    }
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
    shared_info::tests(probe).await;
    suspend::tests(probe).await;
    debug::tests(probe, timers).await;
    info!("RESULT xenprobe done {}", probe.ran());
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
        match running.spawn(&turn, parameter(wstr!("Crash"), passive) != 0) {
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
    fn spawn(&self, turn: &Arc<Event>, crash: bool) -> Result<[JoinHandle<()>; 2]> {
        Ok([self.spawn_first(turn)?, self.spawn_second(turn, crash)?])
    }

    // Each with a future on its stack.
    #[inline(never)]
    fn spawn_first(&self, turn: &Arc<Event>) -> Result<JoinHandle<()>> {
        let (probe, done) = (self.probe.clone(), turn.clone());
        let tests = async move {
            first(&probe).await;
            done.set();
        };
        Ok(self.work.spawn(task!("passive tests"), tests)?)
    }

    #[inline(never)]
    fn spawn_second(&self, turn: &Arc<Event>, crash: bool) -> Result<JoinHandle<()>> {
        let (probe, turn, timers) = (self.probe.clone(), turn.clone(), self.executor.clone());
        let tests = async move {
            if crash {
                probe.test("crash", || debug::crash(&probe)).await;
            }
            turn.wait().await;
            second(&probe, timers.timers()).await;
        };
        Ok(self.executor.spawn(task!("probe"), tests)?)
    }
}
