// SPDX-License-Identifier: BSD-2-Clause
//! Another client of the guest's store. Paths are relative to the guest's own.
//!
//! `store read PATH`, `store write PATH VALUE`, `store rm PATH`; `store fill PATH N` makes a node of the guest's with N children,
//! more than a guest may; `store owner PATH` tells the first permission; `store count PATH N` adds one N times, each time in a
//! transaction, in a thread, which `store join` waits for and tells how often it met a conflict; `store quota NAME N` sets one of
//! xenstored's quotas, for all domains (`xenstore-control quota` lists them).

use std::process::Command;

use super::{Probe, broken};
use crate::args::Args;
use crate::store::Store;
use crate::wire::Refused;
use crate::{Failure, Result};

pub(super) fn serve(probe: &mut Probe, mut args: Args) -> Result<String> {
    let verb = args.need("a verb")?;
    if verb == "join" {
        args.end()?;
        let counter = probe.counter.take();
        let counter = counter.ok_or_else(|| Failure::new("nothing counts"))?;
        let joined = counter.join();
        let conflicts = joined.map_err(|_| Failure::new("the counter panicked"))??;
        return Ok(conflicts.to_string());
    }
    let number = |args: &mut Args| {
        let word = args.need("a number")?;
        word.parse::<u32>()
            .map_err(|_| Failure::new(format!("bad number {word}")))
    };
    if verb == "quota" {
        let name = args.need("a name")?;
        let value = number(&mut args)?;
        args.end()?;
        return quota(&name, value);
    }
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
        "fill" => {
            let count = number(&mut args)?;
            probe.give(&path, "")?;
            for child in 0..count {
                let child = format!("{path}/child-{child:04}");
                probe.store.mkdir(&child).map_err(broken)?;
            }
            String::new()
        }
        "owner" => {
            let perms = probe.store.perms(&path).map_err(broken)?;
            perms.into_iter().next().unwrap_or_default()
        }
        "count" => {
            let times = number(&mut args)?;
            if probe.counter.is_some() {
                return Err(Failure::new("still counting"));
            }
            // A connection of its own: it runs while questions are answered.
            let store = Store::connect()?;
            probe.counter = Some(std::thread::spawn(move || count(store, &path, times)));
            String::new()
        }
        _ => return Err(Failure::new(format!("store: no verb {verb}"))),
    };
    args.end()?;
    Ok(answer)
}

fn quota(name: &str, value: u32) -> Result<String> {
    let done = Command::new("xenstore-control")
        .args(["quota", "set", name, &value.to_string()])
        .output()
        .map_err(|e| Failure::new(format!("xenstore-control: {e}")))?;
    if !done.status.success() {
        return Err(Failure::new(format!("xenstored has no quota {name}")));
    }
    Ok(String::new())
}

/// Adds one to a node, `times` times; how many commits met a conflict.
fn count(mut store: Store, path: &str, times: u32) -> Result<u32> {
    let (mut done, mut conflicts) = (0, 0);
    while done < times {
        let transaction = store.start().map_err(broken)?;
        let value = store.read(transaction, path).map_err(broken)?;
        let value: u32 = String::from_utf8_lossy(&value)
            .parse()
            .map_err(|_| Failure::new("not a number"))?;
        let next = (value + 1).to_string();
        store
            .write(transaction, path, next.as_bytes())
            .map_err(broken)?;
        match store.end(transaction, true) {
            Ok(()) => done += 1,
            Err(Refused::Name(name)) if name == "EAGAIN" => conflicts += 1,
            Err(refused) => return Err(broken(refused)),
        }
    }
    Ok(conflicts)
}
