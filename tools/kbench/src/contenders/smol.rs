// SPDX-License-Identifier: BSD-2-Clause
//! async-executor, and async-task over a plain concurrent queue, which is the least that one can put around it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_task::{Runnable, Task};
use concurrent_queue::ConcurrentQueue;

use super::Runtime;
use crate::work::Left;

/// Takes the outputs of tasks that have finished.
fn outputs(tasks: Vec<Task<usize>>) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    let outputs = tasks
        .into_iter()
        .map(|mut task| match Pin::new(&mut task).poll(&mut context) {
            Poll::Ready(index) => index,
            Poll::Pending => panic!("not finished"),
        });
    outputs.sum()
}

/// async-executor on one thread.
pub(crate) struct AsyncExecutor(&'static async_executor::Executor<'static>);

impl Runtime for AsyncExecutor {
    const NAME: &'static str = "async-executor";

    fn new() -> Self {
        Self(Box::leak(Box::new(async_executor::Executor::new())))
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future).detach();
    }

    fn turn(&self, left: &Left) {
        while self.0.try_tick() {}
        debug_assert!(left.done());
    }

    fn join(&self, n: usize) -> usize {
        let mut tasks = Vec::with_capacity(n);
        tasks.extend((0..n).map(|index| self.0.spawn(async move { index })));
        while self.0.try_tick() {}
        outputs(tasks)
    }
}

/// async-task over a queue.
pub(crate) struct AsyncTask(Arc<ConcurrentQueue<Runnable>>);

impl AsyncTask {
    fn start<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let queue = self.0.clone();
        let schedule = move |runnable| {
            let _ = queue.push(runnable);
        };
        let (runnable, task) = async_task::spawn(future, schedule);
        runnable.schedule();
        task
    }

    fn run(&self) {
        while let Ok(runnable) = self.0.pop() {
            runnable.run();
        }
    }
}

impl Runtime for AsyncTask {
    const NAME: &'static str = "async-task";

    fn new() -> Self {
        Self(Arc::new(ConcurrentQueue::unbounded()))
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.start(future).detach();
    }

    fn turn(&self, left: &Left) {
        self.run();
        debug_assert!(left.done());
    }

    fn join(&self, n: usize) -> usize {
        let mut tasks = Vec::with_capacity(n);
        tasks.extend((0..n).map(|index| self.start(async move { index })));
        self.run();
        outputs(tasks)
    }
}
