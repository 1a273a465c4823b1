// SPDX-License-Identifier: BSD-2-Clause
//! The children that test every interface: `cchild` through the C tables, `xenprobe` through the async wrappers.
//!
//! Each prints `TEST name ok` or `TEST name FAIL why`, and `RESULT name done` at its end; dom0's half is `xenpeer probe`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rig::{Cache, GuestConfig, Payload, Rig, RigConfig, pack};

use super::Suite;
use crate::build::{Flavor, cdriver};
use crate::{run, util};

/// How long a guest may run.
const LIMIT: Duration = Duration::from_secs(480);

/// A child: image, class in the store, the fewest tests that it has, what is in its lines or in those of the bus.
struct Child {
    name: &'static str,
    class: &'static str,
    tests: usize,
    /// Code of its bug check when the registry asks for one.
    bugcheck: u32,
    said: &'static [&'static str],
    /// Services whose devices are stopped and started again, and in which guest: the bus has a line to get back in an HVM guest.
    stops: &'static [(&'static str, usize)],
    /// Tests of a run in which xenstored is silent, replaced and restarted.
    faults: usize,
}

const CHILDREN: [Child; 2] = [
    Child {
        name: "cchild",
        class: "cchild",
        tests: 63,
        bugcheck: 0xC0DE_0001,
        said: &[
            "cchild: numbers -5 4000000000 10 abcd ABCD -6000000000 123456789abcdef z%",
            "cchild: texts [abc] [abc   ] [   abc] [wide] [(null)]",
            "cchild: padded [  42] [002a] [42  ] 000012345678ABCD",
            "XENBUS|EVTCHN: cpu 0: ",
            "XENBUS|STORE: requests ",
        ],
        stops: &[("cchild", 1), ("xenbus", 3)],
        faults: 3,
    },
    Child {
        name: "xenprobe",
        class: "probe",
        tests: 32,
        // A panic's.
        bugcheck: 0xDEAD_4B58,
        said: &["xenprobe: dumped 1", "xenprobe: dumped 2"],
        stops: &[("xenbus", 1)],
        faults: 4,
    },
];

/// A guest to run a child in.
struct Guest {
    name: &'static str,
    vcpus: u32,
    hvm: bool,
    checked: bool,
    /// Registry lines, `{child}` being the child's service.
    registry: &'static str,
    /// Lines of `boot.cfg`.
    boot: &'static str,
    /// A line of its configuration.
    extra: &'static str,
    /// How events come to it, in the bus's words.
    events: &'static [&'static str],
    /// Log lines must have come to dom0 over the console.
    logs: bool,
    /// One more test: a thousand watches at once, which take their time.
    watches: bool,
}

impl Guest {
    /// What the rows change.
    const PVH: Self = Self {
        name: "PVH",
        vcpus: 4,
        hvm: false,
        checked: false,
        registry: "",
        boot: "",
        extra: "",
        events: &["evtchn: fifo abi, 4 of 4 processors have a vector, line 24"],
        logs: false,
        watches: false,
    };
}

const GUESTS: [Guest; 7] = [
    Guest {
        name: "PVH, 1 vCPU",
        vcpus: 1,
        registry: UNPLUGGED,
        events: &["evtchn: fifo abi, 1 of 1 processors have a vector, line 24"],
        logs: true,
        watches: true,
        ..Guest::PVH
    },
    Guest {
        name: "PVH, 4 vCPUs, 4000 channels",
        registry: MANY,
        extra: "max_event_channels=6000",
        watches: true,
        ..Guest::PVH
    },
    Guest {
        name: "PVH, 4 vCPUs, checked drivers",
        checked: true,
        ..Guest::PVH
    },
    Guest {
        name: "HVM, 4 vCPUs",
        hvm: true,
        events: &["evtchn: fifo abi, 4 of 4 processors have a vector, line 24"],
        ..Guest::PVH
    },
    Guest {
        name: "PVH, 1 vCPU, 2-level",
        vcpus: 1,
        registry: TWO_LEVEL,
        events: &["evtchn: 2-level abi, 1 of 1 processors have a vector, line 24"],
        ..Guest::PVH
    },
    Guest {
        name: "PVH, 4 vCPUs, 2-level, registered event state",
        registry: TWO_LEVEL_REGISTERED,
        // Xen goes on writing there.
        boot: "keeps_pages=xen\n",
        events: &[
            "evtchn: 2-level abi, 4 of 4 processors have a vector, line 24",
            "shared_info: mapped, 4 processors, 4 with event state elsewhere",
        ],
        ..Guest::PVH
    },
    Guest {
        name: "HVM, 4 vCPUs, callback line",
        hvm: true,
        registry: LINE,
        events: &["evtchn: fifo abi, 0 of 4 processors have a vector, line 24"],
        ..Guest::PVH
    },
];

