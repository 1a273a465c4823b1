// SPDX-License-Identifier: BSD-2-Clause
//! A Linux guest: Debian's kernel and a small RAM disk, which runs a script and powers off.

use std::fs;
use std::io;
use std::path::Path;

use crate::cache::Cache;
use crate::cpio::Writer;
use crate::error::{Context, Result};
use crate::guest::GuestConfig;
use crate::helper;
use crate::packages::Packages;

const INIT: &str = include_str!("linux.sh");

/// The kernel and the RAM disk take half of it.
const MEMORY_MIB: u32 = 160;

impl GuestConfig {
    /// A PVH guest with one CPU that runs `script` in busybox's shell, with `xenpeer` and `/dev/xen/xenbus`.
    ///
    /// The script's lines are the guest's log; the last one is `LINUX: done code=N` with its exit code. Then the guest shuts down.
    ///
    /// # Errors
    /// As for [`Rig::start`](crate::Rig::start).
    pub fn linux(cache: &Cache, script: &str) -> Result<Self> {
        let packages = Packages::ensure(cache)?;
        let kernel = packages.file_like("boot", "vmlinuz-")?;
        let peer = helper::build(cache, &helper::PEER)?;
        let peer = fs::read(&peer).at("read", &peer)?;
        let busybox = packages.busybox()?;
        let busybox = fs::read(&busybox).at("read", &busybox)?;
        Ok(Self {
            ramdisk: ramdisk(&busybox, &peer, script).at("write", Path::new("the RAM disk"))?,
            memory_mib: MEMORY_MIB,
            cmdline: "console=hvc0 quiet panic=-1".into(),
            ..Self::new(fs::read(&kernel).at("read", &kernel)?)
        })
    }
}

fn ramdisk(busybox: &[u8], peer: &[u8], script: &str) -> io::Result<Vec<u8>> {
    let mut out = Writer::new(Vec::new());
    for dir in ["proc", "sys", "dev", "tmp"] {
        out.dir(dir)?;
    }
    out.file("init", INIT.as_bytes())?;
    out.file("script", script.as_bytes())?;
    out.file("bin/busybox", busybox)?;
    out.link("bin/sh", "busybox")?;
    out.file("bin/xenpeer", peer)?;
    out.finish()
}
