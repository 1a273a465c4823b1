// SPDX-License-Identifier: BSD-2-Clause
//! Corners that the rig's guests led to: two interrupts on one processor.
use super::channel::Target;
use super::*;
use crate::testing::xen::{FakeXen, Options};
use core::sync::atomic::Ordering;
use kexec::nt::Arc;
use std::boxed::Box;
use std::sync::Arc as StdArc;
use std::sync::atomic::AtomicU32;

type Service = Arc<Evtchn<StdArc<FakeXen>>>;

fn start(options: Options, config: Config) -> (StdArc<FakeXen>, Service) {
    let xen = FakeXen::new(options);
    let service = Evtchn::try_new(xen.clone(), config).expect("memory");
    service.enable(config).expect("interrupts");
    xen.run(&service);
    (xen, service)
}

fn routine(service: &Service, kind: Kind) -> Channel<StdArc<FakeXen>> {
    let target = Target::Routine {
        routine: 0x10,
        context: 0x20,
    };
    Channel::open(service, kind, target, false).expect("open")
}

#[test]
fn a_line_that_interrupts_a_poll_is_taken_down_and_its_event_is_not_lost() {
    for fifo in [false, true] {
        let config = Config {
            fifo,
            upcall: false,
        };
        let (xen, service) = start(Options::default(), config);
        let first = routine(&service, Kind::Unbound { domain: 0 });
        let second = routine(&service, Kind::Unbound { domain: 0 });
        first.unmask(false, true);
        second.unmask(false, true);
        let served = StdArc::new(AtomicU32::new(0));
        let (inside, line, found, port) =
            (xen.clone(), service.clone(), served.clone(), second.port());
        // While the first one is delivered, the line interrupts at a higher level.
        *xen.on_call.lock().expect("free") = Some(Box::new(move || {
            // So that the poll that goes on has passed it: the queue was read, the word was looked at.
            inside.raise(port);
            let ours = line.isr(0);
            let left = inside.shared_info().vcpu[0]
                .upcall_pending
                .load(Ordering::SeqCst);
            found.store(1 + u32::from(ours) + 2 * u32::from(left), Ordering::SeqCst);
        }));
        xen.raise(first.port());
        assert!(service.isr(0));
        assert_eq!(
            served.load(Ordering::SeqCst),
            2,
            "1: not its, 3 and 4: the line stays asserted"
        );
        assert_eq!(second.count(), 1, "{}", service.abi_name());
    }
}

#[test]
fn a_line_that_interrupts_the_dpc_is_looked_after_by_it() {
    let config = Config {
        fifo: true,
        upcall: false,
    };
    let (xen, service) = start(Options::default(), config);
    let first = routine(&service, Kind::Unbound { domain: 0 });
    let second = routine(&service, Kind::Unbound { domain: 0 });
    second.unmask(false, true);
    let (inside, line, port) = (xen.clone(), service.clone(), second.port());
    *xen.on_call.lock().expect("free") = Some(Box::new(move || {
        inside.raise(port);
        assert!(line.isr(0));
    }));
    first.trigger();
    xen.run(&service);
    assert_eq!((first.count(), second.count()), (1, 1));
}
