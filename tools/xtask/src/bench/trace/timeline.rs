// SPDX-License-Identifier: BSD-2-Clause
//! The timeline of one request, out of a trace.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use rig::{Executed, Trace, TraceEvent, TraceKind};

use super::points::{self, Point};

/// Where the test kernel has put an image.
#[derive(Clone, Debug)]
pub(super) struct Image {
    name: String,
    base: u64,
    size: u64,
}

/// The images that a guest's lines tell of. One that is loaded again counts at its last place.
///
/// # Errors
///
/// A line makes no sense, or there is none.
pub(super) fn images(lines: &[String]) -> Result<Vec<Image>> {
    let mut images = Vec::new();
    for line in lines {
        let Some(rest) = line.strip_prefix("KERNEL: load ") else {
            continue;
        };
        let image = image(rest).with_context(|| format!("no image in {line:?}"))?;
        // The newest first.
        images.insert(0, image);
    }
    ensure!(!images.is_empty(), "the test kernel loaded no image");
    Ok(images)
}

fn image(text: &str) -> Option<Image> {
    let mut words = text.split(' ');
    let name = words.next()?.to_owned();
    let mut hex = |key: &str| {
        let digits = words.next()?.strip_prefix(key)?.strip_prefix("=0x")?;
        u64::from_str_radix(digits, 16).ok()
    };
    Some(Image {
        name,
        base: hex("base")?,
        size: hex("size")?,
    })
}

/// Whose instructions they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The guest's.
    pub(super) guest: u64,
    /// Xen's, for whomever, and dom0's.
    pub(super) others: Executed,
    /// Times that the processor left the guest.
    pub(super) exits: u32,
}

impl Cost {
    pub(super) fn total(&self) -> u64 {
        self.guest + self.others.total()
    }

    fn add(&mut self, other: Self) {
        let sum = &mut self.others;
        self.guest += other.guest;
        self.exits += other.exits;
        sum.xen += other.others.xen;
        sum.kernel += other.others.kernel;
        sum.user += other.others.user;
    }
}

/// A point that the request passed.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(super) point: Point,
    /// Whose probe it was.
    pub(super) image: String,
    /// Instructions since the first point.
    pub(super) at: u64,
    /// Since the point before.
    pub(super) cost: Cost,
}

/// A time outside of the guest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outside {
    /// Instructions since the first point.
    pub(super) at: u64,
    pub(super) executed: Executed,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub(super) steps: Vec<Step>,
    pub(super) outside: Vec<Outside>,
}

impl Timeline {
    /// The last request of `trace` that was alone on its way.
    ///
    /// # Errors
    ///
    /// There is none: why the last one is not. A probe is in no image.
    pub(super) fn last(trace: &Trace, images: &[Image]) -> Result<Self> {
        let events = &trace.events;
        let is = |point: Point| move |event: &TraceEvent| event.kind == TraceKind::Probe(point.0);
        let mut why = None;
        let mut count = 0;
        for (done, _) in events
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, e)| is(Point::DONE)(e))
        {
            let Some(submit) = events[..done].iter().rposition(is(Point::SUBMIT)) else {
                break;
            };
            count += 1;
            let request = &events[submit..=done];
            match points::check(&passed(request)) {
                Ok(()) => return Self::of(request, images),
                Err(error) => why = why.or(Some(error)),
            }
        }
        match why {
            Some(why) => Err(why.context(format!(
                "none of {count} requests in the trace was alone; the last"
            ))),
            None => bail!(
                "no request in the trace is complete: {} events, {} older ones were not kept",
                events.len(),
                trace.lost
            ),
        }
    }

    /// From the events of a request, the first and the last of which are probes.
    fn of(events: &[TraceEvent], images: &[Image]) -> Result<Self> {
        let begin = events.first().map(|event| event.executed);
        let begin = begin.unwrap_or_default();
        let mut timeline = Self {
            steps: Vec::new(),
            outside: Vec::new(),
        };
        let mut cost = Cost::default();
        let mut last = None;
        for event in events {
            if let Some(last) = last.replace(*event) {
                cost.add(timeline.between(last, event.executed, begin));
            }
            let TraceKind::Probe(number) = event.kind else {
                continue;
            };
            let image = images
                .iter()
                .find(|image| event.address.wrapping_sub(image.base) < image.size)
                .with_context(|| format!("the probe at {:#x} is in no image", event.address))?;
            timeline.steps.push(Step {
                point: Point(number),
                image: image.name.clone(),
                at: event.executed.since(begin).total(),
                cost: std::mem::take(&mut cost),
            });
        }
        Ok(timeline)
    }

    /// What happened from `event` until `next`.
    fn between(&mut self, event: TraceEvent, next: Executed, begin: Executed) -> Cost {
        let executed = next.since(event.executed);
        if event.kind != TraceKind::Leave {
            let guest = executed.total();
            return Cost {
                guest,
                ..Cost::default()
            };
        }
        self.outside.push(Outside {
            at: event.executed.since(begin).total(),
            executed,
        });
        Cost {
            guest: 0,
            others: executed,
            exits: 1,
        }
    }

    /// The image that passed the point of this name first.
    pub(crate) fn image(&self, point: &str) -> Option<&str> {
        let mut steps = self.steps.iter();
        let step = steps.find(|step| step.point.name() == point)?;
        Some(&step.image)
    }

    /// Instructions of dom0's programs, which is xenstored.
    pub(crate) fn xenstored(&self) -> u64 {
        self.cost().others.user
    }

    /// All of it.
    pub(super) fn cost(&self) -> Cost {
        let mut sum = Cost::default();
        for step in &self.steps {
            sum.add(step.cost);
        }
        sum
    }
}

