// SPDX-License-Identifier: BSD-2-Clause
//! Fetches Debian's packages and keeps the files that the rig needs, unpacked below the cache. Nothing is installed.
//!
//! apt runs with a state directory of its own and an empty status file. So the answer does not depend on what this
//! machine has installed, the closure of libraries is complete down to libc, no root is needed, and apt checks the
//! archive's signatures and hashes as always. The sources are the machine's own (`/etc/apt`).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cache::{Cache, Key};
use crate::command::{self, Finished};
use crate::error::{Context, Error, Kind, Result};

/// What is asked for; libraries follow by dependency.
const ROOTS: &[&str] = &[
    "qemu-system-x86",
    "qemu-system-common",
    "qemu-system-data",
    "qemu-system-xen",
    "seabios",
    "ipxe-qemu",
    "xen-hypervisor-4.17-amd64",
    "xen-utils-4.17",
    "xenstore-utils",
    "linux-image-amd64",
    "busybox-static",
];

/// Modules for dom0 in load order; `true`: loaded at boot, `false`: only put into the image.
pub(crate) const MODULES: &[(&str, bool)] = &[
    ("xen-evtchn", true),
    ("xen-gntdev", true),
    ("xen-gntalloc", true),
    ("xen-privcmd", true),
    ("xenfs", true),
    ("virtio_ring", true),
    ("virtio", true),
    ("virtio_pci_modern_dev", true),
    ("virtio_pci_legacy_dev", true),
    ("virtio_pci", true),
    ("virtio_blk", true),
    ("tun", false),
    ("xen-netback", false),
];

/// Directories that are kept whole, and single files; everything else in a package is left out.
const KEEP: &[&str] = &[
    "boot/vmlinuz-",
    "boot/xen-4.17-amd64.gz",
    "bin/busybox",
    "usr/bin/busybox",
    "usr/bin/qemu-system-x86_64",
    "usr/bin/xenstore",
    "usr/lib/xen-4.17/",
    "usr/libexec/",
    "lib/x86_64-linux-gnu/",
    "usr/lib/x86_64-linux-gnu/",
    "usr/lib/ipxe/",
    "usr/share/qemu/",
    "usr/share/seabios/",
];

/// Changes when the unpacked form changes, so old caches are rebuilt.
const FORMAT: &str = "packages 1";

/// Debian's files.
#[derive(Debug, Clone)]
pub struct Packages {
    root: PathBuf,
    manifest: String,
}

impl Packages {
    /// The unpacked packages; fetches them if they are not there yet.
    ///
    /// # Errors
    /// Names the package, or says that the network or the disk is to blame.
    pub fn ensure(cache: &Cache) -> Result<Self> {
        let home = cache.dir("pkgs")?;
        let name = format!("root-{}", recipe());
        let root = home.join(&name);
        if let Ok(manifest) = fs::read_to_string(root.join("manifest")) {
            return Ok(Self { root, manifest });
        }
        cache.prune(&home, "root-", "");
        let fresh = home.join(format!("{name}.new"));
        cache.prune(&home, &format!("{name}.new"), "");
        fs::create_dir_all(&fresh).at("create", &fresh)?;
        let manifest = fetch(cache, &fresh)?;
        fs::write(fresh.join("manifest"), &manifest).at("write", &fresh)?;
        fs::rename(&fresh, &root).at("rename", &fresh)?;
        Ok(Self { root, manifest })
    }

    /// The directory that stands for `/`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// One line per package: name, version.
    pub fn manifest(&self) -> &str {
        &self.manifest
    }

    /// `path` inside the packages.
    pub(crate) fn file(&self, path: &str) -> Result<PathBuf> {
        let full = self.root.join(path);
        if full.exists() {
            return Ok(full);
        }
        Err(Error::missing(format!(
            "{path} is in none of Debian's packages as fetched; remove {} to fetch them again",
            self.root.display()
        )))
    }

    /// busybox, wherever Debian has it.
    pub(crate) fn busybox(&self) -> Result<PathBuf> {
        let older = self.file("bin/busybox");
        older.or_else(|_| self.file("usr/bin/busybox"))
    }

    /// The only file of directory `dir` that starts with `prefix`.
    pub(crate) fn file_like(&self, dir: &str, prefix: &str) -> Result<PathBuf> {
        let full = self.root.join(dir);
        let mut found: Vec<PathBuf> = fs::read_dir(&full)
            .at("read", &full)?
            .flatten()
            .map(|e| e.path())
            .filter(|p| {
                p.file_name()
                    .and_then(|n| n.to_str())
                    .is_some_and(|n| n.starts_with(prefix))
            })
            .collect();
        found.sort();
        found.pop().ok_or_else(|| {
            Error::missing(format!(
                "no {dir}/{prefix}* in Debian's packages as fetched"
            ))
        })
    }
}

