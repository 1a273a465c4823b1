// SPDX-License-Identifier: BSD-2-Clause
//! Grants against a fake of Xen's half.

mod foreign;
mod waiting;

use std::collections::BTreeSet;
use std::sync::Arc as StdArc;
use std::vec::Vec;

use kexec::nt::Arc;
use kexec::nt::sys::fake;
use proptest::prelude::*;

use super::cache::ATTEMPTS;
use super::table::{Counts, RESERVED};
use super::*;
use crate::status::{
    INSUFFICIENT_RESOURCES, INVALID_PARAMETER, NOT_IMPLEMENTED, Result, UNSUCCESSFUL,
};
use crate::testing::grants::FakeGrants;

type Table = Arc<Gnttab<StdArc<FakeGrants>>>;

/// Numbers that a table of `frames` frames can hand out.
const fn usable(frames: u32) -> u32 {
    frames * host::ENTRIES as u32 - RESERVED
}

fn table(frames: u32) -> (StdArc<FakeGrants>, Table) {
    let xen = FakeGrants::new(frames);
    let table = Gnttab::try_new(xen.clone()).expect("a table");
    (xen, table)
}

fn cache(table: &Table) -> Cache<StdArc<FakeGrants>> {
    Cache::try_new(table, 0, 0).expect("a cache")
}

#[test]
fn a_permit_fills_the_entry_and_a_revoke_clears_it() {
    let _kernel = fake::boot();
    let (xen, table) = table(2);
    let cache = cache(&table);
    let grant = cache.permit(7, 0x1234, true).expect("granted");
    assert_eq!(grant.reference(), RESERVED);
    assert_eq!(xen.words(RESERVED), (5, 7, 0x1234));
    let other = cache.permit(8, 0x5678, false).expect("granted");
    assert_eq!(xen.words(other.reference()), (1, 8, 0x5678));
    assert_eq!(xen.peer_map(7, RESERVED, true), None);
    assert_eq!(xen.peer_map(8, RESERVED, false), None);
    assert_eq!(cache.used(), 2);
    for grant in [grant, other] {
        assert_eq!(cache.revoke(grant), Ok(()));
        assert_eq!(xen.words(grant.reference()), (0, 0, 0));
    }
    assert_eq!(xen.yields(), 0);
}

#[test]
fn a_frame_beyond_32_bits_is_refused() {
    let _kernel = fake::boot();
    let (_, table) = table(1);
    let refused = cache(&table).permit(0, 1 << 32, false);
    assert_eq!(refused, Err(INVALID_PARAMETER));
}

#[test]
fn a_revoke_waits_for_the_peer_a_hundred_looks_and_no_longer() {
    let _kernel = fake::boot();
    for unmap_after in [1, 50, ATTEMPTS - 1] {
        let (xen, table) = table(1);
        let cache = cache(&table);
        let grant = cache.permit(1, 9, false).expect("granted");
        assert_eq!(xen.peer_map(1, grant.reference(), true), Some(9));
        xen.state().unmap_after = Some((unmap_after, grant.reference()));
        assert_eq!(cache.revoke(grant), Ok(()), "{unmap_after}");
        assert_eq!(xen.yields(), unmap_after);
    }
    for unmap_after in [ATTEMPTS, ATTEMPTS + 1] {
        let (xen, table) = table(1);
        let cache = cache(&table);
        let grant = cache.permit(1, 9, false).expect("granted");
        xen.peer_map(1, grant.reference(), true);
        xen.state().unmap_after = Some((unmap_after, grant.reference()));
        assert_eq!(cache.revoke(grant), Err(UNSUCCESSFUL), "{unmap_after}");
        assert_eq!(xen.yields(), ATTEMPTS - 1);
        // The entry is as valid as before.
        assert_eq!(xen.words(grant.reference()).2, 9);
        assert_eq!(cache.used(), 1);
        xen.peer_unmap(grant.reference());
        assert_eq!(cache.revoke(grant), Ok(()));
    }
}

#[test]
fn a_number_whose_page_is_in_use_is_not_given_to_anybody() {
    let _kernel = fake::boot();
    let (xen, table) = table(1);
    let cache = cache(&table);
    let grant = cache.permit(1, 9, false).expect("granted");
    xen.peer_map(1, grant.reference(), false);
    assert_eq!(cache.revoke(grant), Err(UNSUCCESSFUL));
    let mut others = Vec::new();
    while let Ok(other) = cache.permit(2, 10, false) {
        assert_ne!(other.reference(), grant.reference());
        others.push(other);
    }
    assert_eq!(others.len() as u32, usable(1) - 1);
    assert_eq!(xen.words(grant.reference()).1, 1);
    xen.peer_unmap(grant.reference());
    assert_eq!(cache.revoke(grant), Ok(()));
    for other in others {
        assert_eq!(cache.revoke(other), Ok(()));
    }
}

