// SPDX-License-Identifier: BSD-2-Clause
//! Suite `bus`: what the bus services cost a guest on Xen in the rig, as `tools/xenbench` measures it there, and dom0's own client
//! of the same xenstored in the same run.
//!
//! The rig's clock counts instructions: a tick of the guest's time stamp counter is one, and so is a nanosecond of dom0's
//! CLOCK_MONOTONIC. One processor runs guest, Xen and dom0 in turns, so a rate is that of all their work together.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rig::{Cache, GuestConfig, Rig, RigConfig, pack};
use serde::Deserialize;

use super::results::Results;
use crate::build::{self, Flavor};
use crate::{run, util};

/// How long the guest may run: the whole of it, on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);
/// Awaiting callers of the crowded cases.
const CROWD: u32 = 64;
/// Watches that a guest may have.
const WATCHES: u32 = 8192;
/// Reads of dom0's client in a pass.
const READS: u32 = 1000;
/// Ticks of the rig's clock in a second.
const SECOND: f64 = 1e9;

/// Most event sends of one read.
pub(crate) const PER_READ: f64 = 1.0;
/// Most pool blocks of a read, once there were as many reads at a time before.
pub(crate) const BLOCKS: f64 = 0.0;
/// Most event sends of a read when many are awaited.
pub(crate) const SENDS: f64 = 0.2;
/// Reads a second when many are awaited, to those when one is, and to dom0's own: at least.
const CROWD_TO_ONE: f64 = 5.0;
const CROWD_TO_DOM0: f64 = 0.9;
/// What an operation may cost beside many, to what it costs beside few: at most.
const FLAT: f64 = 1.10;

/// One line of the driver, for one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figure {
    /// Instructions while the guest's processor ran.
    pub(crate) instructions: f64,
    /// Instructions until it was done.
    pub(crate) elapsed: f64,
    pub(crate) hypercalls: f64,
    pub(crate) sends: f64,
    pub(crate) allocations: f64,
}

/// What dom0's client prints.
#[derive(Deserialize)]
struct Rate {
    count: f64,
    ns: f64,
}

/// What one run has shown.
pub(crate) struct Run {
    /// By name and size; or why there is none.
    figures: BTreeMap<(String, u32), std::result::Result<Figure, String>>,
    /// Nanoseconds of a read of dom0's client: one at a time, and with many on their way.
    dom0: [f64; 2],
}

/// Boots a guest with the driver, which measures from then on; `short` is the tests' form. The rig, and the guest's home in the store.
///
/// # Errors
///
/// Something can't be built, or the rig can't run.
pub(super) fn boot(short: bool, trace: bool) -> Result<(Rig, String)> {
    let kernel = build::test_kernel().context("the test kernel")?;
    build::images(Flavor::Free, &build::IMAGES)?;
    build::images(Flavor::Free, &["xenbench"])?;
    let registry = format!(
        "V\t\\Registry\\Machine\\System\\CurrentControlSet\\Services\\xenbench\\Parameters\tShort\tdword\t{}\n",
        u32::from(short)
    );
    let seconds = LIMIT.as_secs();
    let boot = format!(
        "pnp=1\nuntil=RESULT bench done\npnp_wait={}\ntimeout={seconds}\n",
        LIMIT.as_millis()
    );
    let image = util::read(&Flavor::Free.dir().join("xenbench.sys"))?;
    let payload = run::payload(Flavor::Free, &boot, &registry)?.driver("xenbench.sys", image);
    let mut rig = Rig::start(RigConfig {
        cache: Cache::new(),
        icount: true,
        lifetime: LIMIT + Duration::from_secs(120),
        trace,
        ..RigConfig::default()
    })?;
    rig.store_quota("watches", WATCHES)?;
    let domid = rig.create_guest(&GuestConfig {
        paused: true,
        extra: vec!["max_event_channels=8192".to_owned()],
        ..GuestConfig::new(pack(&util::read(&kernel)?, &payload)?)
    })?;
    let home = format!("/local/domain/{domid}");
    rig.dom0_ok(&format!(
            "P={home}; xenstore-write $P/device/bench/0/backend-id 0 $P/data/bench/key value && xenstore-chmod $P/data/bench n{domid} \
             && xenstore-chmod $P/data/bench/key n{domid}"
        ))?;
    rig.unpause()?;
    Ok((rig, home))
}

