// SPDX-License-Identifier: BSD-2-Clause
//! Import libraries: the kit's own on Windows, made from mingw-w64's on Linux.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::util;

const MINGW_LIB: &str = "/usr/x86_64-w64-mingw32/lib";
const DLLTOOL: &str = "llvm-dlltool-19";
const NM: &str = "llvm-nm-19";

/// Exports of ntoskrnl.exe that mingw-w64's library doesn't list. `__chkstk` is there so that the check of stack frames
/// can name the function that needs it, `ExAllocatePool2` so that the check of imports can.
const MISSING: [(&str, Kind); 4] = [
    ("ExAllocatePool2", Kind::Code),
    ("InitSafeBootMode", Kind::Data),
    ("KiBugCheckData", Kind::Data),
    ("__chkstk", Kind::Code),
];

/// What linking needs from the kit.
pub(crate) struct Kit {
    /// Folders with import libraries.
    pub(crate) library_dirs: Vec<PathBuf>,
}

/// Finds the kit's libraries, or makes them below `drivers`.
///
/// # Errors
///
/// A part of the kit or of mingw-w64 is missing.
pub(crate) fn find(drivers: &Path) -> Result<Kit> {
    let library_dirs = if cfg!(windows) {
        vec![windows_kit()?]
    } else {
        vec![make_libraries(&drivers.join("kit"))?]
    };
    Ok(Kit { library_dirs })
}

/// The newest `Lib\10.0.N.0\km\x64` of the installed kit.
fn windows_kit() -> Result<PathBuf> {
    let root = std::env::var_os("WDKContentRoot").map_or_else(
        || PathBuf::from(r"C:\Program Files (x86)\Windows Kits\10"),
        PathBuf::from,
    );
    let versions = std::fs::read_dir(root.join("Lib")).with_context(|| {
        format!(
            "no Windows Driver Kit in {}: install it, or set WDKContentRoot",
            root.display()
        )
    })?;
    let mut found: Vec<_> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("km").join("x64")))
        .filter(|path| path.join("ntoskrnl.lib").exists())
        .collect();
    found.sort_by_key(|path| version_of(path));
    found.pop().with_context(|| {
        format!(
            "no km\\x64\\ntoskrnl.lib below {}: the kit lacks its kernel-mode part",
            root.display()
        )
    })
}

/// Numbers of the `10.0.N.0` folder in a path, for sorting.
fn version_of(path: &Path) -> Vec<u32> {
    let text = path.to_string_lossy();
    text.split(['\\', '/'])
        .find(|part| part.starts_with("10."))
        .map(|part| {
            part.split('.')
                .filter_map(|number| number.parse().ok())
                .collect()
        })
        .unwrap_or_default()
}

/// Makes `ntoskrnl.lib` and `hal.lib` from the symbols of mingw-w64's libraries of the same purpose.
fn make_libraries(dir: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    for (name, image) in [("ntoskrnl", "ntoskrnl.exe"), ("hal", "hal.dll")] {
        let archive = Path::new(MINGW_LIB).join(format!("lib{name}.a"));
        if !archive.exists() {
            bail!("{} not found: run `cargo xtask setup`", archive.display());
        }
        let definition = dir.join(format!("{name}.def"));
        let library = dir.join(format!("{name}.lib"));
        let text = definition_of(
            image,
            &archive,
            if name == "ntoskrnl" { &MISSING } else { &[] },
        )?;
        let current = std::fs::read_to_string(&definition).is_ok_and(|old| old == text);
        if current && library.exists() {
            continue;
        }
        util::write_if_changed(&definition, text.as_bytes())?;
        make_library(&definition, &library)?;
    }
    Ok(dir.to_path_buf())
}

fn make_library(definition: &Path, library: &Path) -> Result<()> {
    let mut dlltool = util::clean_command(DLLTOOL);
    dlltool
        .args(["-m", "i386:x86-64", "-d"])
        .arg(definition)
        .arg("-l")
        .arg(library);
    util::run(&mut dlltool).with_context(|| format!("can't make {}", library.display()))
}

/// Makes `xen.lib` in `dir`: those hypercalls of xen.sys that test drivers in C set scenes with.
///
/// # Errors
///
/// A tool is missing.
pub(crate) fn xen_library(dir: &Path) -> Result<PathBuf> {
    const USED: [&str; 5] = [
        "EventChannelAllocateUnbound",
        "EventChannelClose",
        "EventChannelQueryInterDomain",
        "SystemProcessorVcpuId",
        "VcpuSetPeriodicTimer",
    ];
    let definition = dir.join("xen.def");
    let library = dir.join("xen.lib");
    let text = format!(
        "LIBRARY \"xen.sys\"\nEXPORTS\n    {}\n",
        USED.join("\n    ")
    );
    let current = std::fs::read_to_string(&definition).is_ok_and(|old| old == text);
    if !current || !library.exists() {
        util::write_if_changed(&definition, text.as_bytes())?;
        make_library(&definition, &library)?;
    }
    Ok(library)
}

/// Module definition with every export that `archive` imports.
fn definition_of(image: &str, archive: &Path, more: &[(&str, Kind)]) -> Result<String> {
    let listing = util::output(
        util::clean_command(NM)
            .arg("--format=posix")
            .arg("--quiet")
            .arg(archive),
    )?;
    let mut names = imports_of(&listing);
    for &(name, kind) in more {
        if !names.iter().any(|(have, _)| have == name) {
            names.push((name.to_owned(), kind));
        }
    }
    names.sort();
    let mut text = format!("LIBRARY \"{image}\"\nEXPORTS\n");
    for (name, kind) in names {
        text.push_str("    ");
        text.push_str(&name);
        text.push_str(if kind == Kind::Data { " DATA\n" } else { "\n" });
    }
    Ok(text)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Code,
    Data,
}

/// Names with an import slot; those without a jump thunk are variables.
fn imports_of(listing: &str) -> Vec<(String, Kind)> {
    let symbols: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    let mut thunks: Vec<&str> = symbols
        .iter()
        .copied()
        .filter(|name| !name.starts_with("__imp_"))
        .collect();
    thunks.sort_unstable();
    symbols
        .iter()
        .filter_map(|name| name.strip_prefix("__imp_"))
        .map(|name| {
            (
                name.to_owned(),
                if thunks.binary_search(&name).is_ok() {
                    Kind::Code
                } else {
                    Kind::Data
                },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_without_a_thunk_is_data() {
        let listing = "lib.a[d1.o]:\nKeSetEvent T 0 8\n__imp_KeSetEvent I 0 8\n\nlib.a[d2.o]:\n__imp_PsThreadType I 0 8\n";
        assert_eq!(
            imports_of(listing),
            [
                ("KeSetEvent".to_owned(), Kind::Code),
                ("PsThreadType".to_owned(), Kind::Data)
            ]
        );
    }

    #[test]
    fn kit_versions_sort_by_number() {
        let old = version_of(Path::new("Lib/10.0.9600.0/km/x64"));
        let new = version_of(Path::new("Lib/10.0.26100.0/km/x64"));
        assert!(old < new);
    }
}
