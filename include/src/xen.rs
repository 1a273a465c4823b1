// SPDX-License-Identifier: BSD-2-Clause
//! The private ABI of xen.sys, the export driver under xenbus.sys and xenfilt.sys.
//!
//! Nothing here is stable: the three images come from one build, and `touch` refuses a mixed set.
//! On Windows targets this module has the imports as safe functions; on a host it has the types only,
//! and drivers put their own seam in front of it.
//!
//! Unless a function says otherwise it may be called at any IRQL, with resident arguments. Before
//! xen.sys has found Xen, and on a machine without it, every function returns
//! `STATUS_NOT_IMPLEMENTED` and does nothing else.

use core::fmt;
use core::mem::size_of;

#[cfg(windows)]
pub use crate::ffi::{xen::*, xen_services::*};

/// The caller's own domain.
pub const DOMID_SELF: u16 = 0x7FF0;

/// `HVM_PARAM_CALLBACK_IRQ`.
pub const HVM_PARAM_CALLBACK_IRQ: u32 = 0;
/// `HVM_PARAM_STORE_PFN`.
pub const HVM_PARAM_STORE_PFN: u32 = 1;
/// `HVM_PARAM_STORE_EVTCHN`.
pub const HVM_PARAM_STORE_EVTCHN: u32 = 2;
/// `HVM_PARAM_CONSOLE_PFN`.
pub const HVM_PARAM_CONSOLE_PFN: u32 = 17;
/// `HVM_PARAM_CONSOLE_EVTCHN`.
pub const HVM_PARAM_CONSOLE_EVTCHN: u32 = 18;

/// `XENMAPSPACE_shared_info`.
pub const MAPSPACE_SHARED_INFO: u32 = 0;
/// `XENMAPSPACE_grant_table`.
pub const MAPSPACE_GRANT_TABLE: u32 = 1;

/// `VIRQ_TIMER`.
pub const VIRQ_TIMER: u32 = 0;
/// `VIRQ_DEBUG`.
pub const VIRQ_DEBUG: u32 = 1;

/// `SHUTDOWN_poweroff`.
pub const SHUTDOWN_POWEROFF: u32 = 0;
/// `SHUTDOWN_reboot`.
pub const SHUTDOWN_REBOOT: u32 = 1;
/// `SHUTDOWN_suspend`.
pub const SHUTDOWN_SUSPEND: u32 = 2;
/// `SHUTDOWN_crash`.
pub const SHUTDOWN_CRASH: u32 = 3;
/// `SHUTDOWN_watchdog`.
pub const SHUTDOWN_WATCHDOG: u32 = 4;

/// Emulated disks, as `UnplugGetRequest` numbers them.
pub const UNPLUG_DISKS: u32 = 0;
/// Emulated network cards.
pub const UNPLUG_NICS: u32 = 1;

/// Severity of a log line, as bits of a sink's mask.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed.
    Error = 0x1,
    /// Something is odd.
    Warning = 0x2,
    /// Detail for a developer.
    Trace = 0x4,
    /// What happened.
    Info = 0x8,
    /// The machine is going down.
    Critical = 0x8000_0000,
}

/// A sink's mask from level names, in any case; unknown ones count for nothing. Any IRQL.
#[must_use]
pub fn log_levels<'a>(names: impl Iterator<Item = &'a str>) -> u32 {
    const NAMES: [(&str, LogLevel); 5] = [
        ("TRACE", LogLevel::Trace),
        ("INFO", LogLevel::Info),
        ("WARNING", LogLevel::Warning),
        ("ERROR", LogLevel::Error),
        ("CRITICAL", LogLevel::Critical),
    ];
    names.fold(0, |mask, name| {
        let level = NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        mask | level.map_or(0, |(_, level)| *level as u32)
    })
}

/// Longest line that xen.sys keeps; more is cut.
pub const LOG_LINE_MAX: usize = 256;

/// Longest name of an image that xen.sys keeps; more is cut.
pub const MODULE_NAME_MAX: usize = 24;

/// The image at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Module {
    name: [u8; MODULE_NAME_MAX],
    length: u32,
    /// Bytes from the image's start to the address.
    pub offset: u64,
}

impl Module {
    /// From the parts that xen.sys gives.
    #[must_use]
    pub const fn new(name: [u8; MODULE_NAME_MAX], length: u32, offset: u64) -> Self {
        Self {
            name,
            length,
            offset,
        }
    }

    /// The image's file name in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = self.name.get(..self.length as usize);
        core::str::from_utf8(name.unwrap_or_default()).unwrap_or_default()
    }
}

/// Text in UTF-16, borrowed for a call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// The first unit.
    pub start: *const u16,
    /// Units.
    pub length: u32,
}

/// What identifies the active device, borrowed for a call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DeviceNames {
    /// Its device id.
    pub device: Units,
    /// Its instance id.
    pub instance: Units,
    /// Its location text.
    pub location: Units,
}

/// Version of an image: the package version and the number of the build.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// Major version.
    pub major: u32,
    /// Minor version.
    pub minor: u32,
    /// Micro version.
    pub micro: u32,
    /// Build number.
    pub build: u32,
}

