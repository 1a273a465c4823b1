// SPDX-License-Identifier: BSD-2-Clause
//! A processor that looks for work all the time, and when the machine is idle: [`Session::auto_clock`](super::Session::auto_clock)
//! lets time pass only then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Kernel, State};

/// Made by [`Kernel::poller`].
#[derive(Debug)]
pub struct Poller {
    kernel: Arc<Kernel>,
    rounds: Arc<AtomicU64>,
}

impl Kernel {
    /// Says that one processor polls, until the `Poller` is dropped: the clock does not jump before it was idle.
    ///
    /// # Panics
    /// When there is one.
    #[must_use]
    pub fn poller(self: &Arc<Self>) -> Poller {
        let rounds = Arc::<AtomicU64>::default();
        let before = self.lock().idle_rounds.replace(rounds.clone());
        assert!(before.is_none(), "one processor polls already");
        let kernel = self.clone();
        Poller { kernel, rounds }
    }
}

impl Poller {
    /// A whole round over everything that there may be to do has found nothing.
    pub fn idle(&self) {
        self.rounds.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.kernel.lock().idle_rounds = None;
    }
}

impl State {
    /// Where a wait begins to look; see [`Self::is_idle`].
    pub(super) fn idle_mark(&self) -> u64 {
        let rounds = self.idle_rounds.as_ref();
        rounds.map_or(0, |rounds| rounds.load(Ordering::SeqCst))
    }

    /// Whether nothing can happen any more before time passes, the caller having waited since `mark`. The first round that ended
    /// after that may have begun before it.
    pub(super) fn is_idle(&self, mark: u64) -> bool {
        self.dpcs.is_empty()
            && self.running.is_empty()
            && (self.idle_rounds.is_none() || self.idle_mark() >= mark + 2)
    }
}
