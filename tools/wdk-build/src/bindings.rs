// SPDX-License-Identifier: BSD-2-Clause
//! A bindgen set up for mingw-w64's DDK headers, with the choices that the published helper makes for the kit's.

use std::borrow::Borrow;

use bindgen::{Builder, EnumVariation, Formatter, RustEdition, RustTarget};

use crate::{Config, ConfigError};

/// Names that the published helper leaves out as deprecated: a driver that wants one declares it, on both hosts.
const DEPRECATED: &[&str] = &[
    "ExAllocatePoolWithTag",
    "ExAllocatePoolWithQuotaTag",
    "ExAllocatePoolWithTagPriority",
    "ExAllocatePool",
];

/// Types that Rust can't express and no driver needs.
const UNSUPPORTED: &[&str] = &["__tile1024i", ".*tile1024i.*"];

/// Gives bindgen the kit's defaults.
pub trait BuilderExt {
    /// A builder for the kit's headers.
    ///
    /// # Errors
    ///
    /// As [`Config::include_paths`].
    fn wdk_default(config: impl Borrow<Config>) -> Result<Builder, ConfigError>;
}

impl BuilderExt for Builder {
    fn wdk_default(config: impl Borrow<Config>) -> Result<Builder, ConfigError> {
        let config = config.borrow();
        let includes = config
            .include_paths()?
            .map(|path| format!("-isystem{}", path.display()));
        let defines = config.preprocessor_definitions().map(|(key, value)| {
            value.map_or_else(|| format!("-D{key}"), |value| format!("-D{key}={value}"))
        });
        let mut builder = Self::default()
            .use_core()
            .derive_default(true)
            .generate_cstr(true)
            .detect_include_paths(false)
            // Not `-fms-compatibility`: mingw's headers then take the parser for Microsoft's own.
            .clang_args([
                "--target=x86_64-w64-windows-gnu",
                "-fms-extensions",
                "-fno-builtin",
                "-nostdinc",
                "-w",
            ])
            .clang_args(includes)
            .clang_args(defines)
            .must_use_type("NTSTATUS")
            .must_use_type("HRESULT")
            .default_enum_style(EnumVariation::ModuleConsts)
            .rust_target(RustTarget::stable(85, 0).unwrap_or_default())
            .rust_edition(RustEdition::Edition2024)
            .formatter(Formatter::None);
        for name in DEPRECATED.iter().chain(UNSUPPORTED) {
            builder = builder.blocklist_item(name);
        }
        Ok(builder)
    }
}
