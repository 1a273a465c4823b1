// SPDX-License-Identifier: BSD-2-Clause
//! The toolstack's requests, against the scripted daemon.

use core::pin::pin;
use core::task::Poll;

use kexec::sync::{Event, Reset};

use super::*;
use crate::testing::rig::{StoreRig, poll_once};
use crate::testing::xenstored::Xenstored;

const KEY: &str = "control/shutdown";
const LISTENS: &str = "control/feature-suspend";

fn start() -> (StoreRig, Client, Watch, Event) {
    let mut rig = StoreRig::new(Xenstored::with(&[(KEY, "")]));
    let client = rig.client.clone();
    let watch = rig.run(listen(&client)).expect("heard");
    (rig, client, watch, Event::new(Reset::Manual, false))
}

#[test]
fn a_suspend_is_acknowledged_before_it_is_carried_out() {
    let (mut rig, client, mut watch, stop) = start();
    assert_eq!(rig.daemon.get(LISTENS).as_deref(), Some("1"));
    for _ in 0..2 {
        {
            let mut wish = pin!(wish(&client, &mut watch, &stop));
            assert!(poll_once(wish.as_mut()).is_pending());
            rig.settle();
            // The first fire, of a key without a word; and words of others, which stay.
            for word in ["", "poweroff", "suspended"] {
                rig.daemon.put(KEY, word);
                for _ in 0..3 {
                    assert!(poll_once(wish.as_mut()).is_pending(), "{word}");
                    rig.settle();
                }
                assert_eq!(rig.daemon.get(KEY).as_deref(), Some(word));
            }
            rig.daemon.put(KEY, "suspend");
            let mut outcome = Poll::Pending;
            for _ in 0..5 {
                rig.settle();
                outcome = poll_once(wish.as_mut());
                if outcome.is_ready() {
                    break;
                }
            }
            assert_eq!(outcome, Poll::Ready(Ok(Wish::Suspend)));
        }
        assert_eq!(rig.daemon.get(KEY).as_deref(), Some(""), "acknowledged");
    }
}

#[test]
fn a_request_that_was_there_before_us_is_heard() {
    let mut rig = StoreRig::new(Xenstored::with(&[(KEY, "suspend")]));
    let client = rig.client.clone();
    let mut watch = rig.run(listen(&client)).expect("heard");
    let stop = Event::new(Reset::Manual, false);
    let heard = rig.run(wish(&client, &mut watch, &stop));
    assert_eq!(heard, Ok(Wish::Suspend));
}

#[test]
fn a_key_that_is_removed_is_no_request_and_a_stop_ends_the_wait() {
    let (mut rig, client, mut watch, stop) = start();
    {
        let mut wish = pin!(wish(&client, &mut watch, &stop));
        rig.daemon.delete(KEY);
        for _ in 0..3 {
            assert!(poll_once(wish.as_mut()).is_pending());
            rig.settle();
        }
        stop.set();
        assert_eq!(poll_once(wish.as_mut()), Poll::Ready(Ok(Wish::Stop)));
    }
    rig.run(advertise(&client, false));
    assert_eq!(rig.daemon.get(LISTENS), None);
}
