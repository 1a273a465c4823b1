// SPDX-License-Identifier: BSD-2-Clause
//! What a driver says about its device, and how the device's life with its backends ended.

use core::future::Future;

use kexec::Result;

use super::backend::{Backend, Keys};

/// A device, as [`Frontend::run`](super::Frontend::run) needs it. Its futures are dropped at any of their awaits when the backend
/// goes, the domain is suspended or the driver closes the device, so they must be cancel-safe.
pub trait Device: Send {
    /// What the two ends share while they are connected: grants, an event channel. Dropped, it gives everything back.
    type Link: Send;

    /// Makes the link for a backend that has said what it offers, and the keys that tell of it.
    ///
    /// # Errors
    /// End the frontend, closed.
    fn connect(
        &mut self,
        backend: &Backend<'_>,
        keys: &mut Keys,
    ) -> impl Future<Output = Result<Self::Link>> + Send;

    /// Works while both ends are connected. Returning closes the device.
    ///
    /// What [`Self::connect`] has read may be of a backend that died and was replaced unnoticed before it had connected. What must be of
    /// this one is read here.
    ///
    /// # Errors
    /// Close the device too, and are what [`Frontend::run`](super::Frontend::run) returns.
    fn run(
        &mut self,
        link: &mut Self::Link,
        backend: &Backend<'_>,
    ) -> impl Future<Output = Result> + Send;

    /// Looks at what a backend has changed that was reconfigured; [`Self::run`] was dropped before and comes again after.
    ///
    /// # Errors
    /// As for [`Self::run`].
    fn reconfigured(
        &mut self,
        _link: &mut Self::Link,
        _backend: &Backend<'_>,
    ) -> impl Future<Output = Result> + Send {
        async { Ok(()) }
    }

    /// Gives the link back. The backend has ended, is gone, did not answer in time, or belongs to the time before a suspend.
    fn disconnect(&mut self, link: Self::Link) -> impl Future<Output = ()> + Send;
}

/// Why a frontend ended without an error.
///
/// # IRQL
/// Any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The driver closed it, or the device's [`run`](Device::run) returned.
    Closed,
    /// The toolstack takes the device away: the backend closed it and is not `online`.
    Offline,
    /// The toolstack has taken the device away: it has no keys any more.
    Removed,
}
