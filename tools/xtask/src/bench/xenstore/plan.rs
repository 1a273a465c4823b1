// SPDX-License-Identifier: BSD-2-Clause
//! Which workloads are measured, and how large they are.

/// Numbers of outstanding requests for which the rate is measured.
const DEPTHS: [u32; 5] = [1, 4, 16, 64, 256];
/// The one that the tests have.
const SHORT_DEPTH: u32 = 64;
/// Transactions of one worker beside dom0's, and how many: also in short enough to meet some of these.
pub(super) const ALONE: &str = "transactions-1";
const ALONE_COUNT: u32 = 40;
/// Kinds of operations that the baseline has, and how many are on their way. Many transactions at once do not repeat themselves.
const COUNTED: [(&str, u32); 7] = [
    ("read", 1),
    ("write", 1),
    ("directory", 1),
    ("transaction", 1),
    ("read", 64),
    ("write", 64),
    ("directory", 64),
];

/// xenstored's limit of a node's size, to which the names of its children count: for long lists.
const LONG: &[(&str, u32, u32)] = &[("node-size", 65_536, 2048)];

/// Something else that goes on meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    /// dom0 transfers between the same accounts.
    Transfers,
    /// Xen's own xenstore test makes requests at random.
    XenTest,
}

/// One workload.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// In cases and tables.
    pub(super) name: String,
    /// What the place is told, but for number and directories.
    pub(super) line: String,
    pub(super) beside: Beside,
    /// Limits of xenstored for a guest while it runs, and those that Debian's begins with.
    pub(super) quotas: &'static [(&'static str, u32, u32)],
    /// Runs before the limit of open transactions is raised: xenstored 4.17 does not lower it for a guest that it knows.
    pub(super) first: bool,
}

fn planned(name: impl Into<String>, line: String) -> Planned {
    Planned {
        name: name.into(),
        line,
        beside: Beside::Nothing,
        quotas: &[],
        first: false,
    }
}

/// The whole set; `short` is the form of the tests, which only counts and checks.
pub(super) fn all(short: bool) -> Vec<Planned> {
    // Operations of a workload: enough for a 99th percentile, few enough for all rounds in a quarter of an hour.
    let count = |full: u32| if short { full / 10 } else { full };
    let mut list = vec![planned(
        "latency",
        format!("profile=latency count={}", count(400)),
    )];
    let depths = if short { &[SHORT_DEPTH][..] } else { &DEPTHS };
    for &depth in depths {
        // Two keys of each worker: with 256 of them more would be over xenstored's limit of nodes. Enough operations of each that the
        // start of its task is small beside them.
        let operations = count(1000).max(if short { 2 } else { 8 } * depth);
        let line =
            format!("profile=throughput tasks={depth} outstanding=1 keys=2 count={operations}");
        list.push(planned(format!("throughput-{depth}"), line));
    }
    // One worker meets no conflicts but with dom0.
    for (name, tasks, operations) in [("transactions", 8, count(30)), (ALONE, 1, ALONE_COUNT)] {
        list.push(Planned {
            beside: Beside::Transfers,
            ..planned(
                name,
                format!("profile=transactions tasks={tasks} count={operations}"),
            )
        });
    }
    list.push(planned(
        "watches",
        format!("profile=watches count={}", count(120)),
    ));
    list.push(Planned {
        quotas: LONG,
        ..planned(
            "directory",
            format!("profile=directory count={}", count(40)),
        )
    });
    list.push(planned(
        "mixed",
        format!("profile=mixed count={}", count(200)),
    ));
    if !short {
        list.push(Planned {
            // Few, and little to set up: beside that load each takes long.
            beside: Beside::XenTest,
            ..planned(
                "mixed+xen-test",
                format!("profile=mixed tasks=8 keys=2 count={}", count(20)),
            )
        });
    }
    list.push(Planned {
        // Few enough that they are reached.
        quotas: &[("watches", 28, 128)],
        first: true,
        ..planned("hostile", format!("profile=hostile count={}", count(80)))
    });
    list
}

/// What the baseline is made of: one kind of operation at a time; and lists that take several replies.
pub(super) fn counted() -> Vec<Planned> {
    let counted = COUNTED.into_iter().map(|(kind, depth)| {
        let operations = if depth == 1 { 64 } else { 8 * depth };
        planned(
            format!("{kind}-{depth}"),
            format!("profile=throughput tasks={depth} keys=2 count={operations} mix={kind}:1"),
        )
    });
    let long = Planned {
        quotas: LONG,
        ..planned(
            "list-1",
            "profile=directory count=16 mix=directory:1".to_owned(),
        )
    };
    counted.chain([long]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_one_that_the_places_understand() {
        for planned in all(false).iter().chain(&all(true)).chain(&counted()) {
            let line: Result<workload::Workload, _> = planned.line.parse();
            assert!(line.is_ok(), "{}: {line:?}", planned.line);
        }
    }

    #[test]
    fn names_are_there_once_and_have_no_separator_of_cases() {
        let list = [all(false), counted()].concat();
        for (index, planned) in list.iter().enumerate() {
            assert!(!planned.name.contains('/'), "{}", planned.name);
            assert!(
                list[index + 1..]
                    .iter()
                    .all(|other| other.name != planned.name)
            );
        }
    }
}
