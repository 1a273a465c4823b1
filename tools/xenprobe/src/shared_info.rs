// SPDX-License-Identifier: BSD-2-Clause
//! Time, through [`xenbus_interface::client::SharedInfo`].

use crate::probe::{Outcome, Probe, ensure, run, text};

/// In a second.
const TICKS: i64 = 10_000_000;
/// 1601 to 1970, in seconds.
const EPOCH: i64 = 11_644_473_600;

pub(crate) async fn tests(probe: &Probe) {
    run!(probe, shared_info_has_dom0s_time);
}

async fn shared_info_has_dom0s_time(probe: &Probe) -> Outcome {
    let before = probe.clock.time();
    let answer = probe.ask(text(format_args!("clock now"))?).await?;
    let after = probe.clock.time();
    let micros: i64 = answer.parse().unwrap_or(0);
    let theirs = EPOCH * TICKS + micros * 10;
    ensure!(before.ticks < after.ticks, "time goes on");
    ensure!(before.local == after.local, "the zone does not change");
    // Both began with the same reading of a clock of whole seconds.
    ensure!(
        before.ticks - 2 * TICKS < theirs && theirs < after.ticks + 2 * TICKS,
        "dom0's time, within 2 s"
    );
    Ok(())
}
