// SPDX-License-Identifier: BSD-2-Clause
//! Waiting between tasks: what a future waits for that is not a timer, a device or another task's end.
//!
//! | type | waiters | signalled at | holds |
//! |---|---|---|---|
//! | [`Notify`] | one | any IRQL | one permit |
//! | [`oneshot`] | one | <= DISPATCH_LEVEL | one value, once |
//! | [`BitEvents`] | one | any IRQL | up to 31 events, one read-modify-write each |
//! | [`WatchValue`] | one for each seat | any IRQL | the last value |
//! | [`Event`] | many | <= DISPATCH_LEVEL | a state |
//! | [`Semaphore`], [`Mutex`] | many | <= DISPATCH_LEVEL | permits |
//! | [`Channel`] | many senders, one receiver | <= DISPATCH_LEVEL | `N` values |
//!
//! [`SetOnce`] is for readers that never wait: a value put there once and then found by one load, at any IRQL.
//!
//! [`WakerSlot`] is what all of them are made of that have one waiter.
//!
//! [`OneCall`] is for a callback that may be taken back until it is made.
//!
//! Nothing here allocates after construction: a waiter is a node inside its future. Dropping a future at any await point leaves
//! the primitive as if it had never waited, and passes on a permit that it was given but never took.

mod bits;
mod channel;
mod combine;
mod event;
mod leave;
mod mutex;
mod notify;
mod one_call;
pub mod oneshot;
mod semaphore;
mod set_once;
#[cfg(test)]
pub(crate) mod testing;
mod waiters;
mod waker_slot;
mod watch;

pub use bits::BitEvents;
pub use channel::{Channel, Full};
pub use combine::{Either2, Either3, join2, join3, select2, select3};
pub use event::{Event, Reset};
pub(crate) use leave::Leave;
pub use mutex::{Mutex, MutexGuard};
pub use notify::Notify;
pub use one_call::OneCall;
pub use semaphore::{Permit, Semaphore};
pub use set_once::SetOnce;
pub use waker_slot::WakerSlot;
pub use watch::WatchValue;
