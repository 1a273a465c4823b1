// SPDX-License-Identifier: BSD-2-Clause
//! The life of the child: one task with one frontend, from START_DEVICE to REMOVE_DEVICE.

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Tag};
use kexec::sync::{Event, Reset};
use kexec::timer::Timers;
use kexec::{DpcExecutor, JoinHandle, Passive, Result, block_on, info, task, warn};
use xenbus_interface::client::frontend::{End, Frontend, Services};
use xenbus_interface::client::{Evtchn, Gnttab, Store, Suspend};

use crate::echo::Echo;

pub(crate) const TAG: Tag = Tag(*b"XEch");

/// The device's keys.
const PATH: &str = "device/echo/0";

/// What the device works with.
struct Bus {
    store: Store,
    evtchn: Evtchn,
    gnttab: Gnttab,
    suspend: Suspend,
    /// Set when the device stops.
    closing: Event,
}

impl Bus {
    // Apart from `start`, as `spawn` is: each with the stack for itself.
    #[inline(never)]
    fn open(below: DevicePtr, passive: Passive) -> Result<Arc<Self>> {
        let bus = Self {
            store: Store::open(TAG, below, passive)?,
            evtchn: Evtchn::open(TAG, below, passive)?,
            gnttab: Gnttab::open(below, passive)?,
            suspend: Suspend::open(TAG, below, passive)?,
            closing: Event::new(Reset::Manual, false),
        };
        Arc::try_new(TAG, bus)
    }

    #[inline(never)]
    fn spawn(bus: Arc<Self>, executor: &Arc<DpcExecutor>) -> Result<JoinHandle<()>> {
        let timers = executor.clone();
        let life = async move { bus.run(timers.timers()).await };
        Ok(executor.spawn(task!("echo"), life)?)
    }

    /// Connects the device until it ends.
    async fn run(&self, timers: &Timers) {
        match self.frontend(timers).await {
            Ok(end) => info!("RESULT xenecho.end {end:?}"),
            Err(status) => warn!("RESULT xenecho.end {status}"),
        }
    }

    async fn frontend(&self, timers: &Timers) -> Result<End> {
        let grants = self.gnttab.cache(c"echo", 0, 0)?;
        let mut echo = Echo {
            evtchn: &self.evtchn,
            grants: &grants,
            timers,
            connections: 0,
        };
        let services = Services {
            store: &self.store,
            suspend: &self.suspend,
            timers,
            closing: &self.closing,
        };
        Frontend::try_new(services, PATH)?.run(&mut echo).await
    }
}

/// What exists while the device is started.
pub struct Running {
    executor: Arc<DpcExecutor>,
    bus: Arc<Bus>,
    task: JoinHandle<()>,
}

impl xenchild::Child for Running {
    const NAME: &str = "xenecho";

    fn start(below: DevicePtr, passive: Passive) -> Result<Self> {
        let bus = Bus::open(below, passive)?;
        let executor = DpcExecutor::try_new(TAG, None)?;
        let task = Bus::spawn(bus.clone(), &executor);
        let task = task.inspect_err(|_| executor.stop(passive))?;
        Ok(Self {
            executor,
            bus,
            task,
        })
    }

    fn stop(self, passive: Passive) {
        // The backend is told, and has some seconds to answer.
        self.bus.closing.set();
        if block_on(passive, self.task).is_err() {
            warn!("xenecho: no memory to wait for the frontend's end");
        }
        self.executor.stop(passive);
        // The last reference: gives the interfaces back, at PASSIVE_LEVEL.
        drop(self.bus);
    }
}
