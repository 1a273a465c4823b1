// SPDX-License-Identifier: BSD-2-Clause
//! The payload: a ustar archive of `boot.cfg`, `registry.txt` and `drivers/NAME.sys`.

use tar_no_std::TarArchiveRef;

/// The file of that name in `archive`.
pub(crate) fn file_in<'a>(archive: &'a [u8], path: &str) -> Option<&'a [u8]> {
    let archive = TarArchiveRef::new(archive).ok()?;
    archive
        .entries()
        .find(|e| {
            e.filename()
                .as_str()
                .is_ok_and(|name| name.trim_start_matches("./").eq_ignore_ascii_case(path))
        })
        .map(|e| e.data())
}

/// The file of that name in this run's payload (`drivers/xen.sys`).
#[cfg(target_os = "none")]
pub fn file(path: &str) -> Option<&'static [u8]> {
    file_in(crate::arch::payload(), path)
}

/// The file of that name in this run's payload; a host has none.
#[cfg(not(target_os = "none"))]
pub fn file(path: &str) -> Option<&'static [u8]> {
    file_in(&[], path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, data: &[u8]) -> Vec<u8> {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = b'0';
        header[257..263].copy_from_slice(b"ustar\0");
        header[263..265].copy_from_slice(b"00");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut out = header.to_vec();
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }

    #[test]
    fn files_are_found_whatever_the_case() {
        let mut tar = entry("boot.cfg", b"pnp=1\n");
        tar.extend(entry("drivers/XEN.sys", &[7; 600]));
        tar.extend([0; 1024]);
        assert_eq!(file_in(&tar, "boot.cfg"), Some(&b"pnp=1\n"[..]));
        assert_eq!(file_in(&tar, "drivers/xen.sys").map(<[u8]>::len), Some(600));
        assert_eq!(file_in(&tar, "registry.txt"), None);
    }
}
