// SPDX-License-Identifier: BSD-2-Clause
//! Which interface versions there are, which revisions promise them, and how a query is answered.
//!
//! A revision is a number in a child's hardware id that names one complete set of versions. The tables
//! are checked against each other at compile time. Pure functions, any IRQL.

use kexec::{Result, Status};
use xenbus_interface::{Guid, store_async};

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

/// Whether revisions keep the rules: every version is one that is answered, so a version that is dropped takes all its revisions
/// along; the newest row is the newest versions, so a new version needs a new row; numbers rise.
const fn fit(interfaces: &[Interface], revisions: &[Revision]) -> bool {
    let mut row = 0;
    while row < revisions.len() {
        let mut column = 0;
        while column < interfaces.len() {
            let version = revisions[row].versions[column];
            let interface = interfaces[column];
            if version < interface.min || version > interface.max {
                return false;
            }
            if row + 1 == revisions.len() && version != interface.max {
                return false;
            }
            column += 1;
        }
        if row != 0 && revisions[row].number <= revisions[row - 1].number {
            return false;
        }
        row += 1;
    }
    row != 0
}

const _: () = assert!(fit(PUBLISHED, &REVISIONS));

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
    fn the_tables_of_the_interface_crate_have_the_published_guids_versions_and_sizes() {
        use xenbus_interface as crates;
        macro_rules! same {
            ($($published:ident = $module:ident [$($table:ident),*];)*) => {$({
                assert_eq!($published.guid, crates::$module::GUID);
                assert_eq!($published.min, crates::$module::VERSION_MIN);
                assert_eq!($published.max, crates::$module::VERSION_MAX);
                let sizes = [$(size_of::<crates::$module::$table>() as u16),*];
                assert_eq!($published.sizes, sizes, "{}", $published.name);
            })*};
        }
        same! {
            SUSPEND = suspend [SuspendV1];
            SHARED_INFO = shared_info [SharedInfoV2, SharedInfoV3, SharedInfoV4];
            EVTCHN = evtchn [EvtchnV5, EvtchnV6, EvtchnV7, EvtchnV8, EvtchnV9];
            DEBUG = debug [DebugV1];
            STORE = store [StoreV2];
            RANGE_SET = range_set [RangeSetV1];
            CACHE = cache [CacheV1, CacheV2];
            GNTTAB = gnttab [GnttabV2, GnttabV3, GnttabV4];
            UNPLUG = unplug [UnplugV1, UnplugV2, UnplugV3];
            CONSOLE = console [ConsoleV1];
            EMULATED = emulated [EmulatedV1, EmulatedV2, EmulatedV3];
        }
        assert_eq!(PUBLISHED.len(), 11);
    }

    fn interfaces() -> [Interface; PUBLISHED.len()] {
        core::array::from_fn(|column| PUBLISHED[column])
    }

    fn column(name: &str) -> usize {
        let found = PUBLISHED
            .iter()
            .position(|interface| interface.name == name);
        found.expect("an interface")
    }

    #[test]
    fn a_version_that_is_dropped_takes_every_revision_along_that_promised_it() {
        let mut without = interfaces();
        without[column("SHARED_INFO")].min = 4;
        assert!(!fit(&without, &REVISIONS));
        // Only the oldest row has version 3.
        assert!(fit(&without, &REVISIONS[1..]));
        without[column("UNPLUG")].min = 3;
        assert!(!fit(&without, &REVISIONS[1..]));
        assert!(fit(&without, &REVISIONS[3..]));
    }

    #[test]
    fn a_new_version_needs_a_new_revision_above_the_others() {
        let mut with = interfaces();
        with[column("GNTTAB")].max = 5;
        assert!(!fit(&with, &REVISIONS));
        let newest = REVISIONS[REVISIONS.len() - 1];
        let mut next = newest;
        next.versions[column("GNTTAB")] = 5;
        assert!(!fit(&with, &[newest, next]), "a number of its own");
        next.number += 1;
        assert!(fit(&with, &[newest, next]));
        assert!(!fit(&with, &[next, newest]), "the newest is the last");
        assert!(!fit(&with, &[]));
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
