// SPDX-License-Identifier: BSD-2-Clause
//! tokio's current_thread runtime. What runs "outside" is the future given to `block_on`, which yields.

use std::future::Future;

use tokio::runtime::{Builder, Runtime as Inner};
use tokio::task::yield_now;

use super::Runtime;
use crate::work::{Left, Slot};

/// A runtime without drivers.
pub(crate) struct Tokio(Inner);

impl Runtime for Tokio {
    const NAME: &'static str = "tokio";

    fn new() -> Self {
        Self(
            Builder::new_current_thread()
                .build()
                .expect("a runtime without drivers needs only memory"),
        )
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(future);
    }

    fn turn(&self, left: &Left) {
        self.0.block_on(async {
            yield_now().await;
            while !left.done() {
                yield_now().await;
            }
        });
    }

    fn outside(&self, slot: &Slot, n: usize) {
        self.0.block_on(async {
            for _ in 0..n {
                let before = slot.polls();
                slot.wake();
                while slot.polls() == before {
                    yield_now().await;
                }
            }
        });
    }

    fn join(&self, n: usize) -> usize {
        self.0.block_on(async {
            let mut handles = Vec::with_capacity(n);
            handles.extend((0..n).map(|index| tokio::spawn(async move { index })));
            let mut sum = 0;
            for handle in handles {
                sum += handle.await.expect("not aborted");
            }
            sum
        })
    }
}
