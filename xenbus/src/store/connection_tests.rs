// SPDX-License-Identifier: BSD-2-Clause
//! The whole store over kexec's fake kernel and the fake hypervisor, with a daemon on another thread.
use super::*;
use crate::store::wire::Path;
use crate::testing::machine::TestMachine;
use crate::testing::xen::Options;
use crate::testing::xenstored::Xenstored;
use kexec::{Duration, poll_on};

fn path(text: &str) -> Path<'_> {
    Path::plain(text.as_bytes()).expect("short")
}

fn machine() -> TestMachine {
    let nodes = [("name", "guest"), ("counter", "41")];
    TestMachine::boot(Xenstored::with(&nodes), Options::default())
}

const ENTRY: GrantEntry = GrantEntry {
    flags: 1,
    domain: 0,
    frame: 0xFEFF,
};

#[test]
fn without_store_parameters_there_is_no_connection() {
    let refused = Err(Status::INVALID_PARAMETER);
    assert_eq!(page_frame(None, refused), Err(Status::DEVICE_NOT_READY));
    assert_eq!(page_frame(None, Ok(0)), Err(Status::DEVICE_NOT_READY));
    for parameter in [refused, Ok(0), Ok(1 << 32)] {
        assert_eq!(event_port(parameter), Err(Status::DEVICE_NOT_READY));
    }
    assert_eq!(event_port(Ok(3)), Ok(3));
}

#[test]
fn a_domain_without_a_store_starts_its_events_and_stops_cleanly() {
    for missing in [PARAM_STORE_PFN, PARAM_STORE_EVTCHN] {
        let mut machine = machine();
        machine.xen.state().params.remove(&missing);
        let events = machine.events(crate::evtchn::Config::default());
        let events = events.expect("event channels need no store");
        let host = events.host();
        let frame = page_frame(None, host.get_param(PARAM_STORE_PFN));
        let port = event_port(host.get_param(PARAM_STORE_EVTCHN));
        let failed = frame.and_then(|_| port.map(drop));
        assert_eq!(failed, Err(Status::DEVICE_NOT_READY));
        events.disable();
        machine.halt();
        events.release();
        drop(events);
        assert_eq!(machine.session.leaks(), [""; 0]);
    }
}

#[test]
fn refused_vectors_carry_the_store_over_the_callback_line() {
    let nodes = [("name", "guest")];
    let options = Options {
        vectors: false,
        ..Options::default()
    };
    let mut machine = TestMachine::boot(Xenstored::with(&nodes), options);
    machine
        .run(Policy::default(), |_, connection| {
            let call = connection.client().read(None, path("name"));
            assert_eq!(&*block_on(Passive::assert(), call)??, b"guest");
            Ok(())
        })
        .expect("served");
}

#[test]
fn a_page_that_is_not_granted_is_found_by_its_parameter_or_not_at_all() {
    let none = Err(Status::INVALID_PARAMETER);
    for entry in [
        GrantEntry { flags: 0, ..ENTRY },
        GrantEntry { flags: 2, ..ENTRY },
        GrantEntry { frame: 0, ..ENTRY },
    ] {
        assert_eq!(page_frame(Some(entry), none), Err(Status::DEVICE_NOT_READY));
        assert_eq!(page_frame(Some(entry), Ok(0xFEFF)), Ok(0xFEFF));
    }
    // Bits above the type are the hypervisor's: reading, writing.
    let in_use = GrantEntry {
        flags: 1 | 0x18,
        ..ENTRY
    };
    assert_eq!(page_frame(Some(in_use), none), Ok(0xFEFF));
    assert_eq!(page_frame(Some(ENTRY), Ok(0x1234)), Ok(0x1234));
}

#[test]
fn a_read_travels_from_block_on_to_the_daemon_and_back() {
    let passive = Passive::assert;
    let mut machine = machine();
    machine
        .run(Policy::default(), |machine, connection| {
            let client = connection.client();
            let value = block_on(passive(), client.read(None, path("name")))??;
            assert_eq!(&*value, b"guest");
            block_on(passive(), client.write(None, path("data/echo"), b"nonce"))??;
            let daemon = machine.daemon.lock().expect("fine");
            assert_eq!(daemon.get("data/echo").as_deref(), Some("nonce"));
            Ok(())
        })
        .expect("served");
    assert_eq!(machine.session.leaks(), [""; 0]);
}

