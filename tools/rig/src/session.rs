// SPDX-License-Identifier: BSD-2-Clause
//! A running Xen with dom0, and at most one guest that tests look at.

mod end;
mod silence;
mod storetest;
mod suspend;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use regex::Regex;

use crate::cache::{Cache, Lock};
use crate::dom0::{Job, Output};
use crate::error::{Context, Error, Kind, Result};
use crate::guest::GuestConfig;
use crate::helper;
use crate::log::Com1;
use crate::packages::Packages;
use crate::payload;
use crate::qemu::{DISK_BYTES, Variant, quoted};
use crate::snapshot::{Machine, Snapshot};

pub use storetest::{StoreLoad, StoreTest};

/// Where the plugin writes what it has counted and recorded, in the cache.
const HYPERCALLS: &str = "run/hypercalls";
const TRACE: &str = "run/trace";

/// Files for dom0 start at multiples of this on the disk.
const BLOCK: u64 = 1 << 20;

/// What to start.
#[derive(Clone)]
pub struct RigConfig {
    /// Where packages, snapshots and logs are.
    pub cache: Cache,
    /// dom0 gets the HVM device model.
    pub hvm: bool,
    /// Virtual time counts instructions: one TSC tick is one instruction.
    pub icount: bool,
    /// The machine is killed after this time, whatever happens.
    pub lifetime: Duration,
    /// Counts the hypercalls of guests from outside; [`Rig::quit`] returns them. Exact together with `icount`.
    pub count_hypercalls: bool,
    /// Records what happened when, needs `icount`; [`Rig::quit_traced`] returns it.
    pub trace: bool,
}

impl Default for RigConfig {
    fn default() -> Self {
        Self {
            cache: Cache::new(),
            hvm: false,
            icount: false,
            lifetime: Duration::from_secs(300),
            count_hypercalls: false,
            trace: false,
        }
    }
}

/// How a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It shut itself down.
    Ended,
    /// It crashed.
    Crashed,
}

#[derive(Debug, Clone)]
struct Guest {
    name: String,
    domid: u32,
    memory_mib: u32,
}

/// The running machine. Dropping it kills QEMU.
pub struct Rig {
    config: RigConfig,
    machine: Machine,
    com1: Com1,
    disk: File,
    next_block: u64,
    guest: Option<Guest>,
    log: PathBuf,
    // Released last.
    _lock: Lock,
}

/// Makes everything that [`Rig::start`] needs: packages, RAM disk, snapshot.
///
/// # Errors
/// As for [`Rig::start`].
pub fn prepare(config: &RigConfig) -> Result {
    let _lock = Lock::take(&config.cache)?;
    let packages = Packages::ensure(&config.cache)?;
    Snapshot::ensure(&config.cache, &packages, variant(config)).map(drop)
}

fn variant(config: &RigConfig) -> Variant {
    Variant {
        device_model: config.hvm,
        icount: config.icount,
    }
}

/// Runs `test`, and once more if it failed for a reason that lies in the rig and not in what is tested.
///
/// # Errors
/// The last try's.
pub fn retry_once<T>(mut test: impl FnMut() -> Result<T>) -> Result<T> {
    match test() {
        Err(error) if error.is_infrastructure() => test(),
        other => other,
    }
}

