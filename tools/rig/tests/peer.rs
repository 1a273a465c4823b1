// SPDX-License-Identifier: BSD-2-Clause
//! The helper in dom0, against real Xen and xenstored. The guest's half of the sample run is played by a shell in dom0
//! and a guest that only bounces events.

mod common;

use std::time::Duration;

use common::{Then, bounce, config, hello};
use rig::{GuestConfig, Rig};

/// Generous: the machine that emulates may be busy with something else.
const SOON: Duration = Duration::from_secs(90);
const NONCE: &str = "0123456789abcdef";
const START: u64 = 0xcdef;

fn with_guest(image: Vec<u8>) -> (Rig, u32) {
    let mut rig = Rig::start(config()).expect("start");
    let domid = rig.create_guest(&GuestConfig::new(image)).expect("create");
    (rig, domid)
}

#[test]
fn xenstored_detects_a_conflict_and_wait_sees_a_write() {
    let rig = Rig::start(config()).expect("start");
    rig.dom0_ok("xenpeer store write /test/a one")
        .expect("write");
    assert_eq!(rig.dom0_ok("xenstore-read /test/a").expect("read"), "one\n");
    assert_eq!(rig.dom0_ok("xenpeer store ls /test").expect("ls"), "a\n");
    assert_eq!(
        rig.dom0_ok("xenpeer store conflict /test/a")
            .expect("conflict"),
        "refused: EAGAIN\n"
    );
    let mut wait = rig
        .spawn_dom0("xenpeer store wait /test/b two", SOON)
        .expect("spawn");
    rig.dom0_ok("sleep 0.2; xenstore-write /test/b one; xenstore-write /test/b two")
        .expect("write");
    wait.finish(SOON).expect("end").ok("wait").expect("seen");
    let late = rig
        .dom0("xenpeer store wait /test/b three --timeout 1", SOON)
        .expect("run");
    assert_eq!(
        (late.code, late.text.contains("did not become three")),
        (Some(1), true),
        "{late:?}"
    );
    rig.dom0_ok("xenpeer store rm /test").expect("rm");
    assert_ne!(
        rig.dom0("xenpeer store read /test/a", SOON)
            .expect("run")
            .code,
        Some(0)
    );
}

#[test]
fn a_granted_page_is_read_and_patched() {
    let (rig, domid) = with_guest(hello("here\n", 0, Then::Halt));
    // Every guest's first grants, made by the toolstack, are the pages of its console and of xenstore.
    let gnt = format!("xenpeer gnt --domid {domid} --ref 1");
    let patched = rig
        .dom0_ok(&format!("{gnt} --patch 3000=c0ffee --patch 3004=01"))
        .expect("patch");
    let read = rig.dom0_ok(&gnt).expect("read");
    assert_eq!(read, patched);
    assert_eq!((read.trim().len(), &read[6000..6010]), (8192, "c0ffee0001"));
    let outside = rig
        .dom0(&format!("{gnt} --patch 4095=0000"), SOON)
        .expect("run");
    assert_eq!(
        (outside.code, outside.text.contains("does not fit")),
        (Some(1), true),
        "{outside:?}"
    );
    let missing = rig
        .dom0(&format!("xenpeer gnt --domid {domid} --ref 99"), SOON)
        .expect("run");
    assert_eq!(missing.code, Some(1), "{missing:?}");
}

#[test]
fn events_bounce_a_thousand_times_both_ways() {
    let (mut rig, domid) = with_guest(bounce(1000));
    rig.wait_log("^RESULT port", SOON).expect("port");
    let port = rig.result("port").expect("log").expect("port");
    let said = rig
        .dom0_ok(&format!("xenpeer evtchn --domid {domid} --port {port}"))
        .expect("bounce");
    eprintln!("bounces: {}", said.replace('\n', " "));
    rig.wait_log("^RESULT bounced 1000$", SOON)
        .expect("the guest saw as many");
    let wrong = rig
        .dom0(&format!("xenpeer evtchn --domid {domid} --port 77"), SOON)
        .expect("run");
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
}

