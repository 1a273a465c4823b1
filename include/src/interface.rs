// SPDX-License-Identifier: BSD-2-Clause
//! What all driver-to-driver tables share: the `INTERFACE` header, GUIDs, the query contract.
//!
//! A provider copies a constant table for the requested version into the requester's buffer and
//! stores its context. A requester may copy the structure by value and pass the address of any
//! copy as the first argument of a method: a provider uses only what the header contains, never the
//! identity of the pointer. Querying takes no reference; `acquire` and `release` of the table do.

use core::ffi::{c_char, c_void};
use core::mem::{offset_of, size_of};

/// `NTSTATUS` as it appears in the tables.
pub type NtStatus = i32;
/// `BOOLEAN`: any value but 0 is true.
pub type Boolean = u8;
/// `PSTR`: a NUL-terminated string. Published without `const`, never written through by a provider.
pub type PStr = *const c_char;
/// `PCSTR`: a NUL-terminated string.
pub type PCStr = *const c_char;
/// `PFN_NUMBER`: number of a physical page.
pub type PfnNumber = u64;
/// `PHYSICAL_ADDRESS`: an 8-byte union, passed by value in one register.
pub type PhysicalAddress = i64;
/// `LARGE_INTEGER`: an 8-byte union, passed by value in one register.
pub type LargeInteger = i64;
/// A dispatcher event (`KEVENT`) in non-paged memory of the requester.
pub type KEvent = c_void;

/// A GUID in the memory layout that NT uses.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guid {
    /// First group of the text form.
    pub data1: u32,
    /// Second group.
    pub data2: u16,
    /// Third group.
    pub data3: u16,
    /// The last two groups, in text order.
    pub data4: [u8; 8],
}

impl Guid {
    /// Makes a GUID from the number that its text form spells when the dashes are left out.
    pub const fn from_u128(value: u128) -> Self {
        let bytes = value.to_be_bytes();
        Self {
            data1: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            data2: u16::from_be_bytes([bytes[4], bytes[5]]),
            data3: u16::from_be_bytes([bytes[6], bytes[7]]),
            data4: [
                bytes[8], bytes[9], bytes[10], bytes[11], bytes[12], bytes[13], bytes[14],
                bytes[15],
            ],
        }
    }

    /// The sixteen bytes as they lie in memory.
    pub const fn to_bytes(self) -> [u8; 16] {
        let (a, b, c, d) = (
            self.data1.to_le_bytes(),
            self.data2.to_le_bytes(),
            self.data3.to_le_bytes(),
            self.data4,
        );
        [
            a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5],
            d[6], d[7],
        ]
    }

    /// The GUID whose memory holds `bytes`.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        let b = bytes;
        Self {
            data1: u32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            data2: u16::from_le_bytes([b[4], b[5]]),
            data3: u16::from_le_bytes([b[6], b[7]]),
            data4: [b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]],
        }
    }
}

/// `INTERFACE_REFERENCE` and `INTERFACE_DEREFERENCE`. NULL in all tables of the bus.
pub type ReferenceRoutine = unsafe extern "C" fn(context: *mut c_void);

/// The `INTERFACE` header with which every table begins.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// Size in bytes of the table returned.
    pub size: u16,
    /// The version requested.
    pub version: u16,
    /// The provider's own; never NULL on success.
    pub context: *mut c_void,
    /// Always `None`.
    pub reference: Option<ReferenceRoutine>,
    /// Always `None`.
    pub dereference: Option<ReferenceRoutine>,
}

impl Interface {
    /// The header that a provider stores in front of a table of type `T`.
    pub const fn of<T: Table>(context: *mut c_void) -> Self {
        Self {
            size: T::SIZE,
            version: T::VERSION,
            context,
            reference: None,
            dereference: None,
        }
    }
}

const _: () = {
    assert!(size_of::<Guid>() == 16);
    assert!(size_of::<Interface>() == 0x20);
    assert!(offset_of!(Interface, version) == 0x02);
    assert!(offset_of!(Interface, context) == 0x08);
    assert!(offset_of!(Interface, reference) == 0x10);
    assert!(offset_of!(Interface, dereference) == 0x18);
};

/// One version of one interface, as `IRP_MN_QUERY_INTERFACE` names it.
///
/// Only this crate's tables implement it: each is repr(C), begins with an [`Interface`] and has
/// nothing but function pointers after it.
pub trait Table: Copy + sealed::Sealed {
    /// The interface.
    const GUID: Guid;
    /// The version of the table.
    const VERSION: u16;
    /// `sizeof` of the table, the `Size` of the query.
    const SIZE: u16 = {
        assert!(size_of::<Self>() <= u16::MAX as usize);
        size_of::<Self>() as u16
    };
    /// The table's header.
    fn header(&self) -> &Interface;
}

pub(crate) mod sealed {
    /// Keeps [`super::Table`] to this crate.
    pub trait Sealed {}
}

/// Implements [`Table`] and asserts the table's size and that its first method follows the header.
macro_rules! table {
    ($table:ty, $guid:expr, $version:expr, $size:expr) => {
        impl $crate::interface::sealed::Sealed for $table {}
        impl $crate::interface::Table for $table {
            const GUID: $crate::interface::Guid = $guid;
            const VERSION: u16 = $version;
            fn header(&self) -> &$crate::interface::Interface {
                &self.interface
            }
        }
        const _: () = {
            assert!(core::mem::size_of::<$table>() == $size);
            assert!(core::mem::offset_of!($table, interface) == 0);
            assert!(core::mem::offset_of!($table, acquire) == 0x20);
        };
    };
}
pub(crate) use table;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_has_nt_byte_order_and_survives_a_round_trip() {
        let guid = Guid::from_u128(0x86824C3B_D34E_4753_B281_2F1E3AD214D7);
        let bytes = [
            0x3b, 0x4c, 0x82, 0x86, 0x4e, 0xd3, 0x53, 0x47, 0xb2, 0x81, 0x2f, 0x1e, 0x3a, 0xd2,
            0x14, 0xd7,
        ];
        assert_eq!(guid.to_bytes(), bytes);
        assert_eq!(Guid::from_bytes(bytes), guid);
    }
}
