// SPDX-License-Identifier: BSD-2-Clause
//! Runs shell commands in dom0, one per argument: `cargo run -p rig --example dom0 -- [--hvm] [--icount] 'xl info' 'xenstore-ls'`.

use std::time::Duration;

use rig::{Cache, Rig, RigConfig};

fn main() -> rig::Result {
    let cache = Cache::new().with_progress(|line| eprintln!("rig: {line}"));
    let (flags, commands): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let has = |flag: &str| flags.iter().any(|f| f == flag);
    let config = RigConfig {
        cache,
        hvm: has("--hvm"),
        icount: has("--icount"),
        ..RigConfig::default()
    };
    let rig = Rig::start(config)?;
    for command in commands {
        let done = rig.dom0(&command, Duration::from_secs(60))?;
        print!("{}", done.text);
        if done.code != Some(0) {
            println!("(exit code {:?})", done.code);
        }
    }
    Ok(())
}
