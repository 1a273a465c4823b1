// SPDX-License-Identifier: BSD-2-Clause
//! Hypercalls with memory: the physical map, the reservation, the FIFO pages, the grant table.
//!
//! A page of ours is given back to Xen and becomes a hole under its mapping; Xen's pages then appear
//! there, and in the end memory again.

use core::sync::atomic::Ordering;

use kexec::Status;
use kexec::nt::Pages;
use xenbus_interface::xen::{self, GrantCopy};

use crate::entry::run;
use crate::{Outcome, Wrong, bad, check, good, same};

pub(crate) fn run_all() {
    run("memory.physmap", physmap());
    run("memory.reservation", reservation());
    run("evtchn.fifo", fifo());
    run("gnttab.size_and_version", size_and_version());
    run("gnttab.map", map());
    run("gnttab.copy", copy());
}

/// A page without memory, filled again before it is freed.
struct Hole(Pages);

impl Drop for Hole {
    fn drop(&mut self) {
        // A test that failed has left it empty; the page that another one put there goes first.
        let _ = xen::memory_remove_from_physmap(self.frame());
        let _ = xen::memory_populate_physmap(0, self.0.frames());
    }
}

impl Hole {
    fn new() -> Result<Self, Wrong> {
        let pages = good(Pages::try_alloc(1))?;
        let done = good(xen::memory_decrease_reservation(0, pages.frames()))?;
        same(done, 1)?;
        Ok(Self(pages))
    }

    fn frame(&self) -> u64 {
        self.0.frames()[0]
    }

    fn words(&self) -> &[core::sync::atomic::AtomicU64] {
        self.0.shared().atomics_u64()
    }

    /// Memory again.
    fn fill(self) -> Outcome {
        let done = good(xen::memory_populate_physmap(0, self.0.frames()))?;
        same(done, 1)?;
        self.words()[0].store(0x1234, Ordering::Relaxed);
        same(self.words()[0].load(Ordering::Relaxed), 0x1234)
    }
}

fn physmap() -> Outcome {
    let hole = Hole::new()?;
    good(xen::memory_add_to_physmap(
        hole.frame(),
        xen::MAPSPACE_SHARED_INFO,
        0,
    ))?;
    // The first vCPU's time record has a scale, and Xen has written it.
    let written = hole
        .words()
        .iter()
        .any(|word| word.load(Ordering::Relaxed) != 0);
    check(written, "the shared page is empty")?;
    good(xen::memory_remove_from_physmap(hole.frame()))?;
    bad(
        xen::memory_add_to_physmap(hole.frame(), 99, 0),
        Status::INVALID_PARAMETER,
    )?;
    bad(
        xen::memory_add_to_physmap(hole.frame(), xen::MAPSPACE_GRANT_TABLE, 1 << 20),
        Status::INVALID_PARAMETER,
    )?;
    check(
        xen::memory_remove_from_physmap(hole.frame()).is_err(),
        "a hole was removed",
    )?;
    hole.fill()
}

fn reservation() -> Outcome {
    // The second frame is none: the first counts.
    let page = good(Pages::try_alloc(1))?;
    let frame = page.frames()[0];
    let done = good(xen::memory_decrease_reservation(0, &[frame, 1 << 40]))?;
    same(done, 1)?;
    same(good(xen::memory_populate_physmap(0, &[frame]))?, 1)?;
    // Nothing processed is success, too, with a count that says so.
    same(good(xen::memory_decrease_reservation(0, &[1 << 40]))?, 0)?;
    same(good(xen::memory_populate_physmap(0, &[]))?, 0)?;
    // An order that no guest may ask for.
    check(
        xen::memory_populate_physmap(60, &[frame]) != Ok(1),
        "order 60",
    )
}

fn fifo() -> Outcome {
    let vcpu = good(xen::system_processor_vcpu_id(0))?;
    let pages = good(Pages::try_alloc(2))?;
    let (control, array) = (pages.frames()[0], pages.frames()[1]);
    // Without a control block there is no FIFO array.
    check(
        xen::event_channel_expand_array(array).is_err(),
        "an array without control",
    )?;
    bad(
        xen::event_channel_init_control(control, 4000),
        Status::OBJECT_NAME_NOT_FOUND,
    )?;
    bad(
        xen::event_channel_init_control(1 << 40, vcpu),
        Status::INVALID_PARAMETER,
    )?;
    good(xen::event_channel_init_control(control, vcpu))?;
    for word in &pages.shared().atomics_u32()[1024..] {
        word.store(1 << 30, Ordering::Relaxed);
    }
    good(xen::event_channel_expand_array(array))?;
    // A port's word is in the array now: an event that is masked becomes pending there.
    let far = good(xen::event_channel_allocate_unbound(xen::DOMID_SELF))?;
    let near = good(xen::event_channel_bind_inter_domain(xen::DOMID_SELF, far))?;
    good(xen::event_channel_send(near))?;
    let word = pages.shared().atomics_u32()[1024 + far as usize].load(Ordering::Relaxed);
    check(word >> 30 == 3, word)?;
    // Xen writes to the pages until the reset, which drops the ABI.
    good(xen::event_channel_reset())
}