/// The child is to open that many channels.
const MANY: &str = concat!(
    r"V	\Registry\Machine\System\CurrentControlSet\Services\{child}\Parameters",
    "\tChannels\tdword\t4000\n"
);

/// The old ABI of event channels, and a child that knows.
const TWO_LEVEL: &str = r"
V	\Registry\Machine\System\CurrentControlSet\Services\xenbus\Parameters	UseEvtchnFifoAbi	dword	0
V	\Registry\Machine\System\CurrentControlSet\Services\{child}\Parameters	TwoLevel	dword	1
";

/// As [`TWO_LEVEL`], and each processor's event state is in a page of xen.sys.
const TWO_LEVEL_REGISTERED: &str = r"
V	\Registry\Machine\System\CurrentControlSet\Services\xenbus\Parameters	UseEvtchnFifoAbi	dword	0
V	\Registry\Machine\System\CurrentControlSet\Services\xen\Parameters	RegisterVcpuInfo	dword	1
V	\Registry\Machine\System\CurrentControlSet\Services\{child}\Parameters	TwoLevel	dword	1
";

/// No vectors, so that the platform device's interrupt tells of all events.
const LINE: &str = r"
V	\Registry\Machine\System\CurrentControlSet\Services\xenbus\Parameters	UseEvtchnUpcall	dword	0
V	\Registry\Machine\System\CurrentControlSet\Services\{child}\Parameters	OneProcessor	dword	1
";

/// A boot without emulated network cards, with the emulated disk, with a monitor service's key, and with the bus's log on the
/// console too; and what the child is told to expect of that.
const UNPLUGGED: &str = r"
K	\Registry\Machine\System\CurrentControlSet\Services\xenbus_monitor\Request
V	\Registry\Machine\System\CurrentControlSet\Services\xenbus\Parameters	RequestKey	sz	SYSTEM\CurrentControlSet\Services\xenbus_monitor\Request
V	\Registry\Machine\System\CurrentControlSet\Services\XEN\Unplug	NICS	dword	1
V	\Registry\Machine\System\CurrentControlSet\Services\XEN\ForceUnplug	NICS	dword	1
V	\Registry\Machine\System\CurrentControlSet\Control	SystemStartOptions	sz	NOEXECUTE=OPTIN XEN:BOOT_EMULATED=TRUE
V	\Registry\Machine\System\CurrentControlSet\Services\{child}\Parameters	Nics	dword	1
V	\Registry\Machine\System\CurrentControlSet\Services\{child}\Parameters	BootEmulated	dword	1
V	\Registry\Machine\System\CurrentControlSet\Services\{child}\Parameters	Monitor	dword	1
V	\Registry\Machine\System\CurrentControlSet\Services\xenbus\Parameters	ConsoleLogLevel	multi_sz	INFO
";

/// Tells the child to try a thousand watches.
const WATCHES: &str = "V\t\\Registry\\Machine\\System\\CurrentControlSet\\Services\\{child}\\Parameters\tWatches\tdword\t1000\n";

/// Where xenconsoled keeps what the guest wrote.
const CONSOLE_LOG: &str = "/var/log/xen/guest-guest.log";

pub(super) fn steps(suite: &mut Suite<'_>, kernel: &Path) {
    for child in &CHILDREN {
        for guest in &GUESTS {
            suite.step(&format!("{}: {}", child.name, guest.name), || {
                test(kernel, child, guest).map(drop)
            });
        }
        for (service, guest) in child.stops {
            suite.step(
                &format!("{}: again after a stop and start of {service}", child.name),
                || again(kernel, child, service, &GUESTS[*guest]),
            );
        }
        for guest in &GUESTS[..2] {
            suite.step(
                &format!(
                    "{}: xenstored silent, replaced and restarted, {}",
                    child.name, guest.name
                ),
                || faults(kernel, child, guest),
            );
        }
        suite.step(
            &format!("{}: bug check, every part of the bus prints", child.name),
            || crash(kernel, child),
        );
    }
}

