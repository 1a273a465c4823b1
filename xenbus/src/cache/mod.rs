// SPDX-License-Identifier: BSD-2-Clause
//! Caches of objects of one size: what CACHE promises.
//!
//! | module | what |
//! |---|---|
//! | [`slab`] | memory for many objects: which are out, which are constructed |
//! | [`magazine`] | a few objects for each processor, taken and given back without a lock |
//! | [`service`] | the caches of the bus, and the task that trims them |
//!
//! A [`Cache`] belongs to one client, whose routines ([`Owner`]) construct and destruct objects. An object is constructed when it
//! is first taken, stays so over puts and gets, and is destructed when its memory goes. An object that is constructed is taken
//! before one that is not, and the lowest slab that has one is used first, so the highest become empty and can be given back.
//!
//! ```text
//!   get: magazine -> free object of the lowest slab -> new slab         put: magazine -> its slab
//! ```
//!
//! Two locks of ours: one around the slabs for a few loads and stores, never held across a client's routine; one that keeps
//! trimming and destruction of a cache apart, which is held across them. The client's lock is taken through its routine, and
//! only around its constructor and destructor.
//!
//! # IRQL
//! <= DISPATCH_LEVEL. The client's routines always run at DISPATCH_LEVEL. [`Cache::destroy`] ends a cache.

pub mod magazine;
pub mod service;
pub mod slab;
#[cfg(test)]
mod tests;

use core::sync::atomic::{AtomicU32, Ordering};

use kexec::error;
use kexec::irql::Raised;
use kexec::nt::{SpinLock, Tag, Vec, cpu};

use self::magazine::Magazine;
use self::slab::{Shape, Slab, Slabs};
use crate::status::{INSUFFICIENT_RESOURCES, INVALID_PARAMETER, Result, no_memory};

pub use self::service::Caches;

/// Pool tag of caches and their objects.
pub const TAG: Tag = Tag(*b"XBca");
/// Slabs given back by one pass over a cache: bounds the time at DISPATCH_LEVEL.
const TRIM: usize = 8;

/// The client of a cache. Everything is called at DISPATCH_LEVEL.
pub trait Owner: Send + Sync {
    /// Makes an object of zeroed memory, the lock held.
    ///
    /// # Errors
    /// The client's: the object is not made.
    fn construct(&self, object: usize) -> Result;
    /// Undoes [`Self::construct`], the lock held.
    fn destruct(&self, object: usize);
    /// Takes the client's lock.
    fn acquire(&self);
    /// Releases it.
    fn release(&self);
}

/// What a cache is made with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of an object; rounded up to a multiple of eight.
    pub size: u32,
    /// Objects for which there is always memory.
    pub reservation: u32,
    /// Most objects out at a time; 0: no limit.
    pub cap: u32,
}

/// Counts of a cache, for dumps and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Objects that there is memory for.
    pub capacity: u32,
    /// Objects out or in magazines, now and at most.
    pub objects: (u32, u32),
    /// Slabs, now and at most.
    pub slabs: (u32, u32),
}

/// See the module.
pub struct Cache<O: Owner> {
    owner: O,
    limits: Limits,
    shape: Shape,
    magazines: Vec<Magazine>,
    slabs: SpinLock<Slabs>,
    /// Held while slabs are given back, and by the end: true then.
    ended: SpinLock<bool>,
    failures: AtomicU32,
}

/// Why there is no object.
enum Empty {
    Cap,
    Slabs,
}

impl<O: Owner> Cache<O> {
    /// A cache with memory for its reservation.
    ///
    /// # Errors
    /// `INVALID_PARAMETER`: no size, or a reservation above the cap. `NO_MEMORY`.
    pub fn try_new(owner: O, limits: Limits) -> Result<Self> {
        if limits.cap != 0 && limits.reservation > limits.cap {
            return Err(INVALID_PARAMETER);
        }
        let shape = Shape::of(limits.size)?;
        let mut magazines =
            Vec::try_with_capacity(TAG, cpu::max_count() as usize).map_err(no_memory)?;
        for _ in 0..cpu::max_count() {
            magazines.try_push(Magazine::default()).map_err(no_memory)?;
        }
        let cache = Self {
            owner,
            limits,
            shape,
            magazines,
            slabs: SpinLock::new(Slabs::new(shape)),
            ended: SpinLock::new(false),
            failures: AtomicU32::new(0),
        };
        cache.refill()?;
        Ok(cache)
    }

    /// What there is.
    pub fn counts(&self) -> Counts {
        self.slabs.lock().counts()
    }

