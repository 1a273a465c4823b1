// SPDX-License-Identifier: BSD-2-Clause
//! `clock now` tells dom0's time, in microseconds since 1970.

use std::time::SystemTime;

use super::Probe;
use crate::args::Args;
use crate::{Failure, Result};

pub(super) fn serve(_probe: &mut Probe, mut args: Args) -> Result<String> {
    let verb = args.need("a verb")?;
    args.end()?;
    if verb != "now" {
        return Err(Failure::new(format!("clock: no verb {verb}")));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_err(|_| Failure::new("dom0 has no clock"))?;
    Ok(now.as_micros().to_string())
}
