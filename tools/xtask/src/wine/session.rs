// SPDX-License-Identifier: BSD-2-Clause
//! One Wine session: its prefix, its programs with time limits, and its end.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Making a prefix takes about 8 s on a small machine.
const PREFIX_LIMIT: Duration = Duration::from_secs(180);
/// Anything else answers within a second or two.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// A Wine prefix of our own with the server that belongs to it.
#[derive(Debug)]
pub(crate) struct Wine {
    loader: PathBuf,
    server: PathBuf,
    folder: PathBuf,
}

/// What a program in Wine did.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// All it printed, and the debug lines of the session that it started.
    pub(crate) text: String,
}

impl Wine {
    /// Makes a new prefix under `target`.
    ///
    /// # Errors
    ///
    /// Wine is missing, or the prefix cannot be made in time.
    pub(crate) fn start(target: &Path) -> Result<Self> {
        let loader = find(&["/usr/lib/wine/wine64", "/usr/bin/wine64"])?;
        let server = find(&[
            "/usr/lib/wine/wineserver64",
            "/usr/lib/wine/wineserver",
            "/usr/bin/wineserver",
        ])?;
        let wine = Self {
            loader,
            server,
            folder: target.join("wine"),
        };
        wine.end_session();
        if wine.folder.exists() {
            fs::remove_dir_all(&wine.folder).with_context(|| wine.folder.display().to_string())?;
        }
        fs::create_dir_all(&wine.folder).with_context(|| wine.folder.display().to_string())?;
        let output = wine.limited(&["wineboot", "-i"], "-all", PREFIX_LIMIT)?;
        if !output.status.success() || !wine.drivers().is_dir() {
            bail!(
                "wineboot did not make a prefix: {}\n{}",
                output.status,
                output.text.trim_end()
            );
        }
        wine.end_session();
        Ok(wine)
    }

    /// The prefix's drive C.
    pub(crate) fn drive(&self) -> PathBuf {
        self.folder.join("prefix/drive_c")
    }

    /// Where driver images go.
    pub(crate) fn drivers(&self) -> PathBuf {
        self.drive().join("windows/system32/drivers")
    }

    /// Copies every `.sys` of `from` into the drivers folder; returns their names.
    ///
    /// # Errors
    ///
    /// `from` cannot be read or a copy fails.
    pub(crate) fn copy_drivers(&self, from: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "sys") {
                let name = path.file_name().unwrap_or_default();
                fs::copy(&path, self.drivers().join(name))
                    .with_context(|| path.display().to_string())?;
                names.push(name.to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// Removes what [`Self::copy_drivers`] copied, so that only setup can have brought an image.
    ///
    /// # Errors
    ///
    /// A file cannot be removed.
    pub(crate) fn remove_drivers(&self) -> Result<()> {
        self.end_session();
        for expected in super::EXPECTED {
            let path = self.drivers().join(format!("{}.sys", expected.name));
            if path.exists() {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Runs a Windows program; `debug` is Wine's debug channels. The first program of a session also collects what
    /// the session's services print, until [`Self::end_session`].
    ///
    /// # Errors
    ///
    /// It cannot be started, or it takes more than a minute.
    pub(crate) fn run(&self, arguments: &[&str], debug: &str) -> Result<Output> {
        self.limited(arguments, debug, STEP_LIMIT)
    }

    /// Runs a Windows program that has to succeed; returns what it printed.
    ///
    /// # Errors
    ///
    /// As [`Self::run`], or it fails.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments, "-all")?;
        if !output.status.success() {
            bail!(
                "{} failed in Wine: {}\n{}",
                arguments.join(" "),
                output.status,
                output.text.trim_end()
            );
        }
        Ok(output.text)
    }

    /// What the session's first program and all services have printed so far.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub(crate) fn session_log(&self) -> Result<String> {
        let path = self.folder.join("session.log");
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Ends all Windows processes of this prefix; the next program starts a new session.
    pub(crate) fn end_session(&self) {
        // Without a running server there is nothing to end, which is as good; -w waits until it is gone.
        for option in ["-k", "-w"] {
            let mut command = self.command(&self.server);
            command
                .arg(option)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            if let Ok(mut child) = command.spawn() {
                let _ = wait(&mut child, STEP_LIMIT);
            }
        }
        let _ = fs::remove_file(self.folder.join("session.log"));
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("WINEPREFIX", self.folder.join("prefix"))
            .env("WINEARCH", "win64")
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        command
    }

    fn limited(&self, arguments: &[&str], debug: &str, limit: Duration) -> Result<Output> {
        // Services outlive the program and keep its streams open, so these are files, never pipes.
        let session = self.folder.join("session.log");
        let own = if session.exists() {
            self.folder.join("step.log")
        } else {
            session
        };
        let log = File::create(&own).with_context(|| own.display().to_string())?;
        let mut child = self
            .command(&self.loader)
            .args(arguments)
            .env("WINEDEBUG", debug)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("can't start {}", self.loader.display()))?;
        let status =
            wait(&mut child, limit).with_context(|| format!("{} in Wine", arguments.join(" ")))?;
        let text = String::from_utf8_lossy(&fs::read(&own)?).into_owned();
        Ok(Output { status, text })
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        self.end_session();
    }
}

/// Waits for `child`, ending it at the limit.
fn wait(child: &mut std::process::Child, limit: Duration) -> Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("no end within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn find(places: &[&str]) -> Result<PathBuf> {
    places
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .with_context(|| {
            format!(
                "Wine is missing ({}): apt-get install wine64",
                places.join(", ")
            )
        })
}