fn size_and_version() -> Outcome {
    let (now, most) = good(xen::grant_table_query_size())?;
    check(now >= 1 && most >= now, (now, most))?;
    good(xen::grant_table_set_version(1))?;
    same(good(xen::grant_table_version())?, 1)?;
    bad(xen::grant_table_set_version(7), Status::INVALID_PARAMETER)
}

/// This domain's number, from a channel to itself.
fn own_domain() -> Result<u16, Wrong> {
    let far = good(xen::event_channel_allocate_unbound(xen::DOMID_SELF))?;
    let near = good(xen::event_channel_bind_inter_domain(xen::DOMID_SELF, far))?;
    let (domain, _) = good(xen::event_channel_query_inter_domain(near))?;
    good(xen::event_channel_close(near))?;
    good(xen::event_channel_close(far))?;
    Ok(domain)
}

/// A reference that nothing else uses: the first eight are the toolstack's.
const REFERENCE: u32 = 20;
/// `GTF_permit_access`, and `GTF_readonly`.
const PERMIT: u64 = 1;
const READ_ONLY: u64 = 4;

/// The domain grants a page to itself and maps it a second time.
fn map() -> Outcome {
    let domain = own_domain()?;
    let table = Hole::new()?;
    good(xen::memory_add_to_physmap(
        table.frame(),
        xen::MAPSPACE_GRANT_TABLE,
        0,
    ))?;
    let entry = |flags: u64, to: u16, frame: u64| {
        let value = flags | u64::from(to) << 16 | frame << 32;
        table.words()[REFERENCE as usize].store(value, Ordering::SeqCst);
    };
    let page = good(Pages::try_alloc(1))?;
    page.shared().atomics_u64()[9].store(0xFEED, Ordering::Relaxed);
    let window = Hole::new()?;
    let at = window.frame() << 12;
    // A grant is mapped by the number of its domain; "self" is nobody here.
    let try_map = |read_only| xen::grant_table_map_foreign_page(domain, REFERENCE, at, read_only);
    entry(PERMIT, domain, page.frames()[0]);
    bad(
        xen::grant_table_map_foreign_page(xen::DOMID_SELF, REFERENCE, at, false),
        Status::UNSUCCESSFUL,
    )?;
    let handle = good(try_map(false))?;
    same(window.words()[9].load(Ordering::Relaxed), 0xFEED)?;
    // A page that its own domain maps is moved, not shared: where it was, there is a hole now.
    let refill = || same(good(xen::memory_populate_physmap(0, page.frames()))?, 1);
    good(xen::grant_table_unmap_foreign_page(handle, at))?;
    refill()?;
    bad(
        xen::grant_table_unmap_foreign_page(handle, at),
        Status::INVALID_HANDLE,
    )?;
    bad(
        xen::grant_table_unmap_foreign_page(u32::MAX, at),
        Status::INVALID_HANDLE,
    )?;
    entry(PERMIT | READ_ONLY, domain, page.frames()[0]);
    check(try_map(false).is_err(), "a read-only grant was written")?;
    let handle = good(try_map(true))?;
    good(xen::grant_table_unmap_foreign_page(handle, at))?;
    refill()?;
    entry(PERMIT, 0, page.frames()[0]);
    check(try_map(false).is_err(), "another domain's grant was mapped")?;
    entry(0, 0, 0);
    check(try_map(false).is_err(), "no grant was mapped")?;
    check(
        xen::grant_table_map_foreign_page(0x7EF0, 1, at, false).is_err(),
        "nobody's grant was mapped",
    )?;
    window.fill()?;
    good(xen::memory_remove_from_physmap(table.frame()))?;
    table.fill()
}

fn copy() -> Outcome {
    let pages = good(Pages::try_alloc(2))?;
    let words = pages.shared().atomics_u64();
    words[3].store(0x5EED, Ordering::Relaxed);
    let own = GrantCopy {
        source: pages.frames()[0],
        source_domain: xen::DOMID_SELF,
        source_offset: 24,
        dest: pages.frames()[1],
        dest_domain: xen::DOMID_SELF,
        dest_offset: 64,
        length: 8,
        ..GrantCopy::default()
    };
    let nothing = GrantCopy {
        source: u64::from(REFERENCE),
        source_domain: 0,
        flags: GrantCopy::SOURCE_REFERENCE,
        ..own
    };
    let too_long = GrantCopy {
        length: 4096,
        ..own
    };
    let mut operations = [own, nothing, too_long];
    good(xen::grant_table_copy(&mut operations))?;
    same(words[512 + 8].load(Ordering::Relaxed), 0x5EED)?;
    let statuses = operations.map(|operation| operation.status);
    check(
        statuses[0] == 0 && statuses[1] < 0 && statuses[2] < 0,
        statuses,
    )
}
