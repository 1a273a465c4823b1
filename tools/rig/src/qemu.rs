// SPDX-License-Identifier: BSD-2-Clause
//! One QEMU process: its command line, its control sockets, and the certainty that it ends.
//!
//! A thread of its own starts the process and waits for it. `setpriv --pdeathsig` kills QEMU when that thread is gone,
//! so a killed test leaves nothing behind; `timeout`, tied to both ends in the same way, bounds its life in any case.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::closure::{LIBRARY_DIRS, LOADER};
use crate::error::{Context, Error, Kind, Result};
use crate::packages::Packages;
use crate::qmp::Qmp;

/// Size of the disk that carries files into and out of dom0; must be the same at every restore.
pub(crate) const DISK_BYTES: u64 = 512 << 20;

/// Which machine is booted; each has a snapshot of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    /// dom0 has the HVM device model, and the memory that it needs.
    pub(crate) device_model: bool,
    /// Virtual time counts instructions.
    pub(crate) icount: bool,
}

impl Variant {
    /// A word for file names and messages.
    pub(crate) fn name(self) -> &'static str {
        match (self.device_model, self.icount) {
            (false, false) => "pvh",
            (false, true) => "pvh-icount",
            (true, false) => "hvm",
            (true, true) => "hvm-icount",
        }
    }

    fn memory_mib(self) -> u32 {
        if self.device_model { 2048 } else { 1024 }
    }

    fn dom0_mib(self) -> u32 {
        if self.device_model { 1024 } else { 512 }
    }

    /// The part of the command line that a snapshot depends on.
    pub(crate) fn machine(self) -> Vec<String> {
        let memory = self.memory_mib();
        // XSAVE: stray crashes in dom0. SMAP: dom0 dies early. Both are limits of the emulation.
        let cpu = "EPYC,+svm,+npt,-smap,-smep,-monitor,-xsave";
        let mut args: Vec<String> = ["-cpu", cpu, "-m"].map(str::to_owned).into();
        args.push(memory.to_string());
        let words =
            "-display none -nodefaults -no-user-config -no-reboot -machine pc,memory-backend=ram";
        args.extend(words.split(' ').map(str::to_owned));
        // With exact counts there is one thread anyway, and one CPU repeats best.
        let timing = if self.icount {
            "-accel tcg,thread=single -smp 1 -icount shift=0,sleep=off"
        } else {
            "-accel tcg,thread=multi -smp 2"
        };
        args.extend(timing.split(' ').map(str::to_owned));
        args
    }

    /// Xen's own command line.
    pub(crate) fn xen_options(self) -> String {
        format!(
            "console=com1 com1=115200 dom0_mem={}M dom0_max_vcpus=1 loglvl=all guest_loglvl=all cpuidle=0",
            self.dom0_mib()
        )
    }
}

/// What to start.
pub(crate) struct Start<'a> {
    pub(crate) variant: Variant,
    /// File behind the guest's memory, and whether writes go into it.
    pub(crate) ram: &'a Path,
    pub(crate) share: bool,
    /// Raw disk image of [`DISK_BYTES`].
    pub(crate) disk: &'a Path,
    /// Xen, dom0's kernel and RAM disk.
    pub(crate) boot: [&'a Path; 3],
    /// Waits for a snapshot instead of booting.
    pub(crate) incoming: bool,
    /// More arguments, such as a plugin.
    pub(crate) extra: &'a [String],
    /// The process is killed after this time.
    pub(crate) lifetime: Duration,
}

#[derive(Default)]
struct State {
    ended: Option<(Kind, String)>,
}

/// The running process.
pub(crate) struct Qemu {
    sockets: PathBuf,
    com1: PathBuf,
    messages: PathBuf,
    kill: mpsc::Sender<()>,
    state: Arc<Mutex<State>>,
    waiter: Option<JoinHandle<()>>,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A command that runs a program of the packages with the packages' own loader and libraries.
pub(crate) fn program(packages: &Packages, path: &str, lifetime: Duration) -> Result<Command> {
    let root = packages.root();
    let libraries: Vec<String> = LIBRARY_DIRS
        .iter()
        .map(|d| root.join(d).display().to_string())
        .collect();
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "timeout",
        "--foreground",
        "--signal=KILL",
    ]);
    command.arg(lifetime.as_secs().max(1).to_string());
    command.args(["setpriv", "--pdeathsig", "KILL"]);
    command
        .arg(packages.file(LOADER)?)
        .arg("--library-path")
        .arg(libraries.join(":"));
    command.arg(packages.file(path)?);
    command.env(
        "QEMU_MODULE_DIR",
        root.join("usr/lib/x86_64-linux-gnu/qemu"),
    );
    command
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("LD_PRELOAD");
    Ok(command)
}

