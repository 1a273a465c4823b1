// SPDX-License-Identifier: BSD-2-Clause
//! The life of the child: a thread waits for workloads and runs them one after the other.

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, SpinLock, Vec};
use kexec::{
    DpcExecutor, Duration, JoinHandle, Passive, PassiveExecutor, Result, Timers, info, task,
};
use workload::Workload;
use xenbus_interface::client::Store;
use xenbus_interface::client::published::Wired;

use crate::job::{Job, TAG, executors};
use crate::place::{Guest, Probes, frequency};

/// Where workloads come from: `PLACE WORKLOAD`, or `quit`.
const KEY: &str = "data/stress/workload";

/// Before a workload begins: whoever wrote the line is still busy with its end, on the same processors.
const SETTLE: Duration = Duration::from_millis(50);

/// What the thread uses.
struct Shared {
    store: Arc<Store>,
    wired: Arc<Wired>,
    executors: Vec<Arc<DpcExecutor>>,
    probes: Probes,
    /// Whose workers are to end when the device stops.
    current: SpinLock<Option<Arc<Job>>>,
}

/// Why there is no run.
enum Refused {
    Place,
    Workload(workload::Refusal),
}

impl Shared {
    /// Runs what a line asks for.
    async fn run(&self, line: &str, frequency: u64) -> core::result::Result<Result<bool>, Refused> {
        let (place, line) = line.split_once(' ').unwrap_or((line, ""));
        let name = match place {
            "async" => "async",
            "vtable" => "vtable",
            _ => return Err(Refused::Place),
        };
        let workload: Workload = line.parse().map_err(Refused::Workload)?;
        let guest = Guest {
            name,
            probes: self.probes,
            frequency,
        };
        let job = match Job::try_new(workload, guest) {
            Ok(job) => job,
            Err(status) => return Ok(Err(status)),
        };
        *self.current.lock() = Some(job.clone());
        let done = match name {
            "vtable" => Job::in_threads(&job, &self.wired, Passive::assert()),
            _ => Job::in_tasks(&job, &self.store, &self.executors).await,
        };
        // Dropped outside the lock.
        let last = self.current.lock().take();
        drop(last);
        Ok(done)
    }
}

async fn serve(shared: Arc<Shared>, timers: &Timers) -> Result {
    let frequency = frequency(timers).await;
    let watch = shared.store.watch(KEY)?;
    let mut last = None;
    info!("RESULT stress ready");
    loop {
        watch.changed().await?;
        let line = match shared.store.read(KEY).await {
            Ok(line) => line,
            Err(kexec::Status::OBJECT_NAME_NOT_FOUND) => continue,
            Err(status) => return Err(status),
        };
        let text = line.text()?;
        if text == "quit" {
            return Ok(());
        }
        // The same line is the same workload: a watch may fire more than once.
        if text.is_empty() || last.as_ref() == Some(&line) {
            continue;
        }
        timers.sleep(SETTLE).await;
        match shared.run(text, frequency).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => info!("RESULT stress.refused what={status}"),
            Err(Refused::Place) => {
                info!("RESULT stress.refused what=async or vtable must come first");
            }
            Err(Refused::Workload(why)) => info!("RESULT stress.refused what={why}"),
        }
        last = Some(line);
    }
}

/// What exists while the device is started.
pub struct Running {
    thread: Arc<PassiveExecutor>,
    shared: Option<Arc<Shared>>,
    server: Option<JoinHandle<()>>,
}

#[inline(never)]
fn open(below: DevicePtr, passive: Passive) -> Result<Arc<Shared>> {
    let shared = Shared {
        store: Arc::try_new(TAG, Store::open(TAG, below, passive)?)?,
        wired: Arc::try_new(TAG, Wired::open(TAG, below, passive)?)?,
        executors: executors()?,
        probes: Probes::find(passive),
        current: SpinLock::new(None),
    };
    Arc::try_new(TAG, shared)
}

impl xenchild::Child for Running {
    const NAME: &str = "xenstress";

    fn start(below: DevicePtr, passive: Passive) -> Result<Self> {
        let thread = PassiveExecutor::try_new_thread(TAG, passive)?;
        let mut running = Self {
            thread,
            shared: None,
            server: None,
        };
        match running.begin(below, passive) {
            Ok(()) => Ok(running),
            Err(status) => {
                xenchild::Child::stop(running, passive);
                Err(status)
            }
        }
    }

    fn stop(self, passive: Passive) {
        if let Some(shared) = &self.shared {
            let current = shared.current.lock().take();
            if let Some(job) = current {
                job.tally.stop();
            }
        }
        // Dropping the handle aborts the task, and with it its workers.
        drop(self.server);
        self.thread.stop(passive);
        if let Some(shared) = &self.shared {
            for executor in shared.executors.iter() {
                executor.stop(passive);
            }
        }
        // The last reference: gives the interfaces back, at PASSIVE_LEVEL.
        drop(self.shared);
    }
}

impl Running {
    fn begin(&mut self, below: DevicePtr, passive: Passive) -> Result {
        let shared = open(below, passive)?;
        self.shared = Some(shared.clone());
        let thread = self.thread.clone();
        let server = async move {
            match serve(shared, thread.timers()).await {
                Ok(()) => info!("RESULT stress quit"),
                Err(status) => info!("RESULT stress quit status={status}"),
            }
        };
        self.server = Some(self.thread.spawn(task!("workloads"), server)?);
        Ok(())
    }
}
