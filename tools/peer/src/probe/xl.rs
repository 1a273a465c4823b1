// SPDX-License-Identifier: BSD-2-Clause
//! `xl WORDS..`: the toolstack's command, such as `xl debug-keys q`, which raises VIRQ_DEBUG in every domain.

use std::process::Command;

use crate::args::Args;
use crate::{Failure, Result};

pub(super) fn serve(_probe: &mut super::Probe, mut args: Args) -> Result<String> {
    let mut command = Command::new("xl");
    while let Some(word) = args.word() {
        command.arg(word);
    }
    let done = command
        .output()
        .map_err(|e| Failure::new(format!("xl: {e}")))?;
    if done.status.success() {
        Ok(String::new())
    } else {
        let said = String::from_utf8_lossy(&done.stderr);
        Err(Failure::new(format!("xl: {}", said.trim())))
    }
}
