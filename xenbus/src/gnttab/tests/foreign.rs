// SPDX-License-Identifier: BSD-2-Clause
//! Pages of other domains.

use core::sync::atomic::Ordering;

use kexec::Status;

use super::*;
use crate::status::OBJECT_NAME_NOT_FOUND;

#[test]
fn pages_are_mapped_one_behind_the_other_and_found_by_their_address() {
    let _kernel = fake::boot();
    let (xen, table) = table(1);
    let first = table.map_foreign(3, &[8, 9], false).expect("mapped");
    let second = table.map_foreign(3, &[10], false).expect("mapped");
    let mapped: Vec<_> = xen.state().foreign.values().copied().collect();
    assert_eq!(mapped, [(first, 8), (first + 4096, 9), (second, 10)]);
    for inside in [0, first - 4096, first + 4096, second + 1] {
        assert_eq!(table.unmap_foreign(inside), Err(OBJECT_NAME_NOT_FOUND));
    }
    assert_eq!(table.unmap_foreign(first), Ok(()));
    assert_eq!(table.unmap_foreign(first), Err(OBJECT_NAME_NOT_FOUND));
    assert_eq!(table.mappings(), 1);
    assert_eq!(table.unmap_foreign(second), Ok(()));
    assert_eq!(xen.holes.load(Ordering::SeqCst), 0);
}

#[test]
fn a_page_that_cannot_be_mapped_undoes_those_before_it() {
    let _kernel = fake::boot();
    let (xen, table) = table(1);
    for bad in 0..4 {
        xen.state().bad_foreign = Some((bad, Status::RETRY));
        let failed = table.map_foreign(3, &[0, 1, 2, 3], false);
        assert_eq!(failed, Err(Status::RETRY));
        assert!(xen.state().foreign.is_empty());
        assert_eq!(xen.holes.load(Ordering::SeqCst), 0);
    }
    assert_eq!(table.map_foreign(3, &[], false), Err(INVALID_PARAMETER));
    assert_eq!(table.mappings(), 0);
}

#[test]
fn a_mapping_of_an_earlier_epoch_is_not_unmapped_in_the_new_domain() {
    let _kernel = fake::boot();
    let (xen, table) = table(1);
    let at = table.map_foreign(3, &[8], false).expect("mapped");
    xen.resume();
    assert_eq!(table.suspended(1), Ok(()));
    // The fake panics at a handle that it does not know.
    assert_eq!(table.unmap_foreign(at), Ok(()));
    assert_eq!(xen.holes.load(Ordering::SeqCst), 0);
}

#[test]
fn mappings_that_are_left_end_with_the_table() {
    let _kernel = fake::boot();
    let (xen, table) = table(1);
    table.map_foreign(3, &[8, 9], false).expect("mapped");
    drop(table);
    assert!(xen.state().foreign.is_empty());
    assert_eq!(xen.holes.load(Ordering::SeqCst), 0);
}

#[test]
fn a_refused_unmapping_leaks_the_hole_and_says_so() {
    let kernel = fake::boot();
    let (xen, table) = table(1);
    let before = kernel.blocks();
    let at = table.map_foreign(3, &[8], false).expect("mapped");
    xen.state().stuck = true;
    assert_eq!(table.unmap_foreign(at), Err(UNSUCCESSFUL));
    assert_eq!(table.unmap_foreign(at), Err(OBJECT_NAME_NOT_FOUND));
    assert_eq!(
        xen.holes.load(Ordering::SeqCst),
        1,
        "nobody gets these frames"
    );
    assert!(kernel.log().iter().any(|line| line.contains("stay mapped")));
    drop(table);
    assert!(kernel.blocks() <= before);
    // The page is lost on purpose, so this kernel must not look for leaks at its end.
    core::mem::forget(kernel);
}
