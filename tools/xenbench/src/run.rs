// SPDX-License-Identifier: BSD-2-Clause
//! The life of the child: one task measures everything in turn, another one at PASSIVE_LEVEL rings.

use core::marker::PhantomData;
use core::sync::atomic::AtomicU32;

use kexec::nt::wdm::DevicePtr;
use kexec::nt::{Arc, Key};
use kexec::sync::Notify;
use kexec::{DpcExecutor, JoinHandle, Passive, PassiveExecutor, Result, info, task, wstr};
use xenbus_interface::client::published::Wired;
use xenbus_interface::client::{Evtchn, Gnttab, Store};
use xenchild::measure::Probe;

use crate::bench::{Bench, TAG};
use crate::ffi::Bell;
use crate::{events, flat, grants, reads};

/// How many there are beside what is measured.
const SIZES: [usize; 3] = [16, 256, 4096];
const SHORT: [usize; 1] = [16];

/// Who counts hypercalls: xen.sys, which only images import.
pub trait Count: Send + 'static {
    /// Hypercalls so far, and event sends among them.
    fn hypercalls() -> (u64, u64);
}

/// Whether our service's Parameters key asks for a short run.
fn short(passive: Passive) -> bool {
    let path =
        wstr!("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\xenbench\\Parameters");
    let value = Key::open(passive, path).and_then(|key| key.query_dword(wstr!("Short")));
    value.is_ok_and(|value| value != 0)
}

#[inline(never)]
fn open(
    below: DevicePtr,
    (executor, thread): (&Arc<DpcExecutor>, &Arc<PassiveExecutor>),
    hypercalls: fn() -> (u64, u64),
    passive: Passive,
) -> Result<Arc<Bench>> {
    let bench = Bench {
        store: Store::open(TAG, below, passive)?,
        published: Wired::open(TAG, below, passive)?,
        evtchn: Evtchn::open(TAG, below, passive)?,
        gnttab: Gnttab::open(below, passive)?,
        bell: Bell::open(below, passive)?,
        probe: Probe::find(hypercalls, passive),
        routine_called: xenchild::counter(wstr!("TestKernelRoutineCalled"), passive),
        executor: executor.clone(),
        thread: thread.clone(),
        short: short(passive),
        ring: Notify::new(),
        port: AtomicU32::new(0),
    };
    Arc::try_new(TAG, bench)
}

async fn measure(bench: &Arc<Bench>) {
    bench.case("read", 1, || reads::one(bench)).await;
    bench.case("reads", 1, || reads::sequence(bench)).await;
    bench.case("reads", 64, || reads::crowd(bench)).await;
    bench
        .case("vtable-read", 1, || reads::published(bench))
        .await;
    bench
        .case("event-callback", 0, || events::callback(bench, 0))
        .await;
    bench
        .case("event-poll", 0, || events::poll(bench, "event-poll", 0))
        .await;
    bench.case("grant", 1, || grants::pair(bench)).await;
    let sizes: &[usize] = if bench.short { &SHORT } else { &SIZES };
    for &size in sizes {
        bench
            .case("channels", size, || flat::channels(bench, size))
            .await;
        bench.case("tasks", size, || flat::tasks(bench, size)).await;
        bench
            .case("watch", size, || flat::watches(bench, size))
            .await;
    }
    info!("RESULT bench done");
}

/// What exists while the device is started.
pub struct Running<C> {
    executor: Arc<DpcExecutor>,
    thread: Arc<PassiveExecutor>,
    bench: Option<Arc<Bench>>,
    tasks: Option<[JoinHandle<()>; 2]>,
    count: PhantomData<C>,
}

impl<C: Count> xenchild::Child for Running<C> {
    const NAME: &str = "xenbench";

    fn start(below: DevicePtr, passive: Passive) -> Result<Self> {
        let thread = PassiveExecutor::try_new_thread(TAG, passive)?;
        let executor = DpcExecutor::try_new(TAG, None).inspect_err(|_| thread.stop(passive))?;
        let mut running = Self {
            executor,
            thread,
            bench: None,
            tasks: None,
            count: PhantomData,
        };
        match running.begin(below, passive) {
            Ok(()) => Ok(running),
            Err(status) => {
                running.stop(passive);
                Err(status)
            }
        }
    }

    fn stop(self, passive: Passive) {
        // Dropping the handles aborts the tasks; the stops wait until they are gone.
        drop(self.tasks);
        self.thread.stop(passive);
        self.executor.stop(passive);
        // The last reference: gives the interfaces back, at PASSIVE_LEVEL.
        drop(self.bench);
    }
}

impl<C: Count> Running<C> {
    fn begin(&mut self, below: DevicePtr, passive: Passive) -> Result {
        let bench = open(
            below,
            (&self.executor, &self.thread),
            C::hypercalls,
            passive,
        )?;
        self.bench = Some(bench.clone());
        let ringer = self
            .thread
            .spawn(task!("ringer"), events::ringer(bench.clone()))?;
        let own = bench;
        let measured = async move { measure(&own).await };
        let measured = self.executor.spawn(task!("bench"), measured)?;
        self.tasks = Some([ringer, measured]);
        Ok(())
    }
}
