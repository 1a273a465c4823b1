// SPDX-License-Identifier: BSD-2-Clause
//! Unplugging the emulated disks and network cards.
//!
//! A request is a registry value that this boot consumes: a child driver that comes up writes it again
//! for the next boot, so emulated devices return by themselves when PV drivers are gone or broken.
//! Ports are touched only after Xen was found, and nothing is written before the magic was read.
//!
//! ```text
//! load --1--> latched --2--> unplugged
//!                    \--3--> refused
//! 1 latch      registry values become requests
//! 2 unplug     the device model took the masks; repeated after migration
//! 3 unplug     no magic, or blacklisted: requests are void, emulated devices stay
//! ```
//!
//! # IRQL
//! Latching at PASSIVE_LEVEL, the rest at any. [`Unplug::devices`] is called by one processor at a
//! time: from xenfilt's last enumeration, and on resume by the processor that resumes the rest.

use core::sync::atomic::{AtomicU8, Ordering};

use kexec::{Result, Status};
use xenbus_interface::xen::{Build, UNPLUG_DISKS, UNPLUG_NICS};

/// I/O ports of the Xen platform device.
pub trait Ports {
    /// Reads a byte.
    fn read8(&self, port: u16) -> u8;
    /// Reads a word.
    fn read16(&self, port: u16) -> u16;
    /// Writes a word.
    fn write16(&self, port: u16, value: u16);
    /// Writes a double word.
    fn write32(&self, port: u16, value: u32);
}

const MAGIC_PORT: u16 = 0x10;
const VERSION_PORT: u16 = 0x12;

const MAGIC: u16 = 0x49D2;
const MAGIC_BLACKLISTED: u16 = 0xD249;
/// Product number for drivers without one of their own.
const PRODUCT: u16 = 0xFFFF;

const MASK_DISKS: u16 = 0x0001 | 0x0008;
const MASK_AUXILIARY_DISKS: u16 = 0x0004;
const MASK_NICS: u16 = 0x0002;

/// The registry's answer for one kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latched {
    /// Unplug at this boot.
    pub request: bool,
    /// The value must be deleted: it was consumed.
    pub consume: bool,
}

/// Decides about one kind of device.
///
/// `forced` and `requested` are the values below `ForceUnplug` and `Unplug`; `children` says whether
/// a PV child of that kind is known to Windows. Without one the emulated device is all there is.
pub fn latch(
    forced: Option<u32>,
    requested: Option<u32>,
    children: impl FnOnce() -> bool,
) -> Latched {
    if forced.is_some_and(|value| value != 0) {
        return Latched {
            request: true,
            consume: requested.is_some(),
        };
    }
    match requested {
        None => Latched {
            request: false,
            consume: false,
        },
        Some(value) => Latched {
            request: value != 0 && children(),
            consume: true,
        },
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unplugged {
    /// Protocol version of the device model.
    pub version: u8,
    /// Mask written for disks, 0 for none.
    pub disks: u16,
    /// Mask written for network cards, 0 for none.
    pub nics: u16,
}

/// Requests of this boot.
#[derive(Debug)]
pub struct Unplug {
    state: AtomicU8,
}

/// Bits of the state; bit `UNPLUG_DISKS` and bit `UNPLUG_NICS` are the requests.
const BOOT_EMULATED: u8 = 1 << 6;
/// This boot has written masks.
const DONE: u8 = 1 << 7;

impl Unplug {
    /// No requests.
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(0),
        }
    }

    /// Stores what was latched.
    pub fn set(&self, disks: bool, nics: bool, boot_emulated: bool) {
        let mut state = u8::from(disks) << UNPLUG_DISKS | u8::from(nics) << UNPLUG_NICS;
        if boot_emulated {
            state |= BOOT_EMULATED;
        }
        self.state.store(state, Ordering::Release);
    }

    /// Was the removal of this kind requested, and not refused?
    pub fn requested(&self, kind: u32) -> bool {
        matches!(kind, UNPLUG_DISKS | UNPLUG_NICS)
            && self.state.load(Ordering::Acquire) & 1 << kind != 0
    }

    /// Has this boot unplugged anything? Only then may a new device model lose the same: what xenfilt
    /// left in place, in safe mode for one, is in use.
    pub fn done(&self) -> bool {
        self.state.load(Ordering::Acquire) & DONE != 0
    }

    /// Unplugs what was requested.
    ///
    /// `STATUS_NOT_SUPPORTED`: there is no such device model; `STATUS_ACCESS_DENIED`: it does not want
    /// these drivers. Either voids the requests.
    pub fn devices(&self, ports: &impl Ports, own: Build) -> Result<Unplugged> {
        let version = prepare(ports, own).inspect_err(|_| self.set(false, false, false))?;
        let state = self.state.load(Ordering::Acquire);
        let mask = |kind: u32, mask: u16| if state & 1 << kind != 0 { mask } else { 0 };
        let disks = if state & BOOT_EMULATED != 0 {
            MASK_AUXILIARY_DISKS
        } else {
            MASK_DISKS
        };
        let done = Unplugged {
            version,
            disks: mask(UNPLUG_DISKS, disks),
            nics: mask(UNPLUG_NICS, MASK_NICS),
        };
        for mask in [done.disks, done.nics] {
            if mask != 0 {
                ports.write16(MAGIC_PORT, mask);
                self.state.fetch_or(DONE, Ordering::AcqRel);
            }
        }
        Ok(done)
    }
}

