// SPDX-License-Identifier: BSD-2-Clause
//! The rig with guests that are a few bytes long.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{HYPERCALL_PAGE, SCHED_OP, Then, VERSION_OP, config, hello};
use rig::{GuestConfig, Kind, Lock, Rig, RigConfig, Shutdown, XEN_LINE};

/// Ends a test that hangs; how long a busy machine takes is no matter.
const SOON: Duration = Duration::from_secs(120);

#[test]
fn a_pvh_guest_says_hello_and_powers_off() {
    rig::prepare(&config()).expect("prepare");
    let begin = Instant::now();
    let mut rig = Rig::start(config()).expect("start");
    let restored = begin.elapsed();
    let image = hello("hello, rig\nRESULT answer 42\n", 0, Then::PowerOff);
    let domid = rig.create_guest(&GuestConfig::new(image)).expect("create");
    let created = begin.elapsed();
    assert_eq!(rig.wait_log("^hello", SOON).expect("hello"), "hello, rig");
    rig.wait_log("^RESULT", SOON).expect("result");
    let printed = begin.elapsed();
    assert_eq!(rig.result("answer").expect("log").as_deref(), Some("42"));
    assert_eq!(rig.wait_shutdown(SOON).expect("shut down"), Shutdown::Ended);
    let name = rig
        .dom0_ok(&format!("xenstore-read /local/domain/{domid}/name"))
        .expect("store");
    assert_eq!(name.trim(), "guest");
    rig.destroy().expect("destroy");
    drop(rig);
    eprintln!(
        "restored {restored:.2?}, created {created:.2?}, printed {printed:.2?}, ended {:.2?}",
        begin.elapsed()
    );
}

#[test]
fn a_guest_has_the_cpus_and_the_memory_that_were_asked_for() {
    let mut rig = Rig::start(config()).expect("start");
    let image = hello("here\n", 0, Then::Halt);
    let guest = GuestConfig {
        vcpus: 4,
        memory_mib: 96,
        paused: true,
        ..GuestConfig::new(image)
    };
    let domid = rig.create_guest(&guest).expect("create");
    assert!(
        rig.guest_log().expect("log").is_empty(),
        "it was to be paused"
    );
    rig.unpause().expect("unpause");
    rig.wait_log("^here", SOON).expect("it runs");
    let base = format!("/local/domain/{domid}");
    let cpus = rig
        .dom0_ok(&format!("xenstore-list {base}/cpu"))
        .expect("cpus");
    let memory = rig
        .dom0_ok(&format!("xenstore-read {base}/memory/static-max"))
        .expect("memory");
    assert_eq!((cpus.as_str(), memory.trim()), ("0\n1\n2\n3\n", "98304"));
}

#[test]
fn a_crash_of_the_guest_is_reported_with_its_last_line() {
    let mut rig = Rig::start(config()).expect("start");
    let image = hello("about to crash\n", 0, Then::Crash);
    rig.create_guest(&GuestConfig::new(image)).expect("create");
    let error = rig.wait_log("^never printed", SOON).expect_err("crash");
    assert_eq!(error.kind(), Kind::Guest);
    let text = error.to_string();
    assert!(
        text.contains("the guest crashed") && text.contains("about to crash"),
        "{text}"
    );
}

#[test]
fn a_missing_line_is_reported_after_the_time_out() {
    let mut rig = Rig::start(config()).expect("start");
    let image = hello("alive\n", 0, Then::Halt);
    rig.create_guest(&GuestConfig::new(image)).expect("create");
    rig.wait_log("^alive", SOON).expect("alive");
    let error = rig
        .wait_log("^never", Duration::from_millis(300))
        .expect_err("nothing");
    assert!(
        error
            .to_string()
            .contains("no line matched \"^never\" within 0.3 s"),
        "{error}"
    );
    rig.destroy().expect("destroy");
}

#[test]
fn a_line_arrives_in_one_piece_whatever_its_length() {
    let lengths = [
        XEN_LINE - 1,
        XEN_LINE,
        XEN_LINE + 1,
        2 * XEN_LINE,
        3 * XEN_LINE + 7,
        1,
    ];
    let lines: Vec<String> = lengths.iter().map(|n| "x".repeat(*n)).collect();
    let mut rig = Rig::start(config()).expect("start");
    let image = hello(&format!("{}\nend\n", lines.join("\n")), 0, Then::PowerOff);
    rig.create_guest(&GuestConfig::new(image)).expect("create");
    rig.wait_log("^end$", SOON).expect("end");
    let mut log = rig.guest_log().expect("log");
    assert_eq!(log.pop().as_deref(), Some("end"));
    let got: Vec<usize> = log.iter().map(String::len).collect();
    assert_eq!(got, lengths);
}

