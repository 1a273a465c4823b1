// SPDX-License-Identifier: BSD-2-Clause
//! The log's sinks, called dispositions: who gets which levels.
//!
//! Eight places. A sink is a routine of whoever added it, with an argument of its own. It is called with
//! whole lines at the IRQL of whoever logs, from DISPATCH_LEVEL up to HIGH_LEVEL, must not block, and must
//! not remove itself. Below DISPATCH_LEVEL the log raises to it: a thread that is stopped inside a routine
//! would keep waiting whoever removes the sink, for ever if that is a DPC on the thread's processor.
//! The owner of a place is who added it; [`Sinks::remove`] returns only when no processor is inside the
//! routine any more, so that its argument may be freed.
//!
//! # IRQL
//! Any; removal at `<= DISPATCH_LEVEL`, and it waits for one call of the routine at most on each other
//! processor.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use kexec::irql::Raised;
use kexec::{Result, Status};

/// Places for sinks.
pub const SINKS: usize = 8;

/// One place.
#[derive(Debug)]
struct Place {
    taken: AtomicBool,
    /// Levels wanted; 0 while nobody is to be called.
    mask: AtomicU32,
    routine: AtomicPtr<()>,
    argument: AtomicPtr<()>,
    /// Processors that are inside the routine, or about to look whether they may be.
    inside: AtomicU32,
}

/// The places.
#[derive(Debug)]
pub struct Sinks {
    places: [Place; SINKS],
}

impl Sinks {
    /// No sink.
    pub const fn new() -> Self {
        Self {
            places: [const {
                Place {
                    taken: AtomicBool::new(false),
                    mask: AtomicU32::new(0),
                    routine: AtomicPtr::new(null_mut()),
                    argument: AtomicPtr::new(null_mut()),
                    inside: AtomicU32::new(0),
                }
            }; SINKS],
        }
    }

    /// Adds a sink for the levels of `mask`; returns what removes it.
    ///
    /// 0 for an empty mask, which adds nothing; `STATUS_UNSUCCESSFUL` when all places are taken. Nothing
    /// is logged about that: a log that is full has nobody to tell.
    pub fn add(&self, mask: u32, routine: *mut (), argument: *mut ()) -> Result<u32> {
        if mask == 0 {
            return Ok(0);
        }
        let free = |place: &&Place| !place.taken.swap(true, Ordering::Acquire);
        let index = self.places.iter().position(|place| free(&place));
        let index = index.ok_or(Status::UNSUCCESSFUL)?;
        let place = &self.places[index];
        place.routine.store(routine, Ordering::Relaxed);
        place.argument.store(argument, Ordering::Relaxed);
        place.mask.store(mask, Ordering::SeqCst);
        Ok(index as u32 + 1)
    }

    /// Removes a sink; 0 and what never was a sink are ignored.
    pub fn remove(&self, id: u32) {
        let place = (id as usize)
            .checked_sub(1)
            .and_then(|i| self.places.get(i));
        let Some(place) = place.filter(|place| place.taken.load(Ordering::Acquire)) else {
            return;
        };
        // Sequentially consistent, as the count in `each`: either the caller there sees that nobody is
        // wanted, or it is seen here.
        place.mask.store(0, Ordering::SeqCst);
        while place.inside.load(Ordering::SeqCst) != 0 {
            core::hint::spin_loop();
        }
        place.taken.store(false, Ordering::Release);
    }

