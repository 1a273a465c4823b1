// SPDX-License-Identifier: BSD-2-Clause
//! Debug callbacks: a child prints its state when somebody asks, and before a bug check.

use core::fmt;

use kexec::nt::Tag;
use kexec::nt::wdm::DevicePtr;
use kexec::{Passive, Result};

use crate::debug::DebugV1;
use crate::ffi::debug::{Lines, Registered, Service};
use crate::ffi::query::query;

/// Something that can print its state.
pub trait Dump: Send + Sync + 'static {
    /// Prints; nothing else: no lock that somebody else may hold, no allocation, no wait, no other call of the bus. Before a bug
    /// check (`crashing`) memory that another domain writes is not looked at either.
    ///
    /// # IRQL
    /// HIGH_LEVEL.
    fn dump(&self, out: &Printer<'_>, crashing: bool);
}

/// Where a [`Dump`] prints to: one line a call, cut at 199 bytes, with the callback's prefix.
#[derive(Debug)]
pub struct Printer<'a>(Lines<'a>);

impl<'a> Printer<'a> {
    pub(crate) fn new(lines: Lines<'a>) -> Self {
        Self(lines)
    }

    /// Prints one line.
    pub fn line(&self, text: fmt::Arguments<'_>) {
        self.0.print(text);
    }
}

/// A reference to the bus driver's debug service.
#[derive(Debug)]
pub struct Debug(Service);

impl Debug {
    /// Asks the device below and takes a reference.
    ///
    /// # Errors
    /// The provider's status.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<DebugV1>(below, passive)?;
        #[expect(unsafe_code, reason = "states where the table comes from")]
        // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while its child is attached,
        // which outlives this reference.
        unsafe {
            Self::from_table(table)
        }
    }

    /// Takes a reference to a service whose table is at hand already.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is held.
    ///
    /// # Errors
    /// The provider's status.
    #[expect(unsafe_code, reason = "believes function pointers")]
    pub unsafe fn from_table(table: DebugV1) -> Result<Self> {
        // SAFETY: by the contract.
        unsafe { Service::acquire(table) }.map(Self)
    }

    /// Registers `state` until the [`Callback`] is dropped. `prefix` is cut to 31 bytes; `tag` is that of the pool block.
    ///
    /// # Errors
    /// Out of memory.
    ///
    /// # IRQL
    /// `<= DISPATCH_LEVEL`.
    pub fn register<T: Dump>(&self, tag: Tag, prefix: &str, state: T) -> Result<Callback<'_, T>> {
        self.0.register(tag, prefix, state).map(Callback)
    }

    /// Makes everybody print.
    ///
    /// # IRQL
    /// Any, not in a callback.
    pub fn trigger_all(&self) {
        self.0.trigger(core::ptr::null_mut());
    }
}

/// A registered callback; removed when dropped, `<= DISPATCH_LEVEL`, not in a callback.
#[derive(Debug)]
pub struct Callback<'a, T: Dump>(Registered<'a, T>);

impl<T: Dump> Callback<'_, T> {
    /// What prints.
    #[must_use]
    pub fn state(&self) -> &T {
        self.0.state()
    }

    /// Makes this one print.
    ///
    /// # IRQL
    /// Any, not in a callback.
    pub fn trigger(&self) {
        self.0.trigger();
    }
}