/// Names the set of packages and how they are unpacked.
fn recipe() -> String {
    let mut key = Key::new(FORMAT);
    for name in ROOTS.iter().chain(KEEP) {
        key = key.bytes(name.as_bytes());
    }
    // Their order is the RAM disk's concern.
    let mut modules: Vec<&str> = MODULES.iter().map(|(name, _)| *name).collect();
    modules.sort_unstable();
    key.bytes(modules.join(" ").as_bytes()).finish()
}

/// One line of apt's `--print-uris`.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    name: String,
    version: String,
    size: u64,
}

/// Reads apt's list of what it would download.
fn parse_uris(text: &str) -> Vec<Item> {
    text.lines()
        .filter_map(|line| {
            let mut parts = line.split_whitespace();
            let (_, file, size) = (parts.next()?, parts.next()?, parts.next()?);
            let mut stem = file.strip_suffix(".deb")?.split('_');
            let (name, version) = (stem.next()?.to_owned(), stem.next()?.replace("%3a", ":"));
            Some(Item {
                name,
                version,
                size: size.parse().ok()?,
            })
        })
        .collect()
}

/// Roots, kernel image and libraries: not the tools that Debian would need to boot from a disk.
fn wanted(name: &str) -> bool {
    ROOTS.contains(&name)
        || name.starts_with("lib")
        || name.starts_with("linux-image-")
        || name == "zlib1g"
}

/// apt with its own state below the cache.
struct Apt {
    home: PathBuf,
    sources: Vec<String>,
}

impl Apt {
    fn new(cache: &Cache) -> Result<Self> {
        let home = cache.dir("apt")?;
        for dir in ["state/lists/partial", "cache/archives/partial", "debs"] {
            cache.dir(Path::new("apt").join(dir))?;
        }
        let status = home.join("status");
        fs::write(&status, "").at("write", &status)?;
        let sources = match cache.sources() {
            None => Vec::new(),
            Some(list) => {
                let list = format!("Dir::Etc::sourcelist={}", list.display());
                ["-o", &list, "-o", "Dir::Etc::sourceparts=/dev/null"]
                    .map(str::to_owned)
                    .into()
            }
        };
        Ok(Self { home, sources })
    }

    fn run(&self, args: &[&str], limit: Duration) -> Result<Finished> {
        let set = |name: &str, path: &str| format!("{name}={}", self.home.join(path).display());
        let mut command = Command::new("apt-get");
        command
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .current_dir(self.home.join("debs"))
            .args([
                "-qq",
                "-o",
                "Debug::NoLocking=1",
                "-o",
                "APT::Install-Recommends=0",
            ])
            .args([
                "-o",
                "APT::Architecture=amd64",
                "-o",
                "APT::Sandbox::User=",
                "-o",
                "Acquire::Retries=2",
            ])
            .args([
                "-o",
                "Acquire::Languages=none",
                "-o",
                "Acquire::http::Timeout=30",
            ])
            .args([
                "-o",
                &set("Dir::State", "state"),
                "-o",
                &set("Dir::State::status", "status"),
            ])
            .args(["-o", &set("Dir::Cache", "cache")])
            .args(&self.sources)
            .args(args);
        command::run(&mut command, limit).map_err(|e| {
            Error::new(
                e.kind(),
                format!("{e}; the rig takes all its pieces from Debian 12's packages"),
            )
        })
    }
}

/// Downloads and unpacks into `root`; returns the manifest.
fn fetch(cache: &Cache, root: &Path) -> Result<String> {
    cache.need_room(700, "fetching packages")?;
    let apt = Apt::new(cache)?;
    cache.say("reading Debian's package lists");
    // A list that is no use to us may fail; whether those that matter were read shows in the plan.
    let update = apt.run(&["update"], Duration::from_secs(300))?;
    let mut ask = vec!["--print-uris", "install"];
    ask.extend(ROOTS);
    let plan = apt.run(&ask, Duration::from_secs(60))?;
    if !plan.status.success() {
        let reason = plan.reason();
        if let Some(failed) = update
            .stderr
            .lines()
            .find(|l| l.contains("Failed to fetch"))
        {
            return Err(Error::missing(format!(
                "cannot read Debian's package lists: {failed}"
            )));
        }
        return Err(Error::missing(format!(
            "a package of the rig is missing: {reason} (Debian 12, bookworm, is needed in /etc/apt)"
        )));
    }
    let mut items = parse_uris(&String::from_utf8_lossy(&plan.stdout));
    items.retain(|i| wanted(&i.name));
    items.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(root) = ROOTS.iter().find(|r| !items.iter().any(|i| i.name == **r)) {
        return Err(Error::missing(format!(
            "the package {root} is missing from Debian's lists"
        )));
    }
    let debs = apt.home.join("debs");
    for (n, batch) in items.chunks(16).enumerate() {
        let megabytes: u64 = items.iter().map(|i| i.size).sum::<u64>() / 1_000_000;
        cache.say(&format!(
            "downloading packages {} of {} ({megabytes} MB in all)",
            (n * 16 + batch.len()).min(items.len()),
            items.len()
        ));
        let exact: Vec<String> = batch
            .iter()
            .map(|i| format!("{}={}", i.name, i.version))
            .collect();
        let mut args = vec!["download"];
        args.extend(exact.iter().map(String::as_str));
        let got = apt.run(&args, Duration::from_secs(600))?;
        if !got.status.success() {
            return Err(Error::missing(format!(
                "cannot download a package: {}",
                got.reason()
            )));
        }
    }
    cache.say("unpacking packages");
    let mut files: Vec<PathBuf> = fs::read_dir(&debs)
        .at("read", &debs)?
        .flatten()
        .map(|e| e.path())
        .collect();
    files.sort();
    for deb in files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "deb"))
    {
        unpack(deb, root)?;
    }
    // The packages were only a means; their lists too. A failure here wastes space, nothing else.
    let _ = fs::remove_dir_all(&apt.home);
    Ok(items
        .iter()
        .map(|i| format!("{} {}\n", i.name, i.version))
        .collect())
}