impl Default for Unplug {
    fn default() -> Self {
        Self::new()
    }
}

/// Is there a device model behind the ports? Reads only.
pub fn present(ports: &impl Ports) -> bool {
    matches!(ports.read16(MAGIC_PORT), MAGIC | MAGIC_BLACKLISTED)
}

/// Introduces these drivers; returns the protocol version.
fn prepare(ports: &impl Ports, own: Build) -> Result<u8> {
    check(ports.read16(MAGIC_PORT))?;
    let version = ports.read8(VERSION_PORT);
    if version != 0 {
        ports.write16(VERSION_PORT, PRODUCT);
        let build = own.major << 16 | (own.minor & 0xff) << 8 | own.micro & 0xff;
        ports.write32(MAGIC_PORT, build);
        check(ports.read16(MAGIC_PORT))?;
    }
    Ok(version)
}

/// What a magic number says.
fn check(magic: u16) -> Result {
    match magic {
        MAGIC => Ok(()),
        MAGIC_BLACKLISTED => Err(Status::ACCESS_DENIED),
        _ => Err(Status::NOT_SUPPORTED),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::cell::RefCell;
    use std::vec;
    use std::vec::Vec;

    const OWN: Build = Build {
        major: 10,
        minor: 2,
        micro: 3,
        build: 77,
    };

    /// Ports that answer the magic from a list and keep a trace.
    struct Script {
        magic: RefCell<Vec<u16>>,
        version: u8,
        trace: RefCell<Vec<(&'static str, u16, u32)>>,
    }

    impl Script {
        fn new(magic: &[u16], version: u8) -> Self {
            Self {
                magic: RefCell::new(magic.iter().rev().copied().collect()),
                version,
                trace: RefCell::default(),
            }
        }

        fn log(&self, what: &'static str, port: u16, value: u32) {
            self.trace.borrow_mut().push((what, port, value));
        }
    }

    impl Ports for Script {
        fn read8(&self, port: u16) -> u8 {
            self.log("r8", port, u32::from(self.version));
            self.version
        }
        fn read16(&self, port: u16) -> u16 {
            let magic = self.magic.borrow_mut().pop().expect("one read too many");
            self.log("r16", port, u32::from(magic));
            magic
        }
        fn write16(&self, port: u16, value: u16) {
            self.log("w16", port, u32::from(value));
        }
        fn write32(&self, port: u16, value: u32) {
            self.log("w32", port, value);
        }
    }

    fn requested(disks: bool, nics: bool, boot_emulated: bool) -> Unplug {
        let unplug = Unplug::new();
        unplug.set(disks, nics, boot_emulated);
        unplug
    }

    #[test]
    fn the_whole_sequence_is_magic_version_product_build_magic_masks() {
        let ports = Script::new(&[MAGIC, MAGIC], 1);
        let done = requested(true, true, false).devices(&ports, OWN);
        let expected = Unplugged {
            version: 1,
            disks: 9,
            nics: 2,
        };
        assert_eq!(done, Ok(expected));
        assert_eq!(
            *ports.trace.borrow(),
            vec![
                ("r16", 0x10, 0x49D2),
                ("r8", 0x12, 1),
                ("w16", 0x12, 0xFFFF),
                ("w32", 0x10, 0x000A_0203),
                ("r16", 0x10, 0x49D2),
                ("w16", 0x10, 9),
                ("w16", 0x10, 2),
            ]
        );
    }

    #[test]
    fn only_a_boot_that_has_unplugged_does_so_again() {
        for (disks, expected) in [(true, true), (false, false)] {
            let unplug = requested(disks, false, false);
            assert!(!unplug.done());
            let ports = Script::new(&[MAGIC], 0);
            assert!(unplug.devices(&ports, OWN).is_ok());
            assert_eq!(unplug.done(), expected);
        }
        let refused = requested(true, true, false);
        let ports = Script::new(&[0xffff], 1);
        assert!(refused.devices(&ports, OWN).is_err());
        assert!(!refused.done());
    }

    #[test]
    fn version_0_has_no_introduction() {
        let ports = Script::new(&[MAGIC], 0);
        let done = requested(false, true, false).devices(&ports, OWN);
        assert!(done.is_ok());
        assert_eq!(
            *ports.trace.borrow(),
            vec![("r16", 0x10, 0x49D2), ("r8", 0x12, 0), ("w16", 0x10, 2)]
        );
    }

    #[test]
    fn a_boot_from_the_emulated_disk_keeps_it() {
        let ports = Script::new(&[MAGIC], 0);
        let done = requested(true, false, true).devices(&ports, OWN);
        assert_eq!(done.map(|done| (done.disks, done.nics)), Ok((4, 0)));
    }

    #[test]
    fn without_requests_no_mask_is_written() {
        let ports = Script::new(&[MAGIC], 0);
        let done = requested(false, false, false).devices(&ports, OWN);
        assert_eq!(done.map(|done| (done.disks, done.nics)), Ok((0, 0)));
        assert_eq!(ports.trace.borrow().len(), 2);
    }

    #[test]
    fn an_unknown_magic_stops_before_any_write_and_voids_the_requests() {
        let ports = Script::new(&[0xffff], 1);
        let unplug = requested(true, true, false);
        let result = unplug.devices(&ports, OWN);
        assert_eq!(result, Err(Status::NOT_SUPPORTED));
        assert_eq!(*ports.trace.borrow(), vec![("r16", 0x10, 0xffff)]);
        assert!(!unplug.requested(UNPLUG_DISKS));
    }

    #[test]
    fn a_blacklisted_build_unplugs_nothing() {
        for magics in [&[MAGIC_BLACKLISTED][..], &[MAGIC, MAGIC_BLACKLISTED]] {
            let ports = Script::new(magics, 1);
            let unplug = requested(true, true, false);
            let result = unplug.devices(&ports, OWN);
            assert_eq!(result, Err(Status::ACCESS_DENIED));
            let masks = |entry: &&(&str, u16, u32)| entry.0 == "w16" && entry.1 == 0x10;
            assert_eq!(ports.trace.borrow().iter().filter(masks).count(), 0);
            assert!(!unplug.requested(UNPLUG_NICS));
        }
    }

    #[test]
    fn a_request_is_known_by_its_kind_before_anything_is_unplugged() {
        let unplug = requested(false, true, true);
        assert!(unplug.requested(UNPLUG_NICS));
        assert!(!unplug.requested(UNPLUG_DISKS));
        assert!(!unplug.requested(6));
        assert!(!unplug.requested(u32::MAX));
    }

    #[test]
    fn a_value_is_consumed_and_counts_only_with_a_child() {
        let no = || false;
        let yes = || true;
        let latched = |request, consume| Latched { request, consume };
        assert_eq!(latch(None, None, yes), latched(false, false));
        assert_eq!(latch(None, Some(0), yes), latched(false, true));
        assert_eq!(latch(None, Some(2), yes), latched(true, true));
        assert_eq!(latch(None, Some(2), no), latched(false, true));
        assert_eq!(latch(Some(1), None, no), latched(true, false));
        assert_eq!(latch(Some(1), Some(0), no), latched(true, true));
        assert_eq!(latch(Some(0), Some(1), no), latched(false, true));
    }
}
