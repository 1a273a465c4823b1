// SPDX-License-Identifier: BSD-2-Clause
//! The byte rings, both directions of the store's and the console's: bytes arrive as they were sent
//! as long as the peer is honest, and nothing breaks when it is not.

use xenbus::console::ring::Ring;
use xenbus::store::ring::{Consumer, Producer};
use xenbus::testing::console::TestConsole;
use xenbus::testing::page::{DaemonSide, TestPage};

use crate::input::Input;

/// Bytes that count, so that a lost or doubled one shows.
struct Counting(u8);

impl Counting {
    fn next(&mut self, len: usize) -> Vec<u8> {
        let first = self.0;
        self.0 = first.wrapping_add(len as u8);
        (0..len).map(|i| first.wrapping_add(i as u8)).collect()
    }
    fn check(&mut self, bytes: &[u8]) {
        assert_eq!(bytes, self.next(bytes.len()), "lost, doubled or changed");
    }
}

pub(crate) fn requests(data: &[u8]) {
    let mut input = Input::new(data);
    let page = TestPage::starting_at(input.word(), 0);
    let mut producer = Producer::attach(&page).expect("sane");
    let (mut sent, mut seen) = (Counting(0), Counting(0));
    let mut honest = true;
    while !input.is_empty() {
        let (what, amount) = (input.byte(), usize::from(input.byte()) * 5);
        match what % 4 {
            0 | 1 => {
                let bytes = sent.next(amount);
                let Ok(pushed) = producer.push(&page, &bytes) else {
                    assert!(!honest, "an honest peer is never at fault");
                    return;
                };
                sent.0 = sent.0.wrapping_sub((amount - pushed) as u8);
                let _ = producer.publish(&page);
            }
            2 => {
                let bytes = DaemonSide(&page).take_requests(amount);
                if honest {
                    seen.check(&bytes);
                }
            }
            _ => {
                honest = false;
                page.set(usize::from(input.byte()) % 4, input.word());
            }
        }
    }
}

pub(crate) fn responses(data: &[u8]) {
    let mut input = Input::new(data);
    let page = TestPage::starting_at(0, input.word());
    let mut consumer = Consumer::attach(&page).expect("sane");
    let (mut sent, mut seen) = (Counting(0), Counting(0));
    let mut honest = true;
    while !input.is_empty() {
        let (what, amount) = (input.byte(), usize::from(input.byte()) * 5);
        match what % 4 {
            0 | 1 => {
                let room = DaemonSide(&page).response_room().min(amount);
                DaemonSide(&page).put_responses(&sent.next(room));
            }
            2 => {
                let mut bytes = vec![0; amount];
                let Ok(pulled) = consumer.pull(&page, &mut bytes) else {
                    assert!(!honest, "an honest peer is never at fault");
                    return;
                };
                if honest {
                    seen.check(&bytes[..pulled]);
                }
                let _ = consumer.publish(&page);
            }
            _ => {
                honest = false;
                page.set(usize::from(input.byte()) % 4, input.word());
            }
        }
    }
}

pub(crate) fn console(data: &[u8]) {
    let mut input = Input::new(data);
    let page = TestConsole::starting_at(input.word(), input.word());
    let mut ring = Ring::attach(&page).expect("sane");
    let (mut out, mut taken) = (Counting(0), Counting(0));
    let (mut put, mut read) = (Counting(0), Counting(0));
    while !input.is_empty() {
        let (what, amount) = (input.byte(), usize::from(input.byte()) * 9);
        match what % 5 {
            0 => {
                let bytes = out.next(amount);
                let written = ring.write(&page, &bytes).expect("honest");
                out.0 = out.0.wrapping_sub((amount - written) as u8);
            }
            1 => taken.check(&page.take(amount)),
            2 => {
                let waiting = ring.waiting(&page).expect("honest");
                page.put(&put.next(amount.min(1024 - waiting)));
            }
            3 => {
                let mut bytes = vec![0; amount];
                let count = ring.read(&page, &mut bytes).expect("honest");
                read.check(&bytes[..count]);
            }
            // From here on the daemon lies.
            _ => {
                while !input.is_empty() {
                    page.set(usize::from(input.byte()) % 4, input.word());
                    let mut bytes = [0; 64];
                    let _ = ring.read(&page, &mut bytes);
                    let _ = ring.write(&page, &bytes);
                    let _ = Ring::attach(&page);
                }
            }
        }
    }
}
