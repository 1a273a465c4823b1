// SPDX-License-Identifier: BSD-2-Clause
//! How many watches a domain has at xenstored, from the report that xenstored makes of its memory.

use crate::store::Store;
use crate::{Failure, Result};

/// Where the report goes.
const FILE: &str = "/run/xenpeer-memory-report";

/// Watches of domain `domid`.
pub(crate) fn watches(store: &mut Store, domid: u32) -> Result<usize> {
    let fail = |e: std::io::Error| Failure::new(format!("{FILE}: {e}"));
    store.memory_report(FILE)?;
    let report = std::fs::read_to_string(FILE).map_err(fail)?;
    // xenstored adds to a file that is there.
    std::fs::remove_file(FILE).map_err(fail)?;
    count(&report, domid)
        .ok_or_else(|| Failure::new(format!("xenstored has no connection to domain {domid}")))
}

/// The report is a tree by indentation: a connection has its watches and, for a guest's, a domain with its path below it.
fn count(report: &str, domid: u32) -> Option<usize> {
    let path = format!("/local/domain/{domid}");
    let (mut watches, mut level, mut in_domain, mut found) = (0, None, false, false);
    for line in report.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if level.is_some_and(|level| indent <= level) {
            if found {
                return Some(watches);
            }
            level = None;
        }
        if text.starts_with("struct connection ") {
            (level, watches, found) = (Some(indent), 0, false);
        } else if level.is_some() {
            watches += usize::from(text.starts_with("struct watch "));
            found |= in_domain && text.split_whitespace().next() == Some(&path);
        }
        in_domain = text.starts_with("struct domain ");
    }
    found.then_some(watches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_are_counted_below_the_connection_of_the_domain() {
        let report = "\
    null_context       contains  9 bytes in  9 blocks (ref 0)
        struct connection              contains    259 bytes in   4 blocks (ref 0)
            struct watch                   contains     75 bytes in   3 blocks (ref 0)
                3/0                            contains      4 bytes in   1 blocks (ref 0)
                /local/domain/1                contains     15 bytes in   1 blocks (ref 0)
        struct connection              contains    320 bytes in   3 blocks (ref 0)
            struct watch                   contains     75 bytes in   3 blocks (ref 0)
            struct watch                   contains     75 bytes in   3 blocks (ref 0)
            struct domain                  contains    136 bytes in   2 blocks (ref 0)
                /local/domain/1                contains     16 bytes in   1 blocks (ref 0)
        struct connection              contains    184 bytes in   1 blocks (ref 0)
            struct domain                  contains    136 bytes in   2 blocks (ref 0)
                /local/domain/12               contains     16 bytes in   1 blocks (ref 0)
";
        assert_eq!(count(report, 1), Some(2));
        assert_eq!(count(report, 12), Some(0));
        assert_eq!(count(report, 2), None);
    }
}
