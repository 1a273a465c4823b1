// SPDX-License-Identifier: BSD-2-Clause
//! Tests of the asynchronous table's semantics over the whole host machine.
use super::*;
use crate::store::{Connection, Policy};
use crate::testing::machine::TestMachine;
use crate::testing::rig::StoreRig;
use crate::testing::until;
use crate::testing::xen::Options;
use crate::testing::xenstored::Xenstored;
use kexec::irql::Raised;
use std::string::{String, ToString};
use std::sync::Mutex;
use std::vec::Vec;

type Reply = (usize, Result<Vec<u8>>);

/// Completions of all tests of this file, by the test's number.
static REPLIES: Mutex<Vec<(usize, Reply)>> = Mutex::new(Vec::new());

fn note(callback: &Callback, result: Result<&[u8]>) {
    let reply = (callback.context, result.map(<[u8]>::to_vec));
    REPLIES
        .lock()
        .expect("fine")
        .push((callback.routine, reply));
}

fn callback(test: usize, context: usize) -> Option<Callback> {
    Some(Callback {
        call: note,
        routine: test,
        context,
    })
}

fn replies(test: usize) -> Vec<Reply> {
    let all = REPLIES.lock().expect("fine");
    all.iter()
        .filter(|(t, _)| *t == test)
        .map(|(_, r)| r.clone())
        .collect()
}

fn wait_for(test: usize, count: usize) -> Vec<Reply> {
    until("no completion", || {
        let replies = replies(test);
        (replies.len() >= count).then_some(replies)
    })
}

fn operation(number: u32, path: &str) -> Operation<'_> {
    Operation {
        number,
        transaction: 0,
        path: path.as_bytes(),
        value: &[],
    }
}

fn run(story: impl FnOnce(&TestMachine, &Connection)) {
    let nodes = [("name", "guest"), ("device/vif/0", "")];
    let mut machine = TestMachine::boot(Xenstored::with(&nodes), Options::default());
    machine
        .run(Policy::default(), |machine, connection| {
            story(machine, connection);
            Ok(())
        })
        .expect("started");
    assert_eq!(machine.session.leaks(), [""; 0]);
}

#[test]
fn each_operation_completes_once_with_its_reply() {
    run(|machine, connection| {
        let client = connection.client();
        let mut pending = Vec::new();
        let mut go = |context, operation| {
            let request = submit(client, operation, callback(1, context)).expect("submitted");
            pending.push(request.expect("a handle"));
            let got = wait_for(1, context + 1);
            assert_eq!(got[context].0, context);
            got[context].1.clone()
        };
        assert_eq!(
            go(0, operation(table::OP_READ, "name")),
            Ok(b"guest".to_vec())
        );
        assert_eq!(
            go(1, operation(table::OP_READ, "no")),
            Err(status::OBJECT_NAME_NOT_FOUND)
        );
        assert_eq!(
            go(2, operation(table::OP_DIRECTORY, "name")),
            Ok(std::vec![])
        );
        let write = Operation {
            value: b"v",
            ..operation(table::OP_WRITE, "data/k")
        };
        assert_eq!(go(3, write).map(|_| ()), Ok(()));
        let permissions = Operation {
            value: &[1, 0, 0, 0, 3, 0, 0, 0],
            ..operation(table::OP_PERMISSIONS_SET, "name")
        };
        assert_eq!(go(4, permissions).map(|_| ()), Ok(()));
        let start = go(5, operation(table::OP_TRANSACTION_START, "")).expect("open");
        let transaction = u64::from_le_bytes(start.try_into().expect("eight bytes"));
        assert!(transaction >> 32 != 0, "names the connection");
        let inside = Operation {
            transaction,
            value: b"w",
            ..operation(table::OP_WRITE, "data/k")
        };
        assert_eq!(go(6, inside).map(|_| ()), Ok(()));
        let commit = Operation {
            transaction,
            ..operation(table::OP_TRANSACTION_COMMIT, "")
        };
        assert_eq!(go(7, commit).map(|_| ()), Ok(()));
        assert_eq!(
            go(8, operation(table::OP_REMOVE, "device")).map(|_| ()),
            Ok(())
        );
        let past = Operation {
            transaction: transaction ^ (1 << 40),
            ..operation(table::OP_TRANSACTION_COMMIT, "")
        };
        assert_eq!(go(9, past), Err(status::RETRY));
        for request in pending {
            request.close();
        }
        let daemon = machine.daemon.lock().expect("fine");
        assert_eq!(daemon.get("data/k").as_deref(), Some("w"));
        assert_eq!(daemon.transactions(), 0);
    });
    assert_eq!(replies(1).len(), 10);
}

#[test]
fn a_closed_request_has_no_completion_and_leaves_no_transaction() {
    run(|machine, connection| {
        let client = connection.client();
        machine.daemon.lock().expect("fine").hold = true;
        for number in [table::OP_TRANSACTION_START, table::OP_READ] {
            let pending = submit(client, operation(number, "name"), callback(2, 0));
            pending.expect("submitted").expect("a handle").close();
        }
        let pending = submit(
            client,
            operation(table::OP_TRANSACTION_START, ""),
            callback(2, 1),
        );
        let pending = pending.expect("submitted").expect("a handle");
        let open = || machine.daemon.lock().expect("fine").transactions();
        until("no transaction", || (open() != 0).then_some(()));
        pending.close();
        {
            let mut daemon = machine.daemon.lock().expect("fine");
            daemon.hold = false;
            daemon.release(false);
        }
        machine.poke();
        until("it stays open", || (open() == 0).then_some(()));
    });
    assert!(replies(2).is_empty());
}

