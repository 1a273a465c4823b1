// SPDX-License-Identifier: BSD-2-Clause
//! Waiting for a free number.

use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Waiter {
    count: StdArc<Count>,
    waker: Waker,
}

impl Waiter {
    fn new() -> Self {
        let count = StdArc::new(Count::default());
        let waker = Waker::from(count.clone());
        Self { count, waker }
    }

    fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&self.waker))
    }

    fn woken(&self) -> bool {
        self.count.0.swap(0, Ordering::SeqCst) != 0
    }
}

/// All numbers but `left`.
fn hoard(cache: &Cache<StdArc<FakeGrants>>, left: u32) -> Vec<Grant> {
    (left..usable(1))
        .map(|_| cache.permit(1, 9, false).expect("granted"))
        .collect()
}

#[test]
fn a_permit_that_waits_goes_on_when_anybody_revokes() {
    let _kernel = fake::boot();
    let (_, table) = table(1);
    let (hoarder, cache) = (cache(&table), cache(&table));
    let mut grants = hoard(&hoarder, 1);
    let (first, second) = (Waiter::new(), Waiter::new());
    let mut a = pin!(cache.permit_when_free(2, 7, false));
    let Poll::Ready(Ok(own)) = first.poll(a.as_mut()) else {
        panic!("one number is free")
    };
    let mut b = pin!(cache.permit_when_free(2, 8, false));
    assert!(second.poll(b.as_mut()).is_pending());
    assert!(!second.woken());
    assert_eq!(hoarder.revoke(grants.pop().expect("granted")), Ok(()));
    assert!(second.woken());
    let Poll::Ready(Ok(other)) = second.poll(b.as_mut()) else {
        panic!("a number is free")
    };
    assert_ne!(own.reference(), other.reference());
}

#[test]
fn two_revokes_let_two_waiters_go_on_however_they_are_polled() {
    let _kernel = fake::boot();
    let (_, table) = table(1);
    let (hoarder, cache) = (cache(&table), cache(&table));
    let mut grants = hoard(&hoarder, 0);
    let (first, second) = (Waiter::new(), Waiter::new());
    let mut a = pin!(cache.permit_when_free(2, 7, false));
    let mut b = pin!(cache.permit_when_free(2, 8, false));
    assert!(first.poll(a.as_mut()).is_pending());
    for _ in 0..2 {
        assert_eq!(hoarder.revoke(grants.pop().expect("granted")), Ok(()));
    }
    // The second comes after both revokes and takes one number; the signal that is left must still find the first.
    assert!(second.poll(b.as_mut()).is_ready());
    assert!(first.woken());
    assert!(first.poll(a.as_mut()).is_ready());
}

#[test]
fn a_waiter_that_goes_away_after_it_was_woken_passes_the_number_on() {
    let _kernel = fake::boot();
    let (_, table) = table(1);
    let (hoarder, cache) = (cache(&table), cache(&table));
    let mut grants = hoard(&hoarder, 0);
    let (first, second) = (Waiter::new(), Waiter::new());
    let mut b = pin!(cache.permit_when_free(2, 8, false));
    {
        let mut a = pin!(cache.permit_when_free(2, 7, false));
        assert!(first.poll(a.as_mut()).is_pending());
        assert!(second.poll(b.as_mut()).is_pending());
        assert_eq!(hoarder.revoke(grants.pop().expect("granted")), Ok(()));
        assert!(first.woken());
        assert!(!second.woken());
    }
    assert!(second.woken());
    assert!(second.poll(b.as_mut()).is_ready());
}

#[test]
fn a_cap_is_waited_for_in_its_own_cache() {
    let _kernel = fake::boot();
    let (_, table) = table(1);
    let capped = Cache::try_new(&table, 0, 1).expect("a cache");
    let other = cache(&table);
    let foreign = other.permit(1, 9, false).expect("granted");
    let only = capped.permit(1, 9, false).expect("granted");
    let waiter = Waiter::new();
    let mut wait = pin!(capped.permit_when_free(2, 7, false));
    assert!(waiter.poll(wait.as_mut()).is_pending());
    assert_eq!(other.revoke(foreign), Ok(()));
    assert!(!waiter.woken(), "another cache's number is of no use");
    assert_eq!(capped.revoke(only), Ok(()));
    assert!(waiter.woken());
    assert!(waiter.poll(wait.as_mut()).is_ready());
}

#[test]
fn a_waiter_stopped_by_its_cap_leaves_the_number_to_another_cache() {
    let _kernel = fake::boot();
    let (_, table) = table(1);
    let hoarder = cache(&table);
    let mut grants = hoard(&hoarder, 0);
    let capped = Cache::try_new(&table, 0, 1).expect("a cache");
    let free = cache(&table);
    let (first, second) = (Waiter::new(), Waiter::new());
    let mut a = pin!(capped.permit_when_free(2, 7, false));
    let mut b = pin!(free.permit_when_free(2, 8, false));
    assert!(first.poll(a.as_mut()).is_pending());
    assert!(second.poll(b.as_mut()).is_pending());
    for _ in 0..2 {
        assert_eq!(hoarder.revoke(grants.pop().expect("granted")), Ok(()));
    }
    assert!(first.woken());
    // Somebody else reaches the cap before the woken one looks.
    let taken = capped.permit(2, 9, false).expect("granted");
    assert!(first.poll(a.as_mut()).is_pending());
    assert!(second.woken());
    assert!(second.poll(b.as_mut()).is_ready());
    assert_eq!(capped.revoke(taken), Ok(()));
    assert!(first.woken());
    assert!(first.poll(a.as_mut()).is_ready());
}

#[test]
fn a_destroyed_reservation_is_a_free_number_too() {
    let _kernel = fake::boot();
    let (_, table) = table(1);
    let reserved = Cache::try_new(&table, 1, 0).expect("a cache");
    let cache = cache(&table);
    let _grants = hoard(&cache, 1);
    let waiter = Waiter::new();
    let mut wait = pin!(cache.permit_when_free(2, 7, false));
    assert!(waiter.poll(wait.as_mut()).is_pending());
    drop(reserved);
    assert!(waiter.woken());
    assert!(waiter.poll(wait.as_mut()).is_ready());
}

#[test]
fn a_lost_table_is_an_error_and_not_a_wait() {
    let _kernel = fake::boot();
    let (xen, table) = table(1);
    let cache = cache(&table);
    xen.resume();
    xen.state().most = 0;
    assert!(table.suspended(1).is_err());
    let waiter = Waiter::new();
    let mut wait = pin!(cache.permit_when_free(2, 7, false));
    let lost = Poll::Ready(Err(INSUFFICIENT_RESOURCES));
    assert_eq!(waiter.poll(wait.as_mut()), lost);
}
