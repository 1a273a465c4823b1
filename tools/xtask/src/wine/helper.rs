// SPDX-License-Identifier: BSD-2-Clause
//! Builds the two C programs that this test runs in Wine, with clang, LLVM's linker and mingw-w64's headers.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::util;

const SETUP: &str = include_str!("../../wine/setup.c");
const CALLER: &str = include_str!("../../wine/caller.c");
const HEADERS: &str = "/usr/share/mingw-w64/include";
const LIBRARIES: &str = "/usr/x86_64-w64-mingw32/lib";

/// The program that calls the setup functions.
///
/// # Errors
///
/// It does not compile or link.
pub(crate) fn setup_program(target: &Path) -> Result<PathBuf> {
    let object = compile(target, "setup", SETUP)?;
    let libraries =
        ["kernel32", "setupapi", "newdev"].map(|name| format!("{LIBRARIES}/lib{name}.a").into());
    link(
        object,
        "exe",
        &["/SUBSYSTEM:CONSOLE", "/ENTRY:start"],
        &libraries,
    )
}

/// The driver that calls xen.sys as NT's loader and a foreign driver would.
///
/// # Errors
///
/// It does not compile or link.
pub(crate) fn caller_driver(target: &Path) -> Result<PathBuf> {
    let object = compile(target, "caller", CALLER)?;
    let kernel = import_library(target, "ntoskrnl.exe", &["DbgPrint"])?;
    let xen = import_library(target, "xen.sys", &["DllInitialize", "XenTouch"])?;
    link(
        object,
        "sys",
        &["/DRIVER", "/SUBSYSTEM:NATIVE", "/ENTRY:DriverEntry"],
        &[kernel, xen],
    )
}

fn compile(target: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let source = target.join("wine").join(name).with_extension("c");
    let object = source.with_extension("obj");
    fs::write(&source, text).with_context(|| source.display().to_string())?;
    util::run(
        Command::new("clang-19")
            .args([
                "--target=x86_64-w64-windows-gnu",
                "-O1",
                "-ffreestanding",
                "-fno-stack-protector",
            ])
            .args([
                "-mno-stack-arg-probe",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-DUNICODE",
                "-isystem",
                HEADERS,
                "-c",
            ])
            .arg(&source)
            .arg("-o")
            .arg(&object),
    )?;
    Ok(object)
}

fn import_library(target: &Path, image: &str, names: &[&str]) -> Result<PathBuf> {
    let definition = target.join("wine").join(image).with_extension("def");
    let library = definition.with_extension("lib");
    let text = format!("LIBRARY {image}\nEXPORTS\n{}\n", names.join("\n"));
    fs::write(&definition, text).with_context(|| definition.display().to_string())?;
    let dlltool = Command::new("llvm-dlltool-19")
        .args(["-m", "i386:x86-64", "-d"])
        .arg(&definition)
        .arg("-l")
        .arg(&library)
        .status();
    anyhow::ensure!(
        dlltool.context("can't start llvm-dlltool-19")?.success(),
        "no import library for {image}"
    );
    Ok(library)
}

fn link(
    object: PathBuf,
    extension: &str,
    options: &[&str],
    libraries: &[PathBuf],
) -> Result<PathBuf> {
    let image = object.with_extension(extension);
    let mut out = OsString::from("/OUT:");
    out.push(&image);
    util::run(
        Command::new("lld-link-19")
            .arg("/NODEFAULTLIB")
            .args(options)
            .arg(out)
            .arg(&object)
            .args(libraries),
    )?;
    Ok(image)
}
