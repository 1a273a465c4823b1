// SPDX-License-Identifier: BSD-2-Clause
//! The futures crate's LocalPool.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_executor::{LocalPool, LocalSpawner};
use futures_util::task::LocalSpawnExt;

use super::Runtime;
use crate::work::Left;

/// A LocalPool, which wakes its thread by a flag and an unpark.
pub(crate) struct Futures {
    pool: RefCell<LocalPool>,
    spawner: LocalSpawner,
}

impl Runtime for Futures {
    const NAME: &'static str = "futures";

    fn new() -> Self {
        let pool = LocalPool::new();
        Self {
            spawner: pool.spawner(),
            pool: RefCell::new(pool),
        }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn_local(future).expect("the pool lives");
    }

    fn turn(&self, left: &Left) {
        let mut pool = self.pool.borrow_mut();
        pool.run_until_stalled();
        // It gives up at times, to let a reactor run that it does not have.
        while !left.done() {
            pool.run_until_stalled();
        }
    }

    fn join(&self, n: usize) -> usize {
        let mut handles = Vec::with_capacity(n);
        handles.extend((0..n).map(|index| {
            let handle = self.spawner.spawn_local_with_handle(async move { index });
            handle.expect("the pool lives")
        }));
        self.pool.borrow_mut().run_until_stalled();
        let mut context = Context::from_waker(Waker::noop());
        let outputs =
            handles.into_iter().map(
                |mut handle| match Pin::new(&mut handle).poll(&mut context) {
                    Poll::Ready(index) => index,
                    Poll::Pending => panic!("not finished"),
                },
            );
        outputs.sum()
    }
}
