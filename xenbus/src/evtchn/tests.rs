// SPDX-License-Identifier: BSD-2-Clause
//! Event channels against the fake hypervisor, most stories under both ABIs.
use super::channel::Target;
use super::*;
use crate::testing::rig::poll_once;
use crate::testing::xen::{FakeXen, Options, PortKind};
use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Poll;
use kexec::Status;
use kexec::nt::Arc;
use std::boxed::Box;
use std::sync::Arc as StdArc;
use std::vec::Vec;

type Service = Arc<Evtchn<StdArc<FakeXen>>>;

fn start(options: Options, fifo: bool) -> (StdArc<FakeXen>, Service) {
    let xen = FakeXen::new(options);
    let config = Config { fifo, upcall: true };
    let service = Evtchn::try_new(xen.clone(), config).expect("memory");
    service.enable(config).expect("interrupts");
    xen.run(&service);
    (xen, service)
}

fn both(story: impl Fn(StdArc<FakeXen>, Service)) {
    for fifo in [false, true] {
        let (xen, service) = start(Options::default(), fifo);
        assert_eq!(service.abi_name(), if fifo { "fifo" } else { "2-level" });
        story(xen, service);
    }
}

fn unbound(service: &Service) -> Channel<StdArc<FakeXen>> {
    Channel::open(service, Kind::Unbound { domain: 0 }, Target::Future, false).expect("open")
}

#[test]
fn a_debug_callback_counts_channels_at_high_level() {
    let _session = kexec::nt::sys::fake::boot();
    both(|_, service| {
        let before = service.channels();
        let channel = unbound(&service);
        {
            let _high = kexec::irql::Raised::to_high();
            assert_eq!(service.channels(), before + 1);
        }
        drop(channel);
        assert_eq!(service.channels(), before);
    });
}

#[test]
fn an_event_reaches_the_future_that_waits() {
    both(|xen, service| {
        let channel = unbound(&service);
        channel.unmask(false, true);
        let mut wait = pin!(channel.wait(0));
        assert!(poll_once(wait.as_mut()).is_pending());
        xen.raise(channel.port());
        xen.run(&service);
        assert_eq!(poll_once(wait.as_mut()), Poll::Ready(1));
        assert!(poll_once(pin!(channel.wait(1))).is_pending());
    });
}

#[test]
fn a_fresh_channel_is_masked_and_an_early_event_comes_with_the_first_unmask() {
    both(|xen, service| {
        let channel = unbound(&service);
        xen.raise(channel.port());
        xen.run(&service);
        assert_eq!(channel.count(), 0);
        assert!(!channel.unmask(false, true));
        xen.run(&service);
        assert_eq!(channel.count(), 1);
    });
}

#[test]
fn a_thousand_events_are_counted_one_by_one() {
    both(|xen, service| {
        let channel = unbound(&service);
        channel.unmask(false, true);
        for n in 1..=1000 {
            xen.raise(channel.port());
            xen.run(&service);
            assert_eq!(channel.count(), n);
        }
    });
}

#[test]
fn auto_mask_masks_before_the_callback_and_unmask_delivers_what_came_since() {
    both(|xen, service| {
        let target = Target::Routine {
            routine: 0x10,
            context: 0x20,
        };
        let channel =
            Channel::open(&service, Kind::Unbound { domain: 0 }, target, true).expect("open");
        channel.unmask(false, true);
        xen.raise(channel.port());
        xen.run(&service);
        xen.raise(channel.port());
        xen.run(&service);
        assert_eq!(channel.count(), 1, "masked after the first");
        assert_eq!(xen.state().called, [(0x10, 0x20)]);
        assert!(
            !channel.unmask(true, false),
            "in the callback it is raised again"
        );
        xen.run(&service);
        assert_eq!(channel.count(), 2);
    });
}

