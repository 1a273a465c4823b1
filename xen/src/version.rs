// SPDX-License-Identifier: BSD-2-Clause
//! `xen_version`.
//!
//! # IRQL
//! Any.

use kexec::Result;
use xenbus_interface::errno;

use crate::hypercall::{Hypercall, number::XEN_VERSION};
use crate::wire::{ExtraVersion, FeatureInfo};

const VERSION: u64 = 0;
const EXTRA_VERSION: u64 = 1;
const GET_FEATURES: u64 = 6;

/// Xen's version: major and minor.
pub fn version(xen: &impl Hypercall) -> Result<(u32, u32)> {
    let value = errno::check(xen.call(XEN_VERSION, VERSION, 0, 0))?;
    let low = value & 0xffff;
    Ok(((value >> 16) as u32, low as u32))
}

/// The rest of the version, NUL-padded.
pub fn extra(xen: &impl Hypercall) -> Result<[u8; 16]> {
    let mut extra = ExtraVersion::default();
    xen.operate(XEN_VERSION, EXTRA_VERSION, &mut extra)?;
    Ok(extra.text)
}

/// The 32 feature bits of a submap; submap 0 has those that are published.
pub fn features(xen: &impl Hypercall, index: u32) -> Result<u32> {
    let mut info = FeatureInfo { index, submap: 0 };
    xen.operate(XEN_VERSION, GET_FEATURES, &mut info)?;
    Ok(info.submap)
}

/// The text in front of the first NUL; what is not ASCII text is not shown.
pub fn text(extra: &[u8; 16]) -> &str {
    let end = extra.iter().position(|byte| *byte == 0).unwrap_or(16);
    let text = core::str::from_utf8(&extra[..end]).unwrap_or("");
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        text
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypercall::fake::Fake;

    #[test]
    fn a_version_is_split_at_bit_16() {
        let xen = Fake::new(0, 4 << 16 | 17);
        assert_eq!(version(&xen), Ok((4, 17)));
        let call = xen.only();
        assert_eq!((call.number, call.first, call.second), (17, 0, 0));
    }

    #[test]
    fn features_are_asked_for_by_submap() {
        let xen = Fake::new(8, 0).write(4, &0x0000_0704_u32.to_le_bytes());
        assert_eq!(features(&xen, 1), Ok(0x704));
        let call = xen.only();
        assert_eq!((call.number, call.first), (17, 6));
        assert_eq!(call.argument, [1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn an_extra_version_need_not_be_terminated_nor_text() {
        let xen = Fake::new(16, 0).write(0, b".4-rc");
        assert_eq!(text(&extra(&xen).expect("extra")), ".4-rc");
        assert_eq!(text(b"0123456789abcdef"), "0123456789abcdef");
        assert_eq!(text(b"\xff\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "");
        assert_eq!(text(b"a\nb\0\0\0\0\0\0\0\0\0\0\0\0\0"), "");
    }
}