/// True if the rig needs this file.
fn keep(path: &str) -> bool {
    if let Some(module) = path.strip_suffix(".ko").and_then(|p| p.rsplit('/').next()) {
        return path.starts_with("lib/modules/") && MODULES.iter().any(|(m, _)| *m == module);
    }
    KEEP.iter().any(|k| path.starts_with(k)) && !path.contains("/gconv/") && !path.contains("/perl")
}

/// Unpacks what is wanted from one package.
fn unpack(deb: &Path, root: &Path) -> Result {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| Error::missing(format!("cannot run dpkg-deb: {e}")))?;
    let done = child.stdout.take().map(|out| unpack_tar(out, root));
    let status = child.wait().at("unpack", deb)?;
    match done {
        Some(Err(e)) => Err(Error::io(format_args!("unpack {}", deb.display()), &e)),
        Some(Ok(())) if status.success() => Ok(()),
        _ => Err(Error::new(
            Kind::Missing,
            format!("{} is damaged", deb.display()),
        )),
    }
}

fn unpack_tar(mut data: impl Read, root: &Path) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(&mut data);
    archive.set_preserve_mtime(false);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry
            .path()?
            .to_string_lossy()
            .trim_start_matches("./")
            .to_owned();
        if entry.header().entry_type().is_dir() || !keep(&path) {
            continue;
        }
        entry.unpack_in(root)?;
    }
    // dpkg-deb must be able to write its padding.
    std::io::copy(&mut data, &mut std::io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_apt_gives_name_version_and_size() {
        let text = "'http://deb.debian.org/x' libnss3_2%3a3.87.1-1+deb12u4_amd64.deb 1330556 SHA256:00\nnoise\n";
        assert_eq!(
            parse_uris(text),
            [Item {
                name: "libnss3".into(),
                version: "2:3.87.1-1+deb12u4".into(),
                size: 1_330_556
            }]
        );
    }

    /// Fetches from `source`, which is a line for apt or a place where a package list is made.
    fn fetch_from(name: &str, source: impl FnOnce(&Path) -> String) -> Error {
        let dir = std::env::temp_dir().join(format!("rig-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("directory");
        let list = dir.join("sources.list");
        fs::write(&list, source(&dir)).expect("list");
        let cache = Cache::at(dir.join("cache")).with_sources(&list);
        let error = Packages::ensure(&cache).expect_err("no packages");
        fs::remove_dir_all(&dir).expect("clean up");
        assert_eq!(error.kind(), Kind::Missing, "{error}");
        error
    }

    #[test]
    fn a_package_that_does_not_exist_is_named() {
        let error = fetch_from("empty", |dir| {
            fs::write(dir.join("Packages"), "").expect("packages");
            format!("deb [trusted=yes] file:{} ./\n", dir.display())
        });
        let text = error.to_string();
        assert!(
            text.contains("a package of the rig is missing") && text.contains(ROOTS[0]),
            "{text}"
        );
    }

    #[test]
    fn a_source_that_does_not_answer_is_named() {
        let error = fetch_from("offline", |_| {
            "deb http://127.0.0.1:9/debian bookworm main\n".into()
        });
        let text = error.to_string();
        assert!(
            text.contains("cannot read Debian's package lists") && text.contains("127.0.0.1"),
            "{text}"
        );
    }

    #[test]
    fn only_files_that_the_rig_uses_are_unpacked() {
        assert!(keep(
            "lib/modules/6.1.0-1-amd64/kernel/drivers/xen/xen-evtchn.ko"
        ));
        assert!(!keep(
            "lib/modules/6.1.0-1-amd64/kernel/drivers/net/e1000.ko"
        ));
        assert!(keep("usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so"));
        assert!(!keep("usr/share/doc/xen/copyright"));
    }
}