impl Build {
    /// The version of the image that this code is compiled into.
    ///
    /// The build number is the value of `BUILD_NUMBER` at compile time, 0 without it.
    pub const CURRENT: Self = Self {
        major: number(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: number(env!("CARGO_PKG_VERSION_MINOR")),
        micro: number(env!("CARGO_PKG_VERSION_PATCH")),
        build: match option_env!("BUILD_NUMBER") {
            Some(text) => number(text),
            None => 0,
        },
    };
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            major,
            minor,
            micro,
            build,
        } = self;
        write!(f, "{major}.{minor}.{micro}.{build}")
    }
}

/// Parses a decimal number at compile time.
const fn number(text: &str) -> u32 {
    let bytes = text.as_bytes();
    assert!(!bytes.is_empty(), "a version number is empty");
    let mut value = 0;
    let mut index = 0;
    while index < bytes.len() {
        assert!(
            bytes[index].is_ascii_digit(),
            "a version number is not decimal"
        );
        value = value * 10 + (bytes[index] - b'0') as u32;
        index += 1;
    }
    value
}

/// One copy between pages, as Xen's `gnttab_copy`: byte-exact.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantCopy {
    /// Grant reference, or guest frame number without [`GrantCopy::SOURCE_REFERENCE`].
    pub source: u64,
    /// The domain whose page it is.
    pub source_domain: u16,
    /// Bytes into the page.
    pub source_offset: u16,
    /// Not used.
    pub source_padding: u32,
    /// Grant reference, or guest frame number without [`GrantCopy::DEST_REFERENCE`].
    pub dest: u64,
    /// The domain whose page it is.
    pub dest_domain: u16,
    /// Bytes into the page.
    pub dest_offset: u16,
    /// Not used.
    pub dest_padding: u32,
    /// Bytes to copy; neither page's end is crossed.
    pub length: u16,
    /// Which of the two are references.
    pub flags: u16,
    /// Xen's answer: 0, or a negative `GNTST_` code.
    pub status: i16,
    /// Not used.
    pub padding: u16,
}

impl GrantCopy {
    /// `GNTCOPY_source_gref`.
    pub const SOURCE_REFERENCE: u16 = 1;
    /// `GNTCOPY_dest_gref`.
    pub const DEST_REFERENCE: u16 = 2;
}

const _: () = {
    assert!(size_of::<GrantCopy>() == 40);
    assert!(core::mem::offset_of!(GrantCopy, source_domain) == 8);
    assert!(core::mem::offset_of!(GrantCopy, source_offset) == 10);
    assert!(core::mem::offset_of!(GrantCopy, dest) == 16);
    assert!(core::mem::offset_of!(GrantCopy, dest_domain) == 24);
    assert!(core::mem::offset_of!(GrantCopy, dest_offset) == 26);
    assert!(core::mem::offset_of!(GrantCopy, length) == 32);
    assert!(core::mem::offset_of!(GrantCopy, flags) == 34);
    assert!(core::mem::offset_of!(GrantCopy, status) == 36);
};

/// Hypercalls made since xen.sys was loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// By hypercall number.
    pub hypercalls: [u64; Self::HYPERCALLS],
    /// By operation of `event_channel_op`; entry 4 counts the event sends.
    pub event_channel: [u64; Self::EVENT_CHANNEL],
}

impl Counters {
    /// Hypercall numbers counted.
    pub const HYPERCALLS: usize = 40;
    /// Event channel operations counted.
    pub const EVENT_CHANNEL: usize = 16;
    /// Number of `memory_op`.
    pub const MEMORY_OP: usize = 12;
    /// Number of `xen_version`.
    pub const XEN_VERSION: usize = 17;
    /// Number of `grant_table_op`.
    pub const GRANT_TABLE_OP: usize = 20;
    /// Number of `vcpu_op`.
    pub const VCPU_OP: usize = 24;
    /// Number of `sched_op`.
    pub const SCHED_OP: usize = 29;
    /// Number of `event_channel_op`.
    pub const EVENT_CHANNEL_OP: usize = 32;
    /// Number of `hvm_op`.
    pub const HVM_OP: usize = 34;
    /// Operation of `event_channel_op` that sends.
    pub const EVENT_CHANNEL_SEND: usize = 4;

    /// No calls.
    pub const ZERO: Self = Self {
        hypercalls: [0; Self::HYPERCALLS],
        event_channel: [0; Self::EVENT_CHANNEL],
    };

    /// All hypercalls.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.hypercalls.iter().sum()
    }

    /// Event sends.
    #[must_use]
    pub fn sends(&self) -> u64 {
        self.event_channel[Self::EVENT_CHANNEL_SEND]
    }
}

const _: () =
    assert!(size_of::<Counters>() == (Counters::HYPERCALLS + Counters::EVENT_CHANNEL) * 8);

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_build_carries_the_version_of_the_crate() {
        let expected = std::format!("{}.{}", env!("CARGO_PKG_VERSION"), Build::CURRENT.build);
        assert_eq!(Build::CURRENT.to_string(), expected);
    }

    #[test]
    fn a_build_number_is_read_as_decimal() {
        assert_eq!(number("0"), 0);
        assert_eq!(number("1207"), 1207);
    }

    #[test]
    fn level_names_are_joined_and_unknown_ones_ignored() {
        let names = ["info", "CRITICAL", "loud", ""];
        assert_eq!(log_levels(names.into_iter()), 0x8000_0008);
        assert_eq!(log_levels([].into_iter()), 0);
    }
}