    /// Gets that found nothing.
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Adds slabs until the reservation is met.
    fn refill(&self) -> Result {
        while self.counts().capacity < self.limits.reservation {
            let slab = Slab::try_new(self.shape).map_err(no_memory)?;
            self.slabs.lock().insert(slab).map_err(no_memory)?;
        }
        Ok(())
    }

    /// The magazine of this processor. At DISPATCH_LEVEL.
    fn magazine(&self) -> Option<&Magazine> {
        self.magazines.get(cpu::current() as usize)
    }

    /// Takes an object, its address. `locked`: the client's lock is held already, or not needed.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`: the cap is reached. `NO_MEMORY`. Else the constructor's.
    pub fn get(&self, locked: bool) -> Result<usize> {
        let _raised = Raised::to_dispatch();
        if let Some(object) = self.magazine().and_then(Magazine::take) {
            return Ok(object);
        }
        let result = self.take(locked);
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn take(&self, locked: bool) -> Result<usize> {
        let mut flushed = false;
        loop {
            let found = {
                let mut slabs = self.slabs.lock();
                if self.limits.cap != 0 && slabs.objects() >= self.limits.cap {
                    Err(Empty::Cap)
                } else {
                    slabs.take().ok_or(Empty::Slabs)
                }
            };
            match found {
                Ok((object, true)) => return Ok(object),
                Ok((object, false)) => return self.construct(object, locked),
                // What is idle in magazines counts as out, until it is brought back.
                Err(Empty::Cap) if !flushed => {
                    flushed = true;
                    self.flush();
                }
                Err(Empty::Cap) => return Err(INSUFFICIENT_RESOURCES),
                Err(Empty::Slabs) => {
                    let slab = Slab::try_new(self.shape).map_err(no_memory)?;
                    // Another processor may take all of it first; then there is another one.
                    self.slabs.lock().insert(slab).map_err(no_memory)?;
                }
            }
        }
    }

    fn construct(&self, object: usize, locked: bool) -> Result<usize> {
        if !locked {
            self.owner.acquire();
        }
        let made = self.owner.construct(object);
        if !locked {
            self.owner.release();
        }
        match made {
            Ok(()) => Ok(object),
            Err(status) => {
                self.slabs.lock().unmake(object);
                Err(status)
            }
        }
    }

    /// Gives an object back.
    pub fn put(&self, object: usize) {
        let _raised = Raised::to_dispatch();
        if self.magazine().is_some_and(|magazine| magazine.put(object)) {
            return;
        }
        self.restore(object);
    }

    fn restore(&self, object: usize) {
        if !self.slabs.lock().put(object) {
            error!("cache: {object:#x} is no object that is out");
        }
    }

    /// Brings objects back from all magazines.
    fn flush(&self) {
        for magazine in &self.magazines {
            while let Some(object) = magazine.take() {
                self.restore(object);
            }
        }
    }

    /// Destructs what is constructed in a slab that nobody uses, and frees it.
    fn scrap(&self, slab: &Slab) {
        let _raised = Raised::to_dispatch();
        self.owner.acquire();
        slab.each_constructed(self.shape, |object| self.owner.destruct(object));
        self.owner.release();
    }

    /// One pass of upkeep: slabs are added up to the reservation, and empty ones given back above it, a few at a time and at most
    /// half of the memory.
    pub fn trim(&self) {
        let ended = self.ended.lock();
        if *ended {
            return;
        }
        if self.refill().is_err() {
            kexec::warn!("cache: no memory for the reservation");
            return;
        }
        let capacity = self.counts().capacity;
        let floor = self.limits.reservation.max(capacity / 2);
        for _ in 0..TRIM {
            let Some(slab) = self.slabs.lock().remove_empty(floor) else {
                break;
            };
            self.scrap(&slab);
        }
    }

    /// Ends the cache: objects that are back are destructed. Those that are still out stay where they are, with their memory;
    /// how many. When it returns none of the client's routines runs or will run.
    pub fn destroy(&self) -> u32 {
        let mut ended = self.ended.lock();
        if core::mem::replace(&mut *ended, true) {
            return 0;
        }
        self.flush();
        let mut left = 0;
        loop {
            let slab = self.slabs.lock().remove_last();
            let Some(slab) = slab else { break };
            let used = slab.used();
            if used == 0 {
                self.scrap(&slab);
            } else {
                left += used;
                core::mem::forget(slab);
            }
        }
        if left != 0 {
            error!("cache: destroyed with {left} objects out, their memory is lost");
        }
        left
    }
}

impl<O: Owner> Drop for Cache<O> {
    fn drop(&mut self) {
        self.destroy();
    }
}
