// SPDX-License-Identifier: BSD-2-Clause
//! The caches of the bus, and the upkeep that visits them.

use core::sync::atomic::{AtomicUsize, Ordering};

use kexec::nt::{Arc, SpinLock, Vec};
use kexec::timer::Timers;
use kexec::{Duration, warn};

use super::{Cache, Limits, Owner, TAG};
use crate::status::{Result, no_memory};

/// How often the caches are visited.
const PERIOD: Duration = Duration::from_secs(5);

/// Every cache that exists.
///
/// # IRQL
/// <= DISPATCH_LEVEL.
pub struct Caches<O: Owner> {
    list: SpinLock<Vec<Arc<Cache<O>>>>,
    visits: AtomicUsize,
}

impl<O: Owner> Default for Caches<O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O: Owner> Caches<O> {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            list: SpinLock::new(Vec::new(TAG)),
            visits: AtomicUsize::new(0),
        }
    }

    /// Makes a cache, which is visited from now on.
    ///
    /// # Errors
    /// As [`Cache::try_new`].
    pub fn create(&self, owner: O, limits: Limits) -> Result<Arc<Cache<O>>> {
        let cache = Arc::try_new(TAG, Cache::try_new(owner, limits)?).map_err(no_memory)?;
        self.list
            .lock()
            .try_push(cache.clone())
            .map_err(no_memory)?;
        Ok(cache)
    }

    /// Ends a cache. When it returns nothing of the client's runs or will run.
    pub fn destroy(&self, cache: &Arc<Cache<O>>) {
        let mut list = self.list.lock();
        let at = list.iter().position(|other| Arc::ptr_eq(other, cache));
        // Dropped outside the lock.
        let listed = at.map(|at| list.swap_remove(at));
        drop(list);
        cache.destroy();
        drop(listed);
    }

    /// Caches that exist.
    pub fn len(&self) -> usize {
        self.list.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rounds of upkeep so far.
    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }

    /// One round of upkeep. A cache that is made or ended meanwhile may be left out, or visited twice.
    pub fn trim(&self) {
        let count = self.len();
        for at in 0..count {
            let cache = self.list.lock().get(at).cloned();
            if let Some(cache) = cache {
                cache.trim();
            }
        }
        self.visits.fetch_add(1, Ordering::Relaxed);
    }

    /// Upkeep for ever. Stops by being dropped.
    pub async fn run(&self, timers: &Timers) {
        let mut period = timers.interval(PERIOD);
        loop {
            period.tick().await;
            self.trim();
        }
    }

    /// Forgets what clients left, memory included: their routines may be gone, so nothing is called; how many caches.
    pub fn end(&self) -> usize {
        let mut left = 0;
        loop {
            let cache = self.list.lock().pop();
            let Some(cache) = cache else { break };
            core::mem::forget(cache);
            left += 1;
        }
        if left != 0 {
            warn!("cache: {left} caches were not destroyed by their clients and are leaked");
        }
        left
    }
}
