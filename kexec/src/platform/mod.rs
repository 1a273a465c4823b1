// SPDX-License-Identifier: BSD-2-Clause
//! [`Platform`]: all that the executor core asks of its surroundings.
//!
//! The same core runs in four places: in the NT kernel (the back ends of [`crate::exec`]), and, on hosts, on threads
//! ([`Threads`]), one poll at a time under a clock that a test moves ([`Stepper`]), and on a platform that counts ([`Counting`]).
#![expect(
    unsafe_code,
    reason = "an unsafe trait: the contract is what the core relies on"
)]

#[cfg(not(windows))]
mod counting;
#[cfg(not(windows))]
mod heap;
#[cfg(not(windows))]
mod stepper;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
#[cfg(not(windows))]
mod threads;

use core::alloc::Layout;
use core::ptr::NonNull;

#[cfg(not(windows))]
pub use counting::Counting;
#[cfg(not(windows))]
pub use stepper::Stepper;
#[cfg(not(windows))]
pub use threads::Threads;

/// What an executor runs on. One value is embedded in each [`Core`](crate::exec::Core).
///
/// # Safety
/// - `allocate` returns a block of the layout's size aligned to 16 that stays valid until `free`.
/// - `pend` makes `Core::run` be called soon, later, once or more, never from inside `pend`. It may be called at any IRQL from any
///   processor and neither allocates, frees, locks nor waits.
/// - `runner` differs between contexts that can run at the same time, and never is zero.
pub unsafe trait Platform: Send + Sync + 'static {
    /// A block for a task, or `None`.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    fn allocate(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Gives back a block of [`Self::allocate`].
    ///
    /// # IRQL
    /// That of the executor.
    ///
    /// # Safety
    /// `block` came from `allocate` of this value with `layout` and is not used again.
    unsafe fn free(&self, block: NonNull<u8>, layout: Layout);

    /// Asks for a run.
    ///
    /// # IRQL
    /// Any.
    fn pend(&self);

    /// Who is running: a processor for DPC executors, a thread for passive ones.
    ///
    /// # IRQL
    /// That of the executor.
    fn runner(&self) -> usize;

    /// A clock in microseconds, for the budget.
    ///
    /// # IRQL
    /// That of the executor.
    fn micros(&self) -> u64;

    /// Called between looks at a word that another processor will change.
    ///
    /// # IRQL
    /// Any.
    fn relax(&self) {
        core::hint::spin_loop();
    }
}
