// SPDX-License-Identifier: BSD-2-Clause
//! [`SetOnce`]: a place for a value that is put there once and then read without waiting.
//!
//! ```text
//!            1 set                2 set
//!   EMPTY ----------> WRITING ----------> SET
//! ```
//! 1, 2 [`SetOnce::set`]: one exchange, the write, one store. A reader that comes before 2 finds nothing; nobody ever waits.
#![expect(
    unsafe_code,
    reason = "the value is reached through the state that says it is there"
)]

use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU8, Ordering};

const EMPTY: u8 = 0;
const WRITING: u8 = 1;
const SET: u8 = 2;

/// A value, once.
///
/// # Invariants
/// The value is initialised exactly when the state is SET, and is written only by the one caller that moved it to WRITING.
///
/// # IRQL
/// Any.
pub struct SetOnce<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value moves in from one thread and out with the cell.
unsafe impl<T: Send> Send for SetOnce<T> {}
// SAFETY: readers share the value, and any thread may put it there.
unsafe impl<T: Send + Sync> Sync for SetOnce<T> {}

impl<T> SetOnce<T> {
    /// Empty.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, when it is there: one load.
    ///
    /// # IRQL
    /// Any.
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: SET, so nobody writes any more.
        let value = unsafe { &*self.value.get() };
        // SAFETY: SET, so it is initialised (invariant).
        Some(unsafe { value.assume_init_ref() })
    }

    /// Puts `value` there. Never waits.
    ///
    /// # Errors
    /// The value back, when another is there or is being put there.
    ///
    /// # IRQL
    /// Any.
    pub fn set(&self, value: T) -> Result<&T, T> {
        let begun =
            self.state
                .compare_exchange(EMPTY, WRITING, Ordering::Relaxed, Ordering::Relaxed);
        if begun.is_err() {
            return Err(value);
        }
        // SAFETY: this caller alone moved the state to WRITING, and readers stay out until SET.
        let value = unsafe { &mut *self.value.get() }.write(value);
        self.state.store(SET, Ordering::Release);
        Ok(value)
    }
}

impl<T> Drop for SetOnce<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == SET {
            // SAFETY: SET, so it is initialised (invariant), and not used again.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

impl<T> Default for SetOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for SetOnce<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SetOnce").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicUsize;
    use std::sync::Arc;
    use std::vec::Vec;

    #[test]
    fn the_first_value_stays_and_a_second_comes_back() {
        let cell = SetOnce::new();
        assert_eq!(cell.get(), None);
        assert_eq!(cell.set(1), Ok(&1));
        assert_eq!(cell.set(2), Err(2));
        assert_eq!(cell.get(), Some(&1));
    }

    #[test]
    fn what_was_put_there_is_dropped_once_and_an_empty_cell_drops_nothing() {
        let counted = Arc::new(());
        let cell = SetOnce::new();
        let _ = cell.set(counted.clone());
        drop(cell.set(counted.clone()));
        assert_eq!(Arc::strong_count(&counted), 2);
        drop(cell);
        assert_eq!(Arc::strong_count(&counted), 1);
        drop(SetOnce::<Arc<()>>::new());
    }

    #[test]
    fn of_many_setters_one_wins_and_every_reader_sees_its_whole_value() {
        for _ in 0..200 {
            let cell = Arc::new(SetOnce::new());
            let won = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..4_usize)
                .map(|me| {
                    let (cell, won) = (cell.clone(), won.clone());
                    std::thread::spawn(move || {
                        won.fetch_add(usize::from(cell.set([me; 32]).is_ok()), Ordering::SeqCst);
                        if let Some(seen) = cell.get() {
                            assert!(seen.iter().all(|word| *word == seen[0]));
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().expect("no panic");
            }
            assert_eq!(
                (won.load(Ordering::SeqCst), cell.get().is_some()),
                (1, true)
            );
        }
    }
}
