// SPDX-License-Identifier: BSD-2-Clause
//! What a guest holds, as Xen and xenstored see it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rig::Rig;

/// How long Xen may take to print its tables.
const LIMIT: Duration = Duration::from_secs(120);

/// Counted for the rig's guest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Its grants that somebody has mapped.
    grants: usize,
    /// Its event channels that are not free.
    ports: usize,
    /// Its watches.
    watches: usize,
}

impl Footprint {
    /// Counts.
    ///
    /// # Errors
    /// Xen or xenstored does not tell.
    pub(super) fn take(rig: &mut Rig) -> Result<Self> {
        let domid = rig.domid()?;
        let watches = rig.dom0_ok(&format!("xenpeer store watches {domid}"))?;
        let watches = watches.trim().parse().context("the number of watches")?;
        let grants = tables(rig, 'g')?;
        let ports = tables(rig, 'e')?;
        Ok(Self {
            grants: entries(&grants, &format!("grant-table for remote d{domid} "))?,
            ports: entries(
                &ports,
                &format!("Event channel information for domain {domid}:"),
            )?,
            watches,
        })
    }
}

/// What Xen prints for a debug key. Nothing marks the end, so the next key is waited for.
fn tables(rig: &mut Rig, key: char) -> Result<Vec<String>> {
    let seen = rig.host_log()?.len();
    rig.dom0_ok(&format!("xl debug-keys {key} && xl debug-keys h"))?;
    let end = Instant::now() + LIMIT;
    loop {
        let lines = &rig.host_log()?[seen..];
        if let Some(next) = lines.iter().position(|line| line.contains("'h' pressed")) {
            return Ok(lines[..next].to_vec());
        }
        if Instant::now() > end {
            bail!("Xen printed nothing for the debug key {key}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The entries below `head`: lines such as `[0x001] 0 0x3fcd9 ..` and `1 [0/0/0]: s=3 ..`.
fn entries(lines: &[String], head: &str) -> Result<usize> {
    let at = lines.iter().position(|line| line.contains(head));
    let at = at.with_context(|| format!("Xen printed no {head:?}"))?;
    let text = |line: &str| line.trim_start_matches("(XEN)").trim_start().to_owned();
    let below = lines[at + 1..].iter().map(|line| text(line));
    let other = |line: &String| {
        line.starts_with("grant-table for") || line.starts_with("Event channel information")
    };
    let entry = |line: &String| {
        line.starts_with("[0x")
            || line.starts_with(|first: char| first.is_ascii_digit()) && line.contains("]: s=")
    };
    Ok(below.take_while(|line| !other(line)).filter(entry).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_those_of_one_domain() {
        let lines: Vec<String> = [
            "(XEN) [ref] localdom mfn      pin          localdom gmfn     flags",
            "(XEN) grant-table for remote d0 (v1)",
            "(XEN) no active grant table entries",
            "(XEN) grant-table for remote d1 (v1)",
            "(XEN)   1 frames (64 max), 0 maptrack frames (1024 max)",
            "(XEN) [0x000]      0 0x3fcd6 0x00000002          0 0x0fefff 0x19",
            "(XEN) [0x001]      0 0x3fcd9 0x00000002          0 0x0feffc 0x19",
            "(XEN) grant-table for remote d12 (v1)",
            "(XEN) [0x000]      0 0x3fcd6 0x00000002          0 0x0fefff 0x19",
            "(XEN) Event channel information for domain 1:",
            "(XEN)     port [p/m/s]",
            "(XEN)        1 [1/0/1]: s=3 n=0 x=0 d=0 p=20",
            "(XEN)       12 [0/0/  -   ]: s=5 n=0 x=0 v=2",
        ]
        .map(str::to_owned)
        .into();
        let count = |head: &str| entries(&lines, head);
        assert_eq!(count("grant-table for remote d0 ").expect("there"), 0);
        assert_eq!(count("grant-table for remote d1 ").expect("there"), 2);
        assert_eq!(count("information for domain 1:").expect("there"), 2);
        assert!(count("information for domain 2:").is_err());
    }
}