fn passed(events: &[TraceEvent]) -> Vec<Point> {
    let point = |event: &TraceEvent| match event.kind {
        TraceKind::Probe(number) => Some(Point(number)),
        TraceKind::Enter | TraceKind::Leave => None,
    };
    events.iter().filter_map(point).collect()
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, at: &str, cost: &Cost| {
            let Cost {
                guest,
                others: Executed { xen, kernel, user },
                exits,
            } = cost;
            let total = cost.total();
            write!(
                f,
                "{at:>8} {total:>8} {guest:>8} {xen:>8} {kernel:>8} {user:>9} {exits:>6}"
            )
        };
        writeln!(
            f,
            "{:10}  {:13} {:>8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>6}",
            "point", "image", "at", "since", "guest", "Xen", "dom0", "programs", "exits"
        )?;
        for step in &self.steps {
            write!(f, "{:10}  {:13} ", step.point.name(), step.image)?;
            row(f, &step.at.to_string(), &step.cost)?;
            writeln!(f, "  {}", step.point.meaning())?;
        }
        write!(f, "{:10}  {:13} ", "all", "")?;
        row(f, "", &self.cost())?;
        writeln!(f)?;
        f.write_str(
            "since: the point before; of these the guest's, Xen's for anybody, those of dom0's kernel and programs; exits from the guest\n",
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::testing::{LINES, RECORD};
    use super::*;

    fn lines() -> Vec<String> {
        LINES.map(str::to_owned).to_vec()
    }

    pub(in super::super) fn timeline(record: &str) -> Result<Timeline> {
        let trace = Trace::parse(record)?;
        Timeline::last(&trace, &images(&lines())?)
    }

    /// `RECORD` without the lines that begin with `word`.
    fn without(word: &str) -> String {
        let lines = RECORD
            .lines()
            .filter(|line| line.split(' ').next() != Some(word));
        lines.flat_map(|line| [line, "\n"]).collect()
    }

    #[test]
    fn a_recorded_read_becomes_steps_that_add_up() {
        let timeline = timeline(RECORD).expect("timeline");
        let steps: Vec<(&str, &str, u64)> = timeline
            .steps
            .iter()
            .map(|step| (step.point.name(), step.image.as_str(), step.at))
            .collect();
        assert_eq!(steps.len(), 18);
        assert_eq!(steps[0], ("submit", "xenbench.sys", 0));
        assert_eq!(steps[5], ("ring write", "xenbus.sys", 5758));
        assert_eq!(steps[17], ("done", "xenbench.sys", 119_260));
        let cost = timeline.cost();
        assert_eq!(cost.total(), 119_260);
        assert_eq!(cost.exits as usize, timeline.outside.len());
        assert_eq!(cost.others.user, 10_806);
        let text = timeline.to_string();
        assert_eq!(text.lines().count(), 21, "{text}");
        assert!(
            text.contains("event send  xenbus.sys        5792       34"),
            "{text}"
        );
    }

    #[test]
    fn a_request_that_lacks_a_point_is_refused_and_says_which() {
        let error = format!("{:#}", timeline(&without("9")).expect_err("no demux"));
        assert_eq!(
            error,
            "none of 1 requests in the trace was alone; the last: demux occurs 0 times, not once"
        );
        let error = format!("{:#}", timeline(&without("1")).expect_err("no submit"));
        assert!(
            error.starts_with("no request in the trace is complete"),
            "{error}"
        );
    }

    #[test]
    fn an_older_request_is_taken_when_the_last_was_not_alone() {
        let crowd = format!(
            "{RECORD}1 fffff800000c0f57 900000000 900000000 900000000\n11 fffff800000c0fc8 900000001 900000000 900000000\n"
        );
        assert_eq!(timeline(&crowd).expect("timeline").cost().total(), 119_260);
    }

    #[test]
    fn a_probe_outside_of_every_image_is_refused() {
        let trace = Trace::parse(RECORD).expect("trace");
        let images = images(&lines()[..2]).expect("images");
        let error = Timeline::last(&trace, &images)
            .expect_err("unknown")
            .to_string();
        assert_eq!(error, "the probe at 0xfffff800000c0f57 is in no image");
    }

    #[test]
    fn lines_that_make_no_sense_are_refused() {
        assert!(images(&["KERNEL: load xen.sys base=12".to_owned()]).is_err());
        assert!(images(&["KERNEL: done".to_owned()]).is_err());
    }
}
