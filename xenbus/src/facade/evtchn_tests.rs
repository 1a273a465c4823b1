// SPDX-License-Identifier: BSD-2-Clause
//! Tests of the EVTCHN facade.
use super::*;
use crate::evtchn::Config;
use crate::testing::xen::{FakeXen, Options};
use kexec::nt::sys::fake;
use kexec::{Passive, Status};
use std::vec::Vec;

/// Slots whose upper halves are junk; reading past the end is the caller's bug and panics.
struct Fake(Vec<u64>);

impl Slots for Fake {
    fn slot(&self, index: usize) -> u64 {
        self.0[index]
    }
}

const JUNK: u64 = 0xDEAD_BEEF_0000_0000;

#[test]
fn each_type_reads_its_own_slots_and_no_others() {
    let open = |version, kind, slots: &[u64]| {
        parse_open(version, kind, &Fake(slots.to_vec()), |group, number| {
            (group < 2 && number < 64).then(|| u32::from(group) * 64 + u32::from(number))
        })
    };
    assert_eq!(
        open(9, table::TYPE_FIXED, &[JUNK | 7, JUNK | 0x100]),
        Ok((Kind::Fixed { port: 7 }, false))
    );
    assert_eq!(
        open(5, table::TYPE_UNBOUND, &[JUNK | 0xABCD_0003, JUNK | 2]),
        Ok((Kind::Unbound { domain: 3 }, true))
    );
    assert_eq!(
        open(9, table::TYPE_INTER_DOMAIN, &[3, JUNK | 40, 1]),
        Ok((
            Kind::InterDomain {
                domain: 3,
                port: 40
            },
            true
        ))
    );
    assert_eq!(
        open(9, table::TYPE_VIRQ, &[JUNK | 1, 1, 5]),
        Ok((Kind::Virq { virq: 1, cpu: 69 }, false))
    );
    assert_eq!(
        open(8, table::TYPE_VIRQ, &[1]),
        Ok((Kind::Virq { virq: 1, cpu: 0 }, false))
    );
    assert_eq!(
        open(9, table::TYPE_VIRQ, &[1, 7, 0]),
        Err(Status::INVALID_PARAMETER)
    );
    for kind in [table::TYPE_INVALID, 5, u32::MAX] {
        assert_eq!(open(9, kind, &[]), Err(Status::INVALID_PARAMETER));
    }
}

#[test]
fn a_count_is_reached_in_a_circle() {
    assert!(reached(5, 5) && reached(6, 5) && !reached(4, 5));
    assert!(reached(1, u32::MAX) && !reached(u32::MAX, 1));
}

#[test]
fn waiting_ends_with_the_count_or_with_the_time() {
    let session = fake::boot();
    session.auto_clock();
    let xen = FakeXen::new(Options::default());
    let service = Evtchn::try_new(xen.clone(), Config::default()).expect("memory");
    service.enable(Config::default()).expect("interrupts");
    let executor = DpcExecutor::try_new(crate::evtchn::abi::TAG, None).expect("memory");
    let channel = open(&service, Kind::Unbound { domain: 0 }, false, 1, 2).expect("open");
    assert!(open(&service, Kind::Unbound { domain: 0 }, false, 0, 2).is_err());
    channel.unmask(false, true);
    let wait = |wanted, timeout| wait_for(&channel, &executor, wanted, timeout, || 1000);
    assert_eq!(wait(0, Some(0)), Ok(true));
    assert_eq!(wait(1, Some(0)), Ok(false));
    let before = Instant::now();
    assert_eq!(wait(1, Some(-500_000)), Ok(false));
    assert!(before.elapsed() >= Duration::from_millis(50));
    assert_eq!(wait(1, Some(500)), Ok(false), "a time of the past");
    assert_eq!(
        wait(1, Some(100_000)),
        Ok(false),
        "ten milliseconds from now"
    );
    {
        let _raised = kexec::irql::Raised::to_dispatch();
        assert_eq!(wait(1, Some(0)), Ok(false));
        xen.raise(channel.port());
        xen.run(&service);
        assert_eq!(wait(1, None), Ok(true));
    }
    assert_eq!(wait(1, None), Ok(true));
    drop(channel);
    executor.stop(Passive::assert());
    drop(executor);
    drop(service);
    assert_eq!(session.leaks(), [""; 0]);
}
