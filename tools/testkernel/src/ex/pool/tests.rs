// SPDX-License-Identifier: BSD-2-Clause
//! Tests of the pool: every kind of damage is found and named.

use super::*;

fn pool() -> Pool {
    Pool {
        chunks: Vec::new(),
        free: [const { VecDeque::new() }; CLASSES],
        large: BTreeMap::new(),
        kept: VecDeque::new(),
        owners: Vec::new(),
    }
}

fn take(pool: &mut Pool, size: usize) -> Ptr {
    let owner = pool.owner_index("drv");
    pool.allocate(size, tag(b"Test"), owner, false).unwrap()
}

fn rule(result: Result<(), Broken>) -> &'static str {
    result.err().map_or("none", |b| b.rule)
}

#[test]
fn blocks_are_aligned_and_filled() {
    let mut p = pool();
    for size in [1, 16, 17, 100, 1000, 4000, 4095, 4096, 4097, 20_000] {
        let b = take(&mut p, size);
        assert!(b.0.is_multiple_of(16));
        assert!(size < PAGE || b.0.is_multiple_of(PAGE));
        assert_eq!(first_not(b, size, FRESH), None);
        assert_eq!(p.free(b, tag(b"Test")), Ok(()));
    }
    assert_eq!(p.check_all(), Ok(()));
    assert!(p.live().is_empty());
}

#[test]
fn a_second_free_a_wrong_tag_and_a_foreign_pointer_are_told_apart() {
    let mut p = pool();
    for size in [40, 5000] {
        let b = take(&mut p, size);
        assert_eq!(rule(p.free(b, tag(b"Tset"))), "tag_mismatch");
        assert_eq!(p.free(b, 0), Ok(()));
        assert_eq!(rule(p.free(b, 0)), "double_free");
    }
    let b = take(&mut p, 40);
    assert_eq!(rule(p.free(b.add(8), 0)), "bad_free");
    assert_eq!(rule(p.free(Ptr(0x1000), 0)), "bad_free");
}

#[test]
fn writes_outside_a_block_are_found_when_it_is_freed() {
    let mut p = pool();
    let b = take(&mut p, 41);
    b.set(41, 0u8);
    assert_eq!(rule(p.free(b, 0)), "pool_overrun");
    let b = take(&mut p, 48);
    b.sub(1).set(0, 0u8);
    assert_eq!(rule(p.free(b, 0)), "pool_underrun");
    let b = take(&mut p, 5000);
    b.set(5003, 1u8);
    assert_eq!(rule(p.free(b, 0)), "pool_overrun");
}

#[test]
fn writes_to_freed_memory_are_found() {
    let mut p = pool();
    for size in [100, 6000] {
        let b = take(&mut p, size);
        p.free(b, 0).unwrap();
        assert_eq!(p.check_all(), Ok(()));
        let b = take(&mut p, size);
        p.free(b, 0).unwrap();
        b.set(60, 1u32);
        let found = p.check_all().unwrap_err();
        assert_eq!(found.rule, "freed_write");
        assert!(found.detail.contains("of drv was"), "{}", found.detail);
        b.set(60, u32::from_le_bytes([POISON; 4]));
    }
}

#[test]
fn what_a_driver_left_is_listed() {
    let mut p = pool();
    let a = take(&mut p, 100);
    let b = take(&mut p, 9000);
    let mut live = p.live();
    live.sort();
    let mut want = [a, b];
    want.sort();
    assert_eq!(live, want);
    assert_eq!(p.describe(a), (100, tag(b"Test"), 1));
}