#[test]
fn unmask_reports_a_pending_event_only_on_the_own_processor_without_force() {
    both(|xen, service| {
        let channel = Channel::open(&service, Kind::Unbound { domain: 0 }, Target::Future, true)
            .expect("open");
        for (in_callback, force, cpu, expected) in [
            (false, false, 0, true),
            (false, false, 1, false),
            (false, true, 0, false),
            (true, false, 0, false),
            (true, true, 1, false),
        ] {
            let before = channel.count();
            xen.raise(channel.port());
            xen.set_current(cpu);
            assert_eq!(channel.unmask(in_callback, force), expected);
            xen.run(&service);
            // Taken by the caller, or delivered; never both and never neither.
            assert_eq!(channel.count() - before, u32::from(!expected));
            assert!(!channel.unmask(false, false), "nothing is left");
            service.abi.mask(service.host(), channel.port());
        }
    });
}

#[test]
fn a_channel_bound_elsewhere_is_delivered_there_and_an_event_on_its_way_is_not_lost() {
    both(|xen, service| {
        let channel = unbound(&service);
        channel.unmask(false, true);
        // Raised on processor 0, not yet delivered, then moved.
        xen.raise(channel.port());
        channel.bind(1).expect("has a vector");
        assert_eq!(channel.cpu(), 1);
        xen.run(&service);
        assert!(channel.count() >= 1, "{}", service.abi_name());
        let before = channel.count();
        let zero = service.cpu(0).expect("cpu").events.load(Ordering::Relaxed);
        xen.raise(channel.port());
        xen.run(&service);
        assert_eq!(channel.count(), before + 1);
        assert_eq!(
            service.cpu(0).expect("cpu").events.load(Ordering::Relaxed),
            zero
        );
    });
}

#[test]
fn binding_to_a_processor_without_an_upcall_is_refused() {
    both(|_, service| {
        let channel = unbound(&service);
        assert_eq!(channel.bind(2), Err(Status::NOT_SUPPORTED));
        assert_eq!(channel.bind(9), Err(Status::NOT_SUPPORTED));
    });
}

#[test]
fn a_virq_of_another_processor_is_delivered_there() {
    both(|xen, service| {
        let kind = Kind::Virq { virq: 0, cpu: 1 };
        let channel = Channel::open(&service, kind, Target::Future, false).expect("open");
        channel.unmask(false, true);
        xen.raise(channel.port());
        xen.run(&service);
        assert_eq!(channel.count(), 1);
        assert!(
            Channel::open(&service, kind, Target::Future, false).is_err(),
            "bound twice"
        );
        let absent = Kind::Virq { virq: 0, cpu: 2 };
        assert_eq!(
            Channel::open(&service, absent, Target::Future, false).err(),
            Some(Status::NOT_SUPPORTED)
        );
    });
}

#[test]
fn refused_vectors_leave_processor_zero_on_the_callback_line() {
    let options = Options {
        vectors: false,
        ..Options::default()
    };
    for fifo in [false, true] {
        let (xen, service) = start(options.clone(), fifo);
        assert_eq!(xen.state().params[&0], 28);
        assert!(!service.has_upcall(0) && !service.has_upcall(1));
        let channel = unbound(&service);
        channel.unmask(false, true);
        xen.raise(channel.port());
        xen.run(&service);
        assert_eq!(channel.count(), 1);
        assert_eq!(channel.bind(1), Err(Status::NOT_SUPPORTED));
    }
}

#[test]
fn without_vectors_and_without_a_line_enabling_fails() {
    let options = Options {
        vectors: false,
        line: None,
        ..Options::default()
    };
    let xen = FakeXen::new(options);
    let service = Evtchn::try_new(xen, Config::default()).expect("memory");
    assert_eq!(service.enable(Config::default()), Err(Status::UNSUCCESSFUL));
}

#[test]
fn parameter_zero_is_set_even_when_vectors_work() {
    let (xen, service) = start(Options::default(), true);
    assert_eq!(xen.state().params[&0], 28);
    assert!(service.has_upcall(0) && service.has_upcall(1));
    service.disable();
    assert_eq!(xen.state().params[&0], 0);
    assert!(!service.isr(0), "an interrupt after teardown finds nothing");
}