impl Run {
    /// Boots a guest with the driver and lets it measure; `short` is the tests' form.
    ///
    /// # Errors
    ///
    /// Something can't be built, the rig can't run, or the run is wrong.
    pub(crate) fn new(short: bool) -> Result<Self> {
        let (mut rig, home) = boot(short, false)?;
        let end = rig.wait_log("^(KERNEL: (done|failed)|VERIFIER: )", LIMIT);
        let lines = rig.guest_log()?;
        let end = end.context("the guest did not come to its end")?;
        ensure!(end.starts_with("KERNEL: done status=ok"), "{end}");
        let mut dom0 = [0.0; 2];
        for (ns, depth) in dom0.iter_mut().zip([1, CROWD]) {
            let command =
                format!("xenpeer store rate {home}/data/bench/key --count {READS} --depth {depth}");
            let said = rig.dom0(&command, Duration::from_secs(120))?.ok(&command)?;
            let rate: Rate = serde_json::from_str(&said).context("what dom0's client printed")?;
            *ns = rate.ns / rate.count;
        }
        Ok(Self {
            figures: figures(&lines)?,
            dom0,
        })
    }

    /// The figure of a case, for one operation.
    ///
    /// # Errors
    ///
    /// The driver said nothing of it, or why there is none.
    pub(crate) fn figure(&self, name: &str, size: u32) -> Result<Figure> {
        match self.figures.get(&(name.to_owned(), size)) {
            Some(Ok(figure)) => Ok(*figure),
            Some(Err(why)) => bail!("{name}, {size}: {why}"),
            None => bail!("{name}, {size}: the driver said nothing"),
        }
    }
}

/// Reads `RESULT bench.CASE key=value ..`.
fn figures(
    lines: &[String],
) -> Result<BTreeMap<(String, u32), std::result::Result<Figure, String>>> {
    let mut all = BTreeMap::new();
    for line in lines {
        let Some((name, words)) = line
            .strip_prefix("RESULT bench.")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let words: BTreeMap<&str, &str> = words
            .split_whitespace()
            .filter_map(|word| word.split_once('='))
            .collect();
        let word = |key: &str| {
            words
                .get(key)
                .copied()
                .with_context(|| format!("no {key} in {line:?}"))
        };
        let number = |key: &str| -> Result<f64> {
            word(key)?
                .parse()
                .with_context(|| format!("{key} in {line:?}"))
        };
        let size = word("size")?
            .parse()
            .with_context(|| format!("size in {line:?}"))?;
        let status = word("status")?;
        if status != "ok" {
            all.insert((name.to_owned(), size), Err(status.to_owned()));
            continue;
        }
        let operations = number("operations")?;
        let each = |key: &str| Ok::<_, anyhow::Error>(number(key)? / operations);
        // Events are measured by the clock alone.
        let optional = |key: &str| words.get(key).map_or(Ok(0.0), |_| each(key));
        let figure = Figure {
            instructions: each("instructions")?,
            elapsed: optional("elapsed")?,
            hypercalls: optional("hypercalls")?,
            sends: optional("sends")?,
            allocations: each("allocations")?,
        };
        all.insert((name.to_owned(), size), Ok(figure));
    }
    ensure!(!all.is_empty(), "the driver printed no figure");
    Ok(all)
}

/// A limit of a figure.
#[derive(Clone, Copy)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn verdict(self, value: f64) -> String {
        let (word, limit, met) = match self {
            Self::AtMost(limit) => ("<=", limit, value <= limit),
            Self::AtLeast(limit) => (">=", limit, value >= limit),
        };
        let met = if met { "met" } else { "MISSED" };
        format!("  target {word} {limit}: {met}")
    }
}

/// The table that is printed while the results are gathered.
#[derive(Default)]
struct Table(Results);

impl Table {
    fn row(&mut self, case: &str, unit: &'static str, value: f64, target: Option<Target>) {
        self.0.push(case, unit, value);
        let verdict = target.map_or_else(String::new, |target| target.verdict(value));
        println!("{case:34} {value:>12.2} {unit}{verdict}");
    }

    /// A figure beside another one.
    fn ratio(
        &mut self,
        case: &str,
        unit: &'static str,
        value: f64,
        ratio: f64,
        to: &str,
        target: Target,
    ) {
        self.0.push_ratio(case, unit, value, ratio, to);
        println!(
            "{case:34} {value:>12.2} {unit}  {ratio:.2} of {to}{}",
            target.verdict(ratio)
        );
    }
}

