// SPDX-License-Identifier: BSD-2-Clause
//! What happened when, in executed instructions, as seen outside the guest by a plugin of QEMU.

use crate::error::{Error, Result};

/// What a [`TraceEvent`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceKind {
    /// The guest passed a probe (kexec's `probe` module) with this number.
    Probe(u8),
    /// The processor enters a guest.
    Enter,
    /// It has left the guest, to Xen.
    Leave,
}

/// Instructions, by whose they are. What a guest executes is in any of the three, by its addresses: only the sum counts then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Executed {
    /// Of Xen.
    pub xen: u64,
    /// Of dom0's kernel.
    pub kernel: u64,
    /// Of dom0's programs.
    pub user: u64,
}

impl Executed {
    /// All of them.
    pub fn total(self) -> u64 {
        self.xen + self.kernel + self.user
    }

    /// From `before` until here.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            xen: self.xen.saturating_sub(before.xen),
            kernel: self.kernel.saturating_sub(before.kernel),
            user: self.user.saturating_sub(before.user),
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceEvent {
    /// What.
    pub kind: TraceKind,
    /// The virtual address of the instruction.
    pub address: u64,
    /// Instructions before that one, since the machine was restored.
    pub executed: Executed,
}

/// The events of a run, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The newest events of the run.
    pub events: Vec<TraceEvent>,
    /// How many older ones were not kept.
    pub lost: u64,
}

impl Trace {
    /// Reads the plugin's table (`tools/tcgcount/src/trace.rs`).
    ///
    /// # Errors
    /// It is not one, or time goes backwards in it.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let lost = head.strip_prefix("trace 1 lost=");
        let lost = lost.and_then(|lost| lost.parse().ok());
        let lost = lost.ok_or_else(|| Error::infra(format!("the plugin wrote {head:?}")))?;
        let mut events = Vec::new();
        let mut last = Executed::default();
        for line in lines {
            let event =
                event(line).ok_or_else(|| Error::infra(format!("the plugin wrote {line:?}")))?;
            let now = event.executed;
            if now.xen < last.xen || now.kernel < last.kernel || now.user < last.user {
                let what = format!("the plugin wrote {line:?} after an event of a later time");
                return Err(Error::infra(what));
            }
            last = now;
            events.push(event);
        }
        Ok(Self { events, lost })
    }
}

fn event(line: &str) -> Option<TraceEvent> {
    let mut words = line.split(' ');
    let kind = match words.next()? {
        "enter" => TraceKind::Enter,
        "leave" => TraceKind::Leave,
        number => TraceKind::Probe(number.parse().ok()?),
    };
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let mut count = || words.next()?.parse().ok();
    let executed = Executed {
        xen: count()?,
        kernel: count()?,
        user: count()?,
    };
    words.next().is_none().then_some(TraceEvent {
        kind,
        address,
        executed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_in_their_order() {
        let text = "trace 1 lost=2\nenter ffff82d040200000 10 20 30\n7 fffff80000011000 10 25 30\n";
        let trace = Trace::parse(text).expect("trace");
        assert_eq!((trace.lost, trace.events.len()), (2, 2));
        let [enter, probe] = trace.events[..] else {
            panic!("two events");
        };
        assert_eq!(
            (enter.kind, probe.kind),
            (TraceKind::Enter, TraceKind::Probe(7))
        );
        assert_eq!(probe.address, 0xffff_f800_0001_1000);
        assert_eq!(probe.executed.since(enter.executed).total(), 5);
    }

    #[test]
    fn what_is_not_a_trace_is_refused() {
        for bad in [
            "",
            "trace 2 lost=0\n",
            "trace 1 lost=0\nenter 10 1 2\n",
            "trace 1 lost=0\nenter 10 1 2 3 4\n",
            "trace 1 lost=0\nwhat 10 1 2 3\n",
            "trace 1 lost=0\nenter 10 1 2 3\nleave 13 1 1 3\n",
        ] {
            assert!(Trace::parse(bad).is_err(), "{bad:?}");
        }
    }
}