#[test]
fn an_hvm_guest_says_hello_in_place_of_its_firmware() {
    let hvm = RigConfig {
        hvm: true,
        ..config()
    };
    rig::prepare(&hvm).expect("prepare");
    let begin = Instant::now();
    let mut rig = Rig::start(hvm).expect("start");
    let image = hello("hello from hvm\n", 0, Then::PowerOff);
    let guest = GuestConfig {
        hvm: true,
        ..GuestConfig::new(image)
    };
    rig.create_guest(&guest).expect("create");
    rig.wait_log("^hello from hvm", SOON).expect("hello");
    eprintln!("hvm printed {:.2?}", begin.elapsed());
    assert_eq!(rig.wait_shutdown(SOON).expect("shut down"), Shutdown::Ended);
    rig.destroy().expect("destroy");
}

#[test]
fn an_hvm_guest_on_a_rig_without_device_model_is_refused() {
    let mut rig = Rig::start(config()).expect("start");
    let guest = GuestConfig {
        hvm: true,
        ..GuestConfig::new(Vec::new())
    };
    assert_eq!(
        rig.create_guest(&guest).expect_err("refused").kind(),
        Kind::Input
    );
}

#[test]
fn commands_run_beside_each_other_and_are_bounded() {
    let rig = Rig::start(config()).expect("start");
    let mut slow = rig
        .spawn_dom0("echo one; sleep 600; echo two", Duration::from_secs(600))
        .expect("spawn");
    slow.wait_line("one", SOON).expect("line");
    assert_eq!(rig.dom0("exit 3", SOON).expect("run").code, Some(3));
    assert_eq!(
        rig.dom0("echo out; echo err >&2", SOON).expect("run").text,
        "out\nerr\n"
    );
    assert_eq!(
        rig.dom0("sleep 600", Duration::from_millis(500))
            .expect("run")
            .code,
        None
    );
    rig.kill_dom0(&slow).expect("kill");
    assert_eq!(slow.finish(SOON).expect("end").code, None);
    assert_eq!(slow.lines().expect("lines"), ["one"]);
}

#[test]
fn a_dom0_that_answers_nothing_is_reported_with_what_the_processors_do() {
    let config = config();
    let report = config.cache.path("run/silent.log");
    let _ = std::fs::remove_file(&report);
    let rig = Rig::start(config).expect("start");
    // dom0's first process starts the agent anew, which knows nothing of the command.
    let gone = rig.dom0("killall -9 xenpeer", Duration::from_secs(1));
    let error = gone.expect_err("nobody is left to answer");
    assert!(error.is_infrastructure(), "{error}");
    let said = error.to_string();
    for part in [
        "dom0 said nothing about `killall -9 xenpeer`",
        "its agent answers a ping",
        "the CPUs: ",
        "RIG-FAULT agent ended",
    ] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    let report = std::fs::read_to_string(report).expect("the report");
    assert!(report.contains("RIP=") && report.contains("## info lapic 1"));
    // A command that outlives its caller's patience is no fault of the machinery.
    let mut slow = rig.spawn_dom0("sleep 100", SOON).expect("spawn");
    let late = slow.finish(Duration::from_millis(200));
    assert_eq!(late.expect_err("it sleeps").kind(), Kind::Dom0);
}

#[test]
fn files_go_to_dom0_and_back() {
    let mut rig = Rig::start(config()).expect("start");
    let data: Vec<u8> = (0..3_000_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    rig.upload(&[("a/first", b"one"), ("second", &data)])
        .expect("upload");
    rig.upload(&[("third", b"three")]).expect("upload again");
    assert_eq!(
        rig.dom0_ok("cat /job/a/first /job/third").expect("cat"),
        "onethree"
    );
    let back = std::env::temp_dir().join(format!("rig-back-{}", std::process::id()));
    rig.download("/job/second", &back).expect("download");
    let same = std::fs::read(&back).expect("read") == data;
    std::fs::remove_file(&back).expect("remove");
    assert!(same, "the file changed on its way");
}

#[test]
fn a_guest_that_is_no_elf_file_is_refused_by_name() {
    let mut rig = Rig::start(config()).expect("start");
    let error = rig
        .create_guest(&GuestConfig::new(b"not an image".to_vec()))
        .expect_err("refused");
    assert_eq!(error.kind(), Kind::Dom0);
    assert!(error.to_string().contains("xl create"), "{error}");
}

/// QEMU processes of this cache.
fn machines() -> usize {
    let ours = config().cache.root().display().to_string();
    let commands = std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|e| std::fs::read_to_string(e.path().join("cmdline")).ok());
    commands
        .filter(|c| c.contains("qemu-system-x86_64") && c.contains(&ours))
        .count()
}