#[test]
fn nonsense_is_refused_and_leaves_no_promise() {
    run(|_, connection| {
        let client = connection.client();
        let long: String = core::iter::repeat_n('x', 3000).collect();
        for (bad, expected) in [
            (operation(0, "name"), status::NOT_SUPPORTED),
            (operation(99, "name"), status::NOT_SUPPORTED),
            (
                operation(table::OP_READ, &long),
                status::INVALID_BUFFER_SIZE,
            ),
            (operation(table::OP_READ, "a\0b"), status::INVALID_PARAMETER),
            (
                operation(table::OP_TRANSACTION_COMMIT, ""),
                status::INVALID_PARAMETER,
            ),
            (
                Operation {
                    value: &[0; 7],
                    ..operation(table::OP_PERMISSIONS_SET, "a")
                },
                status::INVALID_PARAMETER,
            ),
            (
                Operation {
                    value: &[0, 0, 0, 0, 4, 0, 0, 0],
                    ..operation(table::OP_PERMISSIONS_SET, "a")
                },
                status::INVALID_PARAMETER,
            ),
            (
                Operation {
                    value: &[0; 4097],
                    ..operation(table::OP_WRITE, "a")
                },
                status::INVALID_BUFFER_SIZE,
            ),
        ] {
            assert_eq!(
                submit(client, bad, callback(3, 0)).err(),
                Some(expected),
                "{}",
                bad.number
            );
        }
        let quiet = Operation {
            value: b"v",
            ..operation(table::OP_WRITE, "quiet")
        };
        assert!(submit(client, quiet, None).expect("submitted").is_none());
    });
    assert!(replies(3).is_empty());
}

#[test]
fn a_watch_calls_back_until_it_is_removed_and_a_refused_one_says_why() {
    run(|machine, connection| {
        let client = connection.client();
        let Some(first) = callback(4, 0) else { return };
        let watch = watch_add(client, b"device", first).expect("listed");
        assert_eq!(wait_for(4, 1)[0], (0, Ok(std::vec![])));
        machine.daemon.lock().expect("fine").put("device/vif/1", "");
        machine.poke();
        wait_for(4, 2);
        watch.remove();
        let calls = replies(4).len();
        machine.daemon.lock().expect("fine").put("device/vif/2", "");
        machine.poke();

        machine.daemon.lock().expect("fine").refuse_watches = true;
        let Some(second) = callback(5, 1) else { return };
        let refused = watch_add(client, "device".to_string().as_bytes(), second).expect("listed");
        assert_eq!(wait_for(5, 1)[0], (1, Err(status::QUOTA_EXCEEDED)));
        refused.remove();
        assert_eq!(replies(4).len(), calls);
        assert_eq!(machine.daemon.lock().expect("fine").watch_count(), 0);
    });
}

#[test]
fn requests_one_after_the_other_share_a_block() {
    let _session = kexec::nt::sys::fake::boot();
    let mut rig = StoreRig::new(Xenstored::with(&[("name", "guest")]));
    for number in 0..20 {
        let read = submit(
            &rig.client,
            operation(table::OP_READ, "name"),
            callback(9, number),
        );
        let read = read.expect("submitted").expect("a handle");
        rig.settle();
        let got = replies(9);
        assert_eq!(got[number], (number, Ok(b"guest".to_vec())));
        read.close();
    }
    let counters = &rig.shared.counters;
    let blocks = counters
        .allocations
        .load(core::sync::atomic::Ordering::Relaxed);
    assert_eq!(blocks, 1, "blocks for 20 requests");
    rig.shared.delivery.stop(kexec::Passive::assert());
}

#[test]
fn a_transaction_closed_before_it_is_told_of_leaves_the_other_callbacks() {
    let _session = kexec::nt::sys::fake::boot();
    let mut rig = StoreRig::new(Xenstored::with(&[("name", "guest")]));
    // No DPC runs.
    let raised = Raised::to_dispatch();
    let go = |client: &Client, number, context| {
        let pending = submit(client, operation(number, "name"), callback(10, context));
        pending.expect("submitted").expect("a handle")
    };
    let client = rig.client.clone();
    let start = submit(
        &client,
        operation(table::OP_TRANSACTION_START, ""),
        callback(10, 0),
    );
    let start = start.expect("submitted").expect("a handle");
    let before = [1, 2].map(|context| go(&client, table::OP_READ, context));
    rig.settle();
    // All three are done and to be told; the transaction is queued again, to end it, and something after it.
    start.close();
    let after = go(&client, table::OP_READ, 3);
    rig.settle();
    rig.shared.delivery.run(32);
    let told: Vec<_> = replies(10)
        .into_iter()
        .map(|(context, _)| context)
        .collect();
    assert_eq!(told, [1, 2, 3]);
    assert_eq!(rig.daemon.transactions(), 0);
    for pending in before {
        pending.close();
    }
    after.close();
    drop(raised);
    rig.shared.delivery.stop(kexec::Passive::assert());
}
