// SPDX-License-Identifier: BSD-2-Clause
//! Which interface versions there are, which revisions promise them, and how a query is answered.
//!
//! A revision is a number in a child's hardware id that names one complete set of versions. The tables
//! are checked against each other at compile time. Pure functions, any IRQL.

use kexec::{Result, Status};
use xenbus_interface::{Guid, evtchn, store, store_async};

/// Versions of one interface.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// Its name.
    pub name: &'static str,
    /// Its GUID.
    pub guid: Guid,
    /// Oldest version answered.
    pub min: u16,
    /// Newest version answered.
    pub max: u16,
    /// Bytes of the table of each version from `min` on.
    pub sizes: &'static [u16],
}

macro_rules! interfaces {
    ($($(#[$doc:meta])* $name:ident = $guid:literal, $min:literal..=$max:literal, [$($size:literal),*];)*) => {
        $(
            $(#[$doc])*
            pub const $name: Interface = Interface {
                name: stringify!($name),
                guid: Guid::from_u128($guid),
                min: $min,
                max: $max,
                sizes: &[$($size),*],
            };
            const _: () = assert!($name.sizes.len() == ($max - $min + 1) as usize);
        )*
        /// Every published interface.
        pub const PUBLISHED: &[Interface] = &[$($name),*];
    };
}

interfaces! {
    /// Suspend callbacks.
    SUSPEND = 0x0554F2AF_B510_4C71_AC03_1C503E394238, 1..=1, [80];
    /// Time and upcall support.
    SHARED_INFO = 0x7E73C34F_1640_4649_A8F3_263BC930A004, 2..=4, [96, 96, 104];
    /// Event channels.
    EVTCHN = 0xBE2440AC_1098_4150_AF4D_452FADCEF923, 5..=9, [112, 112, 120, 120, 120];
    /// Debug callbacks.
    DEBUG = 0x0DF600AE_6B20_4227_BF94_03DA9A26A114, 1..=1, [80];
    /// Xenstore.
    STORE = 0x86824C3B_D34E_4753_B281_2F1E3AD214D7, 2..=2, [136];
    /// Sets of ranges.
    RANGE_SET = 0xEE7E78A2_6847_48C5_B123_BB012F0EABF4, 1..=1, [88];
    /// Object caches.
    CACHE = 0xA98DFD78_416A_4949_92A5_E084F2F4B44E, 1..=2, [80, 80];
    /// Grant tables.
    GNTTAB = 0x763679C5_E5C2_4A6D_8B88_6BB02EC42D8E, 2..=4, [104, 112, 112];
    /// Unplugging emulated devices.
    UNPLUG = 0x73DB6517_3D06_4937_989F_199B7501E229, 1..=3, [56, 64, 80];
    /// The console.
    CONSOLE = 0x04C4F738_034A_4268_BD20_A92AC90D4F82, 1..=1, [96];
    /// Answered by xenfilt.sys.
    EMULATED = 0x959027A1_FCCE_4E78_BCF4_637384F499C5, 1..=3, [64, 64, 64];
}

/// The asynchronous store table, beside the published interfaces and in no revision.
pub const STORE_ASYNC: Interface = Interface {
    name: "STORE_ASYNC",
    guid: store_async::GUID,
    min: store_async::VERSION_MIN,
    max: store_async::VERSION_MAX,
    sizes: &[size_of::<store_async::AsyncStoreV1>() as u16],
};

/// One revision: the versions in the order of [`PUBLISHED`].
#[derive(Clone, Copy, Debug)]
pub struct Revision {
    /// The number in hardware ids; its top byte is the major version of the bus.
    pub number: u32,
    /// One version for each published interface.
    pub versions: [u16; PUBLISHED.len()],
}

const fn revision(number: u32, versions: [u16; PUBLISHED.len()]) -> Revision {
    Revision { number, versions }
}

/// The revisions published, newest last.
pub const REVISIONS: [Revision; 5] = [
    revision(0x0900_0008, [1, 3, 9, 1, 2, 1, 2, 4, 1, 1, 2]),
    revision(0x0900_0009, [1, 4, 9, 1, 2, 1, 2, 4, 1, 1, 2]),
    revision(0x0900_000A, [1, 4, 9, 1, 2, 1, 2, 4, 2, 1, 2]),
    revision(0x0900_000B, [1, 4, 9, 1, 2, 1, 2, 4, 3, 1, 2]),
    revision(0x0900_000C, [1, 4, 9, 1, 2, 1, 2, 4, 3, 1, 3]),
];

const _: () = {
    let mut row = 0;
    while row < REVISIONS.len() {
        let mut column = 0;
        while column < PUBLISHED.len() {
            let version = REVISIONS[row].versions[column];
            let interface = PUBLISHED[column];
            assert!(version >= interface.min && version <= interface.max);
            assert!(row + 1 < REVISIONS.len() || version == interface.max);
            column += 1;
        }
        assert!(row == 0 || REVISIONS[row].number > REVISIONS[row - 1].number);
        row += 1;
    }
    assert!(EVTCHN.min == evtchn::VERSION_MIN && EVTCHN.max == evtchn::VERSION_MAX);
    assert!(STORE.min == store::VERSION_MIN && STORE.max == store::VERSION_MAX);
};

/// The table that answers a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Name of the interface, one of [`PUBLISHED`] or [`STORE_ASYNC`].
    pub name: &'static str,
    /// The version.
    pub version: u16,
    /// Bytes to copy.
    pub size: u16,
}

/// The interface with this GUID.
#[must_use]
pub fn find(guid: Guid) -> Option<Interface> {
    PUBLISHED
        .iter()
        .chain([&STORE_ASYNC])
        .find(|interface| interface.guid == guid)
        .copied()
}

/// Chooses the table for IRP_MN_QUERY_INTERFACE.
///
/// # Errors
/// `NOT_SUPPORTED`: no such interface or version, leave the request as it is. `BUFFER_OVERFLOW`: the
/// version exists and the buffer is too small for it. The version is looked at first.
pub fn query(guid: Guid, version: u16, size: u16) -> Result<Answer> {
    let interface = find(guid).ok_or(Status::NOT_SUPPORTED)?;
    let needed = version
        .checked_sub(interface.min)
        .and_then(|index| interface.sizes.get(usize::from(index)))
        .copied()
        .ok_or(Status::NOT_SUPPORTED)?;
    if size < needed {
        return Err(Status::BUFFER_OVERFLOW);
    }
    Ok(Answer {
        name: interface.name,
        version,
        size: needed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_the_interface_crate_have_the_published_guids_and_sizes() {
        assert_eq!(STORE.guid, store::GUID);
        assert_eq!(EVTCHN.guid, evtchn::GUID);
        assert_eq!(usize::from(STORE.sizes[0]), size_of::<store::StoreV2>());
        assert_eq!(usize::from(EVTCHN.sizes[0]), size_of::<evtchn::EvtchnV5>());
        assert_eq!(usize::from(EVTCHN.sizes[4]), size_of::<evtchn::EvtchnV9>());
    }

    #[test]
    fn every_version_in_range_is_answered_with_its_own_size_and_none_else() {
        for interface in PUBLISHED {
            for version in 0..=12 {
                let answer = query(interface.guid, version, u16::MAX);
                if (interface.min..=interface.max).contains(&version) {
                    let size = interface.sizes[usize::from(version - interface.min)];
                    assert_eq!(answer.map(|a| (a.version, a.size)), Ok((version, size)));
                    assert!(query(interface.guid, version, size).is_ok());
                    assert_eq!(
                        query(interface.guid, version, size - 1),
                        Err(Status::BUFFER_OVERFLOW)
                    );
                } else {
                    assert_eq!(answer, Err(Status::NOT_SUPPORTED));
                    assert_eq!(
                        query(interface.guid, version, 0),
                        Err(Status::NOT_SUPPORTED)
                    );
                }
            }
        }
    }

    #[test]
    fn an_unknown_guid_and_the_private_balloon_are_not_supported() {
        let balloon = Guid::from_u128(0xD92AA810_BECB_4BD5_A3DA_BD03C135A297);
        assert_eq!(query(balloon, 1, u16::MAX), Err(Status::NOT_SUPPORTED));
        assert_eq!(
            query(Guid::from_u128(1), 1, u16::MAX),
            Err(Status::NOT_SUPPORTED)
        );
    }
}
