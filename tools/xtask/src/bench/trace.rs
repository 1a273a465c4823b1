// SPDX-License-Identifier: BSD-2-Clause
//! `--trace`: the way of one store request through child, bus, Xen and xenstored, in instructions; as a table, and as a file that
//! `chrome://tracing` and Perfetto open.
//!
//! The shipping images carry probes, instructions that do nothing (kexec's `probe` module). On the rig's instruction clock a plugin of
//! the emulator says when the guest passed each, and when the processor entered and left the guest (`tools/tcgcount`).

mod points;
#[cfg(test)]
mod testing;
mod timeline;
mod viewer;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rig::Trace;

pub(crate) use timeline::Timeline;

use super::bus;
use crate::util;

/// How long the guest may take until it has read, on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);
/// What the driver prints when it has read one value after the other, and nothing else was under way.
const ALONE: &str = "^RESULT bench[.]reads size=1 ";

/// Boots a guest whose child reads, and records what it does: the trace, and the guest's lines.
fn record() -> Result<(Trace, Vec<String>)> {
    let (mut rig, _) = bus::boot(true, true)?;
    let read = rig.wait_log(ALONE, LIMIT);
    let lines = rig.guest_log()?;
    read.context("the guest did not come to the end of its reads")?;
    Ok((rig.quit_traced()?, lines))
}

/// Takes a trace on the rig: the last request in it that was alone on its way.
///
/// # Errors
///
/// Something can't be built, the rig can't run, or no request is complete.
pub(crate) fn take() -> Result<Timeline> {
    let (trace, lines) = record()?;
    Timeline::last(&trace, &timeline::images(&lines)?)
}

/// Writes the file for a trace viewer; its path.
///
/// # Errors
///
/// It can't be written.
pub(crate) fn write(timeline: &Timeline) -> Result<PathBuf> {
    let path = util::target_dir().join("bench/xenstore-trace.json");
    util::write_if_changed(&path, &viewer::json(timeline)?)?;
    Ok(path)
}

/// Takes a trace, prints the table and writes the file.
///
/// # Errors
///
/// As [`take`] and [`write`].
pub(super) fn show() -> Result<()> {
    let timeline = take()?;
    println!("\none store read of a child, alone on its way, in instructions:");
    print!("{timeline}");
    println!("{}", write(&timeline)?.display());
    Ok(())
}
