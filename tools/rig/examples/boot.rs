// SPDX-License-Identifier: BSD-2-Clause
//! Boots a kernel with a payload and shows its lines:
//! `cargo run -p rig --example boot -- KERNEL [--hvm] [--icount] [--vcpus N] [--boot KEY=VALUE].. [--registry FILE] [--driver FILE].. [--seconds N] [--dom0 CMD].. [--dump FILE]`
//!
//! Ends with the kernel's last line (`KERNEL: done` or `KERNEL: failed`), its crash, or after the time.

use std::path::Path;
use std::time::{Duration, Instant};

use rig::{Cache, Error, GuestConfig, Kind, Payload, Rig, RigConfig, pack};

fn read(path: &str) -> rig::Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::new(Kind::Input, format!("{path}: {e}")))
}

fn main() -> rig::Result {
    let cache = Cache::new().with_progress(|line| eprintln!("rig: {line}"));
    let mut config = RigConfig {
        cache,
        ..RigConfig::default()
    };
    let mut payload = Payload::new();
    let (mut kernel, mut boot, mut commands, mut dump) = (None, String::new(), Vec::new(), None);
    let (mut vcpus, mut seconds) = (1, 30);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| Error::new(Kind::Input, format!("{arg} needs a value")))
        };
        match arg.as_str() {
            "--hvm" => config.hvm = true,
            "--icount" => config.icount = true,
            "--vcpus" => vcpus = value()?.parse().unwrap_or(1),
            "--seconds" => seconds = value()?.parse().unwrap_or(30),
            "--boot" => boot = format!("{boot}{}\n", value()?),
            "--dom0" => commands.push(value()?),
            "--dump" => dump = Some(value()?),
            "--registry" => payload = payload.file("registry.txt", read(&value()?)?),
            "--driver" => {
                let path = value()?;
                let name = Path::new(&path)
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                payload = payload.driver(&name, read(&path)?);
            }
            _ => kernel = Some(arg),
        }
    }
    let kernel = read(&kernel.ok_or_else(|| Error::new(Kind::Input, "no kernel given"))?)?;
    let image = pack(&kernel, &payload.boot(&boot))?;

    let hvm = config.hvm;
    let mut rig = Rig::start(config)?;
    let begin = Instant::now();
    let domid = rig.create_guest(&GuestConfig {
        vcpus,
        hvm,
        ..GuestConfig::new(image)
    })?;
    eprintln!("rig: domain {domid} after {:.2?}", begin.elapsed());
    for command in commands {
        print!(
            "{}",
            rig.dom0(
                &command.replace("DOMID", &domid.to_string()),
                Duration::from_secs(60)
            )?
            .text
        );
    }
    let end = rig.wait_log("^KERNEL: (done|failed)", Duration::from_secs(seconds));
    for line in rig.guest_log()? {
        println!("{line}");
    }
    for line in rig
        .host_log()?
        .iter()
        .filter(|l| l.contains(&format!("d{domid}")))
    {
        println!("{line}");
    }
    if let Some(file) = dump {
        rig.dump_guest(Path::new(&file))?;
    }
    eprintln!("rig: ended after {:.2?}", begin.elapsed());
    end.map(drop)
}
