// SPDX-License-Identifier: BSD-2-Clause
//! Caches of objects, through [`xenbus_interface::client::Caches`].

use core::sync::atomic::{AtomicUsize, Ordering};

use kexec::Status;
use kexec::nt::{Arc, Vec};

use crate::probe::{Outcome, Probe, ensure, run};
use crate::run::TAG;

pub(crate) async fn tests(probe: &Probe) {
    run!(probe, cache_keeps_objects_and_drops_them_at_its_end);
    run!(probe, cache_has_a_cap_and_tells_what_cannot_be_made);
}

/// Counts those that live.
struct Object {
    live: Arc<AtomicUsize>,
    value: usize,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn cache_keeps_objects_and_drops_them_at_its_end(probe: &Probe) -> Outcome {
    const COUNT: usize = 500;
    let live = Arc::try_new(TAG, AtomicUsize::new(0))?;
    let counter = live.clone();
    let cache = probe.caches.cache(TAG, c"xenprobe", 32, 0, move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let live = counter.clone();
        Ok(Object { live, value: 0 })
    })?;
    ensure!(
        live.load(Ordering::Relaxed) == 0,
        "no object before it is needed"
    );
    for round in 0..3 {
        let mut objects = Vec::new(TAG);
        for value in 0..COUNT {
            let mut object = cache.get()?;
            // Used before, or new.
            ensure!(object.value <= COUNT, "an object as it was left");
            object.value = value + 1;
            objects.try_push(object)?;
        }
        let sum: usize = objects.iter().map(|object| object.value).sum();
        ensure!(sum == COUNT * (COUNT + 1) / 2, "each object once");
        drop(objects);
        ensure!(
            round > 0 || live.load(Ordering::Relaxed) >= COUNT,
            "objects that stay made"
        );
    }
    ensure!(
        live.load(Ordering::Relaxed) <= COUNT + 64,
        "objects used again"
    );
    drop(cache);
    ensure!(live.load(Ordering::Relaxed) == 0, "none left");
    Ok(())
}

async fn cache_has_a_cap_and_tells_what_cannot_be_made(probe: &Probe) -> Outcome {
    let refused = probe.caches.cache(TAG, c"xenprobe", 4, 3, || Ok(0_u64));
    ensure!(
        refused.err() == Some(Status::INVALID_PARAMETER),
        "STATUS_INVALID_PARAMETER"
    );
    let bound = AtomicUsize::new(2);
    let cache = probe.caches.cache(TAG, c"xenprobe", 0, 3, || {
        let left = bound.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        left.map_err(|_| Status::NO_MEMORY)
    })?;
    let full = Some(Status::INSUFFICIENT_RESOURCES);
    let _two = (cache.get()?, cache.get()?);
    ensure!(cache.get().err() == full, "an error of the constructor");
    bound.store(9, Ordering::Relaxed);
    let _third = cache.get()?;
    ensure!(cache.get().err() == full, "a cap of three");
    Ok(())
}