#[test]
fn a_conflict_is_retried_by_the_combinator_and_given_up_after_its_attempts() {
    let mut machine = machine();
    machine.session.auto_clock();
    machine
        .run(Policy::default(), |machine, connection| {
            let client = connection.client();
            let executor = connection.executor();
            let attempt = core::cell::Cell::new(0);
            let body = async |tx: &crate::store::Transaction| {
                attempt.set(attempt.get() + 1);
                let value = client.read(Some(tx), path("counter")).await?;
                if attempt.get() == 1 {
                    machine.daemon.lock().expect("fine").put("counter", "50");
                }
                let next = crate::store::wire::parse_u32(&value).unwrap_or(0) + 1;
                let text = std::format!("{next}");
                client
                    .write(Some(tx), path("counter"), text.as_bytes())
                    .await?;
                Ok(next)
            };
            let value = block_on(Passive::assert(), client.transaction(executor, 5, body))??;
            assert_eq!((value, attempt.get()), (51, 2));

            let always = async |tx: &crate::store::Transaction| {
                client.read(Some(tx), path("counter")).await?;
                machine.daemon.lock().expect("fine").put("counter", "60");
                client.write(Some(tx), path("counter"), b"x").await
            };
            let result = block_on(Passive::assert(), client.transaction(executor, 3, always))?;
            assert_eq!(result, Err(Status::RETRY));
            let missing = async |tx: &crate::store::Transaction| {
                client.read(Some(tx), path("missing")).await.map(drop)
            };
            let result = block_on(Passive::assert(), client.transaction(executor, 3, missing))?;
            assert_eq!(result, Err(Status::OBJECT_NAME_NOT_FOUND));
            assert_eq!(machine.daemon.lock().expect("fine").transactions(), 0);
            Ok(())
        })
        .expect("served");
    assert_eq!(machine.session.leaks(), [""; 0]);
}

#[test]
fn a_watch_that_the_daemon_fires_wakes_its_waiter() {
    let mut machine = machine();
    machine
        .run(Policy::default(), |machine, connection| {
            let mut watch = block_on(Passive::assert(), connection.client().watch(path("poke")))??;
            block_on(Passive::assert(), watch.changed())??;
            machine.daemon.lock().expect("fine").put("poke", "nonce");
            machine.poke();
            block_on(Passive::assert(), watch.changed())??;
            block_on(Passive::assert(), watch.remove())??;
            assert_eq!(machine.daemon.lock().expect("fine").watch_count(), 0);
            Ok(())
        })
        .expect("served");
    assert_eq!(machine.session.leaks(), [""; 0]);
}

#[test]
fn a_client_that_outlives_the_connection_keeps_no_task_from_ending() {
    let mut machine = machine();
    let mut kept = None;
    machine
        .run(Policy::default(), |machine, connection| {
            let client = connection.client().clone();
            kept = Some(client.clone());
            let mut watch = block_on(Passive::assert(), client.watch(path("name")))??;
            block_on(Passive::assert(), watch.changed())??;
            // The daemon's answer comes after the stop has begun: the task's last wake-up is an event.
            let (held, holds) = std::sync::mpsc::channel();
            let daemon = machine.daemon.clone();
            std::thread::spawn(move || {
                let _daemon = daemon.lock().expect("fine");
                held.send(()).expect("heard");
                std::thread::sleep(std::time::Duration::from_millis(100));
            });
            holds.recv().expect("held");
            Ok(())
        })
        .expect("served");
    drop(kept);
    assert_eq!(machine.session.leaks(), [""; 0]);
}

/// A waker, and how many refer to it.
fn counted() -> (std::sync::Arc<Silent>, core::task::Waker) {
    let silent = std::sync::Arc::new(Silent);
    (silent.clone(), silent.into())
}

struct Silent;

impl std::task::Wake for Silent {
    fn wake(self: std::sync::Arc<Self>) {}
}

#[test]
fn a_call_or_wait_that_is_dropped_keeps_nothing_of_its_caller() {
    let _session = kexec::nt::sys::fake::boot();
    let shared = Shared::new(Delivery::try_new().expect("memory"), 1);
    let client = Client::new(Arc::try_new(TAG, shared).expect("memory"));
    let (silent, waker) = counted();
    let mut cx = Context::from_waker(&waker);
    let before = std::sync::Arc::strong_count(&silent);

    let mut call = core::pin::pin!(Some(client.read(None, path("name"))));
    let waiting = call.as_mut().as_pin_mut().expect("there");
    assert!(waiting.poll(&mut cx).is_pending());
    assert_eq!(std::sync::Arc::strong_count(&silent), before + 1);
    call.set(None);
    assert_eq!(std::sync::Arc::strong_count(&silent), before, "a call");

    let target = crate::store::watch::Target::Future;
    let (mut watch, call) = client.watch_for(path("name"), target).expect("memory");
    {
        let changed = core::pin::pin!(watch.changed());
        assert!(changed.poll(&mut cx).is_pending());
        assert_eq!(std::sync::Arc::strong_count(&silent), before + 1);
    }
    assert_eq!(std::sync::Arc::strong_count(&silent), before, "a wait");
    drop((call, watch));
    client.shared().delivery.stop(Passive::assert());
}

