// SPDX-License-Identifier: BSD-2-Clause
//! The life of the child: one executor with one task, which runs all tests in order.

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Tag};
use kexec::{DpcExecutor, JoinHandle, Passive, Result, info, task};
use xenbus_interface::client::{Evtchn, Store};

use crate::probe::Probe;
use crate::{evtchn, store};

pub(crate) const TAG: Tag = Tag(*b"XPrb");

/// The interfaces that the tests use.
pub(crate) struct Services {
    pub(crate) store: Store,
    pub(crate) evtchn: Evtchn,
}

impl Services {
    fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        Ok(Self {
            store: Store::open(TAG, below, passive)?,
            evtchn: Evtchn::open(TAG, below, passive)?,
        })
    }
}

async fn all(probe: &Probe) {
    store::tests(probe).await;
    evtchn::tests(probe).await;
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
        match executor.spawn(task!("probe"), async move { all(&shared).await }) {
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