/// A path for QEMU's option syntax, where a comma is written twice.
pub(crate) fn quoted(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Removes the socket directories of runs that were killed.
fn remove_stale_sockets() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|n| n.strip_prefix("xenrig-")) else {
            continue;
        };
        let gone = rest
            .split('-')
            .next()
            .is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if gone {
            // Somebody else's may be protected; it is only litter.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Qemu {
    /// Starts QEMU and connects to its control socket.
    pub(crate) fn start(
        cache: &Cache,
        packages: &Packages,
        start: &Start<'_>,
    ) -> Result<(Self, Qmp)> {
        let run = cache.dir("run")?;
        remove_stale_sockets();
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        // A socket's path may be no longer than 107 bytes, so these live where paths are short.
        let sockets = std::env::temp_dir().join(format!("xenrig-{}-{n}", std::process::id()));
        fs::create_dir_all(&sockets).at("create", &sockets)?;
        let com1 = run.join("com1.log");
        let messages = run.join("qemu.log");
        fs::write(&com1, "").at("write", &com1)?;
        let log = File::create(&messages).at("create", &messages)?;

        let [xen, kernel, initrd] = start.boot;
        let share = if start.share { "on" } else { "off" };
        let ram = format!(
            "memory-backend-file,id=ram,size={}M,mem-path={},share={share}",
            start.variant.memory_mib(),
            quoted(start.ram)
        );
        let socket = |name: &str| format!("{},server=on,wait=off", quoted(&sockets.join(name)));
        let mut command = program(packages, "usr/bin/qemu-system-x86_64", start.lifetime)?;
        for dir in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            command.arg("-L").arg(packages.root().join(dir));
        }
        command
            .args(start.variant.machine())
            .args(["-object", &ram])
            .args(["-serial", &format!("file:{}", com1.display())])
            .args(["-chardev", &format!("socket,id=c2,path={}", socket("com2"))])
            .args(["-serial", "chardev:c2"])
            .args(["-qmp", &format!("unix:{}", socket("qmp"))])
            .args([
                "-drive",
                &format!(
                    "if=none,id=job,file={},format=raw,cache=unsafe",
                    quoted(start.disk)
                ),
            ])
            .args(["-device", "virtio-blk-pci,drive=job"])
            .arg("-kernel")
            .arg(xen)
            .args(["-append", &start.variant.xen_options()])
            .args([
                "-initrd",
                &format!(
                    "{} console=hvc0 panic=-1,{}",
                    quoted(kernel),
                    quoted(initrd)
                ),
            ])
            .args(start.extra)
            .stdin(Stdio::null())
            .stdout(log.try_clone().at("open", &messages)?)
            .stderr(log);
        if start.incoming {
            command.args(["-incoming", "defer"]);
        }
        let state = Arc::new(Mutex::new(State::default()));
        let (kill, killed) = mpsc::channel();
        let shared = Arc::clone(&state);
        let waiter = thread::Builder::new()
            .name("qemu".into())
            .spawn(move || wait(command, &killed, &shared))
            .map_err(|e| Error::io("start a thread", &e))?;
        let qemu = Self {
            sockets,
            com1,
            messages,
            kill,
            state,
            waiter: Some(waiter),
        };
        let stream = qemu.connect("qmp")?;
        let qmp = Qmp::new(stream)?;
        Ok((qemu, qmp))
    }

    /// Connects to one of the sockets, which appear soon after the start.
    pub(crate) fn connect(&self, name: &str) -> Result<UnixStream> {
        let path = self.sockets.join(name);
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match UnixStream::connect(&path) {
                Ok(stream) => return Ok(stream),
                Err(e) if Instant::now() >= end => return Err(Error::io("connect to QEMU", &e)),
                Err(_) => self.check()?,
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// An error if the process has ended.
    pub(crate) fn check(&self) -> Result {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.ended {
            None => Ok(()),
            Some((kind, how)) => {
                let said = fs::read_to_string(&self.messages).unwrap_or_default();
                let said: Vec<&str> = said
                    .lines()
                    .filter(|l| !l.contains("warning: TCG doesn't"))
                    .collect();
                let said = said[said.len().saturating_sub(3)..].join("; ");
                Err(Error::new(*kind, format!("QEMU ended: {how}: {said}")))
            }
        }
    }

    /// Where everything that Xen, dom0 and the guests print goes.
    pub(crate) fn com1(&self) -> &Path {
        &self.com1
    }

    /// Waits for the process to end by itself, then kills it.
    pub(crate) fn end(&mut self, grace: Duration) {
        let end = Instant::now() + grace;
        while Instant::now() < end && self.check().is_ok() {
            thread::sleep(Duration::from_millis(5));
        }
        // If the thread is gone, so is the process.
        let _ = self.kill.send(());
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
        let _ = fs::remove_dir_all(&self.sockets);
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// Runs the process to its end.
fn wait(mut command: Command, kill: &mpsc::Receiver<()>, state: &Mutex<State>) {
    let end = |kind: Kind, how: String| {
        state.lock().unwrap_or_else(PoisonError::into_inner).ended = Some((kind, how));
    };
    let finish = |how: String| end(Kind::Infrastructure, how);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            return finish(format!(
                "it could not be started ({e}); setpriv is in util-linux"
            ));
        }
    };
    loop {
        match child.try_wait() {
            Ok(Some(status)) if matches!(status.code(), Some(124 | 137)) => {
                return end(Kind::Lifetime, "it ran out of time".into());
            }
            Ok(Some(status)) => return finish(status.to_string()),
            Ok(None) => {}
            Err(e) => return finish(e.to_string()),
        }
        match kill.recv_timeout(Duration::from_millis(20)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                // `timeout` takes QEMU with it.
                let _ = child.kill();
                let _ = child.wait();
                return finish("it was stopped".into());
            }
        }
    }
}