#[test]
fn a_second_run_is_told_who_holds_the_rig_and_a_killed_one_leaves_nothing_behind() {
    const HOLD: &str = "RIG_TEST_HOLDS";
    if std::env::var_os(HOLD).is_some() {
        let _rig = Rig::start(config()).expect("start");
        println!("\nholding");
        std::thread::sleep(Duration::from_secs(120));
        return;
    }
    let this = "a_second_run_is_told_who_holds_the_rig_and_a_killed_one_leaves_nothing_behind";
    // Another test of this program may be on; it ends, and then the other process gets the rig.
    let mut other = Command::new(std::env::current_exe().expect("this program"))
        .args([this, "--exact", "--nocapture"])
        .envs([(HOLD, "1"), ("RIG_WAIT", "600")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let output = BufReader::new(other.stdout.take().expect("output"));
    output
        .lines()
        .find(|l| l.as_ref().is_ok_and(|l| l == "holding"))
        .expect("it holds")
        .expect("line");
    let error = Lock::take_within(&config().cache, Duration::ZERO).expect_err("busy");
    let running = machines();
    other.kill().expect("kill");
    other.wait().expect("wait");
    assert_eq!(error.kind(), Kind::Busy);
    assert!(
        error.to_string().contains(&format!("(pid {})", other.id())),
        "{error}"
    );
    assert!(running > 0);
    let rig = Rig::start(config()).expect("the rig is free again");
    assert_eq!(rig.dom0_ok("echo alive").expect("dom0"), "alive\n");
    // `timeout`, which the machine runs under, names it too.
    assert!(machines() <= running, "the killed run's machine still runs");
}

#[test]
fn a_dump_of_the_guest_holds_its_memory() {
    let mut rig = Rig::start(config()).expect("start");
    let image = hello("a text to be found in the dump\n", 0, Then::Halt);
    rig.create_guest(&GuestConfig {
        memory_mib: 16,
        ..GuestConfig::new(image)
    })
    .expect("create");
    rig.wait_log("^a text", SOON).expect("hello");
    let file = std::env::temp_dir().join(format!("rig-dump-{}", std::process::id()));
    rig.dump_guest(&file).expect("dump");
    let dump = std::fs::read(&file).expect("read");
    std::fs::remove_file(&file).expect("remove");
    assert_eq!(dump.len(), 16 << 20);
    // The guest's image is loaded at 1 MiB and is shorter than a page.
    let text = b"a text to be found in the dump";
    assert!(
        dump[1 << 20..][..4096]
            .windows(text.len())
            .any(|w| w == text)
    );
}

#[test]
fn after_the_death_of_xenstored_nothing_reads_the_store() {
    let rig = Rig::start(config()).expect("start");
    rig.dom0_ok("xenstore-exists /tool").expect("alive");
    rig.kill_xenstored().expect("kill");
    let read = rig.dom0("xenpeer store read /tool", SOON).expect("run");
    assert_eq!(read.code, Some(1), "{read:?}");
}

#[test]
fn hypercalls_are_counted_from_outside() {
    // Other addresses' counts are the page's own: the guest makes no hypercall elsewhere.
    for rounds in [1, 1000] {
        let config = RigConfig {
            icount: true,
            count_hypercalls: true,
            ..config()
        };
        let mut rig = Rig::start(config).expect("start");
        let image = hello("counted\n", rounds, Then::PowerOff);
        let begin = Instant::now();
        rig.create_guest(&GuestConfig::new(image)).expect("create");
        rig.wait_log("^counted", SOON).expect("hello");
        eprintln!("icount printed {:.2?}", begin.elapsed());
        assert_eq!(rig.wait_shutdown(SOON).expect("shut down"), Shutdown::Ended);
        let counted = rig.quit().expect("quit");
        let want = BTreeMap::from([(VERSION_OP, u64::from(rounds)), (SCHED_OP, 1)]);
        assert_eq!(counted.through_page(HYPERCALL_PAGE), want, "{counted:x?}");
        assert_eq!(counted.total(), u64::from(rounds) + 1, "{counted:x?}");
    }
}
