// SPDX-License-Identifier: BSD-2-Clause
//! Where the rig keeps what it made, and the lock that lets one run at a time use it.
//!
//! ```text
//! <root>/lock                   pid of the run that holds the rig
//! <root>/pkgs/                  files out of Debian's packages, and their manifest
//! <root>/dom0-<key>.gz          initial RAM disks
//! <root>/snap/<variant>-<key>/  snapshots: ram, vmstate
//! <root>/run/                   what the last run left: COM1 log, QEMU's own messages
//! ```
//! A key is a hash of all inputs, so a changed input makes a new file and the old one is removed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::command;
use crate::error::{Context, Error, Kind, Result};

/// Told one short line at every step that takes long.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// The rig's directory and how to behave while filling it.
#[derive(Clone)]
pub struct Cache {
    root: PathBuf,
    progress: Progress,
    sources: Option<PathBuf>,
}

impl Cache {
    /// The default place: `$RIG_CACHE`, else `target/rig` of the workspace.
    pub fn new() -> Self {
        let root = std::env::var_os("RIG_CACHE").map_or_else(default_root, PathBuf::from);
        Self::at(root)
    }

    /// A cache in `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            progress: Arc::new(|_| ()),
            sources: None,
        }
    }

    /// Reports long steps to `progress`.
    #[must_use]
    pub fn with_progress(mut self, progress: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// Takes packages from the sources in this file (in the form of apt's `sources.list`) instead of the machine's.
    #[must_use]
    pub fn with_sources(mut self, list: impl Into<PathBuf>) -> Self {
        self.sources = Some(list.into());
        self
    }

    pub(crate) fn sources(&self) -> Option<&Path> {
        self.sources.as_deref()
    }

    /// Refuses to begin something that needs more room than the disk has.
    pub(crate) fn need_room(&self, megabytes: u64, what: &str) -> Result {
        let mut df = Command::new("df");
        df.args(["--output=avail", "-BM"]).arg(self.dir("")?);
        let done = command::run(&mut df, Duration::from_secs(20))?;
        let text = String::from_utf8_lossy(&done.stdout);
        let free = text
            .lines()
            .last()
            .and_then(|l| l.trim().trim_end_matches('M').parse::<u64>().ok());
        match free {
            // An answer that cannot be read is no reason to refuse: the disk itself will tell.
            Some(free) if free < megabytes => Err(Error::missing(format!(
                "the disk of {} has {free} MB left; {what} needs {megabytes} MB",
                self.root.display()
            ))),
            _ => Ok(()),
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `name` below the directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn say(&self, line: &str) {
        (self.progress)(line);
    }

    /// Makes a directory below the root.
    pub(crate) fn dir(&self, name: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path).at("create", &path)?;
        Ok(path)
    }

    /// Removes entries of `dir` that start with `prefix`, except `keep`.
    pub(crate) fn prune(&self, dir: &Path, prefix: &str, keep: &str) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(prefix) && name != keep {
                let path = entry.path();
                // What cannot be removed now is only wasted space; the next run tries again.
                let _ = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
            }
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

fn default_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/rig")
        .components()
        .fold(PathBuf::new(), |mut path, part| {
            if part == std::path::Component::ParentDir {
                path.pop();
            } else {
                path.push(part);
            }
            path
        })
}

/// Collects the inputs of a cached file.
pub(crate) struct Key(Sha256);

impl Key {
    pub(crate) fn new(what: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(what.as_bytes());
        Self(hash)
    }

    pub(crate) fn bytes(mut self, data: &[u8]) -> Self {
        self.0.update((data.len() as u64).to_le_bytes());
        self.0.update(data);
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0
            .finalize()
            .iter()
            .take(8)
            .map(|b| format!("{b:02x}"))
            .collect()
    }
}

/// How long one test may hold up the others of its program.
const OWN_LIMIT: Duration = Duration::from_secs(1200);

/// Whose turn it is among this program's threads.
static TURN: Mutex<()> = Mutex::new(());

fn own_pid() -> String {
    std::process::id().to_string()
}

fn holder_text(pid: &str) -> String {
    if pid.is_empty() {
        String::new()
    } else {
        format!(" (pid {pid})")
    }
}

/// Holding this means no other process uses the rig. Released by drop or by the process's end.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock. `$RIG_WAIT` (seconds) says how long to wait for another run; the default is not at all.
    ///
    /// # Errors
    /// [`Kind::Busy`] with the holder's pid.
    pub fn take(cache: &Cache) -> Result<Self> {
        let wait = std::env::var("RIG_WAIT")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        // Tests of one program run in threads: they queue up here, and only another process's run is refused.
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let end = Instant::now() + OWN_LIMIT;
        loop {
            match Self::take_within(cache, Duration::from_secs(wait)) {
                Err(e)
                    if e.to_string().contains(&holder_text(&own_pid())) && Instant::now() < end =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }

    /// Takes the lock, waiting up to `wait`.
    ///
    /// # Errors
    /// [`Kind::Busy`] with the holder's pid.
    pub fn take_within(cache: &Cache, wait: Duration) -> Result<Self> {
        let path = cache.dir("")?.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .at("open", &path)?;
        let end = Instant::now() + wait;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = file.rewind();
                    let _ = file.read_to_string(&mut holder);
                    let who = holder_text(holder.trim());
                    if Instant::now() >= end {
                        return Err(Error::new(
                            Kind::Busy,
                            format!(
                                "another run{who} is using the rig in {}; wait for it to end, or set RIG_WAIT=SECONDS or RIG_CACHE=DIR",
                                cache.root().display()
                            ),
                        ));
                    }
                    if !told {
                        cache.say(&format!("waiting for another run{who} to release the rig"));
                        told = true;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(TryLockError::Error(e)) => return Err(e).at("lock", &path),
            }
        }
        file.set_len(0).at("write", &path)?;
        file.rewind().at("write", &path)?;
        writeln!(file, "{}", std::process::id()).at("write", &path)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_the_pid_of_the_first() {
        let dir = std::env::temp_dir().join(format!("rig-lock-{}", std::process::id()));
        let cache = Cache::at(&dir);
        let first = Lock::take_within(&cache, Duration::ZERO).expect("first");
        let error = Lock::take_within(&cache, Duration::ZERO).expect_err("second");
        assert_eq!(error.kind(), Kind::Busy);
        assert!(
            error
                .to_string()
                .contains(&format!("(pid {})", std::process::id())),
            "{error}"
        );
        drop(first);
        // Another test of this program may be between a fork and its exec, with a copy of the file: the lock goes with the last.
        Lock::take_within(&cache, Duration::from_secs(60)).expect("after the first is gone");
        fs::remove_dir_all(&dir).expect("clean up");
    }

    #[test]
    fn a_disk_without_room_is_named_with_what_is_missing() {
        let dir = std::env::temp_dir().join(format!("rig-room-{}", std::process::id()));
        let cache = Cache::at(&dir);
        cache.need_room(1, "a test").expect("a megabyte is there");
        let error = cache
            .need_room(1 << 40, "a snapshot")
            .expect_err("an exabyte is not");
        assert_eq!(error.kind(), Kind::Missing);
        assert!(error.to_string().contains("a snapshot needs"), "{error}");
        fs::remove_dir_all(&dir).expect("clean up");
    }

    #[test]
    fn a_key_depends_on_where_one_input_ends_and_the_next_begins() {
        let one = Key::new("x").bytes(b"ab").bytes(b"c").finish();
        let two = Key::new("x").bytes(b"a").bytes(b"bc").finish();
        assert_ne!(one, two);
        assert_eq!(one.len(), 16);
    }
}
