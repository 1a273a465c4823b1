// SPDX-License-Identifier: BSD-2-Clause
//! The published interfaces' semantics over the async services; no pointers, no unsafe.
//!
//! | module | interface |
//! |---|---|
//! | [`store`] | STORE version 2: blocking, printf, double NULs |
//! | [`printf`] | the formatter of StorePrintf |
//! | [`store_async`] | our asynchronous store table |
//! | [`evtchn`] | EVTCHN versions 5 to 9 |
//!
//! The C edge turns pointers into slices and handles and calls these. Nothing here is a second
//! implementation: at or below APC_LEVEL a caller blocks on the future, at DISPATCH_LEVEL it drives
//! the store's executor itself, with a bound.

pub mod evtchn;
pub mod printf;
pub mod store;
pub mod store_async;

use core::future::Future;
use core::pin::pin;

use kexec::{Apc, DpcExecutor, Duration, Result, Status, block_on, irql, poll_on};

/// Waits for `future` in whichever way the caller's IRQL allows. `nudge` runs before each look at
/// DISPATCH_LEVEL, where progress must not depend on an interrupt.
///
/// # Errors
/// `IO_TIMEOUT` after `limit` at DISPATCH_LEVEL; `POSSIBLE_DEADLOCK` from inside a task of `executor`;
/// `INVALID_LEVEL` above DISPATCH_LEVEL; what waiting needs memory for.
fn wait<T>(
    executor: &DpcExecutor,
    limit: Duration,
    future: impl Future<Output = T>,
    nudge: impl Fn(),
) -> Result<T> {
    if let Some(apc) = Apc::here() {
        return block_on(apc, future);
    }
    if irql::current() > irql::DISPATCH_LEVEL {
        return Err(Status::INVALID_LEVEL);
    }
    let mut future = pin!(future);
    let looking = core::future::poll_fn(|cx| {
        nudge();
        future.as_mut().poll(cx)
    });
    poll_on(executor, limit, looking)
}
