// SPDX-License-Identifier: BSD-2-Clause
//! Event channels.

use core::pin::pin;
use core::task::{Context, Poll};
use std::vec;

use kexec::nt::sys::fake;
use kexec::{Status, irql};

use super::events::Events;
use super::{Count, TAG, now, poll};
use crate::client::Evtchn;

fn evtchn(events: &Events) -> Evtchn {
    // SAFETY: every test keeps its provider until the reference is gone.
    unsafe { Evtchn::from_table(TAG, events.table()) }.expect("acquired")
}

#[test]
fn channels_are_opened_with_the_published_arguments() {
    let _kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    let unbound = evtchn.unbound(3).expect("opened");
    let bound = evtchn.inter_domain(3, 9).expect("opened");
    assert_eq!((unbound.port(), bound.port()), (41, 42));
    let _fixed = evtchn.fixed(7).expect("opened");
    let _virq = evtchn.virq(1, 2, 5).expect("opened");
    let opened = vec![
        (2, [3, 0, 0]),
        (3, [3, 9, 0]),
        (1, [7, 0, 0]),
        (4, [1, 2, 5]),
    ];
    assert_eq!(events.opened(), opened);
    unbound.unmask();
    assert_eq!(events.unmasked(), 1);
    assert_eq!(unbound.bind(0, 1), Ok(()));
    assert_eq!(unbound.bind(1, 0), Err(Status::NOT_SUPPORTED));
}

#[test]
fn a_masking_channel_is_opened_with_the_mask_and_says_whose_a_pending_event_is() {
    let _kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    let masking = evtchn.masking();
    let channel = masking.unbound(3).expect("opened");
    let _bound = masking.inter_domain(3, 9).expect("opened");
    let _fixed = masking.fixed(7).expect("opened");
    let opened = vec![(2, [3, 1, 0]), (3, [3, 9, 1]), (1, [7, 1, 0])];
    assert_eq!(events.opened(), opened);
    events.pend();
    assert!(channel.try_unmask());
    assert!(!channel.try_unmask());
    events.pend();
    channel.unmask();
    assert!(!channel.try_unmask(), "by force it is delivered");
    assert_eq!(events.unmasked(), 4);
}

#[test]
fn a_trigger_is_an_event_of_that_channel_alone() {
    let _kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    let first = evtchn.unbound(0).expect("opened");
    let second = evtchn.unbound(0).expect("opened");
    first.trigger();
    assert_eq!(now(first.wait()), Ok(1));
    assert_eq!((first.count(), second.count()), (1, 0));
}

#[test]
fn a_send_is_made_at_dispatch_level_and_the_level_comes_back() {
    let _kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    let channel = evtchn.unbound(0).expect("opened");
    channel.send();
    assert_eq!(events.sent(), 1);
    assert_eq!(irql::current(), irql::PASSIVE_LEVEL);
}

#[test]
fn a_wait_reports_every_event_once_and_wakes_once() {
    let _kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    let channel = evtchn.unbound(0).expect("opened");
    let (count, waker) = Count::new();
    let mut cx = Context::from_waker(&waker);
    {
        let mut wait = pin!(channel.wait());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        events.deliver();
        events.deliver();
        assert_eq!(count.get(), 1);
        assert_eq!(wait.as_mut().poll(&mut cx), Poll::Ready(Ok(2)));
    }
    events.deliver();
    assert_eq!(now(channel.wait()), Ok(1));
    let mut wait = pin!(channel.wait());
    assert!(poll(wait.as_mut()).is_pending());
    assert_eq!(channel.count(), 3);
}

#[test]
fn an_event_during_an_abandoned_wait_is_reported_by_the_next() {
    let _kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    let channel = evtchn.unbound(0).expect("opened");
    {
        let mut abandoned = pin!(channel.wait());
        assert!(poll(abandoned.as_mut()).is_pending());
        events.deliver();
    }
    assert_eq!(now(channel.wait()), Ok(1));
}

#[test]
fn a_wait_that_is_given_up_takes_its_waker_along() {
    let _kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    let channel = evtchn.unbound(0).expect("opened");
    let (count, waker) = Count::new();
    {
        let mut wait = pin!(channel.wait());
        let mut cx = Context::from_waker(&waker);
        assert!(wait.as_mut().poll(&mut cx).is_pending());
    }
    events.deliver();
    assert_eq!(count.get(), 0, "a waker was left");
    assert_eq!(now(channel.wait()), Ok(1));
}

#[test]
fn a_callback_that_finishes_after_close_finds_its_block() {
    let _kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    drop(evtchn.unbound(0).expect("opened"));
    drop(evtchn.unbound(0).expect("opened"));
    events.deliver_late();
    assert_eq!(events.references(), 1);
    drop(evtchn);
    assert_eq!(events.references(), 0);
    // The kernel's end fails the test if a block is left, or was written to after it was freed.
}

#[test]
fn a_channel_that_cannot_be_opened_leaves_nothing_behind() {
    let kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    events.refuse();
    assert_eq!(evtchn.unbound(0).err(), Some(Status::UNSUCCESSFUL));
    kernel.fail_alloc(Some(0));
    let refused = evtchn.unbound(0).err();
    assert_eq!(refused, Some(Status::INSUFFICIENT_RESOURCES));
}

#[test]
fn a_wait_on_a_channel_that_went_with_a_suspend_is_an_error() {
    let _kernel = fake::boot();
    let events = Events::new();
    let evtchn = evtchn(&events);
    let channel = evtchn.unbound(0).expect("opened");
    let mut wait = pin!(channel.wait());
    assert!(poll(wait.as_mut()).is_pending());
    // The bus gives each dead channel one last event.
    events.kill();
    events.deliver();
    let status = crate::errno::status::CONNECTION_DISCONNECTED;
    assert_eq!(poll(wait.as_mut()), Poll::Ready(Err(status)));
    assert_eq!(channel.port(), 0);
    // It stays so.
    events.deliver();
    assert_eq!(now(channel.wait()), Err(status));
}
