// SPDX-License-Identifier: BSD-2-Clause
//! The life of the child: one executor with one task, which runs all tests in order.

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Tag};
use kexec::timer::Timers;
use kexec::{DpcExecutor, JoinHandle, Passive, Result, info, task};
use xenbus_interface::client::{Evtchn, Gnttab, Store};

use crate::probe::Probe;
use crate::{evtchn, gnttab, store};

pub(crate) const TAG: Tag = Tag(*b"XPrb");

/// The interfaces that the tests use.
pub(crate) struct Services {
    pub(crate) store: Store,
    pub(crate) evtchn: Evtchn,
    pub(crate) gnttab: Gnttab,
}

impl Services {
    fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        Ok(Self {
            store: Store::open(TAG, below, passive)?,
            evtchn: Evtchn::open(TAG, below, passive)?,
            gnttab: Gnttab::open(below, passive)?,
        })
    }
}

async fn all(probe: &Probe, timers: &Timers) {
    store::tests(probe).await;
    evtchn::tests(probe).await;
    gnttab::tests(probe, timers).await;
    info!("RESULT xenprobe done {}", probe.ran());
}

/// What exists while the device is started.
pub struct Running {
    executor: Arc<DpcExecutor>,
    probe: Arc<Probe>,
    task: JoinHandle<()>,
}

impl xenchild::Child for Running {
    const NAME: &str = "xenprobe";

    fn start(below: DevicePtr, passive: Passive) -> Result<Self> {
        let services = Services::open(below, passive)?;
        let probe = Arc::try_new(TAG, Probe::new(services))?;
        let executor = DpcExecutor::try_new(TAG, None)?;
        let shared = probe.clone();
        let timers = executor.clone();
        let tests = async move { all(&shared, timers.timers()).await };
        match executor.spawn(task!("probe"), tests) {
            Ok(task) => Ok(Self {
                executor,
                probe,
                task,
            }),
            Err(error) => {
                executor.stop(passive);
                Err(error.into())
            }
        }
    }

    fn stop(self, passive: Passive) {
        // Dropping the handle aborts the task; the stop waits until it is gone.
        drop(self.task);
        self.executor.stop(passive);
        // The last reference: gives the interfaces back, at PASSIVE_LEVEL.
        drop(self.probe);
    }
}
