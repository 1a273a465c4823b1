// SPDX-License-Identifier: BSD-2-Clause
//! A copy of kexec in which mutants are made, and what a test says there.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::list::{Mutant, Test};
use crate::util;

/// A test that takes longer never ends.
const LIMIT: Duration = Duration::from_secs(60);

/// Which build a test is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Build {
    Loom,
    Shuttle,
    Unit,
    Integration(String),
}

impl Build {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "loom" => Self::Loom,
            "shuttle" => Self::Shuttle,
            "unit" => Self::Unit,
            other => Self::Integration(other.to_owned()),
        }
    }

    /// Cargo with this build's flags, in `folder`. Other flags make other artefacts: each has a target folder of its own below
    /// `target`.
    pub(super) fn cargo(&self, folder: &Path, target: &Path) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(folder);
        let (flags, name) = match self {
            Self::Loom => ("--cfg loom", "loom"),
            Self::Shuttle => ("--cfg shuttle", "shuttle"),
            Self::Unit | Self::Integration(_) => {
                command.env("CARGO_TARGET_DIR", target);
                return command;
            }
        };
        command
            // A mutant's time is mostly kexec's build: without what only a debugger reads.
            .args(["--config", "profile.dev.package.kexec.debug=0"])
            .env("RUSTFLAGS", flags)
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "2")
            .env("CARGO_TARGET_DIR", target.join(name));
        command
    }
}

/// What a test said.
pub(super) enum Verdict {
    Passed(Duration),
    /// The first line of its last message.
    Failed(String, Duration),
    Endless(Duration),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(time) => write!(f, "passed, {:.1} s", time.as_secs_f32()),
            Self::Failed(why, time) => write!(f, "{why}, {:.1} s", time.as_secs_f32()),
            Self::Endless(time) => write!(f, "no end within {} s", time.as_secs()),
        }
    }
}

/// A workspace of its own with nothing but kexec. Cargo gives its artefacts the names that they have in the working tree, so
/// that it has a target folder of its own.
pub(super) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// # Errors
    ///
    /// The copy can't be made.
    pub(super) fn new() -> Result<Self> {
        let (root, folder) = (util::root(), util::target_dir().join("mutants"));
        let manifest = String::from_utf8(util::read(&root.join("Cargo.toml"))?)?;
        let Some((before, rest)) = manifest.split_once("members = [") else {
            bail!("the workspace's manifest has no members");
        };
        let (_, after) = rest.split_once("\n]").context("the list of members")?;
        let manifest = format!("{before}members = [\"kexec\"]{after}");
        util::write_if_changed(&folder.join("Cargo.toml"), manifest.as_bytes())?;
        util::write_if_changed(
            &folder.join("Cargo.lock"),
            &util::read(&root.join("Cargo.lock"))?,
        )?;
        let scratch = Self { folder };
        if scratch.folder.join("kexec").exists() {
            fs::remove_dir_all(scratch.folder.join("kexec"))?;
        }
        copy(&root.join("kexec"), &scratch.folder.join("kexec"))?;
        Ok(scratch)
    }

    /// What `test` says with `mutant` made; the copy is as before when this returns.
    ///
    /// # Errors
    ///
    /// The mutant does not apply or does not compile, or the test does not exist.
    pub(super) fn verdict(&self, mutant: Option<&Mutant>, test: &Test) -> Result<Verdict> {
        let edits = mutant.map_or(&[][..], |mutant| &mutant.edits);
        for edit in edits {
            let path = self.folder.join("kexec").join(&edit.file);
            let text = fs::read_to_string(&path)?;
            fs::write(&path, edit.apply(&text)?)?;
        }
        let verdict = self.build(test).and_then(|program| run(&program, test));
        for edit in edits {
            let path = Path::new("kexec").join(&edit.file);
            let original = util::read(&util::root().join(&path))?;
            fs::write(self.folder.join(&path), original)?;
        }
        verdict
    }

    /// The program with the test.
    fn build(&self, test: &Test) -> Result<PathBuf> {
        let mut command = test.build.cargo(&self.folder, &self.folder.join("target"));
        command.args(["test", "--quiet", "--package", "kexec", "--no-run"]);
        match &test.build {
            Build::Integration(name) => command.args(["--test", name]),
            _ => command.arg("--lib"),
        };
        let text =
            util::output(command.arg("--message-format=json")).context("does not compile")?;
        let program = text.lines().rev().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(PathBuf::from(message.get("executable")?.as_str()?))
        });
        program.context("cargo names no program")
    }
}

fn run(program: &Path, test: &Test) -> Result<Verdict> {
    let out = program.with_extension(format!("{}.out", std::process::id()));
    let (stdout, begin) = (fs::File::create(&out)?, Instant::now());
    let mut child = Command::new(program)
        .args(["--exact", &test.name])
        .env("RUST_BACKTRACE", "0")
        .stderr(stdout.try_clone()?)
        .stdout(stdout)
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| program.display().to_string())?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begin.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (time, text) = (begin.elapsed(), fs::read(&out)?);
    fs::remove_file(&out)?;
    let text = String::from_utf8_lossy(&text);
    if !text.contains("running 1 test") {
        bail!("there is no test {}", test.name);
    }
    Ok(match status {
        None => Verdict::Endless(LIMIT),
        Some(status) if status.success() => Verdict::Passed(time),
        Some(status) => {
            let mut lines = text
                .lines()
                .skip_while(|line| !line.contains("panicked at"));
            let why = lines
                .nth(1)
                .map_or_else(|| status.to_string(), str::to_owned);
            Verdict::Failed(why, time)
        }
    })
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
