// SPDX-License-Identifier: BSD-2-Clause
//! `cargo xtask headers`: the C headers of `include/`, made from the Rust definitions.
//!
//! [`model`] reads a module of the interface crate, [`emit`] writes its header, [`revisions`] the table of revisions. In the
//! tests `layout`, written too, has the numbers of the Rust compiler, and `compile` asks the C compilers for theirs.

#[cfg(test)]
mod compile;
mod emit;
#[cfg(test)]
mod layout;
mod model;
mod revisions;
mod text;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::util;
use model::Interface;

/// A header and where it comes from.
pub(crate) struct Unit {
    /// Module of `include/src/`.
    module: &'static str,
    /// Name of the header.
    file: &'static str,
    /// Headers that it needs, and their modules come before it in [`UNITS`].
    includes: &'static [&'static str],
    /// Whether the header is one that was published before us; if so its pointers have no `const`.
    published: bool,
}

const fn published(module: &'static str, file: &'static str) -> Unit {
    Unit {
        module,
        file,
        includes: &[],
        published: true,
    }
}

/// Every interface header.
const UNITS: [Unit; 12] = [
    published("suspend", "suspend_interface.h"),
    published("shared_info", "shared_info_interface.h"),
    published("evtchn", "evtchn_interface.h"),
    published("debug", "debug_interface.h"),
    published("store", "store_interface.h"),
    published("range_set", "range_set_interface.h"),
    published("cache", "cache_interface.h"),
    Unit {
        includes: &["cache_interface.h"],
        ..published("gnttab", "gnttab_interface.h")
    },
    published("unplug", "unplug_interface.h"),
    published("console", "console_interface.h"),
    published("emulated", "emulated_interface.h"),
    Unit {
        includes: &["store_interface.h"],
        published: false,
        ..published("store_async", "async_store_interface.h")
    },
];

/// Arguments of `cargo xtask headers`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Change nothing: fail if a header is stale, does not compile, or is laid out otherwise than in Rust
    #[arg(long)]
    check: bool,
}

/// Writes or checks the headers.
///
/// # Errors
/// A definition cannot be expressed in C, a file cannot be written; with `--check`, what that says.
pub(crate) fn main(args: &Args) -> Result<()> {
    if args.check {
        return check();
    }
    for (path, text) in files()? {
        util::write_if_changed(&path, text.as_bytes())?;
    }
    Ok(())
}

/// What `--check` does.
///
/// # Errors
/// A header is stale, does not compile, or is laid out otherwise than in Rust.
pub(crate) fn check() -> Result<()> {
    for (path, text) in files()? {
        let old = String::from_utf8(util::read(&path)?)?;
        ensure!(
            old == text,
            "{} is stale: run `cargo xtask headers`",
            path.display()
        );
    }
    // What the compilers say is in the tests of this module: they know the Rust side.
    let mut command = std::process::Command::new(env!("CARGO"));
    command
        .args(["test", "--quiet", "--package", "xtask", "headers::", "--"])
        .arg("--include-ignored")
        .current_dir(util::root());
    util::run(&mut command)
}

fn interfaces() -> Result<Vec<Interface>> {
    let folder = util::root().join("include/src");
    UNITS
        .iter()
        .map(|unit| Interface::read(&folder, unit.module))
        .collect()
}

/// Every generated file and its text.
fn files() -> Result<Vec<(PathBuf, String)>> {
    let interfaces = interfaces()?;
    let include = util::root().join("include");
    let mut out = Vec::new();
    for (unit, interface) in UNITS.iter().zip(&interfaces) {
        let others: Vec<&Interface> = UNITS
            .iter()
            .zip(&interfaces)
            .filter(|(other, _)| unit.includes.contains(&other.file))
            .map(|(_, interface)| interface)
            .collect();
        out.push((
            include.join(unit.file),
            emit::header(unit, interface, &others)?,
        ));
    }
    out.push((include.join("revision.h"), revisions::header()?));
    out.push((
        util::root().join("tools/xtask/src/headers/layout.rs"),
        layout_source(&interfaces),
    ));
    Ok(out)
}

/// The text of `layout`.
fn layout_source(interfaces: &[Interface]) -> String {
    let mut out = String::from(
        "// SPDX-License-Identifier: BSD-2-Clause\n\
         //! Made by `cargo xtask headers`: what the Rust compiler says of every table.\n\n\
         use std::mem::{offset_of, size_of};\n\n\
         use super::compile::Layout;\n\n\
         /// Every version of every table.\n\
         #[rustfmt::skip]\n\
         pub(super) const TABLES: &[Layout] = &[\n",
    );
    for interface in interfaces {
        for (rust, version, fields) in interface.tables() {
            let path = format!("xenbus_interface::{}::{rust}", interface.module);
            let name = &interface.name;
            out += &format!(
                "    Layout {{\n        structure: \"_{name}_INTERFACE_V{version}\",\n        \
                 guid: (\"GUID_{name}_INTERFACE\", xenbus_interface::{}::GUID.to_bytes()),\n        \
                 size: size_of::<{path}>(),\n        fields: &[\n",
                interface.module
            );
            out += &format!("            (\"Interface\", offset_of!({path}, interface)),\n");
            for field in fields {
                out += &format!(
                    "            (\"{}\", offset_of!({path}, {})),\n",
                    field.name, field.rust
                );
            }
            out += "        ],\n    },\n";
        }
    }
    out + "];\n"
}
