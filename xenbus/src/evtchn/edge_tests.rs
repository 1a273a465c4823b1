// SPDX-License-Identifier: BSD-2-Clause
//! Corners that the rig's guests led to: two interrupts on one processor, two channels on one port.
use super::channel::Target;
use super::*;
use crate::testing::xen::{FakeXen, Options, PortKind};
use core::sync::atomic::Ordering;
use kexec::nt::Arc;
use kexec::{Status, irql};
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

#[test]
fn the_highest_priority_is_delivered_first() {
    let (xen, service) = start(Options::default(), Config::default());
    let priorities = [15, 7, 0, 9, 0, 1];
    let channels = priorities.map(|priority| {
        let target = Target::Routine {
            routine: 0x10,
            context: priority,
        };
        let channel = Channel::open(&service, Kind::Unbound { domain: 0 }, target, false);
        let channel = channel.expect("open");
        channel.unmask(false, true);
        xen.set_priority(channel.port(), priority);
        channel
    });
    for channel in &channels {
        xen.raise(channel.port());
    }
    xen.run(&service);
    let called: std::vec::Vec<_> = xen.state().called.iter().map(|call| call.1).collect();
    assert_eq!(called, [0, 0, 1, 7, 9, 15]);
}

#[test]
fn a_port_that_has_a_channel_gets_no_second_one_and_is_not_touched() {
    for fifo in [false, true] {
        let config = Config { fifo, upcall: true };
        let (xen, service) = start(Options::default(), config);
        xen.add_port(900, PortKind::InterDomain(0, 1));
        let kind = Kind::Fixed { port: 900 };
        let channel = routine(&service, kind);
        channel.unmask(false, true);
        let again = Channel::open(&service, kind, Target::Future, false);
        assert_eq!(again.err(), Some(Status::DUPLICATE_OBJECTID));
        assert_eq!(service.channels(), 1);
        xen.raise(900);
        xen.run(&service);
        assert_eq!(channel.count(), 1, "neither masked nor taken away");
        drop(channel);
        drop(routine(&service, kind));
    }
}

#[test]
fn channels_are_opened_moved_and_closed_where_no_suspend_can_come_between() {
    let _session = kexec::nt::sys::fake::boot();
    let (xen, service) = start(Options::default(), Config::default());
    let before = xen.state().calls.len();
    let channel = routine(&service, Kind::Unbound { domain: 0 });
    channel.bind(1).expect("has a vector");
    drop(channel);
    let state = xen.state();
    let made = ["alloc_unbound", "expand_array", "bind_vcpu", "close"];
    assert_eq!(state.calls[before..], made);
    let levels = &state.levels[before..];
    assert!(levels.iter().all(|&at| at == irql::DISPATCH_LEVEL));
    assert_eq!(irql::current(), irql::PASSIVE_LEVEL);
}
