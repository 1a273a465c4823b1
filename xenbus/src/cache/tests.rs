// SPDX-License-Identifier: BSD-2-Clause
//! Caches with a client that keeps book.

use core::sync::atomic::AtomicUsize;
use std::collections::BTreeSet;
use std::sync::{Arc as StdArc, Mutex};
use std::vec::Vec;

use kexec::irql::{self, DISPATCH_LEVEL};
use kexec::nt::sys::fake;
use proptest::prelude::*;

use super::*;
use crate::status::{NO_MEMORY, UNSUCCESSFUL};

#[derive(Default)]
struct Book {
    live: BTreeSet<usize>,
    constructed: usize,
    destructed: usize,
    /// The constructor fails when so many objects are constructed.
    bound: Option<usize>,
}

/// A client. Its lock is a word that must be free when taken.
#[derive(Clone, Default)]
struct Client {
    book: StdArc<Mutex<Book>>,
    lock: StdArc<AtomicUsize>,
    locks: StdArc<AtomicUsize>,
    /// What `locked` callers claim.
    held: StdArc<AtomicUsize>,
}

impl Client {
    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("no test panicked inside")
    }

    /// Constructions and destructions.
    fn made(&self) -> (usize, usize) {
        let book = self.book();
        (book.constructed, book.destructed)
    }

    fn check(&self) {
        assert_eq!(irql::current(), DISPATCH_LEVEL);
        let locked = self.lock.load(Ordering::SeqCst) + self.held.load(Ordering::SeqCst);
        assert!(locked > 0, "the lock is not held");
    }
}

impl Owner for Client {
    fn construct(&self, object: usize) -> Result {
        self.check();
        assert_eq!(object % 8, 0);
        let mut book = self.book();
        if book.bound == Some(book.live.len()) {
            return Err(UNSUCCESSFUL);
        }
        book.constructed += 1;
        assert!(book.live.insert(object), "constructed twice");
        Ok(())
    }

    fn destruct(&self, object: usize) {
        self.check();
        let mut book = self.book();
        book.destructed += 1;
        assert!(book.live.remove(&object), "destructed without need");
    }

