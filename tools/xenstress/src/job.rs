// SPDX-License-Identifier: BSD-2-Clause
//! One workload: its memory, and its workers in tasks or threads.

use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::AtomicU32;
use core::task::{Context, Poll, Waker};

use kexec::nt::{Arc, Box, Tag, Thread, Vec, cpu};
use kexec::{DpcExecutor, JoinHandle, Passive, Result, Status, task};
use workload::{Run, Tally, Workload, setup, work};
use xenbus_interface::client::Store;
use xenbus_interface::client::published::Wired;

use crate::asynchronous::Asynchronous;
use crate::join::Join;
use crate::place::Guest;
use crate::vtable::Vtable;

pub(crate) const TAG: Tag = Tag(*b"XStr");

/// A workload and where it runs.
pub(crate) struct Job {
    workload: Workload,
    pub(crate) tally: Tally,
    cells: Vec<AtomicU32>,
    buckets: Vec<AtomicU32>,
    guest: Guest,
}

/// Which part of a run.
#[derive(Clone, Copy)]
enum Part {
    Setup,
    Work,
}

fn zeros(count: usize) -> Result<Vec<AtomicU32>> {
    let mut numbers = Vec::try_with_capacity(TAG, count)?;
    for _ in 0..count {
        numbers.try_push(AtomicU32::new(0))?;
    }
    Ok(numbers)
}

impl Job {
    #[inline(never)]
    pub(crate) fn try_new(workload: Workload, guest: Guest) -> Result<Arc<Self>> {
        let (cells, buckets) = (zeros(Run::cells(&workload))?, zeros(Run::BUCKETS)?);
        let job = Self {
            workload,
            tally: Tally::new(),
            cells,
            buckets,
            guest,
        };
        Arc::try_new(TAG, job)
    }

    fn run(&self) -> Result<Run<'_>> {
        let run = Run::new(&self.workload, &self.tally, &self.cells, &self.buckets);
        run.ok_or(Status::INVALID_PARAMETER)
    }

    /// One worker of the asynchronous place.
    async fn task(job: Arc<Self>, store: Arc<Store>, executor: Arc<DpcExecutor>, who: Who) {
        let client = Asynchronous {
            store: &store,
            timers: executor.timers(),
        };
        // `run` of this workload has succeeded before, and what has no memory says so.
        let Ok(run) = job.run() else { return };
        let worker = who.worker;
        let done = match who.part {
            Part::Setup => match boxed(|| setup(run, &job.guest, &client, worker)) {
                Ok(setup) => {
                    setup.await;
                    Ok(())
                }
                Err(status) => Err(status),
            },
            Part::Work => match boxed(|| work(run, &job.guest, &client, worker)) {
                Ok(work) => {
                    work.await;
                    Ok(())
                }
                Err(status) => Err(status),
            },
        };
        job.ran(who, done);
    }

    /// Notes that a worker could not run.
    fn ran(&self, who: Who, done: Result) {
        if let Err(status) = done {
            let (worker, run) = (who.worker, self.run());
            if let Ok(run) = run {
                run.wrong(
                    &self.guest,
                    format_args!("worker {worker} did not run, {status}"),
                );
            }
        }
    }

    /// Runs it in tasks, spread over `executors`.
    pub(crate) async fn in_tasks(
        job: &Arc<Self>,
        store: &Arc<Store>,
        executors: &[Arc<DpcExecutor>],
    ) -> Result<bool> {
        let run = job.run()?;
        Self::tasks(job, store, executors, Part::Setup).await?;
        let before = run.begin(&job.guest);
        Self::tasks(job, store, executors, Part::Work).await?;
        Ok(run.report(&job.guest, before))
    }

    async fn tasks(
        job: &Arc<Self>,
        store: &Arc<Store>,
        executors: &[Arc<DpcExecutor>],
        part: Part,
    ) -> Result {
        // Dropping a handle ends its task.
        let mut tasks = Vec::<JoinHandle<()>>::new(TAG);
        let each = job.workload.outstanding;
        for number in 0..job.workload.tasks {
            let at = number as usize % executors.len().max(1);
            let executor = executors.get(at).ok_or(Status::INVALID_PARAMETER)?;
            let one = |worker| {
                let who = Who { part, worker };
                Self::task(job.clone(), store.clone(), executor.clone(), who)
            };
            let handle = if each == 1 {
                executor.spawn(task!("worker"), one(number))?
            } else {
                let mut several = Vec::new(TAG);
                for worker in number * each..(number + 1) * each {
                    several.try_push(boxed(|| one(worker))?)?;
                }
                executor.spawn(task!("workers"), Join(several))?
            };
            tasks.try_push(handle)?;
        }
        while let Some(task) = tasks.pop() {
            task.await?;
        }
        Ok(())
    }

    /// Runs it in threads, one for each worker.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub(crate) fn in_threads(
        job: &Arc<Self>,
        wired: &Arc<Wired>,
        passive: Passive,
    ) -> Result<bool> {
        let run = job.run()?;
        Self::threads(job, wired, Part::Setup, passive)?;
        let before = run.begin(&job.guest);
        Self::threads(job, wired, Part::Work, passive)?;
        Ok(run.report(&job.guest, before))
    }

    fn threads(job: &Arc<Self>, wired: &Arc<Wired>, part: Part, passive: Passive) -> Result {
        // Dropping one waits for its end.
        let mut threads = Vec::<Thread>::new(TAG);
        for worker in 0..job.workload.workers() {
            let (own, wired) = (job.clone(), wired.clone());
            let thread = Thread::spawn(TAG, passive, move |_| {
                let who = Who { part, worker };
                own.ran(who, own.thread(&wired, who));
            });
            let pushed = thread.and_then(|thread| threads.try_push(thread));
            if let Err(status) = pushed {
                job.tally.stop();
                return Err(status);
            }
        }
        Ok(())
    }

    fn thread(&self, wired: &Arc<Wired>, who: Who) -> Result {
        let client = Vtable { wired };
        let run = self.run()?;
        let worker = who.worker;
        match who.part {
            Part::Setup => at_once(boxed(|| setup(run, &self.guest, &client, worker))?),
            Part::Work => at_once(boxed(|| work(run, &self.guest, &client, worker))?),
        }
    }
}

/// The result of a future that is never pending, because all that it awaits blocks.
fn at_once<F: Future<Output = ()>>(mut future: Pin<Box<F>>) -> Result {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(()) => Ok(()),
        Poll::Pending => Err(Status::UNSUCCESSFUL),
    }
}

#[derive(Clone, Copy)]
struct Who {
    part: Part,
    worker: u32,
}

/// A future in a block of its own, made in a frame of its own.
#[inline(never)]
fn boxed<F>(make: impl FnOnce() -> F) -> Result<Pin<Box<F>>> {
    Box::try_pin(TAG, make())
}

/// An executor for each processor.
pub(crate) fn executors() -> Result<Vec<Arc<DpcExecutor>>> {
    let mut executors = Vec::new(TAG);
    for processor in 0..cpu::count() {
        executors.try_push(DpcExecutor::try_new(TAG, Some(processor))?)?;
    }
    Ok(executors)
}