#[test]
fn a_handle_that_is_stale_foreign_or_nonsense_is_refused() {
    let _kernel = fake::boot();
    let (_, table) = table(1);
    let (cache, other) = (cache(&table), cache(&table));
    let grant = cache.permit(1, 9, false).expect("granted");
    assert_eq!(Grant::from_bits(grant.to_bits()), grant);
    assert_eq!(other.revoke(grant), Err(INVALID_PARAMETER));
    assert_eq!(cache.revoke(grant), Ok(()));
    assert_eq!(cache.revoke(grant), Err(INVALID_PARAMETER));
    let again = cache.permit(1, 9, false).expect("granted");
    assert_eq!(again.reference(), grant.reference());
    assert_eq!(
        cache.revoke(grant),
        Err(INVALID_PARAMETER),
        "of the grant before"
    );
    for bits in [0, 1, 31, 512, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(cache.revoke(Grant::from_bits(bits)), Err(INVALID_PARAMETER));
    }
    assert_eq!(cache.revoke(again), Ok(()));
}

#[test]
fn the_whole_table_can_be_filled_and_emptied_and_filled_again() {
    let _kernel = fake::boot();
    let (xen, table) = table(8);
    let cache = cache(&table);
    for _ in 0..2 {
        let mut grants = Vec::new();
        let mut seen = BTreeSet::new();
        loop {
            match cache.permit(1, 9, false) {
                Ok(grant) => {
                    assert!(grant.reference() >= RESERVED);
                    assert!(seen.insert(grant.reference()));
                    grants.push(grant);
                }
                Err(status) => {
                    assert_eq!(status, INSUFFICIENT_RESOURCES);
                    break;
                }
            }
        }
        assert_eq!(grants.len() as u32, usable(8));
        assert_eq!(xen.state().mapped, 8);
        for grant in grants {
            assert_eq!(cache.revoke(grant), Ok(()));
        }
        assert_eq!(table.counts().free, usable(8));
    }
    drop((cache, table));
    assert_eq!(xen.state().mapped, 0);
}

#[test]
fn a_cap_bounds_one_cache_and_a_reservation_all_others() {
    let _kernel = fake::boot();
    let (_, table) = table(1);
    let both = Cache::try_new(&table, 3, 2).err();
    assert_eq!(both, Some(INVALID_PARAMETER));
    let reserved = Cache::try_new(&table, 10, 12).expect("a cache");
    let other = cache(&table);
    let mut grants = Vec::new();
    while let Ok(grant) = other.permit(1, 9, false) {
        grants.push(grant);
    }
    assert_eq!(grants.len() as u32, usable(1) - 10);
    let mut own: Vec<_> = (0..10).map(|_| reserved.permit(1, 9, false)).collect();
    assert!(own.iter().all(Result::is_ok));
    assert_eq!(
        reserved.permit(1, 9, false),
        Err(INSUFFICIENT_RESOURCES),
        "the table is full"
    );
    for _ in 0..5 {
        assert_eq!(other.revoke(grants.pop().expect("granted")), Ok(()));
    }
    own.extend((0..2).map(|_| reserved.permit(1, 9, false)));
    assert!(own.iter().all(Result::is_ok));
    assert_eq!(
        reserved.permit(1, 9, false),
        Err(INSUFFICIENT_RESOURCES),
        "the cap"
    );
    // What falls below the reservation is promised again.
    for _ in 0..12 {
        let grant = own.pop().expect("granted").expect("granted");
        assert_eq!(reserved.revoke(grant), Ok(()));
    }
    assert_eq!(table.counts().promised, 10);
    while let Ok(grant) = other.permit(1, 9, false) {
        grants.push(grant);
    }
    assert_eq!(table.counts().free, 10);
    drop(reserved);
    assert_eq!(table.counts().promised, 0);
    assert!(other.permit(1, 9, false).is_ok());
    drop(other);
    assert_eq!(table.counts().free, usable(1), "what was left is revoked");
}

#[test]
fn a_reservation_makes_the_table_grow_or_fails() {
    let _kernel = fake::boot();
    let (xen, table) = table(4);
    let cache = Cache::try_new(&table, 1500, 0).expect("a cache");
    assert_eq!(xen.state().mapped, 3);
    let more = Cache::try_new(&table, 1000, 0).err();
    assert_eq!(more, Some(INSUFFICIENT_RESOURCES));
    drop(cache);
    assert!(Cache::try_new(&table, 1000, 0).is_ok());
}

