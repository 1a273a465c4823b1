// SPDX-License-Identifier: BSD-2-Clause
//! Runs a shell script in a Linux guest: `cargo run -p rig --example linux -- [--icount] 'xenpeer store ls /'`.

use std::time::{Duration, Instant};

use rig::{Cache, GuestConfig, Rig, RigConfig};

fn main() -> rig::Result {
    let cache = Cache::new().with_progress(|line| eprintln!("rig: {line}"));
    let (flags, commands): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let guest = GuestConfig::linux(&cache, &commands.join("\n"))?;
    let mut rig = Rig::start(RigConfig {
        cache,
        icount: flags.iter().any(|flag| flag == "--icount"),
        ..RigConfig::default()
    })?;
    let begin = Instant::now();
    let told = |what: &str| eprintln!("rig: {what} after {:.1} s", begin.elapsed().as_secs_f32());
    rig.create_guest(&guest)?;
    told("the guest was created");
    let ended = rig.wait_log("^LINUX: done", Duration::from_secs(240));
    told("its script ended");
    for line in rig.guest_log()? {
        println!("{line}");
    }
    ended?;
    rig.wait_shutdown(Duration::from_secs(60))?;
    told("it shut down");
    rig.destroy()
}