impl Rig {
    /// Restores the snapshot, making it first if need be. A fault of the machinery is retried once.
    ///
    /// # Errors
    /// In plain words: what is missing, who holds the rig, or what QEMU said.
    pub fn start(config: RigConfig) -> Result<Self> {
        if config.trace && !config.icount {
            // Several threads would count at the same time.
            return Err(Error::new(
                Kind::Input,
                "a trace needs a rig started with icount",
            ));
        }
        let lock = Lock::take(&config.cache)?;
        let packages = Packages::ensure(&config.cache)?;
        let snapshot = retry_once(|| Snapshot::ensure(&config.cache, &packages, variant(&config)))?;
        let counts = config.cache.path(HYPERCALLS);
        // Loaded in any case: it corrects a fault of QEMU that guests with an IRQL run into.
        let file = helper::build(&config.cache, &helper::COUNTER)?;
        let mut plugin = vec!["-plugin".to_owned(), quoted(&file)];
        if config.count_hypercalls {
            // The table of an earlier run must not be taken for this one's.
            let _ = fs::remove_file(&counts);
            plugin[1] += &format!(",out={}", quoted(&counts));
        }
        let trace = config.cache.path(TRACE);
        if config.trace {
            // Nor its trace.
            let _ = fs::remove_file(&trace);
            plugin[1] += &format!(",trace={}", quoted(&trace));
        }
        let restore = || snapshot.restore(&config.cache, &packages, &plugin, config.lifetime);
        let machine = retry_once(restore)?;
        let log = machine.qemu.com1().to_owned();
        let com1 = Com1::open(&log)?;
        let disk = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&machine.disk)
            .at("open", &machine.disk)?;
        Ok(Self {
            config,
            machine,
            com1,
            disk,
            next_block: 0,
            guest: None,
            log,
            _lock: lock,
        })
    }

    /// The configuration it was started with.
    pub fn config(&self) -> &RigConfig {
        &self.config
    }

    /// Runs a shell command in dom0.
    ///
    /// # Errors
    /// dom0 does not answer. The command's own failure is in the output.
    pub fn dom0(&self, command: &str, limit: Duration) -> Result<Output> {
        let done = self.machine.dom0.run(command, limit);
        done.map_err(|e| self.seen(e))
    }

    /// Runs a short shell command in dom0 that must succeed, and returns what it printed.
    ///
    /// # Errors
    /// It failed, or dom0 does not answer.
    pub fn dom0_ok(&self, command: &str) -> Result<String> {
        self.dom0(command, Duration::from_secs(120))?.ok(command)
    }

    /// Starts a shell command in dom0 that runs beside others; its lines arrive while it runs.
    ///
    /// # Errors
    /// The line to dom0 is lost.
    pub fn spawn_dom0(&self, command: &str, limit: Duration) -> Result<Job> {
        self.machine.dom0.spawn(command, limit, true)
    }

    /// Kills a command started by [`Rig::spawn_dom0`].
    ///
    /// # Errors
    /// dom0 does not answer.
    pub fn kill_dom0(&self, job: &Job) -> Result {
        self.machine.dom0.kill(job).map_err(|e| self.seen(e))
    }

    fn take_blocks(&mut self, bytes: u64) -> Result<u64> {
        let blocks = bytes.div_ceil(BLOCK).max(1);
        let at = self.next_block;
        if (at + blocks) * BLOCK > DISK_BYTES {
            return Err(Error::new(
                Kind::Input,
                "too many files for the rig's disk (512 MiB in one run)",
            ));
        }
        self.next_block += blocks;
        Ok(at)
    }

    /// Puts files into dom0's directory `/job`, over the disk: fast whatever their size.
    ///
    /// # Errors
    /// A bad name, too many bytes, dom0's memory is full.
    pub fn upload(&mut self, files: &[(&str, &[u8])]) -> Result {
        let data = payload::archive(files.iter().copied())?;
        let size = data.len() as u64;
        let at = self.take_blocks(size)?;
        self.disk
            .write_all_at(&data, at * BLOCK)
            .map_err(|e| Error::io("write the rig's disk", &e))?;
        // What dom0 may have read ahead is older than what was just written.
        let command = format!(
            "blockdev --flushbufs /dev/vda && dd if=/dev/vda bs=1M skip={at} count={} 2>/dev/null | tar xf - -C /job",
            size.div_ceil(BLOCK)
        );
        self.dom0(&command, Duration::from_secs(60))?
            .ok("unpack files")
            .map(drop)
    }

    /// Copies a file of dom0 to `to`.
    ///
    /// # Errors
    /// There is no such file, it is too large, or the disk here is full.
    pub fn download(&mut self, from: &str, to: &Path) -> Result {
        let size = self.dom0_ok(&format!("stat -c %s {from}"))?;
        let size: u64 = size
            .trim()
            .parse()
            .map_err(|_| Error::new(Kind::Dom0, format!("dom0: {from} has no size: {size}")))?;
        let at = self.take_blocks(size)?;
        let command = format!("dd if={from} of=/dev/vda bs=1M seek={at} conv=fsync 2>&1");
        self.dom0(&command, Duration::from_secs(120))?
            .ok("copy a file")?;
        self.copy_blocks(at, size, to)
    }

    /// Copies what dom0 wrote to the disk.
    fn copy_blocks(&mut self, at: u64, size: u64, to: &Path) -> Result {
        let mut out = File::create(to).at("create", to)?;
        self.disk
            .seek(SeekFrom::Start(at * BLOCK))
            .at("read", &self.machine.disk)?;
        std::io::copy(&mut (&self.disk).take(size), &mut out).at("write", to)?;
        Ok(())
    }

    /// Creates a guest; from now on the log functions speak of it. Returns its domain id.
    ///
    /// # Errors
    /// What `xl` said.
    pub fn create_guest(&mut self, guest: &GuestConfig) -> Result<u32> {
        if guest.hvm && !self.config.hvm {
            return Err(Error::new(
                Kind::Input,
                "an HVM guest needs a rig started with hvm",
            ));
        }
        let [image, ramdisk, config] =
            ["elf", "cpio", "cfg"].map(|end| format!("{}.{end}", guest.name));
        let text = guest.text(&format!("/job/{image}"), &format!("/job/{ramdisk}"));
        let mut files = vec![
            (image.as_str(), guest.image.as_slice()),
            (&config, text.as_bytes()),
        ];
        if !guest.ramdisk.is_empty() {
            files.push((&ramdisk, &guest.ramdisk));
        }
        self.upload(&files)?;
        let pause = if guest.paused { "-p " } else { "" };
        let command = format!(
            "xl create -q {pause}/job/{config} && xl domid {}",
            guest.name
        );
        let limit = Duration::from_secs(if self.config.icount { 120 } else { 60 });
        let said = self.dom0(&command, limit)?.ok("xl create")?;
        let domid = domain_id(&said)?;
        self.guest = Some(Guest {
            name: guest.name.clone(),
            domid,
            memory_mib: guest.memory_mib,
        });
        Ok(domid)
    }

    fn guest(&self) -> Result<&Guest> {
        self.guest
            .as_ref()
            .ok_or_else(|| Error::new(Kind::Input, "there is no guest"))
    }

    /// The guest's domain id.
    ///
    /// # Errors
    /// There is no guest.
    pub fn domid(&self) -> Result<u32> {
        self.guest().map(|g| g.domid)
    }

    /// Lets a guest run that was created paused.
    ///
    /// # Errors
    /// What `xl` said.
    pub fn unpause(&self) -> Result {
        let command = format!("xl unpause {}", self.guest()?.name);
        self.dom0_ok(&command).map(drop)
    }

    /// The guest's lines so far.
    ///
    /// # Errors
    /// There is no guest, or its log cannot be read.
    pub fn guest_log(&mut self) -> Result<Vec<String>> {
        let domid = self.domid()?;
        let lines = self.com1.poll()?.guest();
        Ok(lines
            .iter()
            .filter(|l| l.domid == domid)
            .map(|l| l.text.clone())
            .collect())
    }

    /// Lines of Xen and dom0 since the restore.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn host_log(&mut self) -> Result<Vec<String>> {
        Ok(self.com1.poll()?.host().to_vec())
    }

    /// The file with everything printed on Xen's console.
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Waits for a line of the guest that matches the regular expression, and returns the line.
    ///
    /// # Errors
    /// `limit` passed, the guest crashed, QEMU ended; with the guest's last lines.
    pub fn wait_log(&mut self, pattern: &str, limit: Duration) -> Result<String> {
        let wanted = Regex::new(pattern).map_err(|e| Error::new(Kind::Input, e.to_string()))?;
        let domid = self.domid()?;
        let end = Instant::now() + limit;
        let mut seen = 0;
        let mut crash = None;
        loop {
            let log = self.com1.poll()?;
            let fresh = log.guest().get(seen..).unwrap_or_default();
            if let Some(line) = fresh
                .iter()
                .find(|l| l.domid == domid && wanted.is_match(&l.text))
            {
                return Ok(line.text.clone());
            }
            seen = log.guest().len();
            if let Some((_, how)) = crash
                .as_ref()
                .filter(|(at, _): &&(Instant, _)| at.elapsed() > CRASH_GRACE)
            {
                let what = format!("the guest crashed ({how}) before a line matched {pattern:?}");
                return Err(self.failure(&what));
            }
            if crash.is_none() {
                crash = log
                    .host()
                    .iter()
                    .find(|l| is_crash(l, domid))
                    .map(|l| (Instant::now(), l.clone()));
            }
            if Instant::now() >= end {
                let seconds = limit.as_secs_f32();
                return Err(
                    self.failure(&format!("no line matched {pattern:?} within {seconds} s"))
                );
            }
            self.machine.qemu.check()?;
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// An error about the guest, with its last lines. If dom0 itself misbehaved, that is to blame.
    fn failure(&mut self, what: &str) -> Error {
        let domid = self.domid().unwrap_or(0);
        let log = self.com1.parser();
        let lines: Vec<&str> = log
            .guest()
            .iter()
            .filter(|l| l.domid == domid)
            .map(|l| l.text.as_str())
            .collect();
        let tail = lines[lines.len().saturating_sub(12)..].join("\n  ");
        let kind = if log.host().iter().any(|l| l.contains("segfault")) {
            Kind::Infrastructure
        } else {
            Kind::Guest
        };
        let tail = if tail.is_empty() { "(none)" } else { &tail };
        Error::new(
            kind,
            format!(
                "{what}; the guest's last lines (all in {}):\n  {tail}",
                self.log.display()
            ),
        )
    }

    /// The value of the guest's last line `RESULT KEY VALUE`.
    ///
    /// # Errors
    /// There is no guest, or its log cannot be read.
    pub fn result(&mut self, key: &str) -> Result<Option<String>> {
        Ok(result_of(&self.guest_log()?, key))
    }

    /// Waits until the guest has shut down or crashed.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub fn wait_shutdown(&mut self, limit: Duration) -> Result<Shutdown> {
        let end = Instant::now() + limit;
        let command = format!("xl list {}", self.guest()?.name);
        loop {
            let said = self.dom0_ok(&command)?;
            let state = said
                .lines()
                .last()
                .and_then(|l| l.split_whitespace().nth(4))
                .unwrap_or_default();
            match (state.contains('c'), state.contains('s')) {
                (true, _) => return Ok(Shutdown::Crashed),
                (_, true) => return Ok(Shutdown::Ended),
                _ if Instant::now() >= end => {
                    self.com1.poll()?;
                    return Err(self.failure(&format!("the guest did not shut down ({state})")));
                }
                // Each look is a process in dom0, on the guest's own CPUs.
                _ => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    /// Writes the guest's physical memory to `to`, byte for byte. The guest stays paused.
    ///
    /// # Errors
    /// The guest is gone, or the disk here is full.
    pub fn dump_guest(&mut self, to: &Path) -> Result {
        let guest = self.guest()?.clone();
        let size = u64::from(guest.memory_mib) << 20;
        let at = self.take_blocks(size)?;
        let command = format!(
            "xl pause {}; xenpeer dump --domid {} --mib {} --out /dev/vda --seek {}",
            guest.name,
            guest.domid,
            guest.memory_mib,
            at * BLOCK
        );
        self.dom0(&command, Duration::from_secs(120))?
            .ok("dump the guest")?;
        self.copy_blocks(at, size, to)
    }

    /// Destroys the guest.
    ///
    /// # Errors
    /// What `xl` said.
    pub fn destroy(&mut self) -> Result {
        let command = format!("xl destroy {}", self.guest()?.name);
        self.dom0_ok(&command)?;
        self.guest = None;
        Ok(())
    }

    /// Sets one of xenstored's quotas, such as `watches`, for all domains from now on: what is there stays. `xenstore-control quota`
    /// in dom0 lists them.
    ///
    /// # Errors
    /// xenstored has no such quota.
    pub fn store_quota(&self, what: &str, value: u32) -> Result {
        self.dom0_ok(&format!("xenstore-control quota set {what} {value}"))
            .map(drop)
    }

    /// Kills xenstored: no request will be answered any more, and `xl` is of no use in this run.
    ///
    /// # Errors
    /// dom0 does not answer.
    pub fn kill_xenstored(&self) -> Result {
        self.dom0_ok("killall -9 xenstored").map(drop)
    }
}

/// How long lines may still arrive after Xen reported a crash.
const CRASH_GRACE: Duration = Duration::from_millis(300);

/// True if Xen says that the domain is finished.
fn is_crash(line: &str, domid: u32) -> bool {
    line.starts_with("(XEN)")
        && (line.contains(&format!("d{domid}v")) && line.contains("Triple fault")
            || line.contains(&format!("Domain {domid} (vcpu#")) && line.contains("crashed"))
}

/// The domain id that `xl` printed last: the last line that is a number.
fn domain_id(said: &str) -> Result<u32> {
    let id = said.lines().rev().find_map(|l| l.trim().parse().ok());
    id.ok_or_else(|| Error::new(Kind::Dom0, format!("dom0: xl gave no domain id: {said}")))
}

/// The value of the last line `RESULT KEY VALUE`.
fn result_of(lines: &[String], key: &str) -> Option<String> {
    lines.iter().rev().find_map(|line| {
        let (name, value) = line
            .strip_prefix("RESULT ")?
            .split_once(' ')
            .unwrap_or_default();
        (name == key).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_result_of_a_key_counts() {
        let lines = [
            "RESULT a 1",
            "RESULT b x y",
            "noise RESULT a 3",
            "RESULT a 2",
            "RESULT c",
        ];
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        assert_eq!(result_of(&lines, "a").as_deref(), Some("2"));
        assert_eq!(result_of(&lines, "b").as_deref(), Some("x y"));
        assert_eq!(result_of(&lines, "c"), None);
    }

    #[test]
    fn only_the_guests_own_crash_is_its_crash() {
        assert!(is_crash(
            "(XEN) d1v0 Triple fault - invoking HVM shutdown action 1",
            1
        ));
        assert!(is_crash("(XEN) Domain 1 (vcpu#0) crashed on cpu#1:", 1));
        assert!(!is_crash("(XEN) d11v0 Triple fault", 1));
        assert!(!is_crash("dom0 says d1v0 Triple fault", 1));
    }

    #[test]
    fn only_faults_of_the_machinery_are_retried_and_once() {
        for (kind, tries) in [
            (Kind::Infrastructure, 2),
            (Kind::Guest, 1),
            (Kind::Missing, 1),
        ] {
            let mut count = 0;
            let done: Result = retry_once(|| {
                count += 1;
                Err(Error::new(kind, "x"))
            });
            assert!(done.is_err());
            assert_eq!(count, tries, "{kind:?}");
        }
    }
}
