// SPDX-License-Identifier: BSD-2-Clause
//! The executors, each behind [`Runtime`].

mod embassy;
mod futures;
mod kexec;
mod smol;
mod tokio;

use std::future::Future;

pub(crate) use self::embassy::Embassy;
pub(crate) use self::futures::Futures;
pub(crate) use self::kexec::{Costly, Kexec, NoPend};
pub(crate) use self::smol::{AsyncExecutor, AsyncTask};
pub(crate) use self::tokio::Tokio;
use crate::work::{Left, Slot};

/// An executor that runs on the calling thread.
pub(crate) trait Runtime: 'static {
    /// Its name in the results.
    const NAME: &'static str;

    /// An executor without tasks.
    fn new() -> Self;

    /// Spawns a task that nobody joins.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// Runs until no operation of `left` is left and nothing is ready.
    fn turn(&self, left: &Left);

    /// Wakes the parked task of `slot` from outside and lets it be polled, `n` times.
    fn outside(&self, slot: &Slot, n: usize) {
        let none = Left::default();
        for _ in 0..n {
            slot.wake();
            self.turn(&none);
        }
    }

    /// Spawns the tasks `0..n`, each of which gives its number, and takes their outputs: the sum.
    fn join(&self, n: usize) -> usize;
}
