// SPDX-License-Identifier: BSD-2-Clause
//! Runs shell commands in dom0, one per argument: `cargo run -p rig --example dom0 -- [--hvm] [--icount] 'xl info' 'xenstore-ls'`.

use std::time::Duration;

use rig::{Cache, Rig, RigConfig};

fn main() -> rig::Result {
    let cache = Cache::new().with_progress(|line| eprintln!("rig: {line}"));
    let rig = Rig::start(RigConfig {
        cache,
        ..RigConfig::default()
    })?;
    for command in std::env::args().skip(1) {
        let done = rig.dom0(&command, Duration::from_secs(60))?;
        print!("{}", done.text);
        if done.code != Some(0) {
            println!("(exit code {:?})", done.code);
        }
    }
    Ok(())
}
