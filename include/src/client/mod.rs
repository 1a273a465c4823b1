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
//! # From C
//!
//! | C method | here |
//! |---|---|
//! | IRP_MN_QUERY_INTERFACE and `Acquire`; `Release` | `open` of each type; its drop |
//! | `StoreRead`, `StorePrintf`, `StoreRemove`, `StoreDirectory` | [`Store::read`], [`Store::write`], [`Store::remove`], [`Store::directory`]; in a transaction the same of [`Transaction`] |
//! | `StoreFree` | the drop of [`Value`] and [`Names`] |
//! | `StorePermissionsSet` | [`Store::set_permissions`]; [`Store::permissions`] reads them |
//! | `StoreTransactionStart`, `StoreTransactionEnd` and the loop around them | [`Store::transaction`]; by hand [`Store::start`], [`Transaction::commit`], [`Transaction::abort`] or its drop |
//! | `StoreWatchAdd` and a wait for the event; `StoreWatchRemove` | [`Store::watch`] and [`Watch::changed`]; its drop |
//! | the same, blocking, on a thread of one's own | [`published`] |
//! | `StorePoll` | not needed: nothing here waits at DISPATCH_LEVEL |
//! | `EvtchnOpen` | [`Evtchn::unbound`], [`Evtchn::inter_domain`], [`Evtchn::fixed`], [`Evtchn::virq`]; with `Mask` the same of [`Evtchn::masking`] |
//! | the callback, `EvtchnWait`, `EvtchnGetCount` | [`Channel::wait`], [`Channel::count`] |
//! | `EvtchnBind`, `EvtchnUnmask`, `EvtchnSend`, `EvtchnTrigger`, `EvtchnGetPort`; `EvtchnClose` | [`Channel::bind`], [`Channel::unmask`] and [`Channel::try_unmask`], [`Channel::send`], [`Channel::trigger`], [`Channel::port`]; its drop |
//! | `GnttabCreateCache`; `GnttabDestroyCache` | [`Gnttab::cache`]; the drop of [`GrantCache`] |
//! | `GnttabPermitForeignAccess`, `GnttabGetReference` | [`GrantCache::permit`], or [`GrantCache::permit_when_free`], which waits; [`Grant::reference`] |
//! | `GnttabRevokeForeignAccess` | [`Grant::end`], which waits for the other side; [`Grant::try_end`]; its drop |
//! | `GnttabQueryReference`, `GnttabMapForeignPages`; `GnttabUnmapForeignPages` | [`Gnttab::query`], [`Gnttab::map`]; the drop of [`Foreign`] |
//! | `CacheCreate`, `CacheGet`; `CachePut`, `CacheDestroy` | [`Caches::cache`], [`ObjectCache::get`]; the drops of [`Object`] and [`ObjectCache`] |
//! | `RangeSetCreate`, `RangeSetPut`, `RangeSetPop`, `RangeSetGet`; `RangeSetDestroy` | [`RangeSets::create`], [`RangeSet::put`], [`RangeSet::pop`], [`RangeSet::take`]; its drop |
//! | `SuspendRegister` with a LATE callback; `SuspendDeregister` | [`Suspend::resumes`] and [`Resumes::next`]; its drop |
//! | `SuspendTrigger`, `SuspendGetCount` | [`Suspend::trigger`], [`Suspend::count`] |
//! | `SharedInfoGetTime` | [`SharedInfo::time`] |
//! | `DebugRegister`, `DebugPrintf`, `DebugTrigger`; `DebugDeregister` | [`Debug::register`] of a [`Dump`], [`Printer::line`], [`Callback::trigger`], [`Debug::trigger_all`]; the drop of [`Callback`] |
//! | `ConsoleCanRead`, `ConsoleRead`, `ConsoleCanWrite`, `ConsoleWrite`, `ConsoleWakeupAdd` | [`Console::can_read`], [`Console::try_read`], [`Console::can_write`], [`Console::try_write`], [`Console::changes`] |
//! | `UnplugRequest`, `UnplugIsRequested`, `UnplugBootEmulated`, `UnplugReboot` | [`Unplug::request`] and [`Unplug::withdraw`], [`Unplug::is_requested`], [`Unplug::boot_emulated`], [`Unplug::reboot`] |
//! | the states of a frontend, written by hand | [`frontend`] |
//!
//! References to the bus are counted: a [`Store`] or [`Evtchn`] holds one for its life. A child opens
//! them going to D0 and drops them, after everything that borrows them, leaving it.
//!
//! # IRQL
//! Everything here runs at `<= DISPATCH_LEVEL` unless it says otherwise; futures and guards must be
//! dropped without a lock held that a callback of the bus could want.

pub mod published {
    //! The published store, version 2, without a task: every call blocks its thread.
    pub use crate::ffi::published::{Buffer, Open, Published, Watching, Wired};
}

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
