// SPDX-License-Identifier: BSD-2-Clause
//! embassy's raw executor. Tasks live in leaked storages; it has no join, so tasks add their output to a sum themselves.
#![expect(
    unsafe_code,
    reason = "defines embassy's pender and calls its raw poll"
)]

use std::cell::OnceCell;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};

use embassy_executor::Spawner;
use embassy_executor::raw::{Executor, TaskStorage};

use super::Runtime;
use crate::work::Left;

/// What the costly pender pends.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

// SAFETY: the one definition of embassy's pender in the program, of the signature that it declares.
#[unsafe(export_name = "__pender")]
fn pender(context: *mut ()) {
    // SAFETY: NULL, or a leaked bell (`Embassy::start`).
    if let Some(bell) = unsafe { context.cast::<Bell>().as_ref() } {
        *bell.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        bell.changed.notify_one();
    }
}

static SUM: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);

async fn give(index: usize) {
    SUM.store(SUM.load(Relaxed) + index, Relaxed);
    COUNT.store(COUNT.load(Relaxed) + 1, Relaxed);
}

/// Spawns `give(0)`, `give(1)`, ... into storages of its own.
type SpawnAll = Box<dyn Fn(Spawner)>;

/// `n` storages, all of them spawned into by each call. The type of `make`'s future has no name; hence the closure.
fn spawn_all<F: Future + 'static>(n: usize, make: fn(usize) -> F) -> SpawnAll {
    let storages: Vec<TaskStorage<F>> = (0..n).map(|_| TaskStorage::new()).collect();
    let storages = Vec::leak(storages);
    let storages = &*storages;
    Box::new(move |spawner| {
        for (index, storage) in storages.iter().enumerate() {
            let token = storage.spawn(|| make(index)).expect("its task has ended");
            spawner.spawn(token);
        }
    })
}

/// An executor for the rest of the process; `COSTLY` says which pender it has.
pub(crate) struct Embassy<const COSTLY: bool = false> {
    executor: &'static Executor,
    bell: Option<&'static Bell>,
    /// Made by the first `join`, for as many tasks as that has.
    spawn_all: OnceCell<SpawnAll>,
}

impl<const COSTLY: bool> Embassy<COSTLY> {
    fn poll(&self) {
        if let Some(bell) = self.bell {
            *bell.rung.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
        // SAFETY: one thread, and not from a task.
        unsafe { self.executor.poll() };
    }
}

impl<const COSTLY: bool> Runtime for Embassy<COSTLY> {
    const NAME: &'static str = "embassy";

    fn new() -> Self {
        let bell = COSTLY.then(|| &*Box::leak(Box::new(Bell::default())));
        let context = bell.map_or(std::ptr::null_mut(), |bell| {
            std::ptr::from_ref(bell).cast_mut().cast()
        });
        Self {
            executor: Box::leak(Box::new(Executor::new(context))),
            bell,
            spawn_all: OnceCell::new(),
        }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let storage = Box::leak(Box::new(TaskStorage::new()));
        let token = storage.spawn(|| future).expect("a new storage is free");
        self.executor.spawner().spawn(token);
    }

    fn turn(&self, left: &Left) {
        // One poll runs what was ready when it began.
        while !left.done() {
            self.poll();
        }
        self.poll();
    }

    fn join(&self, n: usize) -> usize {
        SUM.store(0, Relaxed);
        COUNT.store(0, Relaxed);
        self.spawn_all.get_or_init(|| spawn_all(n, give))(self.executor.spawner());
        while COUNT.load(Relaxed) != n {
            self.poll();
        }
        SUM.load(Relaxed)
    }
}