#[test]
fn an_interrupt_while_parameter_zero_is_cleared_is_still_served() {
    let (xen, service) = start(Options::default(), true);
    let channel = unbound(&service);
    channel.unmask(false, true);
    let before = channel.count();
    let served = StdArc::new(AtomicU32::new(0));
    // A level-triggered line that nobody serves would interrupt for ever.
    let (line, found, inside) = (service.clone(), served.clone(), xen.clone());
    let port = channel.port();
    *xen.on_param.lock().expect("free") = Some(Box::new(move |index, value| {
        if (index, value) == (0, 0) {
            inside.raise(port);
            found.store(1 + u32::from(line.isr(0)), Ordering::SeqCst);
        }
    }));
    service.disable();
    *xen.on_param.lock().expect("free") = None;
    assert_eq!(
        served.load(Ordering::SeqCst),
        2,
        "0: not cleared, 1: not served"
    );
    assert_eq!(channel.count(), before + 1);
}

#[test]
fn fifo_that_fails_on_any_processor_falls_back_and_keeps_the_toolstacks_ports() {
    for fifo_cpus in [0, 1] {
        let xen = FakeXen::new(Options {
            fifo_cpus,
            ..Options::default()
        });
        xen.add_port(5, PortKind::InterDomain(0, 40));
        xen.state().params.insert(2, 5);
        xen.state().params.insert(18, 0);
        let service = Evtchn::try_new(xen.clone(), Config::default()).expect("memory");
        assert_eq!(service.abi_name(), "2-level");
        assert!(xen.state().calls.contains(&"reset"));
        let port = u32::try_from(xen.state().params[&2]).expect("a port");
        assert_ne!(port, 5, "written back");
        assert_eq!(service.host().query_interdomain(port), Ok((0, 40)));
        service.enable(Config::default()).expect("interrupts");
        let channel =
            Channel::open(&service, Kind::Fixed { port }, Target::Future, false).expect("open");
        channel.unmask(false, true);
        xen.run(&service);
        let before = channel.count();
        xen.raise(port);
        xen.run(&service);
        assert_eq!(channel.count(), before + 1);
    }
}

#[test]
fn a_failing_reset_leaves_the_parameters_alone() {
    let xen = FakeXen::new(Options {
        fifo_cpus: 0,
        reset: false,
        ..Options::default()
    });
    xen.add_port(5, PortKind::InterDomain(0, 40));
    xen.state().params.insert(2, 5);
    let _service = Evtchn::try_new(xen.clone(), Config::default()).expect("memory");
    assert_eq!(xen.state().params[&2], 5);
}

#[test]
fn pages_that_a_failing_reset_leaves_with_the_hypervisor_are_never_freed() {
    let (xen, service) = start(
        Options {
            reset: false,
            ..Options::default()
        },
        true,
    );
    let channel = unbound(&service);
    drop(channel);
    service.disable();
    service.release();
    drop(service);
    // Two control blocks and an array page, each still held by more than the machine's own list.
    assert_eq!(xen.pages_in_use(), 3);
    let (xen, service) = start(Options::default(), true);
    drop(unbound(&service));
    service.disable();
    service.release();
    drop(service);
    assert_eq!(xen.pages_in_use(), 0);
}

#[test]
fn a_service_that_finds_no_memory_frees_no_page_that_the_hypervisor_knows() {
    let session = kexec::nt::sys::fake::boot();
    for n in 0.. {
        let xen = FakeXen::new(Options::default());
        session.fail_alloc(Some(n));
        let service = Evtchn::try_new(xen.clone(), Config::default());
        let pending = session.fail_pending();
        session.fail_alloc(None);
        drop(service);
        assert_eq!(xen.pages_in_use(), 0, "allocation {n}");
        let calls = xen.state().calls.clone();
        let told = calls.iter().rposition(|&call| call == "init_control");
        let reset = calls.iter().rposition(|&call| call == "reset");
        assert!(reset >= told, "allocation {n}: freed without a reset");
        if pending {
            assert!(n > 2, "{n} failures were seen");
            break;
        }
    }
}

