// SPDX-License-Identifier: BSD-2-Clause
//! Tests of the queue: order, turns, limits.
use super::*;
use crate::store::wire::Kind;
use kexec::Duration;
use std::vec::Vec;

fn request(lane: u8, number: u32) -> Arc<Request> {
    let request = Request::try_new(Kind::READ, number, 0, &[b"name\0"]).expect("memory");
    request.set_lane(lane);
    request
}

fn push(queue: &Queue, lane: u8, number: u32, admission: Admission) -> Result {
    queue.push(&request(lane, number), admission, Instant::from_ticks(5))
}

fn drain(queue: &Queue) -> Vec<u32> {
    core::iter::from_fn(|| queue.pop())
        .map(|request| request.state.lock().tx_id)
        .collect()
}

#[test]
fn a_lane_keeps_its_order_and_lanes_take_turns() {
    let queue = Queue::new();
    for (lane, number) in [(0, 1), (0, 2), (0, 3), (7, 71), (7, 72), (15, 151)] {
        push(&queue, lane, number, Admission::Waiting).expect("room");
    }
    assert_eq!(queue.len(), 6);
    assert_eq!(drain(&queue), [71, 151, 1, 72, 2, 3]);
    assert!(queue.is_empty());
}

#[test]
fn one_request_passes_ten_thousand_of_another_caller() {
    let queue = Queue::new();
    for number in 0..10_000 {
        push(&queue, 1, number, Admission::Waiting).expect("who waits is never refused");
    }
    push(&queue, 2, 77_777, Admission::Synchronous).expect("nobody else's requests count");
    let order = drain(&queue);
    let place = order.iter().position(|&number| number == 77_777);
    assert!(place.expect("there") <= 1);
    assert_eq!(order.len(), 10_001);
}

#[test]
fn limits_count_only_what_they_limit_and_free_up_again() {
    let queue = Queue::new();
    for (admission, most) in [
        (Admission::Synchronous, SYNCHRONOUS_LIMIT),
        (Admission::Detached, DETACHED_LIMIT),
    ] {
        for _ in 0..most {
            push(&queue, 0, 1, admission).expect("room");
        }
        assert_eq!(
            push(&queue, 0, 1, admission),
            Err(status::INSUFFICIENT_RESOURCES)
        );
    }
    push(&queue, 0, 1, Admission::Waiting).expect("waits");
    push(&queue, 0, 1, Admission::Cleanup).expect("always");
    drain(&queue);
    push(&queue, 0, 1, Admission::Synchronous).expect("room again");
    push(&queue, 0, 1, Admission::Detached).expect("room again");
}

#[test]
fn the_overdue_leave_every_lane() {
    let queue = Queue::new();
    for lane in 0..20 {
        let at = Instant::from_ticks(u64::from(lane));
        let request = request(lane, u32::from(lane));
        queue.push(&request, Admission::Waiting, at).expect("room");
    }
    let limit = Instant::from_ticks(10 + Duration::from_ticks(0).ticks());
    let mut gone = 0;
    while queue.pop_until(limit).is_some() {
        gone += 1;
    }
    // 16 and above share a lane with older ones, and wait behind them.
    assert_eq!((gone, queue.len()), (11, 9));
}

#[test]
fn an_admission_is_found_again_by_its_number() {
    for admission in [
        Admission::Synchronous,
        Admission::Waiting,
        Admission::Detached,
        Admission::Cleanup,
    ] {
        assert_eq!(Admission::from_number(admission as u8), admission);
    }
}

#[test]
fn what_is_put_back_comes_in_its_order_and_its_lane_is_the_next() {
    let queue = Queue::new();
    for (lane, number) in [(0, 1), (0, 2), (7, 71), (7, 72), (15, 151)] {
        push(&queue, lane, number, Admission::Detached).expect("room");
    }
    let mut taken = queue.pop_many(4);
    assert_eq!(queue.len(), 1);
    let first = taken.pop().expect("four were taken");
    assert_eq!(first.state.lock().tx_id, 71);
    queue.put_back_all(taken);
    assert_eq!(drain(&queue), [151, 1, 72, 2]);
    let none = queue.pop_many(4);
    assert!(none.is_empty());
    queue.put_back_all(none);
}
