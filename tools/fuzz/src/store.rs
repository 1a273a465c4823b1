// SPDX-License-Identifier: BSD-2-Clause
//! The whole store against a daemon that says anything at any time: every request ends, the stop
//! ends, and nothing is left.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use kexec::{Duration, Result};
use xenbus::store::Policy;
use xenbus::store::engine::Turn;
use xenbus::store::wire::{HEADER_LEN, Header, Kind, Path};
use xenbus::testing::page::{DaemonSide, TestPage};
use xenbus::testing::rig::{StoreRig, poll_once};
use xenbus::testing::xenstored::{Xenstored, message};

use crate::input::Input;

type Waiting = Pin<Box<dyn Future<Output = Result>>>;

/// Most requests of one input.
const REQUESTS: usize = 64;

fn request(rig: &StoreRig, input: &mut Input<'_>) -> Waiting {
    let client = rig.client.clone().on_lane(input.byte());
    let kind = input.byte();
    let path = Path::plain(b"name").expect("short");
    match kind % 8 {
        0 => Box::pin(async move { client.read(None, path).await.map(drop) }),
        1 => Box::pin(async move { client.directory(None, path).await.map(drop) }),
        2 => {
            let value = vec![b'v'; usize::from(kind) * 16];
            Box::pin(async move { client.write(None, path, &value).await })
        }
        3 => Box::pin(async move { client.permissions(None, path).await.map(drop) }),
        4 => Box::pin(async move { client.watch(path).await.map(drop) }),
        5 => Box::pin(async move { client.start_transaction().await.map(drop) }),
        6 => Box::pin(async move {
            let tx = client.start_transaction().await?;
            client.read(Some(&tx), path).await?;
            tx.commit().await
        }),
        _ => Box::pin(async move {
            let mut watch = client.watch(path).await?;
            watch.changed().await?;
            watch.remove().await
        }),
    }
}

/// Requests that the daemon has read and not answered.
fn take(rig: &StoreRig, bytes: &mut Vec<u8>, open: &mut Vec<Header>) {
    bytes.extend(DaemonSide(&*rig.port.page).take_requests(usize::MAX));
    while let Some(head) = bytes.first_chunk::<HEADER_LEN>() {
        let header = Header::from_bytes(head);
        let end = HEADER_LEN + header.len as usize;
        if bytes.len() < end {
            return;
        }
        bytes.drain(..end);
        open.push(header);
    }
}

fn say(rig: &mut StoreRig, bytes: &[u8]) {
    let mut rest = bytes;
    for _ in 0..8 {
        let room = DaemonSide(&*rig.port.page).response_room().min(rest.len());
        DaemonSide(&*rig.port.page).put_responses(&rest[..room]);
        rest = &rest[room..];
        rig.turn();
        if rest.is_empty() {
            return;
        }
    }
}

pub(crate) fn engine(data: &[u8]) {
    let mut input = Input::new(data);
    let page = TestPage::starting_at(input.word(), input.word());
    let mut rig = StoreRig::with(Xenstored::default(), Policy::default(), page);
    let mut calls: Vec<Option<Waiting>> = Vec::new();
    let (mut bytes, mut open) = (Vec::new(), Vec::new());
    while !input.is_empty() {
        match input.byte() % 10 {
            0 | 1 if calls.len() < REQUESTS => {
                let mut call = request(&rig, &mut input);
                let pending = poll_once(call.as_mut()).is_pending();
                calls.push(pending.then_some(call));
                rig.turn();
            }
            2 => take(&rig, &mut bytes, &mut open),
            // An answer to one of them: well formed, but for what the input makes of it.
            3 | 4 if !open.is_empty() => {
                let header = open.remove(usize::from(input.byte()) % open.len());
                let (twist, len) = (input.byte(), usize::from(input.byte()));
                let body = input.bytes(len).to_vec();
                let kind = match twist % 4 {
                    0 => Kind::ERROR,
                    1 => Kind(u32::from(twist)),
                    _ => header.kind,
                };
                let ok = header.kind.replies_ok() && kind == header.kind;
                let body = if ok { b"OK\0".to_vec() } else { body };
                say(&mut rig, &message(kind, header.req_id, header.tx_id, &body));
            }
            5 => {
                let len = usize::from(input.byte());
                let payload = input.bytes(len).to_vec();
                say(&mut rig, &message(Kind::WATCH_EVENT, 0, 0, &payload));
            }
            6 => {
                let len = usize::from(input.byte());
                let raw = input.bytes(len).to_vec();
                say(&mut rig, &raw);
            }
            7 => rig
                .port
                .page
                .set(usize::from(input.byte()) % 7, input.word()),
            8 => {
                let index = usize::from(input.byte());
                if let Some(call) = calls.get_mut(index) {
                    *call = None;
                }
            }
            _ => {
                rig.pass(Duration::from_millis(u64::from(input.byte()) * 64));
            }
        }
        for call in &mut calls {
            let done = call
                .as_mut()
                .map(|call| poll_once(call.as_mut()).is_ready());
            if done == Some(true) {
                *call = None;
            }
        }
    }
    // Whatever was said: time ends every request, of a transaction or watch one after the other.
    for _ in 0..4 {
        rig.pass(Duration::from_secs(31));
        calls.retain_mut(|call| {
            call.as_mut()
                .is_some_and(|call| poll_once(pin!(call)) == Poll::Pending)
        });
    }
    // One that only waits for a watch to fire may wait; it ends when dropped.
    calls.clear();
    rig.shared.stop();
    let stopped = (0..64).any(|_| rig.pass(Duration::from_secs(1)) == Turn::Stopped);
    assert!(stopped, "the stop ends");
    assert!(rig.shared.queue.is_empty());
    assert_eq!(rig.in_flight(), 0);
    assert_eq!(rig.shared.watches.live(), 0);
}