/// The guest's half in shell; `spoil` replaces one value.
fn guest_half(domid: u32, port: &str, spoil: Option<(&str, &str)>) -> String {
    let base = format!("/local/domain/{domid}/data/sample");
    let write = |name: &str, value: String| {
        let value = spoil
            .filter(|(n, _)| *n == name)
            .map_or(value, |(_, v)| v.to_owned());
        format!("xenstore-write {base}/{name} \"{value}\"\n")
    };
    let wait =
        |name: &str, value: &str| format!("xenpeer store wait {base}/{name} {value} || exit 1\n");
    [
        write(
            "echo",
            format!("$(xenstore-read /local/domain/{domid}/device/sample/0/nonce)"),
        ),
        write(
            "listed",
            format!("$(xenstore-list {base}/list | sort | tr '\\n' ',' | sed 's/,$//')"),
        ),
        write("tx-ready", "1".into()),
        wait("tx-go", "1"),
        write(
            "counter",
            format!("$(($(xenstore-read {base}/counter) + 1))"),
        ),
        write("tx-done", format!("2:$(xenstore-read {base}/counter)")),
        write("watch-ready", NONCE.into()),
        wait("poke", &format!("poke:{NONCE}")),
        write("poked", format!("$(xenstore-read {base}/poke)")),
        write("port", port.into()),
        wait("port-bound", NONCE),
        write("bounced", "1000".into()),
        write("result", format!("ok:{NONCE}")),
        wait("verdict", &format!("ok:{NONCE}")),
    ]
    .concat()
}

#[test]
fn the_sample_run_is_accepted_when_every_value_is_right() {
    let (mut rig, domid) = with_guest(bounce(1000));
    rig.wait_log("^RESULT port", SOON).expect("port");
    let port = rig.result("port").expect("log").expect("port");
    let mut peer = rig
        .spawn_dom0(
            &format!("xenpeer sample --domid {domid} --nonce {NONCE}"),
            SOON,
        )
        .expect("spawn");
    peer.wait_line("\"ready\"", SOON).expect("ready");
    let half = guest_half(domid, &port, None);
    let guest = rig.dom0(&half, SOON).expect("run");
    let done = peer.finish(SOON).expect("end");
    eprintln!("{}", done.text);
    assert_eq!(guest.code, Some(0), "{guest:?}");
    assert_eq!(done.code, Some(0));
    assert!(
        done.text.ends_with(&format!("PEER ok nonce={NONCE}\n")),
        "{}",
        done.text
    );
    assert!(
        done.text.contains(&format!("\"counter\":{}", START + 1001)),
        "{}",
        done.text
    );
}

#[test]
fn the_sample_run_is_refused_at_each_wrong_value() {
    let (rig, domid) = with_guest(hello("here\n", 0, Then::Halt));
    let off = (START + 1).to_string();
    let lost = format!("2:{off}");
    let eager = format!("1:{}", START + 1001);
    for (name, value, verdict) in [
        (
            "echo",
            "fedcba9876543210",
            "PEER FAIL echo: data/sample/echo is",
        ),
        (
            "listed",
            "alpha,beta",
            "PEER FAIL list: data/sample/listed is",
        ),
        (
            "counter",
            &off,
            "PEER FAIL tx: the value in data/sample/tx-done is",
        ),
        (
            "tx-done",
            &lost,
            "PEER FAIL tx: the value in data/sample/tx-done is",
        ),
        ("tx-done", &eager, "PEER FAIL tx: the guest says 1 attempts"),
        ("poked", "poke:", "PEER FAIL watch: data/sample/poked is"),
        ("port", "77", "PEER FAIL evtchn: bind to port 77"),
        (
            "tx-ready",
            "1\" && xenstore-write /local/domain/DOMID/data/sample/result \"fail:why",
            "PEER FAIL tx: the guest says fail:why",
        ),
    ] {
        let value = value.replace("DOMID", &domid.to_string());
        let command = format!("xenpeer sample --domid {domid} --nonce {NONCE} --timeout 60");
        let mut peer = rig.spawn_dom0(&command, SOON).expect("spawn");
        peer.wait_line("\"ready\"", SOON).expect("ready");
        let half = format!("set -e\n{}", guest_half(domid, "77", Some((name, &value))));
        let guest = rig.spawn_dom0(&half, SOON).expect("run");
        let done = peer.finish(SOON).expect("end");
        assert_eq!(done.code, Some(1), "{done:?}");
        assert!(done.text.contains(verdict), "{name}={value}: {}", done.text);
        rig.kill_dom0(&guest).expect("kill");
        rig.dom0_ok(&format!("xenstore-rm /local/domain/{domid}/data/sample"))
            .expect("rm");
    }
}

#[test]
fn a_silent_guest_ends_the_sample_run_by_its_time_out() {
    let (rig, domid) = with_guest(hello("here\n", 0, Then::Halt));
    let done = rig
        .dom0(&format!("xenpeer sample --domid {domid} --timeout 1"), SOON)
        .expect("run");
    assert_eq!(done.code, Some(1));
    assert!(
        done.text
            .contains("PEER FAIL echo: the guest did not write data/sample/echo within 1 s"),
        "{done:?}"
    );
    let verdict = rig
        .dom0_ok(&format!(
            "xenstore-read /local/domain/{domid}/data/sample/verdict"
        ))
        .expect("read");
    assert!(verdict.starts_with("fail:echo"), "{verdict}");
}