/// Measures.
///
/// # Errors
///
/// As [`Run::new`]; a case without a figure, but those beside many things.
pub(super) fn measure() -> Result<Results> {
    const INSTRUCTIONS: &str = "instructions";
    const RATE: &str = "reads/s";
    let run = Run::new(false)?;
    let mut table = Table::default();
    println!("\nxenbus.sys in a PVH guest of one processor, by the rig's instruction clock:");
    let read = run.figure("read", 1)?;
    table.row("read", INSTRUCTIONS, read.instructions, None);
    table.row("read-elapsed", INSTRUCTIONS, read.elapsed, None);
    table.row("read-hypercalls", "hypercalls", read.hypercalls, None);
    let most = Some(Target::AtMost(PER_READ));
    table.row("read-sends", "events", read.sends, most);
    let blocks = Some(Target::AtMost(BLOCKS));
    table.row("read-allocations", "pool blocks", read.allocations, blocks);
    let blocking = run.figure("vtable-read", 1)?;
    table.row("vtable-read", INSTRUCTIONS, blocking.instructions, None);
    table.row("vtable-read-sends", "events", blocking.sends, most);
    table.row(
        "vtable-read-allocations",
        "pool blocks",
        blocking.allocations,
        None,
    );
    let one = run.figure("reads", 1)?;
    let crowd = run.figure("reads", CROWD)?;
    table.row("reads-1", INSTRUCTIONS, one.instructions, None);
    table.row("reads-64", INSTRUCTIONS, crowd.instructions, None);
    table.row("reads-64-elapsed", INSTRUCTIONS, crowd.elapsed, None);
    // xenstored, dom0's kernel, and Xen for them: no guest makes that less.
    let others = crowd.elapsed - crowd.instructions;
    table.row("reads-64-dom0", INSTRUCTIONS, others, None);
    table.row("reads-64-hypercalls", "hypercalls", crowd.hypercalls, None);
    let sends = Some(Target::AtMost(SENDS));
    table.row("reads-64-sends", "events", crowd.sends, sends);
    table.row(
        "reads-64-allocations",
        "pool blocks",
        crowd.allocations,
        blocks,
    );
    let rate = |ticks: f64| SECOND / ticks;
    let [dom0_one, dom0_crowd] = run.dom0;
    table.row("rate-1", RATE, rate(one.elapsed), None);
    table.row("rate-dom0-1", RATE, rate(dom0_one), None);
    table.row("rate-dom0-64", RATE, rate(dom0_crowd), None);
    let dom0 = dom0_one.min(dom0_crowd);
    for (to, ticks, limit) in [
        ("rate-1", one.elapsed, CROWD_TO_ONE),
        ("rate-dom0", dom0, CROWD_TO_DOM0),
    ] {
        let (value, ratio) = (rate(crowd.elapsed), ticks / crowd.elapsed);
        table.ratio("rate-64", RATE, value, ratio, to, Target::AtLeast(limit));
    }
    for case in ["event-callback", "event-poll"] {
        let figure = run.figure(case, 0)?;
        table.row(case, INSTRUCTIONS, figure.instructions, None);
        let none = Some(Target::AtMost(0.0));
        let name = format!("{case}-allocations");
        table.row(&name, "pool blocks", figure.allocations, none);
    }
    let grant = run.figure("grant", 1)?;
    table.row("grant", INSTRUCTIONS, grant.instructions, None);
    for case in [
        "watch",
        "event-callback",
        "event-poll-channels",
        "event-poll-tasks",
    ] {
        let few = run.figure(case, 16)?.instructions;
        let first = format!("{case}-16");
        table.row(&first, INSTRUCTIONS, few, None);
        for size in [256, 4096] {
            match run.figure(case, size) {
                Ok(figure) => {
                    let (value, ratio) = (figure.instructions, figure.instructions / few);
                    let name = format!("{case}-{size}");
                    let target = Target::AtMost(FLAT);
                    table.ratio(&name, INSTRUCTIONS, value, ratio, &first, target);
                }
                Err(why) => println!("{case}-{size}: MISSED, {why}"),
            }
        }
    }
    Ok(table.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_the_cost_of_one_operation() {
        let lines = [
            "RESULT bench.reads size=64 status=ok operations=4 instructions=40 elapsed=80 hypercalls=2 sends=1 allocations=4 passes=5",
            "RESULT bench.watch size=4096 status=STATUS_QUOTA_EXCEEDED",
            "RESULT bench done",
        ]
        .map(str::to_owned);
        let run = Run {
            figures: figures(&lines).expect("figures"),
            dom0: [0.0; 2],
        };
        let figure = run.figure("reads", 64).expect("figure");
        assert_eq!(
            (figure.instructions, figure.elapsed, figure.sends),
            (10.0, 20.0, 0.25)
        );
        let why = run.figure("watch", 4096).expect_err("none").to_string();
        assert!(why.contains("QUOTA"), "{why}");
        assert!(run.figure("read", 1).is_err());
    }

    #[test]
    fn a_line_that_lacks_a_number_is_refused() {
        for bad in [
            "RESULT bench.read size=1 status=ok operations=1 instructions=x allocations=1",
            "RESULT bench.read size=1 status=ok instructions=1 allocations=1",
            "RESULT bench.read status=ok operations=1 instructions=1 allocations=1",
        ] {
            assert!(figures(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(figures(&[]).is_err());
    }

    #[test]
    fn a_target_is_met_at_its_limit_and_missed_beyond() {
        assert!(Target::AtMost(0.2).verdict(0.2).ends_with(": met"));
        assert!(Target::AtMost(0.2).verdict(0.21).ends_with("MISSED"));
        assert!(Target::AtLeast(5.0).verdict(5.0).ends_with(": met"));
        assert!(Target::AtLeast(5.0).verdict(4.99).ends_with("MISSED"));
    }
}
