// SPDX-License-Identifier: BSD-2-Clause
//! dom0 as the adversary of a guest's transactions: transfers between the same accounts, a few at a time, until they are ended.

use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Result, ensure};
use rig::{Job, Rig};

/// Transfers between two pauses.
const BATCH: u32 = 10;
/// How long the first may take on a busy machine.
const FIRST: Duration = Duration::from_secs(120);
/// How long dom0 may take to kill them.
const END: Duration = Duration::from_secs(120);
/// What a batch without a failed check says.
const OK: &str = " status=ok ";

/// The transfers under way.
pub(crate) struct Adversary(Job);

/// What they came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transfers {
    /// All that were carried out.
    pub(crate) done: u64,
    /// Tries that met a conflict: few, because xenstored holds back the writes of guests while a transaction of dom0 is open.
    pub(crate) conflicts: u64,
}

impl AddAssign for Transfers {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.conflicts += other.conflicts;
    }
}

impl Adversary {
    /// Begins transfers over `accounts`, with a pause after every few: without, a guest whose transactions take longer hardly ever
    /// commits one. The first of them are done when this returns.
    ///
    /// # Errors
    ///
    /// They fail, or dom0 does not answer.
    pub(crate) fn start(
        rig: &Rig,
        accounts: &str,
        pause: Duration,
        limit: Duration,
    ) -> Result<Self> {
        let command = format!(
            "while xenpeer stress run 'profile=transactions tasks=1 count={BATCH} root=/stress/adversary accounts={accounts}'; \
             do usleep {}; done; echo failed",
            pause.as_micros()
        );
        let mut job = rig.spawn_dom0(&command, limit)?;
        job.wait_line(OK, FIRST)?;
        Ok(Self(job))
    }

    /// What they have come to so far.
    ///
    /// # Errors
    ///
    /// One of their checks failed, or they have ended.
    pub(crate) fn so_far(&mut self) -> Result<Transfers> {
        let ended = self.0.has_ended()?;
        let lines = self.0.lines()?;
        ensure!(!ended, "dom0's transfers have ended: {}", lines.join("\n"));
        count(lines)
    }

    /// Ends them, and says what they came to.
    ///
    /// # Errors
    ///
    /// One of their checks failed, they had ended before, or dom0 does not answer.
    pub(crate) fn end(mut self, rig: &Rig) -> Result<Transfers> {
        let transfers = self.so_far()?;
        rig.kill_dom0(&self.0)?;
        self.0.finish(END)?;
        Ok(transfers)
    }
}

fn count(lines: &[String]) -> Result<Transfers> {
    let mut all = Transfers::default();
    for line in lines {
        ensure!(
            !line.contains(" status=failed ") && line != "failed",
            "dom0's transfers failed: {}",
            lines.join("\n")
        );
        if line.contains("RESULT stress.run ") && line.contains(OK) {
            let word = |key: &str| {
                let mut words = line.split(' ');
                words.find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
            };
            let both = word("operations").zip(word("retries"));
            ensure!(both.is_some(), "no numbers in {line:?}");
            let (done, conflicts) = both.unwrap_or_default();
            all += Transfers { done, conflicts };
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(lines: &[&str]) -> Result<Transfers> {
        count(
            &lines
                .iter()
                .map(|line| (*line).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn transfers_and_conflicts_of_all_batches_are_counted() {
        let one = "RESULT stress.run id=0 place=dom0 profile=transactions status=ok tasks=1 operations=10 requests=80 retries=3 elapsed=5 rate=1";
        let other = "RESULT stress.error id=0 status=EAGAIN count=3";
        let all = counted(&[one, other, "RESULT stress.done id=0", one]).expect("good");
        assert_eq!((all.done, all.conflicts), (20, 6));
    }

    #[test]
    fn a_batch_that_fails_is_told() {
        for bad in [
            "RESULT stress.run id=0 status=failed operations=10 retries=3",
            "RESULT stress.run id=0 status=ok ",
            "failed",
        ] {
            assert!(counted(&[bad]).is_err(), "{bad}");
        }
    }
}
