// SPDX-License-Identifier: BSD-2-Clause
//! `xenpeer log`: in a Linux guest, copies standard input to Xen's log of the guest.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, stdin};
use std::os::unix::fs::FileExt;

use crate::args::Args;
use crate::{Failure, Result};

/// Linux's file of all I/O ports.
const PORTS: &str = "/dev/port";
/// What is written there is a guest's line on Xen's console.
const LOG: u64 = 0xE9;

/// Copies lines as they come, to the end.
pub(crate) fn run(args: Args) -> Result {
    args.end()?;
    let fail = |e| Failure::new(format!("{PORTS}: {e}"));
    let ports = OpenOptions::new().write(true).open(PORTS).map_err(fail)?;
    for line in stdin().lock().split(b'\n') {
        let mut line = line.map_err(|e| Failure::new(format!("standard input: {e}")))?;
        line.push(b'\n');
        say(&ports, &line).map_err(fail)?;
    }
    Ok(())
}

fn say(ports: &File, line: &[u8]) -> std::io::Result<()> {
    // Two bytes in one write would go to two ports.
    line.iter()
        .try_for_each(|byte| ports.write_all_at(&[*byte], LOG))
}
