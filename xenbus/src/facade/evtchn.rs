// SPDX-License-Identifier: BSD-2-Clause
//! EVTCHN versions 5 to 9: what each method promises beyond the channel's own.
//!
//! Versions 5 to 7: unmask is by force and without a result. Version 5: Send may come from below
//! DISPATCH_LEVEL. Versions 5 and 6: Wait is for one event more than now. Version 9 names the
//! processor of a VIRQ.

use core::pin::pin;
use kexec::sync::select2;
use kexec::{DpcExecutor, Duration, Instant, Result};
use xenbus_interface::evtchn as table;

use super::wait;
use crate::evtchn::channel::Target;
use crate::evtchn::{Channel, Evtchn, Hypervisor, Kind, Machine};
use crate::status;
use kexec::nt::Arc;

/// The variadic slots of EvtchnOpen as they are; each is read only if the type names it.
pub trait Slots {
    /// Slot `index`.
    fn slot(&self, index: usize) -> u64;
}

/// What EvtchnOpen was asked for.
///
/// # Errors
/// `INVALID_PARAMETER` for an unknown type or a processor that does not exist.
pub fn parse_open(
    version: u16,
    kind: u32,
    slots: &impl Slots,
    cpu_of: impl FnOnce(u16, u8) -> Option<u32>,
) -> Result<(Kind, bool)> {
    // Integers travel in slots whose upper part is undefined; a BOOLEAN is true when nonzero.
    let long = |i| (slots.slot(i) & 0xFFFF_FFFF) as u32;
    let short = |i| (slots.slot(i) & 0xFFFF) as u16;
    let byte = |i| (slots.slot(i) & 0xFF) as u8;
    Ok(match kind {
        table::TYPE_FIXED => (Kind::Fixed { port: long(0) }, byte(1) != 0),
        table::TYPE_UNBOUND => (Kind::Unbound { domain: short(0) }, byte(1) != 0),
        table::TYPE_INTER_DOMAIN => (
            Kind::InterDomain {
                domain: short(0),
                port: long(1),
            },
            byte(2) != 0,
        ),
        table::TYPE_VIRQ => {
            let (group, number) = if version >= 9 {
                (short(1), byte(2))
            } else {
                (0, 0)
            };
            let cpu = cpu_of(group, number).ok_or(status::INVALID_PARAMETER)?;
            // There is no argument for it: a VIRQ is never masked by delivery.
            (Kind::Virq { virq: long(0), cpu }, false)
        }
        _ => return Err(status::INVALID_PARAMETER),
    })
}

/// EvtchnOpen with a service routine.
///
/// # Errors
/// As [`Channel::open`].
pub fn open<H: Hypervisor + Machine>(
    service: &Arc<Evtchn<H>>,
    kind: Kind,
    auto_mask: bool,
    routine: usize,
    context: usize,
) -> Result<Channel<H>> {
    if routine == 0 {
        return Err(status::INVALID_PARAMETER);
    }
    Channel::open(
        service,
        kind,
        Target::Routine { routine, context },
        auto_mask,
    )
}

/// Whether `count` has reached `wanted`, in a circle of 32 bits.
#[must_use]
pub fn reached(count: u32, wanted: u32) -> bool {
    count.wrapping_sub(wanted).cast_signed() >= 0
}

/// EvtchnWait: true once the channel's count has reached `wanted`, false when time was up.
///
/// `timeout`: `None` for ever, 0 one look, negative relative, positive an absolute system time, in
/// units of 100 ns; `system_time` gives the present one. A channel wakes one waiter: a second one at
/// the same time looks every 10 ms.
///
/// # Errors
/// `CONNECTION_DISCONNECTED` for a channel of before a suspend; as for every blocking call.
pub fn wait_for<H: Hypervisor + Machine>(
    channel: &Channel<H>,
    executor: &DpcExecutor,
    wanted: u32,
    timeout: Option<i64>,
    system_time: impl FnOnce() -> i64,
) -> Result<bool> {
    if channel.is_dead() {
        return Err(status::CONNECTION_DISCONNECTED);
    }
    if reached(channel.count(), wanted) {
        return Ok(true);
    }
    let limit = match timeout {
        Some(0) => return Ok(false),
        Some(relative @ ..0) => Duration::from_ticks(relative.unsigned_abs()),
        Some(absolute) => {
            let left = absolute.saturating_sub(system_time());
            Duration::from_ticks(u64::try_from(left).unwrap_or(0))
        }
        None => Duration::MAX,
    };
    let deadline = Instant::now() + limit;
    let look = async {
        loop {
            let seen = channel.count();
            if channel.is_dead() {
                return Err(status::CONNECTION_DISCONNECTED);
            }
            if reached(seen, wanted) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            let pause = pin!(executor.sleep(LOOK_AGAIN));
            select2(channel.wait(seen), pause).await;
        }
    };
    match wait(executor, limit + LOOK_AGAIN, look, || {}) {
        Ok(looked) => looked,
        Err(status::IO_TIMEOUT) => Ok(false),
        Err(other) => Err(other),
    }
}

/// Pause between two looks at a count by a waiter that nobody wakes.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[cfg(test)]
#[path = "evtchn_tests.rs"]
mod tests;
