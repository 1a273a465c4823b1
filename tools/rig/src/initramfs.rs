// SPDX-License-Identifier: BSD-2-Clause
//! Makes dom0's initial RAM disk: busybox, Xen's tools with their libraries, kernel modules, our helper.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::cache::{Cache, Key};
use crate::closure::{self, LOADER};
use crate::cpio::Writer;
use crate::error::{Context, Error, Result};
use crate::helper;
use crate::packages::{MODULES, Packages};

const INIT: &str = include_str!("init.sh");

/// Xen's programs, from `usr/lib/xen-4.17/bin`.
const XEN_TOOLS: &[&str] = &[
    "xl",
    "xenstored",
    "xenstore-control",
    "test-xenstore",
    "xen-init-dom0",
    "xenconsoled",
    "xenconsole",
    "libxl-save-helper",
    "xenctx",
    "xen-hvmctx",
    "lsevtchn",
];

/// xenstore's clients, from `usr/bin`.
const STORE_TOOLS: &[&str] = &[
    "read", "write", "ls", "rm", "watch", "exists", "chmod", "list",
];

/// Data files of the device model.
const DM_DATA: &[&str] = &[
    "bios-256k.bin",
    "vgabios-stdvga.bin",
    "vgabios-cirrus.bin",
    "efi-rtl8139.rom",
    "efi-e1000.rom",
    "keymaps/en-us",
    "kvmvapic.bin",
    "linuxboot.bin",
    "linuxboot_dma.bin",
];

/// Where they are in the packages.
const DM_DIRS: &[&str] = &["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"];

/// Empty directories that programs expect.
const DIRS: &[&str] = &[
    "m",
    "job",
    "proc",
    "sys",
    "dev",
    "tmp",
    "run",
    "sbin",
    "etc/xen",
    "var/lib/xen/dump",
    "var/lib/xenstored",
    "var/log/xen",
    "modules",
];

/// The RAM disk without (`device_model` false) or with the HVM device model, from the cache or made now.
///
/// # Errors
/// A file that no package brought, a helper that does not build, a full disk.
pub(crate) fn ensure(cache: &Cache, packages: &Packages, device_model: bool) -> Result<PathBuf> {
    let peer = helper::build(cache, &helper::PEER)?;
    let peer = fs::read(&peer).at("read", &peer)?;
    let key = Key::new("initramfs 2")
        .bytes(packages.manifest().as_bytes())
        .bytes(INIT.as_bytes())
        .bytes(&peer)
        .bytes(&[u8::from(device_model)])
        .bytes(format!("{XEN_TOOLS:?}{STORE_TOOLS:?}{DM_DATA:?}{DIRS:?}{MODULES:?}").as_bytes())
        .finish();
    let prefix = if device_model { "dom0dm-" } else { "dom0-" };
    let name = format!("{prefix}{key}.gz");
    let path = cache.path(&name);
    if path.exists() {
        return Ok(path);
    }
    cache.say("making dom0's RAM disk");
    cache.prune(cache.root(), prefix, &name);
    let fresh = cache.path(format!("{name}.new"));
    let file = fs::File::create(&fresh).at("create", &fresh)?;
    let zip = GzEncoder::new(io::BufWriter::new(file), Compression::fast());
    let zip = write(zip, packages, &peer, device_model)?;
    let file = zip.finish().at("write", &fresh)?;
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)
        .at("write", &fresh)?;
    fs::rename(&fresh, &path).at("rename", &fresh)?;
    Ok(path)
}

/// Copies one file of the packages to the same place in the RAM disk.
fn copy<W: io::Write>(out: &mut Writer<W>, packages: &Packages, path: &str) -> Result<PathBuf> {
    let from = packages.file(path)?;
    let data = fs::read(&from).at("read", &from)?;
    out.file(path, &data).at("write", &from)?;
    Ok(from)
}

fn write<W: io::Write>(out: W, packages: &Packages, peer: &[u8], device_model: bool) -> Result<W> {
    let here = Path::new("the RAM disk");
    let mut out = Writer::new(out);
    for dir in DIRS {
        out.dir(dir).at("write", here)?;
    }
    out.link("var/run", "../run").at("write", here)?;
    out.file("init", INIT.as_bytes()).at("write", here)?;
    out.file("bin/xenpeer", peer).at("write", here)?;
    out.file("etc/xen/xl.conf", b"").at("write", here)?;
    let busybox = packages.busybox()?;
    out.file("bin/busybox", &fs::read(&busybox).at("read", &busybox)?)
        .at("write", here)?;
    out.link("bin/sh", "busybox").at("write", here)?;

    let mut programs = Vec::new();
    for tool in XEN_TOOLS {
        programs.push(copy(
            &mut out,
            packages,
            &format!("usr/lib/xen-4.17/bin/{tool}"),
        )?);
    }
    for tool in STORE_TOOLS {
        programs.push(copy(
            &mut out,
            packages,
            &format!("usr/bin/xenstore-{tool}"),
        )?);
    }
    if device_model {
        copy(&mut out, packages, "usr/lib/xen-4.17/boot/hvmloader")?;
        programs.push(copy(
            &mut out,
            packages,
            "usr/libexec/xen-qemu-system-i386",
        )?);
        copy(&mut out, packages, "usr/share/seabios/bios-256k.bin")?;
        for file in DM_DATA {
            // Each firmware has a package and a directory of its own.
            let from = DM_DIRS
                .iter()
                .find_map(|d| packages.file(&format!("{d}/{file}")).ok())
                .ok_or_else(|| {
                    Error::missing(format!(
                        "the device model's {file} is in none of the packages"
                    ))
                })?;
            let data = fs::read(&from).at("read", &from)?;
            out.file(&format!("usr/share/qemu/{file}"), &data)
                .at("write", here)?;
        }
    }
    // libgcc_s is opened by name when xl's thread is cancelled.
    for (name, path) in closure::closure(packages.root(), &programs, &["libgcc_s.so.1"])? {
        let data = fs::read(&path).at("read", &path)?;
        out.file(&format!("lib/x86_64-linux-gnu/{name}"), &data)
            .at("write", here)?;
    }
    if !packages.file(LOADER)?.exists() {
        return Err(Error::missing(
            "the dynamic loader is in none of the packages",
        ));
    }
    out.link("lib64/ld-linux-x86-64.so.2", &format!("/{LOADER}"))
        .at("write", here)?;
    for (n, (module, load)) in MODULES.iter().enumerate() {
        let data = find_module(&packages.root().join("lib/modules"), module)
            .ok_or_else(|| Error::missing(format!("the kernel package has no module {module}")))?;
        let data = fs::read(&data).at("read", &data)?;
        let to = if *load {
            format!("m/{n:02}-{module}.ko")
        } else {
            format!("modules/{module}.ko")
        };
        out.file(&to, &data).at("write", here)?;
    }
    out.finish().at("write", here)
}

/// Finds `name.ko` below `dir`.
fn find_module(dir: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|e| e.path())
        .find_map(|path| {
            if path.is_dir() {
                find_module(&path, name)
            } else {
                let matches = path.file_name()?.to_str()?.strip_suffix(".ko")? == name;
                matches.then_some(path)
            }
        })
}
