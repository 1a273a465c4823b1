// SPDX-License-Identifier: BSD-2-Clause
//! Range sets, through [`xenbus_interface::client::RangeSets`].

use kexec::Status;

use crate::probe::{Outcome, Probe, ensure, run};

pub(crate) async fn tests(probe: &Probe) {
    run!(probe, range_set_gives_each_number_once);
    run!(probe, range_set_refuses_what_is_there_or_is_not);
}

async fn range_set_gives_each_number_once(probe: &Probe) -> Outcome {
    let set = probe.ranges.create(c"xenprobe")?;
    set.put(1, 1023)?;
    for wanted in 1..=1023 {
        let numbers = set.pop(1)?.keep();
        ensure!(numbers == (wanted..=wanted), "the lowest number");
    }
    let empty = set.pop(1).err();
    ensure!(
        empty == Some(Status::INSUFFICIENT_RESOURCES),
        "STATUS_INSUFFICIENT_RESOURCES"
    );
    // Every second one first, so that all are ranges of their own, then the others.
    for start in (1..=1023).step_by(2).chain((2..=1023).step_by(2)) {
        set.put(start, 1)?;
    }
    let all = set.take(1, 1023)?;
    ensure!(all.numbers() == (1..=1023), "all of them");
    drop(all);
    // With numbers in it, which it takes out itself.
    drop(set);
    Ok(())
}

async fn range_set_refuses_what_is_there_or_is_not(probe: &Probe) -> Outcome {
    let set = probe.ranges.create(c"xenprobe")?;
    set.put(-10, 20)?;
    ensure!(set.put(9, 1).is_err(), "no number twice");
    ensure!(set.take(9, 2).is_err(), "only what is there");
    ensure!(
        set.put(0, 0).err() == Some(Status::INVALID_PARAMETER),
        "STATUS_INVALID_PARAMETER"
    );
    let middle = set.take(-2, 4)?;
    ensure!(set.pop(9).is_err(), "no nine in a row");
    if let Err((_, status)) = middle.give_back() {
        return Err(status.into());
    }
    ensure!(set.pop(20)?.numbers() == (-10..=9), "one range again");
    Ok(())
}