#[test]
fn giving_back_happens_once() {
    let (xen, service) = start(Options::default(), true);
    service.disable();
    service.release();
    service.release();
    drop(service);
    let resets = xen.state().calls.iter().filter(|&&c| c == "reset").count();
    assert_eq!(resets, 1);
}

#[test]
fn disabling_again_waits_again_for_whoever_is_inside() {
    let (xen, service) = start(Options::default(), true);
    service.disable();
    let (done, waited) = std::sync::mpsc::channel();
    let mut thread = None;
    xen.with_interrupt_lock(0, &mut || {
        let (again, done) = (service.clone(), done.clone());
        thread = Some(std::thread::spawn(move || {
            again.disable();
            done.send(()).expect("heard");
        }));
        let early = waited.recv_timeout(std::time::Duration::from_millis(50));
        assert!(early.is_err(), "it did not wait");
    });
    waited.recv().expect("it ends");
    thread.take().expect("spawned").join().expect("no panic");
}

#[test]
fn an_array_that_cannot_grow_fails_the_open_and_closes_the_port() {
    let (xen, service) = start(
        Options {
            expand: false,
            ..Options::default()
        },
        true,
    );
    let failed = Channel::open(&service, Kind::Unbound { domain: 0 }, Target::Future, false);
    assert!(failed.is_err());
    assert_eq!(xen.state().closed.len(), 1);
    assert_eq!(service.channels(), 0);
    // The page that was refused is the one that is offered again.
    let pages = xen.state().pages.len();
    let again = Channel::open(&service, Kind::Unbound { domain: 0 }, Target::Future, false);
    assert!(again.is_err());
    assert_eq!(xen.state().pages.len(), pages);
}

#[test]
fn closing_closes_the_port_unless_the_toolstack_made_it() {
    both(|xen, service| {
        let port = {
            let channel = unbound(&service);
            channel.port()
        };
        assert_eq!(xen.state().closed, [port]);
        xen.add_port(900, PortKind::InterDomain(0, 1));
        drop(
            Channel::open(&service, Kind::Fixed { port: 900 }, Target::Future, false)
                .expect("open"),
        );
        assert_eq!(xen.state().closed, [port]);
        assert_eq!(service.channels(), 0);
    });
}

#[test]
fn an_event_for_a_closed_channel_goes_nowhere_and_its_number_can_be_used_again() {
    both(|xen, service| {
        for _ in 0..3 {
            let channel = unbound(&service);
            channel.unmask(false, true);
            let port = channel.port();
            xen.raise(port);
            drop(channel);
            xen.run(&service);
            let again = unbound(&service);
            assert_eq!(again.port(), port);
            assert_eq!(again.count(), 0);
            again.unmask(false, true);
            xen.run(&service);
            let before = again.count();
            xen.raise(port);
            xen.run(&service);
            assert_eq!(again.count(), before + 1, "{}", service.abi_name());
        }
    });
}

#[test]
fn a_triggered_channel_is_delivered_from_a_dpc_though_masked() {
    both(|xen, service| {
        let channel = unbound(&service);
        channel.trigger();
        channel.trigger();
        assert_eq!(channel.count(), 0, "not from the caller's stack");
        xen.run(&service);
        assert_eq!(channel.count(), 1);
        let number = channel.port();
        channel.trigger();
        drop(channel);
        assert_eq!(service.channels(), 1, "still on the list");
        xen.run(&service);
        assert_eq!(service.channels(), 0, "port {number}");
    });
}

#[test]
fn a_channel_of_before_a_suspend_is_dead_and_closing_it_makes_no_hypercall() {
    both(|xen, service| {
        let channel = unbound(&service);
        channel.unmask(false, true);
        service.suspended();
        channel.send();
        assert!(!channel.unmask(false, true));
        assert_eq!(channel.bind(1), Ok(()));
        drop(channel);
        let state = xen.state();
        assert!(state.sent.is_empty() && state.closed.is_empty());
        assert!(!state.calls.contains(&"bind_vcpu"));
    });
}