    fn acquire(&self) {
        assert_eq!(irql::current(), DISPATCH_LEVEL);
        while self.lock.swap(1, Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        self.locks.fetch_add(1, Ordering::SeqCst);
    }

    fn release(&self) {
        assert_eq!(self.lock.swap(0, Ordering::SeqCst), 1);
    }
}

const fn limits(size: u32, reservation: u32, cap: u32) -> Limits {
    Limits {
        size,
        reservation,
        cap,
    }
}

fn cache(limits: Limits) -> (Client, Cache<Client>) {
    let client = Client::default();
    let cache = Cache::try_new(client.clone(), limits).expect("a cache");
    (client, cache)
}

#[test]
fn an_object_is_constructed_when_it_is_first_taken_and_stays_so() {
    let _kernel = fake::boot();
    let (client, cache) = cache(limits(24, 100, 0));
    assert_eq!(
        client.book().constructed,
        0,
        "a reservation is memory, not objects"
    );
    assert!(cache.counts().capacity >= 100);
    let objects: Vec<_> = (0..20)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    for object in &objects {
        cache.put(*object);
    }
    let again: BTreeSet<_> = (0..20)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    assert_eq!(again, objects.into_iter().collect());
    assert_eq!(client.made(), (20, 0));
    for object in again {
        cache.put(object);
    }
    drop(cache);
    assert_eq!(client.made(), (20, 20));
}

#[test]
fn a_caller_that_holds_the_lock_says_so_and_it_is_not_taken() {
    let _kernel = fake::boot();
    let (client, cache) = cache(limits(16, 0, 0));
    client.held.store(1, Ordering::SeqCst);
    let object = cache.get(true).expect("an object");
    assert_eq!(client.locks.load(Ordering::SeqCst), 0);
    client.held.store(0, Ordering::SeqCst);
    let other = cache.get(false).expect("an object");
    assert_eq!(client.locks.load(Ordering::SeqCst), 1);
    cache.put(object);
    cache.put(other);
}

#[test]
fn a_cap_counts_objects_even_below_the_size_of_a_slab() {
    let _kernel = fake::boot();
    let client = Client::default();
    let refused = Cache::try_new(client.clone(), limits(16, 11, 10)).err();
    assert_eq!(refused, Some(INVALID_PARAMETER));
    let cache = Cache::try_new(client, limits(16, 10, 10)).expect("a cache");
    let objects: Vec<_> = (0..10)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    assert_eq!(cache.get(false), Err(INSUFFICIENT_RESOURCES));
    assert_eq!(cache.failures(), 1);
    cache.put(objects[0]);
    assert_eq!(cache.get(false), Ok(objects[0]));
    for object in objects {
        cache.put(object);
    }
}

#[test]
fn objects_idle_on_another_processor_are_brought_back_at_the_cap() {
    let kernel = fake::boot();
    let client = Client::default();
    let cache = StdArc::new(Cache::try_new(client, limits(16, 0, 4)).expect("a cache"));
    let other = cache.clone();
    // Four objects end in the magazine of processor 2.
    let thread = fake::spawn(2, move || {
        let objects: Vec<_> = (0..4)
            .map(|_| other.get(false).expect("an object"))
            .collect();
        for object in objects {
            other.put(object);
        }
    });
    thread.join().expect("joined");
    let objects: Vec<_> = (0..4)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    assert_eq!(cache.get(false), Err(INSUFFICIENT_RESOURCES));
    for object in objects {
        cache.put(object);
    }
    drop(cache);
    drop(kernel);
}

#[test]
fn a_processor_of_a_second_group_has_a_magazine_of_its_own() {
    let kernel = fake::boot();
    // Two groups of 64: an index of all groups, not a number within one.
    kernel.set_cpus(128);
    let client = Client::default();
    let cache = StdArc::new(Cache::try_new(client, limits(16, 0, 0)).expect("a cache"));
    let objects: Vec<_> = [5_u32, 69]
        .into_iter()
        .map(|cpu| {
            let cache = cache.clone();
            let thread = fake::spawn(cpu, move || {
                let object = cache.get(false).expect("an object");
                cache.put(object);
                object
            });
            thread.join().expect("joined")
        })
        .collect();
    assert_ne!(objects[0], objects[1]);
    assert_eq!(cache.counts().objects.0, 2, "one idle in each magazine");
    drop(cache);
    drop(kernel);
}

#[test]
fn a_failing_constructor_fails_one_get_and_leaves_zeroed_memory() {
    let _kernel = fake::boot();
    let (client, cache) = cache(limits(16, 0, 0));
    client.book().bound = Some(2);
    let objects = [cache.get(false), cache.get(false)].map(|object| object.expect("an object"));
    assert_eq!(cache.get(false), Err(UNSUCCESSFUL));
    assert_eq!(cache.counts().objects.0, 2);
    client.book().bound = None;
    let third = cache.get(false).expect("an object");
    for object in objects.into_iter().chain([third]) {
        cache.put(object);
    }
}

#[test]
fn what_is_constructed_is_taken_before_what_is_not() {
    let _kernel = fake::boot();
    // One object a slab, in whatever order the pool gives them.
    let (client, cache) = cache(limits(4096, 0, 0));
    let mut objects: Vec<_> = (0..32)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    for object in &objects {
        cache.put(*object);
    }
    client.book().bound = Some(32);
    objects = (0..32)
        .map(|_| cache.get(false).expect("constructed"))
        .collect();
    assert_eq!(cache.get(false), Err(UNSUCCESSFUL));
    assert_eq!(client.book().constructed, 32);
    for object in objects {
        cache.put(object);
    }
}

#[test]
fn an_object_that_is_not_out_cannot_be_given_back() {
    let kernel = fake::boot();
    let (_, cache) = cache(limits(16, 0, 0));
    let objects: Vec<_> = (0..20)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    for object in &objects {
        cache.put(*object);
    }
    // The magazine is full, so these come to the slab.
    for nonsense in [objects[19], objects[19] + 4, 8, usize::MAX] {
        cache.put(nonsense);
    }
    assert_eq!(cache.counts().objects.0, magazine::SLOTS as u32);
    let said = kernel
        .log()
        .iter()
        .filter(|l| l.contains("no object that is out"))
        .count();
    assert_eq!(said, 4);
}

#[test]
fn trimming_keeps_the_reservation_and_half_and_destructs_outside_our_locks() {
    let _kernel = fake::boot();
    let (client, cache) = cache(limits(2048, 10, 0));
    let objects: Vec<_> = (0..100)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    for object in objects {
        cache.put(object);
    }
    assert_eq!(cache.counts().capacity, 100);
    cache.trim();
    assert_eq!(cache.counts().capacity, 100 - 2 * TRIM as u32);
    assert_eq!(client.book().destructed, 2 * TRIM);
    for _ in 0..40 {
        cache.trim();
    }
    // Six objects in the magazine keep their slabs.
    let capacity = cache.counts().capacity;
    assert!((10..=14).contains(&capacity), "{capacity}");
    let objects: Vec<_> = (0..100)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    for object in objects {
        cache.put(object);
    }
}

#[test]
fn destruction_with_objects_out_loses_their_memory_only() {
    let kernel = fake::boot();
    let (client, cache) = cache(limits(2048, 0, 0));
    let objects: Vec<_> = (0..8)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    for object in &objects[1..] {
        cache.put(*object);
    }
    assert_eq!(cache.destroy(), 1);
    assert_eq!(cache.destroy(), 0);
    assert!(
        client.book().live.contains(&objects[0]),
        "still its owner's"
    );
    drop(cache);
    assert!(
        kernel
            .log()
            .iter()
            .any(|line| line.contains("1 objects out"))
    );
    assert_eq!(kernel.blocks(), 2, "a slab and its memory");
    // Lost on purpose, so this kernel must not look for leaks at its end.
    core::mem::forget(kernel);
}

#[test]
fn sizes_that_cannot_be_are_refused_and_odd_ones_rounded() {
    let _kernel = fake::boot();
    for size in [0, u32::MAX, u32::MAX - 4000] {
        let refused = Cache::try_new(Client::default(), limits(size, 0, 0)).err();
        assert_eq!(refused, Some(INVALID_PARAMETER), "{size}");
    }
    for (size, objects) in [
        (1, 512),
        (8, 512),
        (9, 256),
        (16, 256),
        (4049, 1),
        (4072, 1),
        (4097, 1),
    ] {
        assert_eq!(Shape::of(size).expect("a size").objects, objects, "{size}");
    }
    for size in [4049, 4056, 4072, 8192] {
        let (_, cache) = cache(limits(size, 0, 0));
        let objects = [0; 10].map(|_| cache.get(false).expect("an object"));
        for object in objects {
            cache.put(object);
        }
        assert_eq!(cache.counts().objects.0, magazine::SLOTS as u32);
    }
}

#[test]
fn every_allocation_from_start_to_stop_may_fail() {
    for failing in 0.. {
        let kernel = fake::boot();
        kernel.fail_alloc(Some(failing));
        let client = Client::default();
        let caches = Caches::new();
        let result = (|| -> Result {
            let cache = caches.create(client.clone(), limits(1024, 6, 0))?;
            let mut objects = Vec::new();
            let taken =
                (0..10).try_for_each(|_| cache.get(false).map(|object| objects.push(object)));
            for object in objects {
                cache.put(object);
            }
            caches.trim();
            caches.destroy(&cache);
            taken
        })();
        assert!(client.book().live.is_empty());
        assert!(caches.is_empty());
        if kernel.fail_pending() {
            assert_eq!(result, Ok(()));
            assert!(failing >= 8, "{failing} allocations were seen");
            break;
        }
        assert_eq!(result, Err(NO_MEMORY), "allocation {failing}");
    }
}

#[test]
fn upkeep_visits_every_cache_each_period() {
    let kernel = fake::boot();
    let client = Client::default();
    let executor = kexec::DpcExecutor::try_new(TAG, None).expect("an executor");
    let caches = kexec::nt::Arc::try_new(TAG, Caches::new()).expect("memory");
    let cache = caches
        .create(client.clone(), limits(2048, 0, 0))
        .expect("a cache");
    let objects: Vec<_> = (0..40)
        .map(|_| cache.get(false).expect("an object"))
        .collect();
    for object in objects {
        cache.put(object);
    }
    let (timers, visited) = (executor.clone(), caches.clone());
    let run = async move { visited.run(timers.timers()).await };
    executor
        .spawn(kexec::task!("upkeep"), run)
        .expect("spawned")
        .detach();
    kernel.advance(kexec::Duration::from_secs(11));
    assert_eq!(caches.visits(), 2);
    assert!(client.book().destructed > 0);
    executor.stop(kexec::Passive::assert());
    caches.destroy(&cache);
    assert_eq!(caches.end(), 0);
    assert!(client.book().live.is_empty());
}

#[test]
fn a_cache_that_was_left_is_forgotten_without_a_call() {
    let kernel = fake::boot();
    let client = Client::default();
    let caches = Caches::new();
    let cache = caches
        .create(client.clone(), limits(2048, 0, 0))
        .expect("a cache");
    let object = cache.get(false).expect("an object");
    cache.put(object);
    assert_eq!(caches.end(), 1);
    drop((cache, caches));
    assert_eq!(client.made(), (1, 0));
    // Lost on purpose, so this kernel must not look for leaks at its end.
    core::mem::forget(kernel);
}

#[test]
fn four_processors_never_hold_one_object_twice() {
    let kernel = fake::boot();
    let client = Client::default();
    let cache = StdArc::new(Cache::try_new(client.clone(), limits(64, 0, 0)).expect("a cache"));
    let out = StdArc::new(Mutex::new(BTreeSet::new()));
    let threads: Vec<_> = (0..4_u32)
        .map(|cpu| {
            let (cache, out) = (cache.clone(), out.clone());
            fake::spawn(cpu, move || {
                for round in 0..30 {
                    let objects: Vec<_> = (0..10 + cpu * 7 + round)
                        .map(|_| cache.get(false))
                        .collect();
                    for object in objects.iter().flatten() {
                        assert!(out.lock().expect("lock").insert(*object), "held twice");
                    }
                    if cpu == 3 {
                        cache.trim();
                    }
                    for object in objects.into_iter().flatten() {
                        out.lock().expect("lock").remove(&object);
                        cache.put(object);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no object was held twice");
    }
    drop(cache);
    assert!(client.book().live.is_empty());
    drop(kernel);
}

proptest! {
    #[test]
    fn a_cache_does_what_a_set_of_objects_does(
        size in 1_u32..3000,
        cap in 0_u32..40,
        steps in proptest::collection::vec((0..4_u8, 0..1000_usize), 0..150),
    ) {
        let _kernel = fake::boot();
        let (client, cache) = cache(limits(size, 0, cap));
        let mut out: Vec<usize> = Vec::new();
        for (step, at) in steps {
            match step {
                0 | 1 => match cache.get(false) {
                    Ok(object) => {
                        prop_assert!(cap == 0 || out.len() < cap as usize);
                        // No overlap with another object.
                        prop_assert!(out.iter().all(|other| other.abs_diff(object) >= size as usize));
                        prop_assert!(client.book().live.contains(&object));
                        out.push(object);
                    }
                    Err(status) => {
                        prop_assert_eq!(status, INSUFFICIENT_RESOURCES);
                        prop_assert_eq!(out.len(), cap as usize);
                    }
                },
                2 if !out.is_empty() => {
                    let object = out.swap_remove(at % out.len());
                    cache.put(object);
                }
                3 => cache.trim(),
                _ => {}
            }
            prop_assert!(out.iter().all(|object| client.book().live.contains(object)));
        }
        for object in out {
            cache.put(object);
        }
        drop(cache);
        let book = client.book();
        prop_assert!(book.live.is_empty());
        prop_assert_eq!(book.constructed, book.destructed);
    }
}
