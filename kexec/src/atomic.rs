// SPDX-License-Identifier: BSD-2-Clause
//! The atomics of the core: `core`'s; loom's in model-checking builds; in unit tests `core`'s behind a counter of
//! read-modify-writes, so that their number can be asserted.

#[cfg(all(not(loom), not(test)))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

#[cfg(all(not(loom), test))]
pub(crate) use core::sync::atomic::Ordering;
#[cfg(all(not(loom), test))]
pub(crate) use counted::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, count};

#[cfg(all(not(loom), test))]
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

#[cfg(not(loom))]
pub(crate) use atomic_waker::AtomicWaker;
#[cfg(loom)]
pub(crate) use modelled::AtomicWaker;

#[cfg(loom)]
mod modelled {
    use core::task::Waker;

    use super::{AtomicUsize, Ordering};

    /// The crate's atomic waker with each operation made a step that loom can put others before; it synchronises as the real
    /// one does, by a read-modify-write.
    pub(crate) struct AtomicWaker(atomic_waker::AtomicWaker, AtomicUsize);

    impl AtomicWaker {
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
}
