// SPDX-License-Identifier: BSD-2-Clause
//! What a child driver is written against: the bus as async Rust.
//!
//! ```no_run
//! # use kexec::{Passive, Result, nt::{Tag, wdm::DevicePtr}};
//! use xenbus_interface::client::{Evtchn, Store};
//!
//! const TAG: Tag = Tag(*b"DEMO");
//!
//! async fn run(store: &Store, evtchn: &Evtchn) -> Result {
//!     let backend = store.read("device/demo/0/backend-id").await?.number()?;
//!     let channel = evtchn.unbound(u16::try_from(backend).unwrap_or(0))?;
//!     store.write("data/demo/port", "7").await?;
//!     channel.unmask();
//!     channel.wait().await?;
//!     channel.send();
//!     store
//!         .transaction(async |t| {
//!             let value = t.read("data/demo/counter").await?.number()?;
//!             t.write("data/demo/counter", if value == 0 { "1" } else { "2" }).await?;
//!             Ok((t, ()))
//!         })
//!         .await
//! }
//!
//! fn start(below: DevicePtr, passive: Passive) -> Result<(Store, Evtchn)> {
//!     Ok((Store::open(TAG, below, passive)?, Evtchn::open(TAG, below, passive)?))
//! }
//! ```
//!
//! References to the bus are counted: a [`Store`] or [`Evtchn`] holds one for its life. A child opens
//! them going to D0 and drops them, after everything that borrows them, leaving it.
//!
//! # IRQL
//! Everything here runs at `<= DISPATCH_LEVEL` unless it says otherwise; futures and guards must be
//! dropped without a lock held that a callback of the bus could want.

mod blocking;
mod cache;
mod console;
mod debug;
mod evtchn;
pub mod frontend;
mod gnttab;
mod range_set;
mod shared_info;
mod store;
mod suspend;
#[cfg(test)]
mod tests;
mod unplug;
mod value;

pub use cache::{Cache as ObjectCache, Caches, Object};
pub use console::{Changes, Console};
pub use debug::{Callback, Debug, Dump, Printer};
pub use evtchn::{Channel, Evtchn, Masking};
pub use gnttab::{Cache as GrantCache, Foreign, Gnttab, Grant, RETRY};
pub use range_set::{RangeSet, RangeSets, Taken};
pub use shared_info::{SharedInfo, Time};
pub use store::{Kind, Store, Transaction, Watch};
pub use suspend::{Resumes, Suspend};
pub use unplug::{Emulated, Unplug};
pub use value::{Names, Permissions, Value};
