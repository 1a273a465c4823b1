// SPDX-License-Identifier: BSD-2-Clause
//! Paths of the machine that built the image have no place in it.

use super::Problems;
use crate::{build::toolchain, util};

pub(super) fn check(problems: &mut Problems<'_>) {
    let prefixes = toolchain::private_prefixes(&util::target_dir().join("drivers"));
    let prefixes = prefixes.iter().map(|(path, _)| path.display().to_string());
    if let Some(text) = found(&problems.image.data, prefixes) {
        problems.add("path", format!("contains `{text}`: a source outside the remapped folders; add it to private_prefixes"));
    }
}

/// The first of `prefixes`, with what follows it, in `data`.
fn found(data: &[u8], prefixes: impl Iterator<Item = String>) -> Option<String> {
    for prefix in prefixes {
        // A short one (`/root`) may be part of something else; a folder below it is not.
        let needle = format!("{prefix}{}", std::path::MAIN_SEPARATOR);
        if let Some(at) = data
            .windows(needle.len())
            .position(|window| window == needle.as_bytes())
        {
            let tail = data.get(at..).unwrap_or_default();
            let end = tail
                .iter()
                .position(|byte| !byte.is_ascii_graphic())
                .unwrap_or(tail.len())
                .min(120);
            return Some(String::from_utf8_lossy(tail.get(..end).unwrap_or_default()).into_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::found;

    #[test]
    fn a_path_of_this_machine_is_found() {
        let sep = std::path::MAIN_SEPARATOR;
        let data = format!("\0xen/src/lib.rs\0{sep}home{sep}me{sep}a.rs\0");
        let prefixes = |list: &[&str]| {
            list.iter()
                .map(|path| path.replace('/', std::path::MAIN_SEPARATOR_STR))
                .collect::<Vec<_>>()
                .into_iter()
        };
        assert_eq!(
            found(data.as_bytes(), prefixes(&["/home/me"])),
            Some(format!("{sep}home{sep}me{sep}a.rs"))
        );
        assert_eq!(
            found(data.as_bytes(), prefixes(&["/home/m", "/home/you"])),
            None
        );
    }
}
