// SPDX-License-Identifier: BSD-2-Clause
//! Runs against daemons that are good and that are not, and trees that are not as the model says.

use std::time::Duration;

use super::check::{Model, Node, Tree, compare};
use super::client::Store;
use super::daemon::{Fault, start};
use super::parse;
use super::run::{Desk, run};
use crate::Result;
use crate::mux::Mux;
use workload::Workload;

/// What came of a run: its end, its lines, the store.
struct Ran {
    end: Result,
    log: String,
    workload: Workload,
    tree: Tree,
}

fn ran(line: &str, fault: Fault) -> Ran {
    let (stream, daemon) = start(fault);
    let mut store = Store::new(Mux::over(stream).expect("mux"));
    if fault == Fault::ForgetsWatch {
        store.millisecond = Duration::from_micros(3);
    }
    let workload = parse(line, Some("/run".into())).expect("workload");
    let mut log = Vec::new();
    let end = run(
        std::slice::from_ref(&store),
        &workload,
        &Desk::new("dom0", &mut log),
    );
    drop(store);
    Ran {
        end,
        log: String::from_utf8(log).expect("text"),
        workload,
        tree: daemon.join().expect("daemon"),
    }
}

#[test]
fn every_profile_finds_a_good_daemon_good_and_leaves_what_its_model_says() {
    for profile in workload::Profile::ALL {
        let name = profile.name();
        let line = format!("id=4 profile={name} count=600 seconds=20 outstanding=2 keys=8 size=40");
        let Ran {
            end,
            log,
            workload,
            tree,
        } = ran(&line, Fault::None);
        assert!(end.is_ok(), "{name}: {end:?}\n{log}");
        assert!(
            log.contains(&format!("place=dom0 profile={name} status=ok")),
            "{log}"
        );
        assert!(log.ends_with("RESULT stress.done id=4\n"), "{log}");
        let model = Model::parse(&workload, &log).expect("model");
        assert_eq!(
            compare(&workload, &model, &tree),
            Vec::<String>::new(),
            "{name}"
        );
    }
}

#[test]
fn a_daemon_that_loses_or_invents_or_keeps_something_to_itself_fails_the_run() {
    for (fault, line, what) in [
        (
            Fault::LosesWrite,
            "profile=throughput tasks=2",
            "another value",
        ),
        (Fault::InventsValue, "profile=latency", "another value"),
        (
            Fault::MissesConflict,
            "profile=transactions",
            "committed over",
        ),
        (Fault::ForgetsWatch, "profile=watches", "did not fire"),
    ] {
        let Ran { end, log, .. } = ran(&format!("{line} count=3000"), fault);
        let end = end.expect_err("found").to_string();
        assert_eq!(end, "a check failed", "{fault:?}");
        let wrong = log
            .lines()
            .find(|line| line.starts_with("RESULT stress.wrong"));
        assert!(wrong.is_some_and(|line| line.contains(what)), "{log}");
        assert!(log.contains("status=failed"), "{log}");
    }
}

#[test]
fn a_daemon_that_dies_is_named() {
    let Ran { end, log, .. } = ran("profile=mixed", Fault::Dies);
    let end = end.expect_err("found").to_string();
    assert!(end.contains("xenstored"), "{end}");
    assert!(log.contains("status=failed"), "{log}");
}

#[test]
fn each_difference_from_the_model_is_named() {
    let line = "profile=latency tasks=2 keys=4 count=200 seed=3";
    let Ran {
        log,
        workload,
        tree,
        ..
    } = ran(line, Fault::None);
    let model = Model::parse(&workload, &log).expect("model");
    let differences = |change: &dyn Fn(&mut Tree)| {
        let mut tree = Tree(tree.0.clone());
        change(&mut tree);
        compare(&workload, &model, &tree)
    };
    assert_eq!(differences(&|_| ()), Vec::<String>::new());
    let (path, node) = tree
        .0
        .iter()
        .find(|(path, _)| path.contains("/k"))
        .expect("a key");
    let one = |change: &dyn Fn(&mut Tree)| {
        let mut all = differences(change);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    };
    let missing = one(&|tree| drop(tree.0.remove(path)));
    assert!(
        missing.starts_with(&format!("missing: {path} (version ")),
        "{missing}"
    );
    let put = |tree: &mut Tree, path: &str, node: Node| drop(tree.0.insert(path.into(), node));
    let value = Node {
        value: b"x".to_vec(),
        ..node.clone()
    };
    let wrong = one(&|tree| put(tree, path, value.clone()));
    assert!(
        wrong.starts_with(&format!("wrong: {path} is \"x\", not ")),
        "{wrong}"
    );
    let permissions = Node {
        permissions: vec!["b7".into()],
        ..node.clone()
    };
    let wrong = one(&|tree| put(tree, path, permissions.clone()));
    assert!(
        wrong.starts_with(&format!("wrong: {path} has permissions [\"b7\"]")),
        "{wrong}"
    );
    let extra = one(&|tree| put(tree, "/run/t1/other", node.clone()));
    assert_eq!(extra, "extra: /run/t1/other");
    let wrong = one(&|tree| {
        put(
            tree,
            "/run/t0",
            Node {
                permissions: vec!["n0".into()],
                ..value.clone()
            },
        )
    });
    assert_eq!(wrong, "wrong: /run/t0 has a value");
}

#[test]
fn a_lost_account_is_found_in_the_tree() {
    let Ran {
        log,
        workload,
        mut tree,
        ..
    } = ran("profile=transactions count=50", Fault::None);
    let model = Model::parse(&workload, &log).expect("model");
    assert_eq!(compare(&workload, &model, &tree), Vec::<String>::new());
    tree.0.get_mut("/run/accounts/a0").expect("account").value = b"1".to_vec();
    let all = compare(&workload, &model, &tree);
    assert!(all[0].contains("not 4000"), "{all:?}");
    tree.0.remove("/run/accounts/a0");
    let all = compare(&workload, &model, &tree);
    assert!(all[0].contains("/run/accounts/a0 is None"), "{all:?}");
}

#[test]
fn a_log_without_a_workers_keys_is_refused() {
    let workload = parse("id=2 profile=latency keys=2 tasks=2", None).expect("workload");
    let line = |id, worker, keys| {
        format!("x RESULT stress.model id={id} worker={worker} first=0 keys={keys}\n")
    };
    let log = |lines: &[String]| Model::parse(&workload, &lines.concat()).map(drop);
    assert!(log(&[line(2, 0, "1r,2-,"), line(2, 1, "1r,2n,")]).is_ok());
    for lines in [
        [line(2, 0, "1r,2-,"), line(3, 1, "1r,2n,")],
        [line(2, 0, "1r,2-,"), line(2, 1, "1r,")],
    ] {
        let why = log(&lines).expect_err("missing").to_string();
        assert!(why.contains("of worker 1 of run 2"), "{why}");
    }
    let why = log(&[line(2, 0, "1r,x,")]).expect_err("bad").to_string();
    assert!(why.starts_with("not a model line"), "{why}");
}
