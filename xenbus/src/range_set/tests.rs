// SPDX-License-Identifier: BSD-2-Clause
//! Range sets against a model, and at their corners.

use std::collections::BTreeSet;
use std::vec::Vec;

use kexec::nt::sys::fake;
use proptest::prelude::*;

use super::*;
use crate::status::NO_MEMORY;

fn ranges(set: &RangeSet) -> Vec<(i64, i64)> {
    (0..).map_while(|index| set.range(index)).collect()
}

#[test]
fn ranges_that_touch_become_one_on_either_side() {
    let _kernel = fake::boot();
    let set = RangeSet::new();
    assert_eq!(set.put(10, 5), Ok(()));
    assert_eq!(set.put(20, 5), Ok(()));
    assert_eq!(ranges(&set), [(10, 14), (20, 24)]);
    assert_eq!(set.put(15, 5), Ok(()));
    assert_eq!(ranges(&set), [(10, 24)]);
    assert_eq!(set.put(5, 5), Ok(()));
    assert_eq!(set.put(25, 1), Ok(()));
    assert_eq!(ranges(&set), [(5, 25)]);
}

#[test]
fn pop_takes_the_lowest_range_that_is_long_enough() {
    let _kernel = fake::boot();
    let set = RangeSet::new();
    for (start, count) in [(0, 2), (10, 4), (20, 4)] {
        assert_eq!(set.put(start, count), Ok(()));
    }
    assert_eq!(set.pop(3), Ok(10));
    assert_eq!(set.pop(2), Ok(0));
    assert_eq!(set.pop(5), Err(INSUFFICIENT_RESOURCES));
    assert_eq!(ranges(&set), [(13, 13), (20, 23)]);
    assert_eq!(set.pop(0), Err(INVALID_PARAMETER));
}

#[test]
fn get_takes_the_start_the_end_the_middle_and_all() {
    let _kernel = fake::boot();
    let set = RangeSet::new();
    assert_eq!(set.put(0, 100), Ok(()));
    assert_eq!(set.get(0, 10), Ok(()));
    assert_eq!(set.get(90, 10), Ok(()));
    assert_eq!(set.get(40, 10), Ok(()));
    assert_eq!(ranges(&set), [(10, 39), (50, 89)]);
    assert_eq!(set.get(10, 30), Ok(()));
    assert_eq!(ranges(&set), [(50, 89)]);
}

#[test]
fn overlap_absence_and_overflow_are_errors_that_change_nothing() {
    let _kernel = fake::boot();
    let set = RangeSet::new();
    assert_eq!(set.put(0, 10), Ok(()));
    for (start, count) in [(0, 1), (9, 1), (-5, 6), (-5, 100), (3, 3)] {
        assert_eq!(set.put(start, count), Err(OBJECTID_EXISTS));
    }
    for (start, count) in [(-1, 1), (-1, 2), (9, 2), (10, 1), (50, 1)] {
        assert_eq!(set.get(start, count), Err(OBJECT_NAME_NOT_FOUND));
    }
    for (start, count) in [(i64::MAX, 2), (0, u64::MAX), (1, 1 << 63), (0, 0)] {
        assert_eq!(set.put(start, count), Err(INVALID_PARAMETER));
        assert_eq!(set.get(start, count), Err(INVALID_PARAMETER));
    }
    assert_eq!(ranges(&set), [(0, 9)]);
}

#[test]
fn the_extremes_of_the_numbers_can_be_put_and_taken() {
    let _kernel = fake::boot();
    let set = RangeSet::new();
    assert_eq!(set.put(i64::MIN, u64::MAX), Ok(()));
    assert_eq!(set.put(i64::MAX, 1), Ok(()));
    assert_eq!(ranges(&set), [(i64::MIN, i64::MAX)]);
    assert_eq!(set.pop(u64::MAX), Ok(i64::MIN));
    assert_eq!(set.get(i64::MAX, 1), Ok(()));
    assert_eq!(set.pop(1), Err(INSUFFICIENT_RESOURCES));
}

#[test]
fn without_memory_nothing_changes_and_a_removal_makes_room() {
    let kernel = fake::boot();
    let set = RangeSet::new();
    kernel.fail_alloc(Some(0));
    assert_eq!(set.put(0, 100), Err(NO_MEMORY));
    // The array has room for four.
    for at in 0..4 {
        assert_eq!(set.put(at * 10, 5), Ok(()));
    }
    kernel.fail_alloc(Some(0));
    assert_eq!(set.get(2, 1), Err(NO_MEMORY));
    assert_eq!(ranges(&set).len(), 4);
    assert_eq!(set.get(30, 5), Ok(()));
    kernel.fail_alloc(Some(0));
    assert_eq!(
        set.get(2, 1),
        Ok(()),
        "the place of the removed range is used"
    );
    assert_eq!(ranges(&set), [(0, 1), (3, 4), (10, 14), (20, 24)]);
}

#[test]
fn a_name_may_have_127_characters() {
    assert_eq!(check_name(&[b'a'; 127]), Ok(()));
    assert_eq!(check_name(&[b'a'; 128]), Err(BUFFER_OVERFLOW));
}

#[derive(Clone, Debug)]
enum Step {
    Put(i64, u64),
    Pop(u64),
    Get(i64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (-20_i64..60, 0_u64..8).prop_map(|(start, count)| Step::Put(start, count)),
        (0_u64..6).prop_map(Step::Pop),
        (-20_i64..60, 0_u64..6).prop_map(|(start, count)| Step::Get(start, count)),
    ]
}

/// The numbers of a step, for the model.
fn numbers(start: i64, count: u64) -> Vec<i64> {
    (start..).take(count as usize).collect()
}

proptest! {
    #[test]
    fn a_range_set_does_what_a_set_of_numbers_does(steps in proptest::collection::vec(step(), 0..120)) {
        let _kernel = fake::boot();
        let set = RangeSet::new();
        let mut model = BTreeSet::new();
        for step in steps {
            match step {
                Step::Put(start, count) => {
                    let numbers = numbers(start, count);
                    let expected = if count == 0 {
                        Err(INVALID_PARAMETER)
                    } else if numbers.iter().any(|n| model.contains(n)) {
                        Err(OBJECTID_EXISTS)
                    } else {
                        model.extend(numbers);
                        Ok(())
                    };
                    prop_assert_eq!(set.put(start, count), expected);
                }
                Step::Pop(count) => {
                    let fits = |n: &i64| numbers(*n, count).iter().all(|n| model.contains(n));
                    let first = model.iter().copied().find(fits);
                    let expected = if count == 0 {
                        Err(INVALID_PARAMETER)
                    } else {
                        first.ok_or(INSUFFICIENT_RESOURCES)
                    };
                    if let Ok(start) = expected {
                        model.retain(|n| !(start..start + count as i64).contains(n));
                    }
                    prop_assert_eq!(set.pop(count), expected);
                }
                Step::Get(start, count) => {
                    let numbers = numbers(start, count);
                    let expected = if count == 0 {
                        Err(INVALID_PARAMETER)
                    } else if numbers.iter().all(|n| model.contains(n)) {
                        model.retain(|n| !numbers.contains(n));
                        Ok(())
                    } else {
                        Err(OBJECT_NAME_NOT_FOUND)
                    };
                    prop_assert_eq!(set.get(start, count), expected);
                }
            }
            let all: Vec<i64> = ranges(&set).into_iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(&all, &model.iter().copied().collect::<Vec<_>>());
            // Coalesced: a number lies between two ranges.
            for pair in ranges(&set).windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0);
            }
        }
    }
}
