// SPDX-License-Identifier: BSD-2-Clause
//! The package through Wine's setup functions; what they wrote is compared with what our own INF reader says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use inf::{Data, Entry, Inf, Registry};

use super::{Wine, helper};

const OURS: &str = "\\Registry\\Machine\\System\\CurrentControlSet\\";
const THEIRS: &str = "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\";

/// Wine's setup functions and, beside them, what our reader makes of the same packages.
pub(crate) struct Setup<'a> {
    wine: &'a Wine,
    program: PathBuf,
    ours: Registry,
}

impl<'a> Setup<'a> {
    /// Nothing is installed yet. Builds the program that calls the setup functions.
    ///
    /// # Errors
    ///
    /// It does not build.
    pub(crate) fn new(wine: &'a Wine, target: &Path) -> Result<Self> {
        Ok(Self {
            wine,
            program: helper::setup_program(target)?,
            ours: Registry::new(),
        })
    }

    /// Installs the INF `inf`, whose images are in `images`, on a device with hardware id `id`, after what
    /// has been installed before, and checks files and registry.
    ///
    /// # Errors
    ///
    /// A step of setup failed, or something is missing or different.
    pub(crate) fn install(&mut self, inf: &Path, images: &Path, id: &str) -> Result<()> {
        let text = fs::read_to_string(inf).with_context(|| inf.display().to_string())?;
        let parsed = Inf::parse(&text)?;
        let name = inf.file_name().unwrap_or_default().to_string_lossy();

        self.wine.end_session();
        let folder = self.wine.drive().join("package");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        copy(inf, &folder.join(&*name))?;
        copy(&self.program, &folder.join("setup.exe"))?;
        for file in files(&parsed)? {
            copy(&images.join(file), &folder.join(file))?;
        }

        let windows = format!("C:\\package\\{name}");
        let output = self
            .wine
            .run(&["C:\\package\\setup.exe", &windows, id], "-all,+debugstr")?;
        let failed = output.text.lines().any(|line| line.contains("SETUP FAIL"));
        if failed || !output.status.success() {
            bail!(
                "setup failed: {}\n{}",
                output.status,
                output.text.trim_end()
            );
        }
        for file in files(&parsed)? {
            ensure!(
                self.wine.drivers().join(file).is_file(),
                "setup did not copy {file}"
            );
        }
        inf::install(&parsed, &mut self.ours)?;
        compare_registry(self.wine, &self.ours, id)
    }
}

/// The files that an INF installs.
fn files(parsed: &Inf) -> Result<impl Iterator<Item = &str>> {
    let section = parsed
        .section("SourceDisksFiles")
        .context("no [SourceDisksFiles]")?;
    Ok(section.lines.iter().filter_map(|line| line.key.as_deref()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}

/// Every value that our reader gets from the packages is in Wine's registry with the same type and data.
fn compare_registry(wine: &Wine, ours: &Registry, id: &str) -> Result<()> {
    let device = device_key(wine, id)?;
    let database = format!("{}\\{}\\", inf::DRIVER_DATABASE, id.replace('\\', "#"));
    let mut compared = 0;
    let mut cache: Option<(String, Vec<Found>)> = None;
    for entry in ours.entries() {
        let Entry::Value { key, name, data } = entry else {
            continue;
        };
        let theirs = if let Some(rest) = key.strip_prefix(&database) {
            format!("{device}\\{rest}")
        } else if key.starts_with(inf::DRIVER_DATABASE) {
            continue;
        } else {
            key.replacen(OURS, THEIRS, 1)
        };
        if cache.as_ref().is_none_or(|(cached, _)| *cached != theirs) {
            cache = Some((theirs.clone(), query(wine, &theirs, false)?));
        }
        let found = cache.as_ref().and_then(|(_, list)| {
            list.iter()
                .find(|found| found.name.eq_ignore_ascii_case(&name))
        });
        let found = found.with_context(|| format!("Wine has no {theirs}: {name}"))?;
        let (kind, wanted) = printed(&data);
        // The service manager spells the image's folder its own way.
        let same = if name == "ImagePath" {
            file_name(&found.data).eq_ignore_ascii_case(file_name(&wanted))
        } else {
            found.kind == kind && found.data == wanted
        };
        ensure!(
            same,
            "{theirs}: {name} is {} {:?} in Wine, {kind} {wanted:?} for us",
            found.kind,
            found.data
        );
        compared += 1;
    }
    ensure!(compared >= 10, "only {compared} values were compared");
    println!("wine: {compared} registry values of {id} are as our reader says");
    Ok(())
}

/// The key of the device that setup made.
fn device_key(wine: &Wine, id: &str) -> Result<String> {
    let all = query(wine, &format!("{THEIRS}Enum\\ROOT"), true)?;
    all.into_iter()
        .find(|found| found.name.eq_ignore_ascii_case("HardwareID") && found.data == id)
        .map(|found| found.key)
        .with_context(|| format!("no device with {id} in Wine"))
}

/// A value in Wine's registry as `reg query` prints it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    key: String,
    name: String,
    kind: String,
    data: String,
}

fn query(wine: &Wine, key: &str, below: bool) -> Result<Vec<Found>> {
    let mut arguments = vec!["reg", "query", key];
    if below {
        arguments.push("/s");
    }
    Ok(parse_query(&wine.succeed(&arguments)?))
}

fn parse_query(text: &str) -> Vec<Found> {
    let mut key = String::new();
    let mut out = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if line.starts_with("HKEY_") {
            line.clone_into(&mut key);
        } else if let Some(value) = line.strip_prefix("    ") {
            let mut parts = value.splitn(3, "    ");
            let (Some(name), Some(kind)) = (parts.next(), parts.next()) else {
                continue;
            };
            out.push(Found {
                key: key.clone(),
                name: if name == "(Default)" {
                    String::new()
                } else {
                    name.to_owned()
                },
                kind: kind.to_owned(),
                data: parts.next().unwrap_or_default().to_owned(),
            });
        }
    }
    out
}

/// Type and data as `reg query` prints them.
fn printed(data: &Data) -> (&'static str, String) {
    match data {
        Data::Sz(text) => ("REG_SZ", text.clone()),
        Data::ExpandSz(text) => ("REG_EXPAND_SZ", text.clone()),
        Data::MultiSz(items) => ("REG_MULTI_SZ", items.join("\\0")),
        Data::Dword(value) => ("REG_DWORD", format!("{value:#x}")),
        Data::Qword(value) => ("REG_QWORD", format!("{value:#x}")),
        Data::Binary(_) => ("REG_BINARY", data.to_string().to_uppercase()),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('\\').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_reg_query_is_read() {
        let text = "\r\nHKEY_LOCAL_MACHINE\\A\r\n    (Default)    REG_DWORD    0x1\r\n    Empty    REG_SZ    \r\n\r\n\
                    HKEY_LOCAL_MACHINE\\A\\B\r\n    L    REG_MULTI_SZ    x\\0y z\r\n";
        let found = parse_query(text);
        let brief: Vec<_> = found
            .iter()
            .map(|f| (f.key.as_str(), f.name.as_str(), f.data.as_str()))
            .collect();
        assert_eq!(
            brief,
            [
                ("HKEY_LOCAL_MACHINE\\A", "", "0x1"),
                ("HKEY_LOCAL_MACHINE\\A", "Empty", ""),
                ("HKEY_LOCAL_MACHINE\\A\\B", "L", "x\\0y z"),
            ]
        );
        let list = Data::MultiSz(vec!["x".into(), "y z".into()]);
        assert_eq!(printed(&list).1, found[2].data);
    }
}
