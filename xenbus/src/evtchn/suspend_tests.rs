// SPDX-License-Identifier: BSD-2-Clause
//! Event channels over a suspend: dead channels, the ABI again, vectors and line again.

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::sync::Arc as StdArc;

use kexec::nt::Arc;
use kexec::nt::sys::fake;

use super::channel::Target;
use super::{Channel, Config, Evtchn, Kind};
use crate::testing::xen::{FakeXen, Options, PortKind};

type Service = Arc<Evtchn<StdArc<FakeXen>>>;

const PORT: u32 = 3;

fn start(config: Config, options: Options) -> (StdArc<FakeXen>, Service) {
    let xen = FakeXen::new(options);
    let service = Evtchn::try_new(xen.clone(), config).expect("memory");
    service.enable(config).expect("a way to interrupt");
    xen.run(&service);
    (xen, service)
}

/// What the domain goes through, with the toolstack's port in the new one.
fn suspend(xen: &FakeXen, service: &Service, config: Config) {
    service.suspended();
    xen.new_domain();
    xen.add_port(PORT, PortKind::InterDomain(0, 9));
    service.resume(config).expect("interrupts again");
}

fn fixed(service: &Service) -> Channel<StdArc<FakeXen>> {
    let channel = Channel::open(service, Kind::Fixed { port: PORT }, Target::Future, false);
    let channel = channel.expect("opened");
    channel.unmask(false, true);
    channel
}

fn each(test: impl Fn(Config, Options)) {
    let _session = fake::boot();
    for fifo in [true, false] {
        for vectors in [true, false] {
            let config = Config {
                fifo,
                upcall: vectors,
            };
            let options = Options {
                vectors,
                ..Options::default()
            };
            test(config, options);
        }
    }
}

#[test]
fn after_a_resume_events_flow_again_in_the_same_abi_and_no_page_is_added() {
    each(|config, options| {
        let (xen, service) = start(config, options);
        let old = fixed_in(&xen, &service);
        let (name, pages) = (service.abi_name(), xen.pages_in_use());
        for round in 1..=3 {
            suspend(&xen, &service, config);
            let new = fixed(&service);
            xen.raise(PORT);
            xen.run(&service);
            assert_eq!(new.count(), 1, "round {round}");
            assert_eq!(service.abi_name(), name);
            assert_eq!(service.has_upcall(0), config.upcall);
            drop(new);
        }
        assert_eq!(old.count(), 1, "one last event, however many suspends");
        assert_eq!(xen.pages_in_use(), pages);
        drop(old);
        assert_eq!(service.channels(), 0);
        service.disable();
        service.release();
    });
}

fn fixed_in(xen: &FakeXen, service: &Service) -> Channel<StdArc<FakeXen>> {
    xen.add_port(PORT, PortKind::InterDomain(0, 9));
    fixed(service)
}

#[test]
fn a_waiter_of_before_is_told_and_finds_its_channel_dead() {
    each(|config, options| {
        let (xen, service) = start(config, options);
        let channel = fixed_in(&xen, &service);
        let routine = Channel::open(
            &service,
            Kind::Unbound { domain: 0 },
            Target::Routine {
                routine: 7,
                context: 8,
            },
            true,
        )
        .expect("opened");
        let mut cx = Context::from_waker(Waker::noop());
        let mut wait = pin!(channel.wait(0));
        assert_eq!(wait.as_mut().poll(&mut cx), Poll::Pending);
        suspend(&xen, &service, config);
        xen.run(&service);
        assert_eq!(wait.as_mut().poll(&mut cx), Poll::Ready(1));
        assert!(channel.is_dead() && routine.is_dead());
        assert_eq!((channel.port(), routine.port()), (0, 0));
        assert_eq!(xen.state().called, [(7, 8)], "the routine too, once");
        // The same port number is another channel's now.
        let new = fixed(&service);
        xen.raise(PORT);
        xen.run(&service);
        assert_eq!((channel.count(), new.count()), (1, 1));
        assert!(!new.is_dead());
        // The dead ones touch nothing of the new domain.
        drop(routine);
        assert!(xen.state().closed.is_empty());
        xen.raise(PORT);
        xen.run(&service);
        assert_eq!(new.count(), 2);
    });
}

#[test]
fn an_owner_that_closes_before_the_last_event_gets_none() {
    each(|config, options| {
        let (xen, service) = start(config, options);
        let routine = Channel::open(
            &service,
            Kind::Unbound { domain: 0 },
            Target::Routine {
                routine: 7,
                context: 8,
            },
            false,
        )
        .expect("opened");
        suspend(&xen, &service, config);
        // In its LATE callback.
        drop(routine);
        xen.run(&service);
        assert!(xen.state().called.is_empty());
        assert_eq!(service.channels(), 0);
    });
}

#[test]
fn a_new_host_without_fifo_gets_two_levels() {
    let _session = fake::boot();
    let config = Config::default();
    for limit in [0, 1] {
        let (xen, service) = start(config, Options::default());
        assert_eq!(service.abi_name(), "fifo");
        let _old = fixed_in(&xen, &service);
        xen.state().fifo_limit = Some(limit);
        service.suspended();
        xen.new_domain();
        xen.add_port(PORT, PortKind::InterDomain(0, 9));
        xen.state().params.insert(2, u64::from(PORT));
        service.resume(config).expect("interrupts again");
        assert_eq!(service.abi_name(), "2-level");
        // The reset that takes the first control block back moves the toolstack's port.
        let port = u32::try_from(xen.state().params[&2]).expect("a port");
        let channel = Channel::open(&service, Kind::Fixed { port }, Target::Future, false);
        let channel = channel.expect("opened");
        channel.unmask(false, true);
        xen.run(&service);
        let before = channel.count();
        xen.raise(port);
        xen.run(&service);
        assert_eq!(channel.count(), before + 1);
        // And back on a host that has it: 2-level stays until the next start.
        xen.state().fifo_limit = None;
        suspend(&xen, &service, config);
        assert_eq!(service.abi_name(), "2-level");
    }
}

#[test]
fn between_the_suspend_and_the_resume_no_event_is_delivered() {
    each(|config, options| {
        let (xen, service) = start(config, options);
        let channel = fixed_in(&xen, &service);
        service.suspended();
        xen.raise(PORT);
        xen.run(&service);
        assert_eq!(channel.count(), 0);
    });
}
