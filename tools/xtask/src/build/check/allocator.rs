// SPDX-License-Identifier: BSD-2-Clause
//! Global allocator: shipping images have none, since its failure can't be an ordinary error.
//!
//! The build of core alone has no `alloc` crate, so nothing should ever be found here; this is the check that it stays so.

use super::Problems;

const SYMBOLS: [&str; 8] = [
    "__rust_alloc",
    "__rust_dealloc",
    "__rust_realloc",
    "__rust_no_alloc_shim_is_unstable",
    "__rdl_alloc",
    "__rg_alloc",
    "__rg_dealloc",
    "__alloc_error_handler",
];

pub(super) fn check(problems: &mut Problems<'_>) {
    if let Some(name) = found(problems.image.symbols.names()) {
        problems.add(
            "allocator",
            format!("{name}: a global allocator is linked in; use kexec's fallible boxes and vectors instead of the alloc crate"),
        );
    }
}

fn found<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .find(|name| SYMBOLS.iter().any(|symbol| name.contains(symbol)) || is_alloc_crate(name))
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
}

/// A function of the `alloc` crate: only in the image if something allocates.
fn is_alloc_crate(name: &str) -> bool {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    name.starts_with("alloc::") || name.starts_with("<alloc::")
}

#[cfg(test)]
mod tests {
    use super::found;

    #[test]
    fn allocator_symbols_are_found_mangled_or_not() {
        assert_eq!(found(["DriverEntry", "memcpy"].into_iter()), None);
        assert_eq!(
            found(["__rust_alloc"].into_iter()).as_deref(),
            Some("__rust_alloc")
        );
        assert!(found(["_RNvCs1234_7___rustc12___rust_alloc"].into_iter()).is_some());
        assert!(
            found(["_ZN5alloc7raw_vec11finish_grow17h0123456789abcdefE"].into_iter()).is_some()
        );
        assert_eq!(
            found(["_ZN5kexec4pool5alloc17h0123456789abcdefE"].into_iter()),
            None
        );
    }
}
