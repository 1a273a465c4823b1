// SPDX-License-Identifier: BSD-2-Clause
//! The tables of a benchmark, for the terminal and for the report.

use std::fmt;

use super::figures::{DOM0, Each, KINDS, Key, Measured, Metric};

/// A table: the first column has names, the others figures.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) title: String,
    /// How to read it.
    pub(super) note: &'static str,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]);
            let cells = cells.filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        writeln!(f, "\n{}", self.title)?;
        for row in [&self.head].into_iter().chain(&self.rows) {
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                match column {
                    0 => write!(f, "{cell:width$}")?,
                    _ => write!(f, "  {cell:>width$}")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Every table of what was measured.
pub(super) fn all(measured: &Measured) -> Vec<Table> {
    let mut tables = Vec::new();
    for vcpus in measured.vcpus() {
        tables.push(rates(measured, vcpus));
        tables.extend(latencies(measured, vcpus));
        tables.extend(instructions(measured, vcpus));
        tables.push(counted(measured, vcpus));
        tables.extend(statuses(measured, vcpus));
    }
    tables.push(xen_test(measured));
    tables.retain(|table| !table.rows.is_empty());
    tables
}

fn of(vcpus: u32) -> String {
    let plural = if vcpus == 1 { "" } else { "s" };
    format!("{vcpus} vCPU{plural}")
}

/// A number with thousands apart, and digits behind the point when it is small.
fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A figure, and in brackets what part of dom0's it is.
fn beside(measured: &Measured, key: &Key, metric: Metric, shown: impl Fn(f64) -> String) -> String {
    let Some(value) = measured.value(key, metric) else {
        return "-".to_owned();
    };
    let dom0 = Key {
        place: DOM0.to_owned(),
        ..key.clone()
    };
    match measured.value(&dom0, metric) {
        Some(other) if key.place != DOM0 && other != 0.0 => {
            format!("{} ({:.2})", shown(value), value / other)
        }
        _ => shown(value),
    }
}

/// Workloads that ran at that number of processors, smaller numbers of workers first.
pub(super) fn workloads(measured: &Measured, vcpus: u32) -> Vec<&str> {
    let mut all: Vec<(&str, u32)> = Vec::new();
    for key in measured.keys().filter(|key| key.vcpus == vcpus) {
        if all.iter().all(|(name, _)| *name != key.workload) {
            let workers = measured.runs(key).first().map_or(0, |run| run.workers);
            all.push((&key.workload, workers));
        }
    }
    let family = |name: &str| {
        name.trim_end_matches(|c: char| c.is_ascii_digit())
            .to_owned()
    };
    all.sort_by_key(|(name, workers)| (family(name), *workers));
    all.into_iter().map(|(name, _)| name).collect()
}

fn key(vcpus: u32, workload: &str, place: &str) -> Key {
    Key {
        vcpus,
        workload: workload.to_owned(),
        place: place.to_owned(),
    }
}

fn rates(measured: &Measured, vcpus: u32) -> Table {
    let places = measured.places(vcpus);
    let mut head = vec!["workload".to_owned(), "workers".to_owned()];
    head.extend(places.iter().map(|&place| place.to_owned()));
    let rows = workloads(measured, vcpus).into_iter().map(|workload| {
        let keys = places.iter().map(|place| key(vcpus, workload, place));
        let workers = keys
            .clone()
            .find_map(|key| measured.runs(&key).first().map(|run| run.workers));
        let mut row = vec![workload.to_owned(), workers.unwrap_or(0).to_string()];
        row.extend(keys.map(|key| beside(measured, &key, Metric::Rate, number)));
        row
    });
    Table {
        title: format!("Operations a second, {}", of(vcpus)),
        note: "In brackets: as a part of what dom0's client reaches with the same workload in the same run; more is better.",
        rows: rows.collect(),
        head,
    }
}

fn latencies(measured: &Measured, vcpus: u32) -> Option<Table> {
    let places = measured.places(vcpus);
    let microseconds = |ns: f64| format!("{:.1}", ns / 1000.0);
    let mut rows = Vec::new();
    for kind in KINDS {
        for &place in &places {
            let key = key(vcpus, "latency", place);
            let cell = |percent| {
                let metric = Metric::Percentile(kind, percent);
                beside(measured, &key, metric, microseconds)
            };
            if measured.value(&key, Metric::Percentile(kind, 50)).is_some() {
                let name = format!("{kind}, {place}");
                rows.push(vec![name, cell(50), cell(90), cell(99)]);
            }
        }
    }
    (!rows.is_empty()).then(|| Table {
        title: format!("Latency in virtual microseconds, one request at a time, {}", of(vcpus)),
        note: "A virtual microsecond is 1000 instructions of the whole machine. In brackets: as a part of dom0's client's; less is better.",
        head: ["operation", "p50", "p90", "p99"].map(str::to_owned).to_vec(),
        rows,
    })
}

fn instructions(measured: &Measured, vcpus: u32) -> Option<Table> {
    let mut places = measured.places(vcpus);
    places.retain(|&place| {
        let key = key(vcpus, "latency", place);
        KINDS
            .iter()
            .any(|kind| measured.value(&key, Metric::Instructions(kind)).is_some())
    });
    let mut rows = Vec::new();
    for kind in KINDS {
        let cells: Vec<_> = places
            .iter()
            .map(|place| measured.value(&key(vcpus, "latency", place), Metric::Instructions(kind)))
            .collect();
        if cells.iter().any(Option::is_some) {
            let mut row = vec![kind.to_owned()];
            row.extend(
                cells
                    .into_iter()
                    .map(|cell| cell.map_or_else(|| "-".to_owned(), number)),
            );
            rows.push(row);
        }
    }
    let mut head = vec!["operation".to_owned()];
    head.extend(places.iter().map(|&place| place.to_owned()));
    (!rows.is_empty()).then(|| Table {
        title: format!(
            "Instructions of the guest for one operation, one at a time, {}",
            of(vcpus)
        ),
        note: "The cheapest of all rounds. These may not grow: the tests hold them to a baseline.",
        head,
        rows,
    })
}

fn counted(measured: &Measured, vcpus: u32) -> Table {
    let mut rows = Vec::new();
    for workload in workloads(measured, vcpus) {
        for place in measured.places(vcpus) {
            let key = key(vcpus, workload, place);
            let cells = Each::ALL.map(|each| measured.value(&key, Metric::Each(each)));
            if cells.iter().any(Option::is_some) {
                let mut row = vec![format!("{workload}, {place}")];
                row.extend(cells.map(|cell| cell.map_or_else(|| "-".to_owned(), number)));
                rows.push(row);
            }
        }
    }
    let mut head = vec!["workload".to_owned()];
    head.extend(Each::ALL.map(|each| each.name().to_owned()));
    Table {
        title: format!("What one operation takes of the guest, {}", of(vcpus)),
        note: "The whole run divided by its operations: instructions while the guest's processors ran, hypercalls, event sends among them, \
               interrupts of the bus, pool blocks.",
        head,
        rows,
    }
}

fn xen_test(measured: &Measured) -> Table {
    let microseconds = |ns: u64| format!("{:.1}", ns as f64 / 1000.0);
    let rows = measured.xen_test.iter().map(|test| {
        let times = [test.average, test.least, test.most].map(microseconds);
        [test.name.clone()].into_iter().chain(times).collect()
    });
    Table {
        title: "Xen's own test of xenstored in dom0, virtual microseconds".to_owned(),
        note: "test-xenstore of Debian's Xen utilities: what the daemon itself can do. Each row but the reads and writes is several requests.",
        head: ["request", "average", "least", "most"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
    }
}

/// Errors that came, as they had to: a failed check would have ended the benchmark.
fn statuses(measured: &Measured, vcpus: u32) -> Option<Table> {
    let mut rows = Vec::new();
    for workload in workloads(measured, vcpus) {
        for place in measured.places(vcpus) {
            let runs = measured.runs(&key(vcpus, workload, place));
            let Some(last) = runs.last().filter(|run| run.errors + run.retries > 0) else {
                continue;
            };
            let statuses: Vec<_> = last
                .statuses
                .iter()
                .map(|(status, count)| format!("{status} {count}"))
                .collect();
            rows.push(vec![
                format!("{workload}, {place}"),
                last.operations.to_string(),
                last.errors.to_string(),
                last.retries.to_string(),
                statuses.join(", "),
            ]);
        }
    }
    (!rows.is_empty()).then(|| Table {
        title: format!("Refused requests of the last round, {}", of(vcpus)),
        note: "All of these are provoked and checked. A retry is a transaction that met a conflict and was begun again.",
        head: ["workload", "operations", "errors", "retries", "by status"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::measured;
    use super::*;

    #[test]
    fn the_tables_have_rates_beside_dom0_and_a_dash_where_nothing_is_counted() {
        let tables = all(&measured());
        let text: String = tables.iter().map(ToString::to_string).collect();
        assert!(text.contains("7 500 (0.38)"), "{text}");
        assert!(text.contains("read, async"), "{text}");
        assert!(text.contains("100.0 (1.00)"), "{text}");
        assert!(text.contains("latency, async"), "{text}");
        assert!(text.contains("ENOENT 12"), "{text}");
        assert!(!text.contains("latency, dom0  -"), "{text}");
    }

    #[test]
    fn numbers_are_grouped_and_small_ones_keep_their_digits() {
        assert_eq!(number(1_234_567.0), "1 234 567");
        assert_eq!(number(999.4), "999");
        assert_eq!(number(0.0625), "0.06");
    }
}
