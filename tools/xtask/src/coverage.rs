// SPDX-License-Identifier: BSD-2-Clause
//! What the host tests cover of the shipping crates: the compiler's own instrumentation, read by LLVM's tools.
//!
//! The tests run once, and it is the instrumented build that runs. Only crates of the workspace are instrumented, by a wrapper
//! around the compiler, so dependencies are not built again; they and the instrumented crates stay beside the plain ones in the
//! target folder. Files that are tests or their fakes do not count; what is built for Windows only (the `ffi` edges of the
//! drivers) is not seen at all.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::util;

/// Crates that ship, by their folders.
const CRATES: [&str; 5] = ["kexec", "include", "xen", "xenbus", "xenfilt"];
/// Parts of paths of files that only tests use.
const TEST_FILES: [&str; 4] = ["tests", "testing", "fake", "loom"];
/// Around the compiler, for crates of the workspace.
const WRAPPER: &str = "#!/bin/sh\nexec \"$@\" -Cinstrument-coverage\n";

/// A line of cargo's messages.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Export {
    data: Vec<Data>,
}

#[derive(Deserialize)]
struct Data {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: PathBuf,
    summary: Summary,
}

#[derive(Deserialize)]
struct Summary {
    lines: Count,
    regions: Count,
}

#[derive(Deserialize, Clone, Copy, Default)]
struct Count {
    count: u64,
    covered: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.covered += other.covered;
    }

    fn percent(self) -> f64 {
        100.0 * self.covered as f64 / self.count.max(1) as f64
    }
}

/// Lines and regions.
#[derive(Default, Clone, Copy)]
struct Covered {
    lines: Count,
    regions: Count,
}

fn folder() -> PathBuf {
    util::target_dir().join("coverage")
}

/// Runs the tests of the workspace and prints what they cover.
///
/// # Errors
///
/// A test fails, or there are no figures for a crate that ships.
pub(crate) fn test() -> Result<()> {
    let folder = folder();
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let wrapper = folder.join("rustc");
    util::write_if_changed(&wrapper, WRAPPER.as_bytes())?;
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755))?;
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["test", "--quiet", "--workspace"])
            .args(arguments)
            .env("RUSTC_WORKSPACE_WRAPPER", &wrapper)
            // Tests of one binary add to one file.
            .env("LLVM_PROFILE_FILE", folder.join("%m.profraw"))
            .current_dir(util::root());
        command
    };
    let messages = util::output(&mut cargo(&[
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]))?;
    let objects: BTreeSet<PathBuf> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .collect();
    util::run(&mut cargo(&[]))?;
    report(&folder, &objects)
}

/// Merges the profiles and prints a line for each crate.
fn report(folder: &Path, objects: &BTreeSet<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let profiles: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "profraw"))
        .collect();
    ensure!(!profiles.is_empty(), "the tests left no profile");
    let merged = folder.join("all.profdata");
    let mut merge = Command::new("llvm-profdata-19");
    merge.args(["merge", "--sparse", "-o"]).arg(&merged);
    util::run(merge.args(&profiles))?;
    let mut export = Command::new("llvm-cov-19");
    export
        .args(["export", "--summary-only", "--instr-profile"])
        .arg(&merged);
    let mut objects = objects.iter();
    export.arg(objects.next().context("no test binary")?);
    for object in objects {
        export.arg("--object").arg(object);
    }
    export.arg("--sources");
    export.args(CRATES.map(|name| util::root().join(name).join("src")));
    let export: Export = serde_json::from_str(&util::output(&mut export)?)?;
    let mut all = Covered::default();
    for name in CRATES {
        let sources = util::root().join(name).join("src");
        let mut crate_covered = Covered::default();
        for file in export.data.iter().flat_map(|data| &data.files) {
            let Ok(path) = file.filename.strip_prefix(&sources) else {
                continue;
            };
            if is_test(path) {
                continue;
            }
            for covered in [&mut crate_covered, &mut all] {
                covered.lines.add(file.summary.lines);
                covered.regions.add(file.summary.regions);
            }
        }
        if crate_covered.lines.covered == 0 {
            bail!("no figures for {name}");
        }
        print(name, crate_covered);
    }
    print("all", all);
    Ok(())
}

/// Whether a file of a crate is only there for tests.
fn is_test(path: &Path) -> bool {
    path.iter().any(|part| {
        let part = part.to_string_lossy();
        let stem = part.trim_end_matches(".rs");
        stem.split('_').any(|word| TEST_FILES.contains(&word))
    })
}

fn print(name: &str, covered: Covered) {
    let Covered { lines, regions } = covered;
    println!(
        "    coverage {name:8} lines {:5.1} % of {:6}, regions {:5.1} % of {:6}",
        lines.percent(),
        lines.count,
        regions.percent(),
        regions.count
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_tests_and_fakes_do_not_count() {
        for test in [
            "store/engine_tests.rs",
            "tests.rs",
            "testing/xen.rs",
            "client/tests/store.rs",
            "nt/sys/fake/mod.rs",
            "exec/loom_models.rs",
        ] {
            assert!(is_test(Path::new(test)), "{test}");
        }
        for shipping in ["store/engine.rs", "lib.rs", "latest.rs", "nt/timer.rs"] {
            assert!(!is_test(Path::new(shipping)), "{shipping}");
        }
    }
}
