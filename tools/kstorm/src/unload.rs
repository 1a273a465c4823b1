// SPDX-License-Identifier: BSD-2-Clause
//! The storm that an unload ends: interrupts and wakes from every processor, until long after the executor has stopped.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use kexec::irql::Raised;
use kexec::nt::{Arc, Interrupt, Thread, Vec, cpu, delay};
use kexec::sync::Notify;
use kexec::{DpcExecutor, Duration, Passive, Result, Status, task};

use crate::machine::Machine;
use crate::storm::{TAG, connect};

/// What runs between DriverEntry and unload.
#[derive(Debug)]
pub struct Running {
    executor: Arc<DpcExecutor>,
    bell: Arc<Notify>,
    interrupt: Interrupt,
    threads: Vec<Thread>,
    over: Arc<AtomicBool>,
    polls: Arc<AtomicU32>,
}

impl Running {
    /// Starts it; returns when the task has seen a few interrupts.
    ///
    /// # Errors
    /// That of the kernel; `UNSUCCESSFUL` when no interrupt came.
    pub fn start(machine: &Machine, passive: Passive) -> Result<Self> {
        // Every other time on one processor, and then on each in turn.
        let turn = (machine.clock)() as u32 >> 8;
        let cpus = cpu::count();
        let target = (turn & 1 == 0).then_some((turn >> 1) % cpus);
        let bell = Arc::try_new(TAG, Notify::new())?;
        let polls = Arc::try_new(TAG, AtomicU32::new(0))?;
        let over = Arc::try_new(TAG, AtomicBool::new(false))?;
        let wakes = bell.clone();
        let interrupt = connect(machine, passive, move || wakes.notify())?;
        let executor = DpcExecutor::try_new(TAG, target)?;
        let (wakes, count, timers) = (bell.clone(), polls.clone(), executor.clone());
        let task = async move {
            loop {
                // A timer is set, and cancelled, each time.
                let _ = timers
                    .timeout(Duration::from_secs(60), wakes.notified())
                    .await;
                count.fetch_add(1, Ordering::AcqRel);
            }
        };
        let spawned = executor.spawn(task!("unload"), task);
        let mut running = Self {
            executor,
            bell,
            interrupt,
            threads: Vec::new(TAG),
            over,
            polls,
        };
        let started = spawned.map_err(Status::from).and_then(|task| {
            task.detach();
            running.blow(machine, passive)
        });
        match started {
            Ok(()) => Ok(running),
            Err(status) => {
                running.stop(passive);
                Err(status)
            }
        }
    }

    fn blow(&mut self, machine: &Machine, passive: Passive) -> Result {
        let cpus = cpu::count();
        // One processor is left to whoever unloads; interrupts and DPCs come to it as well.
        for me in 0..cpus.max(2) - 1 {
            let (bell, over, raise) = (self.bell.clone(), self.over.clone(), machine.raise);
            self.threads
                .try_push(Thread::spawn(TAG, passive, move |_| {
                    let mut n = me;
                    while !over.load(Ordering::Acquire) {
                        raise(n % cpus);
                        {
                            let _raised = Raised::to_high();
                            bell.notify();
                        }
                        n = n.wrapping_add(1);
                    }
                })?)?;
        }
        for turn in 0..100_000 {
            if self.polls.load(Ordering::Acquire) >= 4 {
                return Ok(());
            }
            // A delay takes a whole tick of the clock: look for a while first.
            if turn < 90_000 {
                core::hint::spin_loop();
            } else {
                delay(passive, Duration::from_millis(1));
            }
        }
        Err(Status::UNSUCCESSFUL)
    }

    /// Stops the executor in the middle of the storm, then the storm; what is left is a bug check.
    pub fn stop(self, passive: Passive) {
        let before = self.polls.load(Ordering::Acquire);
        self.executor.stop(passive);
        assert!(self.executor.blocks() == 0, "tasks left after the stop");
        assert!(
            Arc::count(&self.executor) == 1,
            "references to the executor left after the stop"
        );
        let polls = self.polls.load(Ordering::Acquire);
        assert!(polls >= before, "polls went back");
        drop(self.executor);
        // The storm goes on over an executor whose memory is gone.
        self.bell.notify();
        self.over.store(true, Ordering::Release);
        drop(self.threads);
        self.interrupt.disconnect(passive);
        assert!(
            self.polls.load(Ordering::Acquire) == polls,
            "a task ran after the stop"
        );
        drop(self.interrupt);
        assert!(
            Arc::count(&self.bell) == 1,
            "references to the bell left after the storm"
        );
    }
}
