// SPDX-License-Identifier: BSD-2-Clause
//! The dispatch interrupt: timers, DPCs, then the choice of a thread. Entered at DISPATCH_LEVEL from below it, with interrupts on.

use crate::ke::{dpc, sched, timer};

/// Does what was requested.
pub(crate) fn interrupt() {
    timer::expire();
    dpc::drain();
    sched::reschedule();
}
