// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask run`: the main job. Our drivers, loaded as .sys files in a guest on a real Xen, serve the sample child's async
//! code while dom0 plays the other end; success is what both sides agree on.

mod report;

use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rig::{Cache, GuestConfig, Payload, Rig, RigConfig, pack};

use crate::build::{self, Flavor};
use crate::{dump, package, setup, test, util};

/// How long the guest may take, restored snapshot to its last line.
const GUEST_LIMIT: Duration = Duration::from_secs(240);

/// What the kernel does in a sample run: PnP, until the sample has said how it ended; then every device is tried from user mode.
pub(crate) const SAMPLE: &str = "pnp=1\nuntil=RESULT sample\npnp_wait=120000\ncreate_test=1\n";

/// Children that a run can be about.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Child {
    /// Measures every operation of store and event channels, with an account
    Xensample,
    /// A frontend that bounces messages off a backend in dom0
    Xenecho,
    /// Tests every interface
    Xenprobe,
}

/// Arguments of `cargo xtask run`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    /// The child driver
    #[arg(long, value_enum, default_value_t = Child::Xensample)]
    child: Child,
    /// Virtual CPUs of the guest (1 to 32)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=32))]
    vcpus: u32,
    /// An HVM guest with the Xen platform device instead of a PVH guest
    #[arg(long)]
    hvm: bool,
    /// The checked build of the drivers
    #[arg(long)]
    checked: bool,
    /// Keep the machine after the run, until Enter is pressed
    #[arg(long)]
    keep: bool,
    /// Write the guest's memory to FILE in the middle of the run, for `cargo xtask dump`
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

impl Args {
    /// A run of the shipping build.
    pub(crate) fn new(vcpus: u32, hvm: bool, checked: bool) -> Self {
        Self {
            child: Child::Xensample,
            vcpus,
            hvm,
            checked,
            keep: false,
            dump: None,
            yes: true,
        }
    }

    pub(crate) fn flavor(&self) -> Flavor {
        if self.checked {
            Flavor::Checked
        } else {
            Flavor::Free
        }
    }
}

/// Prints a progress line with the time since the command began.
pub(crate) fn progress(begin: Instant) -> impl Fn(&str) + Send + Sync + 'static {
    move |line| eprintln!("[{:6.1} s] {line}", begin.elapsed().as_secs_f64())
}

/// Runs a child driver on a real Xen.
///
/// # Errors
///
/// Anything fails to build or boot, or guest and dom0 do not agree.
pub(crate) fn main(args: &Args) -> Result<()> {
    if args.child != Child::Xensample && (args.keep || args.dump.is_some()) {
        bail!("--keep and --dump are for --child xensample only");
    }
    let say = progress(Instant::now());
    setup::ensure(&[setup::Purpose::Build], args.yes)?;
    say("building the drivers and the test kernel");
    build::images(args.flavor(), &build::IMAGES)?;
    let kernel = build::test_kernel()?;
    let (flavor, vcpus, hvm) = (args.flavor(), args.vcpus, args.hvm);
    match args.child {
        Child::Xenecho => return test::echo::once(&kernel, flavor, vcpus, hvm),
        Child::Xenprobe => return test::children::once(&kernel, flavor, vcpus, hvm),
        Child::Xensample => {}
    }
    let report = run(args, &kernel)?;
    print!("{report}");
    let path = util::root().join("target").join("rig").join("report.json");
    util::write_if_changed(&path, report.to_json()?.as_bytes())?;
    println!("report: {}", path.display());
    report.verdict()
}

/// The guest's payload: the four images, the registry of their INFs with more lines of `registry`, and `boot`.
///
/// # Errors
///
/// An image or INF is missing.
pub(crate) fn payload(flavor: Flavor, boot: &str, registry: &str) -> Result<Payload> {
    let mut payload = Payload::new()
        .boot(boot)
        .registry(&(package::rig_registry()? + registry));
    for name in build::IMAGES {
        let file = format!("{name}.sys");
        payload = payload.driver(&file, util::read(&flavor.dir().join(&file))?);
    }
    Ok(payload)
}

/// Boots the guest and plays one sample run through; the images and `kernel` are built.
///
/// # Errors
///
/// The rig cannot start, or the run does not come to its end.
pub(crate) fn run(args: &Args, kernel: &std::path::Path) -> Result<report::Report> {
    let begin = Instant::now();
    let image = pack(&util::read(kernel)?, &payload(args.flavor(), SAMPLE, "")?)?;
    let config = RigConfig {
        cache: Cache::new().with_progress(progress(begin)),
        hvm: args.hvm,
        icount: true,
        count_hypercalls: true,
        lifetime: GUEST_LIMIT + Duration::from_secs(120),
        ..RigConfig::default()
    };
    let mut rig = Rig::start(config)?;
    let domid = rig.create_guest(&GuestConfig {
        vcpus: args.vcpus,
        hvm: args.hvm,
        paused: true,
        ..GuestConfig::new(image)
    })?;
    // Drawn here: dom0 comes out of a snapshot, with the same random numbers every time.
    let mut nonce = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut nonce))
        .context("/dev/urandom")?;
    let nonce = format!("{:016x}", u64::from_le_bytes(nonce));
    let mut peer = rig.spawn_dom0(
        &format!("xenpeer sample --domid {domid} --nonce {nonce} --timeout 120"),
        GUEST_LIMIT,
    )?;
    peer.wait_line("\"ready\"", Duration::from_secs(60))?;
    rig.unpause()?;
    if let Some(file) = &args.dump {
        // Now, while everything is up: the root block leads nowhere once the bus has stopped.
        rig.wait_log("^RESULT op.bounce ", GUEST_LIMIT)?;
        dump::take(&mut rig, file)?;
        rig.unpause()?;
    }
    let end = rig.wait_log("^KERNEL: (done|failed)", GUEST_LIMIT);
    let guest = rig.guest_log()?;
    let last = match end {
        Ok(line) => line,
        Err(error) => {
            eprintln!("the guest's last lines:");
            for line in guest.iter().rev().take(40).rev() {
                eprintln!("  {line}");
            }
            return Err(error).context("the guest did not come to its end");
        }
    };
    let peer_said = peer.finish(Duration::from_secs(60))?;
    let peer_lines = peer.lines()?.to_vec();
    let versions = rig.dom0_ok("xl info | grep -E '^xen_version|^xen_extra|^xen_caps'")?;
    if args.keep {
        eprintln!(
            "the machine is kept (log: {}); press Enter to end it",
            rig.log_file().display()
        );
        std::io::stdin().read_line(&mut String::new())?;
    }
    if guest.is_empty() {
        bail!("the guest printed nothing");
    }
    let outside = rig.quit()?;
    Ok(report::Report::new(
        domid,
        args,
        &versions,
        &last,
        &guest,
        &peer_lines,
        peer_said.code,
        outside.by_address(),
    ))
}
