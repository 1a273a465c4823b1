// SPDX-License-Identifier: BSD-2-Clause
//! Builds the test kernel, an ELF file for bare metal, and knows what it exports.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use syn::Item;

use super::toolchain;
use crate::util;

const TARGET: &str = "x86_64-unknown-none";

/// Builds package `testkernel` and returns the ELF file.
///
/// # Errors
///
/// The compiler is missing or the kernel doesn't compile.
pub(crate) fn test_kernel() -> Result<PathBuf> {
    let dir = util::target_dir().join("testkernel");
    if cfg!(windows) {
        bail!("the test kernel is built and run on Linux only");
    }
    let mut cargo = toolchain::debian_cargo()?;
    cargo.args([
        "build",
        "--package",
        "testkernel",
        "--release",
        "--target",
        TARGET,
    ]);
    cargo.args([
        "-Zbuild-std=core,alloc",
        "-Zbuild-std-features=compiler-builtins-mem",
    ]);
    cargo.arg("--target-dir").arg(&dir);
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", "ld.lld-19");
    util::run(&mut cargo).context("the test kernel wasn't built")?;
    Ok(dir.join(TARGET).join("release/testkernel"))
}

/// Names that the test kernel exports to drivers, as the `exports!` tables of its sources list them.
///
/// # Errors
///
/// The sources can't be read or have no table.
pub(crate) fn exports() -> Result<BTreeSet<String>> {
    let sources = util::root().join("tools/testkernel/src");
    let mut names = BTreeSet::new();
    tables_below(&sources, &mut names)?;
    ensure!(!names.is_empty(), "no exports in {}", sources.display());
    Ok(names)
}

fn tables_below(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            tables_below(&path, names)?;
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let file = syn::parse_file(&text).with_context(|| path.display().to_string())?;
            tables(&file.items, names);
        }
    }
    Ok(())
}

/// Every string in an `exports!` of `items`: a row has one, the name.
fn tables(items: &[Item], names: &mut BTreeSet<String>) {
    for item in items {
        match item {
            Item::Mod(module) => {
                if let Some((_, items)) = &module.content {
                    tables(items, names);
                }
            }
            Item::Macro(call) => {
                let path = &call.mac.path;
                if path
                    .segments
                    .last()
                    .is_some_and(|last| last.ident == "exports")
                {
                    let rows = call.mac.tokens.to_string();
                    names.extend(rows.split('"').skip(1).step_by(2).map(str::to_owned));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_table_is_found_and_no_other_string() {
        let source = r#"
            crate::exports! { "KeA", D => a; data "KeB" => B; }
            const NO: &str = "KeC";
            mod inner { crate::exports! { "KeD", ANY => d; } }
            crate::variadic! { fn x = 1 => y; }
        "#;
        let mut names = BTreeSet::new();
        tables(&syn::parse_file(source).unwrap().items, &mut names);
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(names, ["KeA", "KeB", "KeD"]);
    }

    #[test]
    fn the_test_kernels_own_tables_are_read() {
        let names = exports().unwrap();
        for name in ["KeSetEvent", "IoQueueWorkItem", "InitSafeBootMode"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(!names.contains("KeSetEvenf"));
    }
}
