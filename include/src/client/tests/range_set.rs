// SPDX-License-Identifier: BSD-2-Clause
//! Range sets over a scripted table: a set of numbers.

use core::ffi::{CStr, c_char};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::BTreeSet;
use std::sync::Mutex;

use kexec::Status;
use kexec::nt::sys::fake;

use crate::client::RangeSets;
use crate::interface::{Interface, NtStatus};
use crate::range_set::{NAME_MAX, RangeSet, RangeSetV1};

#[derive(Default)]
struct Provider {
    references: AtomicUsize,
    sets: AtomicUsize,
    /// The one set that the tests make.
    numbers: Mutex<BTreeSet<i64>>,
    /// What was left in it at its end.
    left: AtomicUsize,
    full: AtomicBool,
}

impl Provider {
    fn table(&self) -> RangeSetV1 {
        RangeSetV1 {
            interface: Interface::of::<RangeSetV1>(ptr::from_ref(self).cast_mut().cast()),
            acquire,
            release,
            create,
            put,
            pop,
            get,
            destroy,
        }
    }

    /// # Safety
    /// `this` is a copy of the provider's table.
    unsafe fn of<'a>(this: *mut Interface) -> &'a Self {
        // SAFETY: by the contract.
        let context = unsafe { (*this).context };
        // SAFETY: the provider outlives what is made from it.
        unsafe { &*context.cast::<Self>() }
    }

    fn open(&self) -> RangeSets {
        // SAFETY: the provider outlives it.
        unsafe { RangeSets::from_table(self.table()) }.expect("taken")
    }
}

unsafe extern "C" fn acquire(this: *mut Interface) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    provider.references.fetch_add(1, Ordering::SeqCst);
    0
}

unsafe extern "C" fn release(this: *mut Interface) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    assert_eq!(
        provider.sets.load(Ordering::SeqCst),
        0,
        "a set outlives its reference"
    );
    provider.references.fetch_sub(1, Ordering::SeqCst);
}

unsafe extern "C" fn create(
    this: *mut Interface,
    name: *const c_char,
    set: *mut *mut RangeSet,
) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    // SAFETY: the caller's string.
    if unsafe { CStr::from_ptr(name) }.to_bytes().len() >= NAME_MAX {
        return Status::BUFFER_OVERFLOW.raw();
    }
    provider.sets.fetch_add(1, Ordering::SeqCst);
    // SAFETY: the caller's variable.
    unsafe { set.write(ptr::dangling_mut()) };
    0
}

unsafe extern "C" fn put(
    this: *mut Interface,
    _: *mut RangeSet,
    start: i64,
    count: u64,
) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    if count == 0 {
        return Status::INVALID_PARAMETER.raw();
    }
    if provider.full.load(Ordering::SeqCst) {
        return Status::NO_MEMORY.raw();
    }
    let end = start + i64::try_from(count).expect("few");
    provider.numbers.lock().expect("lock").extend(start..end);
    0
}

unsafe extern "C" fn pop(
    this: *mut Interface,
    _: *mut RangeSet,
    count: u64,
    start: *mut i64,
) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    let mut numbers = provider.numbers.lock().expect("lock");
    let found = i64::try_from(count).ok().and_then(|count| {
        let fits = |first: i64| {
            first
                .checked_add(count)
                .is_some_and(|end| numbers.range(first..end).count() as i64 == count)
        };
        let first = numbers.iter().copied().find(|first| fits(*first))?;
        Some((first, count))
    });
    let Some((first, count)) = found else {
        return Status::INSUFFICIENT_RESOURCES.raw();
    };
    numbers.retain(|number| *number < first || *number >= first + count);
    // SAFETY: the caller's variable.
    unsafe { start.write(first) };
    0
}

unsafe extern "C" fn get(
    this: *mut Interface,
    _: *mut RangeSet,
    start: i64,
    count: u64,
) -> NtStatus {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    let mut numbers = provider.numbers.lock().expect("lock");
    let end = start + i64::try_from(count).expect("few");
    if numbers.range(start..end).count() as u64 != count {
        return Status::INVALID_PARAMETER.raw();
    }
    numbers.retain(|number| *number < start || *number >= end);
    0
}

unsafe extern "C" fn destroy(this: *mut Interface, _: *mut RangeSet) {
    // SAFETY: called with the table.
    let provider = unsafe { Provider::of(this) };
    let left = provider.numbers.lock().expect("lock").len();
    provider.left.store(left, Ordering::SeqCst);
    provider.sets.fetch_sub(1, Ordering::SeqCst);
}

#[test]
fn numbers_are_given_out_once_and_go_back_when_dropped() {
    let provider = Provider::default();
    let sets = provider.open();
    let set = sets.create(c"identifiers").expect("made");
    set.put(10, 10).expect("put");
    let first = set.pop(4).expect("popped");
    let second = set.take(15, 2).expect("taken");
    assert_eq!((first.numbers(), second.numbers()), (10..=13, 15..=16));
    assert_eq!(
        set.take(13, 2).err(),
        Some(Status::INVALID_PARAMETER),
        "not all there"
    );
    assert_eq!(set.pop(4).err(), Some(Status::INSUFFICIENT_RESOURCES));
    drop(first);
    assert!(second.give_back().is_ok());
    assert_eq!(set.pop(10).expect("all").numbers(), 10..=19);
    assert_eq!(set.put(0, 0).err(), Some(Status::INVALID_PARAMETER));
}

#[test]
fn kept_numbers_stay_out_and_the_set_is_empty_at_its_end() {
    let provider = Provider::default();
    let sets = provider.open();
    {
        let set = sets.create(c"identifiers").expect("made");
        set.put(0, 7).expect("put");
        set.put(100, 1000).expect("put");
        assert_eq!(set.pop(2).expect("popped").keep(), 0..=1);
        assert_eq!(provider.numbers.lock().expect("lock").len(), 1005);
    }
    assert_eq!(provider.left.load(Ordering::SeqCst), 0, "not emptied");
    drop(sets);
    assert_eq!(provider.references.load(Ordering::SeqCst), 0);
}

#[test]
fn numbers_that_find_no_memory_come_back_as_an_error() {
    let session = fake::boot();
    let provider = Provider::default();
    let sets = provider.open();
    let set = sets.create(c"identifiers").expect("made");
    set.put(0, 8).expect("put");
    let taken = set.pop(3).expect("popped");
    provider.full.store(true, Ordering::SeqCst);
    let (taken, status) = taken.give_back().expect_err("no memory");
    assert_eq!((taken.numbers(), status), (0..=2, Status::NO_MEMORY));
    // Nobody is left to have the error.
    drop(taken);
    let log = session.log();
    assert!(
        log.iter().any(|line| line.contains("0..=2 are lost")),
        "{log:?}"
    );
}

#[test]
fn a_name_that_is_too_long_makes_no_set() {
    let provider = Provider::default();
    let sets = provider.open();
    let mut name = [b'a'; NAME_MAX + 1];
    name[NAME_MAX] = 0;
    let name = CStr::from_bytes_with_nul(&name).expect("a NUL");
    assert_eq!(sets.create(name).err(), Some(Status::BUFFER_OVERFLOW));
}
