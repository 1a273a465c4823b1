// SPDX-License-Identifier: BSD-2-Clause
//! The edge of the image: entry point, and the life of the child's one executor.

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Tag};
use kexec::{DpcExecutor, JoinHandle, Passive, Result, info, task};
use xenbus_interface::client::{Evtchn, SharedInfo, Store, Suspend};
use xenbus_interface::xen;
use xenchild::measure::Probe;

use crate::published;
use crate::sample::Services;

const TAG: Tag = Tag(*b"XSam");

/// What exists between START_DEVICE and REMOVE_DEVICE.
struct Running {
    executor: Arc<DpcExecutor>,
    services: Arc<Services>,
    task: JoinHandle<()>,
}

xenchild::entry!(Running);

fn hypercalls() -> (u64, u64) {
    let counters = xen::counters();
    (counters.total(), counters.sends())
}

impl xenchild::Child for Running {
    const NAME: &str = "xensample";

    fn start(lower: DevicePtr, passive: Passive) -> Result<Self> {
        let probe = Probe::find(hypercalls, passive);
        match published::exercise(TAG, lower, passive) {
            Ok(()) => info!("RESULT op.published-store status=ok"),
            Err(status) => info!("RESULT op.published-store status={status}"),
        }
        let store = Store::open(TAG, lower, passive)?;
        let evtchn = Evtchn::open(TAG, lower, passive)?;
        let suspend = Suspend::open(TAG, lower, passive)?;
        let clock = SharedInfo::open(lower, passive)?;
        let services = Arc::try_new(
            TAG,
            Services {
                store,
                evtchn,
                suspend,
                clock,
                probe,
            },
        )?;
        let executor = DpcExecutor::try_new(TAG, None)?;
        let shared = services.clone();
        match executor.spawn(task!("sample"), async move { shared.run().await }) {
            Ok(task) => Ok(Self {
                executor,
                services,
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
        drop(self.services);
    }
}