#[test]
fn grants_that_outlive_their_cache_come_back_when_the_peer_is_done() {
    let _kernel = fake::boot();
    let (xen, table) = table(1);
    let first = cache(&table);
    let used = first.permit(1, 9, false).expect("granted").reference();
    let unused = first.permit(1, 10, false).expect("granted").reference();
    xen.peer_map(1, used, true);
    drop(first);
    let counts = table.counts();
    assert_eq!((counts.orphans, counts.free), (1, usable(1) - 1));
    assert_eq!(xen.words(unused), (0, 0, 0));
    assert_eq!(xen.words(used).2, 9, "the peer still uses it");
    let cache = cache(&table);
    for _ in 0..usable(1) - 1 {
        assert_ne!(
            cache.permit(1, 11, false).expect("granted").reference(),
            used
        );
    }
    assert_eq!(cache.permit(1, 11, false), Err(INSUFFICIENT_RESOURCES));
    xen.peer_unmap(used);
    let last = cache.permit(1, 11, false).expect("swept");
    assert_eq!(last.reference(), used);
    assert_eq!(table.counts().orphans, 0);
}

#[test]
fn what_a_predecessor_left_in_use_is_not_handed_out() {
    let _kernel = fake::boot();
    let xen = FakeGrants::new(1);
    xen.set_flags(40, 1 | 8);
    xen.set_flags(41, 1);
    xen.set_flags(3, 1 | 8);
    let table = Gnttab::try_new(xen.clone()).expect("a table");
    assert_eq!(table.counts().orphans, 1);
    assert_eq!(xen.words(41).0, 0);
    assert_eq!(xen.words(3).0, 9, "the toolstack's are not touched");
    let cache = cache(&table);
    for _ in 0..usable(1) - 1 {
        assert_ne!(cache.permit(1, 9, false).expect("granted").reference(), 40);
    }
}

#[test]
fn flags_that_make_no_sense_neither_hang_nor_free() {
    let _kernel = fake::boot();
    let (xen, table) = table(1);
    let cache = cache(&table);
    let grant = cache.permit(1, 9, false).expect("granted");
    xen.set_flags(grant.reference(), u16::MAX);
    assert_eq!(cache.revoke(grant), Err(UNSUCCESSFUL));
    // Not in use, whatever else they say: the entry can end.
    xen.set_flags(grant.reference(), !(8 | 16));
    assert_eq!(cache.revoke(grant), Ok(()));
    assert_eq!(xen.words(grant.reference()), (0, 0, 0));
}

#[test]
fn a_query_reads_the_live_entry_of_mapped_frames_only() {
    let _kernel = fake::boot();
    let (xen, table) = table(2);
    xen.set_flags(1, 1);
    let cache = cache(&table);
    let grant = cache.permit(1, 9, true).expect("granted");
    let found = table.query(grant.reference()).expect("mapped");
    assert_eq!((found.frame, found.read_only()), (9, true));
    assert!(!table.query(1).expect("mapped").read_only());
    assert_eq!(table.query(512), Err(INVALID_PARAMETER));
    assert_eq!(table.query(u32::MAX), Err(INVALID_PARAMETER));
}

#[test]
fn a_table_of_version_2_is_changed_to_version_1_or_refused() {
    let _kernel = fake::boot();
    let xen = FakeGrants::new(1);
    xen.state().version = Ok(2);
    drop(Gnttab::try_new(xen.clone()).expect("a table"));
    assert_eq!(xen.state().version, Ok(1));
    xen.state().version = Ok(2);
    xen.state().version_fixed = true;
    assert!(Gnttab::try_new(xen.clone()).is_err());
    xen.state().version = Err(NOT_IMPLEMENTED);
    assert!(Gnttab::try_new(xen).is_ok());
}

#[test]
fn a_frame_that_cannot_be_added_fails_one_permit_and_harms_nothing() {
    let kernel = fake::boot();
    let (xen, table) = table(3);
    let cache = cache(&table);
    let mut grants: Vec<_> = (0..usable(1)).map(|_| cache.permit(1, 9, false)).collect();
    xen.state().bad_frame = Some(1);
    assert_eq!(cache.permit(1, 9, false), Err(INSUFFICIENT_RESOURCES));
    xen.state().bad_frame = None;
    for failing in 0..2 {
        kernel.fail_alloc(Some(failing));
        assert_eq!(cache.permit(1, 9, false), Err(INSUFFICIENT_RESOURCES));
        assert!(!kernel.fail_pending());
    }
    grants.extend((0..1024).map(|_| cache.permit(1, 9, false)));
    assert!(grants.iter().all(Result::is_ok));
    let references: BTreeSet<_> = grants.iter().flatten().map(|g| g.reference()).collect();
    assert_eq!(references.len() as u32, usable(3));
}

