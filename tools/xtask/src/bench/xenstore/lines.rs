// SPDX-License-Identifier: BSD-2-Clause
//! The lines `RESULT stress.*` that every place prints about a workload: a child driver in the guest's log, `xenpeer stress` on its
//! standard output.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// One workload that has come to its end without a failed check.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) place: String,
    pub(crate) profile: String,
    /// Requests that are on their way at a time.
    pub(crate) workers: u32,
    pub(crate) operations: u64,
    /// Operations that ended in an error, as they had to.
    pub(crate) errors: u64,
    /// Transactions that were begun again.
    pub(crate) retries: u64,
    /// Ticks of the place's clock, from the first operation to the end of the last one.
    pub(crate) elapsed: u64,
    pub(crate) counted: Counted,
    /// By kind of operation.
    pub(crate) kinds: BTreeMap<String, Kind>,
    /// How often each status came.
    pub(crate) statuses: BTreeMap<String, u64>,
}

/// What some places can count in a whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counted {
    /// Instructions while the guest's processors ran.
    pub(crate) busy: Option<u64>,
    pub(crate) hypercalls: Option<u64>,
    pub(crate) sends: Option<u64>,
    pub(crate) interrupts: Option<u64>,
    pub(crate) allocations: Option<u64>,
}

/// Latency of one kind of operation, in ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kind {
    pub(crate) count: u64,
    pub(crate) min: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
    /// The guest's, of the cheapest one; only where one worker ran.
    pub(crate) instructions: Option<u64>,
}

impl Run {
    /// A tick is a nanosecond.
    pub(crate) fn rate(&self) -> f64 {
        self.operations as f64 * 1e9 / self.elapsed.max(1) as f64
    }

    /// What was counted, for one operation.
    pub(crate) fn each(&self, counted: Option<u64>) -> Option<f64> {
        counted.map(|count| count as f64 / self.operations as f64)
    }
}

/// The words behind the name of a line.
struct Words<'a> {
    line: &'a str,
    words: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    /// Takes a line that is one of ours apart; its name first.
    fn new(line: &'a str) -> Option<(&'a str, Self)> {
        let rest = line.strip_prefix("RESULT stress.")?;
        let (name, words) = rest.split_once(' ').unwrap_or((rest, ""));
        let words = words.split(' ').filter_map(|word| word.split_once('='));
        let words = words.collect();
        Some((name, Self { line, words }))
    }

    fn text(&self, key: &str) -> Result<&'a str> {
        let word = self.words.get(key).copied();
        word.with_context(|| format!("no {key} in {:?}", self.line))
    }

    fn number(&self, key: &str) -> Result<u64> {
        let number = self.text(key)?.parse();
        number.with_context(|| format!("{key} is no number in {:?}", self.line))
    }

    fn optional(&self, key: &str) -> Result<Option<u64>> {
        self.words
            .contains_key(key)
            .then(|| self.number(key))
            .transpose()
    }
}

/// What the workload `id` has come to, in all lines of its place.
///
/// # Errors
///
/// It has not come to its end, a line lacks something, or a check failed; then the message has what was wrong.
pub(crate) fn run(lines: &[String], id: u32) -> Result<Run> {
    let id = u64::from(id);
    let (mut run, mut failed, mut done) = (None, None, false);
    let (mut kinds, mut statuses, mut wrong) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut counted = Counted::default();
    for (name, words) in lines.iter().filter_map(|line| Words::new(line)) {
        // The driver could not tell whose the line was that it did not understand.
        ensure!(name != "refused", "refused: {:?}", words.line);
        if words.number("id")? != id {
            continue;
        }
        ensure!(
            !done,
            "a line behind the end of its workload: {:?}",
            words.line
        );
        match name {
            "run" => {
                ensure!(run.is_none(), "workload {id} ran twice");
                if words.text("status")? != "ok" {
                    failed = Some(words.line);
                }
                run = Some(head(&words)?);
            }
            "op" => {
                let kind = words.text("op")?;
                let twice = kinds.insert(kind.to_owned(), latency(&words)?).is_some();
                ensure!(!twice, "{kind} comes twice: {:?}", words.line);
            }
            "error" => {
                let status = words.text("status")?.to_owned();
                *statuses.entry(status).or_default() += words.number("count")?;
            }
            "cost" => counted = cost(&words)?,
            "wrong" => wrong.push(words.line),
            "done" => done = true,
            // What the tree must be in the end; dom0 compares.
            _ => {}
        }
    }
    if failed.is_some() || !wrong.is_empty() {
        let lines: Vec<_> = failed.into_iter().chain(wrong).collect();
        bail!("checks of workload {id} failed:\n  {}", lines.join("\n  "));
    }
    let run = run.with_context(|| format!("there is no result of workload {id}"))?;
    ensure!(done, "workload {id} has not come to its end");
    ensure!(
        run.operations > 0 && !kinds.is_empty(),
        "workload {id} did nothing"
    );
    Ok(Run {
        counted,
        kinds,
        statuses,
        ..run
    })
}

fn head(words: &Words<'_>) -> Result<Run> {
    let workers = words.number("workers")?;
    Ok(Run {
        place: words.text("place")?.to_owned(),
        profile: words.text("profile")?.to_owned(),
        workers: u32::try_from(workers)
            .with_context(|| format!("too many workers in {:?}", words.line))?,
        operations: words.number("operations")?,
        errors: words.number("errors")?,
        retries: words.number("retries")?,
        elapsed: words.number("elapsed")?,
        counted: Counted::default(),
        kinds: BTreeMap::new(),
        statuses: BTreeMap::new(),
    })
}

