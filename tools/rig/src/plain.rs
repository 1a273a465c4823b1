// SPDX-License-Identifier: BSD-2-Clause
//! A kernel in a plain QEMU, without Xen: what a disk sees that was moved to another hypervisor, and the cheapest way to run what
//! needs no Xen. Needs no snapshot and no lock; several may run at the same time.

use std::fs;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::cache::Cache;
use crate::command;
use crate::error::{Context, Error, Kind, Result};
use crate::packages::Packages;
use crate::qemu::program;

/// What the kernel asks of the `isa-debug-exit` device is QEMU's own exit code; this one is of `timeout`.
const KILLED: i32 = 137;

/// Boots `image`, a PVH kernel, and returns the lines that it wrote to port 0xE9.
///
/// # Errors
/// QEMU does not start, or the kernel does not end by itself within `limit`; with the last lines.
pub fn plain(cache: &Cache, image: &[u8], vcpus: u32, limit: Duration) -> Result<Vec<String>> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let packages = Packages::ensure(cache)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let file = cache
        .dir("plain")?
        .join(format!("{}-{number}.elf", process::id()));
    fs::write(&file, image).at("write", &file)?;
    let mut qemu = program(&packages, "usr/bin/qemu-system-x86_64", limit)?;
    qemu.arg("-L").arg(packages.file("usr/share/qemu")?);
    qemu.arg("-L").arg(packages.file("usr/share/seabios")?);
    let words = "-machine pc -cpu EPYC,-xsave -accel tcg,thread=multi -m 128 -display none -nodefaults -no-user-config \
                 -no-reboot -device isa-debug-exit,iobase=0xf4,iosize=4 -debugcon stdio -monitor none";
    qemu.args(words.split_whitespace());
    qemu.args(["-smp", &vcpus.to_string(), "-kernel"])
        .arg(&file);
    let done = command::run(&mut qemu, limit + Duration::from_secs(5));
    // Whatever became of it.
    let _ = fs::remove_file(&file);
    let done = done?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    if done.status.code().is_none_or(|code| code == KILLED) {
        let last: Vec<&str> = lines
            .iter()
            .rev()
            .take(10)
            .rev()
            .map(String::as_str)
            .collect();
        let message = format!(
            "the kernel did not end within {} s; its last lines:\n  {}",
            limit.as_secs(),
            last.join("\n  ")
        );
        return Err(Error::new(Kind::Guest, message));
    }
    if lines.is_empty() {
        return Err(Error::new(
            Kind::Infrastructure,
            format!("the kernel said nothing; QEMU said: {}", done.reason()),
        ));
    }
    Ok(lines)
}
