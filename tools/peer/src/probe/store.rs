// SPDX-License-Identifier: BSD-2-Clause
//! `store read PATH`, `store write PATH VALUE`, `store rm PATH`: another client of the guest's store. Paths are relative to the
//! guest's own.

use super::{Probe, broken};
use crate::args::Args;
use crate::{Failure, Result};

pub(super) fn serve(probe: &mut Probe, mut args: Args) -> Result<String> {
    let verb = args.need("a verb")?;
    let path = format!("{}/{}", probe.base, args.need("a path")?);
    let answer = match verb.as_str() {
        "read" => {
            let value = probe.store.read(0, &path).map_err(broken)?;
            String::from_utf8_lossy(&value).into_owned()
        }
        "write" => {
            let value = args.need("a value")?;
            probe.give(&path, &value)?;
            String::new()
        }
        "rm" => {
            probe.store.rm(&path).map_err(broken)?;
            String::new()
        }
        _ => return Err(Failure::new(format!("store: no verb {verb}"))),
    };
    args.end()?;
    Ok(answer)
}
