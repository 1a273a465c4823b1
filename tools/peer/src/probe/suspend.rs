// SPDX-License-Identifier: BSD-2-Clause
//! `suspend cancel` saves the guest to where there is no room: it suspends, and goes on.

use std::process::Command;

use super::{Probe, broken};
use crate::args::Args;
use crate::{Failure, Result};

/// Fails unless the guest suspended and `xl` let it go on.
const CANCEL: &str =
    "mkdir -p /probe-small && mount -t tmpfs -o size=1m tmpfs /probe-small || exit 9
xl save -c \"$1\" /probe-small/f 2>&1; code=$?; umount /probe-small; exit $code";

pub(super) fn serve(probe: &mut Probe, mut args: Args) -> Result<String> {
    let verb = args.need("a verb")?;
    args.end()?;
    if verb != "cancel" {
        return Err(Failure::new(format!("suspend: no verb {verb}")));
    }
    let name = format!("{}/name", probe.base);
    let name = probe.store.read(0, &name).map_err(broken)?;
    let name = String::from_utf8_lossy(&name).into_owned();
    let done = Command::new("sh")
        .args(["-c", CANCEL, "sh", &name])
        .output();
    let done = done.map_err(|error| Failure::new(format!("sh: {error}")))?;
    let said = String::from_utf8_lossy(&done.stdout);
    if done.status.success() {
        return Err(Failure::new("there was room for the guest"));
    }
    if !said.contains("resuming domain") || said.contains("did not respond") {
        return Err(Failure::new(format!(
            "xl save: {}",
            said.replace('\n', "; ")
        )));
    }
    Ok(String::new())
}
