// SPDX-License-Identifier: BSD-2-Clause
//! Every profile over a good store, and over stores that are not.

use core::sync::atomic::AtomicU32;
use std::format;
use std::string::String;
use std::vec::Vec;

use crate::fake::{Desk, Fault, Store, together};
use crate::{Profile, Run, Tally, Workload, expected, model_keys, setup, work};

/// Runs a workload; whether it found nothing wrong, its lines, and the store.
fn run(line: &str, fault: Fault) -> (bool, Vec<String>, Store) {
    let workload: Workload = line.parse().expect("workload");
    let (store, desk) = (Store::new(fault), Desk::default());
    let good = run_on(&workload, &store, &desk);
    (good, desk.lines(), store)
}

fn run_on(workload: &Workload, store: &Store, desk: &Desk) -> bool {
    let numbers = |count| (0..count).map(|_| AtomicU32::new(0)).collect::<Vec<_>>();
    let (cells, buckets) = (numbers(Run::cells(workload)), numbers(Run::BUCKETS));
    let tally = Tally::new();
    let run = Run::new(workload, &tally, &cells, &buckets).expect("memory");
    together((0..workload.workers()).map(|worker| setup(run, desk, store, worker)));
    let before = run.begin(desk);
    together((0..workload.workers()).map(|worker| work(run, desk, store, worker)));
    run.report(desk, before)
}

#[test]
fn every_profile_finds_a_good_store_good() {
    for profile in Profile::ALL {
        let name = profile.name();
        let line =
            format!("profile={name} count=600 seconds=20 tasks=5 outstanding=2 watches=2 domain=3");
        let (good, lines, _) = run(&line, Fault::None);
        assert!(good, "{name}: {lines:#?}");
        let last = lines.last().expect("lines");
        assert_eq!(last, "RESULT stress.done id=0", "{name}");
        assert!(
            lines.iter().any(|line| line.contains("status=ok")),
            "{name}"
        );
    }
}

#[test]
fn what_it_takes_to_look_at_the_counters_is_in_no_figure() {
    for tasks in [1, 3] {
        let line = format!("profile=latency count=300 tasks={tasks}");
        let workload: Workload = line.parse().expect("workload");
        let lines = |look| {
            let desk = Desk::with_dear_counters(look);
            assert!(run_on(&workload, &Store::new(Fault::None), &desk));
            desk.lines()
        };
        assert_eq!(lines(0), lines(1000), "{tasks} tasks");
    }
}

#[test]
fn each_fault_of_a_store_is_found() {
    for (fault, line) in [
        (Fault::LosesWrite, "profile=throughput seed=2"),
        (Fault::MixesUp, "profile=throughput tasks=2"),
        (Fault::Tears, "profile=latency"),
        (Fault::MissesConflict, "profile=transactions"),
        (Fault::ListsTwice, "profile=latency mix=directory:1"),
        (Fault::ListsNotAll, "profile=directory"),
        (Fault::KeepsRemoved, "profile=latency mix=remove:1,read:1"),
        (Fault::ForgetsWatch, "profile=watches tasks=2"),
        (Fault::AllowsAll, "profile=hostile domain=3"),
    ] {
        let (good, lines, _) = run(&format!("{line} count=2000"), fault);
        assert!(!good, "{fault:?} was not found");
        let wrong = lines
            .iter()
            .filter(|line| line.starts_with("RESULT stress.wrong"));
        assert!((1..=8).contains(&wrong.count()), "{fault:?}: {lines:#?}");
        assert!(lines.iter().any(|line| line.contains("status=failed")));
    }
}

#[test]
fn the_model_that_is_printed_is_what_the_store_holds() {
    let line = "profile=latency tasks=3 keys=70 count=3000 seed=7 size=90";
    let workload: Workload = line.parse().expect("workload");
    let (good, lines, store) = run(line, Fault::None);
    assert!(good);
    let values = store.values();
    let mut keys = 0;
    for line in lines
        .iter()
        .filter_map(|line| line.strip_prefix("RESULT stress.model "))
    {
        let word = |name: &str| {
            let mut words = line.split(' ');
            words
                .find_map(|word| word.strip_prefix(name))
                .expect("word")
        };
        let worker = word("worker=").parse().expect("worker");
        let first: u32 = word("first=").parse().expect("first");
        for (key, state) in (first..).zip(model_keys(word("keys="))) {
            let state = state.expect("state");
            let value = values.get(workload.key(worker, key).as_str());
            let version = state.version;
            let wanted = expected(workload.seed, workload.size, worker, key, version);
            assert_eq!(value.is_some(), state.present);
            assert!(value.is_none_or(|value| *value == *wanted));
            keys += 1;
        }
    }
    assert_eq!(keys, 3 * 70);
}

#[test]
fn the_same_seed_does_the_same() {
    let line = "profile=mixed tasks=6 count=500 seed=5";
    let values = || run(line, Fault::None).2.values();
    assert_eq!(values(), values());
    let other = run("profile=mixed tasks=6 count=500 seed=6", Fault::None).2;
    assert_ne!(values(), other.values());
}

#[test]
fn two_clients_share_accounts() {
    let store = Store::new(Fault::None);
    let numbers = |count| (0..count).map(|_| AtomicU32::new(0)).collect::<Vec<_>>();
    let lines = ["root=a accounts=s seed=1", "root=b accounts=s seed=2"];
    let desk = Desk::default();
    let all = lines.map(|line| {
        let workload: Workload = format!("profile=transactions {line}")
            .parse()
            .expect("good");
        let memory = (
            numbers(Run::cells(&workload)),
            numbers(Run::BUCKETS),
            Tally::new(),
        );
        (workload, memory)
    });
    let runs = all.each_ref().map(|(workload, (cells, buckets, tally))| {
        Run::new(workload, tally, cells, buckets).expect("memory")
    });
    together(runs.iter().map(|run| setup(*run, &desk, &store, 0)));
    let workers = runs
        .iter()
        .flat_map(|run| (0..4).map(move |worker| (run, worker)));
    together(workers.map(|(run, worker)| work(*run, &desk, &store, worker)));
    assert!(
        runs.iter().all(|run| !run.has_failed()),
        "{:#?}",
        desk.lines()
    );
    let amount = |number| {
        let path = format!("s/a{number}");
        let value = store.values()[&path].clone();
        String::from_utf8(value)
            .expect("text")
            .parse::<u64>()
            .expect("number")
    };
    assert_eq!((0..crate::ACCOUNTS).map(amount).sum::<u64>(), crate::TOTAL);
}
