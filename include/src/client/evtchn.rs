// SPDX-License-Identifier: BSD-2-Clause
//! Event channels.
//!
//! The bus calls a channel at device IRQL; there it counts and wakes, and no event allocates anything.

use core::sync::atomic::{AtomicU32, Ordering};

use kexec::nt::Tag;
use kexec::nt::wdm::DevicePtr;
use kexec::{Passive, Result};

use crate::errno::status::CONNECTION_DISCONNECTED;
use crate::evtchn::EvtchnV9;
use crate::ffi::evtchn::{Events, Open, Remote};
use crate::ffi::query::query;

/// A reference to the bus driver's event channels.
///
/// Dropped at PASSIVE_LEVEL: it frees the blocks of closed channels when no callback can be running.
#[derive(Debug)]
pub struct Evtchn(Events);

impl Evtchn {
    /// Asks the device below for event channels, version 9, and takes a reference. `tag` is that of
    /// the pool block that each channel needs.
    ///
    /// # Errors
    /// The provider's status.
    ///
    /// # IRQL
    /// PASSIVE_LEVEL.
    pub fn open(tag: Tag, below: DevicePtr, passive: Passive) -> Result<Self> {
        let table = query::<EvtchnV9>(below, passive)?;
        #[expect(unsafe_code, reason = "states where the table comes from")]
        // SAFETY: the device below is the bus driver's PDO: it answered the query, and it stays while
        // its child is attached, which outlives this reference.
        unsafe {
            Self::from_table(tag, table)
        }
    }

    /// Takes a reference to event channels whose table is at hand already.
    ///
    /// # Safety
    /// The table came from a provider of the interface, whose image stays loaded while a reference is
    /// held.
    ///
    /// # Errors
    /// The provider's status.
    #[expect(unsafe_code, reason = "believes function pointers")]
    pub unsafe fn from_table(tag: Tag, table: EvtchnV9) -> Result<Self> {
        // SAFETY: by the contract.
        unsafe { Events::acquire(table, tag) }.map(Self)
    }

    /// Opens a port to which `domain` may bind. Masked until [`Channel::unmask`].
    ///
    /// # Errors
    /// `STATUS_UNSUCCESSFUL`: the bus has no more to say.
    pub fn unbound(&self, domain: u16) -> Result<Channel<'_>> {
        self.channel(Remote::Unbound(domain))
    }

    /// Binds to a port of another domain. Masked until [`Channel::unmask`].
    ///
    /// # Errors
    /// As [`Self::unbound`].
    pub fn inter_domain(&self, domain: u16, port: u32) -> Result<Channel<'_>> {
        self.channel(Remote::Port(domain, port))
    }

    /// Uses a local port that exists already; closing the channel leaves it. Masked until [`Channel::unmask`].
    ///
    /// # Errors
    /// As [`Self::unbound`].
    pub fn fixed(&self, port: u32) -> Result<Channel<'_>> {
        self.channel(Remote::Fixed(port))
    }

    /// Binds virtual interrupt `index` of a processor, by group and number in the group. Masked until [`Channel::unmask`].
    ///
    /// # Errors
    /// As [`Self::unbound`]: it is taken, or that processor takes no upcalls.
    pub fn virq(&self, index: u32, group: u16, number: u8) -> Result<Channel<'_>> {
        self.channel(Remote::Virq(index, group, number))
    }

    /// Opens channels whose every delivery masks them again: a peer that sends without a pause interrupts once for each
    /// [`Channel::unmask`] or [`Channel::try_unmask`]. There is no such virtual interrupt.
    #[must_use]
    pub fn masking(&self) -> Masking<'_> {
        Masking(self)
    }

    fn channel(&self, remote: Remote) -> Result<Channel<'_>> {
        // Without the mask every edge is delivered and counted, so nothing has to be unmasked again.
        self.open_with(remote, false)
    }

    fn open_with(&self, remote: Remote, mask: bool) -> Result<Channel<'_>> {
        let open = self.0.open(remote, mask)?;
        Ok(Channel {
            open,
            seen: AtomicU32::new(0),
        })
    }
}

/// Opens channels that mask themselves: see [`Evtchn::masking`].
#[derive(Clone, Copy, Debug)]
pub struct Masking<'a>(&'a Evtchn);

impl<'a> Masking<'a> {
    /// As [`Evtchn::unbound`].
    ///
    /// # Errors
    /// As there.
    pub fn unbound(self, domain: u16) -> Result<Channel<'a>> {
        self.0.open_with(Remote::Unbound(domain), true)
    }

    /// As [`Evtchn::inter_domain`].
    ///
    /// # Errors
    /// As there.
    pub fn inter_domain(self, domain: u16, port: u32) -> Result<Channel<'a>> {
        self.0.open_with(Remote::Port(domain, port), true)
    }

    /// As [`Evtchn::fixed`].
    ///
    /// # Errors
    /// As there.
    pub fn fixed(self, port: u32) -> Result<Channel<'a>> {
        self.0.open_with(Remote::Fixed(port), true)
    }
}

/// An open event channel; closed when dropped.
#[derive(Debug)]
pub struct Channel<'a> {
    open: Open<'a>,
    /// Deliveries that `wait` has reported.
    seen: AtomicU32,
}

impl Channel<'_> {
    /// The local port, for the other end to bind to; 0 once the channel went with a suspend.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.open.port()
    }

    /// Lets events through. One that is pending is delivered.
    pub fn unmask(&self) {
        self.open.unmask();
    }

    /// Lets events through, unless one is pending: then that is the caller's, as if it had been delivered, and the result true.
    /// It is not counted. A [masking](Evtchn::masking) channel stays masked, so look for work and call again.
    ///
    /// True only on the processor that the channel is delivered to; elsewhere a pending event is delivered.
    #[must_use]
    pub fn try_unmask(&self) -> bool {
        self.open.try_unmask()
    }

    /// Delivers an event of our own soon, masked or not; nobody else hears it.
    pub fn trigger(&self) {
        self.open.trigger();
    }

    /// Sends an event to the other end.
    ///
    /// # IRQL
    /// Any that may raise to DISPATCH_LEVEL: `<= DISPATCH_LEVEL`.
    pub fn send(&self) {
        self.open.send();
    }

    /// Moves delivery to a processor, by group and number in the group.
    ///
    /// # Errors
    /// `STATUS_NOT_SUPPORTED`: that processor takes no upcalls. Not fatal.
    pub fn bind(&self, group: u16, number: u8) -> Result {
        self.open.bind(group, number)
    }

    /// Deliveries since the channel was opened; wraps.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.open.count()
    }

    /// Waits for events that no earlier wait has reported, and returns how many there were.
    ///
    /// Cancel-safe. One task waits at a time.
    ///
    /// # Errors
    /// `STATUS_CONNECTION_DISCONNECTED`: the channel went with the domain that was suspended. Open another one.
    pub async fn wait(&self) -> Result<u32> {
        let seen = self.seen.load(Ordering::Relaxed);
        let count = self.open.beyond(seen).await;
        if self.open.port() == 0 {
            return Err(CONNECTION_DISCONNECTED);
        }
        self.seen.store(count, Ordering::Relaxed);
        Ok(count.wrapping_sub(seen))
    }
}
