// SPDX-License-Identifier: BSD-2-Clause
//! Boots Xen and dom0 once, saves the machine, and restores it in a tenth of a second ever after.
//!
//! Memory is a file: mapped shared while booting, private when restored, so a restore never changes it. The devices'
//! state is a second, small file. The key covers all inputs: packages, RAM disk, command lines.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use crate::cache::{Cache, Key};
use crate::dom0::Dom0;
use crate::error::{Context, Error, Result};
use crate::initramfs;
use crate::packages::Packages;
use crate::qemu::{DISK_BYTES, Qemu, Start, Variant};
use crate::qmp::Qmp;

/// How long a boot may take; 10 s without, 25 s with instruction counting on a quiet machine.
const BOOT_LIMIT: Duration = Duration::from_secs(240);

/// A saved machine.
pub(crate) struct Snapshot {
    dir: PathBuf,
    variant: Variant,
    boot: [PathBuf; 3],
}

/// A machine that runs.
pub(crate) struct Machine {
    pub(crate) qemu: Qemu,
    pub(crate) qmp: RefCell<Qmp>,
    pub(crate) dom0: Dom0,
    pub(crate) disk: PathBuf,
}

impl Snapshot {
    /// The snapshot of `variant`, from the cache or made now.
    pub(crate) fn ensure(cache: &Cache, packages: &Packages, variant: Variant) -> Result<Self> {
        let initrd = initramfs::ensure(cache, packages, variant.device_model)?;
        let kernel = packages.file_like("boot", "vmlinuz-")?;
        let xen = unpacked_xen(cache, packages)?;
        let key = Key::new("snapshot 1")
            .bytes(packages.manifest().as_bytes())
            .bytes(initrd.file_name().unwrap_or_default().as_encoded_bytes())
            .bytes(variant.machine().join(" ").as_bytes())
            .bytes(variant.xen_options().as_bytes())
            .bytes(&DISK_BYTES.to_le_bytes())
            .finish();
        let home = cache.dir("snap")?;
        let prefix = format!("{}-0", variant.name());
        let name = format!("{prefix}{key}");
        let dir = home.join(&name);
        let snapshot = Self {
            dir: dir.clone(),
            variant,
            boot: [xen, kernel, initrd],
        };
        if dir.join("vmstate").exists() {
            return Ok(snapshot);
        }
        cache.prune(&home, &prefix, "");
        cache.need_room(if variant.device_model { 2500 } else { 1500 }, "a snapshot")?;
        let fresh = home.join(format!("{name}.new"));
        fs::create_dir_all(&fresh).at("create", &fresh)?;
        snapshot.make(cache, packages, &fresh)?;
        fs::rename(&fresh, &dir).at("rename", &fresh)?;
        Ok(snapshot)
    }

    fn start<'a>(
        &'a self,
        ram: &'a Path,
        disk: &'a Path,
        extra: &'a [String],
        lifetime: Duration,
    ) -> Start<'a> {
        let [xen, kernel, initrd] = &self.boot;
        Start {
            variant: self.variant,
            ram,
            share: false,
            disk,
            boot: [xen, kernel, initrd],
            incoming: false,
            extra,
            lifetime,
        }
    }

    /// Boots and saves.
    fn make(&self, cache: &Cache, packages: &Packages, dir: &Path) -> Result {
        let name = self.variant.name();
        cache.say(&format!("booting Xen and dom0 for the {name} snapshot"));
        let begin = Instant::now();
        let disk = new_disk(cache)?;
        let ram = dir.join("ram");
        let start = Start {
            share: true,
            // The boot's own limit comes first.
            ..self.start(&ram, &disk, &[], BOOT_LIMIT * 2)
        };
        let (mut qemu, mut qmp) = Qemu::start(cache, packages, &start)?;
        let dom0 = Dom0::new(qemu.connect("com2")?, 0)?;
        let mut told = Instant::now();
        while !dom0.is_ready() {
            qemu.check().map_err(|e| with_console(&e, qemu.com1()))?;
            if begin.elapsed() > BOOT_LIMIT {
                return Err(with_console(
                    &Error::infra("dom0 did not come up in time"),
                    qemu.com1(),
                ));
            }
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                cache.say(&format!("still booting ({} s)", begin.elapsed().as_secs()));
            }
            thread::sleep(Duration::from_millis(10));
        }
        let log = fs::read(qemu.com1()).at("read", qemu.com1())?;
        let log = String::from_utf8_lossy(&log);
        fs::write(cache.path(format!("run/boot-{name}.log")), log.as_bytes()).at("write", dir)?;
        if let Some(fault) = log.lines().find(|l| l.contains("RIG-FAULT")) {
            return Err(with_console(&Error::infra(fault.trim()), qemu.com1()));
        }
        // First use of the tools fills the page cache, so that every restored run finds them warm.
        dom0.run("xl list; xenstore-ls / | wc -l", Duration::from_secs(60))?
            .ok("xl list")?;
        qmp.save(&dir.join("vmstate.new"))?;
        qmp.quit();
        qemu.end(Duration::from_secs(10));
        fs::rename(dir.join("vmstate.new"), dir.join("vmstate")).at("rename", dir)?;
        cache.say(&format!(
            "saved the {name} snapshot after {:.1} s",
            begin.elapsed().as_secs_f32()
        ));
        Ok(())
    }

    /// Starts a machine from the snapshot.
    pub(crate) fn restore(
        &self,
        cache: &Cache,
        packages: &Packages,
        extra: &[String],
        lifetime: Duration,
    ) -> Result<Machine> {
        let disk = new_disk(cache)?;
        let ram = self.dir.join("ram");
        let start = Start {
            incoming: true,
            ..self.start(&ram, &disk, extra, lifetime)
        };
        let (qemu, mut qmp) = Qemu::start(cache, packages, &start)?;
        // Ids go on above those that the snapshot's maker used.
        let dom0 = Dom0::new(qemu.connect("com2")?, 1000)?;
        qmp.restore(&self.dir.join("vmstate"))?;
        dom0.ping(Duration::from_secs(60))?;
        Ok(Machine {
            qemu,
            qmp: RefCell::new(qmp),
            dom0,
            disk,
        })
    }
}

/// Adds the last lines of COM1 to an error.
pub(crate) fn with_console(error: &Error, com1: &Path) -> Error {
    let log = fs::read(com1).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("\n  ");
    Error::new(
        error.kind(),
        format!(
            "{error}; the last lines of {} are:\n  {tail}",
            com1.display()
        ),
    )
}

/// An empty disk for files.
fn new_disk(cache: &Cache) -> Result<PathBuf> {
    let path = cache.dir("run")?.join("job.img");
    let file = File::create(&path).at("create", &path)?;
    file.set_len(DISK_BYTES).at("create", &path)?;
    Ok(path)
}

/// QEMU takes Xen only unpacked.
fn unpacked_xen(cache: &Cache, packages: &Packages) -> Result<PathBuf> {
    let from = packages.file("boot/xen-4.17-amd64.gz")?;
    let to = packages.root().join("boot/xen");
    if !to.exists() {
        let fresh = cache.path("xen.new");
        let mut input = GzDecoder::new(File::open(&from).at("open", &from)?);
        let mut output = File::create(&fresh).at("create", &fresh)?;
        std::io::copy(&mut input, &mut output).at("unpack", &from)?;
        fs::rename(&fresh, &to).at("rename", &fresh)?;
    }
    Ok(to)
}
