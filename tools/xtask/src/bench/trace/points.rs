// SPDX-License-Identifier: BSD-2-Clause
//! The points that a request passes, and the order in which it does.

use anyhow::{Result, bail, ensure};

/// A point: its number in the probe, as kexec's `probe::Point` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point(pub(super) u8);

impl Point {
    pub(super) const SUBMIT: Self = Self(1);
    pub(super) const QUEUE: Self = Self(2);
    pub(super) const WAKE: Self = Self(3);
    pub(super) const DPC: Self = Self(4);
    pub(super) const POLL: Self = Self(5);
    pub(super) const PUBLISH: Self = Self(6);
    pub(super) const SEND: Self = Self(7);
    pub(super) const INTERRUPT: Self = Self(8);
    pub(super) const DEMUX: Self = Self(9);
    pub(super) const COMPLETE: Self = Self(10);
    pub(super) const DONE: Self = Self(11);

    /// By number: its name, and what it is.
    const NAMES: [(&str, &str); 11] = [
        ("submit", "the child submits its request to the bus"),
        ("queue", "the bus has queued it for the store task"),
        ("wake", "a task is made ready"),
        ("dpc", "a DPC begins"),
        ("poll", "a task is polled"),
        ("ring write", "the request is visible to xenstored"),
        ("event send", "the hypercall that notifies xenstored"),
        ("interrupt", "the upcall's service routine begins"),
        ("demux", "the reply is matched to its request"),
        ("completion", "the child's callback is called"),
        ("done", "the child's future is ready"),
    ];

    fn text(self) -> (&'static str, &'static str) {
        let index = usize::from(self.0).wrapping_sub(1);
        let known = Self::NAMES.get(index).copied();
        known.unwrap_or(("unknown", "a probe that this program does not know"))
    }

    /// What the table calls it.
    pub(crate) fn name(self) -> &'static str {
        self.text().0
    }

    /// What it is.
    pub(super) fn meaning(self) -> &'static str {
        self.text().1
    }

    /// Whether a request that is alone passes it once. The others belong to tasks: each that takes part is woken, and polled in a DPC.
    fn is_once(self) -> bool {
        ![Self::WAKE, Self::DPC, Self::POLL].contains(&self)
    }
}

/// What a request that is alone passes once, in this order.
const ONCE: [Point; 8] = [
    Point::SUBMIT,
    Point::QUEUE,
    Point::PUBLISH,
    Point::SEND,
    Point::INTERRUPT,
    Point::DEMUX,
    Point::COMPLETE,
    Point::DONE,
];

/// Where a task is woken, and polled in a DPC: the store's for the request, the store's for the reply, the child's.
const TASKS: [[Point; 2]; 3] = [
    [Point::QUEUE, Point::PUBLISH],
    [Point::INTERRUPT, Point::DEMUX],
    [Point::COMPLETE, Point::DONE],
];

/// Checks that `points` are those of one request that was alone on its way.
///
/// # Errors
///
/// A point is missing, comes twice, or not in its turn.
pub(super) fn check(points: &[Point]) -> Result<()> {
    let place = |point: Point| points.iter().position(|p| *p == point);
    for point in ONCE {
        let count = points.iter().filter(|p| **p == point).count();
        ensure!(
            count == 1,
            "{} occurs {count} times, not once",
            point.name()
        );
    }
    let once: Vec<Point> = points.iter().copied().filter(|p| p.is_once()).collect();
    for (found, wanted) in once.iter().zip(ONCE) {
        ensure!(
            *found == wanted,
            "{} comes where {} belongs",
            found.name(),
            wanted.name()
        );
    }
    if let Some(unknown) = once.get(ONCE.len()) {
        bail!("probe number {} is {}", unknown.0, unknown.meaning());
    }
    for [from, to] in TASKS {
        let (Some(begin), Some(end)) = (place(from), place(to)) else {
            continue;
        };
        let mut rest = points[begin..end].iter();
        for point in [Point::WAKE, Point::DPC, Point::POLL] {
            ensure!(
                rest.any(|p| *p == point),
                "between {} and {} there is no {} in its turn",
                from.name(),
                to.name(),
                point.name()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kexec::probe::Point as Probe;

    use super::*;

    /// A read as it was recorded.
    const READ: [u8; 18] = [1, 2, 3, 4, 5, 6, 7, 8, 3, 4, 5, 9, 4, 10, 3, 4, 5, 11];

    fn checked(numbers: &[u8]) -> Result<()> {
        let points: Vec<Point> = numbers.iter().copied().map(Point).collect();
        check(&points)
    }

    #[test]
    fn the_numbers_are_kexecs() {
        let ours = [
            (Point::SUBMIT, Probe::Submit),
            (Point::QUEUE, Probe::Queue),
            (Point::WAKE, Probe::Wake),
            (Point::DPC, Probe::Dpc),
            (Point::POLL, Probe::Poll),
            (Point::PUBLISH, Probe::Publish),
            (Point::SEND, Probe::Send),
            (Point::INTERRUPT, Probe::Interrupt),
            (Point::DEMUX, Probe::Demux),
            (Point::COMPLETE, Probe::Complete),
            (Point::DONE, Probe::Done),
        ];
        assert_eq!(ours.len(), Probe::ALL.len());
        for (own, probe) in ours {
            assert_eq!(own.0, probe as u8, "{probe:?}");
        }
        assert_eq!(Point::NAMES.len(), Probe::ALL.len());
    }

    #[test]
    fn a_recorded_read_is_complete() {
        checked(&READ).expect("complete");
    }

    #[test]
    fn a_read_that_lacks_any_of_its_points_is_refused_by_that_name() {
        for missing in 1..=11 {
            let rest: Vec<u8> = READ.into_iter().filter(|n| *n != missing).collect();
            let error = checked(&rest).expect_err("incomplete").to_string();
            assert!(error.contains(Point(missing).name()), "{error}");
        }
    }

    #[test]
    fn points_out_of_order_and_strangers_are_refused() {
        let mut swapped = READ;
        swapped.swap(5, 6);
        let error = checked(&swapped).expect_err("order").to_string();
        assert_eq!(error, "event send comes where ring write belongs");
        let mut early = READ;
        // Polled before its DPC began.
        early.swap(9, 10);
        let error = checked(&early).expect_err("order").to_string();
        assert!(error.contains("no poll in its turn"), "{error}");
        let mut twice = READ.to_vec();
        twice.insert(8, 8);
        let error = checked(&twice).expect_err("twice").to_string();
        assert_eq!(error, "interrupt occurs 2 times, not once");
        let mut strange = READ.to_vec();
        strange.push(77);
        let error = checked(&strange).expect_err("unknown").to_string();
        assert!(error.contains("number 77"), "{error}");
    }
}