#[test]
fn a_storm_of_ports_is_bounded_per_interrupt_and_nothing_is_lost() {
    both(|xen, service| {
        let channels: Vec<_> = (0..300).map(|_| unbound(&service)).collect();
        for channel in &channels {
            channel.unmask(false, true);
            xen.raise(channel.port());
        }
        while let Some((cpu, is_interrupt)) = xen.next() {
            let before: u32 = channels.iter().map(Channel::count).sum();
            if is_interrupt {
                service.isr(cpu);
            } else {
                service.dpc(cpu);
            }
            let after: u32 = channels.iter().map(Channel::count).sum();
            assert!(after - before <= 64);
        }
        assert!(channels.iter().all(|c| c.count() == 1));
        assert!(
            service
                .cpu(0)
                .expect("cpu")
                .deferred
                .load(Ordering::Relaxed)
                > 0
        );
    });
}

#[test]
fn selector_corners_of_the_two_level_abi_are_seen() {
    let (xen, service) = start(Options::default(), false);
    for port in [63, 64, 65, 4095] {
        xen.add_port(port, PortKind::InterDomain(0, 1));
        let channel =
            Channel::open(&service, Kind::Fixed { port }, Target::Future, false).expect("open");
        channel.unmask(false, true);
        xen.raise(port);
        xen.run(&service);
        assert_eq!(channel.count(), 1, "port {port}");
    }
    xen.add_port(4096, PortKind::InterDomain(0, 1));
    let beyond = Channel::open(&service, Kind::Fixed { port: 4096 }, Target::Future, false);
    assert_eq!(beyond.err(), Some(Status::INVALID_PARAMETER));
    let zero = Channel::open(&service, Kind::Fixed { port: 0 }, Target::Future, false);
    assert_eq!(zero.err(), Some(Status::INVALID_PARAMETER));
}

#[test]
fn fifo_ports_on_both_sides_of_a_page_and_beyond_the_abi() {
    let (xen, service) = start(Options::default(), true);
    for port in [1023, 1024, 5000] {
        xen.add_port(port, PortKind::InterDomain(0, 1));
        let channel =
            Channel::open(&service, Kind::Fixed { port }, Target::Future, false).expect("open");
        channel.unmask(false, true);
        xen.raise(port);
        xen.run(&service);
        assert_eq!(channel.count(), 1, "port {port}");
    }
    let beyond = Channel::open(
        &service,
        Kind::Fixed { port: 131_072 },
        Target::Future,
        false,
    );
    assert_eq!(beyond.err(), Some(Status::INVALID_PARAMETER));
}

#[test]
fn a_masked_linked_port_is_skipped_and_not_acknowledged() {
    let (xen, service) = start(Options::default(), true);
    let channel = unbound(&service);
    channel.unmask(false, true);
    xen.raise(channel.port());
    service.abi.mask(service.host(), channel.port());
    xen.run(&service);
    assert_eq!(channel.count(), 0);
    channel.unmask(false, true);
    xen.run(&service);
    assert_eq!(channel.count(), 1);
}

#[test]
fn a_busy_word_does_not_hang_unmask() {
    let (xen, service) = start(Options::default(), true);
    let channel = unbound(&service);
    let page = xen.clone();
    let Abi::Fifo(array) = &service.abi else {
        panic!("not fifo");
    };
    array.set_for_test(channel.port(), fifo::BUSY | fifo::MASKED);
    assert!(!channel.unmask(false, true), "the hypervisor does it");
    assert!(page.state().calls.contains(&"unmask"));
}

#[test]
fn two_thousand_channels_open_and_every_one_hears_its_own_event() {
    both(|xen, service| {
        let channels: Vec<_> = (0..2000).map(|_| unbound(&service)).collect();
        for channel in &channels {
            channel.unmask(false, true);
        }
        for channel in channels.iter().rev() {
            xen.raise(channel.port());
        }
        xen.run(&service);
        assert!(channels.iter().all(|c| c.count() == 1));
        drop(channels);
        assert_eq!(service.channels(), 0);
    });
}

use super::abi::Abi;
