// SPDX-License-Identifier: BSD-2-Clause
//! The root block: where a memory image of the machine finds the bus's state.
//!
//! The image exports one [`Root`] under the name [`EXPORT`]. It starts with a signature that can be
//! searched for, says its own size and version and the build, and leads to the executors' task lists,
//! the store's page and the counters. Offsets inside other structures are in it too, so a reader needs
//! to know this file only. Written at start and stop, at PASSIVE_LEVEL; read by nobody at run time.
//!
//! ```text
//!   0 magic "XBROOT01"        40 executor: offset of first task, of block count, of run count
//!   8 size                    52 task: offset of state, polls, vtable, info in vtable, next
//!  12 version (1)             72 offset in a channel cpu block: upcalls, events, deferred; stride
//!  16 build: 4 x u32          88 addresses, each 8 bytes, 0 when not there (Address)
//!  32 number of addresses
//!  36 number of counters
//! ```
//!
//! A task list: at executor + `first task` is a pointer to a task or 0; in a task, `next` leads on,
//! `vtable` to a table in which `info` points to a `KXTASK01` block with the task's name.

use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicUsize, Ordering};

use kexec::exec::layout as executor;
use kexec::task::layout as task;
use xenbus_interface::xen::Build;

use crate::evtchn::service::{Cpu, Evtchn};
use crate::evtchn::{Hypervisor, Machine};
use crate::store::Shared;
use crate::store::ring::RingPage;
use crate::store::shared::Counters;

/// Name under which the image exports the block.
pub const EXPORT: &str = "XenbusRoot";
/// First eight bytes.
pub const MAGIC: [u8; 8] = *b"XBROOT01";
/// Version of this layout.
pub const VERSION: u32 = 1;

/// What the addresses lead to, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Address {
    /// Core of the DPC executor that runs the store's task.
    StoreExecutor,
    /// Core of the passive executor.
    WorkExecutor,
    /// The store's page: rings at 0 and 1024, control words at 2048.
    StorePage,
    /// The store's counters, u64 each.
    StoreCounters,
    /// Their names, in the same order, each with a NUL after it.
    CounterNames,
    /// Blocks of processors, one `stride` apart.
    Cpus,
    /// Not an address: how many processors.
    CpuCount,
}

const ADDRESSES: usize = Address::CpuCount as usize + 1;

/// The block.
#[repr(C)]
#[derive(Debug)]
pub struct Root {
    magic: [u8; 8],
    size: u32,
    version: u32,
    build: Build,
    address_count: u32,
    counter_count: u32,
    executor: [u32; 3],
    task: [u32; 5],
    cpu: [u32; 4],
    addresses: [AtomicUsize; ADDRESSES],
}

const fn small(n: usize) -> u32 {
    assert!(n <= 0xFFFF);
    n as u32
}

impl Root {
    /// A block that leads nowhere yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "made once, in a static")]
    pub const fn new() -> Self {
        Self {
            magic: MAGIC,
            size: small(size_of::<Self>()),
            version: VERSION,
            build: Build::CURRENT,
            address_count: small(ADDRESSES),
            counter_count: small(size_of::<Counters>() / 8),
            executor: [
                small(executor::LIVE),
                small(executor::BLOCKS),
                small(executor::RUNS),
            ],
            task: [
                small(task::STATE),
                small(task::POLLS),
                small(task::VTABLE),
                small(task::VTABLE_INFO),
                small(task::LIST_NEXT),
            ],
            cpu: [
                small(offset_of!(Cpu, upcalls)),
                small(offset_of!(Cpu, events)),
                small(offset_of!(Cpu, deferred)),
                small(size_of::<Cpu>()),
            ],
            addresses: [const { AtomicUsize::new(0) }; ADDRESSES],
        }
    }

    /// Publishes one address.
    pub fn set(&self, what: Address, address: usize) {
        self.addresses[what as usize].store(address, Ordering::Release);
    }

    /// One address.
    #[must_use]
    pub fn get(&self, what: Address) -> usize {
        self.addresses[what as usize].load(Ordering::Acquire)
    }

    /// Publishes the store's page, mapped where it stays.
    pub fn set_page(&self, page: &impl RingPage) {
        self.set(Address::StorePage, core::ptr::from_ref(page.data()).addr());
    }

    /// Publishes the store's counters.
    pub fn set_counters(&self, shared: &Shared) {
        self.set(
            Address::StoreCounters,
            core::ptr::from_ref(&shared.counters).addr(),
        );
        self.set(Address::CounterNames, Counters::NAMES.as_ptr().addr());
    }

    /// Publishes the event channels.
    pub fn set_events<H: Hypervisor + Machine>(&self, service: &Evtchn<H>) {
        let cpus = service.cpus();
        self.set(Address::Cpus, cpus.as_ptr().addr());
        self.set(Address::CpuCount, cpus.len());
    }

    /// Leads nowhere again: before what it leads to goes away.
    pub fn clear(&self) {
        for address in &self.addresses {
            address.store(0, Ordering::Release);
        }
    }
}

const _: () = {
    assert!(offset_of!(Root, build) == 16);
    assert!(offset_of!(Root, address_count) == 32);
    assert!(offset_of!(Root, executor) == 40);
    assert!(offset_of!(Root, task) == 52);
    assert!(offset_of!(Root, cpu) == 72);
    assert!(offset_of!(Root, addresses) == 88);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evtchn::Config;
    use crate::testing::page::TestPage;
    use crate::testing::rig::StoreRig;
    use crate::testing::xen::{FakeXen, Options};
    use crate::testing::xenstored::Xenstored;

    #[test]
    fn the_block_leads_to_what_was_published_and_to_nothing_after_clear() {
        static ROOT: Root = Root::new();
        let rig = StoreRig::new(Xenstored::with(&[]));
        let page = TestPage::starting_at(0, 0);
        ROOT.set_page(&page);
        ROOT.set_counters(&rig.shared);
        let service = Evtchn::try_new(FakeXen::new(Options::default()), Config::default());
        let service = service.expect("memory");
        ROOT.set_events(&service);
        ROOT.set(Address::StoreExecutor, 0x1234);
        let counters = core::ptr::from_ref(&rig.shared.counters).addr();
        assert_eq!(ROOT.get(Address::StoreCounters), counters);
        assert_ne!(ROOT.get(Address::StorePage), 0);
        // Two processors and one that is not there yet.
        assert_eq!(ROOT.get(Address::CpuCount), 3);
        let second = ROOT.get(Address::Cpus) + ROOT.cpu[3] as usize;
        let cpu = core::ptr::from_ref(service.cpu(1).expect("there")).addr();
        assert_eq!(second, cpu);
        assert_eq!(ROOT.get(Address::StoreExecutor), 0x1234);
        ROOT.clear();
        assert!(
            ROOT.addresses
                .iter()
                .all(|a| a.load(Ordering::Relaxed) == 0)
        );
    }

    #[test]
    fn the_head_says_what_it_is() {
        let root = Root::new();
        assert_eq!(root.magic, MAGIC);
        assert_eq!(root.size as usize, size_of::<Root>());
        let mut counters = 0;
        Counters::default().each(|_, _| counters += 1);
        assert_eq!(root.counter_count, counters);
        let mut names = Counters::NAMES.split_terminator('\0');
        Counters::default().each(|name, _| assert_eq!(names.next(), Some(name)));
        assert_eq!(names.next(), None);
    }
}
