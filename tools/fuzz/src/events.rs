// SPDX-License-Identifier: BSD-2-Clause
//! Words of the event channels' shared pages, written by a hypervisor that makes no sense: interrupts
//! and DPCs end, and channels can be closed.

use kexec::nt::sys::fake;
use xenbus::evtchn::channel::Target;
use xenbus::evtchn::{Channel, Config, Evtchn, Kind};
use xenbus::testing::xen::{FakeXen, Options, PortKind};

use crate::input::Input;

/// Interrupts of one input, at most.
const ROUNDS: usize = 64;

pub(crate) fn words(data: &[u8]) {
    let mut input = Input::new(data);
    let _session = fake::boot();
    let xen = FakeXen::new(Options::default());
    let config = Config {
        fifo: input.byte() & 1 == 0,
        ..Config::default()
    };
    let service = Evtchn::try_new(xen.clone(), config).expect("memory");
    service.enable(config).expect("enabled");
    let channels: Vec<_> = (3..7)
        .map(|port| {
            xen.add_port(port, PortKind::InterDomain(0, port));
            let kind = Kind::Fixed { port };
            let channel = Channel::open(&service, kind, Target::Future, port % 2 == 0);
            let channel = channel.expect("opened");
            channel.unmask(false, true);
            channel
        })
        .collect();
    let mut rounds = 0;
    while !input.is_empty() && rounds < ROUNDS {
        match input.byte() % 3 {
            0 => xen.scribble(usize::from(input.byte()), input.word(), input.word()),
            1 => xen.raise(3 + u32::from(input.byte() % 4)),
            _ => {
                rounds += 1;
                // Bounded: a budget for each, whatever the words say.
                service.isr(0);
                service.dpc(0);
            }
        }
    }
    drop(channels);
    service.disable();
    service.release();
    assert_eq!(service.channels(), 0);
}