#[test]
fn nothing_is_allocated_for_a_grant_of_a_table_that_is_long_enough() {
    let kernel = fake::boot();
    let (_, table) = table(1);
    let cache = cache(&table);
    let before = kernel.allocations();
    let raised = kexec::irql::Raised::to_dispatch();
    for _ in 0..1000 {
        let grant = cache.permit(1, 9, false).expect("granted");
        assert_eq!(cache.revoke(grant), Ok(()));
    }
    drop(raised);
    assert_eq!(kernel.allocations(), before);
}

#[test]
fn grants_survive_a_suspend_as_handles_and_are_made_again() {
    let _kernel = fake::boot();
    let (xen, table) = table(2);
    let cache = cache(&table);
    let grants: Vec<_> = (0..600).map(|_| cache.permit(1, 9, false)).collect();
    xen.peer_map(1, RESERVED, true);
    xen.resume();
    assert_eq!(table.suspended(1), Ok(()));
    assert_eq!((table.epoch(), xen.state().mapped), (1, 2));
    for grant in grants {
        assert_eq!(cache.revoke(grant.expect("granted")), Ok(()));
    }
    let grant = cache.permit(2, 77, false).expect("granted");
    assert_eq!(xen.peer_map(2, grant.reference(), false), Some(77));
    xen.peer_unmap(grant.reference());
}

#[test]
fn a_host_with_a_smaller_table_refuses_grants_until_all_frames_are_back() {
    let _kernel = fake::boot();
    let (xen, table) = table(2);
    let cache = cache(&table);
    let grants: Vec<_> = (0..600).map(|_| cache.permit(1, 9, false)).collect();
    xen.resume();
    xen.state().most = 1;
    assert!(table.suspended(1).is_err());
    assert_eq!(cache.permit(1, 9, false), Err(INSUFFICIENT_RESOURCES));
    for grant in grants {
        assert_eq!(cache.revoke(grant.expect("granted")), Ok(()));
    }
    xen.state().most = 2;
    assert_eq!(table.suspended(2), Ok(()));
    assert!(cache.permit(1, 9, false).is_ok());
}

#[test]
fn every_allocation_from_start_to_stop_may_fail() {
    for failing in 0.. {
        let kernel = fake::boot();
        kernel.fail_alloc(Some(failing));
        let xen = FakeGrants::new(3);
        let result = (|| -> Result {
            let table = Gnttab::try_new(xen.clone())?;
            let cache = Cache::try_new(&table, 600, 0)?;
            let mut grants = Vec::new();
            for _ in 0..700 {
                grants.push(cache.permit(1, 9, false)?);
            }
            let at = table.map_foreign(3, &[1, 2, 3], true)?;
            table.unmap_foreign(at)?;
            for grant in grants {
                cache.revoke(grant)?;
            }
            Ok(())
        })();
        assert_eq!(xen.state().mapped, 0);
        assert!(xen.state().foreign.is_empty());
        if kernel.fail_pending() {
            assert_eq!(result, Ok(()));
            assert_eq!(failing, 9, "allocations seen");
            break;
        }
        assert!(
            result.is_err(),
            "allocation {failing} failed and nobody minded"
        );
    }
}

