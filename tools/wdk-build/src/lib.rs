// SPDX-License-Identifier: BSD-2-Clause
//! Stand-in for the `wdk-build` crate, for building drivers on Linux.
//!
//! `wdk-sys` asks its build helper `wdk-build` for the kit's headers and for a configured bindgen. The published
//! helper needs Windows; this crate offers the part of its API that the build script of `wdk-sys` 0.5 uses and
//! answers from mingw-w64's DDK headers. Only the WDM driver model exists here.
//!
//! `cargo xtask build` puts it in place with `--config patch.crates-io.wdk-build.path=...`; no manifest mentions it.

mod bindings;
mod error;

use std::path::{Path, PathBuf};

pub use bindings::BuilderExt;
pub use error::{ConfigError, IoError};

/// Where Debian's mingw-w64 packages put the headers.
const MINGW_INCLUDE: &str = "/usr/x86_64-w64-mingw32/include";
/// Names another header folder, laid out like [`MINGW_INCLUDE`].
const MINGW_INCLUDE_ENV: &str = "MINGW_W64_INCLUDE";

/// Driver models that `wdk-sys` knows. Only [`DriverConfig::Wdm`] is ever made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverConfig {
    /// Windows Driver Model.
    Wdm,
    /// Kernel-mode driver framework.
    Kmdf(KmdfConfig),
    /// User-mode driver framework.
    Umdf(UmdfConfig),
}

/// Version of the kernel-mode driver framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KmdfConfig {
    /// Major version.
    pub kmdf_version_major: u8,
    /// Minor version built for.
    pub target_kmdf_version_minor: u8,
}

/// Version of the user-mode driver framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UmdfConfig {
    /// Major version.
    pub umdf_version_major: u8,
    /// Minor version built for.
    pub target_umdf_version_minor: u8,
}

/// Parts of the kit that `wdk-sys` binds on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiSubset {
    /// What every driver needs.
    Base,
    /// The driver frameworks.
    Wdf,
    /// General-purpose I/O pins.
    Gpio,
    /// Human interface devices.
    Hid,
    /// Parallel ports.
    ParallelPorts,
    /// Simple peripheral buses.
    Spb,
    /// Storage.
    Storage,
    /// USB.
    Usb,
}

/// The kit that the bindings are made from.
#[derive(Clone, Debug)]
pub struct Config {
    include: PathBuf,
    clang_include: PathBuf,
    /// Driver model; always [`DriverConfig::Wdm`].
    pub driver_config: DriverConfig,
}

impl Config {
    /// Finds the headers.
    ///
    /// # Errors
    ///
    /// Names the missing folder and the Debian package that has it.
    fn find() -> Result<Self, ConfigError> {
        println!("cargo::rerun-if-env-changed={MINGW_INCLUDE_ENV}");
        let include = std::env::var_os(MINGW_INCLUDE_ENV)
            .map_or_else(|| PathBuf::from(MINGW_INCLUDE), PathBuf::from);
        if !include.join("ddk/ntddk.h").exists() {
            return Err(ConfigError::Missing {
                path: include.join("ddk/ntddk.h"),
                package: "mingw-w64-x86-64-dev",
            });
        }
        let libclang = std::env::var_os("LIBCLANG_PATH")
            .map_or_else(|| PathBuf::from("/usr/lib/llvm-19/lib"), PathBuf::from);
        Ok(Self {
            include,
            clang_include: clang_include(&libclang)?,
            driver_config: DriverConfig::Wdm,
        })
    }

    /// Header folders, the kernel's first.
    ///
    /// # Errors
    ///
    /// None here; the published helper checks its folders at this point.
    pub fn include_paths(&self) -> Result<impl Iterator<Item = PathBuf>, ConfigError> {
        Ok([
            self.include.join("ddk"),
            self.include.clone(),
            self.clang_include.clone(),
        ]
        .into_iter())
    }

    /// Macros given to the C parser.
    pub fn preprocessor_definitions(&self) -> impl Iterator<Item = (String, Option<String>)> {
        // mingw's headers derive the architecture from the target; the version opens everything they have.
        [
            ("_KERNEL_MODE", None),
            ("WINVER", Some("0x0A00")),
            ("_WIN32_WINNT", Some("0x0A00")),
            ("NTDDI_VERSION", Some("0x0A000002")),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.map(str::to_owned)))
    }

    /// Headers of one subset.
    ///
    /// # Errors
    ///
    /// A subset other than [`ApiSubset::Base`] and [`ApiSubset::Wdf`] isn't offered.
    pub fn headers(&self, subset: ApiSubset) -> Result<impl Iterator<Item = String>, ConfigError> {
        let list: &[&str] = match subset {
            ApiSubset::Base => &["ntifs.h", "ntddk.h", "ntstrsafe.h"],
            ApiSubset::Wdf => &[],
            other => return Err(ConfigError::Subset(other)),
        };
        Ok(list
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
            .into_iter())
    }

    /// The C text that bindgen reads.
    ///
    /// # Errors
    ///
    /// As [`Config::headers`].
    pub fn bindgen_header_contents(
        &self,
        subsets: impl IntoIterator<Item = ApiSubset>,
    ) -> Result<String, ConfigError> {
        let mut text = String::from(include_str!("before.h"));
        for subset in subsets {
            for header in self.headers(subset)? {
                text.push_str(&format!("#include \"{header}\"\n"));
            }
        }
        Ok(text)
    }

    /// `#[link]` lines of one subset. The import libraries themselves are made by `cargo xtask build`.
    #[must_use]
    pub fn bindgen_library_link_raw_lines(&self, subset: ApiSubset) -> Option<String> {
        (subset == ApiSubset::Base).then(|| {
            ["ntoskrnl", "hal"]
                .iter()
                .map(|name| format!("#[cfg(not(any(test, feature = \"suppress-wdk-linking\")))]\n#[link(name = \"{name}\")]\nunsafe extern \"C\" {{}}\n"))
                .collect()
        })
    }

    /// Name of the framework's function table: there is none in WDM.
    #[must_use]
    pub fn compute_wdffunctions_symbol_name(&self) -> Option<String> {
        None
    }
}

/// Clang's own headers, for the compiler intrinsics that the DDK includes.
fn clang_include(libclang: &Path) -> Result<PathBuf, ConfigError> {
    let missing = || ConfigError::Missing {
        path: libclang.join("clang/*/include"),
        package: "libclang-common-19-dev",
    };
    let versions = std::fs::read_dir(libclang.join("clang")).map_err(|_| missing())?;
    versions
        .filter_map(|entry| Some(entry.ok()?.path().join("include")))
        .filter(|path| path.join("mmintrin.h").exists())
        .max()
        .ok_or_else(missing)
}

/// Finds the kit, tells cargo the settings of `wdk-sys`, and runs `generate`.
///
/// # Errors
///
/// A missing header folder, or whatever `generate` returns.
pub fn configure_wdk_library_build_and_then<F, E>(mut generate: F) -> Result<(), E>
where
    F: FnMut(Config) -> Result<(), E>,
    E: From<ConfigError>,
{
    println!("cargo::rerun-if-changed=build.rs");
    println!(
        "cargo::rustc-check-cfg=cfg(driver_model__driver_type, values(\"WDM\", \"KMDF\", \"UMDF\"))"
    );
    println!("cargo::rustc-cfg=driver_model__driver_type=\"WDM\"");
    let config = Config::find()?;
    generate(config)
}
