// SPDX-License-Identifier: BSD-2-Clause
//! The console, through [`xenbus_interface::client::Console`]; at PASSIVE_LEVEL, where its thread can be joined.

use core::fmt::Write;

use heapless::String;
use kexec::{Passive, Status};
use xenbus_interface::client::Changes;

use crate::probe::{Outcome, Probe, ensure, text};
use crate::run::TAG;

/// Lines of a transfer that does not fit into a ring.
const LINES: u32 = 100;

pub(crate) async fn tests(probe: &Probe) {
    let name = "console_lines_reach_dom0_and_come_from_there";
    probe.test(name, || lines(probe)).await;
    let name = "console_more_than_the_rings_moves_in_order";
    probe.test(name, || many(probe)).await;
}

/// As dom0 makes them.
fn numbered(n: u32) -> Result<String<64>, Status> {
    let mut line = String::new();
    writeln!(line, "line-{n:05}-0123456789abcdefghijklmnopqrstuvwxyz")
        .map_err(|_| Status::BUFFER_TOO_SMALL)?;
    Ok(line)
}

async fn expect(changes: &Changes<'_>, wanted: &[u8]) -> Outcome {
    let mut rest = wanted;
    while !rest.is_empty() {
        let mut buffer = [0; 64];
        let room = rest.len().min(buffer.len());
        let moved = changes.read(&mut buffer[..room]).await;
        ensure!(buffer[..moved] == rest[..moved], "what dom0 wrote");
        rest = &rest[moved..];
    }
    Ok(())
}

async fn lines(probe: &Probe) -> Outcome {
    let changes = probe.console.changes(TAG, Passive::assert())?;
    ensure!(probe.console.can_write(), "room");
    ensure!(!probe.console.can_read(), "nothing to read");
    changes.write_all(b"\nfrom-the-probe\n").await;
    let question = text(format_args!("console expect from-the-probe"));
    probe.ask(question?).await?;
    let question = text(format_args!("console write from-dom0"));
    probe.ask(question?).await?;
    expect(&changes, b"from-dom0\n").await?;
    ensure!(!probe.console.can_read(), "everything was read");
    Ok(())
}

async fn many(probe: &Probe) -> Outcome {
    let changes = probe.console.changes(TAG, Passive::assert())?;
    for n in 0..LINES {
        changes.write_all(numbered(n)?.as_bytes()).await;
    }
    let question = text(format_args!("console lines {LINES}"));
    probe.ask(question?).await?;
    let half = LINES / 2;
    let question = text(format_args!("console fill {half}"));
    probe.ask(question?).await?;
    for n in 0..half {
        expect(&changes, numbered(n)?.as_bytes()).await?;
    }
    Ok(())
}
