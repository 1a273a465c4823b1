// SPDX-License-Identifier: BSD-2-Clause
//! Page and event channel of the store in a new domain: moved, missing, and out of memory.

use core::task::{Context, Poll, Waker};
use std::sync::Arc as StdArc;

use kexec::nt::Arc;
use kexec::nt::sys::fake::{self, Session};

use super::*;
use crate::evtchn::Config;
use crate::testing::page::TestPage;
use crate::testing::xen::{FakeXen, Options, PortKind};

type Page = StdArc<TestPage>;

struct Bench {
    xen: StdArc<FakeXen>,
    service: Arc<Evtchn<StdArc<FakeXen>>>,
    port: ChannelPort<Page, StdArc<FakeXen>>,
    session: Session,
}

/// A page whose first index tells its frame.
fn map(frame: u64) -> Result<Page> {
    if frame == 0xBAD {
        return Err(Status::NO_MEMORY);
    }
    Ok(StdArc::new(TestPage::starting_at(frame as u32, 0)))
}

impl Bench {
    fn new() -> Self {
        let session = fake::boot();
        let xen = FakeXen::new(Options::default());
        Self::introduce(&xen, 3, Some(0xFEFF));
        let service = Evtchn::try_new(xen.clone(), Config::default()).expect("memory");
        service.enable(Config::default()).expect("interrupts");
        let kind = Kind::Fixed { port: 3 };
        let channel = Channel::open(&service, kind, Target::Future, false).expect("opened");
        let page = map(0xFEFF).expect("mapped");
        let port = ChannelPort::new(page, channel).at(0xFEFF, map);
        Self {
            xen,
            service,
            port,
            session,
        }
    }

    /// What the toolstack says of the store.
    fn introduce(xen: &FakeXen, port: u32, frame: Option<u64>) {
        xen.add_port(port, PortKind::InterDomain(0, 77));
        let mut state = xen.state();
        state.params.insert(2, u64::from(port));
        match frame {
            Some(frame) => state.params.insert(1, frame),
            None => state.params.remove(&1),
        };
    }

    fn suspend(&self, port: u32, frame: Option<u64>) {
        self.service.suspended();
        self.xen.new_domain();
        Self::introduce(&self.xen, port, frame);
        self.service
            .resume(Config::default())
            .expect("interrupts again");
    }

    fn frame(&self) -> u64 {
        u64::from(self.port.control()[0].load(core::sync::atomic::Ordering::SeqCst))
    }

    /// The engine is woken by an event on `port`, and sends there.
    fn works(&mut self, port: u32) {
        let mut cx = Context::from_waker(Waker::noop());
        self.xen.run(&self.service);
        while self.port.poll_event(&mut cx).is_ready() {}
        self.xen.raise(port);
        self.xen.run(&self.service);
        assert_eq!(self.port.poll_event(&mut cx), Poll::Ready(()));
        self.xen.state().sent.clear();
        self.port.notify();
        assert_eq!(self.xen.state().sent, [port]);
    }
}

#[test]
fn a_page_that_moved_is_mapped_where_it_is_and_its_new_port_serves() {
    let mut bench = Bench::new();
    bench.works(3);
    bench.suspend(5, Some(0x1234));
    bench.port.renew().expect("found");
    assert_eq!(bench.frame(), 0x1234);
    bench.works(5);
    // One that did not move is not mapped again.
    let page = StdArc::as_ptr(&bench.port.page);
    bench.suspend(3, Some(0x1234));
    bench.port.renew().expect("found");
    assert_eq!(StdArc::as_ptr(&bench.port.page), page);
    bench.works(3);
}

#[test]
fn a_domain_that_was_given_no_store_is_refused_until_the_next_resume() {
    let mut bench = Bench::new();
    for frame in [None, Some(0), Some(0xBAD)] {
        bench.suspend(3, frame);
        assert!(bench.port.renew().is_err(), "{frame:?}");
        // Nobody to tell, and nothing to hear.
        bench.xen.state().sent.clear();
        bench.port.notify();
        assert!(bench.xen.state().sent.is_empty());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(bench.port.poll_event(&mut cx).is_pending());
        bench.suspend(4, Some(0xFEFF));
        bench.port.renew().expect("found");
        assert_eq!(bench.frame(), 0xFEFF);
        bench.works(4);
    }
}

#[test]
fn whichever_allocation_fails_in_a_resume_the_next_one_is_whole() {
    let mut failed = 0;
    for n in 0.. {
        let mut bench = Bench::new();
        bench.service.suspended();
        bench.xen.new_domain();
        Bench::introduce(&bench.xen, 5, Some(0x1234));
        bench.session.fail_alloc(Some(n));
        let resumed = bench.service.resume(Config::default());
        let renewed = bench.port.renew();
        let done = bench.session.fail_pending();
        bench.session.fail_alloc(None);
        failed += u32::from(!done);
        if resumed.is_ok() && renewed.is_ok() {
            bench.works(5);
        }
        bench.suspend(6, Some(0x1234));
        bench.port.renew().expect("memory");
        bench.works(6);
        if done {
            break;
        }
    }
    // Places and pages of before are used again.
    assert_eq!(failed, 0, "a resume allocates nothing");
}