fn payload(child: &Child, flavor: Flavor, more: &str, registry: &str) -> Result<Payload> {
    let boot = format!(
        "pnp=1\nattach_probe=1\nrelations_probe=xenbus\nuntil=RESULT {} done\npnp_wait=420000\ntimeout=440\n{more}",
        child.name
    );
    let payload = run::payload(flavor, &boot, &registry.replace("{child}", child.name))?;
    if !cdriver::CHILDREN.contains(&child.name) {
        return Ok(payload);
    }
    let file = format!("{}.sys", child.name);
    let image = util::read(&cdriver::children()?.join(&file))?;
    Ok(payload.driver(&file, image))
}

/// A rig with the guest in it, and dom0's half at work.
fn start(kernel: &Path, child: &Child, guest: &Guest, payload: &Payload) -> Result<Rig> {
    let image = pack(&util::read(kernel)?, payload)?;
    let mut rig = Rig::start(RigConfig {
        cache: Cache::new(),
        hvm: guest.hvm,
        lifetime: LIMIT + Duration::from_secs(120),
        ..RigConfig::default()
    })?;
    let domid = rig.create_guest(&GuestConfig {
        vcpus: guest.vcpus,
        hvm: guest.hvm,
        paused: true,
        extra: vec![guest.extra.to_owned()],
        ..GuestConfig::new(image)
    })?;
    let mut peer = rig.spawn_dom0(
        &format!(
            "xenpeer probe --domid {domid} --class {} --timeout 440",
            child.class
        ),
        LIMIT,
    )?;
    peer.wait_line("ready", Duration::from_secs(60))?;
    rig.unpause()?;
    Ok(rig)
}

/// Every test of xenprobe in one guest, for `cargo xtask run --child xenprobe`.
///
/// # Errors
/// As the steps.
pub(crate) fn once(kernel: &Path, flavor: Flavor, vcpus: u32, hvm: bool) -> Result<()> {
    let guest = Guest {
        name: "",
        vcpus,
        hvm,
        checked: flavor == Flavor::Checked,
        events: &[],
        watches: true,
        ..Guest::PVH
    };
    let [_, xenprobe] = &CHILDREN;
    for line in test(kernel, xenprobe, &guest)? {
        if line.starts_with("TEST ") || line.starts_with("RESULT ") {
            println!("    {line}");
        }
    }
    Ok(())
}

/// The guest's lines.
fn test(kernel: &Path, child: &Child, guest: &Guest) -> Result<Vec<String>> {
    let flavor = if guest.checked {
        Flavor::Checked
    } else {
        Flavor::Free
    };
    let watches = if guest.watches { WATCHES } else { "" };
    let payload = payload(
        child,
        flavor,
        guest.boot,
        &format!("{}{watches}", guest.registry),
    )?;
    let mut rig = start(kernel, child, guest, &payload)?;
    let tests = child.tests + usize::from(guest.watches);
    let lines = finish(&mut rig, child, tests)?;
    said(guest.events, &lines)?;
    if guest.logs {
        let log = rig.dom0_ok(&format!("cat {CONSOLE_LOG}"))?;
        let log: Vec<String> = log.lines().map(str::to_owned).collect();
        said(&["xenbus: child ", "XENBUS|STORE: requests "], &log).context("over the console")?;
    }
    Ok(lines)
}

/// The PnP manager stops `service` with all above it and starts it again, and the child passes its tests once more.
fn again(kernel: &Path, child: &Child, service: &str, guest: &Guest) -> Result<()> {
    let boot = format!("rebalance={service}\n");
    let payload = payload(child, Flavor::Free, &boot, guest.registry)?;
    let mut rig = start(kernel, child, guest, &payload)?;
    let lines = finish(&mut rig, child, 2 * child.tests)?;
    let stops = lines
        .iter()
        .filter(|line| line.contains(": stopped with 0x0"))
        .count();
    let wanted = if service == child.name { 1 } else { 2 };
    ensure!(stops >= wanted, "{stops} devices were stopped");
    Ok(())
}

