// SPDX-License-Identifier: BSD-2-Clause
//! The atomics of the core: `core`'s; loom's in model-checking builds, shuttle's in builds for random schedules; in unit tests
//! `core`'s behind a counter of read-modify-writes, so that their number can be asserted.

#[cfg(not(any(loom, shuttle, test)))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) use core::sync::atomic::Ordering;
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) use counted::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, count};

#[cfg(all(test, not(any(loom, shuttle))))]
mod counted {
    use core::cell::Cell;
    use core::ops::Deref;
    use core::sync::atomic::{self, Ordering};

    std::thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    /// Read-modify-writes on the core's atomics that `f` makes in this thread.
    pub(crate) fn count<T>(f: impl FnOnce() -> T) -> (usize, T) {
        let before = COUNT.with(Cell::get);
        let value = f();
        (COUNT.with(Cell::get) - before, value)
    }

    fn one() {
        COUNT.with(|cell| cell.set(cell.get() + 1));
    }

    macro_rules! counted {
        ($name:ident $(<$param:ident>)?, $value:ty, $($method:ident),*) => {
            pub(crate) struct $name $(<$param>)? (atomic::$name $(<$param>)?);
            impl $(<$param>)? Deref for $name $(<$param>)? {
                type Target = atomic::$name $(<$param>)?;
                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }
            #[expect(dead_code, reason = "one set of methods for all four")]
            impl $(<$param>)? $name $(<$param>)? {
                pub(crate) const fn new(value: $value) -> Self {
                    Self(atomic::$name::new(value))
                }
                $(pub(crate) fn $method(&self, value: $value, order: Ordering) -> $value {
                    one();
                    self.0.$method(value, order)
                })*
                pub(crate) fn compare_exchange(&self, old: $value, new: $value, ok: Ordering, err: Ordering) -> Result<$value, $value> {
                    one();
                    self.0.compare_exchange(old, new, ok, err)
                }
                /// Strong here: the count must not depend on spurious failures, which x86 does not have.
                pub(crate) fn compare_exchange_weak(&self, old: $value, new: $value, ok: Ordering, err: Ordering) -> Result<$value, $value> {
                    self.compare_exchange(old, new, ok, err)
                }
                pub(crate) fn fetch_update(&self, ok: Ordering, err: Ordering, mut f: impl FnMut($value) -> Option<$value>) -> Result<$value, $value> {
                    let mut old = self.0.load(err);
                    while let Some(new) = f(old) {
                        match self.compare_exchange(old, new, ok, err) {
                            Ok(old) => return Ok(old),
                            Err(seen) => old = seen,
                        }
                    }
                    Err(old)
                }
            }
        };
    }

    counted!(
        AtomicU32, u32, swap, fetch_add, fetch_sub, fetch_or, fetch_and
    );
    counted!(
        AtomicUsize,
        usize,
        swap,
        fetch_add,
        fetch_sub,
        fetch_or,
        fetch_and
    );
    counted!(AtomicBool, bool, swap, fetch_or, fetch_and);
    counted!(AtomicPtr<T>, *mut T, swap);
}

/// The waker of a primitive that is made in constants: no step of loom's.
#[cfg(not(shuttle))]
pub(crate) use crate::sync::WakerSlot;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use crate::sync::WakerSlot as AtomicWaker;
#[cfg(shuttle)]
pub(crate) use AtomicWaker as WakerSlot;
#[cfg(any(loom, shuttle))]
pub(crate) use modelled::{AtomicWaker, LockWord};

#[cfg(any(loom, shuttle))]
#[expect(unsafe_code, reason = "a lock's release has a contract")]
mod modelled {
    use core::task::Waker;
    use std::sync::OnceLock;

    #[cfg(loom)]
    use loom::thread::yield_now;
    #[cfg(shuttle)]
    use shuttle::thread::yield_now;

    use super::{AtomicBool, AtomicUsize, Ordering};

    /// The crate's atomic waker with each operation made a step that a schedule can put others before; it synchronises as the
    /// real one does, by a read-modify-write.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicWaker(atomic_waker::AtomicWaker, AtomicUsize);

    impl AtomicWaker {
        #[cfg(shuttle)]
        pub(crate) const fn new() -> Self {
            Self(atomic_waker::AtomicWaker::new(), AtomicUsize::new(0))
        }
        #[cfg(loom)]
        pub(crate) fn new() -> Self {
            Self(atomic_waker::AtomicWaker::new(), AtomicUsize::new(0))
        }
        pub(crate) fn register(&self, waker: &Waker) {
            self.1.fetch_add(1, Ordering::AcqRel);
            self.0.register(waker);
        }
        pub(crate) fn wake(&self) {
            self.1.fetch_add(1, Ordering::AcqRel);
            self.0.wake();
        }
        pub(crate) fn take(&self) -> Option<Waker> {
            self.1.fetch_add(1, Ordering::AcqRel);
            self.0.take()
        }
    }

    /// The word of a spin lock. Schedulers run their threads one at a time in one host thread, so there is no IRQL to raise. The
    /// atomic is made on first use, because loom's cannot be made in constants: a model takes the lock before it starts threads.
    pub(crate) struct LockWord(OnceLock<AtomicBool>);

    impl LockWord {
        pub(crate) const fn new() -> Self {
            Self(OnceLock::new())
        }
        pub(crate) fn acquire(&self) -> u8 {
            let word = self.0.get_or_init(|| AtomicBool::new(false));
            while word
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_err()
            {
                yield_now();
            }
            0
        }
        /// # Safety
        /// The caller holds the lock.
        pub(crate) unsafe fn release(&self, _old: u8) {
            if let Some(word) = self.0.get() {
                word.store(false, Ordering::Release);
            }
        }
    }
}