fn cost(words: &Words<'_>) -> Result<Counted> {
    Ok(Counted {
        busy: words.optional("busy")?,
        hypercalls: words.optional("hypercalls")?,
        sends: words.optional("sends")?,
        interrupts: words.optional("interrupts")?,
        allocations: words.optional("allocations")?,
    })
}

fn latency(words: &Words<'_>) -> Result<Kind> {
    Ok(Kind {
        count: words.number("count")?,
        min: words.number("min")?,
        p50: words.number("p50")?,
        p90: words.number("p90")?,
        p99: words.number("p99")?,
        max: words.number("max")?,
        instructions: words.optional("instructions")?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A workload of one worker, as a child driver prints it.
    pub(in super::super) const GOOD: [&str; 8] = [
        "RESULT stress.error id=3 status=ENOENT count=12",
        "RESULT stress.op id=3 op=read count=3000 min=90000 p50=100000 p90=120000 p99=150000 max=190000 instructions=72000",
        "RESULT stress.op id=3 op=write count=1000 min=91000 p50=101000 p90=121000 p99=151000 max=191000 instructions=73000",
        "RESULT stress.model id=3 worker=0 first=0 keys=3r,0-,7n,",
        "KERNEL: something else",
        "RESULT stress.run id=3 place=async profile=latency status=ok tasks=1 workers=1 operations=4000 requests=4100 errors=12 \
         retries=1 elapsed=400000000 rate=10000",
        "RESULT stress.cost id=3 busy=200000000 hypercalls=4100 sends=4000 interrupts=8000 allocations=4400",
        "RESULT stress.done id=3",
    ];

    pub(in super::super) fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    fn changed(from: &str, to: &str) -> Vec<String> {
        let changed: Vec<_> = GOOD.iter().map(|line| line.replace(from, to)).collect();
        assert_ne!(changed, lines(&GOOD), "{from}");
        changed
    }

    fn refused(lines: &[String]) -> String {
        format!("{:#}", run(lines, 3).expect_err("refused"))
    }

    #[test]
    fn a_workload_is_read_with_its_kinds_and_statuses() {
        let mut all = lines(&[
            "RESULT stress.run id=2 status=failed",
            "RESULT stress.done id=2",
        ]);
        all.extend(lines(&GOOD));
        let run = run(&all, 3).expect("a run");
        assert_eq!(
            (run.place.as_str(), run.profile.as_str()),
            ("async", "latency")
        );
        assert_eq!((run.workers, run.errors, run.retries), (1, 12, 1));
        assert_eq!(run.rate(), 10_000.0);
        assert_eq!(run.each(run.counted.busy), Some(50_000.0));
        assert_eq!(run.kinds.len(), 2);
        assert_eq!(run.kinds["read"].p99, 150_000);
        assert_eq!(run.kinds["write"].instructions, Some(73_000));
        assert_eq!(run.statuses["ENOENT"], 12);
    }

    #[test]
    fn what_a_place_can_not_count_may_be_left_out() {
        let fewer = [&GOOD[..6], &GOOD[7..]].concat();
        let without = run(&lines(&fewer), 3).expect("a run");
        assert_eq!(without.counted, Counted::default());
        let run = run(&changed(" sends=4000", ""), 3).expect("a run");
        assert_eq!(run.counted.hypercalls, Some(4100));
        assert_eq!(run.each(run.counted.sends), None);
    }

    #[test]
    fn a_line_that_lacks_something_is_refused() {
        for key in [
            "workers=1 ",
            "operations=4000 ",
            "errors=12 ",
            "retries=1 ",
            "elapsed=400000000 ",
            "place=async ",
            "status=ok ",
            "count=3000 ",
            "p99=150000 ",
            " max=190000",
            "op=read ",
            "status=ENOENT ",
        ] {
            let message = refused(&changed(key, ""));
            let name = key.trim().split('=').next().expect("a name");
            assert!(message.contains(&format!("no {name} in")), "{message}");
        }
        assert!(refused(&changed("p50=100000", "p50=x")).contains("p50 is no number"));
        assert!(refused(&changed("hypercalls=4100", "hypercalls=")).contains("hypercalls"));
    }

    #[test]
    fn a_workload_without_its_end_or_its_beginning_is_refused() {
        assert!(refused(&lines(&GOOD[..7])).contains("has not come to its end"));
        assert!(refused(&lines(&GOOD[6..])).contains("no result of workload 3"));
        assert!(refused(&[]).contains("no result of workload 3"));
        let twice = [&GOOD[5..6], &GOOD].concat();
        assert!(refused(&lines(&twice)).contains("ran twice"));
        let behind = [&GOOD[..], &GOOD[1..2]].concat();
        assert!(refused(&lines(&behind)).contains("behind the end"));
        assert!(refused(&changed(" operations=4000", " operations=0")).contains("did nothing"));
    }

    #[test]
    fn a_failed_check_is_an_error_that_says_what_was_wrong() {
        let mut all = changed("status=ok", "status=failed");
        all.insert(
            3,
            "RESULT stress.wrong id=3 what=key 5 was never written".to_owned(),
        );
        let message = refused(&all);
        assert!(
            message.contains("what=key 5 was never written"),
            "{message}"
        );
        assert!(
            refused(&changed("status=ok", "status=failed")).contains("checks of workload 3 failed")
        );
        // A complaint counts, whatever the status says.
        let mut all = lines(&GOOD);
        all.insert(1, "RESULT stress.wrong id=3 what=x".to_owned());
        assert!(refused(&all).contains("what=x"));
        let unread = refused(&lines(&["RESULT stress.refused what=colour=: no such key"]));
        assert!(unread.contains("no such key"), "{unread}");
    }
}
