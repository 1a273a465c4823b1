// SPDX-License-Identifier: BSD-2-Clause
//! Tests of the STORE facade over the whole host machine, at both levels from which it is called.
use super::*;
use crate::store::Policy;
use crate::testing::machine::TestMachine;
use crate::testing::until;
use crate::testing::xen::Options;
use crate::testing::xenstored::Xenstored;
use core::sync::atomic::{AtomicUsize, Ordering};
use kexec::irql::Raised;
use kexec::{Duration, Instant};

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

fn signal(callback: &Callback, _: Result<&[u8]>) {
    assert_eq!((callback.routine, callback.context), (1, 2));
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

struct OneNumber(u64);

impl Arguments for OneNumber {
    fn slot(&mut self) -> u64 {
        self.0
    }
    fn narrow(&self, _: u64, _: usize) -> u8 {
        0
    }
    fn wide(&self, _: u64, _: usize) -> u16 {
        0
    }
    fn counted(&self, _: u64) -> (u16, u64) {
        (0, 0)
    }
}

fn at_each_level(story: impl Fn(&TestMachine, Store<'_>)) {
    for dispatch in [false, true] {
        let nodes = [
            ("name", "guest"),
            ("device/vif/0", ""),
            ("device/vbd/0", ""),
        ];
        let mut machine = TestMachine::boot(Xenstored::with(&nodes), Options::default());
        machine
            .run(Policy::default(), |machine, connection| {
                let raised = dispatch.then(Raised::to_dispatch);
                story(
                    machine,
                    Store::new(connection.client(), connection.executor()),
                );
                drop(raised);
                Ok(())
            })
            .expect("served");
        assert_eq!(machine.session.leaks(), [""; 0]);
    }
}

fn whole(text: Result<Text>) -> std::vec::Vec<u8> {
    text.expect("there").parts().concat()
}

#[test]
fn buffers_end_in_two_nuls_and_empty_directories_are_an_error() {
    at_each_level(|_, store| {
        assert_eq!(whole(store.read(None, None, b"name")), b"guest\0\0");
        assert_eq!(whole(store.read(None, Some(b"device/vif"), b"0")), b"\0\0");
        assert_eq!(
            whole(store.directory(None, None, b"device")),
            b"vbd\0vif\0\0\0"
        );
        assert_eq!(
            store.directory(None, None, b"name").err(),
            Some(status::OBJECT_PATH_NOT_FOUND)
        );
        assert_eq!(
            store.directory(None, None, b"no").err(),
            Some(status::OBJECT_NAME_NOT_FOUND)
        );
        assert_eq!(
            store.read(None, None, b"no").err(),
            Some(status::OBJECT_NAME_NOT_FOUND)
        );
    });
}

#[test]
fn printf_stores_the_text_and_a_transaction_isolates_it() {
    at_each_level(|machine, store| {
        let get = |path: &str| machine.daemon.lock().expect("fine").get(path);
        let print = |tx: Option<&Transaction>, text: &str, n| {
            store.printf(tx, Some(b"data"), b"state", text.bytes(), &mut OneNumber(n))
        };
        print(None, "%u", 4).expect("written");
        assert_eq!(get("data/state").as_deref(), Some("4"));
        print(None, "", 0).expect("empty is legal");
        assert_eq!(get("data/state").as_deref(), Some(""));
        let tx = store.transaction_start().expect("open");
        print(Some(&tx), "%u", 5).expect("written");
        assert_eq!(get("data/state").as_deref(), Some(""));
        store.transaction_end(tx, true).expect("no conflict");
        assert_eq!(get("data/state").as_deref(), Some("5"));
        let tx = store.transaction_start().expect("open");
        print(Some(&tx), "%u", 6).expect("written");
        store.transaction_end(tx, false).expect("aborted");
        assert_eq!(get("data/state").as_deref(), Some("5"));
        let tx = store.transaction_start().expect("open");
        print(Some(&tx), "%u", 7).expect("written");
        machine
            .daemon
            .lock()
            .expect("fine")
            .put("data/state", "other");
        assert_eq!(store.transaction_end(tx, true), Err(status::RETRY));
        store.remove(None, None, b"data").expect("removed");
        assert_eq!(get("data/state"), None);
        assert_eq!(print(None, "%1024u", 1), Err(status::INVALID_BUFFER_SIZE));
    });
}

#[test]
fn permissions_are_checked_before_anything_is_sent() {
    at_each_level(|_, store| {
        let set =
            |mask| store.permissions_set(None, None, b"name", &[Permission { domain: 1, mask }]);
        assert_eq!(set(3), Ok(()));
        assert_eq!(set(4), Err(status::INVALID_PARAMETER));
        assert_eq!(
            store.permissions_set(None, None, b"name", &[]),
            Err(status::INVALID_PARAMETER)
        );
    });
}

#[test]
fn a_watch_signals_on_registration_and_change_and_never_after_removal() {
    at_each_level(|machine, store| {
        SIGNALS.store(0, Ordering::SeqCst);
        let wait = |count| {
            until("no signal", || {
                store.poll();
                (SIGNALS.load(Ordering::SeqCst) >= count).then_some(())
            });
        };
        let callback = Callback {
            call: signal,
            routine: 1,
            context: 2,
        };
        let watch = store
            .watch_add(Some(b"device"), b"vif", callback)
            .expect("registered");
        wait(1);
        machine.daemon.lock().expect("fine").put("device/vif/1", "");
        machine.poke();
        wait(2);
        store.watch_remove(watch).expect("removed");
        let before = SIGNALS.load(Ordering::SeqCst);
        machine.daemon.lock().expect("fine").put("device/vif/2", "");
        machine.poke();
        let _ = store.read(None, None, b"name").expect("served");
        assert_eq!(SIGNALS.load(Ordering::SeqCst), before);
    });
}

#[test]
fn a_call_at_dispatch_level_to_a_dead_daemon_is_bounded() {
    let mut machine = TestMachine::boot(Xenstored::with(&[]), Options::default());
    machine
        .run(Policy::default(), |machine, connection| {
            machine.daemon.lock().expect("fine").dead = true;
            let (session, kernel) = (&machine.session, machine.session.kernel());
            let started = Instant::now();
            let done = core::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // Another processor's clock interrupt.
                    kernel.adopt(2);
                    while !done.load(Ordering::SeqCst) {
                        session.advance(Duration::from_millis(10));
                        std::thread::yield_now();
                    }
                });
                let raised = Raised::to_dispatch();
                let store = Store::new(connection.client(), connection.executor());
                let result = store.read(None, None, b"name");
                assert_eq!(result.err(), Some(status::IO_TIMEOUT));
                drop(raised);
                assert!(started.elapsed() >= Duration::from_secs(5));
                session.auto_clock();
                done.store(true, Ordering::SeqCst);
            });
            Ok(())
        })
        .expect("started");
}
