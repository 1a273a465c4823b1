// SPDX-License-Identifier: BSD-2-Clause
//! A grant: permit and revoke.

use kexec::{Result, Status};
use xenchild::measure::Meter;

use crate::bench::{Bench, report};

pub(crate) async fn pair(bench: &Bench) -> Result {
    let cache = bench.gnttab.cache(c"bench", 0, 0)?;
    let mut meter = Meter::new(bench.probe);
    for _ in 0..bench.passes() {
        meter.begin();
        // Frame 1 to dom0, which is not told of it.
        let grant = cache.permit((), 0, 1, true)?;
        if grant.try_end().is_err() {
            return Err(Status::UNSUCCESSFUL);
        }
        meter.end();
    }
    report("grant", 1, 1, &meter);
    Ok(())
}
