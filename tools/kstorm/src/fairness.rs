// SPDX-License-Identifier: BSD-2-Clause
//! How many activations a ready task waits for its poll: never more than those that it takes to poll all of them 64 at a time,
//! and one more for each that the limit of 50 us has cut short.
//!
//! Every task notes the activation in which it was polled, and when. An activation that polled fewer than 64 of the round's tasks
//! and was not the last has been cut; from the last poll before it to the first poll after it, its whole time must lie.
//! Runs in DriverEntry at PASSIVE_LEVEL; the executor is stopped by the caller.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kexec::irql::Raised;
use kexec::nt::{Arc, Vec, cpu};
use kexec::sync::Notify;
use kexec::{DpcExecutor, Passive, Result, Status, info, task};

use crate::machine::Machine;
use crate::storm::{TAG, TASKS, until};

/// Polls of one activation.
const POLLS: u64 = 64;
const ROUNDS: u64 = 20;

/// A task: its bell, and when it was polled.
struct Seat {
    bell: Notify,
    activation: AtomicU64,
    at: AtomicU64,
}

/// What all rounds had.
struct Account {
    best: u64,
    worst: u64,
    /// Worst without the activations that were cut.
    uncut: u64,
    cut: u64,
    /// Shortest window around one that was cut.
    shortest: u64,
}

/// Polls of one activation: how many, first and last.
#[derive(Clone, Copy)]
struct Activation {
    polls: u64,
    first: u64,
    last: u64,
}

impl Account {
    /// Adds a round: `polls` are the activations and times of its tasks, `begin` when the first of them was woken.
    fn add(&mut self, begin: u64, before: u64, polls: impl Iterator<Item = (u64, u64)>) -> Result {
        let mut activations = Vec::new(TAG);
        for (activation, at) in polls {
            let index = activation.checked_sub(before);
            let index = index.ok_or(Status::UNSUCCESSFUL)? as usize;
            while activations.len() <= index {
                activations.try_push(Activation {
                    polls: 0,
                    first: u64::MAX,
                    last: 0,
                })?;
            }
            let found = &mut activations[index];
            found.polls += 1;
            found.first = found.first.min(at);
            found.last = found.last.max(at);
        }
        let waited = activations.len() as u64;
        let mut cut = 0;
        let mut last = begin;
        for pair in activations.windows(2) {
            if pair[0].polls < POLLS {
                cut += 1;
                self.shortest = self.shortest.min(pair[1].first.saturating_sub(last));
            }
            last = last.max(pair[0].last);
        }
        self.best = self.best.min(waited);
        self.worst = self.worst.max(waited);
        self.uncut = self.uncut.max(waited - cut);
        self.cut += cut;
        Ok(())
    }
}

/// Runs the rounds on `executor`, which has nothing else to do.
///
/// # Errors
/// `UNSUCCESSFUL` when a task waited for longer than it may; that of the kernel.
pub fn measure(machine: &Machine, executor: &DpcExecutor, passive: Passive) -> Result {
    let polled = Arc::try_new(TAG, AtomicU32::new(0))?;
    let mut seats = Vec::new(TAG);
    for _ in 0..TASKS {
        let seat = Seat {
            bell: Notify::new(),
            activation: AtomicU64::new(0),
            at: AtomicU64::new(0),
        };
        let seat = Arc::try_new(TAG, seat)?;
        let (own, count, figure, clock) =
            (seat.clone(), polled.clone(), machine.figure, machine.clock);
        let task = async move {
            loop {
                own.bell.notified().await;
                own.activation.store(figure(0), Ordering::Relaxed);
                own.at.store(clock(), Ordering::Relaxed);
                count.fetch_add(1, Ordering::AcqRel);
            }
        };
        executor.spawn(task!("fairness"), task)?.detach();
        seats.try_push(seat)?;
    }
    let mut account = Account {
        best: u64::MAX,
        worst: 0,
        uncut: 0,
        cut: 0,
        shortest: u64::MAX,
    };
    for round in 1..=ROUNDS {
        let (begin, before) = cpu::run_on(passive, 0, || {
            let _raised = Raised::to_dispatch();
            let begin = (machine.clock)();
            for seat in &*seats {
                seat.bell.notify();
            }
            (begin, (machine.figure)(0))
        })?;
        let wanted = round as u32 * TASKS as u32;
        if !until(passive, || polled.load(Ordering::Acquire) >= wanted) {
            return Err(Status::UNSUCCESSFUL);
        }
        let polls = seats.iter().map(|seat| {
            let activation = seat.activation.load(Ordering::Relaxed);
            (activation, seat.at.load(Ordering::Relaxed))
        });
        account.add(begin, before, polls)?;
    }
    let bound = (TASKS as u64).div_ceil(POLLS);
    let Account {
        best,
        worst,
        uncut,
        cut,
        shortest,
    } = account;
    info!(
        "RESULT kstorm.fairness ready={TASKS} bound={bound} best={best} worst={worst} uncut={uncut} cut={cut} shortest-cut={shortest} rounds={ROUNDS}"
    );
    if uncut <= bound {
        Ok(())
    } else {
        Err(Status::UNSUCCESSFUL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(polls: &[(u64, u64)]) -> Account {
        let _session = kexec::nt::sys::fake::boot();
        let mut account = Account {
            best: u64::MAX,
            worst: 0,
            uncut: 0,
            cut: 0,
            shortest: u64::MAX,
        };
        account
            .add(100, 7, polls.iter().copied())
            .expect("a round that can be");
        account
    }

    #[test]
    fn full_activations_are_not_cut_and_the_last_may_be_short() {
        let polls: [_; 130] = core::array::from_fn(|n| (7 + n as u64 / 64, 200 + n as u64));
        let account = account(&polls);
        assert_eq!((account.worst, account.uncut, account.cut), (3, 3, 0));
    }

    #[test]
    fn an_activation_that_was_cut_has_its_window_around_it() {
        let account = account(&[(7, 200), (8, 60_000), (9, 60_100)]);
        assert_eq!((account.worst, account.uncut, account.cut), (3, 1, 2));
        // From the first wake to the poll after the first; the second has the shorter window.
        assert_eq!(account.shortest, 59_900);
    }

    #[test]
    fn an_activation_without_any_poll_counts_as_waited_for() {
        let account = account(&[(9, 200)]);
        assert_eq!((account.worst, account.cut), (3, 2));
    }
}
