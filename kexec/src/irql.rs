// SPDX-License-Identifier: BSD-2-Clause
//! IRQL tokens: proof, checked once, that code runs at or below a level.
//!
//! A token is neither `Send` nor storable across a raise without being wrong, so it is passed down by value: a function that
//! may block takes a [`Passive`] or an [`Apc`].

use core::marker::PhantomData;

use crate::nt::sys;

/// PASSIVE_LEVEL.
pub const PASSIVE_LEVEL: u8 = 0;
/// APC_LEVEL.
pub const APC_LEVEL: u8 = 1;
/// DISPATCH_LEVEL.
pub const DISPATCH_LEVEL: u8 = 2;
/// HIGH_LEVEL.
pub const HIGH_LEVEL: u8 = 15;

/// The current IRQL (CR8).
///
/// # IRQL
/// Any.
#[must_use]
pub fn current() -> u8 {
    sys::KeGetCurrentIrql()
}

/// Proof of running at PASSIVE_LEVEL.
///
/// # IRQL
/// PASSIVE_LEVEL.
#[derive(Clone, Copy, Debug)]
pub struct Passive(PhantomData<*mut ()>);

impl Passive {
    /// The token, when the current IRQL is PASSIVE_LEVEL.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn here() -> Option<Self> {
        (current() == PASSIVE_LEVEL).then_some(Self(PhantomData))
    }

    /// The token; a bug check when the current IRQL is not PASSIVE_LEVEL.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    #[must_use]
    #[track_caller]
    pub fn assert() -> Self {
        let level = current();
        assert!(level == PASSIVE_LEVEL, "IRQL {level}, PASSIVE_LEVEL needed");
        Self(PhantomData)
    }
}

/// Proof of running at or below APC_LEVEL: waiting is allowed.
///
/// # IRQL
/// <= APC_LEVEL.
#[derive(Clone, Copy, Debug)]
pub struct Apc(PhantomData<*mut ()>);

impl Apc {
    /// The token, when the current IRQL is at most APC_LEVEL.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn here() -> Option<Self> {
        (current() <= APC_LEVEL).then_some(Self(PhantomData))
    }
}

impl From<Passive> for Apc {
    fn from(_: Passive) -> Self {
        Self(PhantomData)
    }
}

/// A raised level, held: raised when made, restored when dropped. Not `Send`, so never held across an `.await`.
///
/// # IRQL
/// That of its constructor.
#[derive(Debug)]
pub struct Raised {
    old: u8,
    not_send: PhantomData<*mut ()>,
}

impl Raised {
    /// Raises this processor to DISPATCH_LEVEL. Values must be dropped in reverse order of their making.
    ///
    /// # IRQL
    /// <= DISPATCH_LEVEL.
    #[must_use]
    pub fn to_dispatch() -> Self {
        Self {
            old: sys::KeRaiseIrqlToDpcLevel(),
            not_send: PhantomData,
        }
    }

    /// Raises this processor to DISPATCH_LEVEL unless it is there or above: neither a DPC nor another thread comes in between.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn at_least_dispatch() -> Option<Self> {
        (current() < DISPATCH_LEVEL).then(Self::to_dispatch)
    }

    /// Raises this processor to HIGH_LEVEL: no interrupt comes. Values must be dropped in reverse order of their making.
    ///
    /// # IRQL
    /// Any.
    #[must_use]
    pub fn to_high() -> Self {
        Self {
            old: sys::KfRaiseIrql(HIGH_LEVEL),
            not_send: PhantomData,
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        sys::KeLowerIrql(self.old);
    }
}

/// Interrupts off on this processor, at HIGH_LEVEL: nothing comes but what cannot be masked.
///
/// For phases in which a single processor works and the others wait for it, such as a resume. No time passes meanwhile: the clock
/// is an interrupt.
///
/// # IRQL
/// HIGH_LEVEL.
#[derive(Debug)]
pub struct InterruptsOff {
    were_on: bool,
    /// Lowered after the interrupts are on again.
    _high: Raised,
}

impl InterruptsOff {
    /// Switches interrupts off; `high` was made by [`Raised::to_high`], and is restored with them.
    ///
    /// # IRQL
    /// HIGH_LEVEL.
    #[must_use]
    pub fn new(high: Raised) -> Self {
        assert!(current() == HIGH_LEVEL, "HIGH_LEVEL needed");
        Self {
            were_on: sys::disable_interrupts(),
            _high: high,
        }
    }
}

impl Drop for InterruptsOff {
    fn drop(&mut self) {
        if self.were_on {
            sys::enable_interrupts();
        }
    }
}