#[test]
fn four_processors_never_hold_one_number_twice() {
    let kernel = fake::boot();
    let (xen, table) = table(4);
    let owned: StdArc<[core::sync::atomic::AtomicU8; 2048]> =
        StdArc::new(core::array::from_fn(|_| {
            core::sync::atomic::AtomicU8::new(0)
        }));
    let threads: Vec<_> = (0..4)
        .map(|cpu| {
            let (table, owned) = (table.clone(), owned.clone());
            fake::spawn(cpu, move || {
                use core::sync::atomic::Ordering::SeqCst;
                let cache = cache(&table);
                for round in 0..20 {
                    let count = 100 + cpu * 100 + round;
                    let grants: Vec<_> = (0..count).map(|_| cache.permit(1, 9, false)).collect();
                    for grant in grants.iter().flatten() {
                        let before = owned[grant.reference() as usize].fetch_add(1, SeqCst);
                        assert_eq!(before, 0, "{}", grant.reference());
                    }
                    for grant in grants.into_iter().flatten() {
                        owned[grant.reference() as usize].fetch_sub(1, SeqCst);
                        assert_eq!(cache.revoke(grant), Ok(()));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no number was held twice");
    }
    let Counts { frames, free, .. } = table.counts();
    assert_eq!(free, usable(frames.0));
    assert_eq!(xen.state().mapped, frames.0);
    drop(table);
    drop(kernel);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Permit(usize),
    Revoke(usize),
    PeerMaps(usize),
    PeerUnmaps(usize),
    Reopen(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize).prop_map(Step::Permit),
        4 => (0..1000_usize).prop_map(Step::Revoke),
        1 => (0..1000_usize).prop_map(Step::PeerMaps),
        2 => (0..1000_usize).prop_map(Step::PeerUnmaps),
        1 => (0..3_usize).prop_map(Step::Reopen),
    ]
}

proptest! {
    /// Three caches (free, capped, reserved) and a peer, against a list of what is granted.
    #[test]
    fn the_free_list_does_what_a_set_does(steps in proptest::collection::vec(step(), 0..200)) {
        let _kernel = fake::boot();
        let (xen, table) = table(1);
        // Most of the table is somebody's, so that the list runs empty.
        let hoard = cache(&table);
        for _ in 0..usable(1) - 24 {
            prop_assert!(hoard.permit(9, 1, false).is_ok());
        }
        const LIMITS: [(u32, u32); 3] = [(0, 0), (0, 5), (6, 0)];
        let open = |which: usize| Cache::try_new(&table, LIMITS[which].0, LIMITS[which].1).ok();
        let mut caches = [0, 1, 2].map(open);
        // Cache, grant, whether the peer maps it.
        let mut granted: Vec<(usize, Grant, bool)> = Vec::new();
        let mut orphans: BTreeSet<u32> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Permit(which) => {
                    let Some(cache) = &caches[which] else { continue };
                    let used = granted.iter().filter(|g| g.0 == which).count() as u32;
                    let reserve = granted.iter().filter(|g| g.0 == 2).count() as u32;
                    let promised = caches[2].as_ref().map_or(0, |_| 6_u32.saturating_sub(reserve));
                    let free = 24 - granted.len() as u32 - orphans.len() as u32;
                    let may = (which == 2 && used < 6) || free > promised;
                    let swept = orphans.iter().any(|r| xen.words(*r).0 & 24 == 0);
                    let result = cache.permit(1, 5, false);
                    if which == 1 && used >= 5 {
                        prop_assert_eq!(result, Err(INSUFFICIENT_RESOURCES));
                    } else if may {
                        prop_assert!(result.is_ok());
                    } else if !swept {
                        prop_assert_eq!(result, Err(INSUFFICIENT_RESOURCES));
                    }
                    // Whatever the table swept is no orphan any more.
                    orphans.retain(|r| xen.words(*r).2 != 0 && xen.words(*r).0 & 24 != 0
                        || (xen.words(*r).2 == 7));
                    if let Ok(grant) = result {
                        prop_assert!(granted.iter().all(|g| g.1.reference() != grant.reference()));
                        granted.push((which, grant, false));
                    }
                }
                Step::Revoke(at) if !granted.is_empty() => {
                    let at = at % granted.len();
                    let (which, grant, mapped) = granted[at];
                    let Some(cache) = &caches[which] else { continue };
                    if mapped {
                        prop_assert_eq!(cache.revoke(grant), Err(UNSUCCESSFUL));
                    } else {
                        prop_assert_eq!(cache.revoke(grant), Ok(()));
                        granted.swap_remove(at);
                    }
                }
                Step::PeerMaps(at) if !granted.is_empty() => {
                    let at = at % granted.len();
                    prop_assert_eq!(xen.peer_map(1, granted[at].1.reference(), true), Some(5));
                    granted[at].2 = true;
                }
                Step::PeerUnmaps(at) if !granted.is_empty() => {
                    let at = at % granted.len();
                    xen.peer_unmap(granted[at].1.reference());
                    granted[at].2 = false;
                }
                Step::Reopen(which) => {
                    caches[which] = None;
                    for (_, grant, mapped) in granted.iter().filter(|g| g.0 == which) {
                        if *mapped {
                            orphans.insert(grant.reference());
                        }
                    }
                    granted.retain(|g| g.0 != which);
                    caches[which] = open(which);
                }
                _ => {}
            }
            let counts = table.counts();
            prop_assert!(counts.promised <= counts.free);
            prop_assert_eq!(counts.free + counts.orphans + granted.len() as u32, 24);
        }
        // Peers let go: everything comes back.
        for (_, grant, _) in &granted {
            xen.peer_unmap(grant.reference());
        }
        drop(caches);
        let counts = table.counts();
        prop_assert_eq!(counts.free + counts.orphans, 24);
        prop_assert_eq!(counts.promised, 0);
    }
}