/// xenstored goes quiet with hundreds of requests outstanding, is replaced, and is killed and started again.
fn faults(kernel: &Path, child: &Child, guest: &Guest) -> Result<()> {
    let registry = concat!(
        r"V	\Registry\Machine\System\CurrentControlSet\Services\{child}\Parameters",
        "\tFaults\tdword\t1\n"
    );
    let payload = payload(child, Flavor::Free, "", registry)?;
    let mut rig = start(kernel, child, guest, &payload)?;
    let end = rig.wait_log("^(KERNEL: (done|failed)|VERIFIER: )", LIMIT);
    let lines = rig.guest_log()?;
    let end = end.context("the guest did not come to its end");
    check(child, child.faults, end, &lines)?;
    let at = |text: &str| lines.iter().position(|line| line == text);
    let (Some(begin), Some(end)) = (at("RESULT pending 256"), at("RESULT pending 0")) else {
        bail!("256 requests were not outstanding");
    };
    let thread = |line: &&String| line.contains("makes a thread");
    ensure!(
        lines.iter().any(|line| thread(&line)),
        "the kernel does not tell of threads"
    );
    let extra = lines[begin..end].iter().find(thread);
    ensure!(extra.is_none(), "for outstanding requests: {extra:?}");
    let late = lines[begin..end]
        .iter()
        .find(|line| line.contains(" requests without a reply, "))
        .context("no line about the age of requests")?;
    println!("    {late}");
    for line in lines
        .iter()
        .filter(|line| line.starts_with("RESULT restart "))
    {
        println!("    {line}");
    }
    said(&["store: introduced to the daemon anew"], &lines)
}

/// Waits for the guest's end, which must be good after `tests` tests at least, and returns its lines.
fn finish(rig: &mut Rig, child: &Child, tests: usize) -> Result<Vec<String>> {
    let end = rig.wait_log("^(KERNEL: (done|failed)|VERIFIER: )", LIMIT);
    let lines = rig.guest_log()?;
    let end = end.context("the guest did not come to its end");
    check(child, tests, end, &lines)?;
    said(child.said, &lines)?;
    Ok(lines)
}

/// Each of `wanted` is in a line.
fn said(wanted: &[&str], lines: &[String]) -> Result<()> {
    for wanted in wanted {
        let said = lines.iter().any(|line| line.contains(wanted));
        ensure!(said, "no line with {wanted:?}");
    }
    Ok(())
}

/// The child ends in a bug check with a callback registered.
fn crash(kernel: &Path, child: &Child) -> Result<()> {
    let guest = &GUESTS[0];
    let registry = concat!(
        r"V	\Registry\Machine\System\CurrentControlSet\Services\{child}\Parameters",
        "\tCrash\tdword\t1\n"
    );
    let boot = format!("expect_bugcheck={:#x}\n", child.bugcheck);
    let payload = payload(child, Flavor::Free, &boot, registry)?;
    let mut rig = start(kernel, child, guest, &payload)?;
    let end = rig.wait_log("^(KERNEL: (done|failed)|VERIFIER: )", LIMIT);
    let lines = rig.guest_log()?;
    let words = format!("{}: last words 1 of {}", child.name, child.name);
    let wanted = [
        words.as_str(),
        "XENBUS|EVTCHN: cpu 0: ",
        "XENBUS|EVTCHN: fifo abi",
        "XENBUS|STORE: requests ",
        "XENBUS|TASKS: ring: store (",
        "XENBUS|TASKS: ring: console (",
        "XENBUS|TASKS: work: enumerate (",
    ];
    let end = end.context("no bug check").and_then(|end| {
        ensure!(end.starts_with("KERNEL: done status=ok"), "{end}");
        said(&wanted, &lines)
    });
    if end.is_err() {
        for line in lines.iter().rev().take(60).rev() {
            eprintln!("  {line}");
        }
    }
    end
}

/// Every test passed, none is missing, and the drivers left nothing behind.
fn check(child: &Child, wanted: usize, end: Result<String>, lines: &[String]) -> Result<()> {
    let tests: Vec<&String> = lines
        .iter()
        .filter(|line| line.starts_with("TEST "))
        .collect();
    let bad: Vec<&str> = tests
        .iter()
        .filter(|line| !line.ends_with(" ok"))
        .map(|line| line.as_str())
        .collect();
    if end
        .as_ref()
        .map_or(true, |line| !line.starts_with("KERNEL: done status=ok"))
        || !bad.is_empty()
    {
        for line in lines.iter().rev().take(60).rev() {
            eprintln!("  {line}");
        }
    }
    if !bad.is_empty() {
        bail!("{}", bad.join("; "));
    }
    let end = end?;
    ensure!(end.starts_with("KERNEL: done status=ok"), "{end}");
    ensure!(
        tests.len() >= wanted,
        "{} ran {} tests, not {wanted}",
        child.name,
        tests.len()
    );
    let early = lines
        .iter()
        .filter(|line| line.contains("a device in AddDevice answered"))
        .count();
    // The filter's, the bus's and the child's.
    ensure!(
        early >= 3,
        "only {early} devices were asked while they were added"
    );
    let left = lines.iter().find(|line| line.contains("outstanding"));
    ensure!(left.is_none(), "{left:?}");
    println!("    {}: {} tests", child.name, tests.len());
    Ok(())
}