#[test]
fn a_watch_fires_and_is_refused_while_its_own_callback_runs() {
    use crate::store::request::Callback;
    use crate::store::watch::{Fired, Node, Target, Watches};
    let _session = kexec::nt::sys::fake::boot();
    let watches = Watches::new(1);
    let target = Target::Call(Callback {
        call: |callback, _| {
            let (sender, receiver) = std::sync::mpsc::channel();
            // On a thread of its own: a lock that is taken is seen, not waited for.
            SLOT.with(|slot| {
                let node = slot.borrow().clone().expect("set");
                kexec::nt::sys::fake::spawn(1, move || {
                    let fired = (node.fire(), node.refuse(Status::CANCELLED));
                    // Before the answer: the test may end, and count what is left, right after it.
                    drop(node);
                    let _ = sender.send(fired);
                });
            });
            let fired = receiver.recv_timeout(crate::testing::PATIENCE);
            assert_eq!(fired, Ok((Fired::Deliver, Fired::Done)));
            assert_eq!(callback.context, 7);
        },
        routine: 0,
        context: 7,
    });
    std::thread_local! {
        static SLOT: core::cell::RefCell<Option<Arc<Node>>> = const { core::cell::RefCell::new(None) };
    }
    let node = watches.add(target).expect("memory");
    SLOT.with(|slot| *slot.borrow_mut() = Some(node.clone()));
    assert_eq!(node.fire(), Fired::Deliver);
    node.deliver();
    assert_eq!(node.refused(), Some(Status::CANCELLED));
    SLOT.with(|slot| slot.borrow_mut().take());
    assert!(watches.remove(&node));
}

#[test]
fn a_caller_at_dispatch_level_drives_the_executor_itself() {
    let mut machine = machine();
    machine
        .run(Policy::default(), |_, connection| {
            let client = connection.client().synchronous();
            let call = client.read(None, path("name"));
            let limit = Duration::from_secs(5);
            let value = poll_on(connection.executor(), limit, call)??;
            assert_eq!(&*value, b"guest");
            Ok(())
        })
        .expect("served");
}

#[test]
fn a_killed_daemon_fails_requests_after_the_policy_time_and_the_stop_does_not_hang() {
    let mut machine = machine();
    machine.session.auto_clock();
    let policy = Policy {
        timeout: Some(Duration::from_millis(1500)),
        ..Policy::default()
    };
    machine
        .run(policy, |machine, connection| {
            let client = connection.client();
            let watch = block_on(Passive::assert(), client.watch(path("name")))??;
            machine.daemon.lock().expect("fine").dead = true;
            let started = Instant::now();
            let calls: std::vec::Vec<_> =
                (0..40).map(|_| client.read(None, path("name"))).collect();
            for call in calls {
                assert_eq!(
                    block_on(Passive::assert(), call)?.err(),
                    Some(Status::IO_TIMEOUT)
                );
            }
            assert!(started.elapsed() >= Duration::from_millis(1500));
            drop(watch);
            Ok(())
        })
        .expect("started");
    assert_eq!(machine.session.leaks(), [""; 0]);
}

#[test]
fn an_event_that_is_lost_after_an_idle_time_is_made_up_for_within_a_second_too() {
    let mut machine = machine();
    machine.session.auto_clock();
    let policy = Policy {
        idle: Duration::from_secs(3600),
        ..Policy::default()
    };
    machine
        .run(policy, |machine, connection| {
            let client = connection.client();
            let mut watch = block_on(Passive::assert(), client.watch(path("name")))??;
            block_on(Passive::assert(), watch.changed())??;
            // The tick is armed for an hour by now.
            machine.daemon.lock().expect("fine").dead = true;
            let begin = Instant::now();
            let late = block_on(Passive::assert(), client.read(None, path("name")))?;
            assert_eq!(late.err(), Some(crate::status::IO_TIMEOUT));
            assert!(begin.elapsed() < Duration::from_secs(40), "not in time");
            machine.daemon.lock().expect("fine").dead = false;
            Ok(())
        })
        .expect("served");
}

#[test]
fn any_allocation_may_fail_from_start_to_stop_and_nothing_is_left() {
    let mut failures = 0;
    for n in 0.. {
        let mut machine = machine();
        machine.session.fail_alloc(Some(n));
        let result = machine.run(Policy::default(), |_, connection| {
            let client = connection.client();
            let passive = Passive::assert();
            let mut watch = block_on(passive, client.watch(path("name")))??;
            block_on(passive, watch.changed())??;
            let tx = block_on(passive, client.start_transaction())??;
            let long = [b'x'; 500];
            block_on(passive, client.write(Some(&tx), path("long"), &long))??;
            block_on(passive, tx.commit())??;
            let value = block_on(passive, client.read(None, path("long")))??;
            assert_eq!(value.len(), 500);
            block_on(passive, watch.remove())??;
            Ok(())
        });
        let pending = machine.session.fail_pending();
        machine.session.fail_alloc(None);
        assert_eq!(machine.session.leaks(), [""; 0], "allocation {n}");
        if pending {
            assert_eq!(result, Ok(()), "nothing failed");
            break;
        }
        failures += u32::from(result.is_err());
        if let Err(status) = result {
            let memory = [Status::NO_MEMORY, Status::INSUFFICIENT_RESOURCES];
            assert!(memory.contains(&status), "allocation {n}: {status}");
        }
    }
    assert!(failures > 10, "{failures} failures were seen");
}
