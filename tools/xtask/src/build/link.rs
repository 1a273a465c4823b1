// SPDX-License-Identifier: BSD-2-Clause
//! Linking: the linker's arguments, and a wrapper around LLVM's linker.
//!
//! rustc exports every `no_mangle` function of every crate in the image and calls the result `NAME.dll`. On Linux this
//! program therefore stands between rustc and the linker: it drops the exports that are no interface, names the image
//! `NAME.sys` in its export table, and says in plain words what an undefined entry point means.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use super::kit::Kit;

const LINKER: &str = "lld-link-19";
/// Set for rustc, and so for the linker that it starts: the image's name.
const WRAPPER_ENV: &str = "XTASK_LINK_IMAGE";
/// Functions that are `no_mangle` for the linker's sake only.
const NOT_EXPORTS: [&str; 6] = [
    "DriverEntry",
    "_fltused",
    "__CxxFrameHandler3",
    "__CxxFrameHandler4",
    "__GSHandlerCheck_EH4",
    "_DllMainCRTStartup",
];

/// Linker arguments of one image.
pub(crate) fn arguments(name: &str, kit: &Kit, version: &Path, staging: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "/DRIVER",
        "/NODEFAULTLIB",
        "/SUBSYSTEM:NATIVE,10.0",
        "/ENTRY:DriverEntry",
        "/INTEGRITYCHECK",
        "/NXCOMPAT",
        "/DYNAMICBASE",
        "/HIGHENTROPYVA",
        "/MANIFEST:NO",
        "/OPT:REF,ICF",
        "/Brepro",
        "/RELEASE",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!(
        "/MAP:{}",
        staging.join(name).with_extension("map").display()
    ));
    arguments.push(version.display().to_string());
    arguments.extend(
        kit.library_dirs
            .iter()
            .map(|dir| format!("/LIBPATH:{}", dir.display())),
    );
    arguments
}

/// Makes rustc call us as its linker. On Windows it calls Microsoft's by itself.
///
/// # Errors
///
/// Our own program can't be found.
pub(crate) fn configure(cargo: &mut Command, name: &str) -> Result<()> {
    if !cfg!(windows) {
        let wrapper = std::env::current_exe().context("can't find the running program")?;
        cargo.env("CARGO_TARGET_X86_64_PC_WINDOWS_MSVC_LINKER", wrapper);
        cargo.args(["-Clinker-flavor=lld-link"]);
        cargo.env(WRAPPER_ENV, name);
    }
    Ok(())
}

/// Runs the linker if rustc has started this program as such.
pub(crate) fn wrapped() -> Option<ExitCode> {
    let name = std::env::var(WRAPPER_ENV).ok()?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    Some(match link(&name, arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    })
}

fn link(name: &str, mut arguments: Vec<OsString>) -> Result<ExitCode> {
    let asked = arguments
        .iter()
        .find_map(|argument| argument.to_str()?.strip_prefix("/OUT:"));
    let asked = PathBuf::from(asked.context("rustc named no output")?);
    // Its own folder: an older image of the same name in rustc's would hide that this one wasn't made.
    let folder = asked.with_extension("link");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for argument in &mut arguments {
        let Some(path) = argument
            .to_str()
            .and_then(|text| text.strip_prefix("/DEF:"))
        else {
            continue;
        };
        let definition = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
        // rustc's folder has a random name, which the linker would write into the PDB, whose digest is in the image.
        let kept = folder.join(name).with_extension("def");
        std::fs::write(&kept, interface(&definition))
            .with_context(|| kept.display().to_string())?;
        *argument = format!("/DEF:{}", kept.display()).into();
    }
    let image = folder.join(name).with_extension("sys");
    arguments.push(format!("/OUT:{}", image.display()).into());
    arguments.push("/NOIMPLIB".into());
    let output = Command::new(LINKER)
        .args(&arguments)
        .output()
        .with_context(|| format!("can't start {LINKER}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    eprint!("{messages}");
    if !output.status.success() {
        if messages.contains("undefined symbol: DriverEntry") {
            eprintln!(
                "package {name} has no entry point: its `ffi` module must define `DriverEntry`, `#[unsafe(no_mangle)]`"
            );
        }
        return Ok(ExitCode::FAILURE);
    }
    for extension in ["sys", "pdb"] {
        let to = if extension == "sys" {
            asked.clone()
        } else {
            asked.with_extension(extension)
        };
        std::fs::copy(image.with_extension(extension), &to)
            .with_context(|| to.display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A module definition without the names that are no interface.
fn interface(definition: &str) -> String {
    let kept = definition.lines().filter(|line| {
        let symbol = line
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .trim_matches('"');
        !NOT_EXPORTS.contains(&symbol)
            && !symbol.starts_with("__rustc")
            && !symbol.starts_with("rust_eh_personality")
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_interface_is_exported() {
        let definition =
            "EXPORTS\n    XenTouch\n    \"DriverEntry\"\n    _fltused DATA\n    DllInitialize\n";
        assert_eq!(
            interface(definition),
            "EXPORTS\n    XenTouch\n    DllInitialize\n"
        );
    }
}