    /// Calls `call(routine, argument)` for every sink of this level, at DISPATCH_LEVEL or above.
    pub fn each(&self, level: u32, mut call: impl FnMut(*mut (), *mut ())) {
        let _raised = Raised::at_least_dispatch();
        for place in &self.places {
            if place.mask.load(Ordering::Relaxed) & level == 0 {
                continue;
            }
            place.inside.fetch_add(1, Ordering::SeqCst);
            if place.mask.load(Ordering::SeqCst) & level != 0 {
                let routine = place.routine.load(Ordering::Relaxed);
                call(routine, place.argument.load(Ordering::Relaxed));
            }
            place.inside.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Default for Sinks {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::ptr::without_provenance_mut;
    use kexec::irql;
    use std::sync::Arc;
    use std::vec;
    use std::vec::Vec;

    fn called(sinks: &Sinks, level: u32) -> Vec<(usize, usize)> {
        let mut seen = vec![];
        sinks.each(level, |routine, argument| {
            seen.push((routine.addr(), argument.addr()));
        });
        seen
    }

    fn add(sinks: &Sinks, mask: u32, routine: usize) -> Result<u32> {
        sinks.add(
            mask,
            without_provenance_mut(routine),
            without_provenance_mut(routine + 1),
        )
    }

    #[test]
    fn a_sink_gets_the_levels_of_its_mask_until_it_is_removed() {
        let sinks = Sinks::new();
        let first = add(&sinks, 3, 10).expect("room");
        let second = add(&sinks, 2, 20).expect("room");
        assert_eq!(called(&sinks, 1), [(10, 11)]);
        assert_eq!(called(&sinks, 2), [(10, 11), (20, 21)]);
        assert_eq!(called(&sinks, 8), []);
        sinks.remove(first);
        assert_eq!(called(&sinks, 3), [(20, 21)]);
        sinks.remove(second);
        assert_eq!(called(&sinks, u32::MAX), []);
    }

    #[test]
    fn the_ninth_sink_is_refused_and_a_place_is_used_again() {
        let sinks = Sinks::new();
        let ids: Vec<u32> = (0..SINKS)
            .map(|i| add(&sinks, 1, 10 * i).expect("room"))
            .collect();
        assert_eq!(add(&sinks, 1, 99), Err(Status::UNSUCCESSFUL));
        sinks.remove(ids[3]);
        assert_eq!(add(&sinks, 1, 99), Ok(ids[3]));
        assert_eq!(called(&sinks, 1)[3], (99, 100));
    }

    #[test]
    fn an_empty_mask_takes_no_place_and_its_removal_does_nothing() {
        let sinks = Sinks::new();
        assert_eq!(add(&sinks, 0, 10), Ok(0));
        for id in [0, 1, 9, u32::MAX] {
            sinks.remove(id);
        }
        assert_eq!(called(&sinks, u32::MAX), []);
    }

    #[test]
    fn a_sink_is_called_where_no_dpc_comes_in_between() {
        let sinks = Sinks::new();
        add(&sinks, 1, 10).expect("room");
        let mut level = None;
        sinks.each(1, |_, _| level = Some(irql::current()));
        assert_eq!(level, Some(irql::DISPATCH_LEVEL));
        let high = Raised::to_high();
        sinks.each(1, |_, _| level = Some(irql::current()));
        assert_eq!(level, Some(irql::HIGH_LEVEL));
        drop(high);
        assert_eq!(irql::current(), irql::PASSIVE_LEVEL);
    }

    #[test]
    fn a_removal_waits_for_the_call_that_runs() {
        let sinks = Arc::new(Sinks::new());
        let id = add(&sinks, 1, 10).expect("room");
        let remover = core::cell::Cell::new(None);
        let removed = Arc::new(AtomicBool::new(false));
        sinks.each(1, |_, _| {
            let (sinks, removed) = (sinks.clone(), removed.clone());
            remover.set(Some(std::thread::spawn(move || {
                sinks.remove(id);
                removed.store(true, Ordering::SeqCst);
            })));
            for _ in 0..100 {
                std::thread::yield_now();
            }
        });
        // Whether the thread came to wait or not, it must end now that the call has.
        remover.take().expect("called").join().expect("no panic");
        assert!(removed.load(Ordering::SeqCst));

        let id = add(&sinks, 1, 10).expect("room");
        sinks.places[id as usize - 1]
            .inside
            .store(1, Ordering::SeqCst);
        let waiting = {
            let (sinks, removed) = (sinks.clone(), removed.clone());
            removed.store(false, Ordering::SeqCst);
            std::thread::spawn(move || {
                sinks.remove(id);
                removed.store(true, Ordering::SeqCst);
            })
        };
        for _ in 0..1000 {
            std::thread::yield_now();
            assert!(!removed.load(Ordering::SeqCst), "a call was still inside");
        }
        sinks.places[id as usize - 1]
            .inside
            .store(0, Ordering::SeqCst);
        waiting.join().expect("no panic");
    }
}
